//! A proposal that is in the log twice: sent again over another path, to another leader.

use super::*;
use crate::ids::ProposalId;

fn named(play: &Play, id: u128, command: Command) -> Proposal {
    let target = Key::Target(web());
    let read = vec![(target.clone(), play.state.revision_of(&target))];
    Proposal { id: Some(ProposalId(id)), read, ..proposal(&play.state, command) }
}

fn stop() -> Command {
    Command::StopGroup { group: web(), force: false }
}

#[test]
fn r13_a_repeated_proposal_changes_once_and_is_answered_as_the_first_time() {
    let mut play = Play::web_on_kiki();
    let stop = named(&play, 7, stop());
    let first = apply(&mut play.state, &stop);
    assert!(matches!(first, Reply::Applied { .. }), "{first:?}");
    let done = play.state.clone();
    assert_eq!(
        apply(&mut play.state, &stop),
        first,
        "what it read has moved on, and it is done all the same"
    );
    assert_eq!(play.state, done);
    // Without its name it is another one, which comes too late.
    let unnamed = Proposal { id: None, ..stop };
    assert!(matches!(refusal(&apply(&mut play.state, &unnamed)), Refusal::MovedOn { .. }));
}

#[test]
fn r13_what_was_refused_stays_refused_when_it_is_repeated() {
    let mut play = Play::web_on_kiki();
    let mail = Command::MoveGroup { group: "mail".into(), to: None, force: false };
    let early = named(&play, 8, mail.clone());
    assert_eq!(refusal(&apply(&mut play.state, &early)), &Refusal::NotRunning("mail".into()));
    play.assign("mail", "lala", 1);
    let before = play.state.clone();
    assert_eq!(refusal(&apply(&mut play.state, &early)), &Refusal::NotRunning("mail".into()));
    assert_eq!(play.state, before);
    let again = named(&play, 9, mail);
    assert!(matches!(apply(&mut play.state, &again), Reply::Applied { .. }));
}
