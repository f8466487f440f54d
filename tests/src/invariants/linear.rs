//! The registry is linearizable, checked from what clients saw: every write has a place of its own
//! in one order (its revision), every operation takes effect between its beginning and its end,
//! what was acknowledged stays, and what was said not to be done is not. Source: R11, R13, R24.

use std::collections::{BTreeMap, BTreeSet};

use super::Invariant;
use crate::sim::{
    client::{Kind, Op, Outcome, of_key},
    fact::{Fact, What},
    world::State,
};

/// See the module.
#[derive(Default)]
pub struct Linear {
    /// The highest revision that had been seen by anybody when an open operation began.
    floor: BTreeMap<u64, u64>,
    /// The highest revision that any operation which has ended has seen.
    highest: u64,
    /// Acknowledged writes, by revision.
    written: BTreeMap<u64, u64>,
    /// Writes that were said not to be done.
    not_done: BTreeSet<u64>,
    /// Writes that began.
    begun: BTreeSet<u64>,
}

impl Linear {
    fn ended(&mut self, op: &Op, outcome: &Outcome) -> Result<(), String> {
        let floor = self.floor.remove(&op.id).unwrap_or(0);
        match outcome {
            Outcome::Written(revision) => {
                if *revision <= floor {
                    return Err(format!(
                        "write {} got revision {revision}, after {floor} had been seen",
                        op.id
                    ));
                }
                if let Some(other) = self.written.insert(*revision, op.id) {
                    return Err(format!("writes {other} and {} both got revision {revision}", op.id));
                }
                self.highest = self.highest.max(*revision);
            }
            Outcome::Read(revision, values) => {
                if *revision < floor {
                    return Err(format!(
                        "read {} found revision {revision}, after {floor} had been seen",
                        op.id
                    ));
                }
                for (at, id) in self.written.range(..=*revision) {
                    if !values.contains(id) {
                        return Err(format!("write {id} of revision {at} is gone at revision {revision}"));
                    }
                }
                for id in values {
                    if self.not_done.contains(id) {
                        return Err(format!("write {id} was said not to be done, and was"));
                    }
                    if !self.begun.contains(id) {
                        return Err(format!("write {id} was read and never made"));
                    }
                }
                self.highest = self.highest.max(*revision);
            }
            Outcome::NotDone(_) if op.kind == Kind::Write => {
                self.not_done.insert(op.id);
            }
            Outcome::NotDone(_) | Outcome::Unclear(_) => {}
        }
        Ok(())
    }
}

impl Invariant for Linear {
    fn name(&self) -> &'static str {
        "the registry is linearizable"
    }

    fn rules(&self) -> &'static str {
        "R11, R13, R24"
    }

    fn look(&mut self, fact: &Fact, _: &State) -> Result<(), String> {
        match &fact.what {
            What::Client(op) => match &op.outcome {
                None => {
                    self.floor.insert(op.id, self.highest);
                    if op.kind == Kind::Write {
                        self.begun.insert(op.id);
                    }
                    Ok(())
                }
                Some(outcome) => self.ended(op, outcome),
            },
            What::Applied(state) => {
                for key in state.tokens.keys() {
                    if let Some(id) = of_key(key)
                        && self.not_done.contains(&id)
                    {
                        return Err(format!("write {id} was said not to be done, and is committed"));
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
