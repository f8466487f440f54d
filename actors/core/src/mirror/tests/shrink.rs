//! What a walk did, made again, and made shorter: what failed is told in as few moves as still fail.

use super::{moves::Move, settings::Settings, walk::Walk, world::World};

/// Makes the moves again; what went wrong.
pub fn again(settings: &Settings, moves: &[Move], telling: bool) -> World {
    let mut world = World::new(settings.clone());
    world.telling = telling;
    for it in moves {
        if world.make(it) && world.broken.is_some() {
            break;
        }
    }
    world
}

/// The fewest of these moves that still end badly; and how they do.
pub fn shortened(settings: &Settings, moves: &[Move]) -> (Vec<Move>, World) {
    let mut left = moves.to_vec();
    let mut size = left.len() / 2;
    while size > 0 {
        let mut from = 0;
        while from < left.len() {
            let mut fewer = left.clone();
            fewer.drain(from..left.len().min(from + size));
            if again(settings, &fewer, false).broken.is_some() {
                left = fewer;
            } else {
                from += size;
            }
        }
        size /= 2;
    }
    let world = again(settings, &left, true);
    (left, world)
}

impl Walk {
    /// What happened, as short as it can be told.
    pub fn told(&self, seed: u64, why: &str) -> String {
        let settings = &self.world.settings;
        if self.world.broken.is_none() {
            let trace: Vec<String> = again(settings, &self.made, true).trace.into();
            let last = trace[trace.len().saturating_sub(80)..].join("\n");
            return format!("{last}\nseed {seed}, {settings:?}: {why}");
        }
        let (moves, world) = shortened(settings, &self.made);
        let trace: Vec<String> = world.trace.into();
        let why = world.broken.unwrap_or_default();
        format!("{}\n{moves:?}\nseed {seed}, {settings:?}: {why}", trace.join("\n"))
    }
}
