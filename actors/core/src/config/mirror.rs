//! A mirrored disk as operators wish it.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    FinalAction, GroupConfig, MonitorConfig, MonitorKind, MonitorTiming, RecoveryConfig, RecoveryTarget,
    ResourceKind,
};
use crate::{
    ids::{GroupName, MonitorName, NetworkName, ResourceName, ServerName},
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
    /// A file system is made on the first primary, unless one is found there, and everything is
    /// copied.
    #[default]
    Mkfs,
    /// As `Mkfs`, over whatever is found: said twice.
    MkfsAnyway,
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
        self.per_server
            .get(server)
            .cloned()
            .unwrap_or_else(|| MirrorAreas { data: self.data.clone(), metadata: self.metadata.clone() })
    }
}

/// How often the automatic monitors of a mirrored disk look.
const LOOK_EVERY: Duration = Duration::from_secs(10);

impl MonitorConfig {
    /// The monitor of a mirrored disk that comes by itself (C12): it only shows, and mends nothing.
    #[must_use]
    pub fn of_mirror(kind: MonitorKind, disk: &ResourceName, servers: &[ServerName]) -> Self {
        Self {
            comment: String::new(),
            kind,
            interval: LOOK_EVERY,
            timeout: Duration::from_secs(60),
            retries: 0,
            start_delay: Duration::ZERO,
            timing: MonitorTiming::Always,
            target: Some(disk.clone()),
            nice: 0,
            servers: servers.to_vec(),
            recovery: RecoveryConfig {
                target: RecoveryTarget::Resource(disk.clone()),
                restarts: 0,
                failovers: 0,
                last: FinalAction::None,
            },
        }
    }
}

/// Every mirrored disk, by the names of its group and of itself.
pub fn mirror_disks(
    groups: &BTreeMap<GroupName, GroupConfig>,
) -> impl Iterator<Item = (&GroupName, &GroupConfig, &ResourceName, &MirrorDiskConfig)> {
    groups.iter().flat_map(|(name, group)| {
        let members = group.resources.iter();
        members.filter_map(move |(resource, config)| match &config.kind {
            ResourceKind::MirrorDisk(disk) => Some((name, group, resource, disk)),
            ResourceKind::Exec(_) | ResourceKind::FloatingIp(_) => None,
        })
    })
}

/// The monitors that come by themselves with mirrored disks (C12): `mdw1` for the copy and `mdnw1`
/// for the link of the first, and so on; not where one of that kind watches the disk already. A
/// number whose name something else has is followed by the next free one.
#[must_use]
pub fn mirror_monitors(
    groups: &BTreeMap<GroupName, GroupConfig>,
    monitors: &BTreeMap<MonitorName, MonitorConfig>,
) -> BTreeMap<MonitorName, MonitorConfig> {
    let mut found = BTreeMap::new();
    let watched = |kind: &MonitorKind, disk: &ResourceName| {
        monitors.values().any(|one| one.kind == *kind && one.target.as_ref() == Some(disk))
    };
    for (number, (_, group, disk, _)) in (1u32..).zip(mirror_disks(groups)) {
        for (prefix, kind) in [("mdw", MonitorKind::Mirror), ("mdnw", MonitorKind::MirrorLink)] {
            if watched(&kind, disk) {
                continue;
            }
            let names = (number..).map(|number| MonitorName::new(format!("{prefix}{number}")));
            let free =
                names.into_iter().find(|name| !monitors.contains_key(name) && !found.contains_key(name));
            let Some(name) = free else { continue };
            found.insert(name, MonitorConfig::of_mirror(kind, disk, &group.servers));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ResourceConfig;

    fn groups() -> BTreeMap<GroupName, GroupConfig> {
        let disk = || MirrorDiskConfig::of("/dev/sdb2".into(), "/dev/sdb1".into());
        let resources = ["beta", "alpha"]
            .map(|name| (ResourceName::new(name), ResourceConfig::of(ResourceKind::MirrorDisk(disk()))));
        let servers = vec!["kiki".into(), "lala".into()];
        let group = GroupConfig { servers, resources: resources.into(), ..GroupConfig::default() };
        BTreeMap::from([("db".into(), group)])
    }

    #[test]
    fn every_mirrored_disk_has_two_monitors_that_mend_nothing() {
        let monitors = mirror_monitors(&groups(), &BTreeMap::new());
        let names: Vec<&str> = monitors.keys().map(MonitorName::as_str).collect();
        assert_eq!(names, ["mdnw1", "mdnw2", "mdw1", "mdw2"]);
        let first = &monitors[&"mdw1".into()];
        assert_eq!((&first.kind, first.target.as_ref()), (&MonitorKind::Mirror, Some(&"alpha".into())));
        assert_eq!(first.servers, ["kiki".into(), "lala".into()]);
        assert!(monitors.values().all(|one| one.recovery.is_nothing()));
    }

    #[test]
    fn a_monitor_of_ones_own_takes_the_place_of_the_automatic_one() {
        let own = MonitorConfig::of_mirror(MonitorKind::Mirror, &"alpha".into(), &[]);
        let monitors = mirror_monitors(&groups(), &BTreeMap::from([("mdw2".into(), own)]));
        let names: Vec<String> = monitors.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["mdnw1", "mdnw2", "mdw3"], "beta's has the next free name");
    }
}
