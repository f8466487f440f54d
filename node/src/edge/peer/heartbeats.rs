//! The port `LinkSocket` over every kind of path: datagrams on networks, and beside them serial lines
//! and shared disks. A path is found by its name.

use std::{
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tasuki_actors::ports::{Datagram, LinkSocket};
use tasuki_core::{
    config::{ClusterConfig, HeartbeatPath, Role},
    ids::{Incarnation, NetworkName, ServerName},
};
use tokio::sync::mpsc;

use super::{
    Cuts, LinkCounts, UdpLinks,
    aside::{Aside, AsideLink},
    datagram::Seal,
    link_socket::add,
};
use crate::identity::Identity;

/// The heartbeat paths of this server. Closed when dropped.
pub struct HeartbeatPaths {
    server: ServerName,
    lan: UdpLinks,
    aside: Arc<Aside>,
    links: Mutex<BTreeMap<NetworkName, AsideLink>>,
}

impl fmt::Debug for HeartbeatPaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeartbeatPaths").field("lan", &self.lan).finish_non_exhaustive()
    }
}

impl HeartbeatPaths {
    /// Starts to receive on all the paths of a configuration. Needs a running tokio runtime.
    #[must_use]
    pub fn new(
        identity: &Identity,
        incarnation: Incarnation,
        config: &ClusterConfig,
        cuts: Arc<Cuts>,
    ) -> Self {
        let own = own_addresses(config, identity.server());
        let port = config.settings.heartbeat_port;
        let lan = UdpLinks::with_ports(identity, incarnation, own, port, config.own_ports(), cuts.clone());
        let seal = Seal::new(identity.link_key(), identity.lineage());
        let aside = Aside::new(identity.server().clone(), incarnation, seal, cuts, lan.queue());
        let paths =
            Self { server: identity.server().clone(), lan, aside: Arc::new(aside), links: Mutex::default() };
        paths.configure_aside(config);
        paths
    }

    /// The configuration has changed: paths that stay are left alone.
    pub fn configure(&self, config: &ClusterConfig) {
        self.lan.set_ports(config.own_ports());
        self.lan.set_port(config.settings.heartbeat_port);
        self.lan.set_own(own_addresses(config, &self.server));
        self.configure_aside(config);
    }

    /// What has become of datagrams on networks, and beside them.
    #[must_use]
    pub fn counts(&self) -> (LinkCounts, LinkCounts) {
        (self.lan.counts(), self.aside.counts())
    }

    fn configure_aside(&self, config: &ClusterConfig) {
        let servers = || config.servers.iter().filter(|(_, server)| server.role == Role::Server);
        self.aside.set_numbers(servers().map(|(name, server)| (name.clone(), server.number)).collect());
        // A witness has no cable but its network's.
        let takes_part = servers().any(|(name, _)| *name == self.server);
        let wanted: BTreeMap<NetworkName, &HeartbeatPath> = config
            .settings
            .heartbeats
            .iter()
            .filter(|_| takes_part)
            .map(|path| (path.name(), path))
            .filter(|(name, _)| HeartbeatPath::is_evidence_only(name))
            .collect();
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|name, _| wanted.contains_key(name));
        for (name, path) in wanted {
            if !links.contains_key(&name)
                && let Some(link) = AsideLink::start(path, &self.aside)
            {
                links.insert(name, link);
            }
        }
    }

    fn send_aside(&self, to: &ServerName, path: &NetworkName, body: &[u8]) -> Option<()> {
        let (number, datagram) = self.aside.close(to, path, body)?;
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.get(path)?.send(number, datagram).then_some(())
    }
}

fn own_addresses(config: &ClusterConfig, server: &ServerName) -> BTreeMap<NetworkName, IpAddr> {
    config.servers.get(server).map(|server| server.addresses.clone()).unwrap_or_default()
}

impl LinkSocket for HeartbeatPaths {
    fn send(&self, to: &ServerName, path: &NetworkName, body: &[u8]) {
        if !HeartbeatPath::is_evidence_only(path) {
            return self.lan.send(to, path, body);
        }
        let counters = &self.aside.counters;
        match self.send_aside(to, path, body) {
            Some(()) => add(&counters.sent),
            None => add(&counters.not_sent),
        }
    }

    fn set_peers(&self, peers: BTreeMap<ServerName, BTreeMap<NetworkName, IpAddr>>) {
        self.lan.set_peers(peers);
    }

    fn incoming(&self) -> Option<mpsc::Receiver<Datagram>> {
        self.lan.incoming()
    }
}
