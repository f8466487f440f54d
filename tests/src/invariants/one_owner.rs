//! A resource runs on one machine at a time. Source: R13 and the honest promise R36: a machine that
//! was frozen from outside and has thawed may go on for the rest of its lease and the guard's
//! budget, and no longer.

use std::collections::BTreeMap;

use tasuki_core::timing::Timing;

use super::Invariant;
use crate::sim::{
    fact::{Fact, What, Which},
    machine::Freeze,
    world::{STEP, State},
};

/// See the module.
pub struct OneOwner {
    /// How long a thawed machine may still go on, by the slowest clock.
    grace: u64,
    /// The same where its clock stood still too, which ends the lease at once (R38).
    jump: u64,
    /// Where everything runs.
    runs: BTreeMap<Which, Vec<usize>>,
}

impl OneOwner {
    /// With the times of this cluster.
    pub fn new(timing: &Timing) -> Self {
        let nanos = |span: std::time::Duration| {
            u64::try_from((span * 108 / 100).as_nanos()).unwrap_or(u64::MAX) + 5 * STEP
        };
        let (grace, jump) = (nanos(timing.lease + timing.guard_budget), nanos(timing.guard_budget));
        Self { grace, jump, runs: BTreeMap::new() }
    }

    /// It does not move, or has begun to so lately that it may not know better.
    fn excused(&self, world: &State, at: usize) -> bool {
        let machine = &world.machines[at];
        let grace = |how| if how == Freeze::Clock { self.jump } else { self.grace };
        !machine.moves() || machine.thawed.is_some_and(|(thawed, how)| world.now <= thawed + grace(how))
    }
}

impl Invariant for OneOwner {
    fn name(&self) -> &'static str {
        "one owner"
    }

    fn rules(&self) -> &'static str {
        "R13, R36, R38"
    }

    fn look(&mut self, fact: &Fact, _: &State) -> Result<(), String> {
        match &fact.what {
            What::Started { which, .. } => self.runs.entry(which.clone()).or_default().push(fact.machine),
            What::Stopped { which, .. } => {
                if let Some(places) = self.runs.get_mut(which) {
                    places.retain(|at| *at != fact.machine);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn tick(&mut self, world: &State) -> Result<(), String> {
        for (which, places) in self.runs.iter().filter(|(_, places)| places.len() > 1) {
            // All but one must have an excuse: they did not move when the other began.
            let bold: Vec<usize> = places.iter().copied().filter(|at| !self.excused(world, *at)).collect();
            if bold.len() > 1 {
                let names: Vec<String> = bold.iter().map(|at| world.machines[*at].name.to_string()).collect();
                return Err(format!("{}/{} runs on {}", which.0, which.1, names.join(" and ")));
            }
        }
        Ok(())
    }
}
