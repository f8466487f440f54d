//! Why a unit is where it is, or why it is nowhere, and why it is not on each other server: what
//! the decision itself would say now.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use super::{
    board::Board,
    candidate::Rank,
    constraint::names,
    dependency::{Closed, Reach},
    plan::{Input, Round},
    snapshot::{ServerId, UnitId},
    start::{Starts, Verdict},
};
pub use super::{candidate::Rule, constraint::Rejection};
use crate::{
    config::{Exclusive, GroupConfig, Named},
    ids::{GroupName, ServerName, VolumeName},
    reason::Reason,
    registry::state::ClusterMode,
};

/// All that there is to say about the place of one unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Which.
    pub unit: GroupName,
    /// Where it is, or why it is nowhere.
    pub place: Place,
    /// Every configured server, by number.
    pub servers: Vec<(ServerName, Standing)>,
}

/// Where a unit is, or why it is nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Place {
    /// A server owns it.
    Owned {
        /// Which.
        server: ServerName,
        /// Why it was given the unit.
        because: Reason,
    },
    /// A server owns it and should release it.
    Leaves {
        /// Which.
        server: ServerName,
        /// Why.
        because: Reason,
    },
    /// Nobody owns it; it is given to this server now.
    Goes {
        /// Which.
        server: ServerName,
    },
    /// Nobody owns it.
    Nowhere {
        /// Why.
        because: Idle,
    },
}

/// Why nobody owns a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Idle {
    /// It is disabled.
    Disabled,
    /// It is not wanted.
    NotWanted,
    /// It is about to be wanted: something has started that brings it back.
    PulledUp {
        /// What.
        by: GroupName,
    },
    /// Its failover is manual: an operator starts it again.
    OperatorStarts,
    /// It stopped with something that it depends on, and nothing has brought it back.
    StoppedWith {
        /// What.
        on: GroupName,
    },
    /// No server could take it.
    NoServer,
    /// No server that could take it has a good copy of one of its volumes (R40).
    WaitsForCopy {
        /// Which volume.
        volume: VolumeName,
        /// The servers with a good copy.
        on: BTreeSet<ServerName>,
    },
    /// It needs something that is not up where it could run.
    Needs {
        /// What.
        named: Named,
    },
    /// It starts after something that is starting.
    StartsAfter {
        /// What.
        named: Named,
    },
    /// Other groups are started for it first.
    OthersFirst {
        /// Which.
        groups: Vec<GroupName>,
    },
    /// The cluster has just started, and a better server may be up in a moment.
    WaitsForServers,
    /// More of the others can run without it.
    GivesWay,
    /// Server pools are filled first.
    PoolsFirst,
    /// The cluster is suspended: nothing starts by itself.
    Suspended,
    /// The cluster is being shut down.
    Stopping,
}

/// How one server stands for a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Standing {
    /// It owns the unit.
    Owner,
    /// It could not take it.
    Rejected {
        /// Why.
        why: Rejection,
    },
    /// It could take it, and is the best that could.
    Best {
        /// The rule by which it is better than the next, when there is a next.
        by: Option<Rule>,
    },
    /// It could take it, but another one is better.
    Worse {
        /// Which.
        than: ServerName,
        /// By which rule.
        by: Rule,
    },
    /// It could take it and would be chosen now, but what runs is not moved for that.
    Stays {
        /// The rule by which it would be better.
        by: Rule,
    },
}

/// Reports on one unit; `None` when there is no such unit.
#[must_use]
pub fn report(input: &Input<'_>, unit: &GroupName) -> Option<Report> {
    let Round { mut board, mode, pools_settled, .. } = Round::begin(input);
    let id = board.snapshot.unit(unit)?;
    let reach = Reach::new(&board);
    let ownership = &board.snapshot.units[id].entry.ownership.value;
    let place = match &ownership.owner {
        Some(server) => match board.release_of(id) {
            Some((_, because)) => Place::Leaves { server: server.clone(), because: because.clone() },
            None => {
                let assigned = ownership.assigned.as_ref().map(|assigned| assigned.reason.clone());
                Place::Owned { server: server.clone(), because: assigned.unwrap_or(Reason::StillWanted) }
            }
        },
        None => {
            let verdict = Starts::new(&mut board, &reach, input.since_start, pools_settled).verdict(id);
            place(&board, id, mode, verdict)
        }
    };
    let servers = board.standings(id);
    Some(Report { unit: unit.clone(), place, servers })
}

fn place(board: &Board<'_>, unit: UnitId, mode: ClusterMode, verdict: Option<Verdict>) -> Place {
    let name = |unit: &UnitId| board.snapshot.units[*unit].name.clone();
    let because = match (mode, verdict) {
        (_, Some(Verdict::Closed(closed))) => match closed {
            Closed::Disabled => Idle::Disabled,
            Closed::Offline => Idle::NotWanted,
            Closed::Manual => Idle::OperatorStarts,
            Closed::Stopped { on } => Idle::StoppedWith { on },
        },
        (ClusterMode::Suspended, _) => Idle::Suspended,
        (ClusterMode::Stopping(_), _) => Idle::Stopping,
        (ClusterMode::Running, None) => Idle::PoolsFirst,
        (ClusterMode::Running, Some(verdict)) => match verdict {
            Verdict::Goes { server, .. } => {
                return Place::Goes { server: board.snapshot.servers[server].name.clone() };
            }
            Verdict::Wakes { needed } => {
                Idle::OthersFirst { groups: needed.iter().map(|needed| name(&needed.unit)).collect() }
            }
            Verdict::Pulled { by, .. } => Idle::PulledUp { by: name(&by) },
            Verdict::NoServer => board.waits_for_copy(unit).unwrap_or(Idle::NoServer),
            Verdict::Needs(named) => Idle::Needs { named },
            Verdict::After(named) => Idle::StartsAfter { named },
            Verdict::WaitsForHome => Idle::WaitsForServers,
            Verdict::GivesWay => Idle::GivesWay,
            Verdict::Closed(_) => Idle::NotWanted,
        },
    };
    Place::Nowhere { because }
}

impl Board<'_> {
    /// R40: some server could take the unit if only its copy of a volume were good.
    fn waits_for_copy(&self, unit: UnitId) -> Option<Idle> {
        let listed = (0..self.snapshot.servers.len()).filter(|server| self.lists(unit, *server).is_ok());
        let mut refused = listed.filter_map(|server| self.allows(unit, server).err());
        refused.find_map(|why| match why {
            Rejection::NotGood { volume, good, .. } => Some(Idle::WaitsForCopy { volume, on: good }),
            _ => None,
        })
    }

    /// Every server by number, with how it stands for a unit.
    fn standings(&self, unit: UnitId) -> Vec<(ServerName, Standing)> {
        let mut all: Vec<ServerId> = (0..self.snapshot.servers.len()).collect();
        all.sort_by_key(|server| self.snapshot.servers[*server].number);
        let of = &self.snapshot.units[unit];
        let name = |server: ServerId| self.snapshot.servers[server].name.clone();
        let config = of.config;
        let candidates = self.candidates(unit, self.event(unit));
        let rejected: BTreeMap<ServerId, Rejection> = all
            .iter()
            .filter_map(|server| Some((*server, self.rejects(unit, config, *server, &candidates)?)))
            .collect();
        let owner = of.owner;
        let position = |server: ServerId| {
            let listed = config.into_iter().flat_map(|config| &config.servers);
            listed.into_iter().position(|listed| listed == self.snapshot.servers[server].name)
        };
        let could = all.iter().filter(|server| owner == Some(**server) || !rejected.contains_key(server));
        let could: Vec<(ServerId, usize)> =
            could.map(|server| (*server, position(*server).unwrap_or(usize::MAX))).collect();
        let chosen = of.entry.ownership.value.vacated.as_ref().and_then(|vacated| vacated.to.as_ref());
        let ranked = self.rank(unit, &could, chosen);
        let rank_of =
            |server: ServerId| ranked.iter().find(|(_, ranked)| *ranked == server).map(|(rank, _)| rank);
        let standing = |server: ServerId| {
            if owner == Some(server) {
                return Standing::Owner;
            }
            if let Some(why) = rejected.get(&server) {
                return Standing::Rejected { why: why.clone() };
            }
            let against =
                owner.or_else(|| ranked.iter().map(|(_, server)| *server).find(|best| *best != server));
            compare(rank_of(server), against.map(name), against.and_then(rank_of), owner.is_some())
        };
        all.iter().map(|server| (name(*server), standing(*server))).collect()
    }

    /// Why a server could not take a unit now.
    fn rejects(
        &self,
        unit: UnitId,
        config: Option<&GroupConfig>,
        server: ServerId,
        candidates: &[(ServerId, usize)],
    ) -> Option<Rejection> {
        let all = || {
            self.lists(unit, server)?;
            self.allows(unit, server)?;
            let exclusive = config.is_some_and(|config| config.exclusive != Exclusive::No);
            if exclusive
                && !candidates.iter().any(|(candidate, _)| *candidate == server)
                && let Some(other) = self.would_share(unit, server)
            {
                return Err(Rejection::Exclusive { group: self.snapshot.units[other].name.clone() });
            }
            self.dependencies_hold(unit, server)?;
            self.pulled_to(unit, server)
        };
        all().err()
    }

    /// Whether a unit that stopped with what it depends on may come back on this server.
    fn pulled_to(&self, unit: UnitId, server: ServerId) -> Result<(), Rejection> {
        let vacated = self.snapshot.units[unit].entry.ownership.value.vacated.as_ref();
        if !vacated.is_some_and(|vacated| matches!(vacated.reason, Reason::DependencyStopped { .. })) {
            return Ok(());
        }
        let pulled = self.pulled_up(unit);
        let here = pulled.iter().any(|(_, on)| on.is_none_or(|on| on == server));
        if here { Ok(()) } else { Err(Rejection::NotPulledUp) }
    }
}

/// A server against the owner, or else against the best of the others.
fn compare(
    rank: Option<&Rank>,
    other: Option<ServerName>,
    other_rank: Option<&Rank>,
    owned: bool,
) -> Standing {
    let (Some(rank), Some(than), Some(other_rank)) = (rank, other, other_rank) else {
        return Standing::Best { by: None };
    };
    match (rank.better_by(other_rank), other_rank.better_by(rank)) {
        (Some(by), _) if owned => Standing::Stays { by },
        (Some(by), _) => Standing::Best { by: Some(by) },
        (None, Some(by)) => Standing::Worse { than, by },
        (None, None) => Standing::Best { by: None },
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owned { server, because } => write!(f, "on {server}: {because}"),
            Self::Leaves { server, because } => write!(f, "leaves {server}: {because}"),
            Self::Goes { server } => write!(f, "goes to {server}"),
            Self::Nowhere { because } => write!(f, "on no server: {because}"),
        }
    }
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => f.write_str("it is disabled"),
            Self::NotWanted => f.write_str("it is not wanted online"),
            Self::PulledUp { by } => write!(f, "{by} has started, and brings it back"),
            Self::OperatorStarts => f.write_str("its failover is manual: an operator starts it again"),
            Self::StoppedWith { on } => {
                write!(f, "it stopped with {on}, and nothing that brings it back has started since")
            }
            Self::NoServer => f.write_str("no server could take it"),
            Self::WaitsForCopy { volume, on } => {
                write!(f, "it waits for {}, which alone has a good copy of {volume}", names(on))
            }
            Self::Needs { named } => write!(f, "it needs {named}, which is not up where it could run"),
            Self::StartsAfter { named } => write!(f, "it starts after {named}, which is starting"),
            Self::OthersFirst { groups } => {
                let groups: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
                write!(f, "{} must be started for it first", groups.join(", "))
            }
            Self::WaitsForServers => {
                f.write_str("the cluster has just started, and a better server may be up in a moment")
            }
            Self::GivesWay => f.write_str("more of what hangs together with it can run without it"),
            Self::PoolsFirst => f.write_str("server pools are filled first"),
            Self::Suspended => f.write_str("the cluster is suspended, and nothing starts by itself"),
            Self::Stopping => f.write_str("the cluster is being shut down"),
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner => f.write_str("it runs there"),
            Self::Rejected { why } => write!(f, "{why}"),
            Self::Best { by: None } => f.write_str("the only one that could take it"),
            Self::Best { by: Some(by) } => write!(f, "the best: {by}"),
            Self::Worse { than, by } => write!(f, "{than} is better: {by}"),
            Self::Stays { by } => write!(f, "{by}, but what runs is not moved for that"),
        }
    }
}
