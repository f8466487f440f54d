//! A group on its owner, from the first start to the release.
//!
//! ```text
//!            Begin                      Release                      (all offline)
//! Waiting ----------> Up (wanted up) ----------> Down (wanted down) ---------------> Released
//!                      | a resource gives up                | a resource does not stop
//!                      v                                    v
//!                     Up, failed (reported; the leader      Down, failed (reported; never released:
//!                     decides what follows)                 what may still run is not given away)
//! ```
//!
//! The machine never asks for two things of one resource at a time, except that a stop overtakes
//! a start. Resources that do not depend on each other proceed side by side.
//!
//! While the group is up, a monitor may have some of it restarted: what it found bad and all that
//! depends on that stop in reverse and start again, and the rest runs on. So does a mirrored disk that
//! was lost: the files that its programs have open are dead, and stay so (R34).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use self::resource::Resource;
use super::order::Order;
use crate::{
    config::GroupConfig,
    ids::{MonitorName, ResourceName, ServerName},
    registry::state::{FailedResource, FailureKind, Failures, GroupState, ResourceState},
    time::{Timestamp, WallTime},
};

mod event;
mod failure;
mod resource;
mod steps;

pub use event::{Action, CheckedState, Event};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    Up,
    Down,
    Released,
}

/// What is known here of one monitor whose recovery target is in the group.
#[derive(Clone, Debug, Default)]
struct Findings {
    /// Restarts used here.
    restarts: u32,
    /// The registry has counters that start again once what it watches is steady.
    counted: bool,
    /// It has found something bad and has not yet said that it is well.
    bad: bool,
    /// What its recovery mends here; nothing until its first finding, and then all counts.
    targets: Vec<ResourceName>,
    /// When it last found something bad, or was mended.
    last: Timestamp,
}

/// One group on its owner.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    config: GroupConfig,
    order: Order,
    phase: Phase,
    resources: BTreeMap<ResourceName, Resource>,
    monitors: BTreeMap<MonitorName, Findings>,
    /// What a monitor, or the loss of a disk, has restarted, until all of it has stopped.
    restart: BTreeSet<ResourceName>,
    failed: Option<FailedResource>,
}

impl Lifecycle {
    /// A group that `server` has come to own; `failures` are the counters so far.
    #[must_use]
    pub fn new(config: GroupConfig, server: &ServerName, failures: &Failures, now: Timestamp) -> Self {
        let resources = config.resources.keys().map(|name| {
            let resource = Resource::new(failures.of(name, server), now);
            (name.clone(), resource)
        });
        let monitors = failures.monitors.iter().filter_map(|(name, by)| {
            let count = by.get(server)?;
            let findings =
                Findings { restarts: count.retries, counted: true, last: now, ..Findings::default() };
            Some((name.clone(), findings))
        });
        let (resources, monitors) = (resources.collect(), monitors.collect());
        Self {
            order: Order::of(&config),
            config,
            phase: Phase::Waiting,
            resources,
            monitors,
            restart: BTreeSet::new(),
            failed: None,
        }
    }

    /// Also remembers how often resources failed here before this ownership, so that
    /// FAILURE_INTERVAL goes on through a failover and back; `wall` is what people's clock says
    /// at `now`.
    #[must_use]
    pub fn remembering(
        mut self,
        failures: &Failures,
        server: &ServerName,
        wall: WallTime,
        now: Timestamp,
    ) -> Self {
        for (name, resource) in &mut self.resources {
            let history = failures.history.get(name).into_iter().flatten();
            let counts = history.filter(|failure| {
                failure.server == *server && matches!(failure.kind, FailureKind::Start | FailureKind::Ended)
            });
            let ages = counts.map(|failure| Duration::from_millis(wall.0.saturating_sub(failure.at.0)));
            resource.recent = ages.map(|age| now.before(age)).collect();
        }
        self
    }

    /// The group's state in the words that operators read.
    #[must_use]
    pub fn state(&self) -> GroupState {
        let online = || self.resources.values().all(Resource::is_up);
        match self.phase {
            _ if self.failed.is_some() => GroupState::Error,
            Phase::Waiting => GroupState::Unknown,
            Phase::Up if online() => GroupState::Online,
            Phase::Up => GroupState::OnlinePending,
            Phase::Down => GroupState::OfflinePending,
            Phase::Released => GroupState::Offline,
        }
    }

    /// The failure that was given up on.
    #[must_use]
    pub fn failed(&self) -> Option<&FailedResource> {
        self.failed.as_ref()
    }

    /// Every resource with its state and what there is to say about it.
    pub fn resources(&self) -> impl Iterator<Item = (&ResourceName, ResourceState, &str)> {
        self.resources.iter().map(|(name, r)| (name, r.state, r.detail.as_str()))
    }

    /// Whether it is being stopped to be started again here, for a monitor.
    #[must_use]
    pub fn is_restarting(&self, resource: &ResourceName) -> bool {
        self.restart.contains(resource)
    }

    /// The configuration that this ownership runs.
    #[must_use]
    pub fn config(&self) -> &GroupConfig {
        &self.config
    }

    /// Takes one event.
    pub fn on(&mut self, event: Event, now: Timestamp) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Begin { running } if self.phase == Phase::Waiting => {
                for (name, resource) in &mut self.resources {
                    let online = running.contains(name);
                    resource.state = if online { ResourceState::Online } else { ResourceState::Offline };
                    resource.since = now;
                }
                self.phase = Phase::Up;
                self.restart = self.on_lost_disks();
            }
            Event::Release if matches!(self.phase, Phase::Up | Phase::Waiting) => {
                // Released before it was begun: what runs is not known, so everything is stopped.
                // What did not stop when a monitor restarted it is tried again.
                let waiting = self.phase == Phase::Waiting;
                for resource in self.resources.values_mut() {
                    if waiting || resource.state == ResourceState::OfflineFailure {
                        resource.state = ResourceState::Unknown;
                    }
                }
                self.phase = Phase::Down;
                self.restart.clear();
                self.failed = None;
            }
            Event::Started(name) if self.is(&name, ResourceState::OnlinePending) => {
                self.set(&name, ResourceState::Online, "", now);
            }
            Event::Stopped(name) if self.is(&name, ResourceState::OfflinePending) => {
                self.set(&name, ResourceState::Offline, "", now);
            }
            Event::StartFailed(name, why) if self.is(&name, ResourceState::OnlinePending) => {
                self.start_failed(&name, FailureKind::Start, why, now, &mut actions);
            }
            Event::Ended(name, why) | Event::Checked(name, CheckedState::Failed(why), _)
                if self.is_wanted_up(&name) =>
            {
                if self.restart.contains(&name) {
                    self.set(&name, ResourceState::OnlineFailure, why, now); // stopped in its turn anyway
                } else {
                    self.start_failed(&name, FailureKind::Ended, why, now, &mut actions);
                }
            }
            Event::Checked(name, state, detail) if self.is_wanted_up(&name) => {
                if !self.checked(&name, &state, detail, now) {
                    return Vec::new();
                }
            }
            Event::Found { monitor, resources, why, restarts } if self.phase == Phase::Up => {
                if !self.found(monitor, &resources, &why, restarts, now, &mut actions) {
                    return Vec::new();
                }
            }
            Event::Mended { monitor } if self.phase == Phase::Up => {
                if !self.mended(&monitor, now) {
                    return Vec::new();
                }
            }
            Event::Reset => {
                self.reset();
                // An operator has looked at what did not stop: it is tried once more.
                if self.phase != Phase::Down || self.failed.take().is_none() {
                    return Vec::new();
                }
                for resource in self.resources.values_mut() {
                    if resource.state == ResourceState::OfflineFailure {
                        resource.state = ResourceState::Unknown;
                    }
                }
            }
            Event::StopFailed(name, why) if self.is(&name, ResourceState::OfflinePending) => {
                self.stop_failed(&name, why, now, &mut actions);
            }
            Event::Tick => return self.steady(now),
            _ => return Vec::new(), // late answers about what is no longer so
        }
        match self.phase {
            Phase::Up => {
                self.restart_next(now, &mut actions);
                self.start_next(now, &mut actions);
            }
            Phase::Down => self.stop_next(now, &mut actions),
            Phase::Waiting | Phase::Released => {}
        }
        actions.push(Action::Report);
        if self.phase == Phase::Down && self.resources.values().all(|r| r.state == ResourceState::Offline) {
            self.phase = Phase::Released;
            actions.push(Action::Released);
        }
        actions
    }

    fn is(&self, name: &ResourceName, state: ResourceState) -> bool {
        self.resources.get(name).is_some_and(|r| r.state == state)
    }

    fn set(&mut self, name: &ResourceName, state: ResourceState, detail: impl Into<String>, now: Timestamp) {
        if let Some(resource) = self.resources.get_mut(name) {
            resource.set(state, detail, now);
        }
    }
}

#[cfg(test)]
mod tests;
