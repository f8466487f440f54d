//! What the recovery ladder counts, and the history of failures.

use super::*;

fn db_is(state: ResourceState, failed: Option<FailureKind>) -> Command {
    let report = ResourceReport { state, detail: String::new(), since: WallTime(1000) };
    let failed = failed.map(|kind| FailedResource { resource: "db".into(), kind, monitor: None });
    Command::Report {
        group: web(),
        report: GroupReport {
            epoch: Epoch(1),
            server: "kiki".into(),
            state: GroupState::Online,
            resources: BTreeMap::from([("db".into(), report)]),
            failed,
        },
    }
}

fn retry(kind: FailureKind) -> Command {
    Command::CountRetry { group: web(), epoch: Epoch(1), resource: "db".into(), server: "kiki".into(), kind }
}

fn restart(monitor: &str, epoch: u64, server: &str) -> Command {
    Command::CountRestart {
        group: web(),
        epoch: Epoch(epoch),
        monitor: monitor.into(),
        resource: "db".into(),
        server: server.into(),
    }
}

impl Play {
    fn history(&self) -> Vec<FailureKind> {
        let history = &self.state.groups[&web()].failures.value.history;
        history.get(&"db".into()).into_iter().flatten().map(|record| record.kind).collect()
    }
}

#[test]
fn each_failure_is_in_the_history_once_with_what_failed() {
    use ResourceState::{OfflineFailure, OnlineFailure, OnlinePending};
    let up = ResourceState::Online;
    for (before, now, given_up, kind) in [
        (OnlinePending, OnlineFailure, None, FailureKind::Start),
        (up, OnlineFailure, None, FailureKind::Ended),
        (ResourceState::Intermediate, OnlineFailure, None, FailureKind::Ended),
        (OnlinePending, OnlineFailure, Some(FailureKind::Ended), FailureKind::Ended),
        (up, OnlineFailure, Some(FailureKind::Found), FailureKind::Found),
        (up, OnlineFailure, Some(FailureKind::TooOften), FailureKind::Ended),
        (OnlinePending, OnlineFailure, Some(FailureKind::TooOften), FailureKind::Start),
        (ResourceState::OfflinePending, OfflineFailure, Some(FailureKind::Stop), FailureKind::Stop),
    ] {
        let mut play = Play::web_on_kiki();
        play.ok(db_is(before, None));
        play.ok(db_is(now, given_up));
        assert_eq!(play.history(), [kind], "{before} to {now}, {given_up:?}");
        // Told again with another word: still one failure.
        play.ok(db_is(now, Some(FailureKind::Start)));
        assert_eq!(play.history(), [kind]);
        let record = play.state.groups[&web()].failures.value.history[&"db".into()][0].clone();
        assert_eq!((record.at, record.server), (WallTime(1000), "kiki".into()));
    }
}

#[test]
fn a_retry_is_a_failure_too_and_being_steady_forgets_none() {
    let mut play = Play::web_on_kiki();
    play.ok(retry(FailureKind::Start));
    play.ok(retry(FailureKind::Ended));
    assert_eq!(play.history(), [FailureKind::Start, FailureKind::Ended]);
    play.ok(Command::Steady { group: web(), epoch: Epoch(1), resource: "db".into(), monitors: Vec::new() });
    assert_eq!(play.history(), [FailureKind::Start, FailureKind::Ended]);
    play.ok(Command::ResetFailures { group: web() });
    assert_eq!(play.state.groups[&web()].failures.value, Failures::default());
}

#[test]
fn the_history_keeps_the_last_failures() {
    let mut play = Play::web_on_kiki();
    play.ok(retry(FailureKind::Stop));
    for _ in 0..FAILURES_LIMIT {
        play.ok(retry(FailureKind::Start));
    }
    assert_eq!(play.history(), [FailureKind::Start; FAILURES_LIMIT]);
}

#[test]
fn a_monitors_restarts_count_for_the_monitor() {
    let mut play = Play::web_on_kiki();
    assert_eq!(play.refused(restart("watch", 1, "kiki")), Refusal::NoSuchMonitor("watch".into()));
    play.configure(|config| {
        config.monitors.insert("watch".into(), super::monitors::monitor());
    });
    play.ok(restart("watch", 1, "kiki"));
    assert_eq!(play.state.history.back().unwrap().what, "monitor watch has db restarted on kiki");
    play.ok(restart("watch", 1, "kiki"));
    let failures = play.state.groups[&web()].failures.value.clone();
    assert_eq!(failures.of_monitor(&"watch".into(), &"kiki".into()).retries, 2);
    assert_eq!(failures.of(&"db".into(), &"kiki".into()).retries, 0);
    assert_eq!(play.history(), [FailureKind::Found; 2]);
    // Only from the present owner.
    assert!(matches!(play.refused(restart("watch", 2, "kiki")), Refusal::OtherEpoch { .. }));
    assert!(matches!(play.refused(restart("watch", 1, "lala")), Refusal::NotOwner { .. }));
    // A failover is charged to it, and being steady ends both.
    let charge = Some(Charge::Monitor("watch".into()));
    play.ok(Command::Release {
        group: web(),
        epoch: Epoch(1),
        to: None,
        event: StartEvent::Failover,
        charge,
    });
    let count = |play: &Play| {
        let failures = &play.state.groups[&web()].failures.value;
        let count = failures.of_monitor(&"watch".into(), &"kiki".into());
        (count.retries, count.failovers)
    };
    assert_eq!(count(&play), (2, 1));
    let monitors = vec!["watch".into()];
    play.ok(Command::Steady { group: web(), epoch: Epoch(1), resource: "db".into(), monitors });
    assert_eq!(count(&play), (0, 0));
}
