//! Read-only views of the registry, for faces.

use super::{Key, State};
use crate::{config::ClusterConfig, ids::Revision};

impl State {
    /// Every key that has an object, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        keys.extend(self.settings.as_ref().map(|_| Key::Settings));
        keys.extend(self.mode.as_ref().map(|_| Key::Mode));
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
        }
        keys.extend(self.tokens.keys().map(|id| Key::Token(id.clone())));
        keys
    }

    /// The revision that changed the configuration last: cheap to compare before reading it whole.
    #[must_use]
    pub fn config_revision(&self) -> Revision {
        let settings = self.settings.iter().map(|item| item.modified);
        let servers = self.servers.values().map(|server| server.config.modified);
        let groups = self.groups.values().filter_map(|group| Some(group.config.as_ref()?.modified));
        settings.chain(servers).chain(groups).max().unwrap_or_default()
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
                .collect(),
        })
    }
}
