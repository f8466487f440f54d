//! R13: ownership.

use super::*;

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
