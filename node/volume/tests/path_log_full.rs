//! The activity log with fewer places than regions are written, so that one has to leave for almost every
//! write (R29): random walks, in which power is lost at any moment. Nothing answered and flushed is lost, and
//! the copies agree after the resync. The log's own ring goes round many times.
#![allow(clippy::unwrap_used)]

mod path_common;
#[path = "path_common/walk.rs"]
mod walk;

use std::thread;

use path_common::Pair;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use tasuki_core::mirror::geometry::REGION;
use tasuki_volume::path::Planted;
use walk::Step;

/// Places in the log.
const SLOTS: usize = 6;
/// Regions that are written.
const REGIONS: usize = 24;

/// One block in each region, at different places.
fn blocks() -> Vec<u64> {
    (0..REGIONS as u64).map(|region| region * (REGION / path_common::EXTENT) + region * 37 % 1024).collect()
}

fn pair(planted: Option<Planted>) -> Pair {
    Pair::sized(planted, REGIONS as u64 * REGION, SLOTS)
}

/// More writes than elsewhere, so that the log is full at every step that hurts.
fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..REGIONS).prop_map(Step::Write),
        8 => (0..REGIONS).prop_map(Step::Begin),
        2 => (0..REGIONS).prop_map(Step::Durable),
        2 => Just(Step::Flush),
        1 => (0..REGIONS).prop_map(Step::Row),
        1 => Just(Step::Cut),
        1 => Just(Step::Mend),
        1 => Just(Step::KillPrimary),
        1 => any::<u8>().prop_map(Step::PeerPower),
        2 => any::<u8>().prop_map(Step::AllPower),
        1 => Just(Step::Move),
        1 => Just(Step::BothGood),
    ]
}

/// First the log is filled; in another order each time, so that others leave it first.
fn walked(turn: usize, steps: &[Step], planted: Option<Planted>) {
    let fill = (0..REGIONS).map(|at| Step::Write((at * 5 + turn) % REGIONS));
    let steps: Vec<Step> = fill.chain(steps.iter().copied()).collect();
    walk::walk(|| pair(planted), &blocks(), &steps);
}

proptest! {
    #![proptest_config(Config { cases: walks(), max_shrink_iters: 100, failure_persistence: None, ..Config::default() })]

    #[test]
    fn r29_with_a_full_log_nothing_answered_is_lost_and_nothing_flushed_by_any_loss_of_power(
        turn in 0..REGIONS,
        steps in prop::collection::vec(step(), 5..60),
    ) {
        walked(turn, &steps, None);
    }
}

/// So many walks; `WALKS=5000` for more.
fn walks() -> u32 {
    std::env::var("WALKS").ok().and_then(|walks| walks.parse().ok()).unwrap_or(25)
}

/// A region that leaves before what was written in it is on every disk is noticed: so the walks are where
/// regions leave.
#[test]
fn r29_walks_with_a_full_log_notice_a_region_that_leaves_early() {
    let mut runner = TestRunner::deterministic();
    let steps = prop::collection::vec(step(), 20..60);
    let noticed = (0..200).find(|turn| {
        let steps = steps.new_tree(&mut runner).unwrap().current();
        let turn = *turn;
        thread::spawn(move || walked(turn, &steps, Some(Planted::R29LeavesEarly))).join().is_err()
    });
    println!("noticed in walk {noticed:?}");
    assert!(noticed.is_some());
}
