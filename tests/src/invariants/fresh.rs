//! What was decided by something that was read holds only while that has not moved. Source: R12.

use std::collections::{BTreeMap, BTreeSet};

use tasuki_core::registry::Key;

use super::Invariant;
use crate::sim::{
    client::Outcome,
    fact::{Fact, What},
    world::State,
};

/// See the module.
#[derive(Default)]
pub struct Fresh {
    /// Accepted decisions: what they named, when it was read, when they were accepted.
    decisions: Vec<(Key, u64, u64)>,
    /// When what somebody named was changed, as nodes have shown it.
    changes: BTreeMap<Key, BTreeSet<u64>>,
}

impl Fresh {
    fn between(&self, key: &Key, read: u64, accepted: u64) -> Option<u64> {
        self.changes.get(key)?.range(read + 1..accepted).next().copied()
    }
}

impl Invariant for Fresh {
    fn name(&self) -> &'static str {
        "what was read has not moved"
    }

    fn rules(&self) -> &'static str {
        "R12"
    }

    fn look(&mut self, fact: &Fact, _: &State) -> Result<(), String> {
        match &fact.what {
            What::Client(op) => {
                let Some((key, read)) = &op.named else { return Ok(()) };
                self.changes.entry(key.clone()).or_default();
                // What was not there when it was read has no revision: what stood there before a server was
                // taken out was something else.
                if let Some(Outcome::Written(accepted)) = &op.outcome
                    && *read > 0
                {
                    self.decisions.push((key.clone(), *read, *accepted));
                }
            }
            What::Applied(state) => {
                for (key, changes) in &mut self.changes {
                    changes.insert(state.revision_of(key).0);
                }
            }
            _ => return Ok(()),
        }
        for (key, read, accepted) in &self.decisions {
            if let Some(moved) = self.between(key, *read, *accepted) {
                return Err(format!(
                    "{key} was read at revision {read}, changed at {moved}, and a decision by it was accepted \
                     as {accepted}"
                ));
            }
        }
        // Everybody shows what came before soon.
        let excess = self.decisions.len().saturating_sub(50);
        self.decisions.drain(..excess);
        Ok(())
    }
}
