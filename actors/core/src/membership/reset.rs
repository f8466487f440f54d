//! Fencing by the target's own watchdog: when it has reset its machine for certain.
//!
//! A guard pets its watchdog only while the reset that this puts off still comes by the end of its lease,
//! its budget and what the watchdog adds (R9, R10). So nothing of a server runs any more once the takeover
//! wait has passed since its last grant: its guard has stopped everything, or is gone and the watchdog has
//! reset the machine. That holds only for a guard that told that it has armed one, and from the last grant
//! that was given: so the leader that waits is one that grants nothing more to that server.
//!
//! It proves that time has passed, on a machine for which time passes. A virtual machine that is frozen
//! takes its watchdog along: so it breaks no tie (R19), and R36 says what can be left.

use std::time::Duration;

use crate::{ids::ServerName, registry::State, time::Timestamp, timing::Timing};

/// Why a watchdog cannot confirm anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoReset {
    /// There are no times yet, or no such server.
    #[error("{0} is not known")]
    NotKnown(ServerName),
    /// The guard of its present incarnation has not told of one.
    #[error(
        "the guard of {0} has told of no watchdog: nothing resets that machine when its guard is gone \
         (start it with --watchdog)"
    )]
    NoWatchdog(ServerName),
    /// This server is not the one that would grant it a lease, or would still do so.
    #[error("this server does not lead, or would still renew the lease of {0}")]
    StillGranted(ServerName),
}

/// The times of the cluster for a server whose watchdog has this time-out, whatever is configured.
#[must_use]
pub fn with_watchdog(timing: &Timing, timeout: Duration) -> Timing {
    let timing = Timing { watchdog: timing.watchdog.max(timeout), ..timing.clone() };
    Timing { clock_margin: timing.clock_margin.max(timing.least_clock_margin()), ..timing }
}

/// When a server has stopped or been reset for certain. `until`: the last moment of a lease that it may
/// hold, as the leader's table has it; `None` where this server grants it more.
///
/// # Errors
/// Why that is not known.
pub fn reset_by(state: &State, server: &ServerName, until: Option<Timestamp>) -> Result<Timestamp, NoReset> {
    let settings = state.settings.as_ref().ok_or_else(|| NoReset::NotKnown(server.clone()))?;
    let presence = state.presence(server).ok_or_else(|| NoReset::NotKnown(server.clone()))?;
    let timeout = presence.watchdog.ok_or_else(|| NoReset::NoWatchdog(server.clone()))?;
    let until = until.ok_or_else(|| NoReset::StillGranted(server.clone()))?;
    let timing = with_watchdog(&settings.value.timing, timeout);
    Ok(until + timing.takeover_wait().saturating_sub(timing.lease))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r9_the_watchdog_that_is_there_counts_and_not_only_the_one_that_was_configured() {
        let plain = Timing::from_detect(Duration::from_secs(1));
        assert_eq!(with_watchdog(&plain, Duration::from_millis(600)).takeover_wait(), plain.takeover_wait());
        let slow = with_watchdog(&plain, Duration::from_secs(2));
        assert_eq!(slow.check(), Ok(()));
        // 1300 ms more are counted, and two elevenths of them for the clocks.
        let more = slow.takeover_wait() - plain.takeover_wait();
        assert_eq!(more, Duration::from_millis(1300 + 400 - 164));
        let configured = Timing { watchdog: Duration::from_secs(5), ..plain };
        assert_eq!(with_watchdog(&configured, Duration::from_secs(2)).watchdog, Duration::from_secs(5));
    }
}
