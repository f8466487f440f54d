//! Settings of the cluster, networks, servers, heartbeats and pools.

use tasuki_core::{
    config::{
        ClusterConfig, ClusterSettings, HeartbeatPath, OnHang, PoolConfig, Role, ServerConfig, TieBreak,
    },
    ids::{PoolName, ServerName},
    timing::Timing,
};

use super::{
    fence,
    sheet::Sheet,
    text::{list, quoted, quoted_key, texts, time, word},
};
use crate::assemble::usual_tie_break;
use crate::draft::{TieBreakWord, WitnessKind};
use crate::section::{
    cluster::{DEFAULT_HEARTBEAT_PORT, DEFAULT_PORT, DEFAULT_STARTUP_WAIT, ON_HANG, derive},
    network::USES,
    votes::{DEFAULT_DISK_TIMEOUT, TIE_BREAKS},
    witness::{DEFAULT_WITNESS_PORT, WITNESS_KINDS},
};

pub(super) fn sheets(config: &ClusterConfig) -> Vec<Sheet> {
    let mut sheets = vec![cluster(&config.settings)];
    sheets.extend(timing(&config.settings.timing));
    for (name, network) in &config.settings.networks {
        let mut sheet = Sheet::named("[[network]]", name.as_str());
        sheet.text("subnet", &format!("{}/{}", network.subnet, network.prefix));
        let uses: Vec<String> = network.uses.iter().map(|u| quoted(word(&USES, *u))).collect();
        sheet.pair("use", if let [only] = &uses[..] { only.clone() } else { list(uses) });
        sheets.push(sheet);
    }
    let mut last = 0;
    for (name, server) in config.runners() {
        let mut sheet = Sheet::named("[[server]]", name.as_str());
        // A gap is left by a server that was removed.
        if server.number != last + 1 {
            sheet.pair("number", server.number.to_string());
        }
        last = server.number;
        if let Some(domain) = &server.domain {
            sheet.text("domain", domain);
        }
        sheet.optional_text("comment", &server.comment);
        let addresses = server.addresses.iter();
        let entry = |(network, address): (&_, &std::net::IpAddr)| {
            let network: &tasuki_core::ids::NetworkName = network;
            (quoted_key(network.as_str()), quoted(&address.to_string()))
        };
        sheet.table("addresses", addresses.map(entry));
        fence::levels(&mut sheet, server);
        sheets.push(sheet);
    }
    let witnesses = config.servers_by_number().into_iter();
    sheets.extend(witnesses.filter_map(|(name, server)| witness(name, server)));
    for path in &config.settings.heartbeats {
        let (kind, key, value) = match path {
            HeartbeatPath::Lan { network } => ("lan", "network", network.to_string()),
            HeartbeatPath::Com { device } => ("com", "device", device.display().to_string()),
            HeartbeatPath::Disk { device } => ("disk", "device", device.display().to_string()),
        };
        let mut sheet = Sheet::new("[[heartbeat]]");
        sheet.text("kind", kind);
        sheet.text(key, &value);
        sheets.push(sheet);
    }
    sheets.extend(config.settings.fences.iter().map(|(name, device)| fence::sheet(name, device)));
    sheets.extend(votes(config));
    sheets
}

/// What cannot be told from the rest of the file.
fn votes(config: &ClusterConfig) -> Option<Sheet> {
    let votes = &config.settings.votes;
    let mut sheet = Sheet::new("[votes]");
    let files: Vec<String> = votes.files.iter().map(|file| file.display().to_string()).collect();
    sheet.unless("[]", "files", texts(files.iter().map(String::as_str)));
    sheet.time_unless(DEFAULT_DISK_TIMEOUT, "disk_timeout", votes.disk_timeout);
    if votes.tie_break != usual_tie_break(&config.servers, &votes.files) {
        let (kind, addresses) = match &votes.tie_break {
            TieBreak::None => (TieBreakWord::None, None),
            TieBreak::Witness { .. } => (TieBreakWord::Witness, None),
            TieBreak::VotingFiles => (TieBreakWord::VotingFiles, None),
            TieBreak::Fence => (TieBreakWord::Fence, None),
            TieBreak::UnsafePing { addresses } => (TieBreakWord::UnsafePing, Some(addresses)),
        };
        sheet.text("tie_break", word(&TIE_BREAKS, kind));
        if let Some(addresses) = addresses {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            sheet.pair("addresses", texts(addresses.iter().map(String::as_str)));
        }
    }
    (!sheet.lines.is_empty()).then_some(sheet)
}

fn witness(name: &ServerName, server: &ServerConfig) -> Option<Sheet> {
    let (kind, port) = match server.role {
        Role::Server => return None,
        Role::Voter { port } => (WitnessKind::Voter, port),
        Role::Register { port } => (WitnessKind::Register, port),
    };
    let mut sheet = Sheet::named("[[witness]]", name.as_str());
    sheet.optional_text("comment", &server.comment);
    let addresses: Vec<String> = server.addresses.values().map(ToString::to_string).collect();
    match &addresses[..] {
        [only] => sheet.text("address", only),
        several => sheet.pair("addresses", texts(several.iter().map(String::as_str))),
    }
    sheet.unless(&DEFAULT_WITNESS_PORT.to_string(), "port", port.to_string());
    sheet.text("kind", word(&WITNESS_KINDS, kind));
    if let Some(domain) = &server.domain {
        sheet.text("domain", domain);
    }
    Some(sheet)
}

fn cluster(settings: &ClusterSettings) -> Sheet {
    let mut sheet = Sheet::named("[cluster]", &settings.name);
    sheet.optional_text("comment", &settings.comment);
    sheet.pair("detect", time(settings.timing.detect));
    sheet.time_unless(DEFAULT_STARTUP_WAIT, "startup_wait", settings.startup_wait);
    sheet.unless(
        &quoted(word(&ON_HANG, OnHang::default())),
        "on_hang",
        quoted(word(&ON_HANG, settings.on_hang)),
    );
    sheet.unless(&DEFAULT_PORT.to_string(), "port", settings.port.to_string());
    sheet.unless(&DEFAULT_HEARTBEAT_PORT.to_string(), "heartbeat_port", settings.heartbeat_port.to_string());
    sheet
}

/// Only what differs from what the knob gives.
fn timing(timing: &Timing) -> Option<Sheet> {
    let plain = Timing::from_detect(timing.detect);
    let derived = derive(timing.detect, Some(timing.lease), Some(timing.guard_budget), Some(timing.watchdog));
    let mut sheet = Sheet::new("[cluster.timing]");
    for (key, value, default) in [
        ("beat", timing.beat, derived.beat),
        ("path_late", timing.path_late, derived.path_late),
        ("path_lost", timing.path_lost, derived.path_lost),
        ("election_min", timing.election_min, derived.election_min),
        ("election_max", timing.election_max, derived.election_max),
        ("lease", timing.lease, plain.lease),
        ("guard_budget", timing.guard_budget, plain.guard_budget),
        ("clock_margin", timing.clock_margin, derived.clock_margin),
        ("watchdog", timing.watchdog, plain.watchdog),
    ] {
        sheet.time_unless(default, key, value);
    }
    (!sheet.lines.is_empty()).then_some(sheet)
}

pub(super) fn pool(name: &PoolName, pool: &PoolConfig) -> Sheet {
    let mut sheet = Sheet::named("[[pool]]", name.as_str());
    sheet.optional_text("comment", &pool.comment);
    sheet.unless("0", "min", pool.min.to_string());
    if let Some(max) = pool.max {
        sheet.pair("max", max.to_string());
    }
    sheet.unless("0", "importance", pool.importance.to_string());
    sheet.unless("[]", "servers", texts(pool.servers.iter().map(|server| server.as_str())));
    sheet
}
