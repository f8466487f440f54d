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
