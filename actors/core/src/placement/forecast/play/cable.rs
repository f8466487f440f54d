//! Cables that are cut. A floating address ends with its cable, as the owner's watch on its
//! interface would say, and no start of it succeeds there. Programs notice nothing.

use super::{Impossible, Play, What};
use crate::{
    config::GroupConfig,
    group::lifecycle::Event,
    ids::{GroupName, NetworkName, ResourceName, ServerName},
    registry::{
        Refusal,
        state::{ClusterMode, ResourceState},
    },
};

impl Play<'_> {
    pub(super) fn cut(&mut self, server: &ServerName, network: &NetworkName) -> Result<(), Impossible> {
        let change = || format!("cutting the cable of {server} to {network}");
        let Some(entry) = self.state.servers.get(server) else {
            return Err(Impossible::Refused {
                change: change(),
                refusal: Refusal::NoSuchServer(server.clone()),
            });
        };
        let mut networks = self.state.settings.iter().flat_map(|settings| settings.value.networks.keys());
        if !networks.any(|known| known == network) && !entry.config.value.addresses.contains_key(network) {
            return Err(Impossible::NoNetwork(network.clone()));
        }
        self.dark.insert((server.clone(), network.clone()));
        self.say(What::Cut { server: server.clone(), network: network.clone() }, None);
        Ok(())
    }

    /// The address of this resource that has no cable on a server, and to which network.
    pub(super) fn dark(
        &self,
        config: &GroupConfig,
        resource: &ResourceName,
        server: &ServerName,
    ) -> Option<NetworkName> {
        self.all_dark(config, server).find(|(name, _)| *name == resource).map(|(_, network)| network.clone())
    }

    /// The addresses of a group that have no cable on a server.
    pub(super) fn all_dark<'c>(
        &'c self,
        config: &'c GroupConfig,
        server: &'c ServerName,
    ) -> impl Iterator<Item = (&'c ResourceName, &'c NetworkName)> {
        let networks = self.state.settings.as_ref().map(|settings| &settings.value.networks);
        // Without any cut, which is the rule, nothing is looked at.
        let addresses = (!self.dark.is_empty()).then(|| config.addresses_on(server));
        addresses.into_iter().flatten().filter_map(move |(resource, address)| {
            let mut cuts = self.dark.iter().filter(|(of, _)| of == server).map(|(_, network)| network);
            let network = cuts.find(|network| {
                networks.and_then(|all| all.get(*network)).is_some_and(|network| network.contains(address))
            })?;
            Some((resource, network))
        })
    }

    /// Whether something of a group is about to end on a server. While the cluster is suspended,
    /// nobody acts on it.
    pub(super) fn is_dark(&self, config: &GroupConfig, server: &ServerName) -> bool {
        self.all_dark(config, server).next().is_some() && self.state.cluster_mode() != ClusterMode::Suspended
    }

    /// What runs of a group on cables that are cut ends.
    pub(super) fn end_dark(&mut self, group: &GroupName) {
        let Some(owner) = self.owners.get(group) else { return };
        let (server, config) = (owner.server.clone(), owner.life.config());
        if !self.is_dark(config, &server) {
            return;
        }
        let up = |resource: &ResourceName| {
            owner.life.resources().any(|(name, state, _)| {
                name == resource && matches!(state, ResourceState::Online | ResourceState::Intermediate)
            })
        };
        let ends: Vec<(ResourceName, NetworkName)> = self
            .all_dark(config, &server)
            .filter(|(resource, _)| up(resource))
            .map(|(resource, network)| (resource.clone(), network.clone()))
            .collect();
        for (resource, network) in ends {
            let why = no_carrier(&network);
            let what = What::Fails {
                group: group.clone(),
                resource: resource.clone(),
                server: server.clone(),
                network,
                start: false,
            };
            self.say(what, None);
            self.tell(group, Event::Ended(resource, why));
        }
    }
}

/// What is said of an address without a cable.
pub(super) fn no_carrier(network: &NetworkName) -> String {
    format!("its cable to {network} carries nothing")
}
