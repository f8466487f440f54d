//! The placement decision: from a snapshot of the registry to the commands that should follow.
//!
//! Decided on the Raft leader only, over all units together: pools are filled, running units that
//! must go are released, and vacant ones are placed. What runs well is never moved for balance or
//! for a preference. Every decision names the objects it read (R12), so that it is refused if one
//! of them has moved on. The same input twice gives the same decisions; when they have been
//! applied, it gives none.

use std::{collections::BTreeSet, time::Duration};

use super::{board::Board, dependency::Reach, pools, release::Releases, start::Starts};
use crate::{
    ids::{PoolName, Revision, ServerName},
    reason::Reason,
    registry::{
        Command, Key, State,
        state::{ClusterMode, ServerMode},
    },
};

/// What placement decides from.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// The registry.
    pub state: &'a State,
    /// The servers whose lease the leader is renewing.
    pub fit: &'a BTreeSet<ServerName>,
    /// How long this leader has been deciding: a cold start waits a little for home servers.
    pub since_start: Duration,
}

/// One thing that should follow, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What.
    pub command: Command,
    /// Why.
    pub reason: Reason,
    /// What it was computed from.
    pub read: Vec<(Key, Revision)>,
}

/// Decides for all units.
#[must_use]
pub fn decide(input: &Input<'_>) -> Vec<Decision> {
    let Round { mut board, mut decisions, mode, pools_settled } = Round::begin(input);
    if mode == ClusterMode::Running {
        let reach = Reach::new(&board);
        decisions.extend(Starts::new(&mut board, &reach, input.since_start, pools_settled).decide());
    }
    decisions
}

/// A round in which everything but the starts has been decided.
pub(super) struct Round<'a> {
    pub(super) board: Board<'a>,
    decisions: Vec<Decision>,
    pub(super) mode: ClusterMode,
    /// Pools need not be filled first.
    pub(super) pools_settled: bool,
}

impl<'a> Round<'a> {
    pub(super) fn begin(input: &Input<'a>) -> Self {
        let mode = input.state.cluster_mode();
        let mut board = Board::new(input.state, Some(input.fit));
        let filled = if mode == ClusterMode::Running { fill_pools(input.state) } else { None };
        let pools_settled = filled.is_none();
        let mut decisions = Vec::from_iter(filled);
        decisions.extend(Releases::new(&mut board, mode, pools_settled).decide());
        Self { board, decisions, mode, pools_settled }
    }
}

/// Server pools are filled before anything that they say is looked at.
fn fill_pools(state: &State) -> Option<Decision> {
    if state.pools.is_empty() && state.pool_members.is_none() {
        return None;
    }
    let stays = |name: &&ServerName| {
        state.presence(name).is_some_and(|presence| presence.up && presence.mode == ServerMode::Active)
    };
    let available: BTreeSet<ServerName> = state.servers.keys().filter(stays).cloned().collect();
    let members = pools::fill(state, &available);
    let known = state.pool_members.as_ref().map(|item| &item.value);
    if known.map_or(members.is_empty(), |known| *known == members) {
        return None;
    }
    let mut changed: BTreeSet<PoolName> = BTreeSet::new();
    for server in state.servers.keys() {
        let (before, after) = (known.and_then(|known| known.get(server)), members.get(server));
        if before != after {
            changed.extend(before.into_iter().chain(after).cloned());
        }
    }
    let mut read = vec![Key::Settings, Key::Mode, Key::PoolMembers];
    read.extend(state.pools.keys().cloned().map(Key::Pool));
    read.extend(state.servers.keys().cloned().map(Key::Presence));
    Some(Decision {
        command: Command::FillPools { members },
        reason: Reason::PoolsFilled { pools: changed.into_iter().collect() },
        read: reads(state, read),
    })
}

/// The objects with their revisions, each once.
pub(super) fn reads(state: &State, keys: impl IntoIterator<Item = Key>) -> Vec<(Key, Revision)> {
    let mut read: Vec<(Key, Revision)> = Vec::new();
    for key in keys {
        if !read.iter().any(|(known, _)| *known == key) {
            let revision = state.revision_of(&key);
            read.push((key, revision));
        }
    }
    read
}
