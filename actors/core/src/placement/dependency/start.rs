//! Start dependencies: what has to be up before a unit starts, what is started for it, and what
//! brings it back.

use crate::{
    config::{Automatic, GroupConfig, Named, StartKind},
    ids::{GroupName, Revision},
    placement::{
        board::Board,
        order::Order,
        snapshot::{Member, ServerId, Standing, TargetId, UnitId},
    },
    reason::Reason,
    registry::state::{StartEvent, Target, Vacate},
};

/// Why a vacant unit does not start by itself, whatever others do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::placement) enum Closed {
    /// Nothing may start it.
    Disabled,
    /// It is not wanted.
    Offline,
    /// It failed or lost its server, and only an operator starts it again.
    Manual,
    /// It stopped with what it depends on, and nothing has brought it back.
    Stopped { on: GroupName },
}

/// For each unit, the servers on which it runs or may come up by itself, and in which order to look
/// at units.
#[derive(Debug)]
pub(in crate::placement) struct Reach {
    /// What others need before them.
    pub(in crate::placement) order: Vec<UnitId>,
    /// Units that wait for one another in a circle have the same number.
    circle: Vec<usize>,
    servers: Vec<Vec<ServerId>>,
}

impl Reach {
    /// Looks at all units, those that others need first.
    pub(in crate::placement) fn new(board: &Board<'_>) -> Self {
        let count = board.snapshot.units.len();
        let vacant: Vec<UnitId> = (0..count).filter(|unit| board.vacant(*unit)).collect();
        if vacant.iter().all(|unit| board.snapshot.units[*unit].start.is_empty()) {
            return Self { order: vacant, circle: Vec::new(), servers: Vec::new() };
        }
        let matters = matters(board, &vacant);
        let waits = |kind: &StartKind| {
            matches!(kind, StartKind::Hard { .. } | StartKind::Weak { concurrent: false, .. })
        };
        let circle = Order::of(&graph(board, &matters, waits)).circle;
        let any = |kind: &StartKind| !matches!(kind, StartKind::Pullup { .. });
        let nodes = Order::of(&graph(board, &matters, any)).nodes.into_iter();
        let order: Vec<UnitId> = nodes.filter(|node| *node < count && matters[*node]).collect();
        let mut reach = Self { order: Vec::new(), circle, servers: vec![Vec::new(); count] };
        for unit in &order {
            reach.servers[*unit] = reach.of(board, *unit);
        }
        Self { order, ..reach }
    }

    /// Where a unit runs, or may come up without anybody's help.
    fn of(&self, board: &Board<'_>, unit: UnitId) -> Vec<ServerId> {
        let snapshot = &board.snapshot.units[unit];
        if board.snapshot.units[unit].serves.is_empty() {
            return Vec::new(); // nobody asks
        }
        let Some(config) = snapshot.config else { return Vec::new() };
        if let Some(owner) = snapshot.owner
            && !board.leaves(unit)
        {
            let report = snapshot.entry.report.as_ref().map(|report| &report.value);
            let failed = report.is_some_and(|report| {
                report.epoch == snapshot.entry.ownership.value.epoch && report.failed.is_some()
            });
            return if failed { Vec::new() } else { vec![owner] };
        }
        let event = board.event(unit);
        let open = match snapshot.owner {
            Some(_) => config.enabled && snapshot.entry.target.value == Target::Online,
            None => board.closed(unit, config).is_none(),
        };
        if !open {
            return Vec::new();
        }
        let servers = board.candidates(unit, event).into_iter().map(|(server, _)| server);
        servers.filter(|server| self.may_hold(board, unit, *server)).collect()
    }

    /// Whether everything that the unit must have there is up or may come up.
    fn may_hold(&self, board: &Board<'_>, unit: UnitId, server: ServerId) -> bool {
        board.hard(unit).all(|(target, intermediate, global)| {
            let on = (!global).then_some(server);
            board.is_up(target, unit, on, intermediate)
                || self.comes(board, target, unit, |s| global || s == server)
        })
    }

    /// Whether a member of a target may come up on one of these servers.
    pub(in crate::placement) fn comes(
        &self,
        board: &Board<'_>,
        target: TargetId,
        unit: UnitId,
        on: impl Fn(ServerId) -> bool,
    ) -> bool {
        let members = board.snapshot.targets[target].members.iter();
        members
            .filter(|member| member.unit != unit)
            .any(|member| self.servers.get(member.unit).is_some_and(|reach| reach.iter().any(|s| on(*s))))
    }

    /// Whether a unit should wait for a member of a target that is about to be up. In a circle
    /// nobody waits.
    fn awaits(&self, board: &Board<'_>, target: TargetId, unit: UnitId) -> bool {
        board.snapshot.targets[target].members.iter().any(|member| {
            member.unit != unit
                && !board.gave_way[member.unit]
                && self.circle.get(member.unit) != self.circle.get(unit)
                && self.servers.get(member.unit).is_some_and(|reach| !reach.is_empty())
        })
    }
}

/// Units, then targets: whether they are vacant, or vacant ones ask for them, in however many steps.
fn matters(board: &Board<'_>, vacant: &[UnitId]) -> Vec<bool> {
    let (units, targets) = (&board.snapshot.units, &board.snapshot.targets);
    let mut matters = vec![false; units.len() + targets.len()];
    let mut left = vacant.to_vec();
    while let Some(unit) = left.pop() {
        matters[unit] = true;
        for (target, _) in &units[unit].start {
            if !std::mem::replace(&mut matters[units.len() + target], true) {
                left.extend(
                    targets[*target].members.iter().map(|member| member.unit).filter(|id| !matters[*id]),
                );
            }
        }
    }
    matters
}

/// Units, then targets: a unit leads to what it names, a target to its members.
fn graph(board: &Board<'_>, matters: &[bool], counts: impl Fn(&StartKind) -> bool) -> Vec<Vec<usize>> {
    let count = board.snapshot.units.len();
    let units = board.snapshot.units.iter().enumerate().map(|(id, unit)| {
        let start = unit.start.iter().filter(|(_, kind)| matters[id] && counts(kind));
        start.map(|(target, _)| count + target).collect()
    });
    let targets = board.snapshot.targets.iter().enumerate().map(|(id, target)| {
        let members = target.members.iter().filter(|_| matters[count + id]);
        members.map(|member| member.unit).collect()
    });
    units.chain(targets).collect()
}

/// Another unit that should be started, because one needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::placement) struct Needed {
    /// Which.
    pub(in crate::placement) unit: UnitId,
    /// Where.
    pub(in crate::placement) on: Option<ServerId>,
}

impl Board<'_> {
    /// Why a vacant unit does not start by itself.
    pub(in crate::placement) fn closed(&self, unit: UnitId, config: &GroupConfig) -> Option<Closed> {
        let entry = self.snapshot.units[unit].entry;
        if !config.enabled {
            return Some(Closed::Disabled);
        }
        if entry.target.value == Target::Offline {
            return Some(Closed::Offline);
        }
        let vacated = entry.ownership.value.vacated.as_ref()?;
        if vacated.event == StartEvent::Failover && config.failover == Automatic::Manual {
            return Some(Closed::Manual);
        }
        match &vacated.reason {
            Reason::DependencyStopped { on } if self.pulled_up(unit).is_empty() => {
                Some(Closed::Stopped { on: on.clone() })
            }
            _ => None,
        }
    }

    /// Whether a unit seeks a server, or will in a moment.
    pub(in crate::placement) fn seeks(&self, unit: UnitId) -> bool {
        let of = &self.snapshot.units[unit];
        let enabled = of.config.is_some_and(|config| config.enabled);
        enabled && of.entry.target.value == Target::Online && (self.vacant(unit) || self.leaves(unit))
    }

    /// The members whose start brings a vacant unit back, each with the server that it must run on
    /// (`None`: any). Empty when there are none.
    pub(in crate::placement) fn pulled_up(&self, unit: UnitId) -> Vec<(UnitId, Option<ServerId>)> {
        let since = self.down_since(unit);
        let offline = self.snapshot.units[unit].entry.target.value == Target::Offline;
        let mut pulled = Vec::new();
        for (target, kind) in &self.snapshot.units[unit].start {
            let StartKind::Pullup { always, intermediate, global } = *kind else { continue };
            if offline && !always {
                continue;
            }
            let fresh = |m: &&Member| m.standing.is_up(intermediate) && m.rose > since;
            let place = |m: &Member| self.snapshot.units[m.unit].owner.filter(|_| !global);
            if global {
                let first = self.members(*target, unit, None).filter(fresh).min_by_key(|m| (m.rose, m.unit));
                pulled.extend(first.map(|member| (member.unit, None)));
            } else {
                pulled.extend(self.members(*target, unit, None).filter(fresh).map(|m| (m.unit, place(m))));
            }
        }
        pulled
    }

    /// The change after which the start of something else brings a vacant unit back. One that stopped
    /// with another counts from that one's fall, which may be long before its own last stop ended.
    fn down_since(&self, unit: UnitId) -> Revision {
        let entry = self.snapshot.units[unit].entry;
        if entry.target.value == Target::Offline {
            return entry.target.modified;
        }
        let vacated = entry.ownership.modified;
        let Some(Vacate { reason: Reason::DependencyStopped { on }, .. }) = &entry.ownership.value.vacated
        else {
            return vacated;
        };
        let cause = self.snapshot.unit(on).map(|id| self.snapshot.units[id].entry);
        let falls =
            cause.into_iter().flat_map(|cause| cause.facts.values().map(|facts| facts.value.left_online));
        match falls.max() {
            Some(fell) if fell > Revision(0) => fell.min(vacated),
            _ => vacated,
        }
    }

    /// The change with which somebody asked for a unit to run.
    pub(in crate::placement) fn asked(&self, unit: UnitId) -> Revision {
        let entry = self.snapshot.units[unit].entry;
        let asked = matches!(
            entry.ownership.value.vacated.as_ref().map(|vacated| &vacated.reason),
            Some(
                Reason::OperatorStarted { .. }
                    | Reason::ClusterStarted
                    | Reason::NeededBy { .. }
                    | Reason::PulledUp { .. }
            )
        );
        if asked { entry.target.modified.max(entry.ownership.modified) } else { entry.target.modified }
    }

    /// Whether a unit sleeps and may be woken by one that was asked for at this change.
    fn can_be_woken(&self, unit: UnitId, asked: Revision) -> bool {
        let of = &self.snapshot.units[unit];
        let Some(config) = of.config.filter(|_| self.vacant(unit)) else { return false };
        match self.closed(unit, config) {
            Some(Closed::Offline) => of.entry.target.modified <= asked,
            Some(Closed::Manual | Closed::Stopped { .. }) => of.entry.ownership.modified <= asked,
            Some(Closed::Disabled) | None => false,
        }
    }

    /// The first sleeping member that could run on one of these servers, the earlier the better.
    fn sleeper(&self, target: TargetId, unit: UnitId, servers: &[ServerId]) -> Option<(UnitId, ServerId)> {
        let asked = self.asked(unit);
        let members = &self.snapshot.targets[target].members;
        let sleeping: Vec<UnitId> = members
            .iter()
            .map(|member| member.unit)
            .filter(|member| *member != unit && self.can_be_woken(*member, asked))
            .collect();
        servers.iter().find_map(|server| {
            let takes =
                |id: &&UnitId| self.lists(**id, *server).is_ok() && self.allows(**id, *server).is_ok();
            sleeping.iter().find(takes).map(|id| (*id, *server))
        })
    }

    /// Every server, for units that may run anywhere.
    fn everywhere(&self) -> Vec<ServerId> {
        (0..self.snapshot.servers.len()).collect()
    }

    /// What has to be started for the hard dependencies of a unit, which do not hold on any of these
    /// servers, best first; and what it waits for. Nothing is started that would not be enough.
    pub(in crate::placement) fn wake_for_hard(
        &self,
        unit: UnitId,
        servers: &[ServerId],
        reach: &Reach,
    ) -> (Vec<Needed>, Option<Named>) {
        let mut best: Option<(Vec<Needed>, Option<Named>)> = None;
        for server in servers {
            let Some(found) = self.missing(unit, *server, reach) else { continue };
            if found.0.is_empty() {
                return found; // everything is on its way
            }
            best.get_or_insert(found);
        }
        best.unwrap_or_else(|| {
            let holds = |target: &TargetId, intermediate: bool, global: bool| {
                servers.iter().any(|s| self.is_up(*target, unit, (!global).then_some(*s), intermediate))
            };
            let mut hard = self.hard(unit);
            let first = hard.find(|(target, intermediate, global)| !holds(target, *intermediate, *global));
            let any = first.or_else(|| self.hard(unit).next());
            (Vec::new(), any.map(|(target, ..)| self.snapshot.targets[target].named.clone()))
        })
    }

    /// What would have to be started so that a unit can run on a server, and the first thing that it
    /// waits for; `None` when that is not to be had.
    fn missing(&self, unit: UnitId, server: ServerId, reach: &Reach) -> Option<(Vec<Needed>, Option<Named>)> {
        let (mut needed, mut waits) = (Vec::new(), None);
        for (target, intermediate, global) in self.hard(unit) {
            if self.is_up(target, unit, (!global).then_some(server), intermediate) {
                continue;
            }
            waits.get_or_insert_with(|| self.snapshot.targets[target].named.clone());
            if reach.comes(self, target, unit, |at| global || at == server) {
                continue;
            }
            let here = [server];
            let everywhere = if global { self.everywhere() } else { Vec::new() };
            let (sleeper, _) = self.sleeper(target, unit, if global { &everywhere } else { &here })?;
            let on = self.chosen(unit).filter(|chosen| !global && *chosen == server);
            needed.push(Needed { unit: sleeper, on });
        }
        Some((needed, waits))
    }

    /// The server that was chosen for a vacant unit.
    fn chosen(&self, unit: UnitId) -> Option<ServerId> {
        let vacated = self.snapshot.units[unit].entry.ownership.value.vacated.as_ref()?;
        vacated.to.as_ref().and_then(|to| self.snapshot.server(to))
    }

    /// What has to be started for the weak dependencies of a unit that goes to the first of these
    /// servers; or what it waits for.
    pub(in crate::placement) fn wake_for_weak(
        &self,
        unit: UnitId,
        servers: &[ServerId],
        reach: &Reach,
    ) -> (Vec<Needed>, Option<Named>) {
        let (mut needed, mut waiting) = (Vec::new(), None);
        for (target, kind) in &self.snapshot.units[unit].start {
            let StartKind::Weak { concurrent, global, uniform } = *kind else { continue };
            let here = |server: ServerId| global || servers.contains(&server);
            let there = self.members(*target, unit, None).any(|member| {
                let at = self.snapshot.units[member.unit].owner;
                member.standing != Standing::Failed && at.is_none_or(here)
            });
            let everywhere = self.everywhere();
            if uniform {
                let asked = self.asked(unit);
                let members = self.snapshot.targets[*target].members.iter().map(|member| member.unit);
                let sleeping = members.filter(|member| *member != unit && self.can_be_woken(*member, asked));
                let runnable = sleeping.filter(|id| !self.candidates(*id, StartEvent::Start).is_empty());
                needed.extend(runnable.map(|unit| Needed { unit, on: None }));
            } else if !there && !reach.comes(self, *target, unit, here) {
                let near = if global { None } else { self.sleeper(*target, unit, servers) };
                let found = near.map(|(unit, server)| Needed { unit, on: Some(server) });
                let anywhere =
                    || self.sleeper(*target, unit, &everywhere).map(|(unit, _)| Needed { unit, on: None });
                needed.extend(found.or_else(anywhere));
            }
            let up = self.is_up(*target, unit, None, true);
            if !concurrent && !up && reach.awaits(self, *target, unit) {
                waiting.get_or_insert_with(|| self.snapshot.targets[*target].named.clone());
            }
        }
        (needed, waiting)
    }
}
