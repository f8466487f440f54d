//! What a server must be for a unit, each rule by itself, and why it is not.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use super::{
    board::Board,
    snapshot::{ServerId, TargetId, UnitId},
};
use crate::{
    config::{Exclusive, Named, StartKind},
    ids::{GroupName, PoolName, ServerName, VolumeName},
    mirror::lapse::{self, Lapse},
    registry::{
        mirror::volumes_of,
        state::{ServerMode, StartEvent},
    },
};

/// Why a server cannot take a unit now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Rejection {
    /// It is not in the group's list.
    NotListed,
    /// It has not joined.
    NotJoined,
    /// It is down.
    Down {
        /// Why.
        because: String,
    },
    /// It is being shut down.
    Leaving,
    /// Its lease is not being renewed at this moment.
    NoLease,
    /// It is in another server pool.
    OtherPool {
        /// Which.
        pool: PoolName,
    },
    /// An exclusive group is there or goes there now, and the two do not share a server.
    Exclusive {
        /// Which.
        group: GroupName,
    },
    /// What it must share a server with is not up there.
    NotUpThere {
        /// What.
        named: Named,
    },
    /// What it needs is up nowhere.
    NotUp {
        /// What.
        named: Named,
    },
    /// What it stops with is about to stop there.
    Stopping {
        /// What.
        named: Named,
    },
    /// It comes back with something that has not started there.
    NotPulledUp,
    /// Its copy of one of the group's mirrored volumes is not up to date (T2, C20).
    NotGood {
        /// Which volume.
        volume: VolumeName,
        /// Where the copy is good.
        good: BTreeSet<ServerName>,
        /// Who has the volume open, and brings the other copies up to date.
        open: Option<ServerName>,
    },
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListed => f.write_str("it is not in the group's list of servers"),
            Self::NotJoined => f.write_str("it has not joined the cluster"),
            Self::Down { because } if because.is_empty() => f.write_str("it is down"),
            Self::Down { because } => write!(f, "it is down: {because}"),
            Self::Leaving => f.write_str("it is shutting down"),
            Self::NoLease => f.write_str("its lease is not being renewed"),
            Self::OtherPool { pool } => {
                write!(f, "it is in server pool {pool}, which is none of the group's")
            }
            Self::Exclusive { group } => {
                write!(f, "it has or gets {group}, and the two do not share a server")
            }
            Self::NotUpThere { named } => {
                write!(f, "{named} is not up there, and must be on the same server")
            }
            Self::NotUp { named } => write!(f, "{named}, which it needs, is up nowhere"),
            Self::Stopping { named } => write!(f, "{named}, which it stops with, is stopping"),
            Self::NotPulledUp => f.write_str("what it comes back with has not started there"),
            Self::NotGood { volume, open: Some(open), .. } => {
                write!(
                    f,
                    "its copy of {volume} is not up to date; {open} has the volume open, and a resync from there is under way or needed"
                )
            }
            Self::NotGood { volume, good, open: None } => {
                write!(f, "its copy of {volume} is not up to date; the copy on {} is", names(good))
            }
        }
    }
}

/// Servers in a sentence.
pub(super) fn names(servers: &BTreeSet<ServerName>) -> String {
    let names: Vec<&str> = servers.iter().map(ServerName::as_str).collect();
    names.join(", ")
}

/// One thing that must hold of a server for a unit.
type Must = fn(&Board<'_>, UnitId, ServerId) -> Result<(), Rejection>;

/// What must hold of a server whatever else runs, in the order in which it is asked.
const LASTING: [Must; 7] = [joined, up, stays, renews, in_pool, exclusive, good_copies];

impl Board<'_> {
    /// Whether a server of the unit's list could take it, dependencies left out.
    pub(super) fn allows(&self, unit: UnitId, server: ServerId) -> Result<(), Rejection> {
        LASTING.iter().try_for_each(|rule| rule(self, unit, server))
    }

    /// Whether a server is in the unit's list.
    pub(super) fn lists(&self, unit: UnitId, server: ServerId) -> Result<(), Rejection> {
        let name = self.snapshot.servers[server].name;
        let listed = self.snapshot.units[unit].config.is_some_and(|config| config.servers.contains(name));
        if listed { Ok(()) } else { Err(Rejection::NotListed) }
    }

    /// Whether everything that the unit must share a server with is up on this one, what it needs
    /// anywhere is up anywhere, and nothing that it stops with is about to stop.
    pub(super) fn dependencies_hold(&self, unit: UnitId, server: ServerId) -> Result<(), Rejection> {
        self.hard(unit).try_for_each(|(target, intermediate, global)| {
            let on = (!global).then_some(server);
            if self.is_up(target, unit, on, intermediate) {
                return Ok(());
            }
            let named = self.snapshot.targets[target].named.clone();
            Err(if global { Rejection::NotUp { named } } else { Rejection::NotUpThere { named } })
        })?;
        // It would have to stop again at once, and what waits for that would wait for ever.
        match self.stopping(unit, server) {
            None => Ok(()),
            Some(target) => Err(Rejection::Stopping { named: self.snapshot.targets[target].named.clone() }),
        }
    }

    /// The unit's hard start dependencies: target, intermediate, global.
    pub(super) fn hard(&self, unit: UnitId) -> impl Iterator<Item = (TargetId, bool, bool)> {
        self.snapshot.units[unit].start.iter().filter_map(|(target, kind)| match kind {
            StartKind::Hard { intermediate, global } => Some((*target, *intermediate, *global)),
            _ => None,
        })
    }

    /// Whether a server that cannot take the unit now could in a moment, because it is starting.
    pub(super) fn may_come_up(&self, unit: UnitId, server: ServerId) -> bool {
        let refused = self.allows(unit, server).err();
        matches!(refused, Some(Rejection::NotJoined | Rejection::Down { .. } | Rejection::NoLease))
    }

    /// Whether an exclusive unit would have to share this server with another one.
    pub(super) fn would_share(&self, unit: UnitId, server: ServerId) -> Option<UnitId> {
        let exclusive = self.snapshot.units[unit].config.map_or(Exclusive::No, |config| config.exclusive);
        let others = &self.exclusive[server];
        (exclusive != Exclusive::No).then(|| others.iter().copied().find(|other| *other != unit)).flatten()
    }

    /// Whether a normally exclusive unit may share a server when it has no other.
    pub(super) fn may_share(&self, event: StartEvent) -> bool {
        event == StartEvent::Failover
    }
}

fn joined(board: &Board<'_>, _: UnitId, server: ServerId) -> Result<(), Rejection> {
    board.snapshot.servers[server].presence.map(|_| ()).ok_or(Rejection::NotJoined)
}

fn up(board: &Board<'_>, _: UnitId, server: ServerId) -> Result<(), Rejection> {
    match board.snapshot.servers[server].presence {
        Some(presence) if !presence.up => {
            let because = presence.down_because.as_ref().map(ToString::to_string).unwrap_or_default();
            Err(Rejection::Down { because })
        }
        _ => Ok(()),
    }
}

fn stays(board: &Board<'_>, _: UnitId, server: ServerId) -> Result<(), Rejection> {
    match board.snapshot.servers[server].presence {
        Some(presence) if presence.mode != ServerMode::Active => Err(Rejection::Leaving),
        _ => Ok(()),
    }
}

fn renews(board: &Board<'_>, _: UnitId, server: ServerId) -> Result<(), Rejection> {
    if board.fit(server) { Ok(()) } else { Err(Rejection::NoLease) }
}

fn in_pool(board: &Board<'_>, unit: UnitId, server: ServerId) -> Result<(), Rejection> {
    let Some(config) = board.snapshot.units[unit].config else { return Ok(()) };
    let local = config.instance.as_ref().is_some_and(|instance| instance.local);
    let pool = board.snapshot.servers[server].pool;
    if local || config.pools.is_empty() || config.pools.iter().any(|name| name.as_str() == pool) {
        return Ok(());
    }
    Err(Rejection::OtherPool { pool: pool.into() })
}

/// T2, C20: only where every mirrored volume of the unit is good; before a volume has its facts, on any
/// server that may have a copy.
fn good_copies(board: &Board<'_>, unit: UnitId, server: ServerId) -> Result<(), Rejection> {
    let (state, server) = (board.snapshot.state, board.snapshot.servers[server].name);
    let Some(config) = board.snapshot.units[unit].config.filter(|_| !state.volumes.is_empty()) else {
        return Ok(());
    };
    for volume in volumes_of(config) {
        let Some(facts) = state.volumes.get(&volume).map(|item| &item.value) else { continue };
        if !facts.good.contains(server) && !lapse::is(Lapse::AnyCopy) {
            let open = state.is_open(facts).then(|| facts.owner.clone()).flatten();
            return Err(Rejection::NotGood { volume, good: facts.good.clone(), open });
        }
    }
    Ok(())
}

/// A completely exclusive unit shares its server with no exclusive one, and none comes to it.
fn exclusive(board: &Board<'_>, unit: UnitId, server: ServerId) -> Result<(), Rejection> {
    let of =
        |unit: UnitId| board.snapshot.units[unit].config.map_or(Exclusive::No, |config| config.exclusive);
    if of(unit) == Exclusive::No {
        return Ok(());
    }
    let complete = |other: UnitId| of(unit) == Exclusive::Complete || of(other) == Exclusive::Complete;
    let there = board.exclusive[server].iter().copied().find(|other| *other != unit && complete(*other));
    there
        .map_or(Ok(()), |other| Err(Rejection::Exclusive { group: board.snapshot.units[other].name.clone() }))
}
