//! Configurations to choose from.

use std::{collections::BTreeMap, time::Duration};

use tasuki_core::{
    config::{
        Automatic, Cardinality, ClusterConfig, ClusterSettings, Exclusive, ExecConfig, FinalAction,
        GroupConfig, MonitorConfig, MonitorKind, MonitorTiming, Named, PlacementPolicy, PoolConfig,
        RecoveryConfig, RecoveryTarget, ResourceConfig, ResourceDefinition, ResourceKind, ServerConfig,
        Startup, StopDependency, TypeConfig,
    },
    ids::ServerName,
    timing::Timing,
};

use crate::script::{POOLS, SERVERS};

fn program() -> ResourceConfig {
    ResourceConfig::of(ResourceKind::Exec(ExecConfig::of(vec!["/bin/true".into()])))
}

fn definition(cardinality: Cardinality, more: u8) -> ResourceDefinition {
    let bit = |n: u8| more >> n & 1 == 1;
    ResourceDefinition {
        type_name: "cluster_resource".into(),
        resource: program(),
        attributes: BTreeMap::new(),
        cardinality,
        placement: if bit(0) { PlacementPolicy::Favored } else { PlacementPolicy::Balanced },
        hosting_members: if bit(0) { vec!["lala".into()] } else { Vec::new() },
        server_pools: if bit(1) && bit(2) { vec![POOLS[usize::from(more >> 6)].into()] } else { Vec::new() },
        load: 1,
        auto_start: match more >> 3 & 3 {
            0 => Startup::Never,
            1 => Startup::Restore,
            _ => Startup::Always,
        },
        enabled: !(bit(5) && bit(4)),
        failover: Automatic::Auto,
        failback: Automatic::Manual,
        start: Vec::new(),
        stop: Vec::new(),
    }
}

fn pool(max: Option<u32>, importance: u32, servers: &[&str]) -> PoolConfig {
    let servers = servers.iter().map(|name| (*name).into()).collect();
    PoolConfig { comment: String::new(), min: 1, max, importance, servers }
}

fn monitor(retries: u32) -> MonitorConfig {
    MonitorConfig {
        comment: String::new(),
        kind: MonitorKind::Ip { addresses: Vec::new() },
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(60),
        retries,
        start_delay: Duration::ZERO,
        timing: MonitorTiming::Always,
        target: None,
        nice: 0,
        servers: Vec::new(),
        recovery: RecoveryConfig {
            target: RecoveryTarget::Cluster,
            restarts: 1,
            failovers: 1,
            last: FinalAction::None,
        },
    }
}

/// Types, pools, definitions and monitors.
fn catalogue(more: u8, config: &mut ClusterConfig) {
    let bit = |n: u8| more >> n & 1 == 1;
    let cardinality = if bit(1) { Cardinality::Uniform } else { Cardinality::Number(u32::from(more % 4)) };
    config.resources.insert("db".into(), definition(cardinality, more));
    if !(bit(6) && bit(2)) {
        config.resources.insert("disk".into(), definition(Cardinality::Local, more.rotate_left(3)));
    }
    if bit(3) || bit(0) {
        config.pools.insert("front".into(), pool(bit(4).then_some(1), 9, &[]));
        config.pools.insert("back".into(), pool(None, 1, if bit(5) { &["lala", "momo"] } else { &[] }));
    }
    if !(bit(5) && bit(3)) {
        config.monitors.insert("watch".into(), monitor(u32::from(bit(7) && bit(0))));
    }
    if bit(7) {
        let base = if bit(6) { "cluster_resource" } else { "local_resource" };
        let added = TypeConfig { base: base.into(), comment: String::new(), attributes: BTreeMap::new() };
        config.types.insert("ours".into(), added);
    }
}

pub fn config(choice: u8, more: u8) -> ClusterConfig {
    let bit = |n: u8| choice >> n & 1 == 1;
    let server = |number| ServerConfig {
        role: Default::default(),
        domain: None,
        fencing: Vec::new(),
        number,
        comment: String::new(),
        addresses: BTreeMap::new(),
    };
    let mut servers: BTreeMap<ServerName, _> =
        (1..).zip(&SERVERS[..3]).map(|(number, name)| ((*name).into(), server(number))).collect();
    if bit(0) && bit(1) {
        servers.remove(&"momo".into());
    }
    let group = |first: usize, comment: bool| GroupConfig {
        comment: if comment { "changed".into() } else { String::new() },
        servers: (0..2).map(|n| SERVERS[(first + n) % 3].into()).collect(),
        startup: if bit(5) { Startup::Never } else { Startup::Always },
        failover: Automatic::Auto,
        failback: Automatic::Manual,
        resources: BTreeMap::from([("other".into(), program())]),
        exclusive: match more & 7 {
            0 | 1 => Exclusive::Complete,
            2 => Exclusive::Normal,
            _ => Exclusive::No,
        },
        pools: if more & 0x38 == 0x38 { vec![POOLS[usize::from(more >> 6)].into()] } else { Vec::new() },
        enabled: more & 0x70 != 0x70,
        stop: if more & 0x44 == 0x44 {
            let on = Named::Resource("db".into());
            vec![StopDependency { on, intermediate: false, global: true, shutdown: false }]
        } else {
            Vec::new()
        },
        ..GroupConfig::default()
    };
    let mut groups = BTreeMap::new();
    if !bit(2) {
        groups.insert("web".into(), group(0, bit(3)));
    }
    if !bit(4) {
        groups.insert("mail".into(), group(1, false));
    }
    let mut config = ClusterConfig {
        settings: ClusterSettings {
            votes: Default::default(),
            fences: BTreeMap::new(),
            on_hang: Default::default(),
            name: if bit(6) { "one" } else { "two" }.into(),
            comment: String::new(),
            timing: Timing::from_detect(Duration::from_secs(1)),
            startup_wait: Duration::from_secs(5),
            networks: BTreeMap::new(),
            heartbeats: Vec::new(),
            port: 1,
            heartbeat_port: 2,
        },
        servers,
        groups,
        types: BTreeMap::new(),
        pools: BTreeMap::new(),
        resources: BTreeMap::new(),
        monitors: BTreeMap::new(),
    };
    catalogue(more, &mut config);
    config
}
