//! The cluster of a scenario: the registry, a leader that decides, and owners that obey.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tasuki_core::{
    config::ClusterConfig,
    ids::*,
    placement::{
        dependency::waits_for,
        plan::{Decision, Input, decide},
        report::report,
    },
    registry::{
        Author, Command, Key, Proposal, Reply, State, apply,
        mirror::VolumeCommand,
        state::{
            AfterStop, ClusterMode, FailedResource, FailureKind, GroupReport, GroupState, Ownership,
            ResourceReport, ResourceState, ServerMode,
        },
    },
    time::WallTime,
};

pub struct World {
    state: State,
    now: u64,
    incarnations: BTreeMap<ServerName, u64>,
    /// Units whose start takes until the scenario says `online`, and whose stop until `stopped`.
    slow: BTreeSet<GroupName>,
    stuck: BTreeSet<GroupName>,
    /// Where a unit does not start.
    broken: BTreeSet<(GroupName, ServerName)>,
    log: Vec<String>,
    shown: String,
}

impl World {
    /// A cluster whose servers have joined and are down.
    pub fn new(config: &ClusterConfig) -> Self {
        let mut world = Self {
            state: State::default(),
            now: 1_000_000,
            incarnations: BTreeMap::new(),
            slow: BTreeSet::new(),
            stuck: BTreeSet::new(),
            broken: BTreeSet::new(),
            log: Vec::new(),
            shown: String::new(),
        };
        let mut servers: Vec<ServerName> = config.servers.keys().cloned().collect();
        servers.sort_by_key(|name| config.servers[name].number);
        let founder = servers[0].clone();
        world.must(Command::Initialise { lineage: Lineage::new("golden"), config: config.clone(), founder });
        for server in &servers[1..] {
            let (id, digest) = (server.to_string(), "d".to_owned());
            let expires = WallTime(u64::MAX);
            world.must(Command::IssueToken { id: id.clone(), digest: digest.clone(), server: None, expires });
            world.must(Command::Join { token: id, digest, server: server.clone() });
        }
        world
    }

    /// Plays the events of one line, then lets everybody come to rest; what was said meanwhile.
    pub fn play(&mut self, events: &str) -> Vec<String> {
        for event in events.split(", ") {
            let words: Vec<&str> = event.split_whitespace().collect();
            self.event(&words);
        }
        self.settle();
        let shown = self.overview();
        if shown != self.shown {
            self.log.push(format!("= {shown}"));
            self.shown = shown;
        }
        std::mem::take(&mut self.log)
    }

    fn event(&mut self, words: &[&str]) {
        match *words {
            ["up", server] => self.up(server.into()),
            ["gone", server] => {
                let server = ServerName::from(server);
                let incarnation = self.state.presence(&server).unwrap().incarnation;
                self.must(Command::ServerGone { server, incarnation });
            }
            ["leave", server] => {
                self.operator(Command::ServerLeave { server: server.into(), after: AfterStop::Nothing });
            }
            ["stop", "cluster"] => {
                self.operator(Command::SetMode { mode: ClusterMode::Stopping(AfterStop::Nothing) });
            }
            ["start", unit] => self.operator(Command::StartGroup { group: unit.into(), on: None }),
            ["start", unit, "on", server] => {
                self.operator(Command::StartGroup { group: unit.into(), on: Some(server.into()) });
            }
            ["stop", unit] => self.operator(Command::StopGroup { group: unit.into(), force: false }),
            ["force", "stop", unit] => self.operator(Command::StopGroup { group: unit.into(), force: true }),
            ["move", unit, server] => self.move_to(unit, server, false),
            ["force", "move", unit, server] => self.move_to(unit, server, true),
            ["enable", unit] => self.enable(unit, true),
            ["disable", unit] => self.enable(unit, false),
            ["slow", unit] => drop(self.slow.insert(unit.into())),
            ["stuck", unit] => drop(self.stuck.insert(unit.into())),
            ["broken", unit, "on", server] => drop(self.broken.insert((unit.into(), server.into()))),
            ["online", unit] => self.report(&unit.into(), GroupState::Online, ResourceState::Online, None),
            ["intermediate", unit] => {
                self.report(&unit.into(), GroupState::Online, ResourceState::Intermediate, None);
            }
            ["restarts", unit] => {
                self.report(&unit.into(), GroupState::OnlinePending, ResourceState::OnlinePending, None);
            }
            ["fails", unit] => {
                let failed = Some(FailureKind::Ended);
                self.report(&unit.into(), GroupState::Error, ResourceState::OnlineFailure, failed);
            }
            ["form", volume, "for", unit, "good", ref good @ ..] => {
                let group = GroupName::from(unit);
                let ownership = self.ownership(&group);
                let (server, group_epoch) = (ownership.owner.unwrap(), ownership.epoch);
                let good = good.iter().map(|name| ServerName::from(*name)).collect();
                self.volume(volume, VolumeCommand::Form { group, server, group_epoch, size: 4096, good });
            }
            ["open", volume] => {
                let facts = self.state.volumes[&volume.into()].value.clone();
                let ownership = self.ownership(&facts.group);
                let (server, group_epoch) = (ownership.owner.unwrap(), ownership.epoch);
                let (epoch, without) = (facts.epoch.next(), BTreeSet::new());
                self.volume(volume, VolumeCommand::Open { server, group_epoch, epoch, without });
            }
            ["outdate", volume, copy] => {
                let (server, epoch) = self.opened(volume);
                let copies = BTreeSet::from([copy.into()]);
                self.volume(volume, VolumeCommand::Outdate { server, epoch, copies });
            }
            ["synced", volume, copy] => {
                let (server, epoch) = self.opened(volume);
                self.volume(volume, VolumeCommand::UpToDate { server, epoch, copy: copy.into() });
            }
            ["close", volume] => {
                let (server, epoch) = self.opened(volume);
                self.volume(volume, VolumeCommand::Close { server, epoch });
            }
            ["force", "copy", volume, server] => {
                let command = VolumeCommand::Force { server: server.into() };
                self.operator(Command::Volume { volume: volume.into(), command });
            }
            ["explain", unit] => self.explain(&unit.into()),
            ["stopped", unit] => {
                let unit = GroupName::from(unit);
                let ownership = self.ownership(&unit);
                assert!(self.stuck.remove(&unit), "{unit} stops by itself");
                self.stop(&unit, &ownership);
            }
            _ => panic!("what is {words:?}?"),
        }
    }

    /// What the owner of a volume says, decided on what is known now.
    fn volume(&mut self, name: &str, command: VolumeCommand) {
        let key = Key::Volume(name.into());
        let read = vec![(key.clone(), self.state.revision_of(&key))];
        let command = Command::Volume { volume: name.into(), command };
        let reply = self.propose(Author::Server("kiki".into()), None, read, command);
        assert!(matches!(reply, Reply::Applied { .. }), "{reply:?}");
    }

    fn opened(&self, name: &str) -> (ServerName, Epoch) {
        let facts = &self.state.volumes[&name.into()].value;
        (facts.owner.clone().unwrap(), facts.epoch)
    }

    /// What operators are told of a group's place.
    fn explain(&mut self, unit: &GroupName) {
        let up = |name: &&ServerName| self.state.presence(name).is_some_and(|presence| presence.up);
        let fit: BTreeSet<ServerName> = self.state.servers.keys().filter(up).cloned().collect();
        let input = Input { state: &self.state, fit: &fit, since_start: Duration::from_secs(3600) };
        let said = report(&input, unit).unwrap();
        self.log.push(format!("explain {unit}: {}", said.place));
        self.log.extend(said.servers.iter().map(|(server, how)| format!("explain {server}: {how}")));
    }

    fn up(&mut self, server: ServerName) {
        let count = self.incarnations.entry(server.clone()).or_default();
        *count += 1;
        let (incarnation, boot) = (Incarnation(*count), BootId::new(format!("{server}-{count}")));
        self.must(Command::ServerStarted { server, incarnation, boot });
    }

    fn move_to(&mut self, unit: &str, server: &str, force: bool) {
        self.operator(Command::MoveGroup { group: unit.into(), to: Some(server.into()), force });
    }

    fn enable(&mut self, name: &str, enabled: bool) {
        let mut config = self.state.config().unwrap();
        if let Some(group) = config.groups.get_mut(&name.into()) {
            group.enabled = enabled;
        } else {
            config.resources.get_mut(&name.into()).unwrap().enabled = enabled;
        }
        self.must(Command::SetConfig { config });
    }

    // --- everybody comes to rest --------------------------------------------------------------

    fn settle(&mut self) {
        for _ in 0..200 {
            let decided = self.decide();
            let obeyed = self.obey();
            if !decided && !obeyed {
                return;
            }
        }
        panic!("it does not come to rest:\n{}", self.log.join("\n"));
    }

    /// One round of the leader. A decision that another one of the round overtook is refused (R12)
    /// and comes again if it is still right.
    fn decide(&mut self) -> bool {
        let up = |name: &&ServerName| self.state.presence(name).is_some_and(|presence| presence.up);
        let fit: BTreeSet<ServerName> = self.state.servers.keys().filter(up).cloned().collect();
        let input = Input { state: &self.state, fit: &fit, since_start: Duration::from_secs(3600) };
        let decisions = decide(&input);
        assert_eq!(decide(&input), decisions, "the same picture gives the same decisions");
        let mut applied = decisions.is_empty();
        for decision in &decisions {
            let said = self.said(decision);
            let (reason, read) = (Some(decision.reason.clone()), decision.read.clone());
            let reply = self.propose(Author::Leader("kiki".into()), reason, read, decision.command.clone());
            if matches!(reply, Reply::Applied { .. }) {
                applied = true;
                self.log.push(format!("leader: {said}, because {}", decision.reason));
            }
        }
        assert!(applied, "nothing of this can be applied: {decisions:#?}");
        !decisions.is_empty()
    }

    fn said(&self, decision: &Decision) -> String {
        match &decision.command {
            Command::Assign { group, server, .. } => format!("{group} starts on {server}"),
            Command::Release { group, to, .. } => {
                let owner = self.ownership(group).owner.unwrap();
                let to = to.as_ref().map(|to| format!(" for {to}")).unwrap_or_default();
                format!("{group} leaves {owner}{to}")
            }
            Command::StartGroup { group, on } => {
                let on = on.as_ref().map(|on| format!(" on {on}")).unwrap_or_default();
                format!("{group} is wanted{on}")
            }
            Command::FillPools { members } => {
                let mut by_pool: BTreeMap<&PoolName, Vec<&str>> = BTreeMap::new();
                for (server, pool) in members {
                    by_pool.entry(pool).or_default().push(server.as_str());
                }
                let lists: Vec<String> = by_pool
                    .iter()
                    .map(|(pool, servers)| format!("{pool} has {}", servers.join(" ")))
                    .collect();
                if lists.is_empty() { "no pool has a server".to_owned() } else { lists.join(", ") }
            }
            other => other.to_string(),
        }
    }

    /// One round of the owners; whether anything was to be done.
    fn obey(&mut self) -> bool {
        let units: Vec<GroupName> = self.state.groups.keys().cloned().collect();
        let mut busy = false;
        for unit in units {
            let Some(entry) = self.state.groups.get(&unit) else { continue };
            let ownership = entry.ownership.value.clone();
            let Some(owner) = ownership.owner.clone() else { continue };
            if ownership.release.is_some() {
                let may = waits_for(&self.state, &unit).is_empty() && !self.stuck.contains(&unit);
                if may {
                    self.stop(&unit, &ownership);
                    busy = true;
                }
                continue;
            }
            let reported = entry.report.as_ref().is_some_and(|report| report.value.epoch == ownership.epoch);
            if reported {
                continue;
            }
            busy = true;
            let (state, each, failed) = if self.broken.contains(&(unit.clone(), owner)) {
                (GroupState::Error, ResourceState::OnlineFailure, Some(FailureKind::Start))
            } else if self.slow.contains(&unit) {
                (GroupState::OnlinePending, ResourceState::OnlinePending, None)
            } else {
                (GroupState::Online, ResourceState::Online, None)
            };
            self.report(&unit, state, each, failed);
        }
        busy | self.go_down()
    }

    fn stop(&mut self, unit: &GroupName, ownership: &Ownership) {
        let server = ownership.owner.clone().unwrap();
        self.log.push(format!("{server}: {unit} has stopped"));
        self.must(Command::Released { group: unit.clone(), epoch: ownership.epoch, server });
    }

    /// A server that leaves, or stops with the cluster, is down once it runs nothing.
    fn go_down(&mut self) -> bool {
        let servers: Vec<ServerName> = self.state.servers.keys().cloned().collect();
        let mut busy = false;
        for server in servers {
            let presence = self.state.presence(&server).unwrap();
            let leaves =
                presence.mode != ServerMode::Active || self.state.stops_with_cluster(&server).is_some();
            if presence.up && leaves && self.state.owned_by(&server).next().is_none() {
                let incarnation = presence.incarnation;
                self.log.push(format!("{server}: has stopped"));
                self.must(Command::ServerStopped { server, incarnation });
                busy = true;
            }
        }
        busy
    }

    fn report(
        &mut self,
        unit: &GroupName,
        state: GroupState,
        each: ResourceState,
        failed: Option<FailureKind>,
    ) {
        let entry = &self.state.groups[unit];
        let ownership = entry.ownership.value.clone();
        let server = ownership.owner.unwrap_or_else(|| panic!("nobody runs {unit}"));
        let names: Vec<ResourceName> =
            entry.config.iter().flat_map(|config| config.value.resources.keys().cloned()).collect();
        self.log.push(format!("{server}: {unit} {}", words(each)));
        let said = ResourceReport { state: each, detail: String::new(), since: WallTime(self.now) };
        let resource = names[0].clone();
        let report = GroupReport {
            epoch: ownership.epoch,
            server,
            state,
            resources: names.into_iter().map(|name| (name, said.clone())).collect(),
            failed: failed.map(|kind| FailedResource { resource, kind, monitor: None }),
        };
        self.must(Command::Report { group: unit.clone(), report });
    }

    // --- the registry -------------------------------------------------------------------------

    fn propose(
        &mut self,
        author: Author,
        reason: Option<tasuki_core::reason::Reason>,
        read: Vec<(tasuki_core::registry::Key, Revision)>,
        command: Command,
    ) -> Reply {
        self.now += 1000;
        let first = matches!(command, Command::Initialise { .. });
        let lineage = if first { None } else { self.state.lineage.clone() };
        let at = WallTime(self.now);
        apply(&mut self.state, &Proposal { id: None, author, at, lineage, read, reason, command })
    }

    /// What an operator asks for may be refused.
    fn operator(&mut self, command: Command) {
        match self.propose(Author::Operator("root".into()), None, Vec::new(), command) {
            Reply::Applied { .. } => {}
            Reply::Refused(refusal) => self.log.push(format!("refused: {refusal}")),
        }
    }

    fn must(&mut self, command: Command) {
        let said = command.to_string();
        let reply = self.propose(Author::Operator("root".into()), None, Vec::new(), command);
        assert!(matches!(reply, Reply::Applied { .. }), "{said}: {reply:?}\n{}", self.log.join("\n"));
    }

    fn ownership(&self, unit: &GroupName) -> Ownership {
        self.state.groups[unit].ownership.value.clone()
    }

    /// What runs where: every server in its order, then what runs nowhere.
    fn overview(&self) -> String {
        let mut servers: Vec<_> = self.state.servers.iter().collect();
        servers.sort_by_key(|(_, server)| server.config.value.number);
        let mut parts = Vec::new();
        for (name, _) in servers {
            let units: Vec<String> =
                self.state.owned_by(name).map(|(unit, _)| self.with_state(unit)).collect();
            if !units.is_empty() {
                parts.push(format!("{name} {}", units.join(" ")));
            } else if self.state.presence(name).is_some_and(|presence| presence.up) {
                parts.push(format!("{name} nothing"));
            }
        }
        let vacant = self.state.groups.iter().filter(|(_, entry)| entry.ownership.value.owner.is_none());
        let vacant: Vec<&str> = vacant.map(|(unit, _)| unit.as_str()).collect();
        if !vacant.is_empty() {
            parts.push(format!("nowhere {}", vacant.join(" ")));
        }
        parts.join("; ")
    }

    fn with_state(&self, unit: &GroupName) -> String {
        let entry = &self.state.groups[unit];
        let epoch = entry.ownership.value.epoch;
        let report = entry.report.as_ref().map(|report| &report.value).filter(|report| report.epoch == epoch);
        let each = report.and_then(|report| report.resources.values().next()).map(|resource| resource.state);
        let leaving = if entry.ownership.value.release.is_some() { ", leaving" } else { "" };
        match each {
            Some(ResourceState::Online) if leaving.is_empty() => unit.to_string(),
            Some(state) => format!("{unit} ({}{leaving})", state.to_string().to_lowercase()),
            None => format!("{unit} (unknown{leaving})"),
        }
    }
}

fn words(state: ResourceState) -> &'static str {
    match state {
        ResourceState::Online => "is online",
        ResourceState::Intermediate => "is intermediate",
        ResourceState::OnlinePending => "is starting",
        ResourceState::OnlineFailure => "has failed",
        _ => "is in another state",
    }
}
