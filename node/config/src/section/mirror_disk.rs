//! `type = "mirror_disk"`: a device whose data every server of its group has. Only in a group.
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `data` | the data area: a block device, or a file | needed |
//! | `metadata` | the management area: a block device or a file of at least 10 MB, used by nothing else | needed |
//! | `size` | of a data area that is a file: it is made when it is missing | as it is |
//! | `per_server` | other areas on single servers: `{ SERVER = { data = "…", metadata = "…" } }` | none |
//! | `device` | another name of the device, besides `/dev/tasuki/NAME` | none |
//! | `mount` | where it is mounted; programs use the device otherwise | not mounted |
//! | `filesystem`, `mount_options` | `ext2`, `ext3`, `ext4`, `xfs`, `btrfs`, `reiserfs`; a list of options | `ext4`, none |
//! | `fsck` | it is checked before it is mounted | `true` |
//! | `initial_mkfs` | at the very first start a file system is made, unless one is found: `true`; over whatever is found: `"force"`; never, what is there is kept and copied: `false` | `true` |
//! | `known_equal` | all copies are equal already: nothing is made, nothing copied | `false` |
//! | `network`, `port` | where mirror data goes; the port is the same for all disks | the first network with that use, or the first interconnect; 29051 |
//! | `automatic` | a copy that comes back is brought up to date by itself | `true` |
//! | `resync` | `{ floor, ceiling }`: at least and at most so much a second | 10 MiB, no limit |
//! | `on_disk_failure` | when its own disk fails, it goes on through the peer's: `diskless`; its I/O fails and the group moves: `fail` | `diskless` |
//! | `peer_timeout` | a peer that does not answer a write for so long is put out; `0s`: it is waited for while its stream stands | `10s` |
//! | `compression` | `none`, `lz4`, `zstd` | `none` |
//! | `backend` | how the device comes about: `auto`, `ublk`, `nbd`, `loop` | `auto` |
//! | `export_port` | also exported over NBD with TLS, at this port of the mirror network | not |
//! | `start_timeout`, `stop_timeout` | opening, check and mount together; unmounting | `5m`, `1m` |

use std::path::PathBuf;

use tasuki_core::config::{
    Compression, DeviceBackend, InitialCopy, MIRROR_PORT, MirrorDiskConfig, OnDiskFailure, built_in,
};
use toml::{Spanned, de::DeValue};

use crate::{
    draft::{AreasDraft, MirrorDraft, Name},
    problem::Code,
    reader::Section,
    section::keys,
    units::format_size,
};

/// The words of `compression`.
pub(crate) const COMPRESSION: [(&str, Compression); 3] =
    [("none", Compression::None), ("lz4", Compression::Lz4), ("zstd", Compression::Zstd)];

/// The words of `backend`.
pub(crate) const BACKENDS: [(&str, Option<DeviceBackend>); 4] = [
    ("auto", None),
    ("ublk", Some(DeviceBackend::Ublk)),
    ("nbd", Some(DeviceBackend::Nbd)),
    ("loop", Some(DeviceBackend::Loop)),
];

/// The words of `on_disk_failure`.
pub(crate) const ON_DISK_FAILURE: [(&str, OnDiskFailure); 2] =
    [("diskless", OnDiskFailure::Diskless), ("fail", OnDiskFailure::Fail)];

const FILESYSTEMS: [(&str, ()); 6] =
    [("ext4", ()), ("ext3", ()), ("ext2", ()), ("xfs", ()), ("btrfs", ()), ("reiserfs", ())];

/// `initial_mkfs` for a file system that is made over another one.
pub(crate) const FORCE: &str = "force";

/// Extents of the smallest volume are of this size: no volume ends inside of one.
const EXTENT: u64 = 4096;
/// Smaller holds no file system.
const SMALLEST: u64 = 1024 * 1024;

/// What holds where nothing is written.
pub(crate) fn defaults() -> MirrorDiskConfig {
    MirrorDiskConfig::of(PathBuf::new(), PathBuf::new())
}

pub(crate) fn read(section: &Section<'_>) -> MirrorDraft {
    section.need("data", "data = \"/dev/…\": the partition, or file, that has its data");
    section.need("metadata", "metadata = \"/dev/…\": a partition or file of at least 10 MB beside it");
    let default = defaults();
    let time = |key, default| keys::time(section, key).map_or(default, Spanned::into_inner);
    let flag = |key, default| section.boolean(key).map_or(default, Spanned::into_inner);
    let (floor, ceiling) = resync(section);
    let config = MirrorDiskConfig {
        filesystem: filesystem(section).unwrap_or_else(|| default.filesystem.clone()),
        mount_options: options(section),
        check: flag("fsck", default.check),
        initial: initial(section),
        automatic: flag("automatic", default.automatic),
        on_disk_failure: section
            .choice("on_disk_failure", &ON_DISK_FAILURE)
            .map_or(default.on_disk_failure, Spanned::into_inner),
        peer_timeout: time("peer_timeout", default.peer_timeout),
        resync_floor: floor.unwrap_or(default.resync_floor),
        resync_ceiling: ceiling.unwrap_or(default.resync_ceiling),
        compression: section
            .choice("compression", &COMPRESSION)
            .map_or(default.compression, Spanned::into_inner),
        backend: section.choice("backend", &BACKENDS).map_or(default.backend, Spanned::into_inner),
        start_timeout: time("start_timeout", default.start_timeout),
        stop_timeout: time("stop_timeout", default.stop_timeout),
        ..default
    };
    MirrorDraft {
        config,
        data: path(section, "data"),
        metadata: path(section, "metadata"),
        size: size_of(section),
        per_server: per_server(section),
        device: device(section),
        mount: mount(section),
        network: section.string("network"),
        port: tcp_port(section, "port").unwrap_or_else(|| Spanned::new(section.span.clone(), MIRROR_PORT)),
        export_port: tcp_port(section, "export_port"),
        span: section.span.clone(),
    }
}

/// An absolute path: relative ones would mean something else for each process.
fn path(section: &Section<'_>, key: &str) -> Option<Spanned<PathBuf>> {
    let text = section.string(key)?;
    if text.get_ref().starts_with('/') && text.get_ref().len() > 1 && !text.get_ref().contains('\0') {
        return Some(Spanned::new(text.span(), PathBuf::from(text.into_inner())));
    }
    let problem = section
        .reading
        .problem(Code::BadValue, &text.span(), format!("{} is no whole path", section.label(key)))
        .found(format!("{:?}", text.get_ref()))
        .expected("a path that begins with `/`")
        .remedy("write the path from the root on");
    section.reading.add(problem);
    None
}

fn device(section: &Section<'_>) -> Option<PathBuf> {
    let place = path(section, "device")?;
    let name = place.get_ref().strip_prefix("/dev").ok();
    if name.is_some_and(|name| !name.starts_with("tasuki") && name.components().count() > 0) {
        return Some(place.into_inner());
    }
    let problem = section
        .reading
        .problem(
            Code::BadValue,
            &place.span(),
            format!("{} is no name for a device", section.label("device")),
        )
        .found(format!("`{}`", place.get_ref().display()))
        .expected("a path below /dev, such as \"/dev/NMP1\"")
        .remedy("choose a free name below /dev; /dev/tasuki is there by itself");
    section.reading.add(problem);
    None
}

fn mount(section: &Section<'_>) -> Option<Spanned<PathBuf>> {
    let place = path(section, "mount")?;
    let system = ["/dev", "/proc", "/sys", "/run", "/usr", "/etc", "/boot", "/bin", "/sbin", "/lib"];
    if !system.iter().any(|taken| place.get_ref().as_path() == std::path::Path::new(taken)) {
        return Some(place);
    }
    let problem = section
        .reading
        .problem(Code::BadValue, &place.span(), format!("{} hides the system's own", section.label("mount")))
        .found(format!("`{}`", place.get_ref().display()))
        .expected("a folder for this disk alone")
        .remedy("make a folder for it, such as \"/srv\"");
    section.reading.add(problem);
    None
}

fn filesystem(section: &Section<'_>) -> Option<String> {
    let name = section.string("filesystem")?.into_inner();
    section.choice("filesystem", &FILESYSTEMS)?;
    Some(name)
}

fn options(section: &Section<'_>) -> Vec<String> {
    let expected = "a list of mount options, such as [\"noatime\"]";
    let options = section.names("mount_options", expected).unwrap_or_default();
    let bad =
        |option: &&Name| option.get_ref().contains([' ', ',', '\0', '\n']) || option.get_ref().is_empty();
    if let Some(option) = options.iter().find(bad) {
        let problem = section
            .reading
            .problem(Code::BadValue, &option.span(), "this is no single mount option")
            .found(format!("{:?}", option.get_ref()))
            .expected(expected)
            .remedy("write each option as a word of its own");
        section.reading.add(problem);
        return Vec::new();
    }
    options.into_iter().map(Spanned::into_inner).collect()
}

/// `initial_mkfs` and `known_equal` together.
fn initial(section: &Section<'_>) -> InitialCopy {
    let equal = section.boolean("known_equal").filter(|equal| *equal.get_ref());
    let mkfs = section.get("initial_mkfs").and_then(|value| match value.get_ref() {
        DeValue::Boolean(true) => Some(InitialCopy::Mkfs),
        DeValue::Boolean(false) => Some(InitialCopy::Copy),
        DeValue::String(_) => {
            let words =
                [("true", InitialCopy::Mkfs), ("false", InitialCopy::Copy), (FORCE, InitialCopy::MkfsAnyway)];
            section.choice("initial_mkfs", &words).map(Spanned::into_inner)
        }
        _ => section.wrong_type(value, &section.label("initial_mkfs"), "`true`, `false` or \"force\""),
    });
    let Some(equal) = equal else { return mkfs.unwrap_or_default() };
    if section.writes("initial_mkfs") && !matches!(mkfs, None | Some(InitialCopy::Copy)) {
        let message = format!("{} cannot be equal already and get a new file system", section.what);
        let problem = section
            .reading
            .problem(Code::BadValue, &equal.span(), message)
            .found("`known_equal = true` with `initial_mkfs`")
            .expected("one of the two")
            .remedy("take `initial_mkfs` out where the copies are equal; else take `known_equal` out");
        section.reading.add(problem);
    }
    InitialCopy::KnownEqual
}

fn size_of(section: &Section<'_>) -> Option<u64> {
    let size = section.size("size")?;
    let bytes = *size.get_ref();
    if bytes >= SMALLEST && bytes.is_multiple_of(EXTENT) {
        return Some(bytes);
    }
    let problem = section
        .reading
        .problem(
            Code::BadSize,
            &size.span(),
            format!("{} cannot be the size of a volume", section.label("size")),
        )
        .found(format!("{bytes} bytes"))
        .expected(format!("at least {}, in steps of {EXTENT} bytes", format_size(SMALLEST)))
        .remedy(format!("use \"{}\"", format_size((bytes / EXTENT * EXTENT).max(SMALLEST))));
    section.reading.add(problem);
    None
}

fn resync(section: &Section<'_>) -> (Option<u64>, Option<u64>) {
    let Some(table) = section.table("resync", "a table { floor = \"10 MiB\", ceiling = \"200 MiB\" }") else {
        return (None, None);
    };
    let (floor, ceiling) = (table.size("floor"), table.size("ceiling"));
    if let (Some(floor), Some(ceiling)) = (&floor, &ceiling)
        && *ceiling.get_ref() != 0
        && floor.get_ref() > ceiling.get_ref()
    {
        let problem = section
            .reading
            .problem(Code::BadSize, &ceiling.span(), format!("{} is empty", section.label("resync")))
            .found(format!(
                "at least {}, at most {}",
                format_size(*floor.get_ref()),
                format_size(*ceiling.get_ref())
            ))
            .expected("a `ceiling` of at least `floor`; \"0 B\" for none")
            .remedy("raise `ceiling`, or lower `floor`");
        section.reading.add(problem);
    }
    table.finish();
    (floor.map(Spanned::into_inner), ceiling.map(Spanned::into_inner))
}

fn per_server(section: &Section<'_>) -> Vec<(Name, AreasDraft)> {
    let example = "a table { SERVER = { data = \"/dev/…\", metadata = \"/dev/…\" }, … }";
    let Some(table) = section.table("per_server", example) else { return Vec::new() };
    let mut found = Vec::new();
    for (server, value) in table.entries() {
        let what = format!("`{}` in {}", server.get_ref(), table.what);
        let DeValue::Table(own) = value.get_ref() else {
            let expected = "a table { data = \"/dev/…\", metadata = \"/dev/…\" }";
            let _: Option<()> = table.wrong_type(value, &what, expected);
            continue;
        };
        let own = Section::new(section.reading, what, server.span(), own);
        let areas = AreasDraft { data: path(&own, "data"), metadata: path(&own, "metadata") };
        own.finish();
        found.push((server, areas));
    }
    found
}

fn tcp_port(section: &Section<'_>, key: &str) -> Option<Spanned<u16>> {
    let range = built_in::attribute(key).and_then(|attribute| attribute.range);
    let (least, most) = range.unwrap_or((1, i64::from(u16::MAX)));
    let port =
        section.integer(key, u32::try_from(least).unwrap_or(1)..=u32::try_from(most).unwrap_or(65_535))?;
    Some(Spanned::new(port.span(), u16::try_from(*port.get_ref()).ok()?))
}
