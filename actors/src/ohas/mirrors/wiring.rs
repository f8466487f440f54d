//! What the configuration says of this server's copies: which there are, with whom, and where.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use tasuki_core::{
    config::{ClusterConfig, InitialCopy, MirrorDiskConfig, NetworkUse, OnDiskFailure, ResourceKind},
    ids::{GroupName, NetworkName, ServerName, VolumeName},
    mirror::state::Rules,
    registry::State,
};

/// A volume with a copy on this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// How its settings bear on the machine.
    pub rules: Rules,
    /// As configured.
    pub disk: MirrorDiskConfig,
}

/// The volumes of which `me` keeps a copy: those of the groups that it may run.
#[must_use]
pub fn configured(registry: &State, me: &ServerName) -> BTreeMap<VolumeName, Configured> {
    let mut found = BTreeMap::new();
    for (group, entry) in &registry.groups {
        let Some(config) = entry.config.as_ref().map(|item| &item.value) else { continue };
        if !config.servers.contains(me) {
            continue;
        }
        for (resource, config_of) in &config.resources {
            if let ResourceKind::MirrorDisk(disk) = &config_of.kind {
                let volume = VolumeName::from(resource.as_str());
                let rules = rules(&volume, group, me, &config.servers, disk);
                found.insert(volume, Configured { rules, disk: disk.clone() });
            }
        }
    }
    found
}

fn rules(
    volume: &VolumeName,
    group: &GroupName,
    me: &ServerName,
    servers: &[ServerName],
    disk: &MirrorDiskConfig,
) -> Rules {
    Rules {
        volume: volume.clone(),
        group: group.clone(),
        me: me.clone(),
        peers: servers.iter().filter(|server| *server != me).cloned().collect(),
        known_equal: disk.initial == InitialCopy::KnownEqual,
        automatic: disk.automatic,
        diskless: disk.on_disk_failure == OnDiskFailure::Diskless,
    }
}

/// The network of a volume's mirror data: the one it names, else the first for that use, else the
/// first between servers, else the first of all.
#[must_use]
pub fn network_of(config: &ClusterConfig, disk: &MirrorDiskConfig) -> Option<NetworkName> {
    let networks = &config.settings.networks;
    let first_for = |wanted: NetworkUse| {
        networks.iter().find(|(_, network)| network.uses.contains(&wanted)).map(|(name, _)| name.clone())
    };
    disk.network
        .clone()
        .or_else(|| first_for(NetworkUse::Mirror))
        .or_else(|| first_for(NetworkUse::Interconnect))
        .or_else(|| networks.keys().next().cloned())
}

/// Where a server answers for a volume. None where it has no address on that network.
#[must_use]
pub fn places_of(config: &ClusterConfig, disk: &MirrorDiskConfig, server: &ServerName) -> Vec<SocketAddr> {
    let address = |network: NetworkName| -> Option<IpAddr> {
        config.servers.get(server)?.addresses.get(&network).copied()
    };
    let found = network_of(config, disk).and_then(address);
    found.map(|ip| SocketAddr::new(ip, disk.port)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tasuki_core::config::{ClusterSettings, Network, ServerConfig};
    use tasuki_core::timing::Timing;

    fn cluster(networks: &[(&str, u8, NetworkUse)]) -> ClusterConfig {
        let address = |n: u8| IpAddr::from([10, n, 0, 1]);
        let server = ServerConfig {
            number: 1,
            comment: String::new(),
            addresses: networks.iter().map(|(name, n, _)| (NetworkName::from(*name), address(*n))).collect(),
            role: Default::default(),
            domain: None,
            fencing: Vec::new(),
        };
        let network =
            |n: u8, wanted| Network { subnet: [10, n, 0, 0].into(), prefix: 24, uses: vec![wanted] };
        ClusterConfig {
            settings: ClusterSettings {
                name: "c".into(),
                comment: String::new(),
                timing: Timing::from_detect(std::time::Duration::from_secs(1)),
                startup_wait: std::time::Duration::ZERO,
                networks: networks.iter().map(|(name, n, u)| ((*name).into(), network(*n, *u))).collect(),
                heartbeats: Vec::new(),
                port: 1,
                heartbeat_port: 2,
                votes: Default::default(),
                fences: BTreeMap::new(),
                on_hang: Default::default(),
            },
            servers: BTreeMap::from([("kiki".into(), server)]),
            groups: BTreeMap::new(),
            types: BTreeMap::new(),
            pools: BTreeMap::new(),
            resources: BTreeMap::new(),
            monitors: BTreeMap::new(),
        }
    }

    #[test]
    fn mirror_data_goes_over_the_network_named_or_made_for_it() {
        let mut disk = MirrorDiskConfig::of("/d".into(), "/m".into());
        let all = cluster(&[
            ("a-public", 1, NetworkUse::Public),
            ("inter", 2, NetworkUse::Interconnect),
            ("mirror", 3, NetworkUse::Mirror),
        ]);
        let at = |config: &ClusterConfig, disk: &MirrorDiskConfig| places_of(config, disk, &"kiki".into());
        assert_eq!(
            at(&all, &disk),
            ["10.3.0.1:29051".parse().ok()].into_iter().flatten().collect::<Vec<_>>()
        );
        disk.network = Some("inter".into());
        assert_eq!(at(&all, &disk)[0].ip(), IpAddr::from([10, 2, 0, 1]));
        disk.network = None;
        let few = cluster(&[("a-public", 1, NetworkUse::Public), ("inter", 2, NetworkUse::Interconnect)]);
        assert_eq!(at(&few, &disk)[0].ip(), IpAddr::from([10, 2, 0, 1]));
        assert!(places_of(&all, &disk, &"nobody".into()).is_empty());
    }
}
