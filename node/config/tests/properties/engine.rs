//! Types, pools, resources outside groups, dependencies and monitors, put on any cluster so that
//! the whole is right: each thing depends only on what came before it, and asks for no server that
//! it could not have.

use std::collections::BTreeMap;

use proptest::{collection, option, prelude::*};
use tasuki_core::{
    config::{
        AttributeConfig, Automatic, Cardinality, ClusterConfig, Exclusive, ExecConfig, FloatingIpConfig,
        MonitorConfig, MonitorKind, MonitorTiming, Named, Placement, PlacementPolicy, PoolConfig,
        RecoveryConfig, RecoveryTarget, ResourceConfig, ResourceDefinition, ResourceKind, StartDependency,
        StartKind, Startup, StopDependency, TypeConfig, Value, ValueKind,
        dependency_syntax::{normalise_start, normalise_stop},
        pool::FREE,
        type_tree::TypeTree,
    },
    ids::{PoolName, ResourceName, ServerName, TypeName},
};

use super::{automatic, duration, exec, final_action, startup, words};

/// The values of one resource's attributes.
type Values = (Option<String>, Option<i64>, Option<bool>, Option<u32>);
type Policies = ((u32, u32, tasuki_core::config::FinalAction), (u32, tasuki_core::config::FinalAction));
type Times = (std::time::Duration, std::time::Duration, u32);
type Links = (Vec<(u8, [bool; 3])>, Vec<[bool; 3]>);

#[derive(Clone, Debug)]
pub(super) struct One {
    what: u8,
    exec: ExecConfig,
    comment: String,
    values: Values,
    policies: Policies,
    times: Times,
    cardinality: u8,
    placement: u8,
    load: u32,
    modes: (Startup, bool, Automatic, Automatic),
    links: Links,
    pooled: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Engine {
    types: (Values, String, bool),
    pools: Vec<(u32, Option<u32>, u32, bool, String)>,
    groups: Vec<(u8, bool, u32, bool, Links, bool)>,
    resources: Vec<One>,
    monitors: Vec<Watch>,
}

type Watch = (u8, Times, (u32, i8, bool), String, (u8, u32, u32, tasuki_core::config::FinalAction));

fn values() -> impl Strategy<Value = Values> {
    (option::of(words()), option::of(-50i64..50), option::of(any::<bool>()), option::of(0u32..600_000))
}

fn links() -> impl Strategy<Value = Links> {
    (collection::vec((0u8..6, any::<[bool; 3]>()), 0..5), collection::vec(any::<[bool; 3]>(), 0..3))
}

fn times() -> impl Strategy<Value = Times> {
    (duration(), duration(), 0u32..=20)
}

fn one() -> impl Strategy<Value = One> {
    let policies = ((0u32..9, 0u32..9, final_action()), (0u32..9, final_action()));
    let modes = (startup(), any::<bool>(), automatic(), automatic());
    (
        (0u8..5, exec(), words(), values()),
        (policies, times(), 0u8..5, 0u8..3),
        (0u32..9, modes, links(), any::<bool>()),
    )
        .prop_map(|((what, exec, comment, values), rest, (load, modes, links, pooled))| {
            let (policies, times, cardinality, placement) = rest;
            One {
                what,
                exec,
                comment,
                values,
                policies,
                times,
                cardinality,
                placement,
                load,
                modes,
                links,
                pooled,
            }
        })
}

pub(super) fn engine() -> impl Strategy<Value = Engine> {
    let pool = (0u32..2, option::of(2u32..9), 0u32..9, any::<bool>(), words());
    let group = (0u8..3, any::<bool>(), 0u32..9, any::<bool>(), links(), any::<bool>());
    let recovery = (0u8..3, 0u32..9, 0u32..9, final_action());
    let monitor = (0u8..4, times(), (0u32..9, -20i8..20, any::<bool>()), words(), recovery);
    (
        (values(), words(), any::<bool>()),
        collection::vec(pool, 0..3),
        collection::vec(group, 4),
        collection::vec(one(), 0..5),
        collection::vec(monitor, 0..4),
    )
        .prop_map(|(types, pools, groups, resources, monitors)| Engine {
            types,
            pools,
            groups,
            resources,
            monitors,
        })
}

pub(super) fn put_on(mut config: ClusterConfig, engine: Engine) -> ClusterConfig {
    config.types = types(engine.types);
    let servers: Vec<ServerName> = config.servers.keys().cloned().collect();
    for (number, (min, max, importance, listed, comment)) in (0..).zip(engine.pools) {
        // One server at least: as many pools as there are servers can have that.
        let min = if number < servers.len() { min } else { 0 };
        let list = if listed { vec![servers[number % servers.len()].clone()] } else { Vec::new() };
        let pool = PoolConfig { comment, min, max, importance, servers: list };
        config.pools.insert(format!("P{number}").as_str().into(), pool);
    }
    // Two pools with the same single server could not both have it.
    for pool in config.pools.values_mut().filter(|pool| !pool.servers.is_empty()) {
        pool.min = 0;
    }
    let tree = TypeTree::new(&config.types).unwrap();
    let pools: Vec<PoolName> = config.pools.keys().cloned().chain([FREE.into()]).collect();
    for (number, one) in (0u16..).zip(engine.resources) {
        let definition = definition(&config, &tree, &pools, number, one);
        config.resources.insert(resource_name(number), definition);
    }
    let count = u16::try_from(config.resources.len()).unwrap();
    let settings = config.groups.values_mut().zip(engine.groups);
    for (group, (exclusive, balanced, load, enabled, linked, pooled)) in settings {
        group.exclusive = [Exclusive::No, Exclusive::Normal, Exclusive::Complete][usize::from(exclusive)];
        group.placement = if balanced { Placement::Balanced } else { Placement::Ordered };
        (group.load, group.enabled) = (load, enabled);
        (group.start, group.stop) = dependencies(&linked, count);
        group.pools = if pooled { pools.clone() } else { Vec::new() };
    }
    for (number, watch) in (0..).zip(engine.monitors) {
        let monitor = monitor(&config, &servers, watch);
        config.monitors.insert(format!("m{number}").as_str().into(), monitor);
    }
    config
}

fn resource_name(number: u16) -> ResourceName {
    ResourceName::new(format!("d{number}.res"))
}

/// `T0` adds an attribute of each kind to `exec`, `T1` inherits from it and changes defaults, built-in
/// ones too; `T2` is for what runs everywhere.
fn types(
    ((text, number, yes, millis), comment, presets): (Values, String, bool),
) -> BTreeMap<TypeName, TypeConfig> {
    let attribute = |kind, default: Option<Value>, range| AttributeConfig {
        kind,
        required: default.is_none(),
        default,
        range,
        comment: comment.clone(),
    };
    let own = BTreeMap::from([
        ("text".to_owned(), attribute(ValueKind::String, text.map(Value::String), None)),
        (
            "number".to_owned(),
            attribute(ValueKind::Integer, number.map(Value::Integer), Some((-50, i64::MAX))),
        ),
        ("yes".to_owned(), attribute(ValueKind::Boolean, yes.map(Value::Boolean), None)),
        (
            "span".to_owned(),
            attribute(
                ValueKind::Duration,
                millis.map(|millis| Value::Duration(millis.into())),
                Some((0, 600_000)),
            ),
        ),
    ]);
    let base =
        |base: &str, attributes| TypeConfig { comment: comment.clone(), base: base.into(), attributes };
    let mut changed = BTreeMap::new();
    if presets {
        let preset = |kind, value| attribute(kind, Some(value), None);
        changed.insert("restart_attempts".to_owned(), preset(ValueKind::Integer, Value::Integer(3)));
        changed.insert("script_timeout".to_owned(), preset(ValueKind::Duration, Value::Duration(7000)));
        changed.insert("check_interval".to_owned(), preset(ValueKind::Duration, Value::Duration(9000)));
        changed.insert("wait".to_owned(), preset(ValueKind::Boolean, Value::Boolean(false)));
        changed.insert("load".to_owned(), preset(ValueKind::Integer, Value::Integer(4)));
        changed.insert("auto_start".to_owned(), preset(ValueKind::String, Value::String("never".to_owned())));
        changed.insert("comment".to_owned(), preset(ValueKind::String, Value::String("a preset".to_owned())));
    }
    BTreeMap::from([
        ("T0".into(), base("exec", own)),
        ("T1.type".into(), base("T0", changed)),
        ("T2".into(), base("local_resource", BTreeMap::new())),
    ])
}

fn definition(
    config: &ClusterConfig,
    tree: &TypeTree,
    pools: &[PoolName],
    number: u16,
    one: One,
) -> ResourceDefinition {
    let address = one.what == 3;
    // Only the first runs everywhere, so that its type is no type of what comes later.
    let local = number == 0;
    let type_name: TypeName = match one.what {
        _ if local => "T2",
        0 => "exec",
        1 => "T0",
        2 => "T1.type",
        3 => "floating_ip",
        _ => "application",
    }
    .into();
    let given: BTreeMap<String, Value> = if type_name.as_str().starts_with("T0") || one.what == 2 && !local {
        let (text, number, yes, millis) = one.values.clone();
        BTreeMap::from([
            ("text".to_owned(), Value::String(text.unwrap_or_default())),
            ("number".to_owned(), Value::Integer(number.unwrap_or_default())),
            ("yes".to_owned(), Value::Boolean(yes.unwrap_or_default())),
            ("span".to_owned(), Value::Duration(millis.unwrap_or_default().into())),
        ])
    } else {
        BTreeMap::new()
    };
    let attributes = tree.check(&type_name, &given).unwrap();
    let kind = if address && !local {
        let network = config.settings.networks.values().next().unwrap();
        ResourceKind::FloatingIp(FloatingIpConfig {
            address: super::address(1, network.subnet.is_ipv6(), 4096 + number),
            prefix: network.prefix,
            device: None,
            per_server: BTreeMap::new(),
        })
    } else {
        ResourceKind::Exec(one.exec)
    };
    let ((retries, failovers, last), (stop_retries, stop_last)) = one.policies;
    let resource = ResourceConfig {
        comment: one.comment,
        on_start_failure: tasuki_core::config::StartFailurePolicy { retries, failovers, last },
        on_stop_failure: tasuki_core::config::StopFailurePolicy { retries: stop_retries, last: stop_last },
        uptime_threshold: one.times.0.max(std::time::Duration::from_secs(1)),
        failure_interval: one.times.1,
        failure_threshold: one.times.2,
        type_name: (kind.type_name() != type_name.as_str()).then(|| type_name.clone()),
        attributes: attributes.iter().map(|(name, value)| (name.to_uppercase(), value.to_string())).collect(),
        ..ResourceConfig::of(kind)
    };
    let cardinality = match one.cardinality {
        _ if local => Cardinality::Local,
        _ if address => Cardinality::Number(1),
        0 => Cardinality::Uniform,
        count => Cardinality::Number(count.into()),
    };
    let placement = match one.placement {
        1 if !local => PlacementPolicy::Favored,
        2 if !local => PlacementPolicy::Restricted,
        _ => PlacementPolicy::Balanced,
    };
    let balanced = placement == PlacementPolicy::Balanced;
    let (auto_start, enabled, failover, failback) = one.modes;
    let (start, stop) = dependencies(&one.links, number);
    ResourceDefinition {
        type_name,
        resource,
        attributes,
        cardinality,
        placement,
        hosting_members: if balanced { Vec::new() } else { config.servers.keys().rev().cloned().collect() },
        server_pools: if one.pooled && !local { pools.to_vec() } else { Vec::new() },
        load: one.load,
        auto_start,
        enabled,
        failover: if local { Automatic::Auto } else { failover },
        failback: if local { Automatic::Manual } else { failback },
        start,
        stop,
    }
}

/// Each of those before is named once at most, so that nothing contradicts itself, and only what
/// runs everywhere is asked for on the same server.
fn dependencies((starts, stops): &Links, before: u16) -> (Vec<StartDependency>, Vec<StopDependency>) {
    let on = |target: u16, of_type: bool| match of_type && target == 0 {
        true => Named::Type("T2".into()),
        false => Named::Resource(resource_name(target)),
    };
    let mut start: Vec<StartDependency> = (0..before)
        .zip(starts)
        .filter_map(|(target, (kind, [a, b, c]))| {
            let kind = match kind {
                0 => StartKind::Hard { intermediate: *a, global: *b || target > 0 },
                1 => StartKind::Weak { concurrent: *a, global: *b, uniform: *c },
                2 => StartKind::Attraction { intermediate: *a },
                3 => StartKind::Pullup { always: *a, intermediate: *b, global: *c },
                4 => StartKind::Dispersion { active: *a, intermediate: *b },
                _ => return None,
            };
            Some(StartDependency { on: on(target, *c), kind })
        })
        .collect();
    let mut stop: Vec<StopDependency> = (0..before)
        .zip(stops)
        .map(|(target, [intermediate, global, shutdown])| StopDependency {
            on: on(target, *global),
            intermediate: *intermediate,
            global: *global,
            shutdown: *shutdown,
        })
        .collect();
    normalise_start(&mut start);
    normalise_stop(&mut stop);
    (start, stop)
}

fn monitor(config: &ClusterConfig, servers: &[ServerName], watch: Watch) -> MonitorConfig {
    let (what, (interval, timeout, retries), (_, nice, listed), comment, recovery) = watch;
    let members = config.groups.values().flat_map(|group| group.resources.iter());
    let alone = config.resources.iter().map(|(name, definition)| (name, &definition.resource));
    let all: Vec<(&ResourceName, &ResourceConfig)> = members.chain(alone).collect();
    let goes_on = |(_, resource): &&(&ResourceName, &ResourceConfig)| matches!(&resource.kind, ResourceKind::Exec(exec) if !exec.wait);
    let process = all.iter().find(goes_on).map(|(name, _)| (*name).clone());
    let any = all.last().map(|(name, _)| (*name).clone());
    let command = || MonitorKind::Exec {
        command: vec!["/bin/look".to_owned(), comment.clone()],
        user: listed.then(|| "nobody".to_owned()),
        directory: listed.then(|| "/tmp".into()),
    };
    let (kind, target, timing) = match what {
        0 if process.is_some() => (MonitorKind::Pid, process, MonitorTiming::WhileActive),
        1 => {
            let addresses = vec![[10, 1, 0, 1].into(), [0u16, 0, 0, 0, 0, 0, 0, 1].into()];
            (MonitorKind::Ip { addresses }, None, MonitorTiming::Always)
        }
        2 if any.is_some() => (command(), any.clone(), MonitorTiming::WhileActive),
        _ => (command(), any.clone(), MonitorTiming::Always),
    };
    let (target_of, restarts, failovers, last) = recovery;
    let recovered = match (target_of, any, config.groups.keys().next()) {
        (0, Some(resource), _) => RecoveryTarget::Resource(resource),
        (1, _, Some(group)) => RecoveryTarget::Group(group.clone()),
        _ => RecoveryTarget::Cluster,
    };
    MonitorConfig {
        comment,
        kind,
        interval,
        timeout,
        retries,
        start_delay: timeout,
        timing,
        target,
        nice,
        servers: if listed { servers.to_vec() } else { Vec::new() },
        recovery: RecoveryConfig { target: recovered, restarts, failovers, last },
    }
}
