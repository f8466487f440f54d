//! The snapshot together with what this round of deciding has changed so far: who is being released,
//! who has just been placed where, and what that leaves of the servers.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

use super::snapshot::{Member, ServerId, Snapshot, Standing, TargetId, UnitId};
use crate::{
    config::{Exclusive, StartKind},
    ids::{ResourceName, Revision, ServerName},
    reason::Reason,
    registry::{
        State,
        state::{StartEvent, Target, Vacate},
    },
};

/// The steps of one round in which units that hang together are looked at; about a tenth of a second.
const STEPS: u32 = 200_000;

/// Where things stand in the middle of a round.
#[derive(Debug)]
pub(super) struct Board<'a> {
    pub(super) snapshot: Snapshot<'a>,
    /// Whether each server's lease is being renewed.
    fit: Vec<bool>,
    /// Why a unit leaves its owner: its release, of before or of this round.
    leaving: Vec<Option<(Option<ServerName>, Reason)>>,
    /// Where a unit was placed in this round.
    placed: Vec<Option<ServerId>>,
    /// The units that stay nowhere in this round so that more of the others can run.
    pub(super) gave_way: Vec<bool>,
    /// The load of what is on each server, or is on its way there.
    load: Vec<u64>,
    /// Where each unit's load counts.
    counted: Vec<Option<ServerId>>,
    /// The exclusive units on each server.
    pub(super) exclusive: Vec<Vec<UnitId>>,
    /// How many instances of a resource are on a server.
    siblings: BTreeMap<(&'a ResourceName, ServerId), u32>,
    /// The units that are exclusive in some way.
    pub(super) exclusive_units: Vec<UnitId>,
    /// How many steps are left for looking at units that hang together.
    pub(super) steps: Cell<u32>,
    /// How many units that avoid a target were placed on a server in this round.
    pub(super) avoiders: BTreeMap<(TargetId, ServerId), u32>,
}

impl<'a> Board<'a> {
    /// The board at the beginning of a round. Without `fit`, every server's lease counts as renewed.
    pub(super) fn new(state: &'a State, fit: Option<&BTreeSet<ServerName>>) -> Self {
        let snapshot = Snapshot::new(state);
        let servers = snapshot.servers.len();
        let fit = snapshot.servers.iter().map(|s| fit.is_none_or(|fit| fit.contains(s.name))).collect();
        let leaving = snapshot.units.iter().map(|unit| {
            let release = unit.entry.ownership.value.release.as_ref();
            release.map(|release| (release.to.clone(), release.reason.clone()))
        });
        let mut board = Self {
            fit,
            leaving: leaving.collect(),
            placed: vec![None; snapshot.units.len()],
            gave_way: vec![false; snapshot.units.len()],
            load: vec![0; servers],
            counted: vec![None; snapshot.units.len()],
            exclusive: vec![Vec::new(); servers],
            siblings: BTreeMap::new(),
            exclusive_units: Vec::new(),
            steps: Cell::new(STEPS),
            avoiders: BTreeMap::new(),
            snapshot,
        };
        for unit in 0..board.snapshot.units.len() {
            if let Some(owner) = board.snapshot.units[unit].owner {
                board.settle(unit, owner);
            }
            board.count_destination(unit);
            let config = board.snapshot.units[unit].config;
            if config.is_some_and(|config| config.exclusive != Exclusive::No) {
                board.exclusive_units.push(unit);
            }
        }
        board
    }

    /// A unit counts where it will be: one that has somewhere to go counts there already.
    fn count_destination(&mut self, unit: UnitId) {
        let entry = self.snapshot.units[unit].entry;
        let ownership = &entry.ownership.value;
        let to = |vacate: &Option<Vacate>| vacate.as_ref().and_then(|vacate| vacate.to.clone());
        let wanted = entry.target.value == Target::Online;
        let next = to(&ownership.release).or_else(|| to(&ownership.vacated)).filter(|_| wanted);
        let next = next.and_then(|next| self.snapshot.server(&next));
        self.count(unit, next.or(self.snapshot.units[unit].owner));
    }

    fn count(&mut self, unit: UnitId, server: Option<ServerId>) {
        let load = self.snapshot.units[unit].config.map_or(0, |config| u64::from(config.load));
        if let Some(before) = std::mem::replace(&mut self.counted[unit], server) {
            self.load[before] -= load;
        }
        if let Some(now) = server {
            self.load[now] += load;
        }
    }

    /// The load of a server without a unit's own.
    pub(super) fn load_without(&self, unit: UnitId, server: ServerId) -> u64 {
        let load = self.snapshot.units[unit].config.map_or(0, |config| u64::from(config.load));
        self.load[server] - if self.counted[unit] == Some(server) { load } else { 0 }
    }

    fn settle(&mut self, unit: UnitId, server: ServerId) {
        let Some(config) = self.snapshot.units[unit].config else { return };
        if config.exclusive != Exclusive::No {
            self.exclusive[server].push(unit);
        }
        if let Some(instance) = config.instance.as_ref().filter(|instance| instance.bound.is_none()) {
            *self.siblings.entry((&instance.resource, server)).or_default() += 1;
        }
    }

    /// A unit is placed.
    pub(super) fn place(&mut self, unit: UnitId, server: ServerId) {
        self.settle(unit, server);
        self.count(unit, Some(server));
        let of = &self.snapshot.units[unit];
        for (target, kind) in &of.start {
            if matches!(kind, StartKind::Dispersion { .. }) {
                *self.avoiders.entry((*target, server)).or_default() += 1;
            }
        }
        let member = Member { unit, standing: Standing::Pending, rose: Revision(0) };
        for target in self.snapshot.units[unit].serves.clone() {
            self.snapshot.targets[target].at.entry(server).or_default().push(member);
        }
        self.placed[unit] = Some(server);
    }

    /// A unit is released.
    pub(super) fn release(&mut self, unit: UnitId, to: Option<ServerName>, reason: Reason) {
        if let Some(next) = to.as_ref().and_then(|to| self.snapshot.server(to)) {
            self.count(unit, Some(next));
        }
        self.leaving[unit] = Some((to, reason));
    }

    /// Whether a unit is being released, of before or in this round.
    pub(super) fn leaves(&self, unit: UnitId) -> bool {
        self.leaving[unit].is_some()
    }

    /// Where a unit that is being released goes, and why.
    pub(super) fn release_of(&self, unit: UnitId) -> Option<&(Option<ServerName>, Reason)> {
        self.leaving[unit].as_ref()
    }

    /// Whether a server's lease is being renewed.
    pub(super) fn fit(&self, server: ServerId) -> bool {
        self.fit[server]
    }

    /// Whether nobody owns a unit and it was not placed in this round.
    pub(super) fn vacant(&self, unit: UnitId) -> bool {
        self.snapshot.units[unit].entry.ownership.value.owner.is_none() && self.placed[unit].is_none()
    }

    /// How many other instances of the same resource a server has.
    pub(super) fn siblings(&self, unit: UnitId, server: ServerId) -> u32 {
        let of = &self.snapshot.units[unit];
        let instance = of.config.and_then(|config| config.instance.as_ref());
        let Some(instance) = instance.filter(|instance| instance.bound.is_none()) else { return 0 };
        let all = self.siblings.get(&(&instance.resource, server)).copied().unwrap_or(0);
        all.saturating_sub(u32::from(of.owner == Some(server)))
    }

    /// The members of a target on one server (or on any) that stay there, without those of `unit`.
    pub(super) fn members(
        &self,
        target: TargetId,
        unit: UnitId,
        on: Option<ServerId>,
    ) -> impl Iterator<Item = &Member> {
        let at = &self.snapshot.targets[target].at;
        let here = on.and_then(|server| at.get(&server)).into_iter();
        let anywhere = at.values().filter(move |_| on.is_none());
        here.chain(anywhere).flatten().filter(move |m| m.unit != unit && !self.leaves(m.unit))
    }

    /// The member of a target that has been up longest on one server (or on any).
    pub(super) fn first_up(
        &self,
        target: TargetId,
        unit: UnitId,
        on: Option<ServerId>,
        intermediate: bool,
    ) -> Option<&Member> {
        let up = self.members(target, unit, on).filter(|m| m.standing.is_up(intermediate));
        up.min_by_key(|member| (member.rose, member.unit))
    }

    /// Whether a member of a target is up on one server (or on any).
    pub(super) fn is_up(
        &self,
        target: TargetId,
        unit: UnitId,
        on: Option<ServerId>,
        intermediate: bool,
    ) -> bool {
        self.members(target, unit, on).any(|member| member.standing.is_up(intermediate))
    }

    /// What a unit's programs will be told at their next start.
    pub(super) fn event(&self, unit: UnitId) -> StartEvent {
        let vacated = self.snapshot.units[unit].entry.ownership.value.vacated.as_ref();
        vacated.map_or(StartEvent::Start, |vacated| vacated.event)
    }
}
