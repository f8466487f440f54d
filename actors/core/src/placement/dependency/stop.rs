//! Stop dependencies: when what a unit relies on stops, the unit stops, and it stops first.

use std::collections::BTreeSet;

use crate::{
    config::{StartKind, StopDependency},
    ids::{GroupName, ServerName},
    placement::{
        board::Board,
        snapshot::{ServerId, TargetId, UnitId},
    },
    reason::Reason,
    registry::{
        State,
        state::{ClusterMode, ServerMode},
    },
};

/// A unit has lost what it relies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::placement) struct Lost {
    /// Whose member that was.
    pub(in crate::placement) on: UnitId,
    /// Where the unit goes with it, and why, when it can follow.
    pub(in crate::placement) follows: Option<(ServerName, Reason)>,
}

impl Board<'_> {
    /// What a running unit has lost, if anything. `only_leaving` looks at nothing but units that are
    /// being released.
    pub(in crate::placement) fn lost(&self, unit: UnitId, only_leaving: bool) -> Option<Lost> {
        let of = &self.snapshot.units[unit];
        let owner = of.owner?;
        let on = of.stop.iter().find_map(|(target, dependency)| {
            let scope = (!dependency.global).then_some(owner);
            if self.is_up(*target, unit, scope, dependency.intermediate) {
                return None;
            }
            let leaving = self.up_but_leaving(*target, dependency, unit, scope);
            if leaving.is_some() || only_leaving || dependency.shutdown {
                return leaving;
            }
            // What was not up while the unit ran is nothing that it relied on.
            let fall = self.snapshot.targets[*target].last_fall(unit, scope, dependency.intermediate);
            fall.filter(|(at, _)| *at > of.entry.ownership.modified).map(|(_, on)| on)
        })?;
        Some(Lost { on, follows: self.destination(on).filter(|(to, _)| self.can_follow(unit, on, to)) })
    }

    /// What a vacant unit stops with that is only up in units that are being released, were the unit
    /// on this server.
    pub(in crate::placement) fn stopping(&self, unit: UnitId, server: ServerId) -> Option<TargetId> {
        let stop = self.snapshot.units[unit].stop.iter();
        let mut stopping = stop.filter(|(target, dependency)| {
            let scope = (!dependency.global).then_some(server);
            !self.is_up(*target, unit, scope, dependency.intermediate)
                && self.up_but_leaving(*target, dependency, unit, scope).is_some()
        });
        stopping.next().map(|(target, _)| *target)
    }

    /// A unit that is up in scope and is being released.
    fn up_but_leaving(
        &self,
        target: TargetId,
        dependency: &StopDependency,
        unit: UnitId,
        scope: Option<ServerId>,
    ) -> Option<UnitId> {
        let mut members = self.snapshot.targets[target].members.iter();
        let found = members.find(|member| {
            let owner = self.snapshot.units[member.unit].owner;
            member.unit != unit
                && owner.is_some()
                && (scope.is_none() || owner == scope)
                && self.leaves(member.unit)
                && member.standing.is_up(dependency.intermediate)
                && self.applies(dependency, owner)
        });
        found.map(|member| member.unit)
    }

    /// Whether a dependency counts at all when a member on this server stops.
    fn applies(&self, dependency: &StopDependency, server: Option<ServerId>) -> bool {
        let presence = server.and_then(|server| self.snapshot.servers[server].presence);
        !dependency.shutdown
            || matches!(self.snapshot.state.cluster_mode(), ClusterMode::Stopping(_))
            || presence.is_some_and(|presence| presence.mode != ServerMode::Active)
    }

    /// Where a unit is being moved to on purpose, and why.
    fn destination(&self, unit: UnitId) -> Option<(ServerName, Reason)> {
        let vacated = self.snapshot.units[unit].entry.ownership.value.vacated.as_ref();
        let vacated = vacated.map(|vacated| (vacated.to.clone(), vacated.reason.clone()));
        let (to, reason) = self.release_of(unit).cloned().or(vacated)?;
        let moved = matches!(
            reason,
            Reason::OperatorMoved { .. } | Reason::HomeIsBack { .. } | Reason::ServerJoined { .. }
        );
        Some((to.filter(|_| moved)?, reason))
    }

    /// Whether a unit must share its server with `on`, and could do so on another one.
    fn can_follow(&self, unit: UnitId, on: UnitId, to: &ServerName) -> bool {
        let Some(server) = self.snapshot.server(to) else { return false };
        let shares = |(target, kind): &(TargetId, StartKind)| {
            matches!(kind, StartKind::Hard { global: false, .. })
                && self.snapshot.units[on].serves.contains(target)
        };
        self.snapshot.units[unit].start.iter().any(shares)
            && self.lists(unit, server).is_ok()
            && self.allows(unit, server).is_ok()
    }

    /// The owned units that rely on `unit` and on nothing else that stays.
    fn rely_on(&self, unit: UnitId) -> impl Iterator<Item = UnitId> {
        let served = self.snapshot.units[unit].serves.iter();
        let stops = served.flat_map(|target| self.snapshot.targets[*target].stops.iter().copied());
        stops.filter(move |dependent| *dependent != unit && self.relies(*dependent, unit))
    }

    fn relies(&self, dependent: UnitId, unit: UnitId) -> bool {
        let of = &self.snapshot.units[dependent];
        let (Some(owner), Some(server)) = (of.owner, self.snapshot.units[unit].owner) else { return false };
        of.stop.iter().any(|(target, dependency)| {
            let scope = (!dependency.global).then_some(owner);
            let up = |m: &&crate::placement::snapshot::Member| {
                m.unit == unit && (m.standing.is_up(dependency.intermediate) || self.leaves(dependent))
            };
            (dependency.global || owner == server)
                && self.applies(dependency, Some(server))
                && self.snapshot.targets[*target].members.iter().any(|member| up(&member))
                && !self
                    .members(*target, dependent, scope)
                    .any(|m| m.unit != unit && m.standing.is_up(dependency.intermediate))
        })
    }

    /// Whether `unit` itself stops, in however many steps, when `other` does: in a circle nobody
    /// waits for anybody.
    fn stops_with(&self, unit: UnitId, other: UnitId) -> bool {
        let mut seen = BTreeSet::from([unit]);
        let mut left = vec![unit];
        while let Some(next) = left.pop() {
            for (target, _) in &self.snapshot.units[next].stop {
                for member in &self.snapshot.targets[*target].members {
                    if member.unit == other {
                        return true;
                    }
                    if seen.insert(member.unit) {
                        left.push(member.unit);
                    }
                }
            }
        }
        false
    }
}

/// The units that must be released before `unit` may obey its own release: they rely on it, and on
/// nothing else that stays.
#[must_use]
pub fn waits_for(state: &State, unit: &GroupName) -> Vec<GroupName> {
    if !has_stop_dependencies(state) {
        return Vec::new();
    }
    let board = Board::new(state, None);
    let Some(id) = board.snapshot.unit(unit) else { return Vec::new() };
    let first: BTreeSet<UnitId> =
        board.rely_on(id).filter(|dependent| !board.stops_with(id, *dependent)).collect();
    first.into_iter().map(|id| board.snapshot.units[id].name.clone()).collect()
}

/// The running units that stopping `unit` would stop, directly or through one another.
#[must_use]
pub fn stopped_by(state: &State, unit: &GroupName) -> Vec<GroupName> {
    let reason = Reason::OperatorStopped { by: String::new() };
    stopped(state, unit, &(None, reason))
}

/// The running units that moving `unit` to another server would stop: those that rely on it and
/// cannot follow it there.
#[must_use]
pub fn stopped_by_move(state: &State, unit: &GroupName, to: &ServerName) -> Vec<GroupName> {
    let reason = Reason::OperatorMoved { by: String::new() };
    stopped(state, unit, &(Some(to.clone()), reason))
}

fn stopped(state: &State, unit: &GroupName, leaves: &(Option<ServerName>, Reason)) -> Vec<GroupName> {
    if !has_stop_dependencies(state) {
        return Vec::new();
    }
    let mut board = Board::new(state, None);
    let Some(id) = board.snapshot.unit(unit) else { return Vec::new() };
    let (to, reason) = leaves.clone();
    board.release(id, to, reason);
    let mut stopped = BTreeSet::new();
    let mut left = vec![id];
    while let Some(next) = left.pop() {
        let rely: BTreeSet<UnitId> = board.rely_on(next).filter(|id| !board.leaves(*id)).collect();
        for dependent in rely {
            let follows = board.destination(next).filter(|(to, _)| board.can_follow(dependent, next, to));
            let (to, reason) = match follows {
                Some((to, reason)) => (Some(to), reason),
                None => {
                    stopped.insert(dependent);
                    let on = board.snapshot.units[next].name.clone();
                    (None, Reason::DependencyStopped { on })
                }
            };
            board.release(dependent, to, reason);
            left.push(dependent);
        }
    }
    stopped.into_iter().map(|id| board.snapshot.units[id].name.clone()).collect()
}

/// Owners ask at every change of the registry; most clusters have no stop dependencies at all.
fn has_stop_dependencies(state: &State) -> bool {
    state.groups.values().any(|g| g.config.as_ref().is_some_and(|config| !config.value.stop.is_empty()))
}
