//! The decisions together, without any I/O: registry, placement, ladder and the groups' lives on
//! several servers, through random crashes, restarts, failures, operators and late decisions.
//!
//! Always: no resource runs on two servers (R13); what a decision read and has moved on changes
//! nothing (R12). At the end, when the faults stop: everything wanted and not given up on runs, and
//! deciding again gives nothing. `PROPTEST_CASES=10000` looks longer.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use tasuki_core::{
    config::*,
    group::lifecycle::{Action, Event, Lifecycle},
    ids::*,
    monitor::concerns,
    placement::plan::{Decision, Input, decide},
    reason::Reason,
    registry::{
        Author, Command, Proposal, Reply, State, apply,
        state::{FailureKind, GroupReport, GroupState, Target},
    },
    time::{Timestamp, WallTime},
    timing::Timing,
};

const SERVERS: [&str; 3] = ["kiki", "lala", "mimi"];
const GROUPS: [&str; 2] = ["web", "mail"];
const MONITORS: [&str; 2] = ["db-watch", "uplink"];

/// One random thing. Numbers choose among what is there, whatever it is then.
#[derive(Clone, Debug)]
enum Step {
    /// The leader decides; the decisions arrive later, or never.
    Decide,
    /// The oldest decision under way arrives.
    Arrive,
    /// The oldest decision under way is lost.
    Lose,
    /// A server looks at the registry.
    Look(usize),
    /// An operation ends: well, or not.
    Finish(usize, bool),
    /// A server loses power.
    Crash(usize),
    /// A server whose lease has run out is judged.
    Judge(usize),
    /// A server boots.
    Boot(usize),
    /// A node restarts; what runs goes on.
    Restart(usize),
    /// A program ends by itself.
    End(usize),
    /// A monitor on a server finds what it watches bad, or all of them are well again.
    Find(usize, usize),
    Mend,
    /// An operator starts, stops or moves a group.
    Operate(usize, u8, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Decide),
        6 => Just(Step::Arrive),
        1 => Just(Step::Lose),
        8 => (0..3usize).prop_map(Step::Look),
        8 => (any::<usize>(), prop::bool::weighted(0.85)).prop_map(|(n, ok)| Step::Finish(n, ok)),
        1 => (0..3usize).prop_map(Step::Crash),
        2 => (0..3usize).prop_map(Step::Judge),
        2 => (0..3usize).prop_map(Step::Boot),
        1 => (0..3usize).prop_map(Step::Restart),
        1 => any::<usize>().prop_map(Step::End),
        2 => (0..3usize, 0..2usize).prop_map(|(server, monitor)| Step::Find(server, monitor)),
        1 => Just(Step::Mend),
        2 => (0..2usize, 0..3u8, 0..3usize).prop_map(|(g, what, s)| Step::Operate(g, what, s)),
    ];
    prop::collection::vec(step, 1..250)
}

fn config() -> ClusterConfig {
    let exec = |needs: &[&str]| ResourceConfig {
        comment: String::new(),
        depends_on: Some(needs.iter().map(|n| (*n).into()).collect()),
        on_start_failure: StartFailurePolicy { retries: 1, failovers: 1, last: FinalAction::None },
        on_stop_failure: StopFailurePolicy { retries: 50, last: FinalAction::None },
        kind: ResourceKind::Exec(ExecConfig {
            start: vec!["x".into()],
            stop: None,
            wait: true,
            user: None,
            directory: None,
            environment: BTreeMap::new(),
            start_timeout: Duration::from_secs(1),
            stop_timeout: Duration::from_secs(1),
            watch: true,
            check: None,
            read_only: false,
        }),
        ..ResourceConfig::of(ResourceKind::Exec(ExecConfig::of(Vec::new())))
    };
    let group = |servers: &[&str], failback| GroupConfig {
        comment: String::new(),
        servers: servers.iter().map(|s| (*s).into()).collect(),
        startup: Startup::Always,
        failover: Automatic::Auto,
        failback,
        resources: BTreeMap::from([("db".into(), exec(&[])), ("app".into(), exec(&["db"]))]),
        ..GroupConfig::default()
    };
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
            name: "prop".into(),
            comment: String::new(),
            timing: Timing::from_detect(Duration::from_secs(1)),
            startup_wait: Duration::ZERO,
            networks: BTreeMap::new(),
            heartbeats: Vec::new(),
            port: 1,
            heartbeat_port: 2,
        },
        servers: BTreeMap::from([
            ("kiki".into(), server(1)),
            ("lala".into(), server(2)),
            ("mimi".into(), server(3)),
        ]),
        groups: BTreeMap::from([
            ("web".into(), group(&["kiki", "lala", "mimi"], Automatic::Manual)),
            ("mail".into(), group(&["lala", "kiki"], Automatic::Auto)),
        ]),
        types: BTreeMap::new(),
        pools: BTreeMap::new(),
        resources: BTreeMap::new(),
        monitors: BTreeMap::from([
            (MONITORS[0].into(), monitor(RecoveryTarget::Resource("db".into()), 1)),
            (MONITORS[1].into(), monitor(RecoveryTarget::Cluster, 0)),
        ]),
    }
}

fn monitor(target: RecoveryTarget, restarts: u32) -> MonitorConfig {
    MonitorConfig {
        comment: String::new(),
        kind: MonitorKind::Pid,
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(60),
        retries: 0,
        start_delay: Duration::from_secs(30),
        timing: MonitorTiming::Always,
        target: Some("db".into()),
        nice: 0,
        servers: Vec::new(),
        recovery: RecoveryConfig { target, restarts, failovers: 1, last: FinalAction::None },
    }
}

/// A server: whether it has power, and the groups that its node takes care of.
#[derive(Default)]
struct Server {
    power: bool,
    boots: u64,
    lives: BTreeMap<GroupName, (Epoch, Lifecycle, bool)>,
}

type Running = BTreeMap<(GroupName, ResourceName), BTreeSet<usize>>;

struct World {
    state: State,
    servers: [Server; 3],
    /// Operations under way: server, group, epoch, resource, whether it is a start.
    operations: Vec<(usize, GroupName, Epoch, ResourceName, bool)>,
    decisions: Vec<Decision>,
    running: Running,
}

fn name(server: usize) -> ServerName {
    SERVERS[server].into()
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            state: State::default(),
            servers: Default::default(),
            operations: Vec::new(),
            decisions: Vec::new(),
            running: BTreeMap::new(),
        };
        let (lineage, founder) = (Lineage::new("l"), name(0));
        world.tell(Command::Initialise { lineage, config: config(), founder });
        for server in 1..3 {
            let (id, digest) = (server.to_string(), "d".to_owned());
            let expires = WallTime(10);
            world.tell(Command::IssueToken { id: id.clone(), digest: digest.clone(), server: None, expires });
            world.tell(Command::Join { token: id, digest, server: name(server) });
        }
        for server in 0..3 {
            world.step(&Step::Boot(server));
        }
        world
    }

    fn tell(&mut self, command: Command) -> Reply {
        self.propose(Author::Operator("prop".into()), command, None, Vec::new())
    }

    fn propose(
        &mut self,
        author: Author,
        command: Command,
        reason: Option<Reason>,
        read: Vec<(tasuki_core::registry::Key, Revision)>,
    ) -> Reply {
        let lineage = self.state.lineage.clone();
        apply(
            &mut self.state,
            &Proposal { id: None, author, at: WallTime(1), lineage, read, reason, command },
        )
    }

    fn fit(&self) -> BTreeSet<ServerName> {
        (0..3)
            .filter(|s| self.servers[*s].power && self.state.presence(&name(*s)).is_some_and(|p| p.up))
            .map(name)
            .collect()
    }

    fn decide(&self) -> Vec<Decision> {
        let fit = self.fit();
        decide(&Input { state: &self.state, fit: &fit, since_start: Duration::from_secs(60) })
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Decide => {
                let decisions = self.decide();
                assert_eq!(decisions, self.decide(), "the same input gives the same decisions");
                self.decisions.extend(decisions);
            }
            Step::Arrive if !self.decisions.is_empty() => {
                let Decision { command, reason, read } = self.decisions.remove(0);
                self.propose(Author::Leader(name(0)), command, Some(reason), read);
            }
            Step::Lose if !self.decisions.is_empty() => {
                self.decisions.remove(0);
            }
            Step::Look(server) => self.look(server),
            Step::Finish(which, well) if !self.operations.is_empty() => {
                let operation = self.operations.remove(which % self.operations.len());
                self.finish(operation, well);
            }
            Step::Crash(server) => {
                self.servers[server].power = false;
                self.forget_node(server);
                for on in self.running.values_mut() {
                    on.remove(&server);
                }
            }
            // Only a server without power is silent here, and its lease has ended by then.
            Step::Judge(server) if !self.servers[server].power => {
                if let Some(presence) = self.state.presence(&name(server)) {
                    let incarnation = presence.incarnation;
                    self.tell(Command::ServerGone { server: name(server), incarnation });
                }
            }
            Step::Boot(server) if !self.servers[server].power => {
                self.servers[server].power = true;
                self.servers[server].boots += 1;
                self.present(server);
            }
            Step::Restart(server) if self.servers[server].power => {
                self.forget_node(server);
                self.present(server);
            }
            Step::End(which) => self.end_by_itself(which),
            Step::Find(server, which) => self.find(server, &MONITORS[which].into()),
            Step::Mend => self.mend(),
            Step::Operate(group, what, server) => {
                let group = GroupName::from(GROUPS[group]);
                let _ = match what {
                    0 => self.tell(Command::StartGroup { group, on: None }),
                    1 => self.tell(Command::StopGroup { group, force: false }),
                    _ => self.tell(Command::MoveGroup { group, to: Some(name(server)), force: false }),
                };
            }
            _ => {}
        }
        for (which, on) in &self.running {
            assert!(on.len() <= 1, "{which:?} runs on {on:?} after {step:?}");
        }
    }

    fn present(&mut self, server: usize) {
        let incarnation = self.state.presence(&name(server)).unwrap().incarnation.next();
        let boot = BootId::new(format!("{server}-{}", self.servers[server].boots));
        self.tell(Command::ServerStarted { server: name(server), incarnation, boot });
    }

    /// The node is gone, with the operations it had under way.
    fn forget_node(&mut self, server: usize) {
        self.servers[server].lives.clear();
        self.operations.retain(|(on, ..)| *on != server);
    }

    /// As the groups' keeper and the group actors do: one life for each ownership, adopting what runs.
    fn look(&mut self, server: usize) {
        if !self.servers[server].power {
            return;
        }
        let me = name(server);
        let owned: BTreeMap<GroupName, Epoch> = self
            .state
            .owned_by(&me)
            .map(|(group, entry)| (group.clone(), entry.ownership.value.epoch))
            .collect();
        self.servers[server].lives.retain(|group, (epoch, ..)| owned.get(group) == Some(epoch));
        self.operations.retain(|(on, group, epoch, ..)| *on != server || owned.get(group) == Some(epoch));
        for (group, epoch) in owned {
            if !self.servers[server].lives.contains_key(&group) {
                let entry = &self.state.groups[&group];
                let config = entry.config.as_ref().unwrap().value.clone();
                let life = Lifecycle::new(config, &me, &entry.failures.value, Timestamp(0));
                self.servers[server].lives.insert(group.clone(), (epoch, life, false));
                let running = self.running.iter().filter(|((g, _), on)| *g == group && on.contains(&server));
                let running = running.map(|((_, resource), _)| resource.clone()).collect();
                self.event(server, &group, Event::Begin { running });
            }
            let releasing = self.state.groups[&group].ownership.value.release.is_some();
            let told = self.servers[server].lives.get(&group).is_some_and(|(.., told)| *told);
            if releasing && !told {
                if let Some((.., told)) = self.servers[server].lives.get_mut(&group) {
                    *told = true;
                }
                self.event(server, &group, Event::Release);
            }
        }
    }

    fn event(&mut self, server: usize, group: &GroupName, event: Event) {
        let Some((epoch, life, _)) = self.servers[server].lives.get_mut(group) else { return };
        let epoch = *epoch;
        for action in life.on(event, Timestamp(0)) {
            self.perform(server, group, epoch, action);
        }
    }

    fn perform(&mut self, server: usize, group: &GroupName, epoch: Epoch, action: Action) {
        let (me, by) = (name(server), Author::Server(name(server)));
        match action {
            Action::Start(resource) => self.operations.push((server, group.clone(), epoch, resource, true)),
            Action::Stop(resource) => {
                let same = |(s, g, _, r, _): &(usize, GroupName, Epoch, ResourceName, bool)| {
                    *s == server && g == group && *r == resource
                };
                self.operations.retain(|operation| !same(operation));
                self.operations.push((server, group.clone(), epoch, resource, false));
            }
            Action::Report => {
                let (_, life, _) = &self.servers[server].lives[group];
                let report = GroupReport {
                    epoch,
                    server: me,
                    state: life.state(),
                    resources: BTreeMap::new(),
                    failed: life.failed().cloned(),
                };
                self.propose(by, Command::Report { group: group.clone(), report }, None, Vec::new());
            }
            Action::CountRetry(resource, kind) => {
                let group = group.clone();
                let command = Command::CountRetry { group, epoch, resource, server: me, kind };
                self.propose(by, command, None, Vec::new());
            }
            Action::CountRestart { monitor, resource } => {
                let group = group.clone();
                let command = Command::CountRestart { group, epoch, monitor, resource, server: me };
                self.propose(by, command, None, Vec::new());
            }
            Action::Steady { resource, monitors } => {
                let command = Command::Steady { group: group.clone(), epoch, resource, monitors };
                self.propose(by, command, None, Vec::new());
            }
            Action::Released => {
                let runs = self.running.iter().any(|((g, _), on)| g == group && on.contains(&server));
                assert!(!runs, "{group} is released while some of it runs on {me}");
                let command = Command::Released { group: group.clone(), epoch, server: me };
                self.propose(by, command, None, Vec::new());
            }
        }
    }

    fn finish(&mut self, operation: (usize, GroupName, Epoch, ResourceName, bool), well: bool) {
        let (server, group, _, resource, start) = operation;
        let on = self.running.entry((group.clone(), resource.clone())).or_default();
        let event = match (start, well) {
            (true, true) => {
                on.insert(server);
                Event::Started(resource)
            }
            (true, false) => Event::StartFailed(resource, String::new()),
            (false, true) => {
                on.remove(&server);
                Event::Stopped(resource)
            }
            (false, false) => Event::StopFailed(resource, String::new()),
        };
        self.event(server, &group, event);
    }

    fn end_by_itself(&mut self, which: usize) {
        let running: Vec<_> =
            self.running.iter().flat_map(|(what, on)| on.iter().map(move |s| (what.clone(), *s))).collect();
        if running.is_empty() {
            return;
        }
        let ((group, resource), server) = running[which % running.len()].clone();
        self.running.get_mut(&(group.clone(), resource.clone())).unwrap().remove(&server);
        self.event(server, &group, Event::Ended(resource, String::new()));
    }

    fn find(&mut self, server: usize, monitor: &MonitorName) {
        if !self.servers[server].power {
            return;
        }
        let config = self.state.monitors[monitor].config.value.clone();
        for (group, resources) in concerns(&self.state, &config, &name(server)) {
            let (why, restarts) = (String::new(), config.recovery.restarts);
            self.event(server, &group, Event::Found { monitor: monitor.clone(), resources, why, restarts });
        }
    }

    fn mend(&mut self) {
        for server in 0..3 {
            for group in GROUPS {
                for monitor in MONITORS {
                    self.event(server, &group.into(), Event::Mended { monitor: monitor.into() });
                }
            }
        }
    }

    /// No more faults: everything gets time.
    fn heal(&mut self) {
        self.mend();
        for server in 0..3 {
            self.step(&Step::Boot(server));
        }
        for _ in 0..200 {
            self.step(&Step::Decide);
            while !self.decisions.is_empty() {
                self.step(&Step::Arrive);
            }
            for server in 0..3 {
                self.step(&Step::Look(server));
            }
            while !self.operations.is_empty() {
                self.step(&Step::Finish(0, true));
            }
        }
    }
}

proptest! {
    #[test]
    fn never_two_run_it_and_everything_that_can_run_runs(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.heal();
        prop_assert_eq!(world.decide(), vec![], "deciding again gives nothing");
        for (group, entry) in &world.state.groups {
            let report = entry.report.as_ref().map(|report| &report.value);
            let given_up = report.is_some_and(|report| {
                // What a monitor gave up on is well again at the end.
                let given_up = |kind| !matches!(kind, FailureKind::Stop | FailureKind::Found);
                let current = report.epoch == entry.ownership.value.epoch;
                current && report.failed.as_ref().is_some_and(|failed| given_up(failed.kind))
            });
            let runs = world.running.iter().filter(|((g, _), on)| g == group && on.len() == 1).count();
            match entry.target.value {
                Target::Online if given_up => {}
                Target::Online => {
                    prop_assert_eq!(runs, 2, "{} should run: {:#?}", group, entry);
                    prop_assert_eq!(report.map(|r| r.state), Some(GroupState::Online));
                }
                Target::Offline => {
                    prop_assert_eq!(runs, 0, "{} should not run: {:#?}", group, entry);
                    prop_assert_eq!(&entry.ownership.value.owner, &None);
                }
            }
        }
    }
}
