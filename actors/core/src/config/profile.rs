//! The profile: what a server must know of its cluster before its registry has told it anything,
//! that is networks and their use, heartbeat paths, servers with their addresses, ports, times, and
//! where votes are. It follows the registry, and its number grows with each change.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ClusterConfig, ClusterSettings, NetworkUse, ServerConfig};
use crate::{
    ids::{Lineage, Revision, ServerName},
    registry::State,
};

/// The profile of one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Of which registry (R24).
    pub lineage: Lineage,
    /// The revision at which anything of it changed last. The largest number wins.
    pub sequence: Revision,
    /// The settings, without fencing devices: those may hold secrets, and nobody fences before the
    /// registry says so.
    pub settings: ClusterSettings,
    /// The servers, without what fences them.
    pub servers: BTreeMap<ServerName, ServerConfig>,
}

impl Profile {
    /// The profile that a registry gives; `None` before it has settings.
    #[must_use]
    pub fn of(state: &State) -> Option<Self> {
        let settings = state.settings.as_ref()?.value.clone();
        let servers = state.servers.iter().map(|(name, server)| (name.clone(), server.config.value.clone()));
        Some(Self::new(state.lineage.clone()?, Self::sequence_of(state), settings, servers.collect()))
    }

    /// The profile of a configuration that no registry has yet: the oldest of all.
    #[must_use]
    pub fn first(lineage: Lineage, config: &ClusterConfig) -> Self {
        Self::new(lineage, Revision(0), config.settings.clone(), config.servers.clone())
    }

    fn new(
        lineage: Lineage,
        sequence: Revision,
        mut settings: ClusterSettings,
        mut servers: BTreeMap<ServerName, ServerConfig>,
    ) -> Self {
        settings.fences.clear();
        servers.values_mut().for_each(|server| server.fencing.clear());
        Self { lineage, sequence, settings, servers }
    }

    /// The number of a registry's profile: the same on every server that has applied as much.
    #[must_use]
    pub fn sequence_of(state: &State) -> Revision {
        let servers = state.servers.values().map(|server| server.config.modified);
        let settings = state.settings.as_ref().map(|settings| settings.modified);
        servers.chain(settings).max().unwrap_or_default()
    }

    /// Brings a configuration up to this profile, and leaves the rest of it alone.
    pub fn apply_to(&self, config: &mut ClusterConfig) {
        let fences = std::mem::take(&mut config.settings.fences);
        config.settings = ClusterSettings { fences, ..self.settings.clone() };
        let mut before = std::mem::take(&mut config.servers);
        config.servers = self
            .servers
            .iter()
            .map(|(name, server)| {
                let fencing = before.remove(name).map(|before| before.fencing).unwrap_or_default();
                (name.clone(), ServerConfig { fencing, ..server.clone() })
            })
            .collect();
    }

    /// Whether a network is set apart for the traffic between servers.
    #[must_use]
    pub fn has_interconnect(&self) -> bool {
        has_interconnect(&self.settings)
    }
}

/// Whether a network is set apart for the traffic between servers.
#[must_use]
pub fn has_interconnect(settings: &ClusterSettings) -> bool {
    settings.networks.values().any(|network| network.uses.contains(&NetworkUse::Interconnect))
}
