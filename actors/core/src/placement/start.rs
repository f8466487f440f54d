//! Vacant units that are wanted: which server takes each, and what has to be started before.

use std::time::Duration;

use super::{
    board::Board,
    candidate::Rank,
    dependency::{Closed, Needed, Reach},
    plan::Decision,
    snapshot::{ServerId, UnitId},
    together::Together,
};
use crate::{
    config::{GroupConfig, Named, Placement},
    ids::ServerName,
    reason::Reason,
    registry::{Command, Key, mirror::volumes_of, state::StartEvent},
};

/// The starts of one round.
pub(super) struct Starts<'b, 'a> {
    board: &'b mut Board<'a>,
    reach: &'b Reach,
    since_start: Duration,
    pools_settled: bool,
    /// Units that are started for others in this round.
    woken: Vec<bool>,
    decided: Vec<Decision>,
}

/// What is to become of a vacant unit now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It starts there.
    Goes { server: ServerId, pulled_by: Option<UnitId> },
    /// Others are started first.
    Wakes { needed: Vec<Needed> },
    /// Nothing may start it by itself.
    Closed(Closed),
    /// It is not wanted, but something has started that brings it back.
    Pulled { by: UnitId, on: Option<ServerId> },
    /// No server could take it.
    NoServer,
    /// It needs something that is not up.
    Needs(Named),
    /// It starts after something that is starting.
    After(Named),
    /// A better server may be up in a moment.
    WaitsForHome,
    /// More can run without it.
    GivesWay,
}

impl<'b, 'a> Starts<'b, 'a> {
    pub(super) fn new(
        board: &'b mut Board<'a>,
        reach: &'b Reach,
        since_start: Duration,
        pools_settled: bool,
    ) -> Self {
        let woken = vec![false; board.snapshot.units.len()];
        Self { board, reach, since_start, pools_settled, woken, decided: Vec::new() }
    }

    /// Decides for every vacant unit, what others need before them.
    pub(super) fn decide(mut self) -> Vec<Decision> {
        self.decide_before(None);
        self.decided
    }

    /// What becomes of one unit when its turn comes; `None` for one that is not vacant then, or
    /// whose turn is after the pools have been filled.
    pub(super) fn verdict(mut self, unit: UnitId) -> Option<Verdict> {
        self.decide_before(Some(unit));
        let config = self.board.snapshot.units[unit].config.filter(|config| self.turn(unit, config))?;
        Some(verdict(self.board, self.reach, self.since_start, unit, config))
    }

    fn decide_before(&mut self, last: Option<UnitId>) {
        let reach = self.reach;
        for unit in reach.order.iter().take_while(|unit| Some(**unit) != last) {
            let Some(config) = self.board.snapshot.units[*unit].config else { continue };
            if self.turn(*unit, config) {
                self.act(*unit, config);
            }
        }
    }

    fn turn(&self, unit: UnitId, config: &GroupConfig) -> bool {
        let settled = self.pools_settled || config.pools.is_empty();
        settled && self.board.vacant(unit) && !self.woken[unit]
    }

    fn act(&mut self, unit: UnitId, config: &GroupConfig) {
        match verdict(self.board, self.reach, self.since_start, unit, config) {
            Verdict::Goes { server, pulled_by } => self.assign(unit, server, pulled_by),
            Verdict::Wakes { needed } => {
                for Needed { unit: needed, on } in needed {
                    let name = self.board.snapshot.units[unit].name.clone();
                    let because = [Key::Target(name.clone()), Key::Ownership(name.clone())];
                    self.wake(needed, on, Reason::NeededBy { group: name }, because.to_vec());
                }
            }
            Verdict::Pulled { by, on } => {
                let by = self.board.snapshot.units[by].name.clone();
                let because = [Key::Ownership(by.clone()), Key::Report(by.clone())];
                self.wake(unit, on, Reason::PulledUp { by }, because.to_vec());
            }
            Verdict::Closed(_)
            | Verdict::NoServer
            | Verdict::Needs(_)
            | Verdict::After(_)
            | Verdict::WaitsForHome => {}
            Verdict::GivesWay => self.board.gave_way[unit] = true,
        }
    }

    /// Has a unit wanted online that was not, or that only an operator would start.
    fn wake(&mut self, unit: UnitId, on: Option<ServerId>, reason: Reason, because: Vec<Key>) {
        if std::mem::replace(&mut self.woken[unit], true) {
            return;
        }
        let group = self.board.snapshot.units[unit].name.clone();
        let on = on.map(|server| self.board.snapshot.servers[server].name.clone());
        let command = Command::StartGroup { group, on };
        let decision = self.board.decision(unit, command, reason, because);
        self.decided.push(decision);
    }

    fn assign(&mut self, unit: UnitId, server: ServerId, pulled_by: Option<UnitId>) {
        let of = &self.board.snapshot.units[unit];
        let ownership = &of.entry.ownership.value;
        let name = |unit: UnitId| self.board.snapshot.units[unit].name.clone();
        let vacated = ownership.vacated.as_ref().map(|vacated| vacated.reason.clone());
        let reason = match pulled_by {
            Some(by) => Reason::PulledUp { by: name(by) },
            None => vacated.unwrap_or(Reason::StillWanted),
        };
        let mut keys = vec![Key::Presence(self.board.snapshot.servers[server].name.clone())];
        keys.extend(of.config.into_iter().flat_map(volumes_of).map(Key::Volume));
        if of.config.is_some_and(|config| !config.pools.is_empty()) {
            keys.push(Key::PoolMembers);
        }
        keys.extend(pulled_by.into_iter().flat_map(|by| [Key::Ownership(name(by)), Key::Report(name(by))]));
        keys.extend(self.board.dependency_keys(unit, server));
        let command = Command::Assign {
            group: of.name.clone(),
            server: self.board.snapshot.servers[server].name.clone(),
            epoch: ownership.epoch.next(),
            event: self.board.event(unit),
        };
        let decision = self.board.decision(unit, command, reason, keys);
        self.decided.push(decision);
        self.board.place(unit, server);
    }
}

/// What is to become of a vacant unit now.
pub(super) fn verdict(
    board: &Board<'_>,
    reach: &Reach,
    since_start: Duration,
    unit: UnitId,
    config: &GroupConfig,
) -> Verdict {
    let event = board.event(unit);
    if let Some(closed) = board.closed(unit, config) {
        return if closed == Closed::Offline { pulled(board, unit) } else { Verdict::Closed(closed) };
    }
    let vacated = board.snapshot.units[unit].entry.ownership.value.vacated.as_ref();
    let stopped = vacated.is_some_and(|v| matches!(v.reason, Reason::DependencyStopped { .. }));
    let pulled = if stopped { board.pulled_up(unit) } else { Vec::new() };
    let mut servers = board.candidates(unit, event);
    if stopped {
        let by = |server: ServerId| pulled.iter().any(|(_, on)| on.is_none_or(|on| on == server));
        servers.retain(|(server, _)| by(*server));
    }
    if servers.is_empty() {
        return Verdict::NoServer;
    }
    let chosen = vacated.and_then(|vacated| vacated.to.as_ref());
    let holds = |server: ServerId| board.dependencies_hold(unit, server).is_ok();
    if !servers.iter().any(|(server, _)| holds(*server)) {
        let is_chosen = |server: &ServerId| chosen == Some(board.snapshot.servers[*server].name);
        let mut order: Vec<ServerId> = servers.iter().map(|(server, _)| *server).collect();
        order.sort_by_key(|server| !is_chosen(server)); // stable: the list's order stays
        let (needed, waiting) = board.wake_for_hard(unit, &order, reach);
        return match waiting {
            Some(_) if !needed.is_empty() => Verdict::Wakes { needed },
            Some(named) => Verdict::Needs(named),
            None => Verdict::NoServer,
        };
    }
    servers.retain(|(server, _)| holds(*server));
    let ranked = board.rank(unit, &servers, chosen);
    if chosen.is_none() && ranked.iter().all(|(rank, _)| rank.stranded > 0) && gives_way(board, unit, &ranked)
    {
        return Verdict::GivesWay;
    }
    let order: Vec<ServerId> = ranked.into_iter().map(|(_, server)| server).collect();
    let (needed, waiting) = board.wake_for_weak(unit, &order, reach);
    if !needed.is_empty() {
        return Verdict::Wakes { needed };
    }
    if let Some(named) = waiting {
        return Verdict::After(named);
    }
    let Some(server) = order.first().copied() else { return Verdict::NoServer };
    let was_chosen = chosen == Some(board.snapshot.servers[server].name);
    let cold = vacated.is_some_and(|vacated| vacated.reason == Reason::ClusterStarted) && !was_chosen;
    if cold && since_start < startup_wait(board) && better_may_come(board, unit, config, server) {
        return Verdict::WaitsForHome;
    }
    let by = |(_, on): &&(UnitId, Option<ServerId>)| on.is_none_or(|on| on == server);
    Verdict::Goes { server, pulled_by: pulled.iter().find(by).map(|(by, _)| *by) }
}

/// Whether more units can run when this one stays where it is: nowhere.
fn gives_way(board: &Board<'_>, unit: UnitId, ranked: &[(Rank, ServerId)]) -> bool {
    Together::around(board, unit).filter(|together| together.whole).is_some_and(|together| {
        let with = ranked.iter().map(|(rank, _)| together.count() - rank.stranded).max();
        with.is_some_and(|with| together.most_with(unit, None) > with)
    })
}

/// A unit that is not wanted comes back with what it depends on, when it asks for that.
fn pulled(board: &Board<'_>, unit: UnitId) -> Verdict {
    let servers = board.candidates(unit, StartEvent::Start);
    let pulled = board
        .pulled_up(unit)
        .into_iter()
        .find(|(_, on)| servers.iter().any(|(server, _)| on.is_none_or(|on| on == *server)));
    pulled.map_or(Verdict::Closed(Closed::Offline), |(by, on)| Verdict::Pulled { by, on })
}

fn startup_wait(board: &Board<'_>) -> Duration {
    board.snapshot.state.settings.as_ref().map_or(Duration::ZERO, |settings| settings.value.startup_wait)
}

/// Whether a server that is not up yet would be better than this one: home, or, for what is
/// balanced, any.
fn better_may_come(board: &Board<'_>, unit: UnitId, config: &GroupConfig, server: ServerId) -> bool {
    let missing = |name: &ServerName| {
        let other = board.snapshot.server(name);
        other.is_none_or(|other| other != server && board.may_come_up(unit, other))
    };
    match config.placement {
        Placement::Ordered => config.servers.first().is_some_and(missing),
        Placement::Balanced => config.servers.iter().any(missing),
    }
}
