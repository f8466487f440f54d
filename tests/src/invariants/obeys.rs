//! Who holds a lease obeys: it has applied what all others have had applied for two leases, and its group
//! actors move. Source: R8: a half-hung node must not keep its lease.

use std::collections::VecDeque;

use tasuki_core::timing::Timing;

use super::Invariant;
use crate::sim::{
    fact::{Fact, What},
    world::State,
};

/// See the module.
pub struct Obeys {
    /// A server a lease behind is not renewed, and the last renewal ends a lease later; by slow clocks.
    grace: u64,
    /// What each machine's node has applied, and since when.
    applied: Vec<VecDeque<(u64, u64)>>,
}

impl Obeys {
    /// With the times of this cluster.
    pub fn new(timing: &Timing) -> Self {
        let span = timing.lease * 25 / 10 + timing.beat * 4;
        Self { grace: u64::try_from(span.as_nanos()).unwrap_or(u64::MAX), applied: Vec::new() }
    }

    /// What a machine's node had applied that long ago; none when no node was up.
    fn old(&self, at: usize, now: u64) -> Option<u64> {
        let before = now.checked_sub(self.grace)?;
        self.applied[at].iter().take_while(|(since, _)| *since <= before).last().map(|(_, index)| *index)
    }
}

impl Invariant for Obeys {
    fn name(&self) -> &'static str {
        "who holds a lease obeys"
    }

    fn rules(&self) -> &'static str {
        "R8"
    }

    fn look(&mut self, fact: &Fact, world: &State) -> Result<(), String> {
        self.applied.resize(world.machines.len(), VecDeque::new());
        match &fact.what {
            What::Committed { index, .. } => {
                let applied = &mut self.applied[fact.machine];
                applied.push_back((fact.at, *index));
                while applied.get(1).is_some_and(|(since, _)| since + self.grace < fact.at) {
                    applied.pop_front();
                }
            }
            What::NodeEnds(_) | What::NodeStarts | What::Frozen | What::Thawed => {
                self.applied[fact.machine].clear();
            }
            _ => {}
        }
        Ok(())
    }

    fn tick(&mut self, world: &State) -> Result<(), String> {
        self.applied.resize(world.machines.len(), VecDeque::new());
        for (at, machine) in world.machines.iter().enumerate() {
            if let Some(since) = machine.groups_hang
                && since + self.grace < world.now
                && machine.moves()
                && machine.frozen.is_none()
                && machine.lease().is_some()
            {
                let millis = (world.now - since) / 1_000_000;
                let name = &machine.name;
                return Err(format!(
                    "{name} holds a lease, and its group actors have not moved for {millis} ms"
                ));
            }
            // Another node of it may just have begun, in the lease of the one before.
            let Some((_, mine)) = self.applied[at].back() else { continue };
            if !machine.moves() || machine.frozen.is_some() || machine.lease().is_none() {
                continue;
            }
            // Whoever grants is among the others.
            let others = (0..world.machines.len()).filter(|other| *other != at);
            let all: Option<Vec<u64>> = others.map(|other| self.old(other, world.now)).collect();
            if let Some(floor) = all.and_then(|all| all.into_iter().min())
                && *mine < floor
            {
                return Err(format!(
                    "{} holds a lease, and has applied entry {mine} only; all others have had {floor} for long",
                    machine.name
                ));
            }
        }
        Ok(())
    }
}
