//! The servers of a scenario: the registry, a life for each ownership, and what runs where.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use tasuki_core::{
    config::{ClusterConfig, FinalAction},
    group::lifecycle::{Action, CheckedState, Event, Lifecycle},
    ids::*,
    monitor::concerns,
    placement::plan::{Decision, Input, decide},
    reason::Reason,
    registry::{
        Author, Command, Key, Proposal, Reply, State, apply,
        state::{FailureKind, GroupReport, ResourceReport, ServerMode, StartEvent},
    },
    time::{Timestamp, WallTime},
};

/// A resource on a server, in whichever group.
type Spot = (ServerName, ResourceName);

struct Life {
    epoch: Epoch,
    life: Lifecycle,
    releasing: bool,
}

struct Operation {
    server: ServerName,
    group: GroupName,
    resource: ResourceName,
    start: bool,
}

pub struct World {
    state: State,
    now: Timestamp,
    powered: BTreeSet<ServerName>,
    lives: BTreeMap<(ServerName, GroupName), Life>,
    operations: VecDeque<Operation>,
    running: BTreeSet<(ServerName, GroupName, ResourceName)>,
    /// What does not start, and what does not stop.
    no_start: BTreeSet<Spot>,
    no_stop: BTreeSet<Spot>,
    /// What does not stop the next time only.
    once: BTreeSet<Spot>,
    log: Vec<String>,
}

impl World {
    pub fn new(config: &ClusterConfig) -> Self {
        let mut world = Self {
            state: State::default(),
            now: Timestamp(1_000_000_000_000),
            powered: BTreeSet::new(),
            lives: BTreeMap::new(),
            operations: VecDeque::new(),
            running: BTreeSet::new(),
            no_start: BTreeSet::new(),
            no_stop: BTreeSet::new(),
            once: BTreeSet::new(),
            log: Vec::new(),
        };
        let servers: Vec<ServerName> = config.servers.keys().cloned().collect();
        let lineage = Lineage::new("golden");
        world.operator(Command::Initialise { lineage, config: config.clone(), founder: servers[0].clone() });
        for (server, id) in servers.iter().zip(0..).skip(1) {
            let (id, digest) = (id.to_string(), "d".to_owned());
            let expires = WallTime(u64::MAX);
            world.operator(Command::IssueToken {
                id: id.clone(),
                digest: digest.clone(),
                server: None,
                expires,
            });
            world.operator(Command::Join { token: id, digest, server: server.clone() });
        }
        world
    }

    /// One line of the script: what follows from it, until nothing more does.
    pub fn play(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let spot = |resource: &str, server: &str| (ServerName::from(server), ResourceName::from(resource));
        match words[..] {
            ["the", "cluster", "starts"] => {
                let servers: Vec<ServerName> = self.state.servers.keys().cloned().collect();
                servers.iter().for_each(|server| self.boot(server));
            }
            [server, "boots"] => self.boot(&server.into()),
            [server, "loses", "power"] => self.lose_power(&server.into()),
            [resource, "does", "not", "start", "on", server] => {
                self.no_start.insert(spot(resource, server));
            }
            [resource, "does", "not", "stop", "on", server] => {
                self.no_stop.insert(spot(resource, server));
            }
            [resource, "does", "not", "stop", "on", server, "once"] => {
                self.no_stop.insert(spot(resource, server));
                self.once.insert(spot(resource, server));
            }
            [resource, "can", "start", "on", server] => {
                self.no_start.remove(&spot(resource, server));
            }
            [resource, "ends", "on", server] => self.end(&resource.into(), &server.into()),
            [resource, "is", "checked", "intermediate", "on", server] => {
                self.everywhere(server, || {
                    Event::Checked(resource.into(), CheckedState::Intermediate, "mounting".into())
                });
            }
            [monitor, "finds", "it", "bad", "on", server] => self.found(&monitor.into(), &server.into()),
            [monitor, "is", "well", "on", server] => {
                let monitor = MonitorName::from(monitor);
                self.everywhere(server, || Event::Mended { monitor: monitor.clone() });
            }
            [seconds, "seconds", "pass"] => self.pass(seconds.parse().unwrap()),
            ["the", "operator", "starts", group] => {
                self.operator(Command::StartGroup { group: group.into(), on: None });
            }
            ["the", "operator", "moves", group, "to", server] => {
                let to = Some(server.into());
                self.operator(Command::MoveGroup { group: group.into(), to, force: false });
            }
            ["the", "operator", "resets", group] => {
                self.operator(Command::ResetFailures { group: group.into() });
                let group = GroupName::from(group);
                let on: Vec<_> = self.lives.keys().filter(|(_, g)| *g == group).cloned().collect();
                on.iter().for_each(|(server, group)| self.event(server, group, Event::Reset));
            }
            ["show"] => self.show(),
            _ => panic!("what happens at {line:?}?"),
        }
        self.settle();
        std::mem::take(&mut self.log)
    }

    fn say(&mut self, text: String) {
        self.log.push(text);
    }

    // --- what happens -------------------------------------------------------------------------

    fn boot(&mut self, server: &ServerName) {
        self.powered.insert(server.clone());
        let incarnation = self.state.presence(server).unwrap().incarnation.next();
        let boot = BootId::new(format!("{server}-{incarnation}"));
        self.propose(
            Author::Server(server.clone()),
            Command::ServerStarted { server: server.clone(), incarnation, boot },
        );
    }

    /// Nothing runs there any more; the leader notices once the lease has ended.
    fn lose_power(&mut self, server: &ServerName) {
        self.go_dark(server);
        let incarnation = self.state.presence(server).unwrap().incarnation;
        let reason = Reason::LeaseRanOut { silent: Duration::from_secs(4) };
        let command = Command::ServerGone { server: server.clone(), incarnation };
        self.propose_because(Author::Leader(server.clone()), command, Some(reason), Vec::new());
    }

    fn go_dark(&mut self, server: &ServerName) {
        self.powered.remove(server);
        self.lives.retain(|(on, _), _| on != server);
        self.operations.retain(|operation| operation.server != *server);
        self.running.retain(|(on, ..)| on != server);
    }

    fn end(&mut self, resource: &ResourceName, server: &ServerName) {
        let which = self.running.iter().find(|(on, _, r)| on == server && r == resource).cloned();
        let which = which.expect("only what runs can end");
        self.running.remove(&which);
        self.event(server, &which.1, Event::Ended(resource.clone(), "killed".into()));
    }

    fn found(&mut self, monitor: &MonitorName, server: &ServerName) {
        let config = self.state.monitors[monitor].config.value.clone();
        for (group, resources) in concerns(&self.state, &config, server) {
            let (why, restarts) = ("exit code 1".to_owned(), config.recovery.restarts);
            self.event(server, &group, Event::Found { monitor: monitor.clone(), resources, why, restarts });
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        let lives: Vec<_> = self.lives.keys().cloned().collect();
        lives.iter().for_each(|(server, group)| self.event(server, group, Event::Tick));
    }

    fn everywhere(&mut self, server: &str, event: impl Fn() -> Event) {
        let lives: Vec<_> = self.lives.keys().filter(|(on, _)| on.as_str() == server).cloned().collect();
        lives.iter().for_each(|(server, group)| self.event(server, group, event()));
    }

    // --- what follows -------------------------------------------------------------------------

    fn settle(&mut self) {
        for _ in 0..500 {
            if !(self.lead() || self.obey() || self.operate() || self.leave()) {
                return;
            }
        }
        panic!("it never settles: {:#?}", self.log);
    }

    /// The leader decides once; says whether anything came of it.
    fn lead(&mut self) -> bool {
        let fit: BTreeSet<ServerName> = self.powered.clone();
        let input = Input { state: &self.state, fit: &fit, since_start: Duration::from_secs(60) };
        let decisions = decide(&input);
        for Decision { command, reason, read } in &decisions {
            self.tell_decision(command, reason);
            let leader = Author::Leader("leader".into());
            let reply = self.propose_because(leader, command.clone(), Some(reason.clone()), read.clone());
            assert!(matches!(reply, Reply::Applied { .. }), "{command}: {reply:?}");
            if let Command::Finally { action: FinalAction::Reset, group, .. } = command {
                let owner = self.state.groups[group].ownership.value.owner.clone().unwrap();
                self.say(format!("{owner} is reset, with all that ran"));
                self.lose_power(&owner);
            }
        }
        !decisions.is_empty()
    }

    fn tell_decision(&mut self, command: &Command, reason: &Reason) {
        let owner = |group| self.state.groups[group].ownership.value.owner.clone().unwrap();
        let text = match command {
            Command::Release { group, to, .. } => {
                let to = to.as_ref().map_or("nowhere yet".to_owned(), |to| format!("for {to}"));
                format!("leader: {group} leaves {} {to}", owner(group))
            }
            Command::Assign { group, server, event: StartEvent::Start, .. } => {
                format!("leader: {group} starts on {server}")
            }
            Command::Assign { group, server, event: StartEvent::Failover, .. } => {
                format!("leader: {group} fails over to {server}")
            }
            Command::Finally { group, resource, action, .. } => {
                let action = match action {
                    FinalAction::None => "nothing",
                    FinalAction::Stop => "stop",
                    FinalAction::StopAndReboot => "stop and reboot",
                    FinalAction::StopAndPowerOff => "stop and power off",
                    FinalAction::Reset => "reset",
                };
                format!("leader: final action for {resource} on {}: {action}", owner(group))
            }
            other => format!("leader: {other}"),
        };
        self.say(format!("{text}, because {reason}"));
    }

    /// The owners see the registry: a life for each ownership, told of its release.
    fn obey(&mut self) -> bool {
        let owned: BTreeMap<(ServerName, GroupName), Epoch> = self
            .state
            .groups
            .iter()
            .filter_map(|(name, entry)| {
                let ownership = &entry.ownership.value;
                let owner = ownership.owner.clone()?;
                self.powered.contains(&owner).then(|| ((owner, name.clone()), ownership.epoch))
            })
            .collect();
        let before = self.lives.len();
        self.lives.retain(|key, life| owned.get(key) == Some(&life.epoch));
        let mut changed = self.lives.len() != before;
        for ((server, group), epoch) in owned {
            let key = (server.clone(), group.clone());
            if !self.lives.contains_key(&key) {
                changed = true;
                let entry = &self.state.groups[&group];
                let config = entry.config.as_ref().unwrap().value.clone();
                let failures = &entry.failures.value;
                let life = Lifecycle::new(config, &server, failures, self.now);
                let life = life.remembering(failures, &server, wall(self.now), self.now);
                self.lives.insert(key.clone(), Life { epoch, life, releasing: false });
                let here = self.running.iter().filter(|(on, g, _)| *on == server && *g == group);
                let running = here.map(|(.., resource)| resource.clone()).collect();
                self.event(&server, &group, Event::Begin { running });
            }
            let release = self.state.groups[&group].ownership.value.release.is_some();
            if release && !self.lives[&key].releasing {
                changed = true;
                self.lives.get_mut(&key).unwrap().releasing = true;
                self.event(&server, &group, Event::Release);
            }
        }
        changed
    }

    /// The oldest operation ends.
    fn operate(&mut self) -> bool {
        let Some(Operation { server, group, resource, start }) = self.operations.pop_front() else {
            return false;
        };
        let spot = (server.clone(), resource.clone());
        let fails = if start { &self.no_start } else { &self.no_stop }.contains(&spot);
        if !start && self.once.remove(&spot) {
            self.no_stop.remove(&spot);
        }
        let verb = if start { "start" } else { "stop" };
        self.say(format!("{server}: {verb} {resource}{}", if fails { " fails" } else { "" }));
        let place = (server.clone(), group.clone(), resource.clone());
        let event = match (start, fails) {
            (true, true) => Event::StartFailed(resource, "exit code 1".into()),
            (false, true) => Event::StopFailed(resource, "exit code 1".into()),
            (true, false) => {
                self.running.insert(place);
                Event::Started(resource)
            }
            (false, false) => {
                self.running.remove(&place);
                Event::Stopped(resource)
            }
        };
        self.event(&server, &group, event);
        true
    }

    /// A server that should stop does so once its groups have: what does not stop is ended with it.
    fn leave(&mut self) -> bool {
        let leaving = self.powered.iter().find(|server| {
            let presence = self.state.presence(server).unwrap();
            let failed = |life: &Life| life.life.failed().is_some_and(|f| f.kind == FailureKind::Stop);
            let mut lives = self.lives.iter().filter(|((on, _), _)| on == *server);
            presence.mode != ServerMode::Active && lives.all(|(_, life)| failed(life))
        });
        let Some(server) = leaving.cloned() else { return false };
        let ServerMode::Leaving(after) = self.state.presence(&server).unwrap().mode else { return false };
        self.say(format!("{server} has stopped, then: {after:?}"));
        self.go_dark(&server);
        let incarnation = self.state.presence(&server).unwrap().incarnation;
        self.propose(Author::Server(server.clone()), Command::ServerStopped { server, incarnation });
        true
    }

    fn event(&mut self, server: &ServerName, group: &GroupName, event: Event) {
        let key = (server.clone(), group.clone());
        let Some(life) = self.lives.get_mut(&key) else { return };
        let (epoch, actions) = (life.epoch, life.life.on(event, self.now));
        for action in actions {
            self.perform(server, group, epoch, action);
        }
    }

    fn perform(&mut self, server: &ServerName, group: &GroupName, epoch: Epoch, action: Action) {
        let (by, here, which) = (Author::Server(server.clone()), server.clone(), group.clone());
        let operation = |resource, start| Operation { server: here, group: which, resource, start };
        let (server, group) = (server.clone(), group.clone());
        let command = match action {
            Action::Start(resource) => return self.operations.push_back(operation(resource, true)),
            Action::Stop(resource) => {
                self.operations
                    .retain(|o| (&o.server, &o.group, &o.resource) != (&server, &group, &resource));
                return self.operations.push_back(operation(resource, false));
            }
            Action::Report => Command::Report { report: self.report(&server, &group), group },
            Action::CountRetry(resource, kind) => {
                Command::CountRetry { group, epoch, resource, server, kind }
            }
            Action::CountRestart { monitor, resource } => {
                self.say(format!("{server}: {monitor} has {resource} restarted"));
                Command::CountRestart { group, epoch, monitor, resource, server }
            }
            Action::Steady { resource, monitors } => {
                let names: String = monitors.iter().map(|monitor| format!(" and {monitor}")).collect();
                self.say(format!("{server}: the counters of {resource}{names} start again"));
                Command::Steady { group, epoch, resource, monitors }
            }
            Action::Released => {
                let left = self.running.iter().find(|(on, g, _)| *on == server && *g == group);
                assert_eq!(left, None, "released while it runs");
                Command::Released { group, epoch, server }
            }
        };
        self.propose(by, command);
    }

    fn report(&self, server: &ServerName, group: &GroupName) -> GroupReport {
        let Life { epoch, life, .. } = &self.lives[&(server.clone(), group.clone())];
        let resources = life.resources().map(|(name, state, detail)| {
            let report = ResourceReport { state, detail: detail.to_owned(), since: wall(self.now) };
            (name.clone(), report)
        });
        GroupReport {
            epoch: *epoch,
            server: server.clone(),
            state: life.state(),
            resources: resources.collect(),
            failed: life.failed().cloned(),
        }
    }

    // --- the registry -------------------------------------------------------------------------

    fn operator(&mut self, command: Command) {
        self.propose(Author::Operator("golden".into()), command);
    }

    fn propose(&mut self, author: Author, command: Command) {
        let text = command.to_string();
        let reply = self.propose_because(author, command, None, Vec::new());
        assert!(matches!(reply, Reply::Applied { .. }), "{text}: {reply:?}");
    }

    fn propose_because(
        &mut self,
        author: Author,
        command: Command,
        reason: Option<Reason>,
        read: Vec<(Key, Revision)>,
    ) -> Reply {
        let (lineage, at) = (self.state.lineage.clone(), wall(self.now));
        apply(&mut self.state, &Proposal { id: None, author, at, lineage, read, reason, command })
    }

    /// What operators see: every group, its resources, the counters.
    fn show(&mut self) {
        let mut lines = Vec::new();
        for (name, entry) in &self.state.groups {
            let owner = entry.ownership.value.owner.as_ref();
            let Some((owner, report)) = owner.zip(entry.report.as_ref()) else {
                lines.push(format!("{name}: nowhere"));
                continue;
            };
            let report = &report.value;
            let failed = report.failed.as_ref().map(|failed| {
                let by = failed.monitor.as_ref().map_or(String::new(), |monitor| format!(" by {monitor}"));
                format!(", {} failed ({:?}{by})", failed.resource, failed.kind)
            });
            lines.push(format!("{name}: {:?} on {owner}{}", report.state, failed.unwrap_or_default()));
            for (resource, report) in &report.resources {
                let detail =
                    if report.detail.is_empty() { String::new() } else { format!(" ({})", report.detail) };
                lines.push(format!("{resource}: {:?}{detail}", report.state));
            }
        }
        for entry in self.state.groups.values() {
            let failures = &entry.failures.value;
            let resources = failures.counts.iter().map(|(name, by)| (name.to_string(), by));
            let monitors = failures.monitors.iter().map(|(name, by)| (name.to_string(), by));
            for (name, by) in resources.chain(monitors) {
                for (server, count) in by {
                    lines.push(format!(
                        "counted for {name} on {server}: {} here, {} handed on",
                        count.retries, count.failovers
                    ));
                }
            }
        }
        self.log.extend(lines);
    }
}

fn wall(now: Timestamp) -> WallTime {
    WallTime(now.0 / 1_000_000)
}
