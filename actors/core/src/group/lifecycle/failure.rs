//! The owner's rungs of the ladder: what is tried again here, and what is given up.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Lifecycle, Phase};
use crate::{
    config::{ResourceConfig, ResourceKind},
    ids::{MonitorName, ResourceName},
    recovery::ladder::{LocalStep, local_step},
    registry::state::{FailedResource, FailureKind, ResourceState},
    time::Timestamp,
};

impl Lifecycle {
    /// A start failed, or what was up has ended.
    pub(super) fn start_failed(
        &mut self,
        name: &ResourceName,
        kind: FailureKind,
        why: String,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        if self.phase != Phase::Up {
            return;
        }
        let stuck = self.is_stuck();
        let Some(config) = self.config.resources.get(name) else { return };
        let Some(resource) = self.resources.get_mut(name) else { return };
        let too_often = resource.fails_too_often(config, now);
        let retry = local_step(config.on_start_failure.retries, resource.retries) == LocalStep::Retry;
        if too_often || !retry || stuck {
            self.set(name, ResourceState::OnlineFailure, why, now);
            let kind = if too_often { FailureKind::TooOften } else { kind };
            self.give_up(FailedResource { resource: name.clone(), kind, monitor: None });
        } else {
            resource.retries += 1;
            resource.counted = true;
            actions.push(Action::CountRetry(name.clone(), kind));
            if kind == FailureKind::Ended && matches!(config.kind, ResourceKind::MirrorDisk(_)) {
                // What runs on it stops first, and starts again after it.
                resource.set(ResourceState::OnlineFailure, why, now);
                self.restart.extend(self.order.with_dependents(std::slice::from_ref(name)));
            } else {
                resource.set(ResourceState::OnlinePending, why, now);
                actions.push(Action::Start(name.clone()));
            }
        }
    }

    pub(super) fn stop_failed(
        &mut self,
        name: &ResourceName,
        why: String,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let retries = self.config.resources.get(name).map_or(0, |r| r.on_stop_failure.retries);
        let Some(resource) = self.resources.get_mut(name) else { return };
        if local_step(retries, resource.stop_retries) == LocalStep::Retry {
            resource.stop_retries += 1;
            resource.counted = true;
            resource.detail = why;
            actions.push(Action::CountRetry(name.clone(), FailureKind::Stop));
            actions.push(Action::Stop(name.clone()));
        } else {
            self.set(name, ResourceState::OfflineFailure, why, now);
            self.restart.clear();
            self.failed =
                Some(FailedResource { resource: name.clone(), kind: FailureKind::Stop, monitor: None });
        }
    }

    /// A monitor's finding: a restart while it has some left here, and otherwise the leader's turn.
    /// While anything that it concerns is on its way it says nothing new. Says whether anything
    /// has changed.
    pub(super) fn found(
        &mut self,
        monitor: MonitorName,
        resources: &[ResourceName],
        why: &str,
        restarts: u32,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) -> bool {
        let known = |name: &&ResourceName| self.resources.contains_key(*name);
        let targets: Vec<ResourceName> = resources.iter().filter(known).cloned().collect();
        let Some(first) = targets.first().cloned() else { return false };
        let all = self.order.with_dependents(&targets);
        let moving = all.iter().any(|name| !self.resources.get(name).is_some_and(super::Resource::is_up));
        let counter = self.monitors.entry(monitor.clone()).or_default();
        (counter.bad, counter.targets, counter.last) = (true, targets, now);
        if moving || self.failed.is_some() || !self.restart.is_empty() {
            return false;
        }
        let why = format!("monitor {monitor}: {why}");
        if local_step(restarts, counter.restarts) == LocalStep::Retry {
            counter.restarts += 1;
            counter.counted = true;
            actions.push(Action::CountRestart { monitor, resource: first.clone() });
            self.restart = all;
        } else {
            self.give_up(FailedResource {
                resource: first.clone(),
                kind: FailureKind::Found,
                monitor: Some(monitor),
            });
        }
        if let Some(resource) = self.resources.get_mut(&first) {
            resource.detail = why;
        }
        true
    }

    /// What a monitor looks at is well again: what it had given up on runs on as if nothing had
    /// been. Says whether anything has changed.
    pub(super) fn mended(&mut self, monitor: &MonitorName, now: Timestamp) -> bool {
        let Some(counter) = self.monitors.get_mut(monitor) else { return false };
        if counter.bad {
            (counter.bad, counter.last) = (false, now);
        }
        let gave_up = self.failed.as_ref().filter(|failed| failed.monitor.as_ref() == Some(monitor));
        let Some(failed) = gave_up else { return false };
        if let Some(resource) = self.resources.get_mut(&failed.resource) {
            resource.detail.clear();
        }
        self.failed = None;
        true
    }

    /// A failure of a resource says more than a finding; otherwise the first failure stands.
    fn give_up(&mut self, failed: FailedResource) {
        if !self.is_stuck() {
            self.failed = Some(failed);
        }
    }

    /// Something is given up on, so nothing more is started. A monitor's finding alone leaves what
    /// runs as it is, and keeps nothing from starting.
    pub(super) fn is_stuck(&self) -> bool {
        self.failed.as_ref().is_some_and(|failed| failed.kind != FailureKind::Found)
    }

    /// What has run for UPTIME_THRESHOLD has its counters start again: a resource's own, and those
    /// of a monitor that is well and whose targets have all run that long since it found them bad.
    pub(super) fn steady(&mut self, now: Timestamp) -> Vec<Action> {
        let threshold =
            |config: Option<&ResourceConfig>| config.map_or_else(Default::default, |c| c.uptime_threshold);
        if self.phase != Phase::Up {
            return Vec::new(); // what runs is not known yet, or is being stopped
        }
        let config = &self.config.resources;
        let mut steady = BTreeMap::<ResourceName, Vec<MonitorName>>::new();
        for (name, resource) in &mut self.resources {
            let stays = !self.restart.contains(name);
            if stays && resource.counted && resource.is_steady(threshold(config.get(name)), now) {
                (resource.retries, resource.stop_retries, resource.counted) = (0, 0, false);
                steady.entry(name.clone()).or_default();
            }
        }
        for (monitor, counter) in self.monitors.iter_mut().filter(|(_, c)| c.counted && !c.bad) {
            let all: BTreeSet<&ResourceName> = if counter.targets.is_empty() {
                self.resources.keys().collect()
            } else {
                counter.targets.iter().collect()
            };
            let long_enough = all.iter().all(|name| {
                let threshold = threshold(config.get(*name));
                let resource = self.resources.get(*name);
                let up =
                    resource.is_some_and(|r| r.is_steady(threshold, now)) && !self.restart.contains(*name);
                up && now.since(counter.last) >= threshold
            });
            if let Some(first) = all.first().filter(|_| long_enough) {
                steady.entry((*first).clone()).or_default().push(monitor.clone());
                (counter.restarts, counter.counted) = (0, false);
            }
        }
        steady.into_iter().map(|(resource, monitors)| Action::Steady { resource, monitors }).collect()
    }

    /// All counters start again.
    pub(super) fn reset(&mut self) {
        for resource in self.resources.values_mut() {
            (resource.retries, resource.stop_retries, resource.counted) = (0, 0, false);
            resource.recent.clear();
        }
        for counter in self.monitors.values_mut() {
            (counter.restarts, counter.counted) = (0, false);
        }
    }
}
