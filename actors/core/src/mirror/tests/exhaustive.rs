//! Every interleaving of a tiny world: one extent, two copies, everything that a client, the disks and
//! the cable can do, up to a stated depth. Decisions follow at once, in the order in which they can.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt::{self, Write as _},
};

use super::{
    lapse::{self, Lapse},
    moves::Move,
    path::What,
    settings::{Gap, Settings},
    shrink::again,
    world::World,
};

/// A number for what a world looks like.
struct Print(u64);

impl fmt::Write for Print {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

fn print(world: &World) -> u64 {
    let mut print = Print(0xcbf2_9ce4_8422_2325);
    for server in &world.servers {
        let _ = write!(print, "{:?}{}{}", server.disk, server.frozen, server.incarnation);
        if let Some(it) = &server.process {
            let _ = write!(print, "{:?}{:?}{:?}{:?}", it.machine, it.path, it.phase, it.orders);
        }
    }
    let _ = write!(print, "{:?}{:?}{:?}{:?}", world.streams, world.cut, world.promise, world.asked);
    let _ = write!(print, "{:?}{:?}", world.facts(), world.owner());
    print.0
}

/// What can happen next. The other server is given the group when the owner is gone, if its copy is good;
/// else the owner again.
fn choices(world: &World) -> Vec<Vec<Move>> {
    let mut found: Vec<Vec<Move>> = Vec::new();
    for (side, server) in world.servers.iter().enumerate() {
        let Some(process) = &server.process else {
            found.push(vec![Move::Return(side)]);
            if world.owner() == Some(side) {
                let other = if world.is_good(1 - side) { 1 - side } else { side };
                found.push(vec![Move::Gone(side), Move::Assign(other)]);
                found.push(vec![Move::Gone(side), Move::Return(side), Move::Assign(side)]);
            }
            continue;
        };
        found.extend([vec![Move::Kill(side)], vec![Move::Power(side, 0)]]);
        let flights = &process.path.flights;
        if process.path.attached && !process.path.failing {
            if !flights.iter().any(|it| matches!(it.what, What::Write(_))) {
                let begin = Move::Begin(side, flights.len());
                found.push(vec![Move::Write(side, 0), begin.clone(), Move::Log(side), begin]);
            }
            if !flights.iter().any(|it| matches!(it.what, What::Flush(_))) {
                found.push(vec![Move::Flush(side), Move::Begin(side, flights.len())]);
            }
        }
        for at in 0..flights.len() {
            found.extend([
                vec![Move::Begin(side, at)],
                vec![Move::Local(side, at)],
                vec![Move::Answer(side, at)],
            ]);
        }
        found.push(vec![Move::Copy(side, 1 - side)]);
    }
    for at in 0..world.streams.len() {
        found.extend([vec![Move::Deliver(at), Move::Hear(at)], vec![Move::Drop(at)]]);
    }
    found.push(if world.linked(0, 1) { vec![Move::Cut(0, 1)] } else { vec![Move::Heal(0, 1)] });
    found
}

/// Follows a choice, and everything that is decided then; `None`: it is not possible.
fn follow(world: &World, choice: &[Move]) -> Option<World> {
    let mut next = world.clone();
    let (first, rest) = choice.split_first()?;
    if !next.make(first) {
        return None;
    }
    for it in rest {
        next.make(it);
    }
    next.run_decisions();
    Some(next)
}

/// Looks at every world that so many choices lead to; how many there were, or what went wrong.
fn explore(start: World, depth: usize) -> Result<usize, String> {
    let mut seen = BTreeSet::from([print(&start)]);
    let mut waiting = VecDeque::from([(start, Vec::new())]);
    while let Some((world, path)) = waiting.pop_front() {
        if path.len() == depth {
            continue;
        }
        for choice in choices(&world) {
            let Some(next) = follow(&world, &choice) else { continue };
            let mut path: Vec<Vec<Move>> = path.clone();
            path.push(choice);
            if let Some(why) = &next.broken {
                return Err(format!("{why} after {path:?}"));
            }
            if seen.insert(print(&next)) {
                waiting.push_back((next, path));
            }
        }
    }
    Ok(seen.len())
}

/// Both copies are good and in step.
fn opened(gap: Option<Gap>) -> World {
    let settings = Settings { extents: 1, known_equal: true, gap, ..Settings::of(2) };
    let mut world = again(&settings, &[Move::Assign(0)], false);
    world.run();
    world
}

/// A write is answered, and nobody has flushed it.
fn answered(gap: Option<Gap>) -> World {
    let mut world = opened(gap);
    world.make(&Move::Write(0, 0));
    world.run();
    world
}

/// One is being brought up to date.
fn in_resync(gap: Option<Gap>) -> World {
    let mut world = opened(gap);
    for it in [Move::Cut(0, 1), Move::Write(0, 0)] {
        world.make(&it);
        world.run();
    }
    world.make(&Move::Heal(0, 1));
    world.run_decisions();
    world
}

/// So many choices deep; `MIRROR_DEPTH=9` for more.
fn depth() -> usize {
    std::env::var("MIRROR_DEPTH").ok().and_then(|depth| depth.parse().ok()).unwrap_or(6)
}

fn all_of(start: World) {
    let worlds = explore(start, depth()).unwrap_or_else(|why| panic!("{why}"));
    println!("{worlds} worlds, {} choices deep", depth());
    assert!(worlds > 500, "{worlds}");
}

#[test]
fn every_interleaving_of_two_copies_in_step() {
    all_of(opened(None));
}

#[test]
fn every_interleaving_after_an_answer() {
    all_of(answered(None));
}

#[test]
fn every_interleaving_of_a_resync() {
    all_of(in_resync(None));
}

/// What so few choices can meet is found.
#[test]
fn without_a_rule_an_interleaving_is_found() {
    let rules: [(Option<Lapse>, Option<Gap>); 6] = [
        (Some(Lapse::PeerStaysGood), None),
        (Some(Lapse::TargetStaysGood), None),
        (None, Some(Gap::SentBeforeLog)),
        (None, Some(Gap::LogForgotten)),
        (None, Some(Gap::OlderFrames)),
        (None, Some(Gap::FlushAlone)),
    ];
    for (lapse, gap) in rules {
        lapse::take_out(lapse);
        let starts = [opened(gap), answered(gap), in_resync(gap)];
        let found = starts.into_iter().try_for_each(|start| explore(start, 5).map(drop));
        lapse::take_out(None);
        assert!(found.is_err(), "{lapse:?} {gap:?}: taken out, and no interleaving noticed");
    }
}
