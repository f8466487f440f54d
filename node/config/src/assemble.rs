//! From the checked draft to the types that the cluster keeps.

use std::collections::BTreeMap;

use tasuki_core::{
    config::{
        ClusterConfig, ClusterSettings, FloatingIpConfig, GroupConfig, HeartbeatPath, Network, NetworkUse,
        ResourceConfig, ResourceKind, ServerConfig,
    },
    ids::{NetworkName, ResourceName, ServerName},
};
use toml::Spanned;

use crate::{
    draft::{Draft, FloatingIpDraft, GroupDraft, KindDraft, ResourceDraft},
    net::bits,
    source::Span,
};

/// Where the commands of exec resources stand: group, resource, `start` or `stop`.
pub(crate) type ScriptSpans = BTreeMap<(String, String, &'static str), Span>;

/// The configuration. `None` when something is missing that the reader must have reported.
pub(crate) fn assemble(draft: Draft) -> Option<(ClusterConfig, ScriptSpans)> {
    let cluster = draft.cluster?;
    let mut networks = BTreeMap::new();
    for network in draft.networks {
        let subnet = network.subnet?;
        let value = Network { subnet: subnet.address, prefix: subnet.prefix, uses: network.uses };
        networks.insert(NetworkName::new(network.name?.into_inner()), value);
    }
    let lan = |name: String| HeartbeatPath::Lan { network: NetworkName::new(name) };
    let heartbeats = draft.heartbeats.into_iter().map(|h| Some(lan(h.network?.into_inner())));
    let mut servers = BTreeMap::new();
    for (number, server) in (1u32..).zip(draft.servers) {
        let addresses = server.addresses.into_iter();
        let addresses = addresses
            .map(|(network, address)| Some((NetworkName::new(network.into_inner()), address?.into_inner())))
            .collect::<Option<_>>()?;
        let value = ServerConfig { number, comment: server.comment, addresses };
        servers.insert(ServerName::new(server.name?.into_inner()), value);
    }
    let settings = ClusterSettings {
        name: cluster.name?.into_inner(),
        comment: cluster.comment,
        timing: cluster.timing?,
        startup_wait: cluster.startup_wait,
        networks,
        heartbeats: heartbeats.collect::<Option<_>>()?,
        port: cluster.port,
        heartbeat_port: cluster.heartbeat_port,
    };
    let mut groups = BTreeMap::new();
    let mut spans = ScriptSpans::new();
    for group in draft.groups {
        let name = group.name.as_ref()?.get_ref().as_str().into();
        groups.insert(name, assemble_group(group, &settings.networks, &mut spans)?);
    }
    let config = ClusterConfig {
        settings,
        servers,
        groups,
        types: BTreeMap::new(),
        pools: BTreeMap::new(),
        resources: BTreeMap::new(),
        monitors: BTreeMap::new(),
    };
    Some((config, spans))
}

fn assemble_group(
    group: GroupDraft,
    networks: &BTreeMap<NetworkName, Network>,
    spans: &mut ScriptSpans,
) -> Option<GroupConfig> {
    let group_name = group.name?.into_inner();
    let mut resources = BTreeMap::new();
    for resource in group.resources {
        let name = resource.name.as_ref()?.get_ref().clone();
        if let Some(KindDraft::Exec(exec)) = &resource.kind {
            let commands = [("start", Some(exec.start.clone())), ("stop", exec.stop.clone())];
            for (key, span) in commands {
                span.map(|span| spans.insert((group_name.clone(), name.clone(), key), span));
            }
        }
        resources.insert(ResourceName::new(name), assemble_resource(resource, networks)?);
    }
    Some(GroupConfig {
        comment: group.comment,
        servers: group.servers.into_iter().map(|server| ServerName::new(server.into_inner())).collect(),
        startup: group.startup,
        failover: group.failover,
        failback: group.failback,
        resources,
        ..GroupConfig::default()
    })
}

fn assemble_resource(
    resource: ResourceDraft,
    networks: &BTreeMap<NetworkName, Network>,
) -> Option<ResourceConfig> {
    let named = |name: Spanned<String>| ResourceName::new(name.into_inner());
    let kind = match resource.kind? {
        KindDraft::Exec(exec) => ResourceKind::Exec(exec.config),
        KindDraft::FloatingIp(floating) => ResourceKind::FloatingIp(assemble_address(floating, networks)?),
    };
    Some(ResourceConfig {
        comment: resource.comment,
        depends_on: resource.depends_on.map(|list| list.into_iter().map(named).collect()),
        on_start_failure: resource.on_start_failure,
        on_stop_failure: resource.on_stop_failure,
        ..ResourceConfig::of(kind)
    })
}

fn assemble_address(
    floating: FloatingIpDraft,
    networks: &BTreeMap<NetworkName, Network>,
) -> Option<FloatingIpConfig> {
    let address = floating.address?.into_inner();
    let per_server = floating.per_server.into_iter();
    let per_server = per_server
        .map(|(server, address)| Some((ServerName::new(server.into_inner()), address?.into_inner())))
        .collect::<Option<_>>()?;
    let prefix = floating.prefix.map(Spanned::into_inner);
    let prefix = prefix.or_else(|| network_prefix(address, networks)).unwrap_or_else(|| bits(address));
    Some(FloatingIpConfig { address, prefix, device: floating.device, per_server })
}

/// The prefix of the public network that an address belongs to.
pub(crate) fn network_prefix(
    address: std::net::IpAddr,
    networks: &BTreeMap<NetworkName, Network>,
) -> Option<u8> {
    networks
        .values()
        .filter(|network| network.uses.contains(&NetworkUse::Public))
        .find(|network| {
            crate::net::Subnet { address: network.subnet, prefix: network.prefix }.contains(address)
        })
        .map(|network| network.prefix)
}
