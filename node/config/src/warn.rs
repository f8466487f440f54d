//! What works, but not as well as its owner may believe.

use std::path::Path;

use tasuki_core::config::ClusterConfig;

use crate::{
    draft::{Draft, KindDraft, Name, label},
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
    warnings.extend(bound_to_servers(reading, draft));
    let last = draft.servers.last().map_or(0..0, |server| server.span.clone());
    warnings.extend(voters(reading, draft.servers.len(), &last));
    warnings
}

/// Settings for single servers, where the servers come from pools and change.
fn bound_to_servers(reading: &Reading, draft: &Draft) -> Vec<Problem> {
    let warning = |place: &Name, message: String, found: &str, remedy: &str| {
        reading
            .problem(Code::BoundToServer, &place.span(), message)
            .found(found)
            .expected("settings that hold on every server of its pools")
            .remedy(remedy)
    };
    let mut warnings = Vec::new();
    for (pools, resource) in draft.resources().filter(|(pools, _)| !pools.is_empty()) {
        let Some(KindDraft::FloatingIp(floating)) = &resource.kind else { continue };
        let Some((server, _)) = floating.per_server.first() else { continue };
        let name = label(resource.name.as_ref());
        let message = format!(
            "{name} has an address of its own on `{}`, but its servers come from pool `{}` and may change",
            server.get_ref(),
            pools[0].get_ref()
        );
        let remedy = "use one address on all servers, or take `server_pools` out";
        warnings.push(warning(server, message, "`per_server` with `server_pools`", remedy));
    }
    for definition in draft.definitions.iter().filter(|one| !one.server_pools.is_empty()) {
        let Some(server) = definition.hosting_members.first() else { continue };
        let name = label(definition.resource.name.as_ref());
        let message = format!(
            "{name} prefers `{}`, but runs only where pool `{}` has servers",
            server.get_ref(),
            definition.server_pools[0].get_ref()
        );
        let remedy = "take one of the two out, or give the pool these servers";
        warnings.push(warning(server, message, "`hosting_members` with `server_pools`", remedy));
    }
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
