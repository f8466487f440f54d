//! What still needs a definition that is to be deleted.

use tasuki_core::{
    config::{ClusterConfig, Named, RecoveryTarget, StartDependency, StopDependency},
    ids::{PoolName, ResourceName, TypeName},
};

use super::Kind;

/// Everything that names it, as an operator calls it.
pub(super) fn by(config: &ClusterConfig, kind: Kind, name: &str) -> Vec<String> {
    match kind {
        Kind::Resource => resource(config, &name.into()),
        Kind::Type => resource_type(config, &name.into()),
        Kind::Pool => pool(config, &name.into()),
        Kind::Monitor => Vec::new(),
    }
}

fn resource(config: &ClusterConfig, name: &ResourceName) -> Vec<String> {
    let mut found = dependents(config, &Named::Resource(name.clone()));
    for (group, value) in &config.groups {
        for (member, value) in &value.resources {
            if value.depends_on.iter().flatten().any(|other| other == name) {
                found.push(format!("resource {member} (group {group})"));
            }
        }
    }
    for (monitor, value) in &config.monitors {
        let mends = value.recovery.target == RecoveryTarget::Resource(name.clone());
        if mends || value.target.as_ref() == Some(name) {
            found.push(format!("monitor {monitor}"));
        }
    }
    found
}

fn resource_type(config: &ClusterConfig, name: &TypeName) -> Vec<String> {
    let mut found = dependents(config, &Named::Type(name.clone()));
    let types = config.types.iter().filter(|(_, value)| value.base == *name);
    found.extend(types.map(|(other, _)| format!("type {other}")));
    for (group, value) in &config.groups {
        let members = value.resources.iter().filter(|(_, value)| value.type_name.as_ref() == Some(name));
        found.extend(members.map(|(member, _)| format!("resource {member} (group {group})")));
    }
    let alone = config.resources.iter().filter(|(_, value)| value.type_name == *name);
    found.extend(alone.map(|(resource, _)| format!("resource {resource}")));
    found
}

fn pool(config: &ClusterConfig, name: &PoolName) -> Vec<String> {
    let groups = config.groups.iter().filter(|(_, value)| value.pools.contains(name));
    let alone = config.resources.iter().filter(|(_, value)| value.server_pools.contains(name));
    let groups = groups.map(|(group, _)| format!("group {group}"));
    groups.chain(alone.map(|(resource, _)| format!("resource {resource}"))).collect()
}

/// Who has a start or stop dependency on it.
fn dependents(config: &ClusterConfig, on: &Named) -> Vec<String> {
    let names = |start: &[StartDependency], stop: &[StopDependency]| {
        start.iter().any(|one| one.on == *on) || stop.iter().any(|one| one.on == *on)
    };
    let groups = config.groups.iter().filter(|(_, group)| names(&group.start, &group.stop));
    let alone = config.resources.iter().filter(|(_, resource)| names(&resource.start, &resource.stop));
    let groups = groups.map(|(group, _)| format!("group {group}"));
    groups.chain(alone.map(|(resource, _)| format!("resource {resource}"))).collect()
}
