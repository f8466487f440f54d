//! A cluster of plain values: the real registry and the real placement decision, with owners that
//! obey at once. What goes wrong is asked for by name.

#![allow(dead_code, clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tasuki_core::{
    config::*,
    ids::*,
    placement::{
        dependency::waits_for,
        plan::{Decision, Input, decide},
    },
    registry::{
        Author, Command, Proposal, Reply, State, apply,
        state::{
            FailedResource, FailureKind, GroupReport, GroupState, ResourceReport, ResourceState, Target,
        },
    },
    time::WallTime,
    timing::Timing,
};

/// A resource that needs nothing but a program.
pub fn exec() -> ResourceConfig {
    ResourceConfig::of(ResourceKind::Exec(ExecConfig::of(vec!["/bin/true".into()])))
}

/// A definition with one instance anywhere.
pub fn definition() -> ResourceDefinition {
    ResourceDefinition {
        type_name: "cluster_resource".into(),
        resource: exec(),
        attributes: BTreeMap::new(),
        cardinality: Cardinality::Number(1),
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

/// Servers `s1`, `s2`, … and nothing to run.
pub fn cluster(servers: usize) -> ClusterConfig {
    let server = |number: usize| ServerConfig {
        role: Default::default(),
        domain: None,
        fencing: Vec::new(),
        number: u32::try_from(number).unwrap(),
        comment: String::new(),
        addresses: BTreeMap::new(),
    };
    ClusterConfig {
        settings: ClusterSettings {
            votes: Default::default(),
            fences: BTreeMap::new(),
            on_hang: Default::default(),
            name: "plain".into(),
            comment: String::new(),
            timing: Timing::from_detect(Duration::from_secs(1)),
            startup_wait: Duration::ZERO,
            networks: BTreeMap::new(),
            heartbeats: Vec::new(),
            port: 1,
            heartbeat_port: 2,
        },
        servers: (1..=servers).map(|n| (server_name(n), server(n))).collect(),
        groups: BTreeMap::new(),
        types: BTreeMap::new(),
        pools: BTreeMap::new(),
        resources: BTreeMap::new(),
        monitors: BTreeMap::new(),
    }
}

/// The n-th server, from 1.
pub fn server_name(n: usize) -> ServerName {
    ServerName::new(format!("s{n}"))
}

/// A cluster that is played.
pub struct Plain {
    pub state: State,
    pub fit: BTreeSet<ServerName>,
    incarnations: BTreeMap<ServerName, u64>,
    /// Every release of a unit that was online, with its reason as text.
    pub interruptions: Vec<(GroupName, String)>,
}

impl Plain {
    /// Founded; all servers have joined and none is up.
    pub fn founded(config: ClusterConfig) -> Self {
        let servers: Vec<ServerName> = config.servers.keys().cloned().collect();
        let mut plain = Self {
            state: State::default(),
            fit: BTreeSet::new(),
            incarnations: BTreeMap::new(),
            interruptions: Vec::new(),
        };
        let founder = servers[0].clone();
        plain.must(Command::Initialise { lineage: Lineage::new("l"), config, founder });
        for server in &servers[1..] {
            let (id, digest) = (server.to_string(), "d".to_owned());
            let expires = WallTime(u64::MAX);
            let issue = Command::IssueToken { id: id.clone(), digest: digest.clone(), server: None, expires };
            plain.must(issue);
            plain.must(Command::Join { token: id, digest, server: server.clone() });
        }
        plain
    }

    /// Founded, with all servers up.
    pub fn up(config: ClusterConfig) -> Self {
        let mut plain = Self::founded(config);
        let servers: Vec<ServerName> = plain.state.servers.keys().cloned().collect();
        for server in servers {
            plain.boot(&server);
        }
        plain
    }

    pub fn propose(&mut self, author: Author, decision: Option<Decision>, command: Option<Command>) -> Reply {
        let (command, reason, read) = match decision {
            Some(decision) => (decision.command, Some(decision.reason), decision.read),
            None => (command.unwrap(), None, Vec::new()),
        };
        let first = matches!(command, Command::Initialise { .. });
        let lineage = if first { None } else { self.state.lineage.clone() };
        let at = WallTime(self.state.revision.0 * 1000);
        apply(&mut self.state, &Proposal { id: None, author, at, lineage, read, reason, command })
    }

    /// A command that an operator or a server proposes.
    pub fn tell(&mut self, command: Command) -> Reply {
        self.propose(Author::Operator("root".into()), None, Some(command))
    }

    pub fn must(&mut self, command: Command) {
        let said = command.to_string();
        let reply = self.tell(command);
        assert!(matches!(reply, Reply::Applied { .. }), "{said}: {reply:?}");
    }

    pub fn boot(&mut self, server: &ServerName) {
        let count = self.incarnations.entry(server.clone()).or_default();
        *count += 1;
        let (incarnation, boot) = (Incarnation(*count), BootId::new(format!("{server}-{count}")));
        self.must(Command::ServerStarted { server: server.clone(), incarnation, boot });
        self.fit.insert(server.clone());
    }

    pub fn lose(&mut self, server: &ServerName) {
        let incarnation = self.state.presence(server).unwrap().incarnation;
        self.fit.remove(server);
        self.must(Command::ServerGone { server: server.clone(), incarnation });
    }

    pub fn decisions(&self) -> Vec<Decision> {
        decide(&Input { state: &self.state, fit: &self.fit, since_start: Duration::from_secs(3600) })
    }

    /// Whether a unit is online under its present ownership.
    pub fn online(&self, unit: &GroupName) -> bool {
        let Some(entry) = self.state.groups.get(unit) else { return false };
        let ownership = &entry.ownership.value;
        let report = entry.report.as_ref().map(|report| &report.value);
        ownership.owner.is_some()
            && report.is_some_and(|r| r.epoch == ownership.epoch && r.state == GroupState::Online)
    }

    pub fn owner(&self, unit: &GroupName) -> Option<&ServerName> {
        self.state.groups.get(unit)?.ownership.value.owner.as_ref()
    }

    /// A member fails for good on its owner.
    pub fn fail(&mut self, unit: &GroupName) {
        let Some(server) = self.owner(unit).cloned() else { return };
        self.report(unit, &server, GroupState::Error, ResourceState::OnlineFailure);
    }

    fn report(&mut self, unit: &GroupName, server: &ServerName, state: GroupState, each: ResourceState) {
        let entry = &self.state.groups[unit];
        let config = entry.config.as_ref().map(|config| &config.value);
        let names: Vec<ResourceName> =
            config.into_iter().flat_map(|config| config.resources.keys().cloned()).collect();
        let since = WallTime(self.state.revision.0 * 1000);
        let said = ResourceReport { state: each, detail: String::new(), since };
        let failed = (state == GroupState::Error).then(|| FailedResource {
            resource: names[0].clone(),
            kind: FailureKind::Ended,
            monitor: None,
        });
        let report = GroupReport {
            epoch: entry.ownership.value.epoch,
            server: server.clone(),
            state,
            resources: names.into_iter().map(|name| (name, said.clone())).collect(),
            failed,
        };
        self.must(Command::Report { group: unit.clone(), report });
    }

    /// The owners do what the registry says; whether anything was to be done.
    pub fn obey(&mut self) -> bool {
        let units: Vec<GroupName> = self.state.groups.keys().cloned().collect();
        let mut busy = false;
        for unit in units {
            let Some(entry) = self.state.groups.get(&unit) else { continue };
            let ownership = entry.ownership.value.clone();
            let Some(server) = ownership.owner else { continue };
            if ownership.release.is_some() {
                if waits_for(&self.state, &unit).is_empty() {
                    busy = true;
                    self.must(Command::Released { group: unit, epoch: ownership.epoch, server });
                }
                continue;
            }
            let known = entry.report.as_ref().is_some_and(|r| r.value.epoch == ownership.epoch);
            if !known {
                busy = true;
                self.report(&unit, &server, GroupState::Online, ResourceState::Online);
            }
        }
        busy
    }

    /// Lets the leader decide and the owners obey until nothing is left to do.
    pub fn settle(&mut self) {
        for _ in 0..2000 {
            let decisions = self.decisions();
            let mut busy = !decisions.is_empty();
            for decision in decisions {
                if let Command::Release { group, .. } = &decision.command
                    && self.online(group)
                {
                    self.interruptions.push((group.clone(), decision.reason.to_string()));
                }
                // One that another decision of the same round has overtaken is refused, and decided
                // again (R12).
                self.propose(Author::Leader("s1".into()), Some(decision), None);
            }
            busy |= self.obey();
            if !busy {
                return;
            }
        }
        let left = self.decisions();
        panic!("it never settles: {left:#?}");
    }

    /// Units that are wanted.
    pub fn wanted(&self) -> impl Iterator<Item = (&GroupName, &GroupConfig)> {
        self.state.groups.iter().filter_map(|(name, entry)| {
            let config = &entry.config.as_ref()?.value;
            (entry.target.value == Target::Online && config.enabled).then_some((name, config))
        })
    }
}
