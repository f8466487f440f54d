//! Whether the server pools can be filled as they ask, and whether they exist.

use std::{cmp::Reverse, collections::BTreeSet, fmt};

use super::{Graph, Owner, TypeTree};
use crate::{
    config::{
        ClusterConfig, PoolConfig,
        pool::{FREE, GENERIC},
        spelling::nearest,
    },
    ids::{PoolName, ServerName},
};

/// Something wrong with a server pool, or with who names one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolProblem {
    /// The pool, as it is named.
    pub pool: PoolName,
    /// Who names it, if that is what is wrong.
    pub owner: Option<Owner>,
    /// What is wrong.
    pub fault: PoolFault,
}

/// What is wrong with a server pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolFault {
    /// `Free` and `Generic` make themselves.
    #[error("`{0}` is a server pool that exists by itself")]
    Reserved(&'static str),
    /// More at least than at most.
    #[error("at least {min} servers and at most {max}")]
    MinAboveMax {
        /// `min`
        min: u32,
        /// `max`
        max: u32,
    },
    /// No such server.
    #[error("no server is called `{server}`")]
    NoServer {
        /// What stands there.
        server: ServerName,
        /// What was probably meant.
        near: Option<ServerName>,
    },
    /// Not even with all servers up.
    #[error(
        "at least {min} servers can never be in it: {got} {} left for it when all servers are up{}",
        is(*got),
        after(before)
    )]
    TooFew {
        /// `min`
        min: u32,
        /// How many there would be.
        got: u32,
        /// The pools that are filled before it.
        before: Vec<PoolName>,
    },
    /// Somebody names a pool that does not exist.
    #[error("no server pool is called so")]
    Unknown {
        /// What was probably meant.
        near: Option<PoolName>,
    },
}

fn is(count: u32) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

fn after(before: &[PoolName]) -> String {
    if before.is_empty() {
        return String::new();
    }
    let names: Vec<String> = before.iter().map(|pool| format!("`{pool}`")).collect();
    format!(", after {}", names.join(", "))
}

impl PoolFault {
    /// What could stand there.
    #[must_use]
    pub fn expected(&self) -> String {
        match self {
            Self::Reserved(_) => "another name".to_owned(),
            Self::MinAboveMax { max, .. } => format!("a `min` of 0 to {max}"),
            Self::NoServer { .. } => "the name of a server".to_owned(),
            Self::TooFew { got, .. } => format!("a `min` of 0 to {got}"),
            Self::Unknown { .. } => format!("a server pool, `{FREE}` or `{GENERIC}`"),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Reserved(_) => "rename it".to_owned(),
            Self::MinAboveMax { .. } => "make `min` smaller or `max` greater".to_owned(),
            Self::NoServer { near: Some(near), .. } => format!("did you mean `{near}`?"),
            Self::NoServer { near: None, .. } => "add that server, or take it out here".to_owned(),
            Self::TooFew { .. } => "make a `min` smaller, or let more servers be in it".to_owned(),
            Self::Unknown { near: Some(near) } => format!("did you mean `{near}`?"),
            Self::Unknown { near: None } => "add that server pool, or take it out here".to_owned(),
        }
    }
}

impl fmt::Display for PoolProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            Some(owner) => write!(f, "{owner}: server pool `{}`: {}", self.pool, self.fault),
            None => write!(f, "server pool `{}`: {}", self.pool, self.fault),
        }
    }
}

/// Everything that is wrong with the server pools of a configuration.
#[must_use]
pub fn pool_problems(config: &ClusterConfig) -> Vec<PoolProblem> {
    let mut problems = Vec::new();
    for (name, pool) in &config.pools {
        let mut wrong = |fault| problems.push(PoolProblem { pool: name.clone(), owner: None, fault });
        for reserved in [FREE, GENERIC] {
            if name.as_str().eq_ignore_ascii_case(reserved) {
                wrong(PoolFault::Reserved(reserved));
            }
        }
        if let Some(max) = pool.max.filter(|max| *max < pool.min) {
            wrong(PoolFault::MinAboveMax { min: pool.min, max });
        }
        for server in pool.servers.iter().filter(|server| !config.servers.contains_key(*server)) {
            let known = config.servers.keys().map(ServerName::as_str);
            let near = nearest(server.as_str(), known).map(ServerName::from);
            wrong(PoolFault::NoServer { server: server.clone(), near });
        }
    }
    let tree = TypeTree::new(&config.types).unwrap_or_else(|_| TypeTree::built_in());
    for node in &Graph::new(config, tree).nodes {
        for pool in node.pools {
            if config.pools.contains_key(pool) || [FREE, GENERIC].contains(&pool.as_str()) {
                continue;
            }
            let known = config.pools.keys().map(PoolName::as_str).chain([FREE, GENERIC]);
            let near = nearest(pool.as_str(), known).map(PoolName::from);
            let (pool, owner) = (pool.clone(), Some(node.owner.clone()));
            problems.push(PoolProblem { pool, owner, fault: PoolFault::Unknown { near } });
        }
    }
    minima(config, &mut problems);
    problems
}

/// Whether every pool can have its least number of servers at once, when all are up: each pool in
/// the order in which they are filled, with what those before it leave.
fn minima(config: &ClusterConfig, problems: &mut Vec<PoolProblem>) {
    let kept = kept_by_generic(config);
    let servers: Vec<&ServerName> =
        config.runners().into_iter().map(|(name, _)| name).filter(|name| !kept.contains(name)).collect();
    let mut pools: Vec<(&PoolName, &PoolConfig)> =
        config.pools.iter().filter(|(_, pool)| pool.max.is_none_or(|max| max >= pool.min)).collect();
    pools.sort_by_key(|(name, pool)| (Reverse(pool.importance), *name));
    let mut matching = Matching { holder: vec![None; servers.len()], servers: &servers, pools: &pools };
    for (at, (name, pool)) in pools.iter().enumerate() {
        let got = (0..pool.min).take_while(|_| matching.one_more(at)).count();
        let got = u32::try_from(got).unwrap_or(u32::MAX);
        if got < pool.min {
            let before = pools[..at].iter().filter(|(_, pool)| pool.min > 0);
            let before = before.map(|(name, _)| (*name).clone()).collect();
            let fault = PoolFault::TooFew { min: pool.min, got, before };
            problems.push(PoolProblem { pool: (*name).clone(), owner: None, fault });
        }
    }
}

/// The servers that `Generic` has: those that its users name.
fn kept_by_generic(config: &ClusterConfig) -> BTreeSet<&ServerName> {
    let generic = |pools: &[PoolName]| pools.iter().any(|pool| pool.as_str() == GENERIC);
    let groups =
        config.groups.values().filter(|group| generic(&group.pools)).flat_map(|group| &group.servers);
    let resources = config.resources.values().filter(|definition| generic(&definition.server_pools));
    groups.chain(resources.flat_map(|definition| &definition.hosting_members)).collect()
}

/// Which pool holds which server.
struct Matching<'a> {
    holder: Vec<Option<usize>>,
    servers: &'a [&'a ServerName],
    pools: &'a [(&'a PoolName, &'a PoolConfig)],
}

impl Matching<'_> {
    /// Gives a pool one more server, if need be by letting another pool change to another server.
    fn one_more(&mut self, pool: usize) -> bool {
        let mut tried = vec![false; self.servers.len()];
        self.find(pool, &mut tried)
    }

    fn find(&mut self, pool: usize, tried: &mut [bool]) -> bool {
        for server in 0..self.servers.len() {
            let list = &self.pools[pool].1.servers;
            let listed = list.is_empty() || list.contains(self.servers[server]);
            if !listed || tried[server] {
                continue;
            }
            tried[server] = true;
            let free = match self.holder[server] {
                None => true,
                Some(holder) => self.find(holder, tried),
            };
            if free {
                self.holder[server] = Some(pool);
                return true;
            }
        }
        false
    }
}
