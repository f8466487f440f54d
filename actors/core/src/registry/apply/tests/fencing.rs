//! Fencing in the registry: R5, R12, R13, R36.

use super::*;
use crate::{
    config::{FenceConfig, FenceKind},
    ids::{FenceName, ServerName},
    membership::{
        fencing::{Duty, Fences, duties},
        reset::{NoReset, reset_by, with_watchdog},
    },
    registry::fencing::{Fencing, FencingState},
    time::Timestamp,
};

fn request(incarnation: u64) -> Command {
    let because = "it is silent".into();
    Command::RequestFence { server: "kiki".into(), incarnation: Incarnation(incarnation), because }
}

fn fenced(incarnation: u64, by: &[&str]) -> Command {
    let by = by.iter().map(|name| (*name).into()).collect();
    Command::ServerFenced { server: "kiki".into(), incarnation: Incarnation(incarnation), by }
}

fn failed(incarnation: u64) -> Command {
    let tried = vec![(FenceName::from("ipmi"), Some("no answer".to_owned()))];
    Command::FenceTried { server: "kiki".into(), incarnation: Incarnation(incarnation), tried, failed: true }
}

fn lifted() -> Command {
    Command::FenceLifted { server: "kiki".into() }
}

/// `web` runs on kiki, which has the fencing device `ipmi`.
fn with_device() -> Play {
    let mut play = Play::web_on_kiki();
    play.configure(|config| {
        let ipmi = FenceConfig {
            comment: String::new(),
            kind: FenceKind::Script { program: "/bin/ipmi".into() },
            ports: BTreeMap::new(),
            timeout: Duration::from_secs(1),
            retries: 0,
            delay: Duration::ZERO,
        };
        config.settings.fences.insert("ipmi".into(), ipmi);
        config.servers.get_mut(&"kiki".into()).unwrap().fencing = vec![vec!["ipmi".into()]];
    });
    play
}

fn state(play: &Play) -> Fencing {
    play.state.servers[&"kiki".into()].fencing.clone().unwrap().value
}

#[test]
fn r36_a_server_with_a_fence_is_not_taken_over_by_time() {
    let mut play = with_device();
    assert_eq!(play.refused(gone("kiki", 1)), Refusal::FenceFirst("kiki".into()));
    assert_eq!(play.owner(), Some("kiki"));
    play.ok(gone("lala", 1)); // which has none
}

#[test]
fn r36_neither_a_request_nor_a_failure_takes_it_over() {
    let mut play = with_device();
    play.ok(request(1));
    assert_eq!(play.owner(), Some("kiki"));
    play.ok(failed(1));
    assert_eq!(play.owner(), Some("kiki"));
    assert!(matches!(play.refused(assign("web", "lala", 2)), Refusal::StillOwned { .. }));
    play.ok(request(1));
    play.ok(fenced(1, &["ipmi"]));
    assert_eq!(play.owner(), None);
    play.assign("web", "lala", 2);
}

#[test]
fn r13_an_operators_word_and_its_own_word_are_ends_too() {
    let mut play = with_device();
    play.ok(fenced(1, &[]));
    assert_eq!(play.owner(), None);
    let mut play = with_device();
    play.ok(request(1));
    play.ok(stopped("kiki", 1));
    assert_eq!((play.owner(), state(&play).state), (None, FencingState::Lifted));
    assert_eq!(duties(&play.state, &"lala".into(), true), [], "there is nothing left to fence");
}

#[test]
fn r36_a_new_boot_is_an_end_and_makes_the_fencing_moot() {
    let mut play = with_device();
    play.ok(request(1));
    play.start("kiki", 2, "boot-2");
    assert_eq!((play.owner(), state(&play).state), (None, FencingState::Lifted));
    assert!(matches!(play.refused(fenced(1, &["ipmi"])), Refusal::OtherIncarnation { .. }), "R5");
    play.assign("web", "kiki", 2);
}

#[test]
fn a_node_that_starts_again_ends_its_fencing_and_keeps_its_groups() {
    let mut play = with_device();
    play.ok(request(1));
    play.start("kiki", 2, "boot-1");
    assert_eq!((play.owner(), state(&play).state), (Some("kiki"), FencingState::Lifted));
}

#[test]
fn r12_a_fenced_server_is_given_nothing_until_it_is_let_in_again() {
    let mut play = with_device();
    play.ok(fenced(1, &["ipmi"]));
    play.start("kiki", 2, "boot-2");
    assert_eq!(play.refused(assign("web", "kiki", 2)), Refusal::StillFenced("kiki".into()));
    assert!(Fences::of(&play.state).withheld.contains(&"kiki".into()), "nor a lease");
    assert_eq!(duties(&play.state, &"kiki".into(), false), [Duty::Return { devices: Vec::new() }]);
    play.ok(lifted());
    assert!(!Fences::of(&play.state).withheld.contains(&"kiki".into()));
    play.assign("web", "kiki", 2);
    assert_eq!(play.refused(lifted()), Refusal::NotFenced("kiki".into()));
}

#[test]
fn r12_nothing_is_given_to_a_server_that_shall_be_fenced() {
    let mut play = with_device();
    play.ok(request(1));
    assert_eq!(play.refused(assign("mail", "kiki", 1)), Refusal::StillFenced("kiki".into()));
    assert!(Fences::of(&play.state).withheld.contains(&"kiki".into()));
}

#[test]
fn a_machine_that_comes_back_without_having_booted_is_noted() {
    let mut play = with_device();
    play.ok(fenced(1, &["ipmi"]));
    play.start("kiki", 2, "boot-1");
    let error = state(&play).tries[0].error.clone().unwrap();
    assert!(error.contains("without having booted"), "{error}");
    let mut play = with_device();
    play.ok(fenced(1, &["ipmi"]));
    play.start("kiki", 2, "boot-2");
    assert_eq!(state(&play).tries, []);
}

#[test]
fn at_most_one_fencing_at_a_time_and_every_try_is_kept() {
    let mut play = with_device();
    play.ok(request(1));
    assert_eq!(play.refused(request(1)), Refusal::FencingUnderWay("kiki".into()));
    play.ok(failed(1));
    play.ok(request(1));
    play.ok(failed(1));
    assert_eq!(state(&play).tries.len(), 2);
    play.ok(fenced(1, &["ipmi"]));
    assert_eq!(play.refused(request(1)), Refusal::AlreadyFenced("kiki".into()));
}

#[test]
fn only_the_leader_fences_and_nobody_itself() {
    let mut play = with_device();
    play.ok(request(1));
    let (kiki, lala) = ("kiki".into(), "lala".into());
    assert_eq!(duties(&play.state, &kiki, true), []);
    assert_eq!(duties(&play.state, &lala, false), []);
    let fence = Duty::Fence { server: kiki, incarnation: Incarnation(1) };
    assert_eq!(duties(&play.state, &lala, true), [fence]);
    play.ok(failed(1));
    assert!(matches!(duties(&play.state, &lala, true)[..], [Duty::AskAgain { .. }]));
}

/// R5, R10: only what the guard of the present incarnation told counts.
#[test]
fn r10_a_watchdog_confirms_only_for_the_incarnation_whose_guard_has_armed_it() {
    let mut play = Play::web_on_kiki();
    let kiki = ServerName::from("kiki");
    let until = Some(Timestamp(5_000_000_000));
    let armed = |incarnation| Command::WatchdogArmed {
        server: "kiki".into(),
        incarnation: Incarnation(incarnation),
        timeout: Duration::from_secs(2),
    };
    assert_eq!(reset_by(&play.state, &kiki, until), Err(NoReset::NoWatchdog(kiki.clone())));
    assert!(matches!(play.refused(armed(2)), Refusal::OtherIncarnation { .. }));
    play.ok(armed(1));
    let timing = with_watchdog(&play.state.settings.as_ref().unwrap().value.timing, Duration::from_secs(2));
    let by = Timestamp(5_000_000_000) + (timing.takeover_wait() - timing.lease);
    assert_eq!(reset_by(&play.state, &kiki, until), Ok(by));
    assert_eq!(reset_by(&play.state, &kiki, None), Err(NoReset::StillGranted(kiki.clone())));
    // The next incarnation may have another guard, without one.
    play.start("kiki", 2, "boot-1");
    assert_eq!(reset_by(&play.state, &kiki, until), Err(NoReset::NoWatchdog(kiki)));
    play.ok(gone("kiki", 2));
    assert_eq!(play.refused(armed(2)), Refusal::ServerDown("kiki".into()));
}
