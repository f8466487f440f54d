//! Leases never overlap takeovers: when a server is judged lost because its lease ran out, its lease
//! and its guard's budget have passed on its own clock, and nothing of it runs. And nothing runs
//! without a lease for longer than the budget. Source: R1 to R6, R9, R10.

use tasuki_core::{reason::Reason, timing::Timing};

use super::Invariant;
use crate::sim::{
    fact::{Fact, What},
    machine::Freeze,
    world::{STEP, State},
};

/// See the module.
pub struct Lease {
    lease: u64,
    budget: u64,
    /// The newest judgements looked at, by machine.
    judged: Vec<u64>,
    /// The incarnation that each machine's node has presented.
    presented: Vec<u64>,
    /// Since when something runs without a lease, by machine, on its own clock.
    bare: Vec<Option<u64>>,
}

impl Lease {
    /// With the times of this cluster.
    pub fn new(timing: &Timing) -> Self {
        let nanos = |span: std::time::Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self {
            lease: nanos(timing.lease),
            budget: nanos(timing.guard_budget),
            judged: Vec::new(),
            presented: Vec::new(),
            bare: Vec::new(),
        }
    }
}

impl Lease {
    /// R4: nothing brings the lease of a judged incarnation back.
    fn renewed_after_judgement(&self, world: &State) -> Result<(), String> {
        for (at, machine) in world.machines.iter().enumerate() {
            let presented = self.presented.get(at).copied().unwrap_or(0);
            let judged = presented > 0 && self.judged.get(at) == Some(&presented);
            let stood =
                machine.thawed.is_some_and(|(thawed, _)| world.now <= thawed + self.budget + self.lease);
            if judged
                && !stood
                && machine.moves()
                && let Some(end) = machine.lease()
            {
                let left = end.since(machine.now()).as_millis();
                return Err(format!(
                    "{} was judged lost, and the same incarnation holds a lease for {left} ms more",
                    machine.name
                ));
            }
        }
        Ok(())
    }
}

impl Invariant for Lease {
    fn name(&self) -> &'static str {
        "leases never overlap takeovers"
    }

    fn rules(&self) -> &'static str {
        "R1 to R6, R9, R10, R38"
    }

    fn look(&mut self, fact: &Fact, world: &State) -> Result<(), String> {
        if let What::Started { which, leased: false, .. } = &fact.what {
            let machine = &world.machines[fact.machine];
            // Frozen between looking at the lease and starting: the guard ends it (R36).
            if machine.thawed.is_none_or(|(at, _)| fact.at > at + self.lease) {
                return Err(format!("{} started {}/{} without a lease", machine.name, which.0, which.1));
            }
        }
        self.presented.resize(world.machines.len(), 0);
        match &fact.what {
            What::Presented(incarnation) => self.presented[fact.machine] = incarnation.0,
            What::NodeStarts | What::NodeEnds(_) => self.presented[fact.machine] = 0,
            _ => {}
        }
        let What::Applied(state) = &fact.what else { return Ok(()) };
        self.judged.resize(world.machines.len(), 0);
        for (at, machine) in world.machines.iter().enumerate() {
            let Some(presence) = state.presence(&machine.name) else { continue };
            let incarnation = presence.incarnation.0;
            let lost = matches!(presence.down_because, Some(Reason::LeaseRanOut { .. }));
            if presence.up || !lost || self.judged[at] >= incarnation {
                continue;
            }
            self.judged[at] = incarnation;
            // A clock that stood still is R38's; what does not move runs nothing now (R36).
            let stood = machine.thawed.is_some_and(|(thawed, how)| {
                let jump = how == Freeze::Clock;
                let over = thawed + self.budget + if jump { 5 * STEP } else { self.lease };
                fact.at <= over && (jump || !machine.running.is_empty())
            });
            if !machine.moves() || stood || machine.incarnation > incarnation {
                continue;
            }
            if let Some(end) = machine.lease() {
                let left = end.since(machine.now()).as_millis();
                return Err(format!("{} was judged lost {left} ms before its lease ends", machine.name));
            }
            if let Some((which, _)) = machine.running.first_key_value() {
                return Err(format!(
                    "{} was judged lost while {}/{} runs there",
                    machine.name, which.0, which.1
                ));
            }
        }
        Ok(())
    }

    fn tick(&mut self, world: &State) -> Result<(), String> {
        self.renewed_after_judgement(world)?;
        self.bare.resize(world.machines.len(), None);
        for (at, machine) in world.machines.iter().enumerate() {
            if machine.running.is_empty() || machine.lease().is_some() {
                self.bare[at] = None;
                continue;
            }
            if !machine.moves() {
                self.bare[at] = None; // counted anew from the thaw
                continue;
            }
            let since = *self.bare[at].get_or_insert(machine.clock);
            if machine.clock > since + self.budget + 5 * STEP {
                return Err(format!("something runs on {} beyond its lease and budget", machine.name));
            }
        }
        Ok(())
    }
}
