//! R5: incarnations and boots.

use super::*;

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

#[test]
fn r36_a_lost_server_may_still_have_its_addresses_until_it_is_back_and_one_that_left_has_not() {
    let mut play = Play::all_up();
    let after_loss = |play: &Play| play.state.is_after_loss(StartEvent::Failover);
    assert!(!after_loss(&play));
    play.leader_says(gone("kiki", 1), Reason::LeaseRanOut { silent: std::time::Duration::from_secs(3) });
    assert!(after_loss(&play));
    assert!(!play.state.is_after_loss(StartEvent::Start), "somebody starts it: nothing was taken over");
    play.start("kiki", 2, "boot-1");
    assert!(!after_loss(&play));
    play.ok(stopped("kiki", 2));
    assert!(!after_loss(&play));
    assert!(!after_loss(&Play::empty()), "those that never started have nothing");
}
