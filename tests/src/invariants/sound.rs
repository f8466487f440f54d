//! Nothing panics: "nothing from network, disk or operator is unwrapped". Source: the architecture.

use super::Invariant;
use crate::sim::{
    fact::{Fact, What},
    world::State,
};

/// See the module.
pub struct Sound;

impl Invariant for Sound {
    fn name(&self) -> &'static str {
        "nothing panics"
    }

    fn rules(&self) -> &'static str {
        "architecture"
    }

    fn look(&mut self, fact: &Fact, _: &State) -> Result<(), String> {
        match &fact.what {
            What::Panicked(why) => Err(why.clone()),
            _ => Ok(()),
        }
    }
}
