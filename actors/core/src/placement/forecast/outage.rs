//! What clients of a group would see: how long it is away, and in which parts.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    ids::{GroupName, ResourceName, ServerName},
    registry::state::{GroupEntry, GroupState},
};

/// One group's interruption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interruption {
    /// Which group.
    pub group: GroupName,
    /// Where it ran; `None` when it did not.
    pub from: Option<ServerName>,
    /// Where it runs when all is over; `None` when it does not.
    pub to: Option<ServerName>,
    /// Milliseconds for its stop.
    pub stop_ms: u64,
    /// Milliseconds in which nobody runs it: the takeover wait, or others that come first.
    pub wait_ms: u64,
    /// Milliseconds for its start.
    pub start_ms: u64,
    /// Resources whose starts or stops were never measured: it takes longer by theirs.
    pub unknown: BTreeSet<ResourceName>,
}

impl Interruption {
    /// The whole, as far as it is known; `None` when it does not end.
    #[must_use]
    pub fn total_ms(&self) -> Option<u64> {
        self.to.as_ref().map(|_| self.stop_ms + self.wait_ms + self.start_ms)
    }

    /// It ran before, so clients notice.
    #[must_use]
    pub fn interrupts(&self) -> bool {
        self.from.is_some()
    }
}

/// Where a group stands between two owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Up,
    Stopping,
    Waiting,
    Starting,
}

/// Where a group stands, when the servers in `silent` do nothing any more.
pub(super) fn phase(entry: &GroupEntry, silent: &BTreeSet<ServerName>) -> Phase {
    let ownership = &entry.ownership.value;
    let Some(owner) = ownership.owner.as_ref().filter(|owner| !silent.contains(*owner)) else {
        return Phase::Waiting;
    };
    let report = entry.report.as_ref().map(|report| &report.value);
    let current = report.filter(|report| report.epoch == ownership.epoch && report.server == *owner);
    match current.map(|report| report.state) {
        Some(GroupState::Online) => Phase::Up,
        _ if ownership.release.is_some() => Phase::Stopping,
        _ => Phase::Starting,
    }
}

/// The clock of one group.
#[derive(Clone, Debug)]
pub(super) struct Outage {
    from: Option<ServerName>,
    phase: Phase,
    since: u64,
    stop: u64,
    wait: u64,
    start: u64,
    unknown: BTreeSet<ResourceName>,
    changed: bool,
}

impl Outage {
    /// Begins to look at a group.
    pub(super) fn new(entry: &GroupEntry, silent: &BTreeSet<ServerName>) -> Self {
        let phase = phase(entry, silent);
        let from = entry.ownership.value.owner.clone().filter(|_| phase == Phase::Up);
        Self { from, phase, since: 0, stop: 0, wait: 0, start: 0, unknown: BTreeSet::new(), changed: false }
    }

    /// The group stands like this from now on.
    pub(super) fn enter(&mut self, phase: Phase, now: u64) {
        if phase == self.phase {
            return;
        }
        let took = now - self.since;
        match self.phase {
            Phase::Up => {}
            Phase::Stopping => self.stop += took,
            Phase::Waiting => self.wait += took,
            Phase::Starting => self.start += took,
        }
        (self.phase, self.since, self.changed) = (phase, now, true);
    }

    /// A start or stop in it was never measured.
    pub(super) fn not_measured(&mut self, resource: &ResourceName) {
        self.unknown.insert(resource.clone());
    }

    /// It does not run now.
    pub(super) fn is_down(&self) -> bool {
        self.phase != Phase::Up
    }

    /// The outcome, if anything happened to the group.
    pub(super) fn close(self, group: &GroupName, entry: Option<&GroupEntry>) -> Option<Interruption> {
        let up = self.phase == Phase::Up;
        let to = entry.and_then(|entry| entry.ownership.value.owner.clone()).filter(|_| up);
        self.changed.then(|| Interruption {
            group: group.clone(),
            from: self.from,
            to,
            stop_ms: self.stop,
            wait_ms: self.wait,
            start_ms: self.start,
            unknown: self.unknown,
        })
    }
}
