//! Monitors.

use std::time::Duration;

use tasuki_core::{
    config::{MonitorConfig, MonitorKind, MonitorTiming, RecoveryTarget},
    ids::MonitorName,
};

use super::{
    sheet::Sheet,
    text::{quoted, texts, word},
};
use crate::{
    assemble::CLUSTER,
    section::{
        monitor::{DEFAULT_INTERVAL, DEFAULT_TIMEOUT, MIRROR_INTERVAL, TIMINGS},
        policies::FINAL_ACTIONS,
    },
};

pub(super) fn sheet(name: &MonitorName, monitor: &MonitorConfig) -> Sheet {
    let mut sheet = Sheet::named("[[monitor]]", name.as_str());
    let (kind, timing) = match monitor.kind {
        MonitorKind::Pid => ("pid", MonitorTiming::WhileActive),
        MonitorKind::Ip { .. } => ("ip", MonitorTiming::Always),
        MonitorKind::Exec { .. } => ("exec", MonitorTiming::Always),
        MonitorKind::Mirror => ("mirror", MonitorTiming::Always),
        MonitorKind::MirrorLink => ("mirror_link", MonitorTiming::Always),
    };
    sheet.text("type", kind);
    sheet.optional_text("comment", &monitor.comment);
    if let Some(target) = &monitor.target {
        sheet.text("target", target.as_str());
    }
    match &monitor.kind {
        MonitorKind::Pid | MonitorKind::Mirror | MonitorKind::MirrorLink => {}
        MonitorKind::Ip { addresses } => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            sheet.pair("addresses", texts(addresses.iter().map(String::as_str)));
        }
        MonitorKind::Exec { command, user, directory } => {
            sheet.pair("command", texts(command.iter().map(String::as_str)));
            if let Some(user) = user {
                sheet.text("user", user);
            }
            if let Some(directory) = directory {
                sheet.text("directory", &directory.display().to_string());
            }
        }
    }
    let usual = if monitor.kind.is_of_mirror() { MIRROR_INTERVAL } else { DEFAULT_INTERVAL };
    sheet.time_unless(usual, "interval", monitor.interval);
    sheet.time_unless(DEFAULT_TIMEOUT, "timeout", monitor.timeout);
    sheet.unless("0", "retries", monitor.retries.to_string());
    sheet.time_unless(Duration::ZERO, "start_delay", monitor.start_delay);
    sheet.unless(&quoted(word(&TIMINGS, timing)), "timing", quoted(word(&TIMINGS, monitor.timing)));
    sheet.unless("0", "nice", monitor.nice.to_string());
    sheet.unless("[]", "servers", texts(monitor.servers.iter().map(|server| server.as_str())));
    let recovery = &monitor.recovery;
    let target = match &recovery.target {
        RecoveryTarget::Resource(resource) => resource.as_str(),
        RecoveryTarget::Group(group) => group.as_str(),
        RecoveryTarget::Cluster => CLUSTER,
    };
    let entries = [
        ("target", quoted(target)),
        ("restarts", recovery.restarts.to_string()),
        ("failovers", recovery.failovers.to_string()),
        ("final", quoted(word(&FINAL_ACTIONS, recovery.last))),
    ];
    sheet.table("recovery", entries);
    sheet
}
