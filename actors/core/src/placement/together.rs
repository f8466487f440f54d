//! How many units can run when one of them is put on a certain server: those that must share its
//! server, those that it needs, and those that it would keep off a server.
//!
//! A bounded search. Few units hang together in such a way, and nearly always the first try has
//! room for all of them; where it has not, what is found within the bound is good enough.

use super::{
    board::Board,
    dependency::Closed,
    snapshot::{Member, ServerId, Standing, TargetId, UnitId},
};
use crate::config::{Exclusive, StartKind};

/// The most units that are looked at together.
const MOST: usize = 16;
/// The steps of one search.
const STEPS: u32 = 20_000;

/// Vacant units that hang together.
pub(super) struct Together<'b, 'a> {
    board: &'b Board<'a>,
    /// What others need before them.
    units: Vec<UnitId>,
    /// Where each could run.
    servers: Vec<Vec<ServerId>>,
    /// There are no more than these.
    pub(super) whole: bool,
}

impl<'b, 'a> Together<'b, 'a> {
    /// The vacant units that hang together with this one; `None` when it stands alone.
    pub(super) fn around(board: &'b Board<'a>, unit: UnitId) -> Option<Self> {
        let mut found = vec![unit];
        let mut next = 0;
        while let Some(from) = found.get(next).copied() {
            board.neighbours(from, &mut found);
            next += 1;
        }
        if found.len() == 1 {
            return None;
        }
        let whole = found.len() < MOST;
        let units = board.in_order(&found);
        let servers = units.iter().map(|unit| board.takers(*unit)).collect();
        Some(Self { board, units, servers, whole })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.units.len()
    }

    /// How many of them can run when this one is on that server, or nowhere.
    pub(super) fn most_with(&self, unit: UnitId, server: Option<ServerId>) -> usize {
        let most = self.units.len() - usize::from(server.is_none());
        let places = vec![None; self.units.len()];
        let left = self.board.steps.get().min(STEPS);
        let mut search = Search { of: self, fixed: (unit, server), places, best: 0, most, left };
        search.descend(0, 0);
        self.board
            .steps
            .set(self.board.steps.get().saturating_sub(self.board.steps.get().min(STEPS) - search.left));
        search.best
    }
}

struct Search<'s, 'b, 'a> {
    of: &'s Together<'b, 'a>,
    fixed: (UnitId, Option<ServerId>),
    places: Vec<Option<ServerId>>,
    best: usize,
    most: usize,
    left: u32,
}

impl Search<'_, '_, '_> {
    fn descend(&mut self, depth: usize, running: usize) {
        let still = self.of.units.len() - depth;
        if still == 0 {
            self.best = self.best.max(running);
            return;
        }
        if running + still <= self.best || self.best == self.most {
            return;
        }
        let unit = self.of.units[depth];
        if unit == self.fixed.0 {
            let server = self.fixed.1;
            let fits = server.is_some_and(|server| self.fits(depth, server));
            self.places[depth] = server;
            self.descend(depth + 1, running + usize::from(fits));
            self.places[depth] = None;
            return;
        }
        for index in 0..self.of.servers[depth].len() {
            let server = self.of.servers[depth][index];
            if self.fits(depth, server) {
                self.places[depth] = Some(server);
                self.descend(depth + 1, running + 1);
                self.places[depth] = None;
            }
            // The first descent is always finished: it is the simple answer.
            if self.left == 0 && self.best > 0 {
                return;
            }
            self.left = self.left.saturating_sub(1);
        }
        self.descend(depth + 1, running);
    }

    fn fits(&self, depth: usize, server: ServerId) -> bool {
        let board = self.of.board;
        let unit = self.of.units[depth];
        let placed = || self.of.units.iter().zip(&self.places).filter_map(|(unit, at)| Some((*unit, (*at)?)));
        let apart = placed().all(|(other, at)| at != server || board.may_be_together(unit, other));
        apart
            && board.hard(unit).all(|(target, intermediate, global)| {
                let here = |at: ServerId| global || at == server;
                let serves = |other: UnitId| board.snapshot.units[other].serves.contains(&target);
                placed().any(|(other, at)| here(at) && serves(other))
                    || board.has_or_gets(
                        target,
                        unit,
                        (!global).then_some(server),
                        intermediate,
                        &self.of.units,
                    )
            })
    }
}

impl Board<'_> {
    /// Adds the vacant units that hang together with one.
    fn neighbours(&self, unit: UnitId, found: &mut Vec<UnitId>) {
        let of = &self.snapshot.units[unit];
        let mut add = |other: UnitId| {
            if found.len() < MOST && self.may_start(other) && !found.contains(&other) {
                found.push(other);
            }
            found.len() < MOST
        };
        let followers = of.serves.iter().flat_map(|target| self.snapshot.targets[*target].needed_by.iter());
        let needed = self.hard(unit).flat_map(|(target, ..)| self.snapshot.targets[target].members.iter());
        let mut near = followers.copied().chain(needed.map(|member| member.unit));
        if !near.all(&mut add) {
            return;
        }
        if of.config.is_some_and(|config| config.exclusive != Exclusive::No) {
            let shares = |other: &UnitId| {
                let servers = |unit: UnitId| self.snapshot.units[unit].config.map(|config| &config.servers);
                let (Some(a), Some(b)) = (servers(unit), servers(*other)) else { return false };
                a.iter().any(|server| b.contains(server))
            };
            self.exclusive_units.iter().copied().filter(shares).all(&mut add);
        }
    }

    /// Whether a unit seeks a server and nothing but servers and dependencies can keep it from one.
    fn may_start(&self, unit: UnitId) -> bool {
        let of = &self.snapshot.units[unit];
        let Some(config) = of.config.filter(|_| self.seeks(unit)) else { return false };
        let comes_back = || of.start.iter().any(|(_, kind)| matches!(kind, StartKind::Pullup { .. }));
        of.owner.is_some()
            || match self.closed(unit, config) {
                None => true,
                Some(Closed::Stopped { .. }) => comes_back(),
                Some(_) => false,
            }
    }

    /// The servers that could take a unit, dependencies left out.
    fn takers(&self, unit: UnitId) -> Vec<ServerId> {
        self.candidates(unit, self.event(unit)).into_iter().map(|(server, _)| server).collect()
    }

    /// What others of these need before them.
    fn in_order(&self, units: &[UnitId]) -> Vec<UnitId> {
        let mut ordered: Vec<UnitId> = Vec::new();
        let mut left = units.to_vec();
        while !left.is_empty() {
            let free = |unit: &UnitId, left: &[UnitId]| {
                self.hard(*unit).all(|(target, ..)| {
                    left.iter()
                        .all(|other| other == unit || !self.snapshot.units[*other].serves.contains(&target))
                })
            };
            let next = left.iter().position(|unit| free(unit, &left)).unwrap_or(0); // in a circle
            ordered.push(left.remove(next));
        }
        ordered
    }

    /// Whether two units may share a server.
    fn may_be_together(&self, unit: UnitId, other: UnitId) -> bool {
        let of =
            |unit: UnitId| self.snapshot.units[unit].config.map_or(Exclusive::No, |config| config.exclusive);
        match (of(unit), of(other)) {
            (Exclusive::No, _) | (_, Exclusive::No) => true,
            (Exclusive::Normal, Exclusive::Normal) => self.may_share(self.event(unit)),
            _ => false,
        }
    }

    /// Whether a member of a target is on a server, or may come there in a moment.
    pub(super) fn has_or_gets_any(&self, target: TargetId, unit: UnitId, server: ServerId) -> bool {
        self.members(target, unit, Some(server)).next().is_some()
            || self.snapshot.targets[target].members.iter().any(|member| {
                let comes = member.unit != unit && self.may_start(member.unit);
                comes && self.lists(member.unit, server).is_ok() && self.allows(member.unit, server).is_ok()
            })
    }

    /// Whether a member of a target is on a server (or on any), or, other than these, may come there.
    fn has_or_gets(
        &self,
        target: TargetId,
        unit: UnitId,
        on: Option<ServerId>,
        intermediate: bool,
        not: &[UnitId],
    ) -> bool {
        let counts = |m: &Member| m.standing == Standing::Pending || m.standing.is_up(intermediate);
        let takes = |id: UnitId| match on {
            Some(server) => self.lists(id, server).is_ok() && self.allows(id, server).is_ok(),
            None => !self.takers(id).is_empty(),
        };
        self.members(target, unit, on).any(counts)
            || self.snapshot.targets[target].members.iter().any(|member| {
                let other = member.unit != unit && !not.contains(&member.unit);
                other && self.may_start(member.unit) && takes(member.unit)
            })
    }
}
