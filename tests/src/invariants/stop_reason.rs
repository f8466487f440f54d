//! No stop without a reason: what a node has stopped, the registry wanted stopped, or it had failed.
//! Source: the design's "an unneeded stop is a bug", R12.

use std::{collections::BTreeMap, sync::Arc};

use tasuki_core::registry::{State as Registry, state::Target};

use super::Invariant;
use crate::sim::{
    fact::{Fact, StopCause, What},
    world::State,
};

/// See the module.
#[derive(Default)]
pub struct StopReason {
    /// What each machine's node has shown last.
    shown: BTreeMap<usize, Arc<Registry>>,
}

impl Invariant for StopReason {
    fn name(&self) -> &'static str {
        "no stop without a reason"
    }

    fn rules(&self) -> &'static str {
        "R12, R13"
    }

    fn look(&mut self, fact: &Fact, world: &State) -> Result<(), String> {
        match &fact.what {
            What::Applied(state) => {
                self.shown.insert(fact.machine, state.clone());
            }
            What::Stopped { which: (group, resource), cause: StopCause::Asked(Some(epoch)) } => {
                let Some(state) = self.shown.get(&fact.machine) else { return Ok(()) };
                let Some(entry) = state.groups.get(group) else { return Ok(()) };
                let ownership = &entry.ownership.value;
                let me = &world.machines[fact.machine].name;
                let still = ownership.epoch == *epoch && ownership.owner.as_ref() == Some(me);
                let failed = entry.report.as_ref().is_some_and(|report| report.value.failed.is_some())
                    || entry.failures.value != Default::default();
                if still && ownership.release.is_none() && entry.target.value == Target::Online && !failed {
                    return Err(format!("{me} stopped {group}/{resource}, and nobody wanted it"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
