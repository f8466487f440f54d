//! A registry with resources of their own, types, pools and monitors.
#![allow(dead_code, clippy::unwrap_used)]

use std::{collections::BTreeMap, time::Duration};

use tasuki_core::{
    config::{
        AttributeConfig, Automatic, Cardinality, ClusterConfig, ExecConfig, FinalAction, MonitorConfig,
        MonitorKind, MonitorTiming, PlacementPolicy, PoolConfig, RecoveryConfig, RecoveryTarget,
        ResourceConfig, ResourceDefinition, ResourceKind, Startup, TypeConfig, Value, ValueKind,
    },
    ids::{Epoch, ServerName},
    reason::Reason,
    registry::{
        Author, Command,
        state::{
            FailureKind, GroupReport, GroupState, MonitorReport, MonitorState, ResourceReport, ResourceState,
            StartEvent,
        },
    },
    time::WallTime,
};

use super::{AT, Registry, config};

fn definition(type_name: &str, cardinality: Cardinality) -> ResourceDefinition {
    let exec = ResourceConfig {
        failure_interval: Duration::from_secs(3600),
        failure_threshold: 3,
        ..ResourceConfig::of(ResourceKind::Exec(ExecConfig::of(vec!["/bin/true".into()])))
    };
    ResourceDefinition {
        type_name: type_name.into(),
        resource: exec,
        attributes: BTreeMap::new(),
        cardinality,
        placement: PlacementPolicy::Balanced,
        hosting_members: Vec::new(),
        server_pools: Vec::new(),
        load: 1,
        auto_start: Startup::Always,
        enabled: true,
        failover: Automatic::Auto,
        failback: Automatic::Manual,
        start: Vec::new(),
        stop: Vec::new(),
    }
}

fn monitor(kind: MonitorKind, target: Option<&str>, mends: RecoveryTarget) -> MonitorConfig {
    MonitorConfig {
        comment: String::new(),
        kind,
        interval: Duration::from_secs(60),
        timeout: Duration::from_secs(60),
        retries: 0,
        start_delay: Duration::ZERO,
        timing: MonitorTiming::Always,
        target: target.map(Into::into),
        nice: 0,
        servers: Vec::new(),
        recovery: RecoveryConfig { target: mends, restarts: 2, failovers: 1, last: FinalAction::None },
    }
}

/// The three servers and the group of [`config`], and around them: a local resource, two of the
/// cluster (two instances of one), a type, a pool and two monitors.
pub fn engine_config() -> ClusterConfig {
    let mut config = config();
    let app = config.groups.get_mut(&"web".into()).unwrap().resources.get_mut(&"app".into()).unwrap();
    // What a `pid` monitor watches goes on running.
    if let ResourceKind::Exec(exec) = &mut app.kind {
        exec.wait = false;
    }
    config.types.insert(
        "webapp".into(),
        TypeConfig {
            comment: "one of our web applications".into(),
            base: "cluster_resource".into(),
            attributes: BTreeMap::from([
                (
                    "port".into(),
                    AttributeConfig {
                        kind: ValueKind::Integer,
                        default: Some(Value::Integer(80)),
                        required: false,
                        range: Some((1, 65535)),
                        comment: "where it listens".into(),
                    },
                ),
                (
                    "site".into(),
                    AttributeConfig {
                        kind: ValueKind::String,
                        default: None,
                        required: true,
                        range: None,
                        comment: String::new(),
                    },
                ),
            ]),
        },
    );
    config.pools.insert(
        "front".into(),
        PoolConfig {
            comment: "what clients see".into(),
            min: 2,
            max: Some(2),
            importance: 5,
            servers: Vec::new(),
        },
    );
    config.pools.insert(
        "back".into(),
        PoolConfig {
            comment: String::new(),
            min: 1,
            max: None,
            importance: 1,
            servers: vec!["mimi".into(), "lala".into()],
        },
    );
    config.resources.insert("agent".into(), definition("local_resource", Cardinality::Local));
    config.resources.insert("db".into(), definition("exec", Cardinality::Number(2)));
    let mut shop = definition("webapp", Cardinality::Number(1));
    shop.server_pools = vec!["front".into()];
    shop.resource.type_name = Some("webapp".into());
    shop.resource.attributes = BTreeMap::from([("PORT".into(), "80".into()), ("SITE".into(), "a".into())]);
    shop.attributes =
        BTreeMap::from([("port".into(), Value::Integer(80)), ("site".into(), Value::String("a".into()))]);
    config.resources.insert("Shop".into(), shop);
    let ping = MonitorKind::Ip { addresses: vec!["192.0.2.1".parse().unwrap()] };
    config.monitors.insert("ping".into(), monitor(ping, None, RecoveryTarget::Cluster));
    let pid = MonitorConfig {
        timing: MonitorTiming::WhileActive,
        ..monitor(MonitorKind::Pid, Some("app"), RecoveryTarget::Resource("app".into()))
    };
    config.monitors.insert("app-watch".into(), pid);
    config
}

/// Two of three servers are up and everything runs that can, but nothing of `Shop`.
pub fn engine() -> Registry {
    let mut registry = Registry::running();
    registry.must(Author::Operator("root".into()), None, Command::SetConfig { config: engine_config() });
    let members = [("kiki", "front"), ("lala", "front")];
    let fill = Command::FillPools {
        members: members.into_iter().map(|(server, pool)| (server.into(), pool.into())).collect(),
    };
    registry.must(Author::Leader("kiki".into()), Some(Reason::ClusterStarted), fill);
    for (unit, server) in [("agent#1", "kiki"), ("agent#2", "lala"), ("db#1", "kiki"), ("db#2", "lala")] {
        assign(&mut registry, unit, server);
        say(&mut registry, unit, GroupState::Online, ResourceState::Online, "");
    }
    registry
}

/// Gives a unit to a server.
pub fn assign(registry: &mut Registry, unit: &str, server: &str) {
    let epoch = registry.0.groups[&unit.into()].ownership.value.epoch.next();
    let assign =
        Command::Assign { group: unit.into(), server: server.into(), epoch, event: StartEvent::Start };
    registry.must(Author::Leader("kiki".into()), Some(Reason::ClusterStarted), assign);
}

/// Has the owner of an instance say how it is.
pub fn say(registry: &mut Registry, unit: &str, state: GroupState, resource: ResourceState, detail: &str) {
    let ownership = registry.0.groups[&unit.into()].ownership.value.clone();
    let (server, epoch): (ServerName, Epoch) = (ownership.owner.unwrap(), ownership.epoch);
    let name = unit.split('#').next().unwrap();
    let said = ResourceReport { state: resource, detail: detail.into(), since: AT };
    let report = GroupReport {
        epoch,
        server: server.clone(),
        state,
        resources: BTreeMap::from([(name.into(), said)]),
        failed: None,
    };
    let by = Author::Server(server);
    registry.must(by, None, Command::Report { group: unit.into(), report });
}

/// Counts a failure of an instance.
pub fn fail(registry: &mut Registry, unit: &str) {
    let ownership = registry.0.groups[&unit.into()].ownership.value.clone();
    let server = ownership.owner.unwrap();
    let command = Command::CountRetry {
        group: unit.into(),
        epoch: ownership.epoch,
        resource: unit.split('#').next().unwrap().into(),
        server: server.clone(),
        kind: FailureKind::Ended,
    };
    registry.must(Author::Server(server), None, command);
}

/// Has a server's monitor say what it found.
pub fn found(registry: &mut Registry, monitor: &str, server: &str, state: MonitorState, detail: &str) {
    let report = MonitorReport { state, detail: detail.into() };
    let command = Command::MonitorReport { monitor: monitor.into(), server: server.into(), report };
    registry.must(Author::Server(server.into()), None, command);
}

/// A while after everything in these registries.
pub const LATER: WallTime = WallTime(AT.0 + 192_000);
