//! What a lease's end leaves, where a group asks for something else than a stop.

use std::{fs, path::PathBuf, thread::sleep, time::Duration};

use nix::poll::PollTimeout;
use tasuki_core::ids::{GroupName, ResourceName};
use tasuki_system::{
    clock,
    confinement::{Cell, Part},
    process::ProcessId,
};

use crate::{
    Test,
    guard::{BUDGET, Guard, has_ended},
    support::{Place, eventually},
};

pub const TESTS: &[Test] = &[
    ("r10_frozen_at_the_leases_end_it_goes_on_under_the_same_ownership", goes_on),
    ("r10_frozen_under_another_ownership_it_is_killed", other_ownership),
    ("what_was_left_ends_only_for_the_ownership_that_is_named", end_left),
    ("what_only_reads_runs_on_without_a_lease_and_the_rest_does_not", run_on),
    ("r10_a_guard_that_starts_again_leaves_what_is_frozen", guard_replaced),
    ("r7_a_lease_given_back_ends_what_is_frozen_too", given_back),
    ("what_cannot_be_frozen_is_killed_at_the_leases_end", marked),
    ("what_is_frozen_can_be_stopped", stop),
];

/// Long enough for what is to be started within it, in milliseconds.
const LEASE: u64 = 2500;

/// A program that counts in a file, as fast as it can be seen to.
struct Counter {
    name: &'static str,
    file: PathBuf,
    script: PathBuf,
}

impl Counter {
    fn new(guard: &Guard, name: &'static str) -> Self {
        let file = guard.place.path().join(format!("{name}.count"));
        let text = format!("i=0\nwhile :; do i=$((i+1)); echo $i >> {}; sleep 0.005; done", file.display());
        let script = guard.place.script(&format!("{name}.sh"), &text);
        Self { name, file, script }
    }

    fn start(&self, guard: &Guard, policy: &str, epoch: u64) {
        let asked = format!("start {} {} {policy} {epoch}", self.name, self.script.display());
        assert_eq!(guard.ask(&asked), "up");
        let before = self.count();
        eventually("a count", || (self.count() > before).then_some(()));
    }

    fn count(&self) -> usize {
        fs::read_to_string(&self.file).map_or(0, |text| text.lines().count())
    }

    fn cell(&self, guard: &Guard) -> Cell {
        guard.place.confinement().cell(&GroupName::from("g"), &ResourceName::from(self.name), Part::Main)
    }

    fn members(&self, guard: &Guard) -> Vec<ProcessId> {
        self.cell(guard).members().unwrap()
    }

    fn stands_still(&self) -> bool {
        let before = self.count();
        sleep(Duration::from_millis(200));
        self.count() == before
    }

    fn probe(&self, guard: &Guard) -> String {
        guard.ask(&format!("probe {} {} 7", self.name, self.script.display()))
    }
}

/// A guard with groups that can be frozen, where there are any.
fn guard() -> Option<Guard> {
    let place = Place::new(false);
    if !place.confinement().can_freeze() {
        println!("skipped, because there is no freezer of control groups (version 2) here");
        return None;
    }
    Some(Guard::start(place))
}

/// Lets the lease end with a counter that is to be frozen, and waits for the next node.
fn frozen(guard: &Guard) -> (Counter, Vec<ProcessId>) {
    let end = guard.renew(LEASE);
    let counter = Counter::new(guard, "r");
    counter.start(guard, "freeze", 7);
    let first = counter.members(guard)[0];
    let node = guard.node();
    eventually("a frozen group", || counter.cell(guard).is_frozen().unwrap().then_some(()));
    let now = clock::now();
    assert!(now >= end, "nothing stands still before the lease's end");
    assert!(now.since(end) <= BUDGET, "{:?} after the lease's end", now.since(end));
    eventually("another node", || (guard.node() != node).then_some(()));
    assert!(counter.stands_still());
    assert_eq!(counter.probe(guard), "stopped", "nobody may take it for running");
    assert!(first.open().is_some(), "it is there");
    println!("it stood still {:?} after the lease's end", now.since(end));
    (counter, vec![first])
}

fn goes_on() {
    let Some(guard) = guard() else { return };
    let (counter, before) = frozen(&guard);
    assert_eq!(guard.ask("left"), "g/r 7");
    guard.renew(20_000);
    assert!(counter.stands_still(), "a lease alone thaws nothing");
    counter.start(&guard, "freeze", 7);
    assert!(before.iter().all(|process| process.open().is_some()), "the same processes");
    assert_eq!(counter.probe(&guard), "running");
}

fn other_ownership() {
    let Some(guard) = guard() else { return };
    let (counter, before) = frozen(&guard);
    guard.renew(20_000);
    counter.start(&guard, "freeze", 9);
    assert!(before.iter().all(|process| process.open().is_none()), "those of another ownership");
}

fn end_left() {
    let Some(guard) = guard() else { return };
    let (counter, before) = frozen(&guard);
    guard.ask("end-left r 8");
    assert!(before.iter().all(|process| process.open().is_some()));
    guard.ask("end-left r 7");
    assert!(before.iter().all(|process| process.open().is_none()));
    assert_eq!(guard.ask("left"), "");
    assert_eq!(counter.probe(&guard), "stopped");
}

fn run_on() {
    let Some(guard) = guard() else { return };
    guard.renew(LEASE);
    let (reads, writes) = (Counter::new(&guard, "reads"), Counter::new(&guard, "writes"));
    reads.start(&guard, "run-on", 7);
    writes.start(&guard, "stop", 7);
    let writing: Vec<_> = writes.members(&guard).iter().filter_map(ProcessId::open).collect();
    let node = guard.node();
    assert!(writing.iter().all(|process| has_ended(process, PollTimeout::from(10_000_u16))));
    eventually("another node", || (guard.node() != node).then_some(()));
    assert!(writes.stands_still());
    assert!(!reads.stands_still(), "it runs on");
    assert_eq!(guard.ask("left"), "g/reads 7");
    // A guard that starts again does not take it for something that runs without a lease.
    let guard = Guard::start(guard.kill());
    assert_eq!(guard.ask("lease"), "None");
    assert!(!reads.stands_still());
    assert_eq!(reads.probe(&guard), "running");
}

fn guard_replaced() {
    let Some(guard) = guard() else { return };
    let (counter, before) = frozen(&guard);
    let guard = Guard::start(guard.kill());
    assert_eq!(guard.ask("lease"), "None");
    assert!(counter.stands_still());
    assert!(before.iter().all(|process| process.open().is_some()));
    guard.renew(20_000);
    counter.start(&guard, "freeze", 7);
    assert!(before.iter().all(|process| process.open().is_some()));
}

fn given_back() {
    let Some(guard) = guard() else { return };
    let (_, before) = frozen(&guard);
    guard.renew(20_000);
    assert_eq!(guard.ask("give-back"), "left running: 0");
    assert!(before.iter().all(|process| process.open().is_none()));
}

fn marked() {
    let guard = Guard::start(Place::new(true));
    guard.renew(LEASE);
    let counter = Counter::new(&guard, "r");
    counter.start(&guard, "freeze", 7);
    let open: Vec<_> = counter.members(&guard).iter().filter_map(ProcessId::open).collect();
    assert!(open.iter().all(|process| has_ended(process, PollTimeout::from(10_000_u16))));
    assert!(counter.stands_still());
}

fn stop() {
    let Some(guard) = guard() else { return };
    let (counter, before) = frozen(&guard);
    guard.renew(20_000);
    assert_eq!(guard.ask(&format!("stop {} {}", counter.name, counter.script.display())), "stopped");
    assert!(before.iter().all(|process| process.open().is_none()));
}
