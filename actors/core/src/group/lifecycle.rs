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

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::order::Order;
use crate::{
    config::GroupConfig,
    ids::{ResourceName, ServerName},
    recovery::ladder::{LocalStep, local_step},
    registry::state::{FailedResource, FailureKind, Failures, GroupState, ResourceState},
    time::Timestamp,
};

/// A resource that has been online this long has its counters reset.
pub const STEADY: Duration = Duration::from_secs(60);

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
    /// A resource that was online ended by itself.
    Ended(ResourceName, String),
    /// Time to look for resources that have become steady.
    Tick,
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
    /// The resource's counters start again.
    Steady(ResourceName),
    /// Everything is offline: the group may be released.
    Released,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    Up,
    Down,
    Released,
}

/// One resource on the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Resource {
    state: ResourceState,
    detail: String,
    retries: u32,
    stop_retries: u32,
    since: Timestamp,
    counted: bool,
}

/// One group on its owner.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    config: GroupConfig,
    order: Order,
    phase: Phase,
    resources: BTreeMap<ResourceName, Resource>,
    failed: Option<FailedResource>,
}

impl Lifecycle {
    /// A group that `server` has come to own; `failures` are the counters so far.
    #[must_use]
    pub fn new(config: GroupConfig, server: &ServerName, failures: &Failures, now: Timestamp) -> Self {
        let resources = config.resources.keys().map(|name| {
            let count = failures.of(name, server);
            let resource = Resource {
                state: ResourceState::Unknown,
                detail: String::new(),
                retries: count.retries,
                stop_retries: 0,
                since: now,
                counted: count.retries > 0 || count.failovers > 0,
            };
            (name.clone(), resource)
        });
        let resources = resources.collect();
        Self { order: Order::of(&config), config, phase: Phase::Waiting, resources, failed: None }
    }

    /// The group's state in the words that operators read.
    #[must_use]
    pub fn state(&self) -> GroupState {
        let all = |state| self.resources.values().all(|r| r.state == state);
        match self.phase {
            _ if self.failed.is_some() => GroupState::Error,
            Phase::Waiting => GroupState::Unknown,
            Phase::Up if all(ResourceState::Online) => GroupState::Online,
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
            }
            Event::Release if matches!(self.phase, Phase::Up | Phase::Waiting) => {
                // Released before it was begun: what runs is not known, so everything is stopped.
                let waiting = self.phase == Phase::Waiting;
                for resource in self.resources.values_mut().filter(|_| waiting) {
                    resource.state = ResourceState::Online;
                }
                self.phase = Phase::Down;
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
            Event::Ended(name, why) if self.is(&name, ResourceState::Online) => {
                self.start_failed(&name, FailureKind::Ended, why, now, &mut actions);
            }
            Event::StopFailed(name, why) if self.is(&name, ResourceState::OfflinePending) => {
                self.stop_failed(&name, why, now, &mut actions);
            }
            Event::Tick => return self.steady(now),
            _ => return Vec::new(), // late answers about what is no longer so
        }
        match self.phase {
            Phase::Up => self.start_next(now, &mut actions),
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
            (resource.state, resource.detail, resource.since) = (state, detail.into(), now);
        }
    }

    fn start_failed(
        &mut self,
        name: &ResourceName,
        kind: FailureKind,
        why: String,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let retries = self.config.resources.get(name).map_or(0, |r| r.on_start_failure.retries);
        let Some(resource) = self.resources.get_mut(name) else { return };
        if self.phase != Phase::Up {
            return;
        }
        if self.failed.is_none() && local_step(retries, resource.retries) == LocalStep::Retry {
            resource.retries += 1;
            resource.counted = true;
            self.set(name, ResourceState::OnlinePending, why, now);
            actions.push(Action::CountRetry(name.clone(), kind));
            actions.push(Action::Start(name.clone()));
        } else {
            self.set(name, ResourceState::OnlineFailure, why, now);
            self.failed.get_or_insert(FailedResource { resource: name.clone(), kind, monitor: None });
        }
    }

    fn stop_failed(&mut self, name: &ResourceName, why: String, now: Timestamp, actions: &mut Vec<Action>) {
        let retries = self.config.resources.get(name).map_or(0, |r| r.on_stop_failure.retries);
        let Some(resource) = self.resources.get_mut(name) else { return };
        if local_step(retries, resource.stop_retries) == LocalStep::Retry {
            resource.stop_retries += 1;
            resource.detail = why;
            actions.push(Action::CountRetry(name.clone(), FailureKind::Stop));
            actions.push(Action::Stop(name.clone()));
        } else {
            self.set(name, ResourceState::OfflineFailure, why, now);
            self.failed =
                Some(FailedResource { resource: name.clone(), kind: FailureKind::Stop, monitor: None });
        }
    }

    /// Starts whatever has everything it needs, unless a failure was given up on.
    fn start_next(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if self.failed.is_some() {
            return;
        }
        let ready: Vec<ResourceName> = self
            .resources
            .iter()
            .filter(|(name, r)| {
                r.state == ResourceState::Offline
                    && self.order.needs(name).all(|need| self.is(need, ResourceState::Online))
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in ready {
            self.set(&name, ResourceState::OnlinePending, "", now);
            actions.push(Action::Start(name));
        }
    }

    /// Stops whatever nothing online needs any more. What failed to start is stopped too: some of
    /// it may run.
    fn stop_next(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let ready: Vec<ResourceName> = self
            .resources
            .iter()
            .filter(|(name, r)| {
                matches!(
                    r.state,
                    ResourceState::Online
                        | ResourceState::OnlinePending
                        | ResourceState::OnlineFailure
                        | ResourceState::Unknown
                ) && self.order.needed_by(name).all(|user| self.is(user, ResourceState::Offline))
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in ready {
            self.set(&name, ResourceState::OfflinePending, "", now);
            actions.push(Action::Stop(name));
        }
    }

    fn steady(&mut self, now: Timestamp) -> Vec<Action> {
        let mut actions = Vec::new();
        for (name, resource) in &mut self.resources {
            let steady = resource.state == ResourceState::Online && now.since(resource.since) >= STEADY;
            if steady && resource.counted {
                (resource.retries, resource.counted) = (0, false);
                actions.push(Action::Steady(name.clone()));
            }
        }
        actions
    }
}

#[cfg(test)]
mod tests;
