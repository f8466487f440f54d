//! Nothing is written that a member cannot read.

use super::*;
use crate::registry::level::{KNOWN, Level, Spoken, needs, next_level};

const NEWER: Level = Level(2);

fn announce(play: &mut Play, server: &str, level: u32) -> Reply {
    let incarnation = play.state.presence(&server.into()).unwrap().incarnation;
    let speaks = Spoken { level: Level(level), version: format!("0.{level}.0") };
    play.say(Command::Announce { server: server.into(), incarnation, speaks })
}

fn announced(levels: [(&str, u32); 3]) -> Play {
    let mut play = Play::all_up();
    for (server, level) in levels {
        assert!(matches!(announce(&mut play, server, level), Reply::Applied { .. }));
    }
    play
}

/// As the leader does it: with everything that it read.
fn raise(play: &mut Play) -> Option<Reply> {
    let (level, read) = next_level(&play.state)?;
    let command = Command::RaiseLevel { level };
    let said = Proposal { read, ..proposal(&play.state, command) };
    Some(apply(&mut play.state, &said))
}

#[cfg(not(feature = "level-1"))]
fn stop_with_words() -> Proposal {
    let state = Play::web_on_kiki().state;
    let reason = Reason::said("new disks".into());
    Proposal { reason, ..proposal(&state, Command::StopGroup { group: web(), force: false }) }
}

#[test]
fn a_registry_that_says_nothing_is_at_the_first_level() {
    let play = Play::all_up();
    assert_eq!(play.state.level(), Level::BASE);
    assert_eq!(next_level(&play.state), None, "nobody has said what they read");
}

#[test]
fn the_level_rises_once_every_member_reads_more_and_not_before() {
    let mut play = announced([("kiki", 2), ("lala", 2), ("momo", 1)]);
    assert_eq!(raise(&mut play), None);
    assert_eq!(play.state.below(NEWER).into_iter().collect::<Vec<_>>(), ["momo".into()]);
    let refused = play.refused(Command::RaiseLevel { level: NEWER });
    assert_eq!(refused.to_string(), "this needs level 2 of the registry, which is at 1: momo reads less");
    announce(&mut play, "momo", 2);
    assert!(matches!(raise(&mut play), Some(Reply::Applied { .. })));
    assert_eq!(play.state.level(), NEWER);
    assert_eq!(raise(&mut play), None);
}

#[test]
fn it_rises_to_what_all_have_in_common() {
    let mut play = announced([("kiki", 5), ("lala", 3), ("momo", 4)]);
    raise(&mut play);
    assert_eq!(play.state.level(), Level(3));
}

/// It reads the log when it returns, with the version that it has.
#[test]
fn a_member_that_is_down_holds_the_level() {
    let mut play = announced([("kiki", 2), ("lala", 2), ("momo", 1)]);
    play.ok(gone("momo", 1));
    assert_eq!(raise(&mut play), None);
}

#[test]
fn one_that_has_joined_and_never_started_holds_the_level() {
    let mut play = Play::empty();
    play.issue("t", None, 1000);
    play.ok(join("t", "secret", "lala"));
    play.start("kiki", 1, "boot-1");
    announce(&mut play, "kiki", 2);
    assert_eq!(raise(&mut play), None);
    assert_eq!(play.state.below(NEWER).into_iter().collect::<Vec<_>>(), ["lala".into()]);
}

#[test]
fn a_server_that_has_not_joined_does_not_hold_it() {
    let mut play = Play::empty();
    play.start("kiki", 1, "boot-1");
    announce(&mut play, "kiki", 2);
    assert!(matches!(raise(&mut play), Some(Reply::Applied { .. })));
}

/// What it said before its restart, another version may have said.
#[test]
fn a_new_start_makes_what_was_said_void() {
    let mut play = announced([("kiki", 2), ("lala", 2), ("momo", 2)]);
    let (level, read) = next_level(&play.state).unwrap();
    play.start("lala", 2, "boot-1");
    assert_eq!(next_level(&play.state), None);
    // R12: the leader decided before it knew.
    let late = Proposal { read, ..proposal(&play.state, Command::RaiseLevel { level }) };
    assert!(matches!(refusal(&apply(&mut play.state, &late)), Refusal::MovedOn { .. }));
    let speaks = Spoken { level: NEWER, version: "0.2.0".into() };
    let older = Command::Announce { server: "lala".into(), incarnation: Incarnation(1), speaks };
    assert!(matches!(play.refused(older), Refusal::OtherIncarnation { .. }));
}

#[test]
fn a_program_that_became_too_old_is_refused_and_the_level_never_falls() {
    let mut play = announced([("kiki", 2), ("lala", 2), ("momo", 2)]);
    raise(&mut play);
    play.start("lala", 2, "boot-1");
    let reply = announce(&mut play, "lala", 1);
    assert!(matches!(refusal(&reply), Refusal::TooOld { speaks: Level(1), .. }), "{reply:?}");
    assert_eq!(play.state.level(), NEWER);
    let refused = play.refused(Command::RaiseLevel { level: Level(1) });
    assert!(matches!(refused, Refusal::NotYet { .. }));
}

#[cfg(not(feature = "level-1"))]
#[test]
fn what_needs_a_level_is_refused_until_the_registry_has_it() {
    let mut play = Play::web_on_kiki();
    let stop = stop_with_words();
    let before = play.state.clone();
    assert!(matches!(refusal(&apply(&mut play.state, &stop)), Refusal::NotYet { needs: NEWER, .. }));
    assert_eq!(play.state, before, "a refusal changes nothing");
    for server in ["kiki", "lala", "momo"] {
        announce(&mut play, server, 2);
    }
    raise(&mut play);
    assert!(matches!(apply(&mut play.state, &stop), Reply::Applied { .. }));
    assert_eq!(play.state.history.back().unwrap().reason.as_deref(), Some("new disks"));
}

/// A program of the first level, which does not know the word, cannot read the entry at all: that is
/// what the level is for.
#[cfg(not(feature = "level-1"))]
#[test]
fn only_what_needs_the_second_level_has_words_of_it() {
    let stop = stop_with_words();
    assert_eq!(needs(&stop.command, stop.reason.as_ref()), NEWER);
    assert_eq!(needs(&stop.command, None), Level::BASE);
    assert_eq!(KNOWN, NEWER);
}

#[cfg(feature = "level-1")]
#[test]
fn a_program_of_the_first_level_has_no_words_of_the_second() {
    assert_eq!((KNOWN, Reason::said("new disks".into())), (Level::BASE, None));
    assert_eq!(needs(&Command::SetMode { mode: ClusterMode::Running }, None), Level::BASE);
}
