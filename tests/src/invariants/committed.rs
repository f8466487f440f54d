//! Committed means kept: what one server has applied at an index or a revision, every other one has
//! there too, for ever. Two majorities would show here. Source: R14 to R16, R20, R23.

use std::{collections::BTreeMap, io};

use serde::Serialize;

use super::Invariant;
use crate::sim::{
    fact::{Fact, What},
    world::State,
};

/// See the module.
#[derive(Default)]
pub struct Committed {
    /// The term of each committed index, and who showed it first.
    terms: BTreeMap<u64, (u64, usize)>,
    /// The digest of the registry at each revision, and who showed it first.
    digests: BTreeMap<u64, (u64, usize)>,
}

/// A digest that needs no copy (FNV-1a).
struct Sum(u64);

impl io::Write for Sum {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn digest(value: &impl Serialize) -> Result<u64, String> {
    let mut sum = Sum(0xcbf2_9ce4_8422_2325);
    serde_json::to_writer(&mut sum, value).map_err(|error| error.to_string())?;
    Ok(sum.0)
}

impl Invariant for Committed {
    fn name(&self) -> &'static str {
        "committed means kept"
    }

    fn rules(&self) -> &'static str {
        "R14 to R16, R20, R23"
    }

    fn look(&mut self, fact: &Fact, world: &State) -> Result<(), String> {
        let name = |at: usize| &world.machines[at].name;
        match &fact.what {
            What::Committed { index, term } => {
                let (first, who) = *self.terms.entry(*index).or_insert((*term, fact.machine));
                if first != *term {
                    return Err(format!(
                        "entry {index} is of term {first} on {} and of term {term} on {}",
                        name(who),
                        name(fact.machine)
                    ));
                }
            }
            What::Applied(state) => {
                // The history is what most of it is, and its end says enough.
                let last = state.history.back().map(|change| change.revision);
                let sum = digest(&(
                    &state.servers,
                    &state.groups,
                    &state.tokens,
                    &state.mode,
                    &state.tie_break,
                    &state.last_raft_id,
                    last,
                ))?;
                let revision = state.revision.0;
                let (first, who) = *self.digests.entry(revision).or_insert((sum, fact.machine));
                if first != sum {
                    return Err(format!(
                        "revision {revision} is not the same on {} and on {}",
                        name(who),
                        name(fact.machine)
                    ));
                }
            }
            What::Settled(Ok(())) => {
                let newest = self.digests.keys().next_back().copied().unwrap_or(0);
                let shown = self.terms.keys().next_back().copied().unwrap_or(0);
                if newest > 0 && shown == 0 {
                    return Err("revisions without entries".into());
                }
            }
            _ => {}
        }
        Ok(())
    }
}
