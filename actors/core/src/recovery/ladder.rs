//! The recovery-escalation decision: retry here, hand the group on, or give up.
//!
//! ```text
//! failure --retries left--> retry here
//!         --none left-----> (the owner reports it; the leader asks `escalate`)
//!                              --failovers left, and somebody can take it--> fail over
//!                              --failovers left, nobody can--> wait
//!                              --none left--> final action
//! ```
//!
//! For retries 5, failovers 1 on two servers this makes: 1 + 5 tries on A, fail over, 1 + 5 on B,
//! fail back, 1 on A, final action.

use serde::{Deserialize, Serialize};

use crate::{
    config::{Automatic, FinalAction, StartFailurePolicy},
    registry::state::FailureCount,
};

/// What the owner does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalStep {
    /// Try again here; count it.
    Retry,
    /// Nothing is left to try here.
    GiveUp,
}

/// What the owner does about a failure, given the retries used so far.
#[must_use]
pub fn local_step(retries: u32, used: u32) -> LocalStep {
    if used < retries { LocalStep::Retry } else { LocalStep::GiveUp }
}

/// What the leader does about a failure that local retries did not mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Escalation {
    /// Hand the group to another server; counts one failover.
    FailOver,
    /// A failover is due, but no server can take the group now.
    Wait,
    /// Nothing is left.
    Final(FinalAction),
}

/// Climbs one rung.
#[must_use]
pub fn escalate(
    policy: StartFailurePolicy,
    count: FailureCount,
    failover: Automatic,
    somebody_can_take_it: bool,
) -> Escalation {
    if failover == Automatic::Manual || count.failovers >= policy.failovers {
        Escalation::Final(policy.last)
    } else if somebody_can_take_it {
        Escalation::FailOver
    } else {
        Escalation::Wait
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Plays a resource that never starts on two servers and writes down what happens.
    fn play(retries: u32, failovers: u32) -> Vec<String> {
        let policy = StartFailurePolicy { retries, failovers, last: FinalAction::None };
        let mut counts: BTreeMap<char, FailureCount> = BTreeMap::new();
        let (mut here, mut there, mut log) = ('A', 'B', Vec::new());
        loop {
            let count = counts.entry(here).or_default();
            let mut tries = 1;
            while local_step(policy.retries, count.retries) == LocalStep::Retry {
                count.retries += 1;
                tries += 1;
            }
            log.push(format!("{tries} on {here}"));
            match escalate(policy, *count, Automatic::Auto, true) {
                Escalation::FailOver => {
                    count.failovers += 1;
                    (here, there) = (there, here);
                }
                Escalation::Final(action) => {
                    log.push(format!("{action:?}"));
                    return log;
                }
                Escalation::Wait => unreachable!("somebody can always take it here"),
            }
        }
    }

    /// Failovers allowed, used, by itself or not, whether somebody can take it: one line each.
    #[test]
    fn table_of_every_rung() {
        let mut table = Vec::new();
        for (retries, used) in [(0, 0), (1, 0), (1, 1), (1, 2), (5, 4), (5, 5)] {
            table.push(format!("retries {retries} used {used}: {:?}", local_step(retries, used)));
        }
        for failovers in 0..=2 {
            for used in 0..=2 {
                for (failover, by) in [(Automatic::Auto, "auto"), (Automatic::Manual, "manual")] {
                    for (somebody, who) in [(true, "somebody"), (false, "nobody")] {
                        let policy = StartFailurePolicy { retries: 9, failovers, last: FinalAction::Reset };
                        let count = FailureCount { retries: 9, failovers: used };
                        let step = match escalate(policy, count, failover, somebody) {
                            Escalation::FailOver => "fail over",
                            Escalation::Wait => "wait",
                            Escalation::Final(FinalAction::Reset) => "final",
                            Escalation::Final(_) => "another final action than the policy's",
                        };
                        table.push(format!("failovers {failovers} used {used} {by} {who}: {step}"));
                    }
                }
            }
        }
        let expected: Vec<&str> = include_str!("ladder.txt").lines().collect();
        assert_eq!(table, expected, "\n{}\n", table.join("\n"));
    }

    /// Every final action comes out as the policy says it.
    #[test]
    fn the_final_action_is_the_policys() {
        use FinalAction::*;
        for last in [None, Stop, StopAndReboot, StopAndPowerOff, Reset] {
            let policy = StartFailurePolicy { retries: 0, failovers: 0, last };
            let step = escalate(policy, FailureCount::default(), Automatic::Auto, true);
            assert_eq!(step, Escalation::Final(last));
        }
    }

    #[test]
    fn the_reference_order_for_five_retries_and_one_failover() {
        assert_eq!(play(5, 1), ["6 on A", "6 on B", "1 on A", "None"]);
    }

    #[test]
    fn without_retries_each_server_tries_once_and_the_first_once_more() {
        assert_eq!(play(0, 1), ["1 on A", "1 on B", "1 on A", "None"]);
    }

    #[test]
    fn without_failovers_the_final_action_follows_at_once() {
        assert_eq!(play(2, 0), ["3 on A", "None"]);
    }

    #[test]
    fn manual_failover_never_hands_on_and_nobody_there_means_waiting() {
        let policy = StartFailurePolicy { retries: 0, failovers: 3, last: FinalAction::Stop };
        let none = FailureCount::default();
        assert_eq!(escalate(policy, none, Automatic::Manual, true), Escalation::Final(FinalAction::Stop));
        assert_eq!(escalate(policy, none, Automatic::Auto, false), Escalation::Wait);
    }
}
