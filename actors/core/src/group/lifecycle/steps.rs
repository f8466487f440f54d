//! What is started and stopped next.

use std::collections::BTreeSet;

use super::{Action, CheckedState, Lifecycle, Phase, Resource};
use crate::{config::ResourceKind, ids::ResourceName, registry::state::ResourceState, time::Timestamp};

impl Lifecycle {
    /// It is up, and so is the group.
    pub(super) fn is_wanted_up(&self, name: &ResourceName) -> bool {
        self.phase == Phase::Up && self.resources.get(name).is_some_and(Resource::is_up)
    }

    /// What a check said of what is up; says whether that is new.
    pub(super) fn checked(
        &mut self,
        name: &ResourceName,
        state: &CheckedState,
        detail: String,
        now: Timestamp,
    ) -> bool {
        let state = match state {
            CheckedState::Online => ResourceState::Online,
            CheckedState::Intermediate => ResourceState::Intermediate,
            CheckedState::Unknown => ResourceState::Unknown,
            CheckedState::Failed(_) => return false, // the ladder's matter
        };
        let Some(resource) = self.resources.get_mut(name) else { return false };
        if resource.state == state && resource.detail == detail {
            return false;
        }
        resource.set(state, detail, now);
        true
    }

    /// Mirrored disks that are not up, with all that depends on them, where some of that runs: a node
    /// that starts again finds its programs, but not its devices (R34).
    pub(super) fn on_lost_disks(&self) -> BTreeSet<ResourceName> {
        let is_up = |name: &ResourceName| self.resources.get(name).is_some_and(Resource::is_up);
        let lost =
            self.config.resources.iter().filter(|(name, resource)| {
                matches!(resource.kind, ResourceKind::MirrorDisk(_)) && !is_up(name)
            });
        let with_users = lost.map(|(name, _)| self.order.with_dependents(std::slice::from_ref(name)));
        with_users.filter(|all| all.iter().any(is_up)).flatten().collect()
    }

    /// Stops what a monitor restarts, in reverse; once all of it is offline it starts again like
    /// anything that is missing.
    pub(super) fn restart_next(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let ready: Vec<ResourceName> = self
            .restart
            .iter()
            .filter(|name| {
                let resource = self.resources.get(*name);
                resource.is_some_and(|r| r.is_up() || r.state == ResourceState::OnlineFailure)
                    && self.order.needed_by(name).all(|user| self.is(user, ResourceState::Offline))
            })
            .cloned()
            .collect();
        for name in ready {
            let why = self.resources.get(&name).map(|r| r.detail.clone()).unwrap_or_default();
            self.set(&name, ResourceState::OfflinePending, why, now);
            actions.push(Action::Stop(name));
        }
        if self.restart.iter().all(|name| self.is(name, ResourceState::Offline)) {
            self.restart.clear();
        }
    }

    /// Starts whatever has everything it needs, unless a failure was given up on.
    pub(super) fn start_next(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if self.is_stuck() {
            return;
        }
        let ready: Vec<ResourceName> = self
            .resources
            .iter()
            .filter(|(name, r)| {
                r.state == ResourceState::Offline
                    && !self.restart.contains(*name)
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
    pub(super) fn stop_next(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let ready: Vec<ResourceName> = self
            .resources
            .iter()
            .filter(|(name, r)| {
                let may_run = matches!(r.state, ResourceState::OnlinePending | ResourceState::OnlineFailure);
                (r.is_up() || may_run)
                    && self.order.needed_by(name).all(|user| self.is(user, ResourceState::Offline))
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in ready {
            self.set(&name, ResourceState::OfflinePending, "", now);
            actions.push(Action::Stop(name));
        }
    }
}
