//! Read-only views of the registry, for faces.

use std::sync::Arc;

use super::{Key, State, state::ConfigVersion};
use crate::{config::ClusterConfig, ids::Revision};

impl State {
    /// Every key that has an object, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        keys.extend(self.settings.as_ref().map(|_| Key::Settings));
        keys.extend(self.mode.as_ref().map(|_| Key::Mode));
        keys.extend(self.level.as_ref().map(|_| Key::Level));
        for (name, server) in &self.servers {
            keys.push(Key::ServerConfig(name.clone()));
            keys.extend(server.presence.as_ref().map(|_| Key::Presence(name.clone())));
        }
        for (name, group) in &self.groups {
            keys.extend(group.config.as_ref().map(|_| Key::GroupConfig(name.clone())));
            keys.push(Key::Target(name.clone()));
            keys.push(Key::Ownership(name.clone()));
            keys.extend(group.report.as_ref().map(|_| Key::Report(name.clone())));
            keys.push(Key::Failures(name.clone()));
            if !group.facts.is_empty() {
                keys.push(Key::Facts(name.clone()));
            }
        }
        keys.extend(self.types.keys().cloned().map(Key::Type));
        keys.extend(self.pools.keys().cloned().map(Key::Pool));
        keys.extend(self.pool_members.as_ref().map(|_| Key::PoolMembers));
        keys.extend(self.definitions.keys().cloned().map(Key::Definition));
        for (name, monitor) in &self.monitors {
            keys.push(Key::MonitorConfig(name.clone()));
            if !monitor.reports.is_empty() {
                keys.push(Key::MonitorReports(name.clone()));
            }
        }
        keys.extend(self.volumes.keys().cloned().map(Key::Volume));
        keys.extend(self.tokens.keys().map(|id| Key::Token(id.clone())));
        keys
    }

    /// The revision that changed the configuration last: cheap to compare before reading it whole.
    #[must_use]
    pub fn config_revision(&self) -> Revision {
        let settings = self.settings.iter().map(|item| item.modified);
        let servers = self.servers.values().map(|server| server.config.modified);
        let groups = self.groups.values().filter_map(|group| Some(group.config.as_ref()?.modified));
        let types = self.types.values().map(|item| item.modified);
        let pools = self.pools.values().map(|item| item.modified);
        let resources = self.definitions.values().map(|item| item.modified);
        let monitors = self.monitors.values().map(|monitor| monitor.config.modified);
        let version = self.versions.back().map(|version| version.revision);
        settings
            .chain(servers)
            .chain(groups)
            .chain(types)
            .chain(pools)
            .chain(resources)
            .chain(monitors)
            .chain(version)
            .max()
            .unwrap_or_default()
    }

    /// The configuration that was in force at a revision, when it is still kept.
    #[must_use]
    pub fn version(&self, revision: Revision) -> Option<&Arc<ConfigVersion>> {
        if revision > self.revision {
            return None;
        }
        self.versions.iter().rev().find(|version| version.revision <= revision)
    }

    /// The configuration as it was pushed last; `None` before the registry was initialised.
    #[must_use]
    pub fn config(&self) -> Option<ClusterConfig> {
        Some(ClusterConfig {
            settings: self.settings.as_ref()?.value.clone(),
            servers: self.servers.iter().map(|(n, s)| (n.clone(), s.config.value.clone())).collect(),
            groups: self
                .groups
                .iter()
                .filter_map(|(n, g)| Some((n.clone(), g.config.as_ref()?.value.clone())))
                .filter(|(_, group)| group.instance.is_none())
                .collect(),
            types: self.types.iter().map(|(n, item)| (n.clone(), item.value.clone())).collect(),
            pools: self.pools.iter().map(|(n, item)| (n.clone(), item.value.clone())).collect(),
            resources: self.definitions.iter().map(|(n, item)| (n.clone(), item.value.clone())).collect(),
            monitors: self.monitors.iter().map(|(n, m)| (n.clone(), m.config.value.clone())).collect(),
        })
    }
}
