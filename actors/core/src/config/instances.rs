//! From definitions to instances: the groups of one that the cluster makes by itself.

use std::collections::BTreeMap;

use super::{
    Cardinality, ClusterConfig, Exclusive, GroupConfig, InstanceOf, PlacementPolicy, ResourceDefinition,
};
use crate::ids::{GroupName, ResourceName, ServerName};

/// The name of the group that runs an instance: `db#1`. No name that people choose has a `#`.
#[must_use]
pub fn instance_name(resource: &ResourceName, number: u32) -> GroupName {
    GroupName::new(format!("{resource}#{number}"))
}

/// The resource whose instance a group is, from its name alone.
#[must_use]
pub fn resource_of(group: &GroupName) -> Option<ResourceName> {
    group.as_str().split_once('#').map(|(resource, _)| resource.into())
}

/// Every group that there is to run: those of the file and one for each instance.
#[must_use]
pub fn units(config: &ClusterConfig) -> BTreeMap<GroupName, GroupConfig> {
    let mut units = config.groups.clone();
    for (name, definition) in &config.resources {
        units.extend(instances(config, name, definition));
    }
    units
}

fn instances(
    config: &ClusterConfig,
    name: &ResourceName,
    definition: &ResourceDefinition,
) -> Vec<(GroupName, GroupConfig)> {
    let by_number = config.runners();
    let all: Vec<ServerName> = by_number.iter().map(|(server, _)| (*server).clone()).collect();
    let others = || all.iter().filter(|server| !definition.hosting_members.contains(server));
    let allowed: Vec<ServerName> = match definition.placement {
        _ if definition.cardinality == Cardinality::Local => all.clone(),
        PlacementPolicy::Balanced => all.clone(),
        PlacementPolicy::Favored => definition.hosting_members.iter().chain(others()).cloned().collect(),
        PlacementPolicy::Restricted => definition.hosting_members.clone(),
    };
    let one = |number: u32, bound: Option<ServerName>| {
        let servers = bound.as_ref().map_or_else(|| allowed.clone(), |server| vec![server.clone()]);
        let local = definition.cardinality == Cardinality::Local;
        let group = GroupConfig {
            on_quorum_loss: Default::default(),
            comment: definition.resource.comment.clone(),
            servers,
            startup: definition.auto_start,
            failover: definition.failover,
            failback: definition.failback,
            resources: BTreeMap::from([(name.clone(), definition.resource.clone())]),
            exclusive: Exclusive::No,
            placement: definition.placement.choice(),
            pools: if local { Vec::new() } else { definition.server_pools.clone() },
            load: definition.load,
            enabled: definition.enabled,
            start: definition.start.clone(),
            stop: definition.stop.clone(),
            instance: Some(InstanceOf { resource: name.clone(), number, bound, local }),
        };
        (instance_name(name, number), group)
    };
    match definition.cardinality {
        Cardinality::Number(count) => (1..=count).map(|number| one(number, None)).collect(),
        Cardinality::Uniform | Cardinality::Local => by_number
            .iter()
            .filter(|(server, _)| allowed.contains(server))
            .map(|(server, config)| one(config.number, Some((*server).clone())))
            .collect(),
    }
}
