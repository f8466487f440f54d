//! What happens to a group on its owner, and what it does.

use std::collections::BTreeSet;

use crate::{
    ids::{MonitorName, ResourceName},
    registry::state::FailureKind,
};

/// What happens to a group on its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The lease is held and what runs here has been probed (R6): these run.
    Begin {
        /// What was found running, and is adopted.
        running: BTreeSet<ResourceName>,
    },
    /// The registry wants the group released.
    Release,
    /// A start succeeded.
    Started(ResourceName),
    /// A start failed.
    StartFailed(ResourceName, String),
    /// A stop succeeded.
    Stopped(ResourceName),
    /// A stop failed.
    StopFailed(ResourceName, String),
    /// A resource that was up ended by itself.
    Ended(ResourceName, String),
    /// A check of a resource that is up has answered; the text is its STATE_DETAILS.
    Checked(ResourceName, CheckedState, String),
    /// A monitor whose recovery target is here has found it bad. Said again while it stays bad.
    Found {
        /// Which monitor.
        monitor: MonitorName,
        /// What its recovery mends here; the first one gives the failure its name.
        resources: Vec<ResourceName>,
        /// What it found.
        why: String,
        /// How often the monitor may have it restarted on one server.
        restarts: u32,
    },
    /// What that monitor looks at is well again.
    Mended {
        /// Which monitor.
        monitor: MonitorName,
    },
    /// The registry's counters were reset by an operator: all of them start again.
    Reset,
    /// Time to look for resources that have become steady.
    Tick,
}

/// What a check said of a resource that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckedState {
    /// It gives its service.
    Online,
    /// It runs, but does not give its service. Needs no recovery.
    Intermediate,
    /// The check could not tell. Needs no recovery.
    Unknown,
    /// It has failed or ended.
    Failed(String),
}

/// What a group does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start this resource.
    Start(ResourceName),
    /// Stop this resource; a start that is under way is abandoned.
    Stop(ResourceName),
    /// Tell the registry what is seen.
    Report,
    /// Count a retry in the registry.
    CountRetry(ResourceName, FailureKind),
    /// Count a restart that a monitor asked for.
    CountRestart {
        /// Which monitor.
        monitor: MonitorName,
        /// The resource that failed by it.
        resource: ResourceName,
    },
    /// The resource's counters start again, and those of these monitors.
    Steady {
        /// Which resource.
        resource: ResourceName,
        /// Which monitors.
        monitors: Vec<MonitorName>,
    },
    /// Everything is offline: the group may be released.
    Released,
}
