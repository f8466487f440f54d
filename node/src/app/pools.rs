//! Server pools as faces show them.

use serde::{Deserialize, Serialize};
use tasuki_core::{
    config::pool::{FREE, GENERIC},
    ids::{PoolName, ServerName},
    registry::State,
};

use super::{
    App, AppError, Caller, Role,
    resources::{ResourceError, nearest},
};

/// One pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolView {
    /// Its name.
    pub name: PoolName,
    /// It is part of Tasuki.
    pub built_in: bool,
    /// For people.
    pub comment: String,
    /// It is filled up to this many servers first.
    pub min: u32,
    /// It never has more.
    pub max: Option<u32>,
    /// The more important pool is filled first.
    pub importance: u32,
    /// Only these may be in it; any when empty.
    pub allowed: Vec<ServerName>,
    /// The servers that are in it, by number.
    pub servers: Vec<ServerName>,
    /// The resources and groups that name it.
    pub users: Vec<String>,
}

impl App {
    /// Every pool or one, as this server has applied it: the most important first, `Generic` and
    /// `Free` last.
    ///
    /// # Errors
    /// When the caller may not, or there is no such pool.
    pub fn pool_status(&self, by: &Caller, name: Option<&PoolName>) -> Result<Vec<PoolView>, AppError> {
        by.must_be(Role::Viewer)?;
        let state = self.applied();
        let mut pools = all(&state);
        if let Some(name) = name {
            pools.retain(|pool| pool.name == *name);
            if pools.is_empty() {
                return Err(no_such_pool(&state, name).into());
            }
        }
        Ok(pools)
    }
}

pub(super) fn no_such_pool(state: &State, name: &PoolName) -> ResourceError {
    let known = state.pools.keys().map(PoolName::as_str).chain([FREE, GENERIC]);
    ResourceError::NoSuchPool { name: name.to_string(), nearest: nearest(name.as_str(), known) }
}

/// Every pool, from the registry alone.
#[must_use]
pub fn all(state: &State) -> Vec<PoolView> {
    let mut pools: Vec<PoolView> = state
        .pools
        .iter()
        .map(|(name, item)| PoolView {
            built_in: false,
            comment: item.value.comment.clone(),
            min: item.value.min,
            max: item.value.max,
            importance: item.value.importance,
            allowed: item.value.servers.clone(),
            ..empty(state, name)
        })
        .collect();
    pools.sort_by(|a, b| b.importance.cmp(&a.importance).then_with(|| a.name.cmp(&b.name)));
    pools.extend([GENERIC, FREE].map(|name| empty(state, &name.into())));
    pools
}

fn empty(state: &State, name: &PoolName) -> PoolView {
    PoolView {
        name: name.clone(),
        built_in: true,
        comment: String::new(),
        min: 0,
        max: None,
        importance: 0,
        allowed: Vec::new(),
        servers: servers_of(state, name),
        users: users_of(state, name),
    }
}

/// The members that have joined, by number; who is in no pool is in `Free`.
fn servers_of(state: &State, name: &PoolName) -> Vec<ServerName> {
    let members = state.pool_members.as_ref().map(|members| &members.value);
    let pool_of = |server: &ServerName| members.and_then(|members| members.get(server));
    let mut servers: Vec<(u32, &ServerName)> = state
        .servers
        .iter()
        .filter(|(server, entry)| {
            entry.presence.is_some() && pool_of(server).map_or(name.as_str() == FREE, |pool| pool == name)
        })
        .map(|(server, entry)| (entry.config.value.number, server))
        .collect();
    servers.sort_unstable();
    servers.into_iter().map(|(_, server)| server.clone()).collect()
}

fn users_of(state: &State, name: &PoolName) -> Vec<String> {
    let definitions = state.definitions.iter().filter(|(_, item)| item.value.server_pools.contains(name));
    let groups = state.groups.iter().filter(|(_, entry)| {
        let config = entry.config.as_ref().map(|config| &config.value);
        config.is_some_and(|config| config.instance.is_none() && config.pools.contains(name))
    });
    let names = definitions.map(|(name, _)| name.to_string()).chain(groups.map(|(name, _)| name.to_string()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}
