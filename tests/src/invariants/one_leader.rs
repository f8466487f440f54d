//! One server decides in a term, and terms of those who decide only grow. Source: R3, R11, R23: a
//! vote that was forgotten elects two.

use std::collections::BTreeMap;

use super::Invariant;
use crate::sim::{
    fact::{Fact, What},
    world::State,
};

/// See the module.
#[derive(Default)]
pub struct OneLeader {
    terms: BTreeMap<u64, usize>,
}

impl Invariant for OneLeader {
    fn name(&self) -> &'static str {
        "one leader a term"
    }

    fn rules(&self) -> &'static str {
        "R3, R11, R23"
    }

    fn look(&mut self, fact: &Fact, world: &State) -> Result<(), String> {
        let What::Leads { term } = fact.what else { return Ok(()) };
        let first = *self.terms.entry(term).or_insert(fact.machine);
        if first != fact.machine {
            let (one, other) = (&world.machines[first].name, &world.machines[fact.machine].name);
            return Err(format!("{one} and {other} both lead in term {term}"));
        }
        Ok(())
    }
}
