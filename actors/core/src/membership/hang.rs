//! Which parts of a node still move (O9): the synchronisation service, and the two that watch it.
//!
//! The guard hears a sign of life of each. One of them that is silent for the patience hangs; one
//! that speaks again after such a silence did hang, and could not watch meanwhile.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Watched {
    /// The synchronisation service: heartbeats and lease.
    Sync,
    /// Its first watcher, a thread of its own.
    Agent,
    /// Its second watcher, which covers the gap while the first is started again.
    Monitor,
}

impl Watched {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sync, Self::Agent, Self::Monitor];
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sync => "the synchronisation service",
            Self::Agent => "the synchronisation agent",
            Self::Monitor => "the second monitor",
        })
    }
}

/// A part that hangs, or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hang {
    /// Which.
    pub part: Watched,
    /// For so long nothing was heard of it.
    pub silent: Duration,
}

impl fmt::Display for Hang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} did not move for {} ms", self.part, self.silent.as_millis())
    }
}

/// The last signs of life of one node's parts. A part counts from its first one on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignsOfLife {
    last: BTreeMap<Watched, Timestamp>,
}

impl SignsOfLife {
    /// A part gave one at that moment. Answers the hang that it ends, if there was one.
    pub fn heard(&mut self, part: Watched, at: Timestamp, patience: Duration) -> Option<Hang> {
        let last = self.last.entry(part).or_insert(at);
        let silent = at.since(*last);
        *last = at.max(*last);
        (silent >= patience).then_some(Hang { part, silent })
    }

    /// The part that has been silent for the patience, the most important first. Everything that was
    /// said by `now` must have been heard.
    #[must_use]
    pub fn overdue(&self, now: Timestamp, patience: Duration) -> Option<Hang> {
        let mut silent = self.last.iter().map(|(part, last)| Hang { part: *part, silent: now.since(*last) });
        silent.find(|hang| hang.silent >= patience)
    }

    /// When the next of them is overdue, if nothing more is heard.
    #[must_use]
    pub fn next_overdue(&self, patience: Duration) -> Option<Timestamp> {
        self.last.values().min().map(|last| *last + patience)
    }

    /// Another node begins, or none runs.
    pub fn forget(&mut self) {
        self.last.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(800);

    fn at(millis: u64) -> Timestamp {
        Timestamp(millis * 1_000_000)
    }

    #[test]
    fn who_was_never_heard_does_not_hang() {
        let signs = SignsOfLife::default();
        assert_eq!(signs.overdue(at(10_000), PATIENCE), None);
        assert_eq!(signs.next_overdue(PATIENCE), None);
    }

    #[test]
    fn each_part_hangs_after_the_patience_by_itself() {
        for part in Watched::ALL {
            let mut signs = SignsOfLife::default();
            for other in Watched::ALL {
                signs.heard(other, at(0), PATIENCE);
            }
            for other in Watched::ALL.into_iter().filter(|other| *other != part) {
                assert_eq!(signs.heard(other, at(500), PATIENCE), None);
            }
            assert_eq!(signs.next_overdue(PATIENCE), Some(at(800)));
            assert_eq!(signs.overdue(at(799), PATIENCE), None);
            assert_eq!(signs.overdue(at(800), PATIENCE), Some(Hang { part, silent: PATIENCE }));
        }
    }

    #[test]
    fn a_hang_that_nobody_saw_is_noticed_when_it_ends() {
        let mut signs = SignsOfLife::default();
        signs.heard(Watched::Agent, at(100), PATIENCE);
        assert_eq!(signs.heard(Watched::Agent, at(899), PATIENCE), None);
        let ended = signs.heard(Watched::Agent, at(1699), PATIENCE);
        assert_eq!(ended.map(|hang| hang.silent), Some(PATIENCE));
        assert_eq!(signs.heard(Watched::Agent, at(1700), PATIENCE), None, "it is said once");
    }

    #[test]
    fn what_was_said_out_of_order_takes_nothing_back() {
        let mut signs = SignsOfLife::default();
        signs.heard(Watched::Sync, at(500), PATIENCE);
        assert_eq!(signs.heard(Watched::Sync, at(400), PATIENCE), None);
        assert_eq!(signs.next_overdue(PATIENCE), Some(at(1300)));
    }
}
