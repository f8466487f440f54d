//! The end of a walk: faults end, and all copies become good and equal again.

use std::collections::BTreeSet;

use super::{
    Side,
    disk::name,
    moves::{Held, Move, pairs},
    process::Phase,
    walk::Walk,
};
use crate::{
    ids::ServerName,
    mirror::state::{Wake, Wish},
};

/// The steps in which everything must have come to rest.
const REST: usize = 400;

/// What is said when it does not. Only a lack of good copies is that; other rules guard what is read.
pub const NO_REST: &str = "it does not come to rest";

impl Walk {
    /// Faults have ended: all copies become good and equal, and the volume is open.
    pub fn rest(&mut self) -> Option<String> {
        let sides = self.world.sides();
        self.world.say("-- faults end".into());
        for (one, other) in pairs(sides) {
            self.make(Move::Heal(one, other));
        }
        self.doomed = None;
        self.world.held = Held::default();
        for side in 0..sides {
            let gone = self.world.state.presence(&name(side)).is_some_and(|presence| !presence.up);
            if gone || self.world.servers[side].frozen || self.world.servers[side].disk.failed {
                self.make(Move::Kill(side));
                self.make(Move::Gone(side));
                self.make(Move::MendDisk { side, other: false });
            }
        }
        for round in 0..REST {
            self.help(round);
            for _ in 0..20 {
                let it = self.world.decide().or_else(|| self.world.carry());
                let Some(it) = it else { break };
                self.made.push(it);
            }
            if self.world.broken.is_some() {
                return None;
            }
            if self.is_settled() {
                return self.differ();
            }
        }
        let machines: Vec<String> = self
            .world
            .servers
            .iter()
            .filter_map(|server| server.process.as_ref())
            .map(|it| {
                format!("{:?} {:?}\n{:?}\n{:?} {:?}", it.phase, it.trouble, it.machine, it.orders, it.path)
            })
            .collect();
        Some(format!("{NO_REST}: {:?} {:?}\n{}", self.world.facts(), self.world.asked, machines.join("\n")))
    }

    /// What operators and the rest of the cluster do.
    fn help(&mut self, round: usize) {
        let sides = self.world.sides();
        for side in 0..sides {
            self.make(Move::Gone(side));
            self.make(Move::Return(side));
            if round % 8 == 3 {
                self.make(Move::Arrive(0)); // late, but it does
            }
            if self.world.is_in_trouble(side) {
                self.make(Move::Release);
            }
        }
        let good: Vec<Side> = (0..sides).filter(|side| self.world.is_good(*side)).collect();
        let to = self.random.of_these(&good).unwrap_or_else(|| self.random.below(sides));
        self.make(Move::Assign(to));
        let Some(owner) = self.world.owner() else { return };
        if round % 8 == 7 {
            for peer in (0..sides).filter(|peer| *peer != owner) {
                if self.world.is_good(peer) {
                    continue;
                }
                self.make(Move::Wake(owner, Wake::Patience));
                let wish = Wish::Rebuild { peer: name(peer), full: false, discard: true };
                self.make(Move::Wish(owner, Wish::Resume));
                self.make(Move::Wish(owner, wish));
            }
        }
    }

    fn is_settled(&mut self) -> bool {
        let world = &mut self.world;
        let sides = world.sides();
        let all: BTreeSet<ServerName> = (0..sides).map(name).collect();
        let good = world.facts().is_some_and(|facts| facts.good == all && facts.owner.is_some());
        let Some(owner) = world.owner().filter(|_| good && world.asked.is_empty()) else { return false };
        let Some(process) = world.process(owner) else { return false };
        let path = &process.path;
        let open = matches!(process.phase, Phase::Open(_)) && path.flights.is_empty() && !path.failing;
        let in_step = (0..sides).all(|peer| peer == owner || path.is_required(peer));
        let rests = process.mailbox.is_empty() && process.orders.is_empty();
        open && in_step && rests
    }

    /// Where good copies that are in step and idle hold different things.
    fn differ(&mut self) -> Option<String> {
        let owner = self.world.owner()?;
        self.make(Move::Read(owner));
        let own = &self.world.servers[owner].disk;
        for (side, server) in self.world.servers.iter().enumerate() {
            let differs = (0..own.extents()).find(|extent| own.holds(*extent) != server.disk.holds(*extent));
            if let Some(extent) = differs {
                return Some(format!("extent {extent} differs between {} and {}", name(owner), name(side)));
            }
        }
        None
    }
}
