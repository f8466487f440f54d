//! Who could run a group now, in order of preference, and why the others could not.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    config::GroupConfig,
    ids::{GroupName, ServerName},
    registry::{
        State,
        state::{GroupEntry, ServerMode},
    },
};

/// Why a server cannot take a group now.
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
        }
    }
}

/// Whether a server could take a group now. `fit` are the servers whose lease is being renewed;
/// `None` leaves that question out.
///
/// # Errors
/// Why it could not.
pub fn could_run(
    state: &State,
    fit: Option<&BTreeSet<ServerName>>,
    group: &GroupConfig,
    server: &ServerName,
) -> Result<(), Rejection> {
    if !group.servers.contains(server) {
        return Err(Rejection::NotListed);
    }
    let presence = state.presence(server).ok_or(Rejection::NotJoined)?;
    if !presence.up {
        let because = presence.down_because.as_ref().map(ToString::to_string).unwrap_or_default();
        return Err(Rejection::Down { because });
    }
    if presence.mode != ServerMode::Active {
        return Err(Rejection::Leaving);
    }
    if fit.is_some_and(|fit| !fit.contains(server)) {
        return Err(Rejection::NoLease);
    }
    Ok(())
}

/// The servers that could take a group now, best first: those that have handed it on least often,
/// then in the group's order.
#[must_use]
pub fn candidates(
    state: &State,
    fit: &BTreeSet<ServerName>,
    entry: &GroupEntry,
    group: &GroupConfig,
) -> Vec<ServerName> {
    let mut servers: Vec<&ServerName> =
        group.servers.iter().filter(|s| could_run(state, Some(fit), group, s).is_ok()).collect();
    servers.sort_by_key(|server| handed_on(entry, server)); // stable: the group's order stays
    servers.into_iter().cloned().collect()
}

/// How often a server has handed a group on because of failures that still count.
#[must_use]
pub fn handed_on(entry: &GroupEntry, server: &ServerName) -> u32 {
    entry.failures.value.counts.values().filter_map(|by| by.get(server)).map(|count| count.failovers).sum()
}

/// Where an operator's or a plan's wish for a group stands, for explanations: each configured
/// server with its verdict.
#[must_use]
pub fn survey(state: &State, group: &GroupName) -> Vec<(ServerName, Result<(), Rejection>)> {
    let Some(config) = state.groups.get(group).and_then(|g| g.config.as_ref()) else { return Vec::new() };
    let mut servers: Vec<_> = state.servers.iter().collect();
    servers.sort_by_key(|(_, server)| server.config.value.number);
    servers.into_iter().map(|(name, _)| (name.clone(), could_run(state, None, &config.value, name))).collect()
}
