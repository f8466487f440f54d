//! Placement as stories over a small cluster: events in, owners out.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::plan::{Input, decide};
use crate::{
    config::*,
    ids::*,
    registry::{
        Author, Command, Proposal, Reply, State, apply,
        state::{AfterStop, ClusterMode, FailedResource, FailureKind, GroupReport, GroupState},
    },
    time::WallTime,
    timing::Timing,
};

/// A cluster of kiki, lala and mimi with one group `web`, played by hand.
struct Story {
    state: State,
    fit: BTreeSet<ServerName>,
    since_start: Duration,
}

fn config(change: impl FnOnce(&mut GroupConfig)) -> ClusterConfig {
    let exec = ExecConfig {
        start: vec!["/bin/true".into()],
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
    };
    let db = ResourceConfig {
        comment: String::new(),
        depends_on: None,
        on_start_failure: StartFailurePolicy { retries: 0, failovers: 1, last: FinalAction::None },
        on_stop_failure: StopFailurePolicy { retries: 0, last: FinalAction::None },
        kind: ResourceKind::Exec(exec),
        ..ResourceConfig::of(ResourceKind::Exec(ExecConfig::of(Vec::new())))
    };
    let mut web = GroupConfig {
        comment: String::new(),
        servers: vec!["kiki".into(), "lala".into()],
        startup: Startup::Always,
        failover: Automatic::Auto,
        failback: Automatic::Manual,
        resources: BTreeMap::from([("db".into(), db)]),
        ..GroupConfig::default()
    };
    change(&mut web);
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
        servers: BTreeMap::from([
            ("kiki".into(), server(1)),
            ("lala".into(), server(2)),
            ("mimi".into(), server(3)),
        ]),
        groups: BTreeMap::from([("web".into(), web)]),
        types: BTreeMap::new(),
        pools: BTreeMap::new(),
        resources: BTreeMap::new(),
        monitors: BTreeMap::new(),
    }
}

impl Story {
    fn new(change: impl FnOnce(&mut GroupConfig)) -> Self {
        let mut story =
            Self { state: State::default(), fit: BTreeSet::new(), since_start: Duration::from_secs(60) };
        let (lineage, founder) = (Lineage::new("l"), ServerName::from("kiki"));
        story.tell(Command::Initialise { lineage, config: config(change), founder });
        for server in ["lala", "mimi"] {
            let (id, digest) = (server.to_owned(), "d".to_owned());
            let expires = WallTime(10);
            story.tell(Command::IssueToken { id: id.clone(), digest: digest.clone(), server: None, expires });
            story.tell(Command::Join { token: id, digest, server: server.into() });
        }
        story
    }

    fn tell(&mut self, command: Command) -> Reply {
        let author = Author::Operator("test".into());
        let lineage = self.state.lineage.clone();
        let proposal =
            Proposal { id: None, author, at: WallTime(1), lineage, read: Vec::new(), reason: None, command };
        apply(&mut self.state, &proposal)
    }

    fn up(&mut self, server: &str) {
        let incarnation = self.state.presence(&server.into()).unwrap().incarnation.next();
        let boot = BootId::new(format!("{server}-boot"));
        let reply = self.tell(Command::ServerStarted { server: server.into(), incarnation, boot });
        assert!(matches!(reply, Reply::Applied { .. }), "{reply:?}");
        self.fit.insert(server.into());
    }

    fn gone(&mut self, server: &str) {
        let incarnation = self.state.presence(&server.into()).unwrap().incarnation;
        let reply = self.tell(Command::ServerGone { server: server.into(), incarnation });
        assert!(matches!(reply, Reply::Applied { .. }), "{reply:?}");
        self.fit.remove(&server.into());
    }

    /// Decides, applies what was decided as the leader would, and says what it was. Deciding again
    /// must give nothing new of the same kind: a decision that was applied is not made twice.
    fn decide(&mut self) -> String {
        let input = Input { state: &self.state, fit: &self.fit, since_start: self.since_start };
        let decisions = decide(&input);
        assert_eq!(decisions, decide(&input), "the same input gives the same decisions");
        let mut said = Vec::new();
        for decision in decisions {
            said.push(format!("{} ({})", decision.command, decision.reason));
            let proposal = Proposal {
                id: None,
                author: Author::Leader("kiki".into()),
                at: WallTime(2),
                lineage: self.state.lineage.clone(),
                read: decision.read.clone(),
                reason: Some(decision.reason.clone()),
                command: decision.command.clone(),
            };
            let reply = apply(&mut self.state, &proposal);
            assert!(matches!(reply, Reply::Applied { .. }), "{reply:?}");
            let input = Input { state: &self.state, fit: &self.fit, since_start: self.since_start };
            assert!(!decide(&input).iter().any(|again| again.command == decision.command));
        }
        said.join("; ")
    }

    fn epoch(&self) -> Epoch {
        self.state.groups[&"web".into()].ownership.value.epoch
    }

    fn owner(&self) -> Option<String> {
        self.state.groups[&"web".into()].ownership.value.owner.as_ref().map(ToString::to_string)
    }

    fn report(&mut self, state: GroupState, failed: Option<FailureKind>) {
        let server = ServerName::from(self.owner().unwrap().as_str());
        let failed = failed.map(|kind| FailedResource { resource: "db".into(), kind, monitor: None });
        let report = GroupReport { epoch: self.epoch(), server, state, resources: BTreeMap::new(), failed };
        self.tell(Command::Report { group: "web".into(), report });
    }

    fn released(&mut self) {
        let server = ServerName::from(self.owner().unwrap().as_str());
        let epoch = self.epoch();
        let reply = self.tell(Command::Released { group: "web".into(), epoch, server });
        assert!(matches!(reply, Reply::Applied { .. }), "{reply:?}");
    }

    /// All servers up and the group online at home.
    fn running(change: impl FnOnce(&mut GroupConfig)) -> Self {
        let mut story = Self::new(change);
        for server in ["kiki", "lala", "mimi"] {
            story.up(server);
        }
        story.decide();
        assert_eq!(story.owner().as_deref(), Some("kiki"));
        story.report(GroupState::Online, None);
        assert_eq!(story.decide(), "");
        story
    }
}

#[test]
fn a_cold_start_waits_for_the_home_server_but_not_for_ever() {
    let mut story = Story::new(|_| ());
    story.since_start = Duration::from_secs(1);
    story.up("lala");
    assert_eq!(story.decide(), "");
    story.since_start = Duration::from_secs(5);
    assert_eq!(story.decide(), "lala owns web, epoch 1 (the group starts with the cluster)");
}

#[test]
fn a_lost_server_hands_its_groups_to_the_next() {
    let mut story = Story::running(|_| ());
    story.gone("kiki");
    assert_eq!(story.decide(), "lala owns web, epoch 2 (its server kiki is gone)");
}

#[test]
fn r4_a_silent_server_keeps_its_groups_until_it_is_gone() {
    let mut story = Story::running(|_| ());
    story.fit.remove(&"kiki".into());
    assert_eq!(story.decide(), "");
}

#[test]
fn nobody_is_given_a_group_while_its_own_lease_is_not_renewed() {
    let mut story = Story::running(|_| ());
    story.fit.remove(&"lala".into());
    story.gone("kiki");
    assert_eq!(story.decide(), "", "mimi is not in the list and lala is silent");
    story.fit.insert("lala".into());
    assert_eq!(story.decide(), "lala owns web, epoch 2 (its server kiki is gone)");
}

#[test]
fn the_group_stays_where_it_is_when_home_comes_back_unless_failback_is_automatic() {
    for (failback, expected) in [
        (Automatic::Manual, ""),
        (Automatic::Auto, "web (epoch 2) should be released (its home server kiki is back)"),
    ] {
        let mut story = Story::running(|g| g.failback = failback);
        story.gone("kiki");
        story.decide();
        story.report(GroupState::Online, None);
        story.up("kiki");
        assert_eq!(story.decide(), expected);
    }
}

#[test]
fn r13_a_move_waits_for_the_release() {
    let mut story = Story::running(|_| ());
    story.tell(Command::MoveGroup { group: "web".into(), to: Some("lala".into()), force: false });
    assert_eq!(story.decide(), "", "kiki has not released it yet");
    story.released();
    assert_eq!(story.decide(), "lala owns web, epoch 2 (operator test moved it)");
    story.report(GroupState::Online, None);
    assert_eq!(story.decide(), "", "and nothing of the move stays behind");
}

#[test]
fn a_move_whose_destination_dies_goes_elsewhere() {
    let mut story = Story::running(|_| ());
    story.tell(Command::MoveGroup { group: "web".into(), to: Some("lala".into()), force: false });
    story.gone("lala");
    story.released();
    assert_eq!(story.decide(), "kiki owns web, epoch 2 (operator test moved it)");
}

#[test]
fn a_failed_start_goes_there_back_once_and_ends_in_error() {
    let mut story = Story::running(|_| ());
    let failed = |story: &mut Story| story.report(GroupState::Error, Some(FailureKind::Start));
    failed(&mut story);
    assert_eq!(story.decide(), "web (epoch 1) should be released (resource db did not start on kiki)");
    story.released();
    assert_eq!(story.decide(), "lala owns web, epoch 2 (resource db did not start on kiki)");
    failed(&mut story);
    story.decide();
    story.released();
    assert_eq!(story.decide(), "kiki owns web, epoch 3 (resource db did not start on lala)");
    failed(&mut story);
    assert_eq!(story.decide(), "", "final action: none");
    assert_eq!(story.owner().as_deref(), Some("kiki"));
}

#[test]
fn a_failure_waits_for_somebody_who_can_take_the_group() {
    let mut story = Story::running(|_| ());
    story.gone("lala");
    story.report(GroupState::Error, Some(FailureKind::Ended));
    assert_eq!(story.decide(), "");
    story.up("lala");
    assert_eq!(story.decide(), "web (epoch 1) should be released (resource db failed on kiki)");
}

#[test]
fn a_failed_stop_is_never_failed_over_and_its_final_action_takes_the_server_down() {
    let mut story = Story::running(|g| {
        g.resources.get_mut(&"db".into()).unwrap().on_stop_failure.last = FinalAction::StopAndPowerOff;
    });
    story.tell(Command::MoveGroup { group: "web".into(), to: None, force: false });
    story.report(GroupState::Error, Some(FailureKind::Stop));
    assert_eq!(story.decide(), "final action of db: StopAndPowerOff (resource db failed on kiki)");
    assert_eq!(story.owner().as_deref(), Some("kiki"), "still owned: some of it may run");
}

#[test]
fn a_leaving_server_releases_its_groups_to_the_next() {
    let mut story = Story::running(|_| ());
    story.tell(Command::ServerLeave { server: "kiki".into(), after: AfterStop::Reboot });
    assert_eq!(story.decide(), "web (epoch 1) should be released (its server kiki is shutting down)");
    story.released();
    assert_eq!(story.decide(), "lala owns web, epoch 2 (its server kiki is shutting down)");
}

#[test]
fn a_cluster_that_stops_fails_nothing_over_and_starts_at_home_again() {
    let mut story = Story::running(|_| ());
    story.tell(Command::SetMode { mode: ClusterMode::Stopping(AfterStop::Nothing) });
    assert_eq!(story.decide(), "web (epoch 1) should be released (the cluster is shutting down)");
    story.released();
    assert_eq!(story.decide(), "");
    for server in ["kiki", "lala", "mimi"] {
        story.gone(server);
    }
    story.up("kiki");
    assert_eq!(story.decide(), "kiki owns web, epoch 2 (the group starts with the cluster)");
}

#[test]
fn a_suspended_cluster_decides_nothing() {
    let mut story = Story::running(|_| ());
    story.tell(Command::SetMode { mode: ClusterMode::Suspended });
    story.report(GroupState::Error, Some(FailureKind::Ended));
    assert_eq!(story.decide(), "");
    story.gone("kiki");
    assert_eq!(story.decide(), "");
    story.tell(Command::SetMode { mode: ClusterMode::Running });
    assert_eq!(story.decide(), "lala owns web, epoch 2 (its server kiki is gone)");
}

#[test]
fn manual_failover_leaves_the_group_to_an_operator() {
    let mut story = Story::running(|g| g.failover = Automatic::Manual);
    story.gone("kiki");
    assert_eq!(story.decide(), "");
    story.tell(Command::StartGroup { group: "web".into(), on: None });
    assert_eq!(story.decide(), "lala owns web, epoch 2 (operator test started it)");
}

#[test]
fn r36_a_thawed_owner_cannot_change_the_registry() {
    let mut story = Story::running(|_| ());
    let (epoch, kiki) = (story.epoch(), ServerName::from("kiki"));
    story.gone("kiki"); // frozen from outside for longer than its lease
    story.decide();
    assert_eq!(story.owner().as_deref(), Some("lala"));
    // Thawed, it goes on where it was: every word of it names its old ownership.
    let (group, resource) = (GroupName::from("web"), ResourceName::from("db"));
    let report = GroupReport {
        epoch,
        server: kiki.clone(),
        state: GroupState::Online,
        resources: BTreeMap::new(),
        failed: None,
    };
    for word in [
        Command::Report { group: group.clone(), report },
        Command::Released { group: group.clone(), epoch, server: kiki.clone() },
        Command::CountRetry {
            group: group.clone(),
            epoch,
            resource: resource.clone(),
            server: kiki.clone(),
            kind: FailureKind::Ended,
        },
        Command::Steady { group, epoch, resource, monitors: Vec::new() },
    ] {
        let before = story.state.clone();
        assert!(matches!(story.tell(word.clone()), Reply::Refused(_)), "{word}");
        assert_eq!(story.state, before, "{word}");
    }
}

#[test]
fn r12_a_decision_is_refused_when_what_it_read_has_moved() {
    let mut story = Story::new(|_| ());
    story.up("kiki");
    let input = Input { state: &story.state, fit: &story.fit, since_start: story.since_start };
    let decision = decide(&input).remove(0);
    story.tell(Command::StopGroup { group: "web".into(), force: false });
    let proposal = Proposal {
        id: None,
        author: Author::Leader("kiki".into()),
        at: WallTime(2),
        lineage: story.state.lineage.clone(),
        read: decision.read,
        reason: None,
        command: decision.command,
    };
    assert!(matches!(apply(&mut story.state, &proposal), Reply::Refused(_)));
    assert_eq!(story.owner(), None);
}
