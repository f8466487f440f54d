//! Which server is in which server pool.
//!
//! Pools are filled to their minimum in order of importance, and then, in order of importance, from
//! the rest up to their maximum; what is left is in `Free`. Present members stay wherever the rules
//! allow: a pool below its minimum takes from `Free` first, then from pools above theirs, then from
//! less important ones. Pools of the same importance do not take from one another below the minimum,
//! and nobody's server is taken for what a pool may have above its own.
//!
//! The rules are one objective, compared part by part ([`Cost`]); [`matching`] finds its optimum, so
//! that a server goes by way of other pools where that helps.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    config::{
        Cardinality, PoolConfig,
        pool::{FREE, GENERIC},
    },
    ids::{PoolName, ServerName},
    registry::State,
};

mod matching;

use matching::{Cost, Problem};

/// The pool of each available server; those that are not named are in `Free`.
///
/// Filling what was filled so changes nothing.
#[must_use]
pub fn fill(state: &State, available: &BTreeSet<ServerName>) -> BTreeMap<ServerName, PoolName> {
    let named = generic_servers(state);
    let mut members: BTreeMap<ServerName, PoolName> = available
        .iter()
        .filter(|server| state.servers.contains_key(*server) && named.contains(server))
        .map(|server| (server.clone(), GENERIC.into()))
        .collect();
    if !state.pools.is_empty() {
        let filling = Filling::new(state, available, &named);
        members.extend(filling.members());
    }
    members
}

/// The servers that are in `Generic`: those that something placed in `Generic` names.
#[must_use]
pub fn generic_servers(state: &State) -> BTreeSet<&ServerName> {
    let generic = |pools: &[PoolName]| pools.iter().any(|pool| pool.as_str() == GENERIC);
    let definitions = state.definitions.values().map(|item| &item.value);
    let groups = state.groups.values().filter_map(|group| group.config.as_ref()).map(|item| &item.value);
    let hosting = definitions
        .filter(|definition| {
            definition.cardinality != Cardinality::Local && generic(&definition.server_pools)
        })
        .flat_map(|definition| &definition.hosting_members);
    let listed = groups
        .filter(|group| group.instance.is_none() && generic(&group.pools))
        .flat_map(|group| &group.servers);
    hosting.chain(listed).collect()
}

/// Whether a pool would have a server: its list has it, or is empty.
#[must_use]
pub fn takes(pool: &PoolConfig, server: &ServerName) -> bool {
    pool.servers.is_empty() || pool.servers.contains(server)
}

/// One filling: servers and pools by number, the pool after the last being `Free`.
struct Filling<'a> {
    servers: Vec<&'a ServerName>,
    /// The more important first, then by name.
    pools: Vec<(&'a PoolName, &'a PoolConfig)>,
    /// For each pool, how many different importances are above its own.
    rank: Vec<usize>,
    /// The pool that each server is in now, `Free` being none, and one that is configured no more
    /// being what it is not: `Free`.
    present: Vec<Option<usize>>,
}

impl<'a> Filling<'a> {
    fn new(state: &'a State, available: &BTreeSet<ServerName>, generic: &BTreeSet<&ServerName>) -> Self {
        let mut servers: Vec<_> = state
            .servers
            .iter()
            .filter(|(name, _)| available.contains(*name) && !generic.contains(name))
            .collect();
        servers.sort_by_key(|(name, entry)| (entry.config.value.number, *name));
        let mut pools: Vec<_> = state.pools.iter().map(|(name, item)| (name, &item.value)).collect();
        pools.sort_by_key(|(name, pool)| (std::cmp::Reverse(pool.importance), *name));
        let mut importances: Vec<u32> = pools.iter().map(|(_, pool)| pool.importance).collect();
        importances.dedup();
        let rank = pools
            .iter()
            .map(|(_, pool)| importances.iter().take_while(|above| **above > pool.importance).count())
            .collect();
        let members = state.pool_members.as_ref().map(|item| &item.value);
        let present = servers
            .iter()
            .map(|(name, _)| {
                let pool = members.and_then(|members| members.get(*name))?;
                pools.iter().position(|(known, _)| *known == pool)
            })
            .collect();
        Self { servers: servers.into_iter().map(|(name, _)| name).collect(), pools, rank, present }
    }

    fn members(&self) -> Vec<(ServerName, PoolName)> {
        let chosen = matching::solve(self);
        let named = self.servers.iter().zip(chosen).filter_map(|(server, pool)| {
            let (pool, _) = self.pools.get(pool)?; // past the last: Free
            Some(((*server).clone(), (*pool).clone()))
        });
        named.collect()
    }

    // The parts of the cost, the weightiest first: the minima of each importance together, servers
    // taken out of a pool, the minimum of each pool, the size of each pool, servers taken from Free.

    fn minima_of_rank(&self, pool: usize) -> usize {
        self.rank.get(pool).copied().unwrap_or_default()
    }

    fn taken(&self) -> usize {
        self.rank.iter().max().map_or(0, |last| last + 1)
    }

    fn minimum_of(&self, pool: usize) -> usize {
        self.taken() + 1 + pool
    }

    fn size_of(&self, pool: usize) -> usize {
        self.minimum_of(self.pools.len()) + pool
    }

    fn out_of_free(&self) -> usize {
        self.size_of(self.pools.len())
    }
}

impl Problem for Filling<'_> {
    fn servers(&self) -> usize {
        self.servers.len()
    }

    fn places(&self) -> usize {
        self.pools.len() + 1
    }

    fn cost_of_moving(&self, server: usize, to: usize) -> Option<Cost> {
        let name = self.servers.get(server)?;
        if let Some((_, pool)) = self.pools.get(to)
            && !takes(pool, name)
        {
            return None;
        }
        let free = to == self.pools.len();
        Some(match self.present.get(server).copied().flatten() {
            Some(pool) if pool == to => Cost::zero(),
            Some(_) => Cost::of(&[(self.taken(), 1)]),
            None if free => Cost::zero(),
            None => Cost::of(&[(self.out_of_free(), 1)]),
        })
    }

    fn cost_of_having(&self, place: usize, members: u32) -> Option<Cost> {
        let Some((_, pool)) = self.pools.get(place) else { return Some(Cost::zero()) };
        // A maximum below the minimum is the limit.
        if pool.max.is_some_and(|max| members >= max) {
            return None;
        }
        let size = (self.size_of(place), -1);
        Some(if members < pool.min {
            Cost::of(&[(self.minima_of_rank(place), -1), (self.minimum_of(place), -1), size])
        } else {
            Cost::of(&[size])
        })
    }
}

/// The pool that a server is in.
#[must_use]
pub fn pool_of(state: &State, server: &ServerName) -> PoolName {
    let members = state.pool_members.as_ref();
    members.and_then(|item| item.value.get(server)).cloned().unwrap_or_else(|| FREE.into())
}

#[cfg(test)]
mod tests;
