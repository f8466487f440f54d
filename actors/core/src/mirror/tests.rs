//! The property: whatever happens to servers that keep copies of one volume, a block that is read after
//! a promotion is the last one that was answered, or a later one that was not; what was flushed survives
//! the loss of everybody's power; no copy is written in two places in one epoch; and when faults end, all
//! copies become good and equal again. The machine, the handshake, the dirty maps, the activity log and
//! the registry's `apply` are the real ones; disks, streams, processes and the client are made of numbers.
//!
//! | file | what |
//! |---|---|
//! | `world`, `registry`, `process`, `orders` | servers, the registry they share, machines and what they order |
//! | `disk`, `path`, `requests`, `streams`, `frames` | the data path, one small step at a time |
//! | `promise` | what the client was told, and what every good copy owes therefore |
//! | `moves` | everything that can happen next, as data |
//! | `walk`, `windows`, `settings`, `rest`, `shrink` | random walks with faults at the worst moments, and how they end |
//! | `rules` | each rule taken out, and noticed by walks |
//! | `story`, `stories/*.txt` | each rule and each path as a story, told with the rule and without it |
//! | `exhaustive` | every interleaving of a tiny world, to a depth |
//! | `placed` | whom a group is given to after all lost their power (R40) |
//! | `states`, `table` | what the machine does in each situation at each event: `docs/mirror-states.md` |

#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation, clippy::disallowed_methods)]

mod brief;
mod disk;
mod exhaustive;
mod frames;
mod moves;
mod orders;
mod path;
mod placed;
mod process;
mod promise;
mod random;
mod registry;
mod requests;
mod rest;
mod rules;
mod settings;
mod shrink;
mod states;
mod story;
mod streams;
mod table;
mod walk;
mod windows;
mod world;

use self::{rest::NO_REST, settings::Gap, walk::Walk, world::Counts};
use super::lapse::{self, Lapse};

/// A copy's number.
pub type Side = usize;

/// The seeds of one run; `MIRROR_SEEDS=from..to` names others.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let named = std::env::var("MIRROR_SEEDS").ok();
    let range = named.as_deref().and_then(|text| text.split_once(".."));
    let range = range.and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.unwrap_or(0..count)
}

fn walks(sides: usize, count: u64) {
    lapse::take_out(None);
    let mut all = Counts::default();
    let mut walked = 0;
    for seed in seeds(count) {
        let mut walk = Walk::new(seed, sides, None);
        match walk.walk() {
            Ok(counts) => all.add(&counts),
            Err(why) => panic!("{}", walk.told(seed, &why)),
        }
        walked += 1;
    }
    println!("{walked} walks with {sides} copies: {all:?}");
    assert!(all.opened > walked && all.outdated > walked / 4 && all.back > walked, "{all:?}");
}

#[test]
fn with_two_copies_a_read_is_never_older_than_what_was_answered() {
    walks(2, 300);
}

#[test]
fn with_three_copies_a_read_is_never_older_than_what_was_answered() {
    walks(3, 150);
}

impl Counts {
    fn add(&mut self, more: &Self) {
        self.writes += more.writes;
        self.flushes += more.flushes;
        self.reads += more.reads;
        self.opened += more.opened;
        self.outdated += more.outdated;
        self.back += more.back;
        self.resyncs += more.resyncs;
        self.full += more.full;
        self.diskless += more.diskless;
        self.diverged += more.diverged;
        self.crashes += more.crashes;
        self.frozen += more.frozen;
        self.unclear += more.unclear;
    }
}

/// The walks until one notices that a rule is out; `None` when none of so many does.
fn noticed(lapse: Option<Lapse>, gap: Option<Gap>, sides: usize, count: u64) -> Option<(u64, String)> {
    lapse::take_out(lapse);
    let found = (0..count).find_map(|seed| {
        let why = Walk::new(seed, sides, gap).walk().err()?;
        let counts = !why.contains(NO_REST) || lapse == Some(Lapse::NoneGood);
        counts.then_some((seed, why))
    });
    lapse::take_out(None);
    found
}
