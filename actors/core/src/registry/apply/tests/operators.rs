//! What operators want, and what is counted.

use super::*;

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
