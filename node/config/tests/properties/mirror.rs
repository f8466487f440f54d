//! Mirrored disks put on a configuration, one for each group that has servers enough.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use proptest::{collection, option, prelude::*};
use tasuki_core::config::{
    ClusterConfig, Compression, DeviceBackend, InitialCopy, MirrorAreas, MirrorDiskConfig, OnDiskFailure,
    ResourceConfig, ResourceKind, mirror_monitors,
};

use super::{duration, final_action};

type Places = (Option<u64>, bool, bool, bool, Vec<String>);
type Words = (InitialCopy, OnDiskFailure, Compression, Option<DeviceBackend>);
type Rates = (u64, u64, bool, bool);

/// What does not depend on the rest of the cluster.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    places: Places,
    words: Words,
    rates: Rates,
    times: (Duration, Duration, Duration),
    last: tasuki_core::config::FinalAction,
}

pub(super) fn disks() -> impl Strategy<Value = Vec<Disk>> {
    let flag = any::<bool>;
    let places = (
        option::of(1u64..5000),
        flag(),
        flag(),
        flag(),
        collection::vec("[a-z]{1,6}(=[0-9a-z]{1,4})?", 0..3),
    );
    let words = (
        prop_oneof![
            Just(InitialCopy::Mkfs),
            Just(InitialCopy::MkfsAnyway),
            Just(InitialCopy::Copy),
            Just(InitialCopy::KnownEqual)
        ],
        prop_oneof![Just(OnDiskFailure::Diskless), Just(OnDiskFailure::Fail)],
        prop_oneof![Just(Compression::None), Just(Compression::Lz4), Just(Compression::Zstd)],
        option::of(prop_oneof![
            Just(DeviceBackend::Ublk),
            Just(DeviceBackend::Nbd),
            Just(DeviceBackend::Loop)
        ]),
    );
    let rates = (0u64..1 << 30, 1u64 << 30..1 << 40, flag(), flag());
    let disk = (places, words, rates, (duration(), duration(), duration()), final_action());
    let disk =
        disk.prop_map(|(places, words, rates, times, last)| Disk { places, words, rates, times, last });
    collection::vec(disk, 0..4)
}

pub(super) fn put_on(mut config: ClusterConfig, disks: Vec<Disk>) -> ClusterConfig {
    let taken = [config.settings.port, config.settings.heartbeat_port];
    let mut free = (40_000u16..).filter(|port| !taken.contains(port));
    let port = free.next().unwrap();
    let network = config.settings.networks.keys().next_back().cloned();
    for ((number, (_, group)), disk) in (0..).zip(config.groups.iter_mut()).zip(disks) {
        if group.servers.len() < 2 {
            continue;
        }
        group.servers.truncate(2);
        let (size, named, mounted, single, mount_options) = disk.places;
        let (initial, on_disk_failure, compression, backend) = disk.words;
        let (floor, ceiling, limited, tcp) = disk.rates;
        let path = |word: &str| PathBuf::from(format!("/{word}/{number} \"disk\""));
        let areas = MirrorAreas { data: path("other"), metadata: path("elsewhere") };
        let value = MirrorDiskConfig {
            size: size.map(|mebibytes| mebibytes << 20),
            per_server: if single {
                BTreeMap::from([(group.servers[0].clone(), areas)])
            } else {
                BTreeMap::new()
            },
            device: named.then(|| format!("/dev/NMP{number}").into()),
            mount: mounted.then(|| path("srv")),
            filesystem: if limited { "xfs" } else { "ext3" }.to_owned(),
            mount_options,
            check: named,
            network: network.clone().filter(|_| tcp),
            port,
            initial,
            automatic: limited,
            on_disk_failure,
            peer_timeout: if single { Duration::ZERO } else { disk.times.0 },
            resync_floor: floor,
            resync_ceiling: if limited { ceiling } else { 0 },
            compression,
            backend,
            export_port: if tcp { free.next() } else { None },
            start_timeout: disk.times.1.max(super::SHORTEST),
            stop_timeout: disk.times.2.max(super::SHORTEST),
            ..MirrorDiskConfig::of(path("data"), path("metadata"))
        };
        let mut resource = ResourceConfig::of(ResourceKind::MirrorDisk(value));
        resource.on_stop_failure.last = disk.last;
        group.resources.insert(format!("disk{number}").as_str().into(), resource);
    }
    config.monitors.extend(mirror_monitors(&config.groups, &config.monitors));
    config
}
