//! A mirrored disk as operators wish it.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{NetworkName, ServerName},
    time::millis,
};

/// The port of mirror data (C5).
pub const MIRROR_PORT: u16 = 29051;

/// A device kept on every server of its group (C5). The volume is called like the resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorDiskConfig {
    /// The data area: a block device, or a file.
    pub data: PathBuf,
    /// The management area: a block device or a file of at least 10 MB, used by nothing else.
    pub metadata: PathBuf,
    /// The size of a data area that is a file, in bytes; the file is made when it is missing.
    pub size: Option<u64>,
    /// Other places on single servers.
    pub per_server: BTreeMap<ServerName, MirrorAreas>,
    /// The name under which the device appears besides `/dev/tasuki/NAME`.
    pub device: Option<PathBuf>,
    /// Where it is mounted; nowhere when not given: then programs use the device.
    pub mount: Option<PathBuf>,
    /// The file system.
    pub filesystem: String,
    /// Options of its mount.
    pub mount_options: Vec<String>,
    /// Whether it is checked before it is mounted.
    pub check: bool,
    /// The network for mirror data; the first with that use otherwise, or the first interconnect.
    pub network: Option<NetworkName>,
    /// The TCP port of mirror data, the same for all volumes on a server.
    pub port: u16,
    /// How the first copy comes about.
    pub initial: InitialCopy,
    /// A copy that comes back is brought up to date by itself.
    pub automatic: bool,
    /// When the own disk fails: go on through the peer, or fail the resource.
    pub on_disk_failure: OnDiskFailure,
    /// A peer that does not answer a write for so long is put out; zero: it is waited for as long as
    /// its stream stands.
    #[serde(with = "millis")]
    pub peer_timeout: Duration,
    /// A resync copies at least so many bytes a second, whatever else is written.
    pub resync_floor: u64,
    /// And at most so many; zero for no limit.
    pub resync_ceiling: u64,
    /// How frames are made smaller.
    pub compression: Compression,
    /// How the device comes about; the best that the kernel has when not given.
    pub backend: Option<DeviceBackend>,
    /// Also exported over TCP with TLS, at this port of the mirror network.
    pub export_port: Option<u16>,
    /// How long opening, fsck and mount may take together.
    #[serde(with = "millis")]
    pub start_timeout: Duration,
    /// How long unmounting may take; then what uses it is killed.
    #[serde(with = "millis")]
    pub stop_timeout: Duration,
}

/// The areas of one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorAreas {
    /// The data area.
    pub data: PathBuf,
    /// The management area.
    pub metadata: PathBuf,
}

/// How the first copy comes about (C5: initial mkfs).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitialCopy {
    /// A file system is made on the first primary, and everything is copied.
    #[default]
    Mkfs,
    /// What is on the first primary is kept and copied.
    Copy,
    /// All copies are equal already: nothing is copied.
    KnownEqual,
}

/// What becomes of a volume whose own disk fails under a primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDiskFailure {
    /// It goes on through the peer's disk.
    #[default]
    Diskless,
    /// Its I/O fails, and the group moves.
    Fail,
}

/// How frames are made smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// Fast.
    Lz4,
    /// Smaller.
    Zstd,
}

/// How a block device comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceBackend {
    /// The kernel's user-space block driver.
    Ublk,
    /// The kernel's NBD client on our export.
    Nbd,
    /// A file over FUSE under a loop device.
    Loop,
}

impl MirrorDiskConfig {
    /// A volume with these areas and everything else at its default.
    #[must_use]
    pub fn of(data: PathBuf, metadata: PathBuf) -> Self {
        Self {
            data,
            metadata,
            size: None,
            per_server: BTreeMap::new(),
            device: None,
            mount: None,
            filesystem: "ext4".to_owned(),
            mount_options: Vec::new(),
            check: true,
            network: None,
            port: MIRROR_PORT,
            initial: InitialCopy::Mkfs,
            automatic: true,
            on_disk_failure: OnDiskFailure::Diskless,
            peer_timeout: Duration::from_secs(10),
            resync_floor: 10 * 1024 * 1024,
            resync_ceiling: 0,
            compression: Compression::None,
            backend: None,
            export_port: None,
            start_timeout: Duration::from_secs(300),
            stop_timeout: Duration::from_secs(60),
        }
    }

    /// The areas on one server.
    #[must_use]
    pub fn areas(&self, server: &ServerName) -> MirrorAreas {
        self.per_server.get(server).cloned().unwrap_or_else(|| MirrorAreas {
            data: self.data.clone(),
            metadata: self.metadata.clone(),
        })
    }
}
