//! What to do about a failure. Thresholds are data; counters are in the registry.
//!
//! One ladder for everything that can fail:
//!
//! | what failed | tried again here | handed on | when both are used up |
//! |---|---|---|---|
//! | a start, or a resource ended | `on_start_failure.retries` | `.failovers` | `.last` |
//! | too often within FAILURE_INTERVAL | no | no | nothing: it stays `Online Failure` |
//! | a stop | `on_stop_failure.retries` | never: it may still run | `.last` |
//! | a monitor's finding | `recovery.restarts` | `.failovers` | `.last` |
//! | the server | no: it is gone | at once, uncounted, unless the group's failover is manual | – |
//!
//! The owner climbs the first column ([`crate::group::lifecycle`]), the leader the others
//! ([`ladder::escalate`], asked by placement). Retries and failovers are counted per server. They
//! start again when the resource has been up for UPTIME_THRESHOLD, or when an operator resets them.

use crate::{
    config::{FinalAction, StartFailurePolicy},
    ids::ServerName,
    reason::Reason,
    registry::{
        State,
        command::Charge,
        state::{FailedResource, FailureCount, FailureKind, GroupEntry},
    },
};

pub mod ladder;

/// The rules that hold for a failure: the monitor's that found it, or else the resource's own.
#[must_use]
pub fn policy(state: &State, entry: &GroupEntry, failed: &FailedResource) -> StartFailurePolicy {
    let nothing = StartFailurePolicy { retries: 0, failovers: 0, last: FinalAction::None };
    let resource = entry.config.as_ref().and_then(|config| config.value.resources.get(&failed.resource));
    match failed.kind {
        FailureKind::TooOften => nothing,
        FailureKind::Stop => resource.map_or(nothing, |r| StartFailurePolicy {
            retries: r.on_stop_failure.retries,
            failovers: 0,
            last: r.on_stop_failure.last,
        }),
        FailureKind::Start | FailureKind::Ended | FailureKind::Found => {
            let monitor = failed.monitor.as_ref().and_then(|name| state.monitors.get(name));
            match monitor.map(|monitor| &monitor.config.value.recovery) {
                Some(rules) => StartFailurePolicy {
                    retries: rules.restarts,
                    failovers: rules.failovers,
                    last: rules.last,
                },
                // A monitor that is configured no more asks for nothing.
                None if failed.kind == FailureKind::Found => nothing,
                None => resource.map_or(nothing, |r| r.on_start_failure),
            }
        }
    }
}

/// What has been used up of those rules on a server.
#[must_use]
pub fn count(entry: &GroupEntry, failed: &FailedResource, server: &ServerName) -> FailureCount {
    let failures = &entry.failures.value;
    failed
        .monitor
        .as_ref()
        .map_or_else(|| failures.of(&failed.resource, server), |monitor| failures.of_monitor(monitor, server))
}

/// Whose failover is used up when the group is handed on.
#[must_use]
pub fn charge(failed: &FailedResource) -> Charge {
    failed.monitor.clone().map_or_else(|| Charge::Resource(failed.resource.clone()), Charge::Monitor)
}

/// Why the group is handed on, or its last rung climbed.
#[must_use]
pub fn reason(failed: &FailedResource, server: &ServerName) -> Reason {
    let (resource, server) = (failed.resource.clone(), server.clone());
    match (failed.kind, &failed.monitor) {
        (FailureKind::TooOften, _) => Reason::FailedTooOften { resource, server },
        (_, Some(monitor)) => Reason::MonitorFound { monitor: monitor.clone(), server },
        (FailureKind::Start, None) => Reason::StartFailed { resource, server },
        (_, None) => Reason::ResourceFailed { resource, server },
    }
}

#[cfg(test)]
mod tests;
