//! Raft behind a handle that is not generic: the only place that instantiates openraft. Here it is
//! started, asked whether it leads, and shown.

mod members;
mod propose;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use openraft::{Config, ServerState, SnapshotPolicy, async_runtime::WatchReceiver, raft::ReadPolicy};
use tasuki_core::{
    ids::{Lineage, RaftId, ServerName, Term},
    membership::alone::other_of_two,
    planted::{self, Planted},
    registry::State,
    timing::Timing,
};
use tasuki_storage::{
    OpenStore,
    raft_types::{Member, Raft},
};

use tokio::sync::watch;

use self::propose::Remembered;
pub use self::propose::{FromLeader, ToLeader};
use super::{
    door::Door,
    network::{Network, Patience},
};
use crate::{handle::RaftStatus, ports::PeerTransport};

/// Raft on this server. Cheap to clone.
#[derive(Clone)]
pub struct RaftNode {
    pub(super) raft: Raft,
    pub(super) id: RaftId,
    pub(super) door: Arc<Door>,
    proposals: Arc<Mutex<Remembered>>,
    registry: watch::Receiver<Arc<State>>,
}

impl RaftNode {
    /// Starts Raft over a store. With a tie-break, one of two starts on hold.
    ///
    /// # Errors
    /// When the times contradict each other or the store cannot be read.
    pub async fn start(
        id: RaftId,
        timing: &Timing,
        peers: Arc<dyn PeerTransport>,
        store: OpenStore,
        tie_break: bool,
    ) -> Result<Self, String> {
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let config = Config {
            cluster_name: "tasuki".into(),
            heartbeat_interval: ms(timing.beat),
            heartbeat_min_interval: None,
            election_timeout_min: ms(timing.election_min),
            election_timeout_max: ms(timing.election_max),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(2000),
            max_in_snapshot_log_to_keep: 500,
            replication_lag_threshold: 1000,
            enable_pre_vote: Some(true),
            enable_leader_restore: Some(false), // R2: a leader that restarts is elected again
            enable_elect: false,                // until its own log was looked at: see `keep_gate`
            ..Config::default()
        };
        let config = config.validate().map_err(|error| error.to_string())?;
        let patience = Patience { retry: timing.beat, beat: timing.election_min, entries: timing.lease };
        let door = Arc::new(Door::new(id));
        let network = Network { peers, door: door.clone(), patience };
        let raft = Raft::new(id.0, Arc::new(config), network, store.log.clone(), store.machine.clone())
            .await
            .map_err(|error| error.to_string())?;
        door.follow(raft.metrics());
        let node = Self { raft, id, door, proposals: Arc::default(), registry: store.state.clone() };
        let own = node.own_log(Lineage::new(""));
        if tie_break && own.as_ref().is_some_and(|own| other_of_two(own).is_some()) {
            node.door.hold(); // the other one may have gone on alone
        }
        Ok(node)
    }

    /// Makes this server the only voter of a new registry; nothing when there is one already.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn found(&self, member: Member) -> Result<(), String> {
        match self.raft.is_initialized().await {
            Ok(true) => Ok(()),
            Ok(false) => {
                let members = BTreeMap::from([(self.id.0, Member { generation: 1, ..member })]);
                self.raft.initialize(members).await.map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether this server takes itself for the leader. A leader that is cut off still does.
    #[must_use]
    pub fn seems_leader(&self) -> bool {
        self.raft.is_leader()
    }

    /// One round to the voters (ReadIndex, R11): the term in which this server leads, once a quorum
    /// has answered and everything committed before, an entry of this term included, is applied.
    ///
    /// # Errors
    /// When this server does not lead, or no quorum answers.
    pub async fn confirm_leadership(&self) -> Result<Term, String> {
        let before = self.leading_term().await?;
        if planted::is(Planted::SelfMadeLeader) {
            return Ok(before);
        }
        match self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
        // Terms only grow: the same term before and after is the term of the round.
        let after = self.leading_term().await?;
        if before == after { Ok(after) } else { Err("the term changed during the round".into()) }
    }

    async fn leading_term(&self) -> Result<Term, String> {
        let id = self.id.0;
        let term = self.raft.with_raft_state(move |state| {
            let vote = state.vote_ref();
            let leads = vote.is_committed() && vote.leader_id().voted_for == id;
            leads.then(|| vote.leader_id().term)
        });
        let term = term.await.map_err(|error| error.to_string())?;
        term.map(Term).ok_or_else(|| "this server does not lead".into())
    }

    /// The last entry in this server's log, exactly.
    pub async fn last_log_index(&self) -> Option<u64> {
        self.raft.with_raft_state(|state| state.log_ids.last().map_or(0, |id| id.index())).await.ok()
    }

    /// Whether this server, when it leads, may keep the others from electing somebody else. One that
    /// hears too few of them keeps still: where only its own word gets through, they would wait for it
    /// until their leases end.
    pub fn speak(&self, speak: bool) {
        self.raft.runtime_config().heartbeat(speak);
    }

    /// Raft as seen here.
    #[must_use]
    pub fn status(&self) -> RaftStatus {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let name = |id: &u64| {
            metrics.membership_config.membership().get_node(id).map(|member| member.server.clone())
        };
        let members = self.members();
        let named = |votes: bool| -> Vec<ServerName> {
            members.iter().filter(|(_, _, v)| *v == votes).map(|(_, m, _)| m.server.clone()).collect()
        };
        RaftStatus {
            leader: metrics.current_leader.as_ref().and_then(name),
            term: Term(metrics.current_term),
            voters: named(true),
            learners: named(false),
            last_log: metrics.last_log_index.unwrap_or(0),
            applied: metrics.last_applied.map_or(0, |id| id.index()),
        }
    }

    /// Waits for a change of what [`RaftNode::status`] tells; the reason when Raft has stopped.
    ///
    /// # Errors
    /// When Raft has stopped: a store error is final for it (see the store's notes).
    pub async fn follow(&self, mut changed: impl FnMut(RaftStatus)) -> String {
        let mut metrics = self.raft.metrics();
        loop {
            changed(self.status());
            if let Err(fatal) = &metrics.borrow_watched().running_state {
                return fatal.to_string();
            }
            if metrics.changed().await.is_err() {
                return "Raft has stopped".into();
            }
        }
    }

    /// Whether this server is a candidate or leader by its own account, for shutting down.
    #[must_use]
    pub fn is_follower(&self) -> bool {
        let metrics = self.raft.metrics().borrow_watched().clone();
        matches!(metrics.state, ServerState::Follower | ServerState::Learner)
    }

    /// Stops Raft.
    pub async fn shutdown(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "Raft did not stop cleanly");
        }
    }
}
