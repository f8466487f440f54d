//! After the faults end, everything that can run runs within a bound. Source: the design's aim, and
//! the measure that keeps the other invariants from being met by doing nothing.

use super::Invariant;
use crate::sim::{
    fact::{Fact, What},
    world::State,
};

/// See the module.
pub struct Settled;

impl Invariant for Settled {
    fn name(&self) -> &'static str {
        "what can run runs"
    }

    fn rules(&self) -> &'static str {
        "availability"
    }

    fn look(&mut self, fact: &Fact, _: &State) -> Result<(), String> {
        match &fact.what {
            What::Settled(outcome) => outcome.clone(),
            _ => Ok(()),
        }
    }
}
