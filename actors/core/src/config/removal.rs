//! A configuration without one of its servers: taken out of every list, unless something would be
//! left that means something else without it.

use std::fmt;

use super::{ClusterConfig, PlacementPolicy, ResourceKind, TieBreak};
use crate::ids::{GroupName, MonitorName, PoolName, ResourceName, ServerName};

/// What a server cannot be taken out of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Needs {
    /// There is no other server.
    Cluster,
    /// A group that may run nowhere else.
    Group(GroupName),
    /// A resource that may run nowhere else.
    Resource(ResourceName),
    /// A pool of which it is the only allowed server: without it, any server would be allowed.
    Pool(PoolName),
    /// A monitor that only this server looks with: without it, every server would.
    Monitor(MonitorName),
    /// It is the tie-break of two servers.
    TieBreak,
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => write!(f, "the cluster has no other server"),
            Self::Group(name) => write!(f, "group {name} may run nowhere else"),
            Self::Resource(name) => write!(f, "resource {name} may run nowhere else"),
            Self::Pool(name) => write!(f, "server pool {name} allows no other server"),
            Self::Monitor(name) => write!(f, "monitor {name} looks from no other server"),
            Self::TieBreak => write!(f, "it breaks the tie of two servers (`witness`)"),
        }
    }
}

impl ClusterConfig {
    /// The configuration without this server. Numbers of others stay: blocks of voting files and
    /// instances of resources go by them.
    ///
    /// # Errors
    /// Everything that needs the server.
    pub fn without_server(&self, gone: &ServerName) -> Result<Self, Vec<Needs>> {
        let mut needs = Vec::new();
        let mut config = self.clone();
        config.servers.remove(gone);
        if !config.servers.values().any(|server| server.role.runs_groups()) {
            needs.push(Needs::Cluster);
        }
        if matches!(&config.settings.votes.tie_break, TieBreak::Witness { witness } if witness == gone) {
            needs.push(Needs::TieBreak);
        }
        for fence in config.settings.fences.values_mut() {
            fence.ports.remove(gone);
        }
        // A list that is left empty would mean: any.
        let last = |list: &mut Vec<ServerName>| {
            let named = list.contains(gone);
            list.retain(|server| server != gone);
            named && list.is_empty()
        };
        for (name, group) in &mut config.groups {
            if last(&mut group.servers) {
                needs.push(Needs::Group(name.clone()));
            }
            for resource in group.resources.values_mut() {
                forget_address(&mut resource.kind, gone);
            }
        }
        for (name, definition) in &mut config.resources {
            if last(&mut definition.hosting_members) && definition.placement == PlacementPolicy::Restricted {
                needs.push(Needs::Resource(name.clone()));
            }
            forget_address(&mut definition.resource.kind, gone);
        }
        for (name, pool) in &mut config.pools {
            if last(&mut pool.servers) {
                needs.push(Needs::Pool(name.clone()));
            }
        }
        for (name, monitor) in &mut config.monitors {
            if last(&mut monitor.servers) {
                needs.push(Needs::Monitor(name.clone()));
            }
        }
        if needs.is_empty() { Ok(config) } else { Err(needs) }
    }

    /// A number for a new server: above those of all others. Witnesses come behind the servers.
    #[must_use]
    pub fn next_number(&self) -> u32 {
        let servers = self.servers.values().filter(|server| server.role.runs_groups());
        servers.map(|server| server.number).max().unwrap_or(0) + 1
    }
}

fn forget_address(kind: &mut ResourceKind, gone: &ServerName) {
    match kind {
        ResourceKind::FloatingIp(floating) => drop(floating.per_server.remove(gone)),
        ResourceKind::MirrorDisk(disk) => drop(disk.per_server.remove(gone)),
        ResourceKind::Exec(_) => {}
    }
}
