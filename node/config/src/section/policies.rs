//! What follows a failure: the keys that resources of every type share.
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `on_start_failure` | `{ retries, failovers, final }`: more tries on the same server, then how often a server may hand it on, then the final action | `retries` 0 (5 for a floating address), `failovers` 1, `final` `none` |
//! | `restart_attempts` | another word for `retries` of `on_start_failure` | as above |
//! | `on_stop_failure` | `{ retries, final }` | `retries` 0, `final` `stop` |
//! | `uptime_threshold` | online for this long, its counters start again | `1m` |
//! | `failure_threshold` | so many failures within the interval, and it is given up; 0: never; at most 20 | 0 |
//! | `failure_interval` | the interval; `0s` counts nothing | `0s` |
//!
//! Final actions: `none`, `stop` (Tasuki on this server, with all that it runs), `stop_and_reboot`,
//! `stop_and_power_off`, `reset` (the machine at once, without stopping anything first).

use std::time::Duration;

use tasuki_core::config::{FinalAction, StartFailurePolicy, StopFailurePolicy};
use toml::Spanned;

use crate::{draft::PoliciesDraft, problem::Code, reader::Section, section::keys};

/// The words of `final`.
pub(crate) const FINAL_ACTIONS: [(&str, FinalAction); 5] = [
    ("none", FinalAction::None),
    ("stop", FinalAction::Stop),
    ("stop_and_reboot", FinalAction::StopAndReboot),
    ("stop_and_power_off", FinalAction::StopAndPowerOff),
    ("reset", FinalAction::Reset),
];

/// What does not stop could run twice, so by default the server stops as a whole (the guard sees
/// to that), and the group goes on elsewhere.
pub(crate) const DEFAULT_STOP_FAILURE: StopFailurePolicy =
    StopFailurePolicy { retries: 0, last: FinalAction::Stop };

pub(crate) const DEFAULT_UPTIME: Duration = Duration::from_secs(60);

pub(crate) const MOST_RETRIES: u32 = 1000;
/// FAILURE_THRESHOLD of the reference goes up to this.
pub(crate) const MOST_FAILURES: u32 = 20;

/// An address that is not free now may be in a moment, so it is tried more often than a program.
pub(crate) fn default_start_failure(is_address: bool) -> StartFailurePolicy {
    let retries = if is_address { 5 } else { 0 };
    StartFailurePolicy { retries, failovers: 1, last: FinalAction::None }
}

pub(crate) fn read(section: &Section<'_>, is_address: bool) -> PoliciesDraft {
    let time = |key, default| keys::time(section, key).map_or(default, Spanned::into_inner);
    PoliciesDraft {
        on_start_failure: start_failure(section, is_address),
        on_stop_failure: stop_failure(section),
        uptime_threshold: time("uptime_threshold", DEFAULT_UPTIME),
        failure_threshold: section
            .integer("failure_threshold", 0..=MOST_FAILURES)
            .map_or(0, Spanned::into_inner),
        failure_interval: time("failure_interval", Duration::ZERO),
    }
}

/// `final` of a table.
pub(crate) fn last(table: &Section<'_>, default: FinalAction) -> FinalAction {
    table.choice("final", &FINAL_ACTIONS).map_or(default, Spanned::into_inner)
}

fn start_failure(section: &Section<'_>, is_address: bool) -> StartFailurePolicy {
    let mut policy = default_start_failure(is_address);
    let attempts = section.integer("restart_attempts", 0..=MOST_RETRIES);
    if let Some(attempts) = &attempts {
        policy.retries = *attempts.get_ref();
    }
    let example = "a table { retries = 0, failovers = 1, final = \"none\" }";
    if let Some(table) = section.table("on_start_failure", example) {
        let retries = table.integer("retries", 0..=MOST_RETRIES);
        if let (Some(attempts), Some(retries)) = (&attempts, &retries)
            && section.writes("restart_attempts")
        {
            let message = format!("{} says twice how often a start is tried again", section.what);
            let problem = section
                .reading
                .problem(Code::BadValue, &attempts.span(), message)
                .found(format!("restart_attempts = {}, retries = {}", attempts.get_ref(), retries.get_ref()))
                .expected("one of the two: they mean the same")
                .remedy("take one of them out");
            section.reading.add(problem);
        }
        policy.retries = retries.map_or(policy.retries, Spanned::into_inner);
        let failovers = table.integer("failovers", 0..=MOST_RETRIES);
        policy.failovers = failovers.map_or(policy.failovers, Spanned::into_inner);
        policy.last = last(&table, policy.last);
        table.finish();
    }
    policy
}

fn stop_failure(section: &Section<'_>) -> StopFailurePolicy {
    let mut policy = DEFAULT_STOP_FAILURE;
    if let Some(table) = section.table("on_stop_failure", "a table { retries = 0, final = \"stop\" }") {
        let retries = table.integer("retries", 0..=MOST_RETRIES);
        policy.retries = retries.map_or(policy.retries, Spanned::into_inner);
        policy.last = last(&table, policy.last);
        table.finish();
    }
    policy
}
