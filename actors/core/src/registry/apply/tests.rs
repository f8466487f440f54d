//! Each rule that `apply` keeps, under its name. A test fails when its rule is taken out.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, time::Duration};

use super::*;
use crate::{
    config::{
        Automatic, Cardinality, ClusterConfig, ClusterSettings, Exclusive, ExecConfig, FinalAction,
        GroupConfig, MonitorConfig, MonitorKind, MonitorTiming, Named, PlacementPolicy, PoolConfig,
        RecoveryConfig, RecoveryTarget, ResourceConfig, ResourceDefinition, ResourceKind, ServerConfig,
        Startup, StopDependency,
    },
    ids::{BootId, Epoch, GroupName, Incarnation, Lineage, ResourceName, Revision, ServerName},
    reason::Reason,
    registry::{
        Author,
        command::{Charge, TokenRefusal},
        state::{
            AfterStop, ClusterMode, FAILURES_LIMIT, Facts, FailedResource, FailureKind, Failures,
            GroupReport, GroupState, MonitorReport, MonitorState, Ownership, ResourceReport, ResourceState,
            ServerMode, StartEvent, Target, VERSIONS_LIMIT,
        },
    },
    timing::Timing,
};

mod cluster;
mod configuration;
mod facts;
mod failures;
mod fencing;
mod instances;
mod joining;
mod levels;
mod monitors;
mod operators;
mod ownership;
mod pools;
mod reads;
mod repeated;
mod servers;
mod startup;
mod versions;
mod volumes;

/// A registry of kiki, lala and momo with the groups `web` (kiki, lala) and `mail` (lala, kiki),
/// played by hand.
#[derive(Clone)]
struct Play {
    state: State,
}

fn group(servers: &[&str]) -> GroupConfig {
    GroupConfig {
        comment: String::new(),
        servers: servers.iter().map(|name| (*name).into()).collect(),
        startup: Startup::Always,
        failover: Automatic::Auto,
        failback: Automatic::Manual,
        resources: BTreeMap::new(),
        ..GroupConfig::default()
    }
}

fn config() -> ClusterConfig {
    let server = |number| ServerConfig {
        role: Default::default(),
        domain: None,
        fencing: Vec::new(),
        number,
        comment: String::new(),
        addresses: BTreeMap::new(),
    };
    ClusterConfig {
        settings: ClusterSettings {
            votes: Default::default(),
            fences: BTreeMap::new(),
            on_hang: Default::default(),
            name: "test".into(),
            comment: String::new(),
            timing: Timing::from_detect(Duration::from_secs(1)),
            startup_wait: Duration::from_secs(5),
            networks: BTreeMap::new(),
            heartbeats: Vec::new(),
            port: 1,
            heartbeat_port: 2,
        },
        servers: (1..).zip(["kiki", "lala", "momo"]).map(|(n, name)| (name.into(), server(n))).collect(),
        groups: BTreeMap::from([
            ("web".into(), group(&["kiki", "lala"])),
            ("mail".into(), group(&["lala", "kiki"])),
        ]),
        types: BTreeMap::new(),
        pools: BTreeMap::new(),
        resources: BTreeMap::new(),
        monitors: BTreeMap::new(),
    }
}

fn program() -> ResourceConfig {
    ResourceConfig::of(ResourceKind::Exec(ExecConfig::of(vec!["/bin/true".into()])))
}

/// A resource outside every group, which may run anywhere.
fn definition(cardinality: Cardinality) -> ResourceDefinition {
    ResourceDefinition {
        type_name: "cluster_resource".into(),
        resource: program(),
        attributes: BTreeMap::new(),
        cardinality,
        placement: PlacementPolicy::Balanced,
        hosting_members: Vec::new(),
        server_pools: Vec::new(),
        load: 1,
        auto_start: Startup::Always,
        enabled: true,
        failover: Automatic::Auto,
        failback: Automatic::Manual,
        start: Vec::new(),
        stop: Vec::new(),
    }
}

fn web() -> GroupName {
    "web".into()
}

fn proposal(state: &State, command: Command) -> Proposal {
    Proposal {
        id: None,
        author: Author::Operator("test".into()),
        at: WallTime(100),
        lineage: state.lineage.clone(),
        read: Vec::new(),
        reason: None,
        command,
    }
}

fn refusal(reply: &Reply) -> &Refusal {
    match reply {
        Reply::Refused(refusal) => refusal,
        Reply::Applied { .. } => panic!("accepted: {reply:?}"),
    }
}

impl Play {
    /// Initialised, configured, nobody but kiki has joined.
    fn empty() -> Self {
        let mut play = Self { state: State::default() };
        let (lineage, founder) = (Lineage::new("history-1"), "kiki".into());
        play.ok(Command::Initialise { lineage, config: config(), founder });
        play
    }

    /// All three have joined and are up, each on its first boot.
    fn all_up() -> Self {
        let mut play = Self::empty();
        for server in ["lala", "momo"] {
            play.issue(server, None, 1000);
            play.ok(join(server, "secret", server));
        }
        for server in ["kiki", "lala", "momo"] {
            play.start(server, 1, "boot-1");
        }
        play
    }

    /// `web` runs on kiki under epoch 1.
    fn web_on_kiki() -> Self {
        let mut play = Self::all_up();
        play.assign("web", "kiki", 1);
        play
    }

    fn say(&mut self, command: Command) -> Reply {
        let proposal = proposal(&self.state, command);
        apply(&mut self.state, &proposal)
    }

    fn ok(&mut self, command: Command) -> Revision {
        match self.say(command) {
            Reply::Applied { revision, .. } => revision,
            Reply::Refused(refusal) => panic!("refused: {refusal}"),
        }
    }

    /// Says it, expects a refusal, and that nothing changed.
    fn refused(&mut self, command: Command) -> Refusal {
        let before = self.state.clone();
        let reply = self.say(command);
        assert_eq!(self.state, before, "a refusal changes nothing");
        refusal(&reply).clone()
    }

    fn issue(&mut self, id: &str, server: Option<&str>, expires: u64) {
        self.ok(Command::IssueToken {
            id: id.into(),
            digest: "secret".into(),
            server: server.map(Into::into),
            expires: WallTime(expires),
        });
    }

    /// Pushes the present configuration with changes.
    fn configure(&mut self, change: impl FnOnce(&mut ClusterConfig)) -> Revision {
        let mut config = self.state.config().unwrap();
        change(&mut config);
        self.ok(Command::SetConfig { config })
    }

    fn configure_web(&mut self, change: impl FnOnce(&mut GroupConfig)) -> Revision {
        self.configure(|config| change(config.groups.get_mut(&web()).unwrap()))
    }

    fn target(&self, group: &str) -> Target {
        self.state.groups[&group.into()].target.value
    }

    /// What the leader says, and why.
    fn leader_says(&mut self, command: Command, reason: Reason) -> Reply {
        let mut said = proposal(&self.state, command);
        said.author = Author::Leader("momo".into());
        said.reason = Some(reason);
        apply(&mut self.state, &said)
    }

    fn start(&mut self, server: &str, incarnation: u64, boot: &str) {
        self.ok(started(server, incarnation, boot));
    }

    fn assign(&mut self, group: &str, server: &str, epoch: u64) {
        self.ok(assign(group, server, epoch));
    }

    fn ownership(&self) -> &Ownership {
        &self.state.groups[&web()].ownership.value
    }

    fn owner(&self) -> Option<&str> {
        self.ownership().owner.as_ref().map(ServerName::as_str)
    }

    fn revision_of(&self, key: &Key) -> Revision {
        self.state.revision_of(key)
    }
}

fn started(server: &str, incarnation: u64, boot: &str) -> Command {
    Command::ServerStarted {
        server: server.into(),
        incarnation: Incarnation(incarnation),
        boot: BootId::new(boot),
    }
}

fn gone(server: &str, incarnation: u64) -> Command {
    Command::ServerGone { server: server.into(), incarnation: Incarnation(incarnation) }
}

fn stopped(server: &str, incarnation: u64) -> Command {
    Command::ServerStopped { server: server.into(), incarnation: Incarnation(incarnation) }
}

fn join(token: &str, digest: &str, server: &str) -> Command {
    Command::Join { token: token.into(), digest: digest.into(), server: server.into() }
}

fn assign(group: &str, server: &str, epoch: u64) -> Command {
    Command::Assign {
        group: group.into(),
        server: server.into(),
        epoch: Epoch(epoch),
        event: StartEvent::Start,
    }
}

fn release(epoch: u64, to: Option<&str>) -> Command {
    Command::Release {
        group: web(),
        epoch: Epoch(epoch),
        to: to.map(Into::into),
        event: StartEvent::Failover,
        charge: None,
    }
}

fn released(epoch: u64, server: &str) -> Command {
    Command::Released { group: web(), epoch: Epoch(epoch), server: server.into() }
}

fn report(epoch: u64, server: &str, state: GroupState) -> Command {
    let report = GroupReport {
        epoch: Epoch(epoch),
        server: server.into(),
        state,
        resources: BTreeMap::new(),
        failed: None,
    };
    Command::Report { group: web(), report }
}
