//! Resources, in groups and outside of them.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use tasuki_core::{
    config::{
        Automatic, Cardinality, ClusterSettings, ExecConfig, FloatingIpConfig, PlacementPolicy,
        ResourceConfig, ResourceDefinition, ResourceKind, Startup, Value, ValueKind, built_in::AttributeKind,
        type_tree::TypeTree,
    },
    ids::{ResourceName, TypeName},
};

use super::{
    dependencies, mirror_disk,
    sheet::Sheet,
    text::{quoted, quoted_key, texts, time, value, word},
};
use crate::{
    assemble::network_prefix,
    section::{
        definition::{AUTO_START, PLACEMENT, UNIFORM},
        exec::{DEFAULT_CHECK, DEFAULT_TIMEOUT},
        group::AUTOMATIC,
        policies::{DEFAULT_STOP_FAILURE, DEFAULT_UPTIME, FINAL_ACTIONS, default_start_failure},
    },
};

type Types = BTreeMap<TypeName, TypeWords>;

/// A resource of a group.
pub(super) fn member(
    name: &ResourceName,
    resource: &ResourceConfig,
    settings: &ClusterSettings,
    types: &Types,
) -> Sheet {
    let type_name = resource.type_name.clone().unwrap_or_else(|| resource.kind.type_name().into());
    let mut sheet = begin("[[group.resource]]", name, &type_name, resource, types);
    kind(&mut sheet, resource, settings);
    if let Some(depends_on) = &resource.depends_on {
        sheet.pair("depends_on", texts(depends_on.iter().map(|name| name.as_str())));
    }
    policies(&mut sheet, resource, false);
    attributes(&mut sheet, &type_name, resource, types);
    sheet
}

/// A resource outside every group.
pub(super) fn alone(
    name: &ResourceName,
    definition: &ResourceDefinition,
    settings: &ClusterSettings,
    types: &Types,
) -> Sheet {
    let resource = &definition.resource;
    let mut sheet = begin("[[resource]]", name, &definition.type_name, resource, types);
    if definition.cardinality != Cardinality::Local {
        let cardinality = match definition.cardinality {
            Cardinality::Number(number) => number.to_string(),
            Cardinality::Uniform | Cardinality::Local => quoted(UNIFORM),
        };
        sheet.unless("1", "cardinality", cardinality);
        let placement = |policy| quoted(word(&PLACEMENT, policy));
        sheet.unless(&placement(PlacementPolicy::Balanced), "placement", placement(definition.placement));
        let members = definition.hosting_members.iter().map(|server| server.as_str());
        sheet.unless("[]", "hosting_members", texts(members));
        let pools = definition.server_pools.iter().map(|pool| pool.as_str());
        sheet.unless("[]", "server_pools", texts(pools));
        let automatic = |automatic| quoted(word(&AUTOMATIC, automatic));
        sheet.unless(&automatic(Automatic::Auto), "failover", automatic(definition.failover));
        sheet.unless(&automatic(Automatic::Manual), "failback", automatic(definition.failback));
    }
    sheet.unless("1", "load", definition.load.to_string());
    let auto_start = |startup| quoted(word(&AUTO_START, startup));
    sheet.unless(&auto_start(Startup::Always), "auto_start", auto_start(definition.auto_start));
    sheet.unless("true", "enabled", definition.enabled.to_string());
    dependencies(&mut sheet, &definition.start, &definition.stop);
    kind(&mut sheet, resource, settings);
    policies(&mut sheet, resource, true);
    attributes(&mut sheet, &definition.type_name, resource, types);
    sheet
}

fn begin(
    header: &'static str,
    name: &ResourceName,
    type_name: &TypeName,
    resource: &ResourceConfig,
    types: &Types,
) -> Sheet {
    let mut sheet = Sheet::named(header, name.as_str());
    sheet.text("type", type_name.as_str());
    sheet.presets = types.get(type_name).map(|words| words.presets.clone()).unwrap_or_default();
    sheet.optional_text("comment", &resource.comment);
    sheet
}

/// What the writer must know of a type.
#[derive(Default)]
pub(super) struct TypeWords {
    /// What its resources have where they say nothing, as far as user types decide that.
    presets: BTreeMap<String, String>,
    /// The attributes that user types add.
    added: Vec<(String, ValueKind)>,
}

/// All types: there are few of them, and many resources.
pub(super) fn type_words(tree: &TypeTree) -> BTreeMap<TypeName, TypeWords> {
    let words = |name: &TypeName| {
        let added = tree.attributes(name).into_iter().filter(|one| !tree.is_built_in(&one.defined_by));
        let mut words = TypeWords::default();
        for attribute in added {
            if let AttributeKind::Value(kind) = attribute.kind {
                words.added.push((attribute.name.clone(), kind));
            }
            words.presets.extend(attribute.default.map(|default| (attribute.name, value(&default))));
        }
        words.presets.extend(tree.presets(name).into_iter().map(|(name, default)| (name, value(&default))));
        words
    };
    tree.list().into_iter().map(|(name, _)| (name.clone(), words(&name))).collect()
}

fn kind(sheet: &mut Sheet, resource: &ResourceConfig, settings: &ClusterSettings) {
    match &resource.kind {
        ResourceKind::Exec(exec) => write_exec(sheet, exec),
        ResourceKind::FloatingIp(floating) => write_floating_ip(sheet, floating, settings),
        ResourceKind::MirrorDisk(disk) => mirror_disk::write(sheet, disk),
    }
}

fn write_exec(sheet: &mut Sheet, exec: &ExecConfig) {
    let command = |words: &Vec<String>| texts(words.iter().map(String::as_str));
    sheet.unless("", "start", command(&exec.start));
    if let Some(stop) = &exec.stop {
        sheet.unless("", "stop", command(stop));
    }
    sheet.unless("true", "wait", exec.wait.to_string());
    if !exec.wait {
        sheet.unless("true", "watch", exec.watch.to_string());
    }
    if let Some(user) = &exec.user {
        sheet.unless("", "user", quoted(user));
    }
    if let Some(directory) = &exec.directory {
        sheet.unless("", "directory", quoted(&directory.display().to_string()));
    }
    if !exec.environment.is_empty() {
        let entries = exec.environment.iter().map(|(key, value)| (quoted_key(key), quoted(value)));
        sheet.table("environment", entries);
    }
    limit(sheet, DEFAULT_TIMEOUT, "start_timeout", exec.start_timeout);
    limit(sheet, DEFAULT_TIMEOUT, "stop_timeout", exec.stop_timeout);
    if let Some(check) = &exec.check {
        sheet.unless("", "check", command(&check.command));
        sheet.time_unless(DEFAULT_CHECK, "check_interval", check.interval);
        limit(sheet, DEFAULT_CHECK, "check_timeout", check.timeout);
    }
    sheet.unless("false", "read_only", exec.read_only.to_string());
}

/// A time-out, which may also follow from that of all scripts of the type.
fn limit(sheet: &mut Sheet, default: Duration, key: &str, value: Duration) {
    let default = sheet.presets.get("script_timeout").cloned().unwrap_or_else(|| time(default));
    sheet.unless(&default, key, time(value));
}

fn write_floating_ip(sheet: &mut Sheet, floating: &FloatingIpConfig, settings: &ClusterSettings) {
    let with_device = |device: &String| format!("{}%{device}", floating.address);
    let address = match &floating.device {
        Some(device) if !sheet.presets.contains_key("device") => with_device(device),
        _ => floating.address.to_string(),
    };
    sheet.text("address", &address);
    if let Some(device) = floating.device.as_ref().filter(|_| sheet.presets.contains_key("device")) {
        sheet.unless("", "device", quoted(device));
    }
    let own = network_prefix(floating.address, &settings.networks);
    let own = own.map(|prefix| prefix.to_string()).unwrap_or_default();
    sheet.unless(&own, "prefix", floating.prefix.to_string());
    if !floating.per_server.is_empty() {
        let entry = |(server, address): (_, &IpAddr)| (quoted_key(server), quoted(&address.to_string()));
        let entries = floating.per_server.iter().map(|(server, address)| (server.as_str(), address));
        sheet.table("per_server", entries.map(entry));
    }
}

/// What follows a failure; in the words of groups, or in those of resources outside of them.
fn policies(sheet: &mut Sheet, resource: &ResourceConfig, alone: bool) {
    let default = default_start_failure(matches!(resource.kind, ResourceKind::FloatingIp(_)));
    let start = resource.on_start_failure;
    let last = |action| quoted(word(&FINAL_ACTIONS, action));
    let mut entries = vec![("failovers", start.failovers.to_string()), ("final", last(start.last))];
    let others_differ = (start.failovers, start.last) != (default.failovers, default.last);
    if alone || sheet.presets.contains_key("restart_attempts") {
        sheet.unless(&default.retries.to_string(), "restart_attempts", start.retries.to_string());
        if others_differ {
            sheet.table("on_start_failure", entries);
        }
    } else if others_differ || start.retries != default.retries {
        entries.insert(0, ("retries", start.retries.to_string()));
        sheet.table("on_start_failure", entries);
    }
    let stop = resource.on_stop_failure;
    if stop != DEFAULT_STOP_FAILURE {
        let entries = [("retries", stop.retries.to_string()), ("final", last(stop.last))];
        sheet.table("on_stop_failure", entries);
    }
    sheet.time_unless(DEFAULT_UPTIME, "uptime_threshold", resource.uptime_threshold);
    sheet.unless("0", "failure_threshold", resource.failure_threshold.to_string());
    sheet.time_unless(Duration::ZERO, "failure_interval", resource.failure_interval);
}

/// The attributes that user types add, from what scripts find.
fn attributes(sheet: &mut Sheet, type_name: &TypeName, resource: &ResourceConfig, types: &Types) {
    for (name, kind) in types.get(type_name).into_iter().flat_map(|words| &words.added) {
        let Some(text) = resource.attributes.get(&name.to_uppercase()) else { continue };
        if let Some(found) = read_back(*kind, text) {
            sheet.unless("", name, value(&found));
        }
    }
}

/// The value that scripts find as this text.
fn read_back(kind: ValueKind, text: &str) -> Option<Value> {
    match kind {
        ValueKind::String => Some(Value::String(text.to_owned())),
        ValueKind::Integer => text.parse().ok().map(Value::Integer),
        ValueKind::Boolean => Some(Value::Boolean(text == "1")),
        ValueKind::Duration => {
            let (seconds, millis) = text.split_once('.').unwrap_or((text, "000"));
            let (seconds, millis) = (seconds.parse::<u64>().ok()?, millis.parse::<u64>().ok()?);
            Some(Value::Duration(seconds.checked_mul(1000)?.checked_add(millis)?))
        }
    }
}
