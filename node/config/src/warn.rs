//! What works, but not as well as its owner may believe.

mod quorum_loss;

pub use quorum_loss::freezer_warning;

use std::path::Path;

use tasuki_core::config::{ClusterConfig, NetworkUse};

use crate::{
    check::{fences, mirrors, votes, witnesses},
    draft::{Draft, HeartbeatKind, KindDraft, Name, label},
    problem::{Code, Problem},
    source::{Reading, Span},
    units::format_duration,
};

pub(crate) fn warnings(reading: &Reading, draft: &Draft) -> Vec<Problem> {
    let mut warnings = Vec::new();
    let lans: Vec<_> = draft.heartbeats.iter().filter(|path| path.kind == Some(HeartbeatKind::Lan)).collect();
    if let [only] = &lans[..]
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
    warnings.extend(no_interconnect(reading, draft));
    warnings.extend(bound_to_servers(reading, draft));
    let last = draft.servers.last().map_or(0..0, |server| server.span.clone());
    warnings.extend(voters(reading, draft, &last));
    warnings.extend(witnesses::idle(reading, draft));
    warnings.extend(votes::unsafe_ping(reading, draft));
    warnings.extend(fences::idle(reading, draft));
    warnings.extend(mirrors::restart(reading, draft));
    warnings.extend(draft.groups.iter().flat_map(|group| quorum_loss::read_only(reading, group)));
    warnings
}

/// The servers then talk to each other where clients are.
fn no_interconnect(reading: &Reading, draft: &Draft) -> Option<Problem> {
    let first = draft.networks.first()?;
    let several = draft.servers.len() > 1;
    let apart = draft.networks.iter().any(|network| network.uses.contains(&NetworkUse::Interconnect));
    (several && !apart).then(|| {
        reading
            .problem(
                Code::NoInterconnect,
                &first.span,
                "no network is an interconnect: traffic between the servers may use the public network",
            )
            .found("no network with use = \"interconnect\"")
            .expected("a private network that the servers have to themselves")
            .remedy("add a [[network]] with use = \"interconnect\", and a [[heartbeat]] on it")
    })
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

fn voters(reading: &Reading, draft: &Draft, last: &Span) -> Option<Problem> {
    let last = draft.witnesses.last().map_or(last, |witness| &witness.span);
    let votes = draft.votes();
    match votes {
        2 if draft.has_tie_break() => None,
        // The witness would make things worse: without it, one server needs nobody.
        2 if draft.servers.len() == 1 => Some(
            reading
                .problem(
                    Code::EvenVoters,
                    last,
                    "one server and a voting witness: when EITHER of them is lost, everything stops",
                )
                .found("one server, one voting witness")
                .expected("one server alone, or two servers with one witness")
                .remedy("take the witness out, or add a second server"),
        ),
        2 => Some(
            reading
                .problem(
                    Code::NoTieBreak,
                    last,
                    "two servers without a tie-break: when one of them is lost, the pair STOPS RATHER THAN \
                     GUESSES, and no group runs until both are back",
                )
                .found("two servers, no tie-break")
                .expected("a tie-break, or a third voter")
                .remedy("add a [[witness]] on a third machine, or a third server; it need not run any group"),
        ),
        4 => Some(
            reading
                .problem(
                    Code::EvenVoters,
                    last,
                    "an even number of voters survives no more losses than one less",
                )
                .found(found_four(draft))
                .expected("an odd number of voters")
                .remedy("add a fifth server, or keep the fourth only for the groups that it runs"),
        ),
        _ => None,
    }
}

fn found_four(draft: &Draft) -> String {
    let servers = draft.servers.len();
    match draft.votes() - servers {
        0 => format!("{servers} servers: one may be lost, as with 3"),
        1 => format!("{servers} servers and a voting witness: one may be lost, as with 3"),
        more => format!("{servers} servers and {more} voting witnesses: one may be lost, as with 3"),
    }
}

/// Warnings about machines rather than about the file: without a watchdog device (R10), a server
/// whose guard dies is not provably stopped; a slow one makes takeovers wait (R9).
#[must_use]
pub fn host_warnings(config: &ClusterConfig, watchdog: &Path) -> Vec<Problem> {
    let mut warnings = Vec::new();
    if !watchdog.exists() && config.runners().len() > 1 {
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
