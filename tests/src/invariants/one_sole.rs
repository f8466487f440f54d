//! The tie-break record goes its way: numbers never fall, and whoever may go on alone is followed by
//! another only through a pair or a majority. Source: R14, R15.

use tasuki_core::membership::tie_break::Mode;

use super::Invariant;
use crate::sim::{fact::Fact, world::State};

/// See the module.
#[derive(Default)]
pub struct OneSole {
    seen: usize,
}

impl Invariant for OneSole {
    fn name(&self) -> &'static str {
        "one may go on alone"
    }

    fn rules(&self) -> &'static str {
        "R14, R15"
    }

    fn look(&mut self, _: &Fact, _: &State) -> Result<(), String> {
        Ok(())
    }

    fn tick(&mut self, world: &State) -> Result<(), String> {
        let records = &world.votes.records;
        while self.seen < records.len() {
            let now = &records[self.seen];
            if let Some(before) = self.seen.checked_sub(1).map(|at| &records[at]) {
                if now.number < before.number {
                    return Err(format!("the record went back from {before} to {now}"));
                }
                if let (Mode::Sole(a), Mode::Sole(b)) = (before.mode, now.mode)
                    && a != b
                {
                    return Err(format!("the record went from {before} to {now}"));
                }
            }
            self.seen += 1;
        }
        Ok(())
    }
}
