//! Fencing devices, with their secrets: what is written is what is read again. Whoever shows it to
//! people hides them first.

use tasuki_core::{
    config::{FenceConfig, FenceKind, ServerConfig},
    ids::FenceName,
};

use super::{
    sheet::Sheet,
    text::{list, quoted, quoted_key, texts},
};
use crate::section::fence::{DEFAULT_DELAY, DEFAULT_RETRIES, DEFAULT_TIMEOUT};

pub(super) fn sheet(name: &FenceName, fence: &FenceConfig) -> Sheet {
    let mut sheet = Sheet::named("[[fence]]", name.as_str());
    sheet.optional_text("comment", &fence.comment);
    match &fence.kind {
        FenceKind::Agent { program, parameters } => {
            sheet.text("kind", "agent");
            sheet.text("program", &program.display().to_string());
            let entries = parameters.iter();
            let entries: Vec<_> = entries.map(|(key, value)| (quoted_key(key), quoted(value))).collect();
            if !entries.is_empty() {
                sheet.table("parameters", entries);
            }
        }
        FenceKind::Script { program } => {
            sheet.text("kind", "script");
            sheet.text("program", &program.display().to_string());
        }
        FenceKind::Reservation { devices } => {
            sheet.text("kind", "reservation");
            let devices: Vec<String> = devices.iter().map(|device| device.display().to_string()).collect();
            sheet.pair("devices", texts(devices.iter().map(String::as_str)));
        }
        FenceKind::Watchdog => sheet.text("kind", "watchdog"),
    }
    if !fence.ports.is_empty() {
        let ports = fence.ports.iter();
        sheet.table("ports", ports.map(|(server, port)| (quoted_key(server.as_str()), quoted(port))));
    }
    sheet.time_unless(DEFAULT_TIMEOUT, "timeout", fence.timeout);
    sheet.unless(&DEFAULT_RETRIES.to_string(), "retries", fence.retries.to_string());
    sheet.time_unless(DEFAULT_DELAY, "delay", fence.delay);
    sheet
}

/// `fence` of a server.
pub(super) fn levels(sheet: &mut Sheet, server: &ServerConfig) {
    match &server.fencing[..] {
        [] => {}
        [level] if level.len() == 1 => sheet.text("fence", level[0].as_str()),
        levels => {
            let level = |level: &Vec<FenceName>| texts(level.iter().map(FenceName::as_str));
            sheet.pair("fence", list(levels.iter().map(level)));
        }
    }
}
