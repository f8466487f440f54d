//! Whose rules and counters hold for which failure.

use std::collections::BTreeMap;

use super::*;
use crate::{
    config::{
        ExecConfig, GroupConfig, MonitorConfig, MonitorKind, MonitorTiming, RecoveryConfig, RecoveryTarget,
        ResourceConfig, ResourceKind, StopFailurePolicy,
    },
    ids::Revision,
    registry::{
        Item,
        state::{Failures, MonitorEntry, Ownership, Target},
    },
    time::WallTime,
};

fn item<T>(value: T) -> Item<T> {
    Item { value, created: Revision(1), modified: Revision(1), at: WallTime(0) }
}

/// `db` with rules 5/4/stop and 3/power off, and `oracle-watch` with 1/2/reset.
fn state() -> (State, GroupEntry) {
    let mut db = ResourceConfig::of(ResourceKind::Exec(ExecConfig::of(Vec::new())));
    db.on_start_failure = StartFailurePolicy { retries: 5, failovers: 4, last: FinalAction::Stop };
    db.on_stop_failure = StopFailurePolicy { retries: 3, last: FinalAction::StopAndPowerOff };
    let group = GroupConfig { resources: BTreeMap::from([("db".into(), db)]), ..GroupConfig::default() };
    let mut failures = Failures::default();
    *failures.of_mut(&"db".into(), &"kiki".into()) = FailureCount { retries: 2, failovers: 1 };
    *failures.of_monitor_mut(&"oracle-watch".into(), &"kiki".into()) =
        FailureCount { retries: 1, failovers: 2 };
    let entry = GroupEntry {
        config: Some(item(group)),
        target: item(Target::Online),
        ownership: item(Ownership::default()),
        report: None,
        failures: item(failures),
        facts: BTreeMap::new(),
    };
    let monitor = MonitorConfig {
        comment: String::new(),
        kind: MonitorKind::Pid,
        interval: std::time::Duration::from_secs(5),
        timeout: std::time::Duration::from_secs(60),
        retries: 0,
        start_delay: std::time::Duration::from_secs(30),
        timing: MonitorTiming::WhileActive,
        target: Some("db".into()),
        nice: 0,
        servers: Vec::new(),
        recovery: RecoveryConfig {
            target: RecoveryTarget::Resource("db".into()),
            restarts: 1,
            failovers: 2,
            last: FinalAction::Reset,
        },
    };
    let mut state = State::default();
    let monitor = MonitorEntry { config: item(monitor), reports: BTreeMap::new() };
    state.monitors.insert("oracle-watch".into(), monitor);
    (state, entry)
}

fn rules(resource: &str, kind: FailureKind, monitor: Option<&str>) -> (u32, u32, FinalAction) {
    let (state, entry) = state();
    let failed = FailedResource { resource: resource.into(), kind, monitor: monitor.map(Into::into) };
    let policy = policy(&state, &entry, &failed);
    (policy.retries, policy.failovers, policy.last)
}

#[test]
fn each_failure_has_its_rules() {
    let nothing = (0, 0, FinalAction::None);
    let watch = Some("oracle-watch");
    assert_eq!(rules("db", FailureKind::Start, None), (5, 4, FinalAction::Stop));
    assert_eq!(rules("db", FailureKind::Ended, None), (5, 4, FinalAction::Stop));
    assert_eq!(rules("db", FailureKind::Stop, None), (3, 0, FinalAction::StopAndPowerOff));
    assert_eq!(rules("db", FailureKind::TooOften, None), nothing);
    assert_eq!(rules("db", FailureKind::Found, watch), (1, 2, FinalAction::Reset));
    // A monitor or a resource that is configured no more asks for nothing.
    assert_eq!(rules("db", FailureKind::Found, Some("gone")), nothing);
    assert_eq!(rules("gone", FailureKind::Start, None), nothing);
    assert_eq!(rules("gone", FailureKind::Stop, None), nothing);
}

#[test]
fn a_finding_is_counted_charged_and_explained_as_the_monitors() {
    let (_, entry) = state();
    let of = |kind, monitor: Option<&str>| FailedResource {
        resource: "db".into(),
        kind,
        monitor: monitor.map(Into::into),
    };
    let (here, there) = ("kiki".into(), "lala".into());
    let found = of(FailureKind::Found, Some("oracle-watch"));
    assert_eq!(count(&entry, &found, &here), FailureCount { retries: 1, failovers: 2 });
    assert_eq!(count(&entry, &found, &there), FailureCount::default());
    assert_eq!(charge(&found), Charge::Monitor("oracle-watch".into()));
    assert_eq!(reason(&found, &here).to_string(), "monitor oracle-watch found it failed on kiki");
    let started = of(FailureKind::Start, None);
    assert_eq!(count(&entry, &started, &here), FailureCount { retries: 2, failovers: 1 });
    assert_eq!(charge(&started), Charge::Resource("db".into()));
    assert_eq!(reason(&started, &here).to_string(), "resource db did not start on kiki");
    assert_eq!(reason(&of(FailureKind::Ended, None), &here).to_string(), "resource db failed on kiki");
    assert_eq!(reason(&of(FailureKind::Stop, None), &here).to_string(), "resource db failed on kiki");
    let too_often = of(FailureKind::TooOften, None);
    assert_eq!(reason(&too_often, &here).to_string(), "resource db failed too often on kiki");
}
