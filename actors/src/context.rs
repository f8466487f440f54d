//! What all actors of one node share: ports, what was last seen, and where the others are.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
};

use tasuki_core::{
    config::{ClusterConfig, Role, profile::Profile},
    ids::{BootId, Incarnation, Lineage, RaftId, ServerName, Term},
    membership::view::View,
    registry::{State, level::Spoken},
    time::Timestamp,
    timing::Timing,
};
use tasuki_storage::MemoryDisk;
use tokio::sync::{broadcast, watch};

use crate::{
    handle::{Event, RaftStatus},
    journal::Journal,
    ohas::{
        crs::{
            agents::Agents,
            groups::{Groups, GroupsMsg},
            monitors::Monitors,
            placement_actor::PlacementMsg,
        },
        mirrors::Mirrors,
        registry::{presence_actor::PresenceMsg, raft_node::RaftNode, register::TieBreakDesk},
        sync::{
            gossip_actor::GossipMsg, lease_actor::LeaseMsg, link_actor::Links, voting_file_actor::VotingDesk,
        },
    },
    ports::Ports,
    supervise::Slot,
};

/// Where a registry is kept.
#[derive(Clone, Debug)]
pub enum StorePlace {
    /// In this folder.
    Folder(PathBuf),
    /// In memory: for simulations, in which time and faults of the disk are made.
    Memory(MemoryDisk),
}

impl From<PathBuf> for StorePlace {
    fn from(folder: PathBuf) -> Self {
        Self::Folder(folder)
    }
}

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// This server.
    pub server: ServerName,
    /// Its place in Raft.
    pub raft_id: RaftId,
    /// Its registry's lineage.
    pub lineage: Lineage,
    /// The number of this start, durable and above all before on this machine.
    pub incarnation: Incarnation,
    /// Where the registry's store is.
    pub store: StorePlace,
    /// The folder of the journal of decisions; none is kept without one.
    pub journal: Option<PathBuf>,
    /// The configuration that it was founded or joined with; the registry's own counts as soon as
    /// there is one.
    pub config: ClusterConfig,
    /// What it does in the cluster.
    pub role: Role,
    /// Whether this server founds the cluster.
    pub founder: bool,
    /// The store was made before: an empty folder in its place is a lost store, which must not vote
    /// under the old id (R23).
    pub store_exists: bool,
    /// What its program says of itself to the others.
    pub speaks: Spoken,
}

/// Leading, as the lease table has it: an entry of this term has been applied (R3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leading {
    /// The term.
    pub term: Term,
    /// Since when.
    pub since: Timestamp,
    /// The servers whose lease is being renewed.
    pub fit: BTreeSet<ServerName>,
}

/// Shared by all actors of one node.
pub struct Context {
    /// As started.
    pub options: NodeOptions,
    /// This boot.
    pub boot: BootId,
    /// The outside.
    pub ports: Ports,
    /// The registry as applied here.
    pub registry: watch::Sender<Arc<State>>,
    /// The last log entry applied here.
    pub applied: watch::Sender<u64>,
    /// Raft, while it runs.
    pub raft: watch::Sender<Option<RaftNode>>,
    /// Raft, as seen here.
    pub raft_status: watch::Sender<RaftStatus>,
    /// The end of this server's lease.
    pub lease: watch::Sender<Option<Timestamp>>,
    /// The tie-break of two, as this server has it.
    pub tie_break: TieBreakDesk,
    /// This server's leadership, if it leads and may decide.
    pub leading: watch::Sender<Option<Leading>>,
    /// This node's incarnation, if its guard held no lease at its start: of those before it nothing
    /// runs any more (R21).
    pub stopped_before: Option<Incarnation>,
    /// The incarnation that the registry knows; zero before.
    pub incarnation: watch::Sender<Incarnation>,
    /// What is believed of the others.
    pub view: watch::Sender<Arc<View>>,
    /// What happens.
    pub events: broadcast::Sender<Event>,
    /// When the synchronisation service last moved, in nanoseconds of the boot clock (O9).
    pub sync_moved: AtomicU64,
    /// What the second monitor says of the synchronisation service and the groups (R8).
    pub healthy: AtomicBool,
    /// This server has left: its node has nothing more to do.
    pub left: watch::Sender<bool>,
    /// The voting files.
    pub voting: VotingDesk,
    /// The heartbeat links.
    pub links: Links,
    /// The lease.
    pub lease_actor: Slot<LeaseMsg>,
    /// Gossip.
    pub gossip_actor: Slot<GossipMsg>,
    /// Placement.
    pub placement_actor: Slot<PlacementMsg>,
    /// This server's place in the registry.
    pub presence_actor: Slot<PresenceMsg>,
    /// The groups that this server owns.
    pub groups_actor: Slot<GroupsMsg>,
    /// What this server decides while it leads, for replay.
    pub journal: Journal,
    /// The group actors.
    pub groups: Groups,
    /// The resource actors.
    pub agents: Agents,
    /// The monitors' actors.
    pub monitors: Monitors,
    /// The mirrored volumes.
    pub mirrors: Mirrors,
}

impl Context {
    /// This server.
    #[must_use]
    pub fn me(&self) -> &ServerName {
        &self.options.server
    }

    /// The registry as applied here.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.registry.borrow().clone()
    }

    /// The configuration: the registry's, or the one this server started with.
    #[must_use]
    pub fn config(&self) -> ClusterConfig {
        let state = self.state();
        let Some(mut config) = state.config() else { return self.options.config.clone() };
        if let Some(newer) = self.newer_profile(&state) {
            newer.apply_to(&mut config);
        }
        config
    }

    /// The profile that was adopted at the start, while the registry as applied here is older.
    #[must_use]
    pub fn newer_profile(&self, state: &State) -> Option<Arc<Profile>> {
        self.ports.profile.adopted().filter(|adopted| adopted.sequence > Profile::sequence_of(state))
    }

    /// All times.
    #[must_use]
    pub fn timing(&self) -> Timing {
        let state = self.registry.borrow();
        match &state.settings {
            Some(settings) => match self.newer_profile(&state) {
                Some(newer) => newer.settings.timing.clone(),
                None => settings.value.timing.clone(),
            },
            None => self.options.config.settings.timing.clone(),
        }
    }

    /// Whether the lease is held now.
    #[must_use]
    pub fn holds_lease(&self) -> bool {
        self.lease.borrow().is_some_and(|end| self.ports.clock.now() < end)
    }

    /// Tells everybody what happened.
    pub fn tell(&self, kind: &str, object: impl Into<String>, text: impl Into<String>) {
        let event = Event {
            at: self.ports.clock.wall(),
            boot: self.ports.clock.now(),
            server: self.me().clone(),
            object: object.into(),
            kind: kind.to_owned(),
            text: text.into(),
            revision: None,
        };
        tracing::info!(kind = %event.kind, object = %event.object, "{}", event.text);
        let _ = self.events.send(event); // nobody may be listening
    }
}
