//! The registry as placement needs it: servers and units with dense numbers, what dependencies name,
//! and who has it where. Built once for each decision, in one walk over the registry.

use std::collections::BTreeMap;

use crate::{
    config::{
        GroupConfig, InstanceOf, Named, ResourceConfig, StartKind, StopDependency, built_in, pool::FREE,
    },
    ids::{GroupName, ResourceName, Revision, ServerName, TypeName},
    registry::{
        State,
        state::{Fall, GroupEntry, Presence, ResourceState},
    },
};

/// A server's place in [`Snapshot::servers`].
pub(super) type ServerId = usize;
/// A unit's place in [`Snapshot::units`].
pub(super) type UnitId = usize;
/// A place in [`Snapshot::targets`].
pub(super) type TargetId = usize;

/// The deepest type tree that is followed. Deeper ones, and circles, are refused where types are
/// checked.
const DEEPEST_TYPE: usize = 64;

/// The registry, indexed.
#[derive(Debug)]
pub(super) struct Snapshot<'a> {
    pub(super) state: &'a State,
    /// By name.
    pub(super) servers: Vec<Server<'a>>,
    /// By name.
    pub(super) units: Vec<Unit<'a>>,
    /// What dependencies name, each once.
    pub(super) targets: Vec<Target<'a>>,
}

/// One server.
#[derive(Debug)]
pub(super) struct Server<'a> {
    pub(super) name: &'a ServerName,
    pub(super) number: u32,
    pub(super) presence: Option<&'a Presence>,
    pub(super) pool: &'a str,
}

/// One group, written by an operator or made for an instance.
#[derive(Debug)]
pub(super) struct Unit<'a> {
    pub(super) name: &'a GroupName,
    pub(super) entry: &'a GroupEntry,
    pub(super) config: Option<&'a GroupConfig>,
    pub(super) owner: Option<ServerId>,
    /// What it asks of others to start.
    pub(super) start: Vec<(TargetId, StartKind)>,
    /// What takes it down.
    pub(super) stop: Vec<(TargetId, &'a StopDependency)>,
    /// The targets that it has members in, each once.
    pub(super) serves: Vec<TargetId>,
}

/// What a dependency names, and who that is.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) named: &'a Named,
    pub(super) members: Vec<Member>,
    /// The members on each server; more come as units are placed.
    pub(super) at: BTreeMap<ServerId, Vec<Member>>,
    /// The units that have a stop dependency on it.
    pub(super) stops: Vec<UnitId>,
    /// The units that need it to start.
    pub(super) needed_by: Vec<UnitId>,
    /// The last falls, by server, and on any of them.
    falls: BTreeMap<Option<ServerId>, Falls>,
}

/// One resource of one unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) unit: UnitId,
    pub(super) standing: Standing,
    /// The change at which it came online last.
    pub(super) rose: Revision,
}

/// How a member does under its present owner. That it should be released plays no part here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody owns it.
    Nowhere,
    /// On its way up, or not known yet.
    Pending,
    /// Online.
    Online,
    /// Online, but without its service.
    Intermediate,
    /// Its owner has given up.
    Failed,
}

impl Standing {
    /// Whether that is enough for a dependency.
    pub(super) fn is_up(self, intermediate: bool) -> bool {
        self == Self::Online || intermediate && self == Self::Intermediate
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Falls {
    left_online: Latest,
    fell: Latest,
}

/// The latest of something, and the latest of any other unit: a unit's dependencies never mean
/// itself.
#[derive(Clone, Copy, Debug, Default)]
struct Latest {
    first: Option<(Revision, UnitId)>,
    second: Option<(Revision, UnitId)>,
}

impl Latest {
    fn add(&mut self, at: Revision, unit: UnitId) {
        if at == Revision(0) {
            return; // never
        }
        match self.first {
            Some((known, of)) if of == unit => self.first = Some((known.max(at), unit)),
            Some((known, _)) if known >= at => {
                self.second = self.second.max(Some((at, unit)));
            }
            before => (self.first, self.second) = (Some((at, unit)), before),
        }
    }

    fn except(self, unit: UnitId) -> Option<(Revision, UnitId)> {
        self.first.filter(|(_, of)| *of != unit).or(self.second)
    }
}

impl Target<'_> {
    /// The last change at which a member of another unit than `unit` ended to be up, on a server or
    /// anywhere.
    pub(super) fn last_fall(
        &self,
        unit: UnitId,
        on: Option<ServerId>,
        intermediate: bool,
    ) -> Option<(Revision, UnitId)> {
        let falls = self.falls.get(&on)?;
        if intermediate { falls.fell.except(unit) } else { falls.left_online.except(unit) }
    }
}

impl<'a> Snapshot<'a> {
    /// Indexes a registry.
    pub(super) fn new(state: &'a State) -> Self {
        let pools = state.pool_members.as_ref().map(|members| &members.value);
        let servers: Vec<Server<'a>> = state
            .servers
            .iter()
            .filter(|(_, server)| server.config.value.role.runs_groups())
            .map(|(name, server)| Server {
                name,
                number: server.config.value.number,
                presence: server.presence.as_ref().map(|item| &item.value),
                pool: pools.and_then(|pools| pools.get(name)).map_or(FREE, |pool| pool.as_str()),
            })
            .collect();
        let units: Vec<Unit<'a>> = state
            .groups
            .iter()
            .map(|(name, entry)| {
                let owner = entry.ownership.value.owner.as_ref();
                Unit {
                    name,
                    entry,
                    config: entry.config.as_ref().map(|item| &item.value),
                    owner: owner.and_then(|owner| servers.binary_search_by(|s| s.name.cmp(owner)).ok()),
                    start: Vec::new(),
                    stop: Vec::new(),
                    serves: Vec::new(),
                }
            })
            .collect();
        let mut snapshot = Self { state, servers, units, targets: Vec::new() };
        snapshot.name_targets();
        if !snapshot.targets.is_empty() {
            snapshot.find_members();
        }
        snapshot
    }

    /// A server's number.
    pub(super) fn server(&self, name: &ServerName) -> Option<ServerId> {
        self.servers.binary_search_by(|server| server.name.cmp(name)).ok()
    }

    /// A unit's number.
    pub(super) fn unit(&self, name: &GroupName) -> Option<UnitId> {
        self.units.binary_search_by(|unit| unit.name.cmp(name)).ok()
    }

    /// Gives a number to everything that a dependency names.
    fn name_targets(&mut self) {
        let mut known: BTreeMap<&'a Named, TargetId> = BTreeMap::new();
        let targets = &mut self.targets;
        let mut number = |named: &'a Named, targets: &mut Vec<Target<'a>>| {
            *known.entry(named).or_insert_with(|| {
                targets.push(Target {
                    named,
                    members: Vec::new(),
                    at: BTreeMap::new(),
                    stops: Vec::new(),
                    needed_by: Vec::new(),
                    falls: BTreeMap::new(),
                });
                targets.len() - 1
            })
        };
        for (id, unit) in self.units.iter_mut().enumerate() {
            let Some(config) = unit.config else { continue };
            for dependency in &config.start {
                let target = number(&dependency.on, targets);
                unit.start.push((target, dependency.kind));
                if matches!(dependency.kind, StartKind::Hard { .. }) {
                    targets[target].needed_by.push(id);
                }
            }
            for dependency in &config.stop {
                let target = number(&dependency.on, targets);
                unit.stop.push((target, dependency));
                targets[target].stops.push(id);
            }
        }
    }

    fn find_members(&mut self) {
        let mut by_resource: BTreeMap<&ResourceName, TargetId> = BTreeMap::new();
        let mut by_type: BTreeMap<&TypeName, TargetId> = BTreeMap::new();
        for (id, target) in self.targets.iter().enumerate() {
            match target.named {
                Named::Resource(resource) => by_resource.insert(resource, id),
                Named::Type(name) => by_type.insert(name, id),
            };
        }
        let mut lines: BTreeMap<&str, Vec<TargetId>> = BTreeMap::new();
        for id in 0..self.units.len() {
            let Some(config) = self.units[id].config else { continue };
            for (name, resource) in &config.resources {
                let named = by_resource.get(name).copied();
                let typed: &[TargetId] = if by_type.is_empty() {
                    &[]
                } else {
                    let type_name = type_of(self.state, config.instance.as_ref(), resource);
                    lines.entry(type_name).or_insert_with(|| {
                        let line = ancestry(self.state, type_name);
                        by_type
                            .iter()
                            .filter(|(of, _)| line.contains(&of.as_str()))
                            .map(|(_, t)| *t)
                            .collect()
                    })
                };
                for target in named.iter().chain(typed).copied() {
                    self.add_member(target, id, name);
                }
            }
        }
    }

    fn add_member(&mut self, target: TargetId, id: UnitId, resource: &ResourceName) {
        let unit = &mut self.units[id];
        let facts = unit.entry.facts.get(resource).map(|item| &item.value);
        let rose = facts.map_or(Revision(0), |facts| facts.rose);
        let member = Member { unit: id, standing: standing(unit.entry, resource), rose };
        if !unit.serves.contains(&target) {
            unit.serves.push(target);
        }
        let owner = unit.owner;
        let falls = facts.into_iter().flat_map(|facts| &facts.falls);
        let falls: Vec<(ServerId, Fall)> =
            falls.filter_map(|(server, fall)| Some((self.server(server)?, fall.clone()))).collect();
        let target = &mut self.targets[target];
        target.members.push(member);
        if let Some(owner) = owner {
            target.at.entry(owner).or_default().push(member);
        }
        for (server, Fall { left_online, fell }) in falls {
            for place in [None, Some(server)] {
                let falls = target.falls.entry(place).or_default();
                falls.left_online.add(left_online, id);
                falls.fell.add(fell, id);
            }
        }
    }
}

/// How a resource does under its unit's present owner.
fn standing(entry: &GroupEntry, resource: &ResourceName) -> Standing {
    if entry.ownership.value.owner.is_none() {
        return Standing::Nowhere;
    }
    let current = entry.report.as_ref().filter(|r| r.value.epoch == entry.ownership.value.epoch);
    let Some(report) = current.map(|report| &report.value) else { return Standing::Pending };
    match report.resources.get(resource).map(|resource| resource.state) {
        Some(ResourceState::Online) => Standing::Online,
        Some(ResourceState::Intermediate) => Standing::Intermediate,
        _ if report.failed.is_some() => Standing::Failed,
        _ => Standing::Pending,
    }
}

/// The type of a member. That of an instance is written in its definition.
fn type_of<'a>(state: &'a State, instance: Option<&InstanceOf>, resource: &'a ResourceConfig) -> &'a str {
    if let Some(name) = &resource.type_name {
        return name.as_str();
    }
    let definition = instance.and_then(|instance| state.definitions.get(&instance.resource));
    definition.map_or(resource.kind.type_name(), |definition| definition.value.type_name.as_str())
}

/// A type and all that it inherits from.
fn ancestry<'a>(state: &'a State, type_name: &'a str) -> Vec<&'a str> {
    let mut line = vec![type_name];
    while let Some(base) = line.last().and_then(|last| base_of(state, last)) {
        if line.len() >= DEEPEST_TYPE || line.contains(&base) {
            break;
        }
        line.push(base);
    }
    line
}

fn base_of<'a>(state: &'a State, type_name: &str) -> Option<&'a str> {
    match built_in::TYPES.iter().find(|(name, ..)| *name == type_name) {
        Some((_, base, _)) => *base,
        None => state.types.get(&TypeName::from(type_name)).map(|item| item.value.base.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_of_others_is_known_whatever_the_order() {
        let seen = [(3, 1), (5, 2), (4, 1), (9, 1), (2, 3), (0, 4)];
        for turn in 0..seen.len() {
            let mut latest = Latest::default();
            for (at, unit) in seen.iter().cycle().skip(turn).take(seen.len()) {
                latest.add(Revision(*at), *unit);
            }
            assert_eq!(latest.except(7), Some((Revision(9), 1)));
            assert_eq!(latest.except(1), Some((Revision(5), 2)), "turn {turn}: {latest:?}");
        }
        assert_eq!(Latest::default().except(1), None);
    }

    #[test]
    fn built_in_types_end_in_resource() {
        let state = State::default();
        assert_eq!(ancestry(&state, "exec"), ["exec", "cluster_resource", "resource"]);
        assert_eq!(ancestry(&state, "local_resource"), ["local_resource", "resource"]);
        assert_eq!(ancestry(&state, "unheard_of"), ["unheard_of"]);
    }
}
