//! When one of two servers tries to go on alone (R16, R20, R21). Whether it may is for the record,
//! or for the fence.
//!
//! The start is a lost quorum: nothing was exchanged with the other server for a while. Silence on
//! all paths only makes it sooner.

use std::{cmp::Reverse, collections::BTreeSet, time::Duration};

use super::tie_break::{Mode, OwnLog, Record, claim};
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

/// What the start of a node says of the other one of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Something was exchanged since: nothing.
    Over,
    /// The record says that this server goes on alone: it had claimed before it ended (R16), and the
    /// other one can do nothing without it, whether it lives or not.
    Named,
    /// Only the node started anew, as after its lease has ended, and the other one is not heard. Had it
    /// lived, it would have gone on meanwhile, and the record would refuse this one.
    OfTheNode,
    /// The machine booted: perhaps both did, after a loss of power, and the other one is a moment
    /// behind. Or it is heard, and will be met.
    OfTheMachine,
}

/// How long after its start a node gives the other one to come up before it takes it as lost.
#[must_use]
pub fn time_to_come_up(beginning: Beginning, startup_wait: Duration, timing: &Timing) -> Duration {
    match beginning {
        Beginning::Over | Beginning::Named => Duration::ZERO,
        // Time enough to be heard, were it there.
        Beginning::OfTheNode => startup_wait.min(timing.detect),
        Beginning::OfTheMachine => startup_wait,
    }
}

/// Whether the record names this server as the one that goes on alone, and its log can follow (R16).
#[must_use]
pub fn may_claim_at_once(record: Option<&Record>, own: &OwnLog) -> bool {
    record.is_some_and(|record| record.mode == Mode::Sole(own.me)) && claim(record, own).is_ok()
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
    fn r16_one_that_has_claimed_waits_for_nobody_and_a_restarted_node_only_a_moment() {
        let timing = Timing::from_detect(Duration::from_secs(2));
        let waits =
            |beginning, startup| time_to_come_up(beginning, Duration::from_secs(startup), &timing).as_secs();
        assert_eq!(waits(Beginning::Over, 30), 0);
        assert_eq!(waits(Beginning::Named, 30), 0);
        assert_eq!(waits(Beginning::OfTheNode, 30), 2);
        assert_eq!(waits(Beginning::OfTheNode, 1), 1, "never longer than after a boot");
        assert_eq!(waits(Beginning::OfTheMachine, 30), 30);
    }

    #[test]
    fn r16_r17_only_a_record_of_this_cluster_that_names_this_server_lets_it_claim_at_once() {
        let log = own(3, &[&[1, 2]]);
        let record = |lineage: &str, number, mode| Record { lineage: Lineage::from(lineage), number, mode };
        let (me, other) = (RaftId(1), RaftId(2));
        assert!(may_claim_at_once(Some(&record("one", 4, Mode::Sole(me))), &log));
        assert!(!may_claim_at_once(Some(&record("one", 4, Mode::Sole(other))), &log));
        assert!(!may_claim_at_once(Some(&record("one", 3, Mode::Pair(me, other))), &log));
        assert!(!may_claim_at_once(Some(&record("other", 4, Mode::Sole(me))), &log));
        assert!(!may_claim_at_once(None, &log));
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
