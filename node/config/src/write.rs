//! Writes a configuration as the file that reads back to it. What equals its default is left out.

use std::{fmt::Write as _, net::IpAddr};

use tasuki_core::{
    config::{
        ClusterConfig, ClusterSettings, ExecConfig, FloatingIpConfig, GroupConfig, HeartbeatPath,
        ResourceConfig, ResourceKind, StartFailurePolicy, StopFailurePolicy,
    },
    timing::Timing,
};

use crate::{
    assemble::network_prefix,
    section::{
        cluster::{DEFAULT_HEARTBEAT_PORT, DEFAULT_PORT, DEFAULT_STARTUP_WAIT, derive},
        exec::DEFAULT_TIMEOUT,
        group::{AUTOMATIC, STARTUP},
        network::USES,
        resource::{DEFAULT_STOP_FAILURE, FINAL_ACTIONS, Type, default_start_failure},
    },
    units::format_duration,
};

/// The configuration as a file.
#[must_use]
pub fn to_toml(config: &ClusterConfig) -> String {
    let mut out = String::new();
    write_cluster(&mut out, &config.settings);
    for (name, network) in &config.settings.networks {
        out += "\n[[network]]\n";
        text(&mut out, "name", name.as_str());
        text(&mut out, "subnet", &format!("{}/{}", network.subnet, network.prefix));
        let uses: Vec<String> = network.uses.iter().map(|u| quoted(word(&USES, *u))).collect();
        pair(&mut out, "use", &if let [only] = &uses[..] { only.clone() } else { list(uses) });
    }
    for (name, server) in config.servers_by_number() {
        out += "\n[[server]]\n";
        text(&mut out, "name", name.as_str());
        optional_text(&mut out, "comment", &server.comment);
        let addresses =
            server.addresses.iter().map(|(network, address)| (network.as_str(), address.to_string()));
        pair(&mut out, "addresses", &inline(addresses.map(|(key, value)| (quoted_key(key), quoted(&value)))));
    }
    for path in &config.settings.heartbeats {
        out += "\n[[heartbeat]]\n";
        let (kind, key, value) = match path {
            HeartbeatPath::Lan { network } => ("lan", "network", network.to_string()),
            HeartbeatPath::Com { device } => ("com", "device", device.display().to_string()),
            HeartbeatPath::Disk { device } => ("disk", "device", device.display().to_string()),
        };
        text(&mut out, "kind", kind);
        text(&mut out, key, &value);
    }
    for (name, group) in &config.groups {
        write_group(&mut out, name.as_str(), group, &config.settings);
    }
    out
}

fn write_cluster(out: &mut String, settings: &ClusterSettings) {
    *out += "[cluster]\n";
    text(out, "name", &settings.name);
    optional_text(out, "comment", &settings.comment);
    text(out, "detect", &format_duration(settings.timing.detect));
    if settings.startup_wait != DEFAULT_STARTUP_WAIT {
        text(out, "startup_wait", &format_duration(settings.startup_wait));
    }
    if settings.port != DEFAULT_PORT {
        pair(out, "port", &settings.port.to_string());
    }
    if settings.heartbeat_port != DEFAULT_HEARTBEAT_PORT {
        pair(out, "heartbeat_port", &settings.heartbeat_port.to_string());
    }
    write_timing(out, &settings.timing);
}

/// Only what differs from what the knob gives.
fn write_timing(out: &mut String, timing: &Timing) {
    let plain = derive(timing.detect, None);
    let lease = (timing.lease != plain.lease).then_some(timing.lease);
    let derived = derive(timing.detect, lease);
    let times = [
        ("beat", timing.beat, derived.beat),
        ("path_late", timing.path_late, derived.path_late),
        ("path_lost", timing.path_lost, derived.path_lost),
        ("election_min", timing.election_min, derived.election_min),
        ("election_max", timing.election_max, derived.election_max),
        ("lease", timing.lease, plain.lease),
        ("guard_budget", timing.guard_budget, derived.guard_budget),
        ("clock_margin", timing.clock_margin, derived.clock_margin),
        ("watchdog", timing.watchdog, derived.watchdog),
    ];
    if times.iter().all(|(_, value, default)| value == default) {
        return;
    }
    *out += "\n[cluster.timing]\n";
    for (key, value, default) in times {
        if value != default {
            text(out, key, &format_duration(value));
        }
    }
}

fn write_group(out: &mut String, name: &str, group: &GroupConfig, settings: &ClusterSettings) {
    *out += "\n[[group]]\n";
    text(out, "name", name);
    optional_text(out, "comment", &group.comment);
    pair(out, "servers", &list(group.servers.iter().map(|server| quoted(server.as_str()))));
    text(out, "startup", word(&STARTUP, group.startup));
    text(out, "failover", word(&AUTOMATIC, group.failover));
    text(out, "failback", word(&AUTOMATIC, group.failback));
    for (name, resource) in &group.resources {
        *out += "\n[[group.resource]]\n";
        text(out, "name", name.as_str());
        text(out, "type", resource.kind.type_name());
        optional_text(out, "comment", &resource.comment);
        match &resource.kind {
            ResourceKind::Exec(exec) => write_exec(out, exec),
            ResourceKind::FloatingIp(floating) => write_floating_ip(out, floating, settings),
        }
        write_policies(out, resource);
    }
}

fn write_exec(out: &mut String, exec: &ExecConfig) {
    let command = |words: &Vec<String>| list(words.iter().map(|word| quoted(word)));
    pair(out, "start", &command(&exec.start));
    if let Some(stop) = &exec.stop {
        pair(out, "stop", &command(stop));
    }
    if !exec.wait {
        pair(out, "wait", "false");
    }
    if exec.watch == exec.wait {
        pair(out, "watch", if exec.watch { "true" } else { "false" });
    }
    if let Some(user) = &exec.user {
        text(out, "user", user);
    }
    if let Some(directory) = &exec.directory {
        text(out, "directory", &directory.display().to_string());
    }
    if !exec.environment.is_empty() {
        let entries = exec.environment.iter().map(|(key, value)| (quoted_key(key), quoted(value)));
        pair(out, "environment", &inline(entries));
    }
    for (key, value) in [("start_timeout", exec.start_timeout), ("stop_timeout", exec.stop_timeout)] {
        if value != DEFAULT_TIMEOUT {
            text(out, key, &format_duration(value));
        }
    }
}

fn write_floating_ip(out: &mut String, floating: &FloatingIpConfig, settings: &ClusterSettings) {
    let with_device = |device: &String| format!("{}%{device}", floating.address);
    let address = floating.device.as_ref().map_or_else(|| floating.address.to_string(), with_device);
    text(out, "address", &address);
    if network_prefix(floating.address, &settings.networks) != Some(floating.prefix) {
        pair(out, "prefix", &floating.prefix.to_string());
    }
    if !floating.per_server.is_empty() {
        let entry = |(server, address): (_, &IpAddr)| (quoted_key(server), quoted(&address.to_string()));
        let entries = floating.per_server.iter().map(|(server, address)| (server.as_str(), address));
        pair(out, "per_server", &inline(entries.map(entry)));
    }
}

fn write_policies(out: &mut String, resource: &ResourceConfig) {
    if let Some(depends_on) = &resource.depends_on {
        pair(out, "depends_on", &list(depends_on.iter().map(|name| quoted(name.as_str()))));
    }
    let kind = match resource.kind {
        ResourceKind::Exec(_) => Type::Exec,
        ResourceKind::FloatingIp(_) => Type::FloatingIp,
    };
    let StartFailurePolicy { retries, failovers, last } = resource.on_start_failure;
    if resource.on_start_failure != default_start_failure(kind) {
        let last = word(&FINAL_ACTIONS, last);
        let value = format!("{{ retries = {retries}, failovers = {failovers}, final = \"{last}\" }}");
        pair(out, "on_start_failure", &value);
    }
    let StopFailurePolicy { retries, last } = resource.on_stop_failure;
    if resource.on_stop_failure != DEFAULT_STOP_FAILURE {
        let last = word(&FINAL_ACTIONS, last);
        pair(out, "on_stop_failure", &format!("{{ retries = {retries}, final = \"{last}\" }}"));
    }
}

fn word<T: PartialEq + Copy>(words: &[(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, known)| *known == value).map_or("", |(word, _)| word)
}

fn pair(out: &mut String, key: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{key} = {value}");
}

fn text(out: &mut String, key: &str, value: &str) {
    pair(out, key, &quoted(value));
}

fn optional_text(out: &mut String, key: &str, value: &str) {
    if !value.is_empty() {
        text(out, key, value);
    }
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(", "))
}

fn inline(entries: impl IntoIterator<Item = (String, String)>) -> String {
    let entries: Vec<String> = entries.into_iter().map(|(key, value)| format!("{key} = {value}")).collect();
    if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
}

fn quoted_key(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { quoted(key) }
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            '\n' => out += "\\n",
            '\t' => out += "\\t",
            '\r' => out += "\\r",
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
