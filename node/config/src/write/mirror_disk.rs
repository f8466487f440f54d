//! Mirrored disks.

use std::path::Path;

use tasuki_core::config::{InitialCopy, MirrorDiskConfig};

use super::{
    sheet::Sheet,
    text::{inline, quoted, quoted_key, texts, word},
};
use crate::{
    section::mirror_disk::{BACKENDS, COMPRESSION, FORCE, ON_DISK_FAILURE, defaults},
    units::format_size,
};

pub(super) fn write(sheet: &mut Sheet, disk: &MirrorDiskConfig) {
    let default = defaults();
    let path = |path: &Path| quoted(&path.display().to_string());
    sheet.unless("", "data", path(&disk.data));
    sheet.unless("", "metadata", path(&disk.metadata));
    if let Some(size) = disk.size {
        sheet.unless("", "size", quoted(&format_size(size)));
    }
    if !disk.per_server.is_empty() {
        let entries = disk.per_server.iter().map(|(server, areas)| {
            let own = [("data", path(&areas.data)), ("metadata", path(&areas.metadata))];
            (quoted_key(server.as_str()), inline(own.map(|(key, value)| (key.to_owned(), value))))
        });
        sheet.table("per_server", entries);
    }
    if let Some(device) = &disk.device {
        sheet.unless("", "device", path(device));
    }
    if let Some(mount) = &disk.mount {
        sheet.unless("", "mount", path(mount));
    }
    sheet.unless(&quoted(&default.filesystem), "filesystem", quoted(&disk.filesystem));
    sheet.unless("[]", "mount_options", texts(disk.mount_options.iter().map(String::as_str)));
    sheet.unless("true", "fsck", disk.check.to_string());
    match disk.initial {
        InitialCopy::Mkfs => sheet.unless("true", "initial_mkfs", "true"),
        InitialCopy::Copy => sheet.unless("true", "initial_mkfs", "false"),
        InitialCopy::MkfsAnyway => sheet.unless("true", "initial_mkfs", quoted(FORCE)),
        InitialCopy::KnownEqual => sheet.unless("false", "known_equal", "true"),
    }
    if let Some(network) = &disk.network {
        sheet.unless("", "network", quoted(network.as_str()));
    }
    sheet.unless(&default.port.to_string(), "port", disk.port.to_string());
    sheet.unless("true", "automatic", disk.automatic.to_string());
    if (disk.resync_floor, disk.resync_ceiling) != (default.resync_floor, default.resync_ceiling) {
        let size = |bytes| quoted(&format_size(bytes));
        sheet.table("resync", [("floor", size(disk.resync_floor)), ("ceiling", size(disk.resync_ceiling))]);
    }
    let failure = |failure| quoted(word(&ON_DISK_FAILURE, failure));
    sheet.unless(&failure(default.on_disk_failure), "on_disk_failure", failure(disk.on_disk_failure));
    sheet.time_unless(default.peer_timeout, "peer_timeout", disk.peer_timeout);
    let compression = |compression| quoted(word(&COMPRESSION, compression));
    sheet.unless(&compression(default.compression), "compression", compression(disk.compression));
    let backend = |backend| quoted(word(&BACKENDS, backend));
    sheet.unless(&backend(default.backend), "backend", backend(disk.backend));
    if let Some(port) = disk.export_port {
        sheet.unless("", "export_port", port.to_string());
    }
    sheet.time_unless(default.start_timeout, "start_timeout", disk.start_timeout);
    sheet.time_unless(default.stop_timeout, "stop_timeout", disk.stop_timeout);
}
