//! Every time in the cluster, derived from one knob: `detect`.
//!
//! The relations between them are safety rule R9: [`Timing::check`] refuses a set in which a new
//! owner could start before the old one has provably stopped, or in which a survivor would lose
//! its own lease while a new leader is being elected.
//!
//! **The clock margin.** Every server counts with its own clock, and a clock that is being slewed runs
//! up to one twelfth (8.3 %) too slow or too fast. What the holder's side counts is lease, guard budget
//! and what the watchdog adds: together `held`. On the slowest clock that takes `held / (1 - 1/12)` of
//! real time; on the fastest one the leader has counted `held * (13/12) / (11/12)` by then. So it waits
//! `held * 2/11` longer, and the budget and the watchdog count as the lease does.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::time::millis;

/// All times of a cluster. Made by [`Timing::from_detect`]; single values may be overridden.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// The knob: about how long a lost server goes unnoticed.
    #[serde(with = "millis")]
    pub detect: Duration,
    /// Between two beats on a heartbeat path, and between two lease requests.
    #[serde(with = "millis")]
    pub beat: Duration,
    /// A path that has been silent this long is late: its peer is suspect.
    #[serde(with = "millis")]
    pub path_late: Duration,
    /// A path that has been silent this long is in Error.
    #[serde(with = "millis")]
    pub path_lost: Duration,
    /// Raft election time-out, lower end.
    #[serde(with = "millis")]
    pub election_min: Duration,
    /// Raft election time-out, upper end.
    #[serde(with = "millis")]
    pub election_max: Duration,
    /// How long a lease lasts from the sending of the round that a quorum answered.
    #[serde(with = "millis")]
    pub lease: Duration,
    /// What the guard has, after the lease's end, to stop everything.
    #[serde(with = "millis")]
    pub guard_budget: Duration,
    /// What two servers' clocks may drift apart while a lease and what follows it are counted out.
    #[serde(with = "millis")]
    pub clock_margin: Duration,
    /// The time-out of the servers' watchdogs; zero when there are none.
    #[serde(with = "millis", default)]
    pub watchdog: Duration,
}

/// The largest rate at which Linux slews a clock is one twelfth, 8.3 %, on each of two servers: what the
/// fastest counts beyond what the slowest does is two elevenths of that. See the module.
const MARGIN_SHARE: (u32, u32) = (2, 11);

impl Timing {
    /// Derives all times from the knob.
    #[must_use]
    pub fn from_detect(detect: Duration) -> Self {
        // Whole milliseconds, as they are written and shown; the margin is rounded up.
        let ms = |micros: u128| Duration::from_millis(u64::try_from(micros).unwrap_or(u64::MAX));
        let percent = |p: u32| ms((detect * p / 100).as_millis());
        let lease = percent(80);
        let plain = Self {
            detect,
            beat: percent(5),
            path_late: percent(15),
            path_lost: percent(30),
            election_min: percent(12),
            election_max: percent(20),
            lease,
            guard_budget: percent(10),
            clock_margin: Duration::ZERO,
            watchdog: Duration::ZERO,
        };
        Self { clock_margin: plain.least_clock_margin(), ..plain }
    }

    /// What the holder's side counts with its own clock, from sending a request until nothing of it can
    /// run any more.
    fn held(&self) -> Duration {
        self.lease + self.guard_budget + self.watchdog_cost()
    }

    /// The least clock margin for these times, rounded up to whole milliseconds (R9; see the module).
    #[must_use]
    pub fn least_clock_margin(&self) -> Duration {
        let (times, of) = MARGIN_SHARE;
        let nanos = self.held().as_nanos() * u128::from(times);
        Duration::from_millis(u64::try_from(nanos.div_ceil(u128::from(of) * 1_000_000)).unwrap_or(u64::MAX))
    }

    /// How long after a server's last grant its groups may be started elsewhere, when nobody has
    /// confirmed that it stopped.
    #[must_use]
    pub fn takeover_wait(&self) -> Duration {
        self.held() + self.clock_margin
    }

    /// What the servers' watchdogs add to the takeover wait (R9): where the guard has failed, the reset
    /// comes at the latest one watchdog time-out after the last petting, and petting must be allowed
    /// for some time after each renewal, here for a quarter of the lease.
    #[must_use]
    pub fn watchdog_cost(&self) -> Duration {
        self.watchdog.saturating_sub(self.lease * 3 / 4 + self.guard_budget)
    }

    /// Checks the relations between the times (R9).
    ///
    /// # Errors
    /// Every relation that does not hold.
    pub fn check(&self) -> Result<(), Vec<TimingError>> {
        let mut broken = Vec::new();
        let mut need = |holds: bool, error: TimingError| {
            if !holds {
                broken.push(error);
            }
        };
        let elections = self.election_max * 3;
        need(self.beat >= Duration::from_millis(5), TimingError::BeatTooShort(self.beat));
        need(
            self.election_min >= self.beat * 2,
            TimingError::ElectionWithinBeats { election_min: self.election_min, beat: self.beat },
        );
        need(
            self.election_max > self.election_min,
            TimingError::ElectionRange { min: self.election_min, max: self.election_max },
        );
        need(
            self.lease > elections + self.beat,
            TimingError::LeaseTooShort { lease: self.lease, needs: elections + self.beat },
        );
        need(
            self.clock_margin >= self.least_clock_margin(),
            TimingError::ClockMargin { margin: self.clock_margin, needs: self.least_clock_margin() },
        );
        need(self.guard_budget >= Duration::from_millis(20), TimingError::GuardBudget(self.guard_budget));
        need(
            self.path_lost > self.path_late && self.path_late >= self.beat * 2,
            TimingError::PathPatience { late: self.path_late, lost: self.path_lost },
        );
        if broken.is_empty() { Ok(()) } else { Err(broken) }
    }
}

/// A relation between two times that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimingError {
    /// Beats closer than 5 ms cost more than they tell.
    BeatTooShort(Duration),
    /// A follower would stand for election between two beats.
    ElectionWithinBeats {
        /// The configured lower end.
        election_min: Duration,
        /// The configured beat.
        beat: Duration,
    },
    /// Equal time-outs make followers vote against each other for ever.
    ElectionRange {
        /// Lower end.
        min: Duration,
        /// Upper end.
        max: Duration,
    },
    /// A lease must outlast detection and two elections, else the survivors lose it (R9).
    LeaseTooShort {
        /// The configured lease.
        lease: Duration,
        /// What it must exceed.
        needs: Duration,
    },
    /// The takeover wait would not cover two drifting clocks (R9).
    ClockMargin {
        /// The configured margin.
        margin: Duration,
        /// The least margin for this lease and budget.
        needs: Duration,
    },
    /// The guard needs at least 20 ms to stop what runs.
    GuardBudget(Duration),
    /// A path must be late before it is lost, and not before two beats were missed.
    PathPatience {
        /// Late after.
        late: Duration,
        /// Lost after.
        lost: Duration,
    },
}

impl fmt::Display for TimingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeatTooShort(beat) => write!(f, "beat is {beat:?}; it must be at least 5ms"),
            Self::ElectionWithinBeats { election_min, beat } => {
                write!(f, "election_min is {election_min:?}; it must be at least two beats ({:?})", *beat * 2)
            }
            Self::ElectionRange { min, max } => {
                write!(f, "election_max is {max:?}; it must be above election_min ({min:?})")
            }
            Self::LeaseTooShort { lease, needs } => write!(
                f,
                "lease is {lease:?}; it must be above detection, two elections and one beat \
                 ({needs:?}), else the survivors of a failure lose their own lease"
            ),
            Self::ClockMargin { margin, needs } => {
                write!(
                    f,
                    "clock_margin is {margin:?}; this lease and guard budget need at least {needs:?} \
                     (2/11 of them and of what a watchdog adds)"
                )
            }
            Self::GuardBudget(budget) => {
                write!(f, "guard_budget is {budget:?}; it must be at least 20ms")
            }
            Self::PathPatience { late, lost } => write!(
                f,
                "path_late is {late:?} and path_lost {lost:?}; a path must be late after two beats \
                 at the earliest, and lost after that"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_derived_set_keeps_the_relations() {
        for ms in [200u64, 300, 500, 700, 1000, 2000, 5000, 30_000, 60_000] {
            let timing = Timing::from_detect(Duration::from_millis(ms));
            assert_eq!(timing.check(), Ok(()), "detect = {ms} ms");
        }
    }

    #[test]
    fn r9_takeover_waits_for_lease_budget_and_margin() {
        let t = Timing::from_detect(Duration::from_secs(1));
        assert_eq!(t.takeover_wait(), t.lease + t.guard_budget + t.clock_margin);
        assert_eq!(t.clock_margin, Duration::from_millis(164), "2/11 of 900 ms");
    }

    #[test]
    fn r9_a_slow_watchdog_adds_its_difference_to_the_wait() {
        let mut t = Timing::from_detect(Duration::from_secs(1));
        let without = t.takeover_wait();
        t.watchdog = Duration::from_millis(600);
        assert_eq!(t.takeover_wait(), without, "it resets in time");
        t.watchdog = Duration::from_secs(2);
        assert_eq!(t.takeover_wait(), without + Duration::from_millis(2000 - 600 - 100));
        assert!(matches!(t.check(), Err(e) if matches!(e[..], [TimingError::ClockMargin { .. }])));
        t.clock_margin = t.least_clock_margin();
        assert_eq!((t.clock_margin, t.check()), (Duration::from_millis(400), Ok(())), "2/11 of 2200 ms");
    }

    #[test]
    fn r9_a_lease_shorter_than_two_elections_is_refused() {
        let mut t = Timing::from_detect(Duration::from_secs(1));
        t.lease = t.election_max * 3;
        assert!(matches!(t.check(), Err(e) if matches!(e[..], [TimingError::LeaseTooShort { .. }, ..])));
    }
}
