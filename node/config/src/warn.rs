//! What works, but not as well as its owner may believe.

use std::path::Path;

use tasuki_core::config::ClusterConfig;

use crate::{
    draft::Draft,
    problem::{Code, Problem},
    source::{Reading, Span},
    units::format_duration,
};

pub(crate) fn warnings(reading: &Reading, draft: &Draft) -> Vec<Problem> {
    let mut warnings = Vec::new();
    if let [only] = &draft.heartbeats[..]
        && draft.servers.len() > 1
    {
        let message = "there is only one heartbeat path: one broken cable or switch looks like lost servers";
        warnings.push(
            reading
                .problem(Code::OneHeartbeatPath, &only.span, message)
                .found("one heartbeat path")
                .expected("two or more, over separate cards and switches")
                .remedy("add a [[heartbeat]] on a second network"),
        );
    }
    let last = draft.servers.last().map_or(0..0, |server| server.span.clone());
    warnings.extend(voters(reading, draft.servers.len(), &last));
    warnings
}

fn voters(reading: &Reading, servers: usize, last: &Span) -> Option<Problem> {
    match servers {
        2 => Some(
            reading
                .problem(
                    Code::NoTieBreak,
                    last,
                    "two servers without a tie-break: when one of them is lost, the pair STOPS RATHER THAN \
                     GUESSES, and no group runs until both are back",
                )
                .found("two servers, no tie-break")
                .expected("three servers")
                .remedy("add a third server; it need not run any group"),
        ),
        4 => Some(
            reading
                .problem(
                    Code::EvenVoters,
                    last,
                    "an even number of voters survives no more losses than one less",
                )
                .found("4 servers: one may be lost, as with 3")
                .expected("an odd number of servers")
                .remedy("add a fifth server, or keep the fourth only for the groups that it runs"),
        ),
        _ => None,
    }
}

/// Warnings about machines rather than about the file: without a watchdog device (R10), a server
/// whose guard dies is not provably stopped; a slow one makes takeovers wait (R9).
#[must_use]
pub fn host_warnings(config: &ClusterConfig, watchdog: &Path) -> Vec<Problem> {
    let mut warnings = Vec::new();
    if !watchdog.exists() && config.servers.len() > 1 {
        let message = format!("this machine has no watchdog ({} is missing)", watchdog.display());
        warnings.push(
            Problem::nowhere(Code::NoWatchdog, "", message)
                .found("no watchdog device")
                .expected("a watchdog that resets the machine when its guard dies or hangs")
                .remedy("load the driver of the machine's watchdog, or `softdog`: modprobe softdog"),
        );
    }
    let timing = &config.settings.timing;
    let cost = timing.watchdog_cost();
    if !cost.is_zero() {
        let message = format!(
            "a watchdog of {} makes the takeover of a lost server wait {} longer",
            format_duration(timing.watchdog),
            format_duration(cost)
        );
        warnings.push(
            Problem::nowhere(Code::SlowWatchdog, "", message)
                .found(format!("a takeover after {}", format_duration(timing.takeover_wait())))
                .expected(format!("a time-out of at most {}", format_duration(timing.watchdog - cost)))
                .remedy("use a faster watchdog or a larger `detect`, or accept the wait"),
        );
    }
    warnings
}
