//! A group's life as short stories: an event in, the actions out.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::config::{
    Automatic, ExecConfig, FinalAction, FloatingIpConfig, ResourceConfig, ResourceKind, StartFailurePolicy,
    Startup, StopFailurePolicy,
};

fn resource(kind: ResourceKind, retries: u32) -> ResourceConfig {
    ResourceConfig {
        comment: String::new(),
        depends_on: None,
        on_start_failure: StartFailurePolicy { retries, failovers: 1, last: FinalAction::None },
        on_stop_failure: StopFailurePolicy { retries: 0, last: FinalAction::None },
        kind,
        ..ResourceConfig::of(ResourceKind::Exec(ExecConfig::of(Vec::new())))
    }
}

fn exec() -> ResourceKind {
    ResourceKind::Exec(ExecConfig {
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
    })
}

fn address() -> ResourceKind {
    let address = "10.0.0.1".parse().unwrap();
    ResourceKind::FloatingIp(FloatingIpConfig {
        address,
        prefix: 24,
        device: None,
        per_server: BTreeMap::new(),
    })
}

/// Address `ip`, program `db` with one retry, and `watch`, which depends on `db`.
fn group() -> Lifecycle {
    let mut watch = resource(exec(), 0);
    watch.depends_on = Some(vec!["db".into()]);
    let config = GroupConfig {
        comment: String::new(),
        servers: vec!["kiki".into(), "lala".into()],
        startup: Startup::Always,
        failover: Automatic::Auto,
        failback: Automatic::Manual,
        resources: BTreeMap::from([
            ("ip".into(), resource(address(), 0)),
            ("db".into(), resource(exec(), 1)),
            ("watch".into(), watch),
        ]),
        ..GroupConfig::default()
    };
    Lifecycle::new(config, &"kiki".into(), &Failures::default(), Timestamp(0))
}

fn say(actions: &[Action]) -> String {
    let words = actions.iter().map(|action| match action {
        Action::Start(name) => format!("start {name}"),
        Action::Stop(name) => format!("stop {name}"),
        Action::CountRetry(name, _) => format!("count {name}"),
        Action::CountRestart { monitor, resource } => format!("count {monitor} {resource}"),
        Action::Steady { resource, monitors } => {
            let monitors: String = monitors.iter().map(|monitor| format!(" {monitor}")).collect();
            format!("steady {resource}{monitors}")
        }
        Action::Report => "report".into(),
        Action::Released => "released".into(),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn play(group: &mut Lifecycle, story: &[(Event, &str)]) {
    for (event, expected) in story {
        assert_eq!(say(&group.on(event.clone(), Timestamp(1))), *expected, "after {event:?}");
    }
}

fn begin(running: &[&str]) -> Event {
    Event::Begin { running: running.iter().map(|n| (*n).into()).collect() }
}

fn started(name: &str) -> Event {
    Event::Started(name.into())
}

fn stopped(name: &str) -> Event {
    Event::Stopped(name.into())
}

#[test]
fn resources_start_in_order_and_stop_in_reverse() {
    let mut group = group();
    play(
        &mut group,
        &[
            (begin(&[]), "start ip, report"),
            (started("ip"), "start db, report"),
            (started("db"), "start watch, report"),
            (started("watch"), "report"),
        ],
    );
    assert_eq!(group.state(), GroupState::Online);
    play(
        &mut group,
        &[
            (Event::Release, "stop watch, report"),
            (stopped("watch"), "stop db, report"),
            (stopped("db"), "stop ip, report"),
            (stopped("ip"), "report, released"),
        ],
    );
    assert_eq!(group.state(), GroupState::Offline);
}

#[test]
fn r6_what_runs_is_adopted_without_stop_or_start() {
    let mut group = group();
    play(&mut group, &[(begin(&["ip", "db", "watch"]), "report")]);
    assert_eq!(group.state(), GroupState::Online);
}

#[test]
fn what_is_missing_after_an_adoption_is_started() {
    play(&mut group(), &[(begin(&["ip", "watch"]), "start db, report")]);
}

#[test]
fn a_program_that_ends_is_restarted_and_then_given_up() {
    let mut group = group();
    let ended = || Event::Ended("db".into(), "killed".into());
    play(
        &mut group,
        &[
            (begin(&["ip", "db", "watch"]), "report"),
            (ended(), "count db, start db, report"),
            (started("db"), "report"),
            (ended(), "report"),
        ],
    );
    assert_eq!(group.state(), GroupState::Error);
    assert_eq!(group.failed().map(|f| f.kind), Some(FailureKind::Ended));
    play(
        &mut group,
        &[
            (Event::Release, "stop watch, report"),
            (stopped("watch"), "stop db, report"),
            (stopped("db"), "stop ip, report"),
            (stopped("ip"), "report, released"),
        ],
    );
}

#[test]
fn a_failed_start_is_retried_and_then_nothing_later_starts() {
    let mut group = group();
    let failed = || Event::StartFailed("db".into(), "exit code 1".into());
    play(
        &mut group,
        &[
            (begin(&["ip"]), "start db, report"),
            (failed(), "count db, start db, report"),
            (failed(), "report"),
        ],
    );
    assert_eq!(group.state(), GroupState::Error);
    let db = group.resources().find(|(name, ..)| name.as_str() == "db").unwrap();
    assert_eq!((db.1, db.2), (ResourceState::OnlineFailure, "exit code 1"));
}

#[test]
fn a_stop_overtakes_a_start_and_the_late_answer_counts_for_nothing() {
    let mut group = group();
    play(
        &mut group,
        &[(begin(&["ip"]), "start db, report"), (Event::Release, "stop db, report"), (started("db"), "")],
    );
    play(&mut group, &[(stopped("db"), "stop ip, report"), (stopped("ip"), "report, released")]);
    assert_eq!(group.on(started("db"), Timestamp(2)), []);
}

#[test]
fn r13_what_does_not_stop_is_never_released() {
    let mut group = group();
    play(
        &mut group,
        &[
            (begin(&["ip", "db", "watch"]), "report"),
            (Event::Release, "stop watch, report"),
            (Event::StopFailed("watch".into(), "exit code 1".into()), "report"),
        ],
    );
    assert_eq!(group.state(), GroupState::Error);
    assert_eq!(group.failed().map(|f| f.kind), Some(FailureKind::Stop));
}

#[test]
fn counters_start_again_after_a_steady_minute() {
    let mut group = group();
    let now = |s: u64| Timestamp(s * 1_000_000_000);
    group.on(begin(&["ip", "db", "watch"]), now(0));
    group.on(Event::Ended("db".into(), String::new()), now(1));
    group.on(started("db"), now(2));
    assert_eq!(group.on(Event::Tick, now(61)), []);
    assert_eq!(say(&group.on(Event::Tick, now(62))), "steady db");
    assert_eq!(group.on(Event::Tick, now(63)), []);
    assert_eq!(
        say(&group.on(Event::Ended("db".into(), String::new()), now(64))),
        "count db, start db, report"
    );
}

#[test]
fn a_group_released_before_it_began_stops_everything_first() {
    let mut group = group();
    play(&mut group, &[(Event::Release, "stop watch, report")]);
}

// --- checks -------------------------------------------------------------------------------------

fn checked(name: &str, state: CheckedState, detail: &str) -> Event {
    Event::Checked(name.into(), state, detail.into())
}

fn state_of(group: &Lifecycle, name: &str) -> (ResourceState, String) {
    let (_, state, detail) = group.resources().find(|(n, ..)| n.as_str() == name).unwrap();
    (state, detail.to_owned())
}

#[test]
fn o20_intermediate_and_unknown_are_shown_and_need_no_recovery() {
    let mut group = group();
    play(
        &mut group,
        &[
            (begin(&["ip", "db", "watch"]), "report"),
            (checked("db", CheckedState::Online, "Open"), "report"),
            // Nothing new is not told again.
            (checked("db", CheckedState::Online, "Open"), ""),
            (checked("db", CheckedState::Intermediate, "Mounted"), "report"),
        ],
    );
    assert_eq!(state_of(&group, "db"), (ResourceState::Intermediate, "Mounted".into()));
    assert_eq!(group.state(), GroupState::Online);
    play(&mut group, &[(checked("db", CheckedState::Unknown, "no answer"), "report")]);
    assert_eq!(state_of(&group, "db").0, ResourceState::Unknown);
    assert_eq!((group.state(), group.failed()), (GroupState::Online, None));
}

#[test]
fn a_failed_check_climbs_the_ladder_like_an_end() {
    let failed = || checked("db", CheckedState::Failed("exit code 5".into()), "Closed");
    let mut group = group();
    play(
        &mut group,
        &[
            (begin(&["ip", "db", "watch"]), "report"),
            (failed(), "count db, start db, report"),
            // Of what is starting, a check says nothing.
            (failed(), ""),
            (checked("db", CheckedState::Intermediate, ""), ""),
            (started("db"), "report"),
            (failed(), "report"),
        ],
    );
    assert_eq!(group.failed().map(|f| f.kind), Some(FailureKind::Ended));
    assert_eq!(state_of(&group, "db"), (ResourceState::OnlineFailure, "exit code 5".into()));
}

#[test]
fn what_is_intermediate_can_end_and_is_stopped_like_what_is_online() {
    let mut one = group();
    let steps = [
        (begin(&["ip", "db", "watch"]), "report"),
        (checked("watch", CheckedState::Intermediate, ""), "report"),
    ];
    play(&mut one, &steps);
    play(&mut one, &[(Event::Release, "stop watch, report")]);
    let mut other = group();
    play(&mut other, &steps[..1]);
    play(&mut other, &[(checked("db", CheckedState::Intermediate, ""), "report")]);
    play(&mut other, &[(Event::Ended("db".into(), "killed".into()), "count db, start db, report")]);
}

#[test]
fn what_depends_on_it_waits_until_it_is_online() {
    play(
        &mut group(),
        &[
            (begin(&["ip", "db"]), "start watch, report"),
            (checked("db", CheckedState::Intermediate, ""), "report"),
            (Event::StartFailed("watch".into(), String::new()), "report"),
        ],
    );
    let mut config = group().config().clone();
    config.resources.get_mut(&ResourceName::from("watch")).unwrap().depends_on =
        Some(vec!["db".into(), "ip".into()]);
    let mut group = Lifecycle::new(config, &"kiki".into(), &Failures::default(), Timestamp(0));
    play(
        &mut group,
        &[
            (begin(&["db"]), "start ip, report"),
            (checked("db", CheckedState::Intermediate, ""), "report"),
            (started("ip"), "report"),
            (checked("db", CheckedState::Online, ""), "start watch, report"),
        ],
    );
}

#[test]
fn a_change_between_online_and_intermediate_is_no_new_beginning() {
    let mut group = group();
    let now = |s: u64| Timestamp(s * 1_000_000_000);
    group.on(begin(&["ip", "db", "watch"]), now(0));
    group.on(Event::Ended("db".into(), String::new()), now(1));
    group.on(started("db"), now(2));
    group.on(checked("db", CheckedState::Intermediate, ""), now(40));
    assert_eq!(say(&group.on(Event::Tick, now(62))), "steady db");
}

// --- findings of monitors -----------------------------------------------------------------------

fn found(resources: &[&str], restarts: u32) -> Event {
    let resources = resources.iter().map(|n| (*n).into()).collect();
    Event::Found { monitor: "m".into(), resources, why: "bad".into(), restarts }
}

fn mended() -> Event {
    Event::Mended { monitor: "m".into() }
}

#[test]
fn a_finding_restarts_what_it_concerns_and_what_depends_on_it_and_nothing_else() {
    let mut group = group();
    play(
        &mut group,
        &[
            (begin(&["ip", "db", "watch"]), "report"),
            (found(&["db"], 1), "count m db, stop watch, report"),
            // Said again while that is going on, it asks for nothing more.
            (found(&["db"], 1), ""),
            // What ends on the way is stopped in its turn.
            (Event::Ended("db".into(), "killed".into()), "report"),
            (checked("db", CheckedState::Failed("gone".into()), ""), ""),
            (stopped("watch"), "stop db, report"),
            (found(&["db"], 1), ""),
            (stopped("db"), "start db, report"),
            (found(&["db"], 1), ""),
            (started("db"), "start watch, report"),
            (found(&["db"], 1), ""),
            (started("watch"), "report"),
        ],
    );
    assert_eq!(group.state(), GroupState::Online);
    // Its only restart is used up: the leader's turn. Everything runs on until that decides.
    play(&mut group, &[(found(&["db"], 1), "report"), (found(&["db"], 1), "")]);
    assert_eq!(group.state(), GroupState::Error);
    let failed = group.failed().unwrap();
    assert_eq!((failed.kind, failed.monitor.as_ref()), (FailureKind::Found, Some(&"m".into())));
    assert_eq!(state_of(&group, "db"), (ResourceState::Online, "monitor m: bad".into()));
}

#[test]
fn a_finding_about_the_whole_group_restarts_all_of_it() {
    play(
        &mut group(),
        &[
            (begin(&["ip", "db", "watch"]), "report"),
            (found(&["db", "ip", "watch"], 1), "count m db, stop watch, report"),
            (stopped("watch"), "stop db, report"),
            (stopped("db"), "stop ip, report"),
            (stopped("ip"), "start ip, report"),
            (started("ip"), "start db, report"),
        ],
    );
}

#[test]
fn the_registry_remembers_restarts_for_a_node_that_starts_again() {
    let mut failures = Failures::default();
    failures.monitors.insert(
        "m".into(),
        BTreeMap::from([("kiki".into(), crate::registry::state::FailureCount { retries: 1, failovers: 0 })]),
    );
    let config = group().config().clone();
    for (server, expected) in [("kiki", "report"), ("lala", "count m db, stop watch, report")] {
        let mut group = Lifecycle::new(config.clone(), &server.into(), &failures, Timestamp(0));
        play(&mut group, &[(begin(&["ip", "db", "watch"]), "report"), (found(&["db"], 1), expected)]);
    }
}

#[test]
fn what_was_given_up_on_is_well_again_when_the_monitor_says_so() {
    let mut group = group();
    play(
        &mut group,
        &[
            (mended(), ""),
            (begin(&["ip", "db", "watch"]), "report"),
            (found(&["db"], 0), "report"),
            (Event::Mended { monitor: "other".into() }, ""),
            (mended(), "report"),
            (mended(), ""),
        ],
    );
    assert_eq!((group.state(), group.failed()), (GroupState::Online, None));
    assert_eq!(state_of(&group, "db"), (ResourceState::Online, String::new()));
}

#[test]
fn a_finding_keeps_nothing_else_from_being_restarted_and_yields_to_a_failure() {
    let ended = || Event::Ended("db".into(), "killed".into());
    let mut group = group();
    play(
        &mut group,
        &[
            (begin(&["ip", "db", "watch"]), "report"),
            (found(&["ip"], 0), "report"),
            (ended(), "count db, start db, report"),
            (started("db"), "report"),
        ],
    );
    assert_eq!(group.failed().map(|f| f.kind), Some(FailureKind::Found));
    play(&mut group, &[(ended(), "report")]);
    assert_eq!(group.failed().map(|f| f.kind), Some(FailureKind::Ended));
    // That stands, whatever the monitor says.
    play(&mut group, &[(mended(), ""), (found(&["ip"], 0), "")]);
    assert_eq!(group.failed().map(|f| f.kind), Some(FailureKind::Ended));
}

#[test]
fn a_finding_about_nothing_that_is_here_or_while_released_asks_for_nothing() {
    let mut group = group();
    play(
        &mut group,
        &[
            (found(&["db"], 1), ""),
            (begin(&["ip", "db", "watch"]), "report"),
            (found(&["other"], 1), ""),
            (found(&[], 1), ""),
            (Event::Release, "stop watch, report"),
            (found(&["db"], 1), ""),
        ],
    );
}

#[test]
fn a_release_overtakes_a_restart() {
    play(
        &mut group(),
        &[
            (begin(&["ip", "db", "watch"]), "report"),
            (found(&["db"], 1), "count m db, stop watch, report"),
            (Event::Release, "report"),
            (stopped("watch"), "stop db, report"),
            (stopped("db"), "stop ip, report"),
            (stopped("ip"), "report, released"),
        ],
    );
}

#[test]
fn r13_what_does_not_stop_for_a_restart_is_not_started_beside_and_is_tried_again_at_a_release() {
    let mut group = group();
    play(
        &mut group,
        &[
            (begin(&["ip", "db", "watch"]), "report"),
            (found(&["db"], 1), "count m db, stop watch, report"),
            (stopped("watch"), "stop db, report"),
            (Event::StopFailed("db".into(), "exit code 1".into()), "report"),
        ],
    );
    assert_eq!(group.failed().map(|f| f.kind), Some(FailureKind::Stop));
    play(
        &mut group,
        &[
            (Event::Release, "stop db, report"),
            (stopped("db"), "stop ip, report"),
            (stopped("ip"), "report, released"),
        ],
    );
}

#[test]
fn after_a_failed_stop_nothing_more_is_stopped_for_a_restart() {
    let needs = |names: &[&str]| {
        let mut one = resource(exec(), 0);
        one.depends_on = Some(names.iter().map(|n| (*n).into()).collect());
        one
    };
    let resources =
        [("a", needs(&[])), ("a-user", needs(&["a"])), ("b", needs(&[])), ("b-user", needs(&["b"]))];
    let config = GroupConfig {
        resources: resources.into_iter().map(|(name, one)| (name.into(), one)).collect(),
        ..group().config().clone()
    };
    let mut group = Lifecycle::new(config, &"kiki".into(), &Failures::default(), Timestamp(0));
    play(
        &mut group,
        &[
            (begin(&["a", "a-user", "b", "b-user"]), "report"),
            (found(&["a", "b"], 1), "count m a, stop a-user, stop b-user, report"),
            (Event::StopFailed("a-user".into(), "exit code 1".into()), "report"),
            (stopped("b-user"), "report"),
        ],
    );
    assert!(!group.is_restarting(&"b".into()));
}

#[test]
fn what_is_about_to_be_restarted_is_not_steady() {
    let now = |s: u64| Timestamp(s * 1_000_000_000);
    let mut group = group();
    group.on(begin(&["ip", "db", "watch"]), now(0));
    group.on(Event::Ended("db".into(), String::new()), now(1));
    group.on(started("db"), now(2));
    group.on(found(&["db"], 1), now(70));
    assert_eq!(group.on(Event::Tick, now(71)), []);
}

#[test]
fn a_monitors_counters_start_again_once_it_is_well_and_its_target_has_been_up_long_enough() {
    let now = |s: u64| Timestamp(s * 1_000_000_000);
    let mut group = group();
    group.on(begin(&["ip", "db", "watch"]), now(0));
    group.on(found(&["watch"], 2), now(100));
    group.on(stopped("watch"), now(101));
    group.on(started("watch"), now(102));
    // The monitor has not said that it is well.
    assert_eq!(group.on(Event::Tick, now(200)), []);
    group.on(mended(), now(210));
    assert_eq!(group.on(Event::Tick, now(269)), []);
    assert_eq!(say(&group.on(Event::Tick, now(270))), "steady watch m");
    assert_eq!(group.on(Event::Tick, now(271)), []);
    // Both are there again.
    assert_eq!(say(&group.on(found(&["watch"], 1), now(272))), "count m watch, stop watch, report");
}

// --- thresholds ---------------------------------------------------------------------------------

/// The group with other rules for `db`.
fn with_db(change: impl FnOnce(&mut ResourceConfig)) -> Lifecycle {
    let mut config = group().config().clone();
    change(config.resources.get_mut(&ResourceName::from("db")).unwrap());
    Lifecycle::new(config, &"kiki".into(), &Failures::default(), Timestamp(0))
}

#[test]
fn uptime_threshold_is_each_resources_own() {
    let now = |s: u64| Timestamp(s * 1_000_000_000);
    let mut group = with_db(|db| db.uptime_threshold = Duration::from_secs(600));
    group.on(begin(&["ip", "db", "watch"]), now(0));
    group.on(Event::Ended("db".into(), String::new()), now(1));
    group.on(started("db"), now(2));
    assert_eq!(group.on(Event::Tick, now(601)), []);
    assert_eq!(say(&group.on(Event::Tick, now(602))), "steady db");
}

/// How many failures, so many seconds apart, until it is given up, and as what.
fn failures_until_given_up(apart: u64) -> (u32, FailureKind) {
    let now = |s: u64| Timestamp(s * 1_000_000_000);
    let mut group = with_db(|db| {
        (db.failure_threshold, db.failure_interval) = (3, Duration::from_secs(60));
        db.on_start_failure.retries = 5;
    });
    group.on(begin(&["ip", "db", "watch"]), now(0));
    for failure in 1.. {
        let at = u64::from(failure) * apart;
        group.on(Event::Ended("db".into(), String::new()), now(at));
        if let Some(failed) = group.failed() {
            return (failure, failed.kind);
        }
        group.on(started("db"), now(at));
    }
    unreachable!("retries end")
}

#[test]
fn so_many_failures_within_the_interval_are_one_too_many() {
    assert_eq!(failures_until_given_up(0), (3, FailureKind::TooOften));
    assert_eq!(failures_until_given_up(29), (3, FailureKind::TooOften));
    // The first of three is a minute old at the third: only the retries end.
    assert_eq!(failures_until_given_up(30), (6, FailureKind::Ended));
}

#[test]
fn failures_of_before_this_ownership_count_when_they_were_here_and_lately() {
    use crate::registry::state::FailureRecord;
    let record =
        |at: u64, server: &str, kind| FailureRecord { at: WallTime(at), server: server.into(), kind };
    let history = |records: [FailureRecord; 2]| Failures {
        history: BTreeMap::from([("db".into(), records.into())]),
        ..Failures::default()
    };
    let now = Timestamp(1_000_000_000_000);
    for (records, kind) in [
        (
            [record(70_000, "kiki", FailureKind::Start), record(80_000, "kiki", FailureKind::Ended)],
            FailureKind::TooOften,
        ),
        (
            [record(40_000, "kiki", FailureKind::Start), record(80_000, "kiki", FailureKind::Ended)],
            FailureKind::Start,
        ),
        (
            [record(70_000, "lala", FailureKind::Start), record(80_000, "kiki", FailureKind::Ended)],
            FailureKind::Start,
        ),
        (
            [record(70_000, "kiki", FailureKind::Stop), record(80_000, "kiki", FailureKind::Ended)],
            FailureKind::Start,
        ),
    ] {
        let group = with_db(|db| {
            (db.failure_threshold, db.failure_interval) = (3, Duration::from_secs(60));
            db.on_start_failure.retries = 0;
        });
        let mut group = group.remembering(&history(records.clone()), &"kiki".into(), WallTime(100_000), now);
        group.on(begin(&["ip"]), now);
        group.on(Event::StartFailed("db".into(), String::new()), now);
        assert_eq!(group.failed().map(|f| f.kind), Some(kind), "{records:?}");
    }
}

#[test]
fn a_reset_gives_all_retries_and_restarts_back() {
    let ended = || Event::Ended("db".into(), String::new());
    let mut group = group();
    play(
        &mut group,
        &[
            (begin(&["ip", "db", "watch"]), "report"),
            (ended(), "count db, start db, report"),
            (started("db"), "report"),
            (found(&["watch"], 1), "count m watch, stop watch, report"),
            (stopped("watch"), "start watch, report"),
            (started("watch"), "report"),
            (Event::Reset, ""),
            (ended(), "count db, start db, report"),
            (started("db"), "report"),
            (found(&["watch"], 1), "count m watch, stop watch, report"),
        ],
    );
}

#[test]
fn what_did_not_stop_is_tried_again_when_an_operator_resets_the_group() {
    let mut group = group();
    play(
        &mut group,
        &[
            (begin(&["ip", "db", "watch"]), "report"),
            (Event::Release, "stop watch, report"),
            (Event::StopFailed("watch".into(), "exit code 1".into()), "report"),
            (Event::Reset, "stop watch, report"),
            (stopped("watch"), "stop db, report"),
            (stopped("db"), "stop ip, report"),
            (stopped("ip"), "report, released"),
        ],
    );
}

/// Address `ip`, disk `md` with one retry, and program `db` on it.
fn group_with_a_disk() -> Lifecycle {
    let disk = crate::config::MirrorDiskConfig::of("/dev/sdb2".into(), "/dev/sdb1".into());
    let config = GroupConfig {
        resources: BTreeMap::from([
            ("ip".into(), resource(address(), 0)),
            ("md".into(), resource(ResourceKind::MirrorDisk(disk), 1)),
            ("db".into(), resource(exec(), 1)),
        ]),
        ..GroupConfig::default()
    };
    Lifecycle::new(config, &"kiki".into(), &Failures::default(), Timestamp(0))
}

#[test]
fn r34_what_runs_on_a_disk_that_went_with_the_node_is_stopped_before_the_disk_comes_back() {
    let mut group = group_with_a_disk();
    play(
        &mut group,
        &[
            (begin(&["ip", "db"]), "stop db, report"),
            (stopped("db"), "start md, report"),
            (started("md"), "start db, report"),
            (started("db"), "report"),
        ],
    );
    assert_eq!(group.state(), GroupState::Online);
}

#[test]
fn a_disk_that_is_lost_takes_its_programs_along_and_brings_them_back() {
    let mut group = group_with_a_disk();
    play(
        &mut group,
        &[
            (begin(&[]), "start ip, report"),
            (started("ip"), "start md, report"),
            (started("md"), "start db, report"),
            (started("db"), "report"),
            (Event::Ended("md".into(), "the device is gone".into()), "count md, stop db, report"),
            (stopped("db"), "stop md, report"),
            (stopped("md"), "start md, report"),
            (started("md"), "start db, report"),
            (started("db"), "report"),
            // Its retries are used up: the group is handed on.
            (Event::Ended("md".into(), "the device is gone".into()), "report"),
        ],
    );
    assert_eq!(group.state(), GroupState::Error);
}
