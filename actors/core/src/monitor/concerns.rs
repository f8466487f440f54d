//! What the recovery of a finding mends on the server that found it.

use crate::{
    config::{MonitorConfig, MonitorKind, RecoveryTarget},
    ids::{GroupName, MonitorName, ResourceName, ServerName},
    registry::State,
};

/// The units that `server` owns and that the monitor's recovery concerns, each with its resources.
/// Nothing where the server owns none of them: a bad ping on a standby moves nothing. A unit that
/// is being released is left alone.
#[must_use]
pub fn concerns(
    state: &State,
    monitor: &MonitorConfig,
    server: &ServerName,
) -> Vec<(GroupName, Vec<ResourceName>)> {
    let owned = state.groups.iter().filter(|(_, group)| {
        let ownership = &group.ownership.value;
        ownership.owner.as_ref() == Some(server) && ownership.release.is_none()
    });
    let concerned = owned.filter_map(|(name, group)| {
        let resources = &group.config.as_ref()?.value.resources;
        let resources: Vec<ResourceName> = match &monitor.recovery.target {
            RecoveryTarget::Resource(only) => resources.keys().filter(|r| *r == only).cloned().collect(),
            RecoveryTarget::Group(only) if only != name => Vec::new(),
            RecoveryTarget::Group(_) | RecoveryTarget::Cluster => resources.keys().cloned().collect(),
        };
        (!resources.is_empty()).then(|| (name.clone(), resources))
    });
    concerned.collect()
}

/// The `pid` monitor on `server` that watches a resource's process. Where there is one, the end of
/// the process is its finding, with its recovery rules, and no failure by the resource's own.
#[must_use]
pub fn pid_monitor<'a>(
    state: &'a State,
    server: &ServerName,
    resource: &ResourceName,
) -> Option<&'a MonitorName> {
    let mut monitors = state.monitors.iter();
    let found = monitors.find(|(_, monitor)| {
        let config = &monitor.config.value;
        let here = config.servers.is_empty() || config.servers.contains(server);
        config.kind == MonitorKind::Pid && config.target.as_ref() == Some(resource) && here
    });
    found.map(|(name, _)| name)
}
