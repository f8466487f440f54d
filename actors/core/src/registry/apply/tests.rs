//! Each rule that `apply` keeps, under its name. A test fails when its rule is taken out.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, time::Duration};

use super::*;
use crate::{
    config::{Automatic, ClusterSettings, GroupConfig, ServerConfig},
    ids::{BootId, Lineage, ResourceName, Revision},
    registry::{
        Author,
        state::{FailedResource, FailureKind, GroupReport},
    },
    timing::Timing,
};

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
    let server = |number| ServerConfig { number, comment: String::new(), addresses: BTreeMap::new() };
    ClusterConfig {
        settings: ClusterSettings {
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

fn web() -> GroupName {
    "web".into()
}

fn proposal(state: &State, command: Command) -> Proposal {
    Proposal {
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

// --- R5: incarnations and boots ---------------------------------------------------------------

#[test]
fn r5_gone_and_stopped_are_refused_for_any_but_the_current_incarnation() {
    let mut play = Play::web_on_kiki();
    play.start("kiki", 2, "boot-1");
    for stale in [1, 3] {
        for command in [gone("kiki", stale), stopped("kiki", stale)] {
            let expected = Refusal::OtherIncarnation {
                server: "kiki".into(),
                named: Incarnation(stale),
                current: Incarnation(2),
            };
            assert_eq!(play.refused(command), expected);
        }
    }
    assert_eq!(play.owner(), Some("kiki"));
    play.ok(gone("kiki", 2));
    assert_eq!(play.owner(), None);
}

#[test]
fn r5_gone_is_said_once() {
    let mut play = Play::all_up();
    play.ok(gone("kiki", 1));
    assert_eq!(play.refused(gone("kiki", 1)), Refusal::ServerDown("kiki".into()));
    assert_eq!(play.refused(stopped("kiki", 1)), Refusal::ServerDown("kiki".into()));
}

#[test]
fn r5_an_incarnation_is_above_all_before() {
    let mut play = Play::all_up();
    play.start("kiki", 7, "boot-1");
    for old in [1, 6, 7] {
        let refusal = play.refused(started("kiki", old, "boot-2"));
        assert!(matches!(refusal, Refusal::OtherIncarnation { .. }), "{refusal}");
    }
}

#[test]
fn r5_a_new_incarnation_on_the_same_boot_keeps_its_groups() {
    let mut play = Play::web_on_kiki();
    play.start("kiki", 2, "boot-1");
    assert_eq!((play.owner(), play.ownership().epoch), (Some("kiki"), Epoch(1)));
    assert!(matches!(play.refused(assign("web", "lala", 2)), Refusal::StillOwned { .. }));
}

#[test]
fn r5_a_new_boot_proves_that_nothing_runs() {
    let mut play = Play::web_on_kiki();
    play.start("kiki", 2, "boot-2");
    assert_eq!(play.owner(), None);
    let vacated = play.ownership().vacated.clone().unwrap();
    assert_eq!(vacated.event, StartEvent::Failover);
    assert_eq!(vacated.reason, Reason::ServerGone { server: "kiki".into() });
    assert_eq!(play.ownership().previous, Some("kiki".into()));
    play.assign("web", "lala", 2);
}

#[test]
fn r5_a_first_boot_vacates_nothing_of_others() {
    let mut play = Play::web_on_kiki();
    play.start("lala", 2, "boot-2");
    assert_eq!(play.owner(), Some("kiki"));
}

#[test]
fn r5_a_server_that_has_not_joined_cannot_start() {
    let mut play = Play::empty();
    assert_eq!(play.refused(started("lala", 1, "b")), Refusal::NotJoined("lala".into()));
    assert_eq!(play.refused(started("nobody", 1, "b")), Refusal::NoSuchServer("nobody".into()));
}

#[test]
fn r5_a_start_ends_leaving_and_being_down() {
    let mut play = Play::all_up();
    play.ok(Command::ServerLeave { server: "kiki".into(), after: AfterStop::Reboot });
    play.ok(stopped("kiki", 1));
    let presence = play.state.presence(&"kiki".into()).unwrap();
    assert_eq!((presence.up, presence.down_because.clone()), (false, Some(Reason::SaidSo)));
    play.start("kiki", 2, "boot-2");
    let presence = play.state.presence(&"kiki".into()).unwrap();
    assert_eq!((presence.up, presence.mode), (true, ServerMode::Active));
    assert_eq!(presence.down_because, None);
}

// --- R12: decisions name what they read -------------------------------------------------------

#[test]
fn r12_a_decision_on_an_object_that_moved_is_refused() {
    let mut play = Play::all_up();
    let key = Key::Target(web());
    let then = play.revision_of(&key);
    play.ok(Command::StopGroup { group: web(), force: false });
    let mut late = proposal(&play.state, assign("web", "kiki", 1));
    late.read = vec![(key.clone(), then)];
    let before = play.state.clone();
    let now = play.revision_of(&key);
    assert_eq!(refusal(&apply(&mut play.state, &late)), &Refusal::MovedOn { key, then, now });
    assert_eq!(play.state, before);
}

#[test]
fn r12_other_objects_do_not_matter() {
    let mut play = Play::all_up();
    let mut decided = proposal(&play.state, assign("web", "kiki", 1));
    decided.read = vec![(Key::Target(web()), play.revision_of(&Key::Target(web())))];
    play.ok(Command::StopGroup { group: "mail".into(), force: false });
    play.start("momo", 2, "boot-1");
    assert!(matches!(apply(&mut play.state, &decided), Reply::Applied { .. }));
}

#[test]
fn r12_an_object_that_was_absent_is_read_as_revision_zero() {
    let mut play = Play::all_up();
    let key = Key::Report(web());
    let mut decided = proposal(&play.state, assign("web", "kiki", 1));
    decided.read = vec![(key.clone(), play.revision_of(&key))];
    assert_eq!(decided.read[0].1, Revision(0));
    assert!(matches!(apply(&mut play.state, &decided), Reply::Applied { .. }));
    play.ok(report(1, "kiki", GroupState::Online));
    let mut late = proposal(&play.state, release(1, None));
    late.read = vec![(key, Revision(0))];
    assert!(matches!(refusal(&apply(&mut play.state, &late)), Refusal::MovedOn { .. }));
}

#[test]
fn r12_apply_checks_the_chosen_server_again() {
    let mut play = Play::all_up();
    let not_allowed = Refusal::NotAllowed { group: web(), server: "momo".into() };
    assert_eq!(play.refused(assign("web", "momo", 1)), not_allowed);
    assert_eq!(play.refused(assign("web", "nobody", 1)), Refusal::NoSuchServer("nobody".into()));
    assert_eq!(play.refused(assign("none", "kiki", 1)), Refusal::NoSuchGroup("none".into()));
    play.ok(gone("kiki", 1));
    assert_eq!(play.refused(assign("web", "kiki", 1)), Refusal::ServerDown("kiki".into()));
    play.ok(Command::ServerLeave { server: "lala".into(), after: AfterStop::Nothing });
    assert_eq!(play.refused(assign("web", "lala", 1)), Refusal::ServerDown("lala".into()));
}

#[test]
fn r12_saying_the_same_again_moves_no_revision() {
    let mut play = Play::web_on_kiki();
    play.ok(report(1, "kiki", GroupState::Online));
    play.ok(Command::ServerLeave { server: "lala".into(), after: AfterStop::Nothing });
    let keys: Vec<_> = play.state.keys().into_iter().map(|key| (play.revision_of(&key), key)).collect();
    play.ok(report(1, "kiki", GroupState::Online));
    play.ok(Command::ServerLeave { server: "lala".into(), after: AfterStop::Nothing });
    play.ok(Command::ResetFailures { group: web() });
    play.ok(Command::SetConfig { config: config() });
    for (revision, key) in keys {
        assert_eq!(play.revision_of(&key), revision, "{key}");
    }
}

// --- R13: ownership ----------------------------------------------------------------------------

#[test]
fn r13_a_new_owner_only_after_the_old_one_released() {
    let mut play = Play::web_on_kiki();
    let owned = Refusal::StillOwned { group: web(), owner: "kiki".into() };
    assert_eq!(play.refused(assign("web", "lala", 2)), owned);
    // The wish to move is not the end of the ownership.
    play.ok(release(1, Some("lala")));
    assert_eq!(play.refused(assign("web", "lala", 2)), owned);
    assert_eq!(play.owner(), Some("kiki"));
    play.ok(released(1, "kiki"));
    let vacated = play.ownership().vacated.clone().unwrap();
    assert_eq!((vacated.to, vacated.event), (Some("lala".into()), StartEvent::Failover));
    play.assign("web", "lala", 2);
    let now = play.ownership();
    assert_eq!(
        (now.epoch, now.owner.clone(), now.previous.clone()),
        (Epoch(2), Some("lala".into()), Some("kiki".into()))
    );
    assert_eq!((now.release.clone(), now.vacated.clone()), (None, None));
}

#[test]
fn r13_or_after_the_old_one_is_gone() {
    let mut play = Play::web_on_kiki();
    play.ok(gone("kiki", 1));
    assert_eq!(play.owner(), None);
    play.assign("web", "lala", 2);
}

#[test]
fn r13_or_after_it_said_that_it_stopped() {
    let mut play = Play::web_on_kiki();
    play.ok(stopped("kiki", 1));
    let vacated = play.ownership().vacated.clone().unwrap();
    assert_eq!(vacated.reason, Reason::ServerLeaving { server: "kiki".into() });
    play.assign("web", "lala", 2);
}

#[test]
fn r13_each_epoch_has_one_owner() {
    let mut play = Play::all_up();
    for epoch in [0, 2, 7] {
        assert!(matches!(play.refused(assign("web", "kiki", epoch)), Refusal::OtherEpoch { .. }));
    }
    play.assign("web", "kiki", 1);
    play.ok(released(1, "kiki"));
    assert!(matches!(play.refused(assign("web", "lala", 1)), Refusal::OtherEpoch { .. }));
}

#[test]
fn r13_an_old_owner_speaks_of_nothing() {
    let mut play = Play::web_on_kiki();
    play.ok(released(1, "kiki"));
    assert_eq!(play.refused(released(1, "kiki")), Refusal::NotRunning(web()));
    play.assign("web", "lala", 2);
    let resource = || ResourceName::from("db");
    for command in [
        released(1, "kiki"),
        report(1, "kiki", GroupState::Online),
        release(1, None),
        Command::CountRetry {
            group: web(),
            epoch: Epoch(1),
            resource: resource(),
            server: "kiki".into(),
            kind: FailureKind::Start,
        },
        Command::Steady { group: web(), epoch: Epoch(1), resource: resource(), monitors: Vec::new() },
        Command::Finally { group: web(), epoch: Epoch(1), resource: resource(), action: FinalAction::Stop },
    ] {
        assert!(matches!(play.refused(command), Refusal::OtherEpoch { .. }));
    }
    // Not even under the new epoch.
    let not_owner = Refusal::NotOwner { group: web(), server: "kiki".into() };
    assert_eq!(play.refused(released(2, "kiki")), not_owner);
    assert_eq!(play.refused(report(2, "kiki", GroupState::Online)), not_owner);
}

#[test]
fn r13_one_release_at_a_time() {
    let mut play = Play::web_on_kiki();
    play.ok(release(1, Some("lala")));
    assert_eq!(play.refused(release(1, None)), Refusal::Busy(web()));
    assert_eq!(
        play.refused(Command::MoveGroup { group: web(), to: None, force: false }),
        Refusal::Busy(web())
    );
    assert_eq!(play.refused(Command::StartGroup { group: web(), on: None }), Refusal::Busy(web()));
}

#[test]
fn r13_a_destination_outlives_the_death_of_the_owner() {
    let mut play = Play::web_on_kiki();
    play.ok(Command::MoveGroup { group: web(), to: Some("lala".into()), force: false });
    play.ok(gone("kiki", 1));
    let vacated = play.ownership().vacated.clone().unwrap();
    assert_eq!((vacated.to, vacated.event), (Some("lala".into()), StartEvent::Start));
}

// --- R23: a lost store is a new Raft id --------------------------------------------------------

#[test]
fn r23_whoever_joins_again_gets_a_new_raft_id() {
    let mut play = Play::all_up();
    let ids = |play: &Play| {
        play.state.servers.values().map(|s| s.presence.as_ref().unwrap().value.raft_id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&play), [RaftId(1), RaftId(2), RaftId(3)]);
    play.assign("web", "kiki", 1);
    play.issue("again", Some("kiki"), 1000);
    let reply = play.say(join("again", "secret", "kiki"));
    assert!(matches!(reply, Reply::Applied { raft_id: Some(RaftId(4)), .. }), "{reply:?}");
    assert_eq!(ids(&play), [RaftId(4), RaftId(2), RaftId(3)]);
    // What its old incarnation owned may still run.
    assert_eq!(play.owner(), Some("kiki"));
    assert_eq!(play.state.presence(&"kiki".into()).unwrap().incarnation, Incarnation(1));
}

#[test]
fn r23_a_token_works_once_in_time_for_its_server_and_with_its_secret() {
    let mut play = Play::empty();
    let token = |why| Refusal::Token(why);
    assert_eq!(play.refused(join("t", "secret", "lala")), token(TokenRefusal::Unknown));
    play.issue("t", Some("lala"), 1000);
    assert_eq!(play.refused(join("t", "other", "lala")), token(TokenRefusal::Unknown));
    assert_eq!(play.refused(join("t", "secret", "momo")), token(TokenRefusal::OtherServer));
    assert_eq!(play.refused(join("t", "secret", "nobody")), Refusal::NoSuchServer("nobody".into()));
    play.ok(join("t", "secret", "lala"));
    assert_eq!(play.state.tokens["t"].value.used_by, Some("lala".into()));
    assert_eq!(play.refused(join("t", "secret", "lala")), token(TokenRefusal::Used));

    play.issue("late", None, 99);
    assert_eq!(play.refused(join("late", "secret", "momo")), token(TokenRefusal::Expired));
    play.issue("just", None, 100);
    play.ok(join("just", "secret", "momo"));
}

#[test]
fn r23_a_used_token_cannot_be_issued_anew() {
    let mut play = Play::empty();
    play.issue("t", None, 1000);
    play.ok(join("t", "secret", "lala"));
    let again =
        Command::IssueToken { id: "t".into(), digest: "d".into(), server: None, expires: WallTime(9) };
    assert_eq!(play.refused(again), Refusal::Token(TokenRefusal::Used));
    assert_eq!(play.state.tokens["t"].value.used_by, Some("lala".into()));
}

#[test]
fn r23_a_token_for_an_unknown_server_is_not_issued() {
    let mut play = Play::empty();
    let server = Some("nobody".into());
    let issue = Command::IssueToken { id: "t".into(), digest: "d".into(), server, expires: WallTime(9) };
    assert_eq!(play.refused(issue), Refusal::NoSuchServer("nobody".into()));
}

// --- R24: lineage ------------------------------------------------------------------------------

#[test]
fn r24_a_command_for_another_history_is_refused() {
    let mut play = Play::all_up();
    for lineage in [None, Some(Lineage::new("history-2"))] {
        let mut foreign = proposal(&play.state, Command::StopGroup { group: web(), force: false });
        foreign.lineage = lineage.clone();
        let before = play.state.clone();
        assert_eq!(refusal(&apply(&mut play.state, &foreign)), &Refusal::OtherLineage(lineage));
        assert_eq!(play.state, before);
    }
}

#[test]
fn r24_a_registry_is_initialised_once() {
    let mut play = Play::empty();
    let again = || Command::Initialise {
        lineage: Lineage::new("history-2"),
        config: config(),
        founder: "lala".into(),
    };
    assert_eq!(play.refused(again()), Refusal::AlreadyInitialised);
    let mut fresh = State::default();
    let early = proposal(&fresh, Command::StopGroup { group: web(), force: false });
    assert!(matches!(refusal(&apply(&mut fresh, &early)), Refusal::NoSuchGroup(_)));
    let stranger =
        Command::Initialise { lineage: Lineage::new("h"), config: config(), founder: "nobody".into() };
    let stranger = proposal(&fresh, stranger);
    assert_eq!(refusal(&apply(&mut fresh, &stranger)), &Refusal::NoSuchServer("nobody".into()));
    assert_eq!(fresh, State::default());
}

// --- R35: wishes and facts ---------------------------------------------------------------------

#[test]
fn r35_a_new_configuration_touches_wishes_only() {
    let mut play = Play::web_on_kiki();
    play.ok(report(1, "kiki", GroupState::Online));
    play.ok(Command::CountRetry {
        group: web(),
        epoch: Epoch(1),
        resource: "db".into(),
        server: "kiki".into(),
        kind: FailureKind::Start,
    });
    let before = play.state.clone();
    let mut new = config();
    new.settings.comment = "changed".into();
    new.servers.get_mut(&"kiki".into()).unwrap().comment = "changed".into();
    let group = new.groups.get_mut(&web()).unwrap();
    group.comment = "changed".into();
    group.servers = vec!["lala".into()];
    play.ok(Command::SetConfig { config: new.clone() });
    assert_eq!(play.state.config(), Some(new));
    for (name, server) in &before.servers {
        assert_eq!(play.state.servers[name].presence, server.presence, "{name}");
    }
    let (then, now) = (&before.groups[&web()], &play.state.groups[&web()]);
    assert_eq!((&now.ownership, &now.report), (&then.ownership, &then.report));
    assert_eq!((&now.failures, &now.target), (&then.failures, &then.target));
    assert_eq!((&play.state.tokens, play.state.last_raft_id), (&before.tokens, before.last_raft_id));
    assert_eq!((&play.state.mode, &play.state.lineage), (&before.mode, &before.lineage));
}

#[test]
fn r35_only_what_differs_gets_a_new_revision() {
    let mut play = Play::all_up();
    let before = play.state.clone();
    let mut new = config();
    new.groups.get_mut(&web()).unwrap().comment = "changed".into();
    let revision = play.ok(Command::SetConfig { config: new });
    for key in play.state.keys() {
        let expected = if key == Key::GroupConfig(web()) { revision } else { before.revision_of(&key) };
        assert_eq!(play.revision_of(&key), expected, "{key}");
    }
    assert_eq!(play.state.history.back().unwrap().keys, [Key::GroupConfig(web())]);
}

#[test]
fn r35_a_server_that_joined_stays_configured() {
    let mut play = Play::empty();
    let mut without = config();
    without.servers.remove(&"kiki".into());
    assert_eq!(play.refused(Command::SetConfig { config: without }), Refusal::ServerInUse("kiki".into()));
    let mut without = config();
    without.servers.remove(&"momo".into());
    play.ok(Command::SetConfig { config: without });
    assert!(!play.state.servers.contains_key(&"momo".into()));
    assert_eq!(play.state.history.back().unwrap().keys, [Key::ServerConfig("momo".into())]);
}

#[test]
fn r35_a_group_that_is_taken_out_is_released_first() {
    let mut play = Play::web_on_kiki();
    let mut without = config();
    without.groups.remove(&web());
    play.ok(Command::SetConfig { config: without.clone() });
    let entry = &play.state.groups[&web()];
    assert_eq!((entry.config.is_none(), entry.target.value), (true, Target::Offline));
    assert_eq!(play.owner(), Some("kiki"));
    assert_eq!(play.ownership().release.as_ref().unwrap().reason, Reason::NotConfigured);
    // Pushed again meanwhile: nothing more happens to it.
    let before = play.state.groups.clone();
    play.ok(Command::SetConfig { config: without });
    assert_eq!(play.state.groups, before);
    play.ok(released(1, "kiki"));
    assert!(!play.state.groups.contains_key(&web()));
}

#[test]
fn r35_the_epochs_of_a_group_do_not_come_again_with_its_name() {
    let mut without = config();
    without.groups.remove(&web());
    let mut play = Play::web_on_kiki();
    play.ok(Command::SetConfig { config: without.clone() });
    play.ok(released(1, "kiki"));
    play.ok(Command::SetConfig { config: config() });
    assert!(matches!(play.refused(assign("web", "lala", 1)), Refusal::OtherEpoch { .. }));
    play.assign("web", "lala", 2);
    play.ok(released(2, "lala"));
    // Also when it was offline as it was taken out.
    play.ok(Command::SetConfig { config: without });
    play.ok(Command::SetConfig { config: config() });
    assert!(matches!(play.refused(assign("web", "kiki", 1)), Refusal::OtherEpoch { .. }));
    play.assign("web", "kiki", 3);
}

#[test]
fn r35_a_group_that_comes_back_while_it_is_released_is_wanted_again() {
    let mut play = Play::web_on_kiki();
    let mut without = config();
    without.groups.remove(&web());
    play.ok(Command::SetConfig { config: without });
    play.ok(Command::SetConfig { config: config() });
    assert_eq!(play.state.groups[&web()].target.value, Target::Online);
    assert!(play.ownership().release.is_some());
    play.ok(released(1, "kiki"));
    play.assign("web", "kiki", 2);
}

// --- operators' intentions ---------------------------------------------------------------------

#[test]
fn a_move_names_where_and_ends_with_the_next_owner() {
    let mut play = Play::web_on_kiki();
    play.ok(Command::MoveGroup { group: web(), to: None, force: false });
    let wish = play.ownership().release.clone().unwrap();
    assert_eq!((wish.to, wish.event), (Some("lala".into()), StartEvent::Start));
    assert_eq!(wish.reason, Reason::OperatorMoved { by: "operator test".into() });
    play.ok(released(1, "kiki"));
    play.assign("web", "lala", 2);
    assert_eq!((play.ownership().release.clone(), play.ownership().vacated.clone()), (None, None));
    assert_eq!(play.state.groups[&web()].target.value, Target::Online);
}

#[test]
fn a_move_that_cannot_be_is_refused() {
    let mut play = Play::web_on_kiki();
    let to = |server: &str| Command::MoveGroup { group: web(), to: Some(server.into()), force: false };
    let runs = Refusal::AlreadyRuns { group: web(), server: "kiki".into() };
    assert_eq!(play.refused(to("kiki")), runs);
    assert_eq!(play.refused(to("momo")), Refusal::NotAllowed { group: web(), server: "momo".into() });
    assert_eq!(play.refused(to("nobody")), Refusal::NoSuchServer("nobody".into()));
    let mail = Command::MoveGroup { group: "mail".into(), to: None, force: false };
    assert_eq!(play.refused(mail), Refusal::NotRunning("mail".into()));
    play.ok(gone("lala", 1));
    assert_eq!(play.refused(to("lala")), Refusal::ServerDown("lala".into()));
    assert_eq!(
        play.refused(Command::MoveGroup { group: web(), to: None, force: false }),
        Refusal::NowhereToGo(web())
    );
}

#[test]
fn a_stop_replaces_a_move_and_a_start_ends_the_stop() {
    let mut play = Play::web_on_kiki();
    play.ok(Command::MoveGroup { group: web(), to: Some("lala".into()), force: false });
    play.ok(Command::StopGroup { group: web(), force: false });
    assert_eq!(play.ownership().release.as_ref().unwrap().to, None);
    play.ok(released(1, "kiki"));
    assert_eq!(play.state.groups[&web()].target.value, Target::Offline);
    assert_eq!(play.refused(Command::StopGroup { group: web(), force: false }), Refusal::NotRunning(web()));
    play.ok(Command::StartGroup { group: web(), on: Some("lala".into()) });
    assert_eq!(play.state.groups[&web()].target.value, Target::Online);
    assert_eq!(play.ownership().vacated.as_ref().unwrap().to, Some("lala".into()));
    play.assign("web", "lala", 2);
    let runs = Refusal::AlreadyRuns { group: web(), server: "lala".into() };
    assert_eq!(play.refused(Command::StartGroup { group: web(), on: None }), runs);
}

#[test]
fn a_group_in_error_starts_again_after_its_release() {
    let mut play = Play::web_on_kiki();
    play.ok(Command::Release {
        group: web(),
        epoch: Epoch(1),
        to: None,
        event: StartEvent::Failover,
        charge: Some(Charge::Resource("db".into())),
    });
    assert_eq!(play.state.groups[&web()].failures.value.of(&"db".into(), &"kiki".into()).failovers, 1);
    play.ok(released(1, "kiki"));
    play.assign("web", "kiki", 2);
    play.ok(report(2, "kiki", GroupState::Error));
    play.ok(Command::StartGroup { group: web(), on: None });
    assert_eq!(play.state.groups[&web()].failures.value, Failures::default());
    assert_eq!(play.owner(), Some("kiki"));
    play.ok(released(2, "kiki"));
    play.assign("web", "kiki", 3);
}

#[test]
fn counters_count_and_are_reset() {
    let mut play = Play::web_on_kiki();
    let (db, kiki) = (ResourceName::from("db"), ServerName::from("kiki"));
    let retry = || Command::CountRetry {
        group: web(),
        epoch: Epoch(1),
        resource: db.clone(),
        server: kiki.clone(),
        kind: FailureKind::Start,
    };
    play.ok(retry());
    play.ok(retry());
    assert_eq!(play.state.groups[&web()].failures.value.of(&db, &kiki).retries, 2);
    play.ok(Command::Steady { group: web(), epoch: Epoch(1), resource: db.clone(), monitors: Vec::new() });
    assert_eq!(play.state.groups[&web()].failures.value.of(&db, &kiki).retries, 0);
    play.ok(retry());
    play.ok(Command::ResetFailures { group: web() });
    assert_eq!(play.state.groups[&web()].failures.value, Failures::default());
}

#[test]
fn the_last_rung_sends_the_owner_away() {
    for (action, mode) in [
        (FinalAction::None, ServerMode::Active),
        (FinalAction::Stop, ServerMode::Leaving(AfterStop::Nothing)),
        (FinalAction::StopAndReboot, ServerMode::Leaving(AfterStop::Reboot)),
        (FinalAction::StopAndPowerOff, ServerMode::Leaving(AfterStop::PowerOff)),
    ] {
        let mut play = Play::web_on_kiki();
        play.ok(Command::Finally { group: web(), epoch: Epoch(1), resource: "db".into(), action });
        assert_eq!(play.state.presence(&"kiki".into()).unwrap().mode, mode);
        assert_eq!(play.state.presence(&"lala".into()).unwrap().mode, ServerMode::Active);
        assert_eq!(play.owner(), Some("kiki"));
    }
}

#[test]
fn a_report_is_kept_as_its_owner_gave_it() {
    let mut play = Play::web_on_kiki();
    let failed = Some(FailedResource { resource: "db".into(), kind: FailureKind::Start, monitor: None });
    let Command::Report { group, report } = report(1, "kiki", GroupState::Error) else { panic!() };
    let report = GroupReport { failed, ..report };
    play.ok(Command::Report { group, report: report.clone() });
    assert_eq!(play.state.groups[&web()].report.as_ref().unwrap().value, report);
}

// --- the cluster as a whole --------------------------------------------------------------------

#[test]
fn modes_follow_each_other_in_order() {
    let mut play = Play::all_up();
    let set = |mode| Command::SetMode { mode };
    let stop = ClusterMode::Stopping(AfterStop::Nothing);
    assert!(matches!(play.refused(set(ClusterMode::Running)), Refusal::WrongMode(_)));
    play.ok(set(ClusterMode::Suspended));
    assert!(matches!(play.refused(set(ClusterMode::Suspended)), Refusal::WrongMode(_)));
    let start = Command::StartGroup { group: web(), on: None };
    assert!(matches!(play.refused(start), Refusal::WrongMode(_)));
    play.ok(set(ClusterMode::Running));
    play.ok(set(stop));
    assert!(matches!(play.refused(set(stop)), Refusal::WrongMode(_)));
    assert!(matches!(play.refused(set(ClusterMode::Suspended)), Refusal::WrongMode(_)));
    play.ok(set(ClusterMode::Running));
}

impl Play {
    fn stop_cluster(&mut self) {
        self.ok(Command::SetMode { mode: ClusterMode::Stopping(AfterStop::Reboot) });
    }

    fn stopping(&self) -> bool {
        matches!(self.state.cluster_mode(), ClusterMode::Stopping(_))
    }

    fn stops(&self, server: &str) -> bool {
        self.state.stops_with_cluster(&server.into()).is_some()
    }
}

#[test]
fn a_cluster_that_was_shut_down_runs_again_with_its_first_server() {
    let mut play = Play::web_on_kiki();
    play.stop_cluster();
    assert!(play.stops("kiki") && play.stops("lala") && play.stops("momo"));
    play.ok(release(1, None));
    play.ok(released(1, "kiki"));
    for server in ["kiki", "lala", "momo"] {
        play.ok(stopped(server, 1));
        assert!(play.stopping(), "nobody is back yet");
    }
    play.start("lala", 2, "boot-2");
    assert_eq!(play.state.cluster_mode(), ClusterMode::Running);
    let vacated = play.ownership().vacated.clone().unwrap();
    assert_eq!((vacated.reason, vacated.event), (Reason::ClusterStarted, StartEvent::Start));
    play.assign("web", "lala", 2);
}

#[test]
fn a_server_that_is_back_early_waits_for_the_others_to_stop() {
    let mut play = Play::all_up();
    play.stop_cluster();
    play.ok(stopped("kiki", 1));
    play.start("kiki", 2, "boot-2");
    assert!(play.stopping(), "lala and momo still stop");
    assert!(!play.stops("kiki"), "it has stopped once already");
    assert!(play.stops("lala") && play.stops("momo"));
    play.ok(stopped("lala", 1));
    assert!(play.stopping());
    play.ok(stopped("momo", 1));
    assert_eq!(play.state.cluster_mode(), ClusterMode::Running);
}

#[test]
fn the_leader_that_could_not_say_that_it_stopped_does_not_keep_the_cluster_down() {
    // The last to leave has nobody to commit its farewell with: it stays up in the registry.
    for back in [Some("boot-2"), None] {
        let mut play = Play::all_up();
        play.stop_cluster();
        play.ok(stopped("lala", 1));
        play.ok(stopped("momo", 1));
        play.start("lala", 2, "boot-2");
        play.start("momo", 2, "boot-2");
        assert!(play.stopping() && !play.stops("lala") && !play.stops("momo"));
        match back {
            Some(boot) => play.start("kiki", 2, boot),
            None => drop(play.ok(gone("kiki", 1))),
        }
        assert_eq!(play.state.cluster_mode(), ClusterMode::Running);
    }
}

#[test]
fn a_server_that_leaves_by_itself_still_stops_with_the_cluster() {
    let mut play = Play::all_up();
    play.stop_cluster();
    play.ok(Command::ServerLeave { server: "kiki".into(), after: AfterStop::Nothing });
    assert!(play.stops("kiki"));
    play.ok(Command::SetMode { mode: ClusterMode::Running });
    assert!(!play.stops("lala"));
}

#[test]
fn a_server_that_joins_again_has_not_started_anew_by_that() {
    let mut play = Play::all_up();
    play.issue("again", None, 1000);
    play.stop_cluster();
    play.ok(join("again", "secret", "kiki"));
    assert!(play.stops("kiki"), "its old incarnation may still run");
}

#[test]
fn leaving_is_for_servers_that_are_up() {
    let mut play = Play::all_up();
    play.ok(gone("kiki", 1));
    let leave = |server: &str| Command::ServerLeave { server: server.into(), after: AfterStop::Nothing };
    assert_eq!(play.refused(leave("kiki")), Refusal::ServerDown("kiki".into()));
    assert_eq!(play.refused(leave("nobody")), Refusal::NoSuchServer("nobody".into()));
}

#[test]
fn history_tells_who_what_and_which_objects() {
    let mut play = Play::web_on_kiki();
    let change = play.state.history.back().unwrap();
    assert_eq!(change.revision, play.state.revision);
    assert_eq!(change.what, "kiki owns web, epoch 1");
    assert_eq!(change.keys, [Key::Ownership(web())]);
    for _ in 0..super::super::state::HISTORY_LIMIT + 10 {
        play.ok(Command::ResetFailures { group: web() });
    }
    assert_eq!(play.state.history.len(), super::super::state::HISTORY_LIMIT);
}
