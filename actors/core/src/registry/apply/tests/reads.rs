//! R12: decisions name what they read.

use super::*;

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
