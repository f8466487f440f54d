//! A new configuration: wishes only (R35). Only objects that differ get a new revision, so that
//! what is decided about one group does not depend on edits to another.

use std::{collections::BTreeMap, sync::Arc};

use super::{Change, write::replace};
use crate::{
    config::ClusterConfig,
    ids::{Lineage, MonitorName, ServerName},
    registry::{
        Author, Item, Key, Refusal,
        state::{ConfigVersion, MonitorEntry, ServerEntry, VERSIONS_LIMIT, VERSIONS_RESOURCES_LIMIT},
    },
};

impl Change<'_> {
    pub(super) fn initialise(
        &mut self,
        lineage: &Lineage,
        config: &ClusterConfig,
        founder: &ServerName,
        author: &Author,
    ) -> Result<(), Refusal> {
        if self.state.lineage.is_some() {
            return Err(Refusal::AlreadyInitialised);
        }
        if !config.servers.contains_key(founder) {
            return Err(Refusal::NoSuchServer(founder.clone()));
        }
        self.state.lineage = Some(lineage.clone());
        self.set_config(config, author);
        self.admit(founder);
        Ok(())
    }

    pub(super) fn push_config(&mut self, config: &ClusterConfig, author: &Author) -> Result<(), Refusal> {
        self.may_leave_out(config, None)?;
        self.set_config(config, author);
        Ok(())
    }

    /// Members stay, but for the one that is being removed.
    pub(super) fn may_leave_out(
        &self,
        config: &ClusterConfig,
        removed: Option<&ServerName>,
    ) -> Result<(), Refusal> {
        let in_use = |name: &&ServerName| {
            let joined = self.state.presence(name).is_some();
            joined && !config.servers.contains_key(*name) && Some(*name) != removed
        };
        match self.state.servers.keys().find(in_use) {
            Some(server) => Err(Refusal::ServerInUse(server.clone())),
            None => self.keeps_good_copies(config),
        }
    }

    pub(super) fn set_config(&mut self, config: &ClusterConfig, author: &Author) {
        self.keep_version(config, author);
        self.set_catalogue(config);
        self.set_monitors(config);
        // A server that goes leaves nothing behind that has a revision: the profile's number counts
        // it as a change of the settings.
        let fewer = self.state.servers.keys().any(|name| !config.servers.contains_key(name));
        if fewer || self.state.settings.as_ref().map(|s| &s.value) != Some(&config.settings) {
            let item = self.renewed(config.settings.clone(), Key::Settings, |s| s.settings.as_ref());
            self.state.settings = Some(item);
        }
        self.set_servers(config);
        self.set_units(config);
        self.follow_configuration();
    }

    /// Keeps the configuration for `config diff` and `config rollback`; one that is the same as the
    /// last is no version of its own.
    fn keep_version(&mut self, config: &ClusterConfig, author: &Author) {
        if self.state.versions.back().is_some_and(|last| last.config == *config) {
            return;
        }
        let (revision, at) = (self.state.revision.next(), self.at);
        let version = ConfigVersion { revision, at, author: author.clone(), config: config.clone() };
        let versions = &mut self.state.versions;
        versions.push_back(Arc::new(version));
        // Large configurations are kept less long; the one before the present is always there.
        let resources = |v: &Arc<ConfigVersion>| {
            let members = v.config.groups.values().map(|group| group.resources.len()).sum::<usize>();
            members + v.config.resources.len()
        };
        while versions.len() > 2
            && (versions.len() > VERSIONS_LIMIT
                || versions.iter().map(resources).sum::<usize>() > VERSIONS_RESOURCES_LIMIT)
        {
            versions.pop_front();
        }
    }

    fn set_servers(&mut self, config: &ClusterConfig) {
        let gone: Vec<ServerName> =
            self.state.servers.keys().filter(|name| !config.servers.contains_key(*name)).cloned().collect();
        for name in gone {
            self.state.servers.remove(&name);
            self.touched(Key::ServerConfig(name));
        }
        for (name, server) in &config.servers {
            let known = self.state.servers.get(name);
            if known.is_some_and(|known| known.config.value == *server) {
                continue;
            }
            let key = Key::ServerConfig(name.clone());
            let item = self.renewed(server.clone(), key, |s| s.servers.get(name).map(|s| &s.config));
            match self.state.servers.get_mut(name) {
                Some(known) => known.config = item,
                None => {
                    self.state
                        .servers
                        .insert(name.clone(), ServerEntry { config: item, presence: None, fencing: None });
                }
            }
        }
    }

    /// Types, pools and definitions.
    fn set_catalogue(&mut self, config: &ClusterConfig) {
        let (next, at) = (self.state.revision.next(), self.at);
        let keys = &mut self.keys;
        replace(&mut self.state.types, &config.types, next, at, |name| keys.push(Key::Type(name)));
        replace(&mut self.state.pools, &config.pools, next, at, |name| keys.push(Key::Pool(name)));
        replace(&mut self.state.definitions, &config.resources, next, at, |name| {
            keys.push(Key::Definition(name));
        });
    }

    fn set_monitors(&mut self, config: &ClusterConfig) {
        let (next, at) = (self.state.revision.next(), self.at);
        let keys = &mut self.keys;
        let mut touched = |name: &MonitorName, before: Option<&MonitorEntry>| {
            keys.push(Key::MonitorConfig(name.clone()));
            if before.is_some_and(|before| !before.reports.is_empty()) {
                keys.push(Key::MonitorReports(name.clone()));
            }
        };
        self.state.monitors.retain(|name, entry| {
            let stays = config.monitors.contains_key(name);
            if !stays {
                touched(name, Some(entry));
            }
            stays
        });
        for (name, monitor) in &config.monitors {
            let known = self.state.monitors.get(name);
            if known.is_some_and(|known| known.config.value == *monitor) {
                continue;
            }
            touched(name, known);
            let created = known.map_or(next, |known| known.config.created);
            let config = Item { value: monitor.clone(), created, modified: next, at };
            // What was found by other rules says nothing any more.
            self.state.monitors.insert(name.clone(), MonitorEntry { config, reports: BTreeMap::new() });
        }
    }
}
