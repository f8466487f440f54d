//! Names that people would take for one another.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{
    config::{ClusterConfig, built_in, spelling::differ_by_case},
    ids::{ResourceName, TypeName},
};

/// What a name is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameKind {
    /// A server.
    Server,
    /// A network.
    Network,
    /// A group.
    Group,
    /// A resource, in a group or outside: one name in the whole cluster.
    Resource,
    /// A type.
    Type,
    /// A server pool.
    Pool,
    /// A monitor.
    Monitor,
}

impl fmt::Display for NameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Network => "network",
            Self::Group => "group",
            Self::Resource => "resource",
            Self::Type => "type",
            Self::Pool => "server pool",
            Self::Monitor => "monitor",
        })
    }
}

/// Two things of one kind whose names are the same, or the same but for capital letters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.sentence())]
pub struct NameProblem {
    /// Of what.
    pub kind: NameKind,
    /// The one that comes later.
    pub name: String,
    /// The one that comes first.
    pub other: String,
}

impl NameProblem {
    fn sentence(&self) -> String {
        let Self { kind, name, other } = self;
        if name == other {
            format!("two {kind}s are called `{name}`")
        } else {
            format!("the names of {kind}s `{name}` and `{other}` differ only by capital letters")
        }
    }
}

/// Every such pair.
#[must_use]
pub fn name_problems(config: &ClusterConfig) -> Vec<NameProblem> {
    let mut problems = Vec::new();
    let mut by_case = |kind, names: Vec<&str>| {
        for (name, other) in differ_by_case(names) {
            problems.push(NameProblem { kind, name: name.to_owned(), other: other.to_owned() });
        }
    };
    by_case(NameKind::Server, config.servers.keys().map(|name| name.as_str()).collect());
    by_case(NameKind::Network, config.settings.networks.keys().map(|name| name.as_str()).collect());
    by_case(NameKind::Group, config.groups.keys().map(|name| name.as_str()).collect());
    let resources: Vec<&ResourceName> = config
        .groups
        .values()
        .flat_map(|group| group.resources.keys())
        .chain(config.resources.keys())
        .collect();
    let once: BTreeSet<&str> = resources.iter().map(|name| name.as_str()).collect();
    by_case(NameKind::Resource, once.into_iter().collect());
    let built_in = built_in::TYPES.iter().map(|(name, ..)| *name);
    by_case(NameKind::Type, built_in.chain(config.types.keys().map(TypeName::as_str)).collect());
    by_case(NameKind::Pool, config.pools.keys().map(|name| name.as_str()).collect());
    by_case(NameKind::Monitor, config.monitors.keys().map(|name| name.as_str()).collect());
    let mut count: BTreeMap<&ResourceName, usize> = BTreeMap::new();
    for name in resources {
        *count.entry(name).or_default() += 1;
    }
    for (name, _) in count.into_iter().filter(|(_, count)| *count > 1) {
        let name = name.to_string();
        problems.push(NameProblem { kind: NameKind::Resource, other: name.clone(), name });
    }
    problems
}
