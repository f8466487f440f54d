//! The order of devices, and what the registry asks for.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use super::*;
use crate::{
    config::{ClusterSettings, FenceConfig},
    ids::Lineage,
    timing::Timing,
};

fn settings(devices: &[(&str, u32)]) -> ClusterSettings {
    let device = |retries| FenceConfig {
        comment: String::new(),
        kind: FenceKind::Script { program: "/bin/true".into() },
        ports: BTreeMap::new(),
        timeout: Duration::from_secs(1),
        retries,
        delay: Duration::from_secs(2),
    };
    ClusterSettings {
        name: "test".into(),
        comment: String::new(),
        timing: Timing::from_detect(Duration::from_secs(1)),
        startup_wait: Duration::from_secs(5),
        networks: BTreeMap::new(),
        heartbeats: Vec::new(),
        port: 1,
        heartbeat_port: 2,
        votes: Default::default(),
        on_hang: Default::default(),
        fences: devices.iter().map(|(name, retries)| ((*name).into(), device(*retries))).collect(),
    }
}

fn levels(levels: &[&[&str]]) -> Vec<Vec<FenceName>> {
    levels.iter().map(|level| level.iter().map(|name| (*name).into()).collect()).collect()
}

/// Plays an attempt in which these devices confirm (`+`) or fail (`-`) in turn, and tells what it
/// tried and how it ended.
fn play(attempt: &mut Attempt, answers: &str) -> String {
    let mut told = String::new();
    for answer in answers.chars() {
        match attempt.step() {
            FencingStep::Try { device, .. } => told += &format!("{device}{answer} "),
            other => return format!("{told}{other:?} too early"),
        }
        attempt.tried(answer == '+');
    }
    match attempt.step() {
        FencingStep::Try { device, .. } => told + &format!("{device}?"),
        FencingStep::Confirmed { by } => {
            told + &format!("by {}", by.iter().map(FenceName::as_str).collect::<Vec<_>>().join("+"))
        }
        FencingStep::Exhausted => told + "exhausted",
    }
}

#[test]
fn levels_in_order_and_within_a_level_all_must_confirm() {
    let settings = settings(&[("ipmi", 1), ("pdu-a", 0), ("pdu-b", 0)]);
    let two = levels(&[&["ipmi"], &["pdu-a", "pdu-b"]]);
    for (answers, told) in [
        ("", "ipmi?"),
        ("+", "ipmi+ by ipmi"),
        ("-+", "ipmi- ipmi+ by ipmi"),
        ("--", "ipmi- ipmi- pdu-a?"),
        ("--+", "ipmi- ipmi- pdu-a+ pdu-b?"),
        ("--++", "ipmi- ipmi- pdu-a+ pdu-b+ by pdu-a+pdu-b"),
        ("--+-", "ipmi- ipmi- pdu-a+ pdu-b- exhausted"),
        ("---", "ipmi- ipmi- pdu-a- exhausted"),
    ] {
        assert_eq!(play(&mut Attempt::new(&settings, &two, false), answers), told);
    }
}

#[test]
fn what_one_level_confirmed_says_nothing_for_the_next() {
    let settings = settings(&[("a", 0), ("b", 0), ("c", 0)]);
    let mut attempt = Attempt::new(&settings, &levels(&[&["a", "b"], &["c"]]), false);
    assert_eq!(play(&mut attempt, "+-+"), "a+ b- c+ by c");
}

#[test]
fn without_a_usable_level_nothing_is_confirmed() {
    let settings = settings(&[("a", 0)]);
    for none in [levels(&[]), levels(&[&[]]), levels(&[&["unknown"]]), levels(&[&["a", "unknown"]])] {
        assert_eq!(Attempt::new(&settings, &none, false).step(), FencingStep::Exhausted, "{none:?}");
    }
}

#[test]
fn r19_the_lighter_side_waits_before_its_first_try_only() {
    let settings = settings(&[("a", 1)]);
    let after = |attempt: &Attempt| match attempt.step() {
        FencingStep::Try { after, .. } => after,
        other => panic!("{other:?}"),
    };
    let mut lighter = Attempt::new(&settings, &levels(&[&["a"]]), true);
    assert_eq!(after(&lighter), Duration::from_secs(2));
    lighter.tried(false);
    assert_eq!(after(&lighter), Duration::ZERO);
    assert_eq!(after(&Attempt::new(&settings, &levels(&[&["a"]]), false)), Duration::ZERO);
}

#[test]
fn r19_a_fence_breaks_a_tie_only_for_who_replicated_with_the_peer_in_this_boot() {
    let set = |ids: &[u64]| ids.iter().map(|id| RaftId(*id)).collect::<BTreeSet<_>>();
    let own = |configs: &[&[u64]]| OwnLog {
        lineage: Lineage::from("one"),
        me: RaftId(1),
        number: 3,
        configs: configs.iter().map(|ids| set(ids)).collect(),
    };
    assert_eq!(may_break_tie(&own(&[&[1, 2]]), RaftId(2), true), Ok(()));
    assert_eq!(may_break_tie(&own(&[&[1, 2]]), RaftId(2), false), Err(Unfit::NotInThisBoot));
    for other in [&[&[1, 2, 3][..]][..], &[&[1][..]], &[&[1, 3][..]], &[&[1, 2][..], &[1, 2, 3][..]]] {
        assert_eq!(may_break_tie(&own(other), RaftId(2), true), Err(Unfit::NotThePair), "{other:?}");
    }
}

#[test]
fn r19_only_levels_that_prove_off_break_a_tie() {
    let mut settings = settings(&[("ipmi", 0), ("disk", 0), ("dog", 0)]);
    settings.fences.get_mut(&"disk".into()).unwrap().kind =
        FenceKind::Reservation { devices: vec!["/dev/sda".into()] };
    settings.fences.get_mut(&"dog".into()).unwrap().kind = FenceKind::Watchdog;
    let all = levels(&[&["disk"], &["dog"], &["ipmi", "disk"], &["ipmi"]]);
    assert_eq!(proving_levels(&settings, &all), levels(&[&["ipmi", "disk"], &["ipmi"]]));
}

#[test]
fn pauses_grow_and_stay_bounded() {
    let second = Duration::from_secs(1);
    assert_eq!(pause(0, second), second);
    assert_eq!(pause(3, second), second * 8);
    assert_eq!(pause(u32::MAX, second), LONGEST_PAUSE);
}
