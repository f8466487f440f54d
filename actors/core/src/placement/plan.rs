//! The placement decision: from a snapshot of the registry to the commands that should follow.
//!
//! Decided on the Raft leader only, for each group by itself: independent groups never wait for
//! one another. Every decision names the objects it read (R12), so that it is refused if one of
//! them has moved on. The same input twice gives the same decisions; when they have been applied,
//! it gives none.

use std::{collections::BTreeSet, time::Duration};

use super::candidate::candidates;
use crate::{
    config::{Automatic, FinalAction, GroupConfig},
    ids::{GroupName, Revision, ServerName},
    reason::Reason,
    recovery::ladder::{Escalation, escalate},
    registry::{
        Command, Key, State,
        command::Charge,
        state::{
            ClusterMode, FailedResource, FailureKind, GroupEntry, GroupState, ServerMode, StartEvent, Target,
        },
    },
};

/// What placement decides from.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// The registry.
    pub state: &'a State,
    /// The servers whose lease the leader is renewing.
    pub fit: &'a BTreeSet<ServerName>,
    /// How long this leader has been deciding: a cold start waits a little for home servers.
    pub since_start: Duration,
}

/// One thing that should follow, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What.
    pub command: Command,
    /// Why.
    pub reason: Reason,
    /// What it was computed from.
    pub read: Vec<(Key, Revision)>,
}

/// Decides for all groups.
#[must_use]
pub fn decide(input: &Input<'_>) -> Vec<Decision> {
    let mode = input.state.cluster_mode();
    if mode == ClusterMode::Suspended {
        return Vec::new();
    }
    let groups = input.state.groups.iter();
    groups.filter_map(|(name, entry)| Group { input, name, entry }.decide(mode)).collect()
}

struct Group<'a> {
    input: &'a Input<'a>,
    name: &'a GroupName,
    entry: &'a GroupEntry,
}

impl Group<'_> {
    fn decide(&self, mode: ClusterMode) -> Option<Decision> {
        let ownership = &self.entry.ownership.value;
        match &ownership.owner {
            Some(owner) if ownership.release.is_some() => self.stop_failed(owner),
            Some(owner) if matches!(mode, ClusterMode::Stopping(_)) => {
                Some(self.release(owner, None, Reason::ClusterStopping, StartEvent::Start, None))
            }
            Some(owner) => self.owned(owner),
            None if mode == ClusterMode::Running && self.entry.target.value == Target::Online => {
                self.vacant()
            }
            None => None,
        }
    }

    /// Somebody runs it: is there a reason to take it away?
    fn owned(&self, owner: &ServerName) -> Option<Decision> {
        let config = &self.entry.config.as_ref()?.value;
        if self.entry.target.value == Target::Offline {
            return Some(self.release(owner, None, Reason::NotConfigured, StartEvent::Start, None));
        }
        let next = self.candidates(config).into_iter().find(|server| server != owner);
        if !config.servers.contains(owner) {
            return Some(self.release(owner, next, Reason::NotConfigured, StartEvent::Start, None));
        }
        let presence = self.input.state.presence(owner)?;
        if presence.mode != ServerMode::Active {
            // Taking a server down counts as its failure.
            let reason = Reason::ServerLeaving { server: owner.clone() };
            return Some(self.release(owner, next, reason, StartEvent::Failover, None));
        }
        let report = &self.entry.report.as_ref()?.value;
        if report.epoch != self.entry.ownership.value.epoch {
            return None; // from before
        }
        if let Some(failed) = &report.failed {
            return self.failed(owner, config, failed, next);
        }
        if report.state == GroupState::Online {
            return self.failback(owner, config);
        }
        None
    }

    /// It is being released. Only a failed stop asks for more, and only once.
    fn stop_failed(&self, owner: &ServerName) -> Option<Decision> {
        let config = &self.entry.config.as_ref()?.value;
        let report = &self.entry.report.as_ref()?.value;
        let failed = report.failed.as_ref().filter(|failed| failed.kind == FailureKind::Stop)?;
        let current = report.epoch == self.entry.ownership.value.epoch;
        let stays = self.input.state.presence(owner)?.mode == ServerMode::Active;
        if current && stays { self.failed(owner, config, failed, None) } else { None }
    }

    /// The owner could not keep it running by itself.
    fn failed(
        &self,
        owner: &ServerName,
        config: &GroupConfig,
        failed: &FailedResource,
        next: Option<ServerName>,
    ) -> Option<Decision> {
        let policy = config.resources.get(&failed.resource)?;
        let (resource, server) = (failed.resource.clone(), owner.clone());
        let reason = match failed.kind {
            FailureKind::Start => Reason::StartFailed { resource: resource.clone(), server },
            FailureKind::Ended | FailureKind::Stop | FailureKind::Found | FailureKind::TooOften => {
                Reason::ResourceFailed { resource: resource.clone(), server }
            }
        };
        let step = match failed.kind {
            FailureKind::Stop => Escalation::Final(policy.on_stop_failure.last),
            FailureKind::TooOften => Escalation::Final(FinalAction::None),
            FailureKind::Start | FailureKind::Ended | FailureKind::Found => {
                let count = self.entry.failures.value.of(&resource, owner);
                escalate(policy.on_start_failure, count, config.failover, next.is_some())
            }
        };
        match step {
            Escalation::FailOver => Some(self.release(
                owner,
                next,
                reason,
                StartEvent::Failover,
                Some(Charge::Resource(resource)),
            )),
            Escalation::Wait | Escalation::Final(FinalAction::None) => None,
            Escalation::Final(action) => {
                let epoch = self.entry.ownership.value.epoch;
                let command = Command::Finally { group: self.name.clone(), epoch, resource, action };
                Some(self.decision(command, reason, &[Key::Presence(owner.clone())]))
            }
        }
    }

    /// It runs well away from home, and home is back.
    fn failback(&self, owner: &ServerName, config: &GroupConfig) -> Option<Decision> {
        if config.failback == Automatic::Manual {
            return None;
        }
        let best = self.candidates(config).into_iter().next()?;
        let place = |server: &ServerName| config.servers.iter().position(|s| s == server);
        let better = place(&best)? < place(owner)? && super::candidate::handed_on(self.entry, &best) == 0;
        better.then(|| {
            let reason = Reason::HomeIsBack { server: best.clone() };
            self.release(owner, Some(best.clone()), reason, StartEvent::Start, None)
        })
    }

    /// Nobody runs it and it is wanted: who should?
    fn vacant(&self) -> Option<Decision> {
        let config = &self.entry.config.as_ref()?.value;
        let ownership = &self.entry.ownership.value;
        let candidates = self.candidates(config);
        let vacated = ownership.vacated.as_ref();
        let reason = vacated.map_or(Reason::StillWanted, |vacated| vacated.reason.clone());
        let event = vacated.map_or(StartEvent::Start, |vacated| vacated.event);
        if event == StartEvent::Failover && config.failover == Automatic::Manual {
            return None; // an operator starts it
        }
        let wished = vacated.and_then(|vacated| vacated.to.as_ref()).filter(|to| candidates.contains(to));
        let server = wished.or_else(|| candidates.first())?.clone();
        let cold = reason == Reason::ClusterStarted && wished.is_none();
        let home = config.servers.first();
        if cold && home != Some(&server) && self.input.since_start < self.startup_wait() {
            return None; // home may be up in a moment
        }
        let command = Command::Assign {
            group: self.name.clone(),
            server: server.clone(),
            epoch: ownership.epoch.next(),
            event,
        };
        Some(self.decision(command, reason, &[Key::Presence(server)]))
    }

    fn startup_wait(&self) -> Duration {
        self.input.state.settings.as_ref().map_or(Duration::ZERO, |settings| settings.value.startup_wait)
    }

    fn candidates(&self, config: &GroupConfig) -> Vec<ServerName> {
        candidates(self.input.state, self.input.fit, self.entry, config)
    }

    fn release(
        &self,
        owner: &ServerName,
        to: Option<ServerName>,
        reason: Reason,
        event: StartEvent,
        charge: Option<Charge>,
    ) -> Decision {
        let mut also = vec![Key::Presence(owner.clone()), Key::Report(self.name.clone())];
        also.extend(to.iter().cloned().map(Key::Presence));
        let epoch = self.entry.ownership.value.epoch;
        let command = Command::Release { group: self.name.clone(), epoch, to, event, charge };
        self.decision(command, reason, &also)
    }

    fn decision(&self, command: Command, reason: Reason, also: &[Key]) -> Decision {
        let name = || self.name.clone();
        let keys = [
            Key::Mode,
            Key::GroupConfig(name()),
            Key::Target(name()),
            Key::Ownership(name()),
            Key::Failures(name()),
        ];
        let read =
            keys.iter().chain(also).map(|key| (key.clone(), self.input.state.revision_of(key))).collect();
        Decision { command, reason, read }
    }
}
