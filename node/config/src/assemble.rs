//! From the checked draft to the types that the cluster keeps.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use tasuki_core::{
    config::{
        ClusterConfig, ClusterSettings, FenceConfig, FloatingIpConfig, GroupConfig, HeartbeatPath,
        MirrorAreas, MirrorDiskConfig, MonitorConfig, MonitorKind, Network, NetworkUse, PoolConfig,
        RecoveryConfig, RecoveryTarget, ResourceConfig, ResourceDefinition, ResourceKind, Role, ServerConfig,
        TieBreak, Votes, mirror_monitors,
    },
    ids::{FenceName, GroupName, NetworkName, PoolName, ResourceName, ServerName},
};
use toml::Spanned;

use crate::{
    draft::{
        DefinitionDraft, Draft, FenceDraft, FloatingIpDraft, GroupDraft, HeartbeatDraft, HeartbeatKind,
        KindDraft, MirrorDraft, MonitorDraft, MonitorKindDraft, Name, Placed, PoolDraft, ResourceDraft,
        TieBreakWord, VotesDraft, WitnessDraft, WitnessKind,
    },
    net::bits,
    scripts::Owner,
    section::{types, votes::DEFAULT_DISK_TIMEOUT},
    source::Span,
};

/// Where commands stand: whose, and under which key.
pub(crate) type ScriptSpans = BTreeMap<(Owner, &'static str), Span>;

/// The configuration. `None` when something is missing that the reader must have reported.
pub(crate) fn assemble(draft: Draft) -> Option<(ClusterConfig, ScriptSpans)> {
    let numbers = draft.numbers();
    let named = |level: Vec<&Name>| level.into_iter().map(|name| name.get_ref().as_str().into()).collect();
    let levels = draft.servers.iter().map(|server| draft.levels_of(server).into_iter().map(named).collect());
    let levels: Vec<Vec<Vec<FenceName>>> = levels.collect();
    let fence_breaks_tie = draft.fence_is_tie_break();
    let files: Vec<PathBuf> = draft.voting_files().into_iter().map(Spanned::into_inner).collect();
    let witness_kinds: Vec<WitnessKind> = draft.witnesses.iter().map(|one| draft.kind_of(one)).collect();
    let cluster = draft.cluster?;
    let mut networks = BTreeMap::new();
    for network in draft.networks {
        let subnet = network.subnet?;
        let value = Network { subnet: subnet.address, prefix: subnet.prefix, uses: network.uses };
        networks.insert(NetworkName::new(network.name?.into_inner()), value);
    }
    let heartbeats = draft.heartbeats.into_iter().map(assemble_heartbeat);
    let mut servers = BTreeMap::new();
    for ((number, server), fencing) in numbers.into_iter().zip(draft.servers).zip(levels) {
        let addresses = server.addresses.into_iter();
        let addresses = addresses
            .map(|(network, address)| Some((NetworkName::new(network.into_inner()), address?.into_inner())))
            .collect::<Option<_>>()?;
        let value = ServerConfig {
            role: Default::default(),
            domain: server.domain.map(Spanned::into_inner),
            fencing,
            number,
            comment: server.comment,
            addresses,
        };
        servers.insert(ServerName::new(server.name?.into_inner()), value);
    }
    for (witness, kind) in draft.witnesses.into_iter().zip(witness_kinds) {
        let number = servers.values().map(|server| server.number).max().unwrap_or_default() + 1;
        let (name, value) = assemble_witness(witness, kind, number, &networks)?;
        servers.insert(name, value);
    }
    let mut votes = assemble_votes(draft.voting, files, &servers);
    if fence_breaks_tie {
        votes.tie_break = TieBreak::Fence;
    }
    let fence_programs: ScriptSpans = draft
        .fences
        .iter()
        .filter_map(|fence| {
            let name = fence.name.as_ref()?.get_ref().clone();
            Some(((Owner::Fence(name), "program"), fence.program.clone()?))
        })
        .collect();
    let fences = draft.fences.into_iter().map(assemble_fence).collect::<Option<_>>()?;
    let settings = ClusterSettings {
        votes,
        fences,
        on_hang: cluster.on_hang,
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
    let mut resources = BTreeMap::new();
    for definition in draft.definitions {
        let name = ResourceName::new(definition.resource.name.as_ref()?.get_ref().as_str());
        note_scripts(&definition.resource, &Owner::Resource(name.to_string()), &mut spans);
        resources.insert(name, assemble_definition(definition, &settings.networks)?);
    }
    let targets = Targets { groups: &groups };
    let mut monitors = BTreeMap::new();
    spans.extend(fence_programs);
    for monitor in draft.monitors {
        let name = monitor.name.as_ref()?.get_ref().clone();
        if let Some(MonitorKindDraft::Exec { span, .. }) = &monitor.kind {
            spans.insert((Owner::Monitor(name.clone()), "command"), span.clone());
        }
        monitors.insert(name.as_str().into(), assemble_monitor(monitor, &targets)?);
    }
    monitors.extend(mirror_monitors(&groups, &monitors));
    let pools = draft.pools.into_iter().map(assemble_pool).collect::<Option<_>>()?;
    let types = types::configs(&draft.types);
    Some((ClusterConfig { settings, servers, groups, types, pools, resources, monitors }, spans))
}

/// A witness, with each address on the network that it belongs to. One that belongs to none is
/// reached by way of routers, and carries no heartbeats.
fn assemble_witness(
    witness: WitnessDraft,
    kind: WitnessKind,
    number: u32,
    networks: &BTreeMap<NetworkName, Network>,
) -> Option<(ServerName, ServerConfig)> {
    if !witness.complete {
        return None;
    }
    let mut addresses: BTreeMap<NetworkName, IpAddr> = BTreeMap::new();
    for address in witness.addresses.into_iter().map(Spanned::into_inner) {
        let on = networks
            .iter()
            .find(|(name, network)| network.contains(address) && !addresses.contains_key(*name));
        let outside = (1..).map(outside).find(|name| !addresses.contains_key(name));
        addresses.insert(on.map(|(name, _)| name.clone()).or(outside)?, address);
    }
    let port = witness.port;
    let config = ServerConfig {
        number,
        comment: witness.comment,
        addresses,
        role: match kind {
            WitnessKind::Voter => Role::Voter { port },
            WitnessKind::Register => Role::Register { port },
        },
        domain: witness.domain,
        fencing: Vec::new(),
    };
    Some((ServerName::new(witness.name?.into_inner()), config))
}

/// A network that no `[[network]]` can be called: where an address is that belongs to none.
fn outside(number: u32) -> NetworkName {
    NetworkName::new(if number == 1 { "@outside".to_owned() } else { format!("@outside-{number}") })
}

fn assemble_fence(fence: FenceDraft) -> Option<(FenceName, FenceConfig)> {
    let ports = fence.ports.into_iter().map(|(server, port)| (ServerName::new(server.into_inner()), port));
    let config = FenceConfig {
        comment: fence.comment,
        kind: fence.kind?,
        ports: ports.collect(),
        timeout: fence.timeout,
        retries: fence.retries,
        delay: fence.delay,
    };
    Some((FenceName::new(fence.name?.into_inner()), config))
}

/// The tie-break that is asked for, or the one that there is.
fn assemble_votes(
    votes: Option<VotesDraft>,
    files: Vec<PathBuf>,
    servers: &BTreeMap<ServerName, ServerConfig>,
) -> Votes {
    let unsaid = usual_tie_break(servers, &files);
    let Some(votes) = votes else {
        return Votes { tie_break: unsaid, files, disk_timeout: DEFAULT_DISK_TIMEOUT };
    };
    let register = servers.iter().find(|(_, server)| !server.role.may_vote());
    let addresses = votes.addresses.into_iter().map(Spanned::into_inner).collect();
    let tie_break = match votes.tie_break.map(Spanned::into_inner) {
        None => unsaid,
        Some(TieBreakWord::None) => TieBreak::None,
        Some(TieBreakWord::Witness) => {
            register.map_or(TieBreak::None, |(witness, _)| TieBreak::Witness { witness: witness.clone() })
        }
        Some(TieBreakWord::VotingFiles) => TieBreak::VotingFiles,
        Some(TieBreakWord::Fence) => TieBreak::Fence,
        Some(TieBreakWord::UnsafePing) => TieBreak::UnsafePing { addresses },
    };
    Votes { tie_break, files, disk_timeout: votes.disk_timeout }
}

/// The tie-break when nobody says which: a witness with a record, else the voting files.
pub(crate) fn usual_tie_break(servers: &BTreeMap<ServerName, ServerConfig>, files: &[PathBuf]) -> TieBreak {
    let voters = servers.values().filter(|server| server.role.may_vote()).count();
    match witness_as_tie_break(servers) {
        TieBreak::None if voters == 2 && !files.is_empty() => TieBreak::VotingFiles,
        found => found,
    }
}

/// Two servers and a witness with a record: nothing more needs to be said.
pub(crate) fn witness_as_tie_break(servers: &BTreeMap<ServerName, ServerConfig>) -> TieBreak {
    let voters = servers.values().filter(|server| server.role.may_vote()).count();
    let mut registers = servers.iter().filter(|(_, server)| !server.role.may_vote());
    match (voters, registers.next(), registers.next()) {
        (2, Some((witness, _)), None) => TieBreak::Witness { witness: witness.clone() },
        _ => TieBreak::None,
    }
}

fn assemble_heartbeat(path: HeartbeatDraft) -> Option<HeartbeatPath> {
    Some(match path.kind? {
        HeartbeatKind::Lan => HeartbeatPath::Lan { network: NetworkName::new(path.network?.into_inner()) },
        HeartbeatKind::Com => HeartbeatPath::Com { device: path.device?.into_inner() },
        HeartbeatKind::Disk => HeartbeatPath::Disk { device: path.device?.into_inner() },
    })
}

/// Remembers where the commands of a resource stand.
fn note_scripts(resource: &ResourceDraft, owner: &Owner, spans: &mut ScriptSpans) {
    let Some(KindDraft::Exec(exec)) = &resource.kind else { return };
    let commands =
        [("start", Some(exec.start.clone())), ("stop", exec.stop.clone()), ("check", exec.check.clone())];
    for (key, span) in commands {
        span.map(|span| spans.insert((owner.clone(), key), span));
    }
}

fn assemble_pool(pool: PoolDraft) -> Option<(PoolName, PoolConfig)> {
    let config = PoolConfig {
        comment: pool.comment,
        min: pool.min.map_or(0, Spanned::into_inner),
        max: pool.max.map(Spanned::into_inner),
        importance: pool.importance,
        servers: server_names(pool.servers),
    };
    Some((PoolName::new(pool.name?.into_inner()), config))
}

fn server_names(names: Vec<Name>) -> Vec<ServerName> {
    names.into_iter().map(|name| ServerName::new(name.into_inner())).collect()
}

fn pool_names(names: Vec<Name>) -> Vec<PoolName> {
    names.into_iter().map(|name| PoolName::new(name.into_inner())).collect()
}

fn values<T>(placed: Vec<Placed<T>>) -> Vec<T> {
    placed.into_iter().map(|(value, _)| value).collect()
}

fn assemble_definition(
    definition: DefinitionDraft,
    networks: &BTreeMap<NetworkName, Network>,
) -> Option<ResourceDefinition> {
    Some(ResourceDefinition {
        type_name: definition.resource.type_name.as_ref()?.get_ref().as_str().into(),
        attributes: definition.resource.attributes.clone(),
        resource: assemble_resource(definition.resource, networks)?,
        cardinality: definition.cardinality,
        placement: definition.placement,
        hosting_members: server_names(definition.hosting_members),
        server_pools: pool_names(definition.server_pools),
        load: definition.load,
        auto_start: definition.auto_start,
        enabled: definition.enabled,
        failover: definition.failover,
        failback: definition.failback,
        start: values(definition.start),
        stop: values(definition.stop),
    })
}

/// What the target of a recovery can be, beside resources.
struct Targets<'a> {
    groups: &'a BTreeMap<GroupName, GroupConfig>,
}

impl Targets<'_> {
    /// The servers that have a copy of a mirrored disk.
    fn copies(&self, disk: Option<&Name>) -> Vec<ServerName> {
        let Some(disk) = disk.map(|disk| ResourceName::new(disk.get_ref().as_str())) else {
            return Vec::new();
        };
        let group = self.groups.values().find(|group| group.resources.contains_key(&disk));
        group.map(|group| group.servers.clone()).unwrap_or_default()
    }
}

fn assemble_monitor(monitor: MonitorDraft, targets: &Targets<'_>) -> Option<MonitorConfig> {
    let kind = match monitor.kind? {
        MonitorKindDraft::Pid => MonitorKind::Pid,
        MonitorKindDraft::Mirror => MonitorKind::Mirror,
        MonitorKindDraft::MirrorLink => MonitorKind::MirrorLink,
        MonitorKindDraft::Ip(addresses) => MonitorKind::Ip { addresses },
        MonitorKindDraft::Exec { command, user, directory, .. } => {
            MonitorKind::Exec { command, user, directory }
        }
    };
    let recovery = monitor.recovery?;
    let target = recovery.target.into_inner();
    let target = match target.as_str() {
        CLUSTER => RecoveryTarget::Cluster,
        name if targets.groups.contains_key(&GroupName::new(name)) => RecoveryTarget::Group(name.into()),
        name => RecoveryTarget::Resource(name.into()),
    };
    let (restarts, failovers, last) = (recovery.restarts, recovery.failovers, recovery.last);
    let mut servers = server_names(monitor.servers);
    if servers.is_empty() && kind.is_of_mirror() {
        servers = targets.copies(monitor.target.as_ref());
    }
    Some(MonitorConfig {
        comment: monitor.comment,
        kind,
        interval: monitor.interval,
        timeout: monitor.timeout,
        retries: monitor.retries,
        start_delay: monitor.start_delay,
        timing: monitor.timing.into_inner(),
        target: monitor.target.map(|target| ResourceName::new(target.into_inner())),
        nice: monitor.nice,
        servers,
        recovery: RecoveryConfig { target, restarts, failovers, last },
    })
}

/// The target of a recovery that means every group of a server.
pub(crate) const CLUSTER: &str = "cluster";

fn assemble_group(
    group: GroupDraft,
    networks: &BTreeMap<NetworkName, Network>,
    spans: &mut ScriptSpans,
) -> Option<GroupConfig> {
    let group_name = group.name?.into_inner();
    let mut resources = BTreeMap::new();
    for resource in group.resources {
        let name = resource.name.as_ref()?.get_ref().clone();
        note_scripts(&resource, &Owner::Member(group_name.clone(), name.clone()), spans);
        resources.insert(ResourceName::new(name), assemble_resource(resource, networks)?);
    }
    Some(GroupConfig {
        on_quorum_loss: group.on_quorum_loss.map(Spanned::into_inner).unwrap_or_default(),
        comment: group.comment,
        servers: server_names(group.servers),
        startup: group.startup,
        failover: group.failover,
        failback: group.failback,
        resources,
        exclusive: group.exclusive,
        placement: group.placement,
        pools: pool_names(group.pools),
        load: group.load,
        enabled: group.enabled,
        start: values(group.start),
        stop: values(group.stop),
        instance: None,
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
        KindDraft::MirrorDisk(disk) => ResourceKind::MirrorDisk(assemble_disk(*disk)?),
    };
    let type_name = resource.type_name.map(Spanned::into_inner);
    Some(ResourceConfig {
        comment: resource.comment,
        depends_on: resource.depends_on.map(|list| list.into_iter().map(named).collect()),
        on_start_failure: resource.policies.on_start_failure,
        on_stop_failure: resource.policies.on_stop_failure,
        uptime_threshold: resource.policies.uptime_threshold,
        failure_threshold: resource.policies.failure_threshold,
        failure_interval: resource.policies.failure_interval,
        type_name: type_name.filter(|name| name != kind.type_name()).map(|name| name.as_str().into()),
        attributes: resource
            .attributes
            .iter()
            .map(|(name, value)| (name.to_uppercase(), value.to_string()))
            .collect(),
        kind,
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

fn assemble_disk(disk: MirrorDraft) -> Option<MirrorDiskConfig> {
    let (data, metadata) = (disk.data?.into_inner(), disk.metadata?.into_inner());
    let or = |own: Option<Spanned<PathBuf>>, usual: &PathBuf| {
        own.map_or_else(|| usual.clone(), Spanned::into_inner)
    };
    let own = disk.per_server.into_iter().map(|(server, own)| {
        let areas = MirrorAreas { data: or(own.data, &data), metadata: or(own.metadata, &metadata) };
        (ServerName::new(server.into_inner()), areas)
    });
    Some(MirrorDiskConfig {
        size: disk.size,
        per_server: own.collect(),
        device: disk.device,
        mount: disk.mount.map(Spanned::into_inner),
        network: disk.network.map(|network| NetworkName::new(network.into_inner())),
        port: disk.port.into_inner(),
        export_port: disk.export_port.map(Spanned::into_inner),
        data,
        metadata,
        ..disk.config
    })
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
