//! Running units that must go: why, and in which order.

use std::collections::BTreeSet;

use super::{
    board::Board,
    constraint::Rejection,
    dependency::Lost,
    plan::{Decision, reads},
    snapshot::{ServerId, UnitId},
};
use crate::{
    config::{Automatic, FinalAction, GroupConfig, Placement, StartKind},
    ids::ServerName,
    reason::Reason,
    recovery::{
        self,
        ladder::{Escalation, escalate},
    },
    registry::{
        Command, Key,
        command::Charge,
        state::{
            ClusterMode, FailedResource, FailureKind, GroupReport, GroupState, Presence, ServerMode,
            StartEvent, Target,
        },
    },
};

/// The releases of one round.
pub(super) struct Releases<'b, 'a> {
    board: &'b mut Board<'a>,
    mode: ClusterMode,
    pools_settled: bool,
    /// With how many units each one goes because of another: those go first.
    decided: Vec<(usize, UnitId, Decision)>,
}

struct Release {
    to: Option<ServerName>,
    reason: Reason,
    event: StartEvent,
    charge: Option<Charge>,
    read: Vec<Key>,
}

impl Release {
    fn because(reason: Reason) -> Self {
        Self { to: None, reason, event: StartEvent::Start, charge: None, read: Vec::new() }
    }
}

impl<'b, 'a> Releases<'b, 'a> {
    pub(super) fn new(board: &'b mut Board<'a>, mode: ClusterMode, pools_settled: bool) -> Self {
        Self { board, mode, pools_settled, decided: Vec::new() }
    }

    /// Decides, what depends on others before what it depends on.
    pub(super) fn decide(mut self) -> Vec<Decision> {
        let owned: Vec<UnitId> =
            (0..self.board.snapshot.units.len()).filter(|unit| self.owner(*unit).is_some()).collect();
        if self.mode != ClusterMode::Suspended {
            for unit in &owned {
                if self.board.leaves(*unit) {
                    self.stop_failed(*unit);
                } else if let Some(release) = self.forced(*unit) {
                    self.release(*unit, 0, release);
                }
            }
        }
        self.losses(owned.clone());
        if self.mode != ClusterMode::Suspended {
            for unit in owned {
                if !self.board.leaves(unit) {
                    self.by_itself(unit);
                }
            }
        }
        self.decided.sort_by_key(|(depth, unit, _)| (std::cmp::Reverse(*depth), *unit));
        self.decided.into_iter().map(|(_, _, decision)| decision).collect()
    }

    fn owner(&self, unit: UnitId) -> Option<ServerId> {
        self.board.snapshot.units[unit].owner
    }

    /// It may not stay, whatever else is true.
    fn forced(&self, unit: UnitId) -> Option<Release> {
        let of = &self.board.snapshot.units[unit];
        let config = of.config?;
        let owner = &self.board.snapshot.servers[of.owner?];
        if matches!(self.mode, ClusterMode::Stopping(_)) {
            return Some(Release::because(Reason::ClusterStopping));
        }
        if of.entry.target.value == Target::Offline {
            return Some(Release::because(Reason::NotConfigured));
        }
        if !config.servers.contains(owner.name) {
            let to = self.next(unit, StartEvent::Start);
            return Some(Release { to, ..Release::because(Reason::NotConfigured) });
        }
        if owner.presence?.mode != ServerMode::Active {
            // Taking a server down counts as its failure.
            let (to, server) = (self.next(unit, StartEvent::Failover), owner.name.clone());
            let release = Release::because(Reason::ServerLeaving { server });
            return Some(Release { to, event: StartEvent::Failover, ..release });
        }
        let refused = self.board.allows(unit, of.owner?);
        if self.pools_settled && matches!(refused, Err(Rejection::OtherPool { .. })) {
            let (to, server) = (self.next(unit, StartEvent::Start), owner.name.clone());
            let release = Release::because(Reason::PoolChanged { server });
            return Some(Release { to, read: vec![Key::PoolMembers], ..release });
        }
        None
    }

    /// Units that lost what they rely on, and in turn those that rely on them.
    fn losses(&mut self, owned: Vec<UnitId>) {
        let only_leaving = self.mode == ClusterMode::Suspended;
        for unit in owned {
            if !self.board.snapshot.units[unit].stop.is_empty() && !self.board.leaves(unit) {
                let lost = self.board.lost(unit, only_leaving);
                self.follow(unit, lost, 1);
            }
        }
    }

    /// Releases a unit that lost what it relies on, then whatever relies on that unit.
    fn follow(&mut self, unit: UnitId, lost: Option<Lost>, depth: usize) {
        let mut left = vec![(unit, lost, depth)];
        while let Some((unit, lost, depth)) = left.pop() {
            let Some(Lost { on, follows }) = lost.filter(|_| !self.board.leaves(unit)) else { continue };
            let on = self.board.snapshot.units[on].name.clone();
            let read = vec![Key::Ownership(on.clone()), Key::Report(on.clone())];
            let release = match follows {
                Some((to, reason)) => Release { to: Some(to), ..Release::because(reason) },
                None => Release::because(Reason::DependencyStopped { on }),
            };
            self.keep(unit, depth, Release { read, ..release });
            left.extend(self.losers(unit).into_iter().map(|(id, lost)| (id, Some(lost), depth + 1)));
        }
    }

    /// The units that lose what they rely on when this one goes.
    fn losers(&self, unit: UnitId) -> Vec<(UnitId, Lost)> {
        let only_leaving = self.mode == ClusterMode::Suspended;
        let served = self.board.snapshot.units[unit].serves.iter();
        let rely: BTreeSet<UnitId> =
            served.flat_map(|target| self.board.snapshot.targets[*target].stops.iter().copied()).collect();
        let rely = rely.into_iter().filter(|id| *id != unit && self.owner(*id).is_some());
        let rely = rely.filter(|id| !self.board.leaves(*id));
        rely.filter_map(|id| Some((id, self.board.lost(id, only_leaving)?))).collect()
    }

    /// It could stay, but should not: a failure, a better place.
    fn by_itself(&mut self, unit: UnitId) {
        let of = &self.board.snapshot.units[unit];
        let (Some(config), Some(owner)) = (of.config, of.owner) else { return };
        let Some(report) = of.entry.report.as_ref().map(|report| &report.value) else { return };
        if report.epoch != of.entry.ownership.value.epoch {
            return; // from before
        }
        if let Some(failed) = &report.failed {
            self.failed(unit, failed);
        } else if report.state == GroupState::Online && self.pools_settled | config.pools.is_empty() {
            let better = self.disperse(unit, config, owner).or_else(|| self.failback(unit, config, owner));
            if let Some(release) = better {
                self.release(unit, 0, release);
            }
        }
    }

    /// It is being released. Only a failed stop asks for more, and only once.
    fn stop_failed(&mut self, unit: UnitId) {
        let of = &self.board.snapshot.units[unit];
        let Some(GroupReport { epoch, failed: Some(failed), .. }) =
            of.entry.report.as_ref().map(|r| &r.value)
        else {
            return;
        };
        let presence = of.owner.and_then(|owner| self.board.snapshot.servers[owner].presence);
        let stays = presence.is_some_and(|presence| presence.mode == ServerMode::Active);
        let current = *epoch == of.entry.ownership.value.epoch;
        if failed.kind == FailureKind::Stop && current && stays {
            self.failed(unit, failed);
        }
    }

    /// The owner could not keep it running by itself.
    fn failed(&mut self, unit: UnitId, failed: &FailedResource) {
        let of = &self.board.snapshot.units[unit];
        let (Some(config), Some(owner)) = (of.config, of.owner) else { return };
        if !config.resources.contains_key(&failed.resource) {
            return;
        }
        let server = self.board.snapshot.servers[owner].name;
        let policy = recovery::policy(self.board.snapshot.state, of.entry, failed);
        let count = recovery::count(of.entry, failed, server);
        let next = self.next(unit, StartEvent::Failover);
        let reason = recovery::reason(failed, server);
        match escalate(policy, count, config.failover, next.is_some()) {
            Escalation::FailOver => {
                let (event, charge) = (StartEvent::Failover, Some(recovery::charge(failed)));
                self.release(unit, 0, Release { to: next, event, charge, ..Release::because(reason) });
            }
            Escalation::Wait | Escalation::Final(FinalAction::None) => {}
            Escalation::Final(action) => {
                let epoch = of.entry.ownership.value.epoch;
                let (group, resource) = (of.name.clone(), failed.resource.clone());
                let command = Command::Finally { group, epoch, resource, action };
                let decision = self.board.decision(unit, command, reason, [Key::Presence(server.clone())]);
                self.decided.push((0, unit, decision));
            }
        }
    }

    /// It shares its server with what it avoids, and a server has joined since.
    fn disperse(&self, unit: UnitId, config: &GroupConfig, owner: ServerId) -> Option<Release> {
        let of = &self.board.snapshot.units[unit];
        let newer = |presence: &Presence| presence.started > of.entry.ownership.modified;
        if !self.board.snapshot.servers.iter().any(|server| server.presence.is_some_and(newer)) {
            return None;
        }
        of.start.iter().find_map(|(target, kind)| {
            let StartKind::Dispersion { active: true, intermediate } = *kind else { return None };
            let avoids = self.board.first_up(*target, unit, Some(owner), intermediate)?.unit;
            let candidates =
                self.board.candidates(unit, StartEvent::Start).into_iter().filter(|(server, _)| {
                    let presence = self.board.snapshot.servers[*server].presence;
                    presence.is_some_and(newer)
                        && !self.board.has_or_gets_any(*target, unit, *server)
                        && self.board.dependencies_hold(unit, *server).is_ok()
                });
            let joined: Vec<(ServerId, usize)> = candidates.collect();
            let (_, server) = *self.board.rank(unit, &joined, None).first()?;
            let server = self.board.snapshot.servers[server].name.clone();
            let avoids = self.board.snapshot.units[avoids].name.clone();
            let read = vec![Key::Ownership(avoids.clone()), Key::Report(avoids.clone())];
            let to = Some(server.clone());
            debug_assert!(config.servers.contains(&server));
            Some(Release { to, read, ..Release::because(Reason::ServerJoined { server, avoids }) })
        })
    }

    /// It runs well away from home, and home is back.
    fn failback(&self, unit: UnitId, config: &GroupConfig, owner: ServerId) -> Option<Release> {
        if config.failback == Automatic::Manual || config.placement == Placement::Balanced || !config.enabled
        {
            return None;
        }
        let here = self.board.snapshot.servers[owner].name;
        let place = config.servers.iter().position(|server| server == here)?;
        let before = config.servers.iter().take(place).enumerate();
        let home = before.filter_map(|(position, name)| Some((self.board.snapshot.server(name)?, position)));
        let home = home.filter(|(server, _)| {
            self.board.allows(unit, *server).is_ok()
                && self.board.would_share(unit, *server).is_none()
                && self.board.dependencies_hold(unit, *server).is_ok()
        });
        let mut both: Vec<(ServerId, usize)> = home.collect();
        both.push((owner, place));
        let (rank, best) = *self.board.rank(unit, &both, None).first()?;
        if best == owner || rank.handed_on > 0 {
            return None;
        }
        let server = self.board.snapshot.servers[best].name.clone();
        let to = Some(server.clone());
        let read = self.board.dependency_keys(unit, best);
        Some(Release { to, read, ..Release::because(Reason::HomeIsBack { server }) })
    }

    /// The best server other than its owner that could take it.
    fn next(&self, unit: UnitId, event: StartEvent) -> Option<ServerName> {
        let owner = self.owner(unit);
        let mut others = self.board.candidates(unit, event);
        others.retain(|(server, _)| {
            Some(*server) != owner && self.board.dependencies_hold(unit, *server).is_ok()
        });
        let (_, best) = *self.board.rank(unit, &others, None).first()?;
        Some(self.board.snapshot.servers[best].name.clone())
    }

    /// Decides on a release, and on those that follow from it.
    fn release(&mut self, unit: UnitId, depth: usize, release: Release) {
        self.keep(unit, depth, release);
        for (id, lost) in self.losers(unit) {
            self.follow(id, Some(lost), depth + 1);
        }
    }

    fn keep(&mut self, unit: UnitId, depth: usize, release: Release) {
        let of = &self.board.snapshot.units[unit];
        let Release { to, reason, event, charge, read } = release;
        let (group, epoch) = (of.name.clone(), of.entry.ownership.value.epoch);
        let owner = of.entry.ownership.value.owner.clone();
        let mut keys: Vec<Key> = owner.into_iter().map(Key::Presence).collect();
        keys.push(Key::Report(group.clone()));
        keys.extend(to.iter().cloned().map(Key::Presence));
        keys.extend(read);
        let command = Command::Release { group, epoch, to: to.clone(), event, charge };
        let decision = self.board.decision(unit, command, reason.clone(), keys);
        self.board.release(unit, to, reason);
        self.decided.push((depth, unit, decision));
    }
}

impl Board<'_> {
    /// A decision about a unit, with what every decision about one reads.
    pub(super) fn decision(
        &self,
        unit: UnitId,
        command: Command,
        reason: Reason,
        also: impl IntoIterator<Item = Key>,
    ) -> Decision {
        let of = &self.snapshot.units[unit];
        let name = || of.name.clone();
        let keys = [
            Key::Mode,
            Key::GroupConfig(name()),
            Key::Target(name()),
            Key::Ownership(name()),
            Key::Failures(name()),
        ];
        Decision { command, reason, read: reads(self.snapshot.state, keys.into_iter().chain(also)) }
    }

    /// What has to stay as it is for a unit's hard dependencies to hold on a server.
    pub(super) fn dependency_keys(&self, unit: UnitId, server: ServerId) -> Vec<Key> {
        let ups = self.hard(unit).filter_map(|(target, intermediate, global)| {
            self.first_up(target, unit, (!global).then_some(server), intermediate)
        });
        let names = ups.map(|member| self.snapshot.units[member.unit].name.clone());
        names.flat_map(|name| [Key::Ownership(name.clone()), Key::Report(name)]).collect()
    }
}
