//! Who would miss something that is taken out.

use std::{collections::BTreeSet, fmt};

use super::{Graph, Owner, TypeTree, type_of};
use crate::{
    config::{ClusterConfig, Named, RecoveryTarget},
    ids::{MonitorName, PoolName, ResourceName, TypeName},
};

/// What is to be taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A resource, in a group or outside.
    Resource(ResourceName),
    /// A type.
    Type(TypeName),
    /// A server pool.
    Pool(PoolName),
}

/// Who would miss it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dependent {
    /// A group or resource that names it in a dependency, or as its type or pool.
    Owner(Owner),
    /// A resource in a group.
    Member(ResourceName),
    /// A type that inherits from it.
    Type(TypeName),
    /// A monitor that watches it or that it is mended by.
    Monitor(MonitorName),
}

impl fmt::Display for Dependent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(owner) => owner.fmt(f),
            Self::Member(name) => write!(f, "resource `{name}`"),
            Self::Type(name) => write!(f, "type `{name}`"),
            Self::Monitor(name) => write!(f, "monitor `{name}`"),
        }
    }
}

/// Everything that names it, in order: it cannot be taken out before these.
#[must_use]
pub fn dependents_of(config: &ClusterConfig, subject: &Subject) -> Vec<Dependent> {
    let mut found: BTreeSet<Dependent> = BTreeSet::new();
    let tree = TypeTree::new(&config.types).unwrap_or_else(|_| TypeTree::built_in());
    let graph = Graph::new(config, tree);
    for node in &graph.nodes {
        let own = match subject {
            Subject::Resource(name) => matches!(&node.owner, Owner::Resource(own) if own == name),
            Subject::Type(_) | Subject::Pool(_) => false,
        };
        let mut names = node.start.iter().map(|d| &d.on).chain(node.stop.iter().map(|d| &d.on));
        let named = names.any(|on| match (subject, on) {
            (Subject::Resource(name), Named::Resource(on)) => name == on,
            (Subject::Type(name), Named::Type(on)) => name == on,
            _ => false,
        });
        let pooled = matches!(subject, Subject::Pool(pool) if node.pools.contains(pool));
        if !own && (named || pooled) {
            found.insert(Dependent::Owner(node.owner.clone()));
        }
    }
    match subject {
        Subject::Resource(name) => {
            let members = config.groups.values().flat_map(|group| &group.resources);
            let after = members
                .filter(|(_, member)| member.depends_on.as_ref().is_some_and(|before| before.contains(name)));
            found.extend(after.map(|(member, _)| Dependent::Member(member.clone())));
            let watches = config.monitors.iter().filter(|(_, monitor)| {
                monitor.target.as_ref() == Some(name)
                    || monitor.recovery.target == RecoveryTarget::Resource(name.clone())
            });
            found.extend(watches.map(|(monitor, _)| Dependent::Monitor(monitor.clone())));
        }
        Subject::Type(name) => {
            let heirs = config.types.iter().filter(|(_, config)| config.base == *name);
            found.extend(heirs.map(|(heir, _)| Dependent::Type(heir.clone())));
            let of_type = config.resources.iter().filter(|(_, definition)| definition.type_name == *name);
            found.extend(of_type.map(|(own, _)| Dependent::Owner(Owner::Resource(own.clone()))));
            let members = config.groups.values().flat_map(|group| &group.resources);
            let of_type = members.filter(|(_, member)| type_of(member) == *name);
            found.extend(of_type.map(|(own, _)| Dependent::Member(own.clone())));
        }
        Subject::Pool(_) => {}
    }
    found.into_iter().collect()
}
