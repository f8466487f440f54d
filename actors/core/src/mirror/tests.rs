//! The property: whatever happens to servers that keep copies of one volume, a block that is read after
//! a promotion is the last one that was answered, or a later one that was not; what was flushed survives
//! the loss of everybody's power; no copy is written in two places in one epoch; and when faults end, all
//! copies become good and equal again. The machine, the handshake, the dirty maps, the activity log and
//! the registry's `apply` are the real ones; disks, streams, processes and the client are made of numbers.
//!
//! Then each rule is taken out, and the same walks must notice.

#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation, clippy::disallowed_methods)]

mod disk;
mod node;
mod path;
mod rules;
mod world;

use std::collections::BTreeSet;

use self::{
    disk::name,
    node::Phase,
    world::{Asked, Counts, EXTENTS, Gap, World},
};
use super::lapse::{self, Lapse};
use crate::registry::mirror::VolumeCommand;

/// A copy's number.
pub type Side = usize;

/// Numbers from a seed.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// The steps in which faults happen.
const STEPS: usize = 1500;
/// The steps in which everything must have come to rest.
const REST: usize = 30_000;

/// What is said when it does not. Only a lack of good copies is that; other rules guard what is read.
const NO_REST: &str = "it does not come to rest";

/// One walk. What went wrong; [`told`] walks it again and tells the last steps.
fn walk(seed: u64, sides: usize, gap: Option<Gap>) -> Result<Counts, String> {
    walk_in(&mut World::new(seed, sides, gap))
}

fn told(seed: u64, sides: usize, gap: Option<Gap>) -> String {
    let mut world = World::new(seed, sides, gap);
    world.telling = true;
    let why = walk_in(&mut world).err().unwrap_or_default();
    let trace: Vec<String> = world.trace.into();
    format!("{}\nseed {seed}: {why}", trace.join("\n"))
}

fn walk_in(world: &mut World) -> Result<Counts, String> {
    let faults = 2 + world.random.below(9);
    let every = STEPS / (faults + 1);
    for step in 0..STEPS {
        if step % every == every - 1 {
            world.fault();
        }
        world.step(true);
        if step % 12 == 0 && world.is_settled() && world.is_in_step() {
            world.broken = world.broken.take().or_else(|| world.differ());
        }
        if let Some(why) = &world.broken {
            return Err(why.clone());
        }
    }
    let why = world.rest();
    why.or(world.broken.clone()).map_or(Ok(world.counts), Err)
}

impl World {
    /// Something goes on: a random one of all that can.
    fn step(&mut self, client: bool) {
        for _ in 0..20 {
            if self.try_step(client) {
                return;
            }
        }
    }

    fn try_step(&mut self, client: bool) -> bool {
        let sides = self.sides();
        let (side, peer) = (self.random.below(sides), self.random.below(sides));
        let extent = self.random.below(EXTENTS as usize) as u64;
        let flights = self.process(side).map(|process| process.path.flights.len()).unwrap_or_default();
        let flight = self.random.below(flights);
        let (stream, asked) = (self.random.below(self.streams.len()), self.random.below(self.asked.len()));
        match self.random.below(36) {
            0..=2 if client => self.request(side, extent, false),
            3 if client => self.random.chance(50) && self.request(side, extent, true),
            4 if client => self.random.chance(40) && self.read(side, extent),
            5 => self.deliver(stream) || self.hear(stream),
            6..=7 => self.begin(side, flight),
            8..=9 => self.local(side, flight),
            10..=13 => self.deliver(stream),
            14..=17 => self.hear(stream),
            18..=19 => self.answer(side, flight),
            20 => self.log(side),
            21 => self.keep(side),
            22 => self.random.chance(25) && self.settle(side),
            23 => self.copy(side, peer),
            24 => self.obey(side),
            25 => self.obey(side) || self.finish_detach(side),
            26..=27 => self.read_mail(side),
            28 => self.wake(side),
            29 => self.agent(side),
            30 => self.apply_more(side),
            31 => self.random.chance(50) && self.dial(side, peer),
            32 => self.notice(side, peer),
            33 if !self.asked.is_empty() => {
                self.on_the_way(asked);
                true
            }
            34 => self.assign(side),
            35 => self.open_again(side),
            _ => false,
        }
    }

    /// A command is on its way to the log: it arrives, late or never, and a peer may be lost meanwhile.
    fn on_the_way(&mut self, at: usize) {
        let Asked { from, answered, ref command, .. } = self.asked[at];
        let back = matches!(command, VolumeCommand::UpToDate { .. });
        if !self.calm && back && self.random.chance(10) {
            let peer = (from + 1 + self.random.below(self.sides() - 1)) % self.sides();
            let _lost = self.cut(from, peer);
        } else if !self.calm && !answered && self.random.chance(15) {
            self.unclear(at);
        } else if self.random.chance(if answered && !self.calm { 4 } else { 40 }) {
            self.arrive(at);
        }
    }

    /// Requests on some legs and not on others.
    fn burst(&mut self, side: Side) {
        for _ in 0..40 {
            let extent = self.random.below(EXTENTS as usize) as u64;
            let flights = self.process(side).map(|process| process.path.flights.len()).unwrap_or_default();
            let (flight, stream) = (self.random.below(flights), self.random.below(self.streams.len()));
            let _ = match self.random.below(6) {
                0 | 1 => self.request(side, extent, false),
                2 | 3 => self.begin(side, flight),
                4 => self.local(side, flight),
                _ => self.random.chance(30) && self.deliver(stream),
            };
        }
    }

    /// Something goes wrong, or an operator moves the group.
    fn fault(&mut self) {
        let sides = self.sides();
        if let Some(owner) = self.owner().filter(|_| !self.random.0.is_multiple_of(3)) {
            self.burst(owner);
        }
        for _ in 0..30 {
            let owner = self.owner().unwrap_or_default();
            let side = if self.random.chance(50) { owner } else { self.random.below(sides) };
            let peer = self.random.below(sides);
            let done = match self.random.below(16) {
                0..=1 => self.cut(side, peer),
                2..=3 => {
                    let cut = self.cut.pop_first();
                    cut.is_some()
                }
                4..=5 => self.end_process(side, false),
                6..=7 => self.end_process(side, true),
                8 => self.all_lose_power(),
                9 => self.come_back(side) || self.thaw(side),
                10 => self.freeze(side),
                11 => self.down_is_gone(),
                12 => self.release(),
                13 => self.fail_disk(owner),
                14 => (0..sides).any(|side| self.mend_disk(side)) || self.fail_disk(owner),
                _ => self.assign(side),
            };
            if done {
                // A server that is down does not stay so for long, and somebody says that it is gone.
                if self.random.chance(60) {
                    self.down_is_gone();
                }
                if self.random.chance(40) {
                    (0..sides).for_each(|side| _ = self.come_back(side));
                }
                return;
            }
        }
    }

    fn all_lose_power(&mut self) -> bool {
        self.say("-- all lose power".into());
        (0..self.sides()).for_each(|side| _ = self.end_process(side, true));
        true
    }

    fn freeze(&mut self, side: Side) -> bool {
        if self.process(side).is_none() {
            return false;
        }
        if self.telling {
            self.say(format!("-- {} stands still", name(side)));
        }
        self.counts.frozen += 1;
        self.servers[side].frozen = true;
        true
    }

    /// It goes on where it stood; what the registry takes for gone is soon killed by its guard.
    fn thaw(&mut self, side: Side) -> bool {
        if !self.servers[side].frozen {
            return false;
        }
        if self.telling {
            self.say(format!("-- {} goes on", name(side)));
        }
        self.servers[side].frozen = false;
        let up = self.state.presence(&name(side)).is_some_and(|presence| presence.up);
        if !up {
            for _ in 0..self.random.below(120) {
                self.step(true);
            }
            self.end_process(side, false);
        }
        true
    }

    fn down_is_gone(&mut self) -> bool {
        let down: Vec<Side> = (0..self.sides()).filter(|side| self.process(*side).is_none()).collect();
        let mut any = false;
        for side in down {
            any |= self.gone(side);
        }
        any
    }

    /// Faults have ended: all copies become good and equal, and the volume is open.
    fn rest(&mut self) -> Option<String> {
        self.say("-- faults end".into());
        self.calm = true;
        self.cut.clear();
        for side in 0..self.sides() {
            if self.servers[side].frozen || self.servers[side].disk.failed {
                self.end_process(side, false);
                self.gone(side);
                self.servers[side].disk.failed = false;
            }
            self.come_back(side);
        }
        for step in 0..REST {
            self.step(step < 300);
            if let Some(owner) = self.owner()
                && self
                    .process(owner)
                    .is_some_and(|process| process.trouble && process.phase == Phase::Closed)
            {
                self.release();
            }
            if self.broken.is_some() {
                return None;
            }
            if step % 32 == 0 && step > 600 && self.is_settled() {
                return self.differ();
            }
        }
        let machines = self.servers.iter().map(|server| {
            let process = server.process.as_ref();
            process.map(|it| format!("{:?} {:?} {:?} {:?}", it.phase, it.machine, it.orders, it.path))
        });
        let machines: Vec<Option<String>> = machines.collect();
        Some(format!("{NO_REST}: {:?} {machines:#?}", self.facts()))
    }

    fn is_settled(&mut self) -> bool {
        let all: BTreeSet<_> = (0..self.sides()).map(name).collect();
        let good = self.facts().is_some_and(|facts| facts.good == all && facts.owner.is_some());
        let Some(owner) = self.owner().filter(|_| good && self.asked.is_empty()) else { return false };
        let open = self.process(owner).is_some_and(|process| {
            matches!(process.phase, Phase::Open(_))
                && process.path.flights.is_empty()
                && !process.path.failing
        });
        open && self.streams.iter().all(|it| !it.stands() || it.from == owner)
    }

    /// Every stream stands, and writes go to all.
    fn is_in_step(&mut self) -> bool {
        let Some(owner) = self.owner() else { return false };
        (0..self.sides()).filter(|side| *side != owner).all(|side| {
            let stands = self.stream_of(owner, side).is_some_and(|at| self.streams[at].stands());
            stands
                && self.process(side).is_some()
                && self.process(owner).is_some_and(|it| it.path.is_required(side))
        })
    }

    /// Where good copies that are in step and idle hold different things.
    fn differ(&mut self) -> Option<String> {
        let owner = self.owner()?;
        for extent in 0..EXTENTS {
            self.read(owner, extent);
            let own = self.servers[owner].disk.holds(extent);
            for side in 0..self.sides() {
                let theirs = self.servers[side].disk.holds(extent);
                if theirs != own {
                    return Some(format!(
                        "extent {extent} is {own} on {} and {theirs} on {}",
                        name(owner),
                        name(side)
                    ));
                }
            }
        }
        None
    }
}

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
        let counts = walk(seed, sides, None).unwrap_or_else(|_| panic!("{}", told(seed, sides, None)));
        all.add(&counts);
        walked += 1;
    }
    println!("{walked} walks with {sides} copies: {all:?}");
    assert!(all.opened > walked && all.outdated > walked / 4 && all.back > walked, "{all:?}");
}

#[test]
fn with_two_copies_a_read_is_never_older_than_what_was_answered() {
    walks(2, 200);
}

#[test]
fn with_three_copies_a_read_is_never_older_than_what_was_answered() {
    walks(3, 100);
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
        self.crashes += more.crashes;
        self.frozen += more.frozen;
        self.unclear += more.unclear;
    }
}

/// The walks until one notices that a rule is out; `None` when none of so many does.
fn noticed(lapse: Option<Lapse>, gap: Option<Gap>, sides: usize, count: u64) -> Option<(u64, String)> {
    lapse::take_out(lapse);
    let found = (0..count).find_map(|seed| {
        let why = walk(seed, sides, gap).err()?;
        let counts = !why.contains(NO_REST) || lapse == Some(Lapse::NoneGood);
        counts.then_some((seed, why))
    });
    lapse::take_out(None);
    found
}
