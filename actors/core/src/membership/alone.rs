//! When one of two servers tries to go on alone (R16, R20, R21). Whether it may is for the record,
//! or for the fence.
//!
//! The start is a lost quorum: nothing was exchanged with the other server for a while. Silence on
//! all paths only makes it sooner.

use std::{cmp::Reverse, collections::BTreeSet, time::Duration};

use super::tie_break::OwnLog;
use crate::{ids::RaftId, timing::Timing};

/// The other one, where exactly two vote and this server is one of them. During a change, both
/// sets count.
#[must_use]
pub fn other_of_two(own: &OwnLog) -> Option<RaftId> {
    let all: BTreeSet<RaftId> = own.configs.iter().flatten().copied().collect();
    let other = all.iter().find(|id| **id != own.me).copied()?;
    (all.len() == 2 && all.contains(&own.me)).then_some(other)
}

/// Whether this server is in every quorum of these voters.
#[must_use]
pub fn in_every_quorum(me: RaftId, configs: &[BTreeSet<RaftId>]) -> bool {
    configs.iter().any(|voters| voters.contains(&me) && voters.len() <= 2)
}

/// How long after the last exchange with the other one it is taken as lost.
#[must_use]
pub fn patience(timing: &Timing, silent: bool) -> Duration {
    if silent {
        timing.path_lost.max(timing.election_max)
    } else {
        // Its beats arrive: it may be slow. But waiting longer would cost the own lease.
        (timing.lease * 3 / 4).max(timing.path_lost)
    }
}

/// One of the two, as the choice of who goes first sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side {
    /// Groups that run there.
    pub weight: usize,
    /// Its number in the configuration.
    pub number: u32,
}

/// How long this side lets the other go first: the heavier one goes on, of two equal ones the one
/// with the lower number (R20). Only a preference: the record or the fence decides.
#[must_use]
pub fn claim_delay(mine: Side, other: Side, timing: &Timing) -> Duration {
    let rank = |side: Side| (side.weight, Reverse(side.number));
    if rank(mine) > rank(other) { Duration::ZERO } else { timing.beat * 2 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Lineage;

    fn own(number: u64, configs: &[&[u64]]) -> OwnLog {
        let configs = configs.iter().map(|ids| ids.iter().map(|id| RaftId(*id)).collect()).collect();
        OwnLog { lineage: Lineage::from("one"), me: RaftId(1), number, configs }
    }

    #[test]
    fn the_other_of_two() {
        assert_eq!(other_of_two(&own(1, &[&[1, 2]])), Some(RaftId(2)));
        assert_eq!(other_of_two(&own(1, &[&[1], &[1, 2]])), Some(RaftId(2)));
        assert_eq!(other_of_two(&own(1, &[&[1]])), None);
        assert_eq!(other_of_two(&own(1, &[&[2, 3]])), None);
        assert_eq!(other_of_two(&own(1, &[&[1, 2], &[1, 2, 3]])), None);
    }

    #[test]
    fn r15_in_every_quorum_of_both_sets() {
        let within = |configs: &[&[u64]]| in_every_quorum(RaftId(1), &own(1, configs).configs);
        assert!(within(&[&[1, 2]]) && within(&[&[1, 2], &[1, 2, 3]]) && within(&[&[1]]));
        assert!(!within(&[&[1, 2, 3]]) && !within(&[&[2]]) && !within(&[&[1, 2, 3], &[2, 3]]));
    }

    #[test]
    fn r20_the_heavier_side_goes_first_then_the_lower_number() {
        let timing = Timing::from_detect(Duration::from_secs(1));
        let side = |weight, number| Side { weight, number };
        assert_eq!(claim_delay(side(2, 2), side(1, 1), &timing), Duration::ZERO);
        assert!(claim_delay(side(1, 1), side(2, 2), &timing) > Duration::ZERO);
        assert_eq!(claim_delay(side(1, 1), side(1, 2), &timing), Duration::ZERO);
        assert!(claim_delay(side(1, 2), side(1, 1), &timing) > Duration::ZERO);
    }

    #[test]
    fn r9_the_survivor_keeps_its_lease() {
        for detect in [500, 1000, 10_000] {
            let timing = Timing::from_detect(Duration::from_millis(detect));
            let heavy = patience(&timing, true);
            let light =
                heavy + claim_delay(Side { weight: 0, number: 2 }, Side { weight: 1, number: 1 }, &timing);
            // Since the last exchange: patience, a beat to see it, and an election's time for the rest.
            assert!(light + timing.beat + timing.election_max < timing.lease, "{detect}");
        }
    }
}
