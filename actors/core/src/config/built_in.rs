//! The resource types that are there from the start, and their attributes.
//!
//! ```text
//! resource
//! ├ local_resource      one instance on every server
//! └ cluster_resource    so many instances, placed
//!   ├ application       as cluster_resource, for the sake of old scripts
//!   ├ exec              a program or a pair of scripts
//!   ├ floating_ip       an address
//!   └ mirror_disk       a device whose data every server of its group has
//! ```

use super::{Value, ValueKind, dependency_syntax::Side};

/// The root of the tree.
pub const ROOT: &str = "resource";
/// The type of what runs on every server, and its descendants.
pub const LOCAL: &str = "local_resource";
/// The type of what is placed, and its descendants.
pub const CLUSTER: &str = "cluster_resource";
/// An address.
pub const FLOATING_IP: &str = "floating_ip";
/// A device whose data every server of its group has.
pub const MIRROR_DISK: &str = "mirror_disk";

/// Every built-in type, its base, and what it is; a base before what inherits from it.
pub const TYPES: [(&str, Option<&str>, &str); 7] = [
    (ROOT, None, "the root of all types"),
    (LOCAL, Some(ROOT), "one instance on every server"),
    (CLUSTER, Some(ROOT), "as many instances as CARDINALITY says, on servers that are chosen"),
    ("application", Some(CLUSTER), "the same as cluster_resource, for the sake of old scripts"),
    ("exec", Some(CLUSTER), "a program or a pair of scripts"),
    (FLOATING_IP, Some(CLUSTER), "an address that moves"),
    (MIRROR_DISK, Some(CLUSTER), "a device whose data every server of its group has"),
];

/// Names that operators see as the state of a resource; no attribute can be called so.
pub const STATE_WORDS: [&str; 14] = [
    "cardinality_id",
    "creation_seed",
    "current_rcount",
    "failure_count",
    "failure_history",
    "id",
    "incarnation",
    "last_fault",
    "last_restart",
    "last_server",
    "last_state_change",
    "state",
    "state_details",
    "target",
];

/// One attribute of a built-in type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltIn {
    /// Its name in the reference and in scripts.
    pub reference: &'static str,
    /// Its name in the configuration file.
    pub name: &'static str,
    /// The type that defines it.
    pub on: &'static str,
    /// What its values are.
    pub kind: AttributeKind,
    /// Its value where nothing is given.
    pub default: Preset,
    /// The least and the greatest number; milliseconds, for durations.
    pub range: Option<(i64, i64)>,
    /// A resource must give it.
    pub required: bool,
    /// What it means.
    pub doc: &'static str,
}

/// What the values of an attribute are, also where that is more than [`ValueKind`] can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeKind {
    /// One value.
    Value(ValueKind),
    /// One of these words.
    Word(&'static [&'static str]),
    /// A number, or this word.
    NumberOr(&'static str),
    /// Names, separated by spaces where they are one text.
    Names(&'static str),
    /// Dependencies on one line.
    Dependencies(Side),
    /// A program and its arguments.
    Command,
    /// An address, perhaps with its interface.
    Address,
    /// A table of its own.
    Table,
}

impl AttributeKind {
    /// The kind of value in which it can be given as one.
    #[must_use]
    pub fn as_value(self) -> ValueKind {
        match self {
            Self::Value(kind) => kind,
            _ => ValueKind::String,
        }
    }

    /// What may be given, for people.
    #[must_use]
    pub fn expected(self) -> String {
        match self {
            Self::Value(kind) => kind.expected().to_owned(),
            Self::Word(words) => super::spelling::one_of(words.iter().copied()),
            Self::NumberOr(word) => format!("a whole number or `{word}`"),
            Self::Names(of) => format!("names of {of}"),
            Self::Dependencies(Side::Start) => "start dependencies as in `hard(db) pullup(db)`".to_owned(),
            Self::Dependencies(Side::Stop) => "stop dependencies as in `hard(db)`".to_owned(),
            Self::Command => "a program and its arguments".to_owned(),
            Self::Address => "an address, `ADDRESS` or `ADDRESS%DEVICE`".to_owned(),
            Self::Table => "a table".to_owned(),
        }
    }
}

impl ValueKind {
    /// What may be given, for people.
    #[must_use]
    pub fn expected(self) -> &'static str {
        match self {
            Self::String => "text",
            Self::Integer => "a whole number",
            Self::Boolean => "true or false",
            Self::Duration => "a duration with its unit, such as `30s`",
        }
    }
}

/// A default that can stand in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// None.
    Nothing,
    /// A number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
    /// Text.
    Text(&'static str),
    /// A span of time.
    Seconds(u64),
}

impl Preset {
    /// As a value.
    #[must_use]
    pub fn value(self) -> Option<Value> {
        match self {
            Self::Nothing => None,
            Self::Number(number) => Some(Value::Integer(number)),
            Self::Flag(yes) => Some(Value::Boolean(yes)),
            Self::Text(text) => Some(Value::String(text.to_owned())),
            Self::Seconds(seconds) => Some(Value::Duration(seconds * 1000)),
        }
    }
}

const STRING: AttributeKind = AttributeKind::Value(ValueKind::String);
const INTEGER: AttributeKind = AttributeKind::Value(ValueKind::Integer);
const BOOLEAN: AttributeKind = AttributeKind::Value(ValueKind::Boolean);
const DURATION: AttributeKind = AttributeKind::Value(ValueKind::Duration);

/// A day, in milliseconds: no time-out or interval is longer.
const DAY: i64 = 24 * 3600 * 1000;
/// A year, in milliseconds.
const YEAR: i64 = 365 * DAY;

const fn of(
    on: &'static str,
    reference: &'static str,
    name: &'static str,
    kind: AttributeKind,
    doc: &'static str,
) -> BuiltIn {
    BuiltIn { reference, name, on, kind, default: Preset::Nothing, range: None, required: false, doc }
}

impl BuiltIn {
    const fn default(self, default: Preset) -> Self {
        Self { default, ..self }
    }

    const fn range(self, least: i64, greatest: i64) -> Self {
        Self { range: Some((least, greatest)), ..self }
    }

    const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// Whether a type has it that is, or inherits from, the type that defines it: an address or a
    /// disk runs no program.
    #[must_use]
    pub fn is_on(&self, ancestry: &[&str]) -> bool {
        let (address, disk) = (ancestry.contains(&FLOATING_IP), ancestry.contains(&MIRROR_DISK));
        let scripted = SCRIPTED.contains(&self.name);
        let timed = OF_DISKS.iter().any(|(name, _)| *name == self.name);
        let shared = disk && ALSO_OF_DISKS.contains(&self.name);
        (ancestry.contains(&self.on) || shared) && !(scripted && (address || (disk && !timed)))
    }

    /// Its value where a type with this ancestry gives none.
    #[must_use]
    pub fn default_on(&self, ancestry: &[&str]) -> Preset {
        let own = OF_DISKS.iter().filter(|_| ancestry.contains(&MIRROR_DISK));
        own.into_iter().find(|(name, _)| *name == self.name).map_or(self.default, |(_, default)| *default)
    }
}

/// What other types have too, and disks with other defaults.
const OF_DISKS: [(&str, Preset); 2] =
    [("start_timeout", Preset::Seconds(300)), ("stop_timeout", Preset::Seconds(60))];

/// What addresses and disks both have.
const ALSO_OF_DISKS: [&str; 2] = ["device", "per_server"];

/// What only makes sense where a program runs.
const SCRIPTED: [&str; 13] = [
    "start",
    "stop",
    "check",
    "wait",
    "watch",
    "user",
    "directory",
    "environment",
    "check_interval",
    "check_timeout",
    "script_timeout",
    "start_timeout",
    "stop_timeout",
];

/// Every attribute of the built-in types.
pub const ATTRIBUTES: &[BuiltIn] = &[
    of(ROOT, "NAME", "name", STRING, "The name, unique in the cluster.").required(),
    of(ROOT, "TYPE", "type", STRING, "The type: built in, or one that was added.").required(),
    of(ROOT, "DESCRIPTION", "comment", STRING, "For people.").default(Preset::Text("")),
    of(ROOT, "ENABLED", "enabled", BOOLEAN, "Whether anything may start it.").default(Preset::Flag(true)),
    of(
        ROOT,
        "AUTO_START",
        "auto_start",
        AttributeKind::Word(&["always", "restore", "never"]),
        "Whether it starts with the cluster: always, if it was wanted before, or never.",
    )
    .default(Preset::Text("always")),
    of(
        ROOT,
        "RESTART_ATTEMPTS",
        "restart_attempts",
        INTEGER,
        "How often it is tried again on the same server before it goes elsewhere.",
    )
    .default(Preset::Number(0))
    .range(0, 1000),
    of(
        ROOT,
        "UPTIME_THRESHOLD",
        "uptime_threshold",
        DURATION,
        "Online for this long, its counters start again.",
    )
    .default(Preset::Seconds(60))
    .range(1000, YEAR),
    of(
        ROOT,
        "FAILURE_THRESHOLD",
        "failure_threshold",
        INTEGER,
        "So many failures within FAILURE_INTERVAL, and it is given up; 0 means never.",
    )
    .default(Preset::Number(0))
    .range(0, 20),
    of(
        ROOT,
        "FAILURE_INTERVAL",
        "failure_interval",
        DURATION,
        "The time in which FAILURE_THRESHOLD counts; 0 counts nothing.",
    )
    .default(Preset::Seconds(0))
    .range(0, YEAR),
    of(ROOT, "LOAD", "load", INTEGER, "How much of a server one instance takes; balancing adds it up.")
        .default(Preset::Number(1))
        .range(0, 1_000_000),
    of(
        ROOT,
        "START_DEPENDENCIES",
        "start_dependencies",
        AttributeKind::Dependencies(Side::Start),
        "What it asks of others to start.",
    )
    .default(Preset::Text("")),
    of(
        ROOT,
        "STOP_DEPENDENCIES",
        "stop_dependencies",
        AttributeKind::Dependencies(Side::Stop),
        "Whose stop stops it.",
    )
    .default(Preset::Text("")),
    of(
        ROOT,
        "ON_STOP_FAILURE",
        "on_stop_failure",
        AttributeKind::Table,
        "What follows when it does not stop: retries, then a final action.",
    ),
    of(ROOT, "START", "start", AttributeKind::Command, "The program that starts it.").required(),
    of(
        ROOT,
        "STOP",
        "stop",
        AttributeKind::Command,
        "The program that stops it; without one, what runs gets SIGTERM, then SIGKILL.",
    ),
    of(
        ROOT,
        "CHECK",
        "check",
        AttributeKind::Command,
        "The program that looks at it: exit code 0 online, 1 ended, 2 ended as planned, 3 unknown, 4 \
         intermediate, anything else failed.",
    ),
    of(ROOT, "CHECK_INTERVAL", "check_interval", DURATION, "Between one look and the next.")
        .default(Preset::Seconds(60))
        .range(1000, DAY),
    of(
        ROOT,
        "SCRIPT_TIMEOUT",
        "script_timeout",
        DURATION,
        "How long each of its programs may take, where no other time-out is given.",
    )
    .range(100, DAY),
    of(ROOT, "START_TIMEOUT", "start_timeout", DURATION, "How long its start may take.")
        .default(Preset::Seconds(1800))
        .range(100, DAY),
    of(ROOT, "STOP_TIMEOUT", "stop_timeout", DURATION, "How long its stop may take.")
        .default(Preset::Seconds(1800))
        .range(100, DAY),
    of(ROOT, "CHECK_TIMEOUT", "check_timeout", DURATION, "How long one look may take.")
        .default(Preset::Seconds(60))
        .range(100, DAY),
    of(
        ROOT,
        "WAIT",
        "wait",
        BOOLEAN,
        "true: the start program must end with 0. false: it goes on running and is watched.",
    )
    .default(Preset::Flag(true)),
    of(ROOT, "WATCH", "watch", BOOLEAN, "With wait = false: notice by itself when the program ends.")
        .default(Preset::Flag(true)),
    of(ROOT, "USER", "user", STRING, "Its programs run as this user; as Tasuki's own otherwise."),
    of(ROOT, "DIRECTORY", "directory", STRING, "The working directory of its programs."),
    of(ROOT, "ENVIRONMENT", "environment", AttributeKind::Table, "More environment for its programs."),
    of(
        CLUSTER,
        "CARDINALITY",
        "cardinality",
        AttributeKind::NumberOr("uniform"),
        "How many instances there are; uniform: one on every server that is allowed.",
    )
    .default(Preset::Number(1))
    .range(1, 1000),
    of(
        CLUSTER,
        "PLACEMENT",
        "placement",
        AttributeKind::Word(&["balanced", "favored", "restricted"]),
        "On the server with the least LOAD, on HOSTING_MEMBERS first, or on these only.",
    )
    .default(Preset::Text("balanced")),
    of(
        CLUSTER,
        "HOSTING_MEMBERS",
        "hosting_members",
        AttributeKind::Names("servers"),
        "The servers of which PLACEMENT speaks, best first.",
    )
    .default(Preset::Text("")),
    of(
        CLUSTER,
        "SERVER_POOLS",
        "server_pools",
        AttributeKind::Names("server pools"),
        "Only servers in these pools; none means any.",
    )
    .default(Preset::Text("")),
    of(
        CLUSTER,
        "FAILOVER",
        "failover",
        AttributeKind::Word(&["auto", "manual"]),
        "Whether it goes elsewhere by itself after a failure.",
    )
    .default(Preset::Text("auto")),
    of(
        CLUSTER,
        "FAILBACK",
        "failback",
        AttributeKind::Word(&["auto", "manual"]),
        "Whether it goes back to a better server by itself.",
    )
    .default(Preset::Text("manual")),
    of(FLOATING_IP, "ADDRESS", "address", AttributeKind::Address, "The address.").required(),
    of(FLOATING_IP, "PREFIX", "prefix", INTEGER, "Its prefix length; that of its network otherwise.")
        .range(0, 128),
    of(
        FLOATING_IP,
        "DEVICE",
        "device",
        STRING,
        "Of an address its interface, the one that carries the subnet otherwise; of a disk another name besides \
         /dev/tasuki/NAME.",
    ),
    of(
        FLOATING_IP,
        "PER_SERVER",
        "per_server",
        AttributeKind::Table,
        "Another address, or other areas of a disk, on single servers.",
    ),
    of(MIRROR_DISK, "DATA", "data", STRING, "The data area: a block device, or a file.").required(),
    of(
        MIRROR_DISK,
        "METADATA",
        "metadata",
        STRING,
        "The management area: a block device or a file of at least 10 MB, used by nothing else.",
    )
    .required(),
    of(
        MIRROR_DISK,
        "SIZE",
        "size",
        STRING,
        "The size of a data area that is a file, such as `4 GiB`; the file is made when it is missing.",
    ),
    of(MIRROR_DISK, "MOUNT", "mount", STRING, "Where it is mounted; programs use the device otherwise."),
    of(MIRROR_DISK, "FILESYSTEM", "filesystem", STRING, "The file system.").default(Preset::Text("ext4")),
    of(
        MIRROR_DISK,
        "MOUNT_OPTIONS",
        "mount_options",
        AttributeKind::Names("mount options"),
        "Options of its mount.",
    )
    .default(Preset::Text("")),
    of(MIRROR_DISK, "FSCK", "fsck", BOOLEAN, "Whether the file system is checked before it is mounted.")
        .default(Preset::Flag(true)),
    of(
        MIRROR_DISK,
        "NETWORK",
        "network",
        STRING,
        "The network for mirror data; the first with that use, or the first interconnect, otherwise.",
    ),
    of(MIRROR_DISK, "PORT", "port", INTEGER, "The TCP port of mirror data, the same for all disks.")
        .default(Preset::Number(29051))
        .range(1, 65_535),
    of(
        MIRROR_DISK,
        "INITIAL_MKFS",
        "initial_mkfs",
        AttributeKind::Word(&["true", "false", "force"]),
        "Whether a file system is made at the very first start: not over one that is there, unless forced. false: \
         what is there is kept and copied.",
    )
    .default(Preset::Text("true")),
    of(
        MIRROR_DISK,
        "KNOWN_EQUAL",
        "known_equal",
        BOOLEAN,
        "All copies are equal already: nothing is copied at first, and no file system made.",
    )
    .default(Preset::Flag(false)),
    of(
        MIRROR_DISK,
        "AUTOMATIC",
        "automatic",
        BOOLEAN,
        "Whether a copy that comes back is brought up to date by itself.",
    )
    .default(Preset::Flag(true)),
    of(
        MIRROR_DISK,
        "ON_DISK_FAILURE",
        "on_disk_failure",
        AttributeKind::Word(&["diskless", "fail"]),
        "When its own disk fails: diskless, it goes on through the peer's; fail, its I/O fails and the group moves.",
    )
    .default(Preset::Text("diskless")),
    of(
        MIRROR_DISK,
        "PEER_TIMEOUT",
        "peer_timeout",
        DURATION,
        "A peer that does not answer a write for so long is put out; 0: it is waited for while its stream stands.",
    )
    .default(Preset::Seconds(10))
    .range(0, DAY),
    of(
        MIRROR_DISK,
        "RESYNC",
        "resync",
        AttributeKind::Table,
        "How fast a copy is brought up to date: at least `floor`, at most `ceiling` a second.",
    ),
    of(
        MIRROR_DISK,
        "COMPRESSION",
        "compression",
        AttributeKind::Word(&["none", "lz4", "zstd"]),
        "How mirror data is made smaller on its way.",
    )
    .default(Preset::Text("none")),
    of(
        MIRROR_DISK,
        "BACKEND",
        "backend",
        AttributeKind::Word(&["auto", "ublk", "nbd", "loop"]),
        "How the device comes about; auto: the best that the kernel has.",
    )
    .default(Preset::Text("auto")),
    of(
        MIRROR_DISK,
        "EXPORT_PORT",
        "export_port",
        INTEGER,
        "Also exported over NBD with TLS, at this TCP port of the mirror network.",
    )
    .range(1, 65_535),
];

/// The built-in attribute of this name.
#[must_use]
pub fn attribute(name: &str) -> Option<&'static BuiltIn> {
    ATTRIBUTES.iter().find(|attribute| attribute.name == name)
}

/// The built-in attribute of this name, where a type with this ancestry has it.
#[must_use]
pub fn attribute_on(name: &str, ancestry: &[&str]) -> Option<&'static BuiltIn> {
    attribute(name).filter(|attribute| attribute.is_on(ancestry))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::{
        ExecConfig, MirrorDiskConfig, PlacementPolicy, ResourceConfig, ResourceKind, Startup,
    };

    #[test]
    fn names_are_unique_and_have_a_sentence() {
        let names: BTreeSet<&str> = ATTRIBUTES.iter().map(|attribute| attribute.name).collect();
        let reference: BTreeSet<&str> = ATTRIBUTES.iter().map(|attribute| attribute.reference).collect();
        assert_eq!((names.len(), reference.len()), (ATTRIBUTES.len(), ATTRIBUTES.len()));
        let types: Vec<&str> = TYPES.iter().map(|(name, ..)| *name).collect();
        for attribute in ATTRIBUTES {
            assert!(attribute.doc.ends_with('.'), "{}", attribute.name);
            assert!(types.contains(&attribute.on), "{}", attribute.name);
            assert!(!STATE_WORDS.contains(&attribute.name), "{}", attribute.name);
            let spelled = attribute.name.to_uppercase();
            assert!(attribute.reference == spelled || attribute.name == "comment", "{}", attribute.name);
        }
        assert!(SCRIPTED.iter().all(|name| names.contains(name)));
    }

    /// The table and the code that fills a resource in agree.
    #[test]
    fn defaults_are_those_of_the_code() {
        let default = |name| attribute(name).and_then(|attribute| attribute.default.value());
        let exec = ExecConfig::of(Vec::new());
        let resource = ResourceConfig::of(ResourceKind::Exec(exec.clone()));
        let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).ok().map(Value::Duration);
        let disk = MirrorDiskConfig::of("/dev/sdb2".into(), "/dev/sdb1".into());
        let of_disk =
            |name| attribute(name).and_then(|one| one.default_on(&[MIRROR_DISK, CLUSTER, ROOT]).value());
        assert_eq!(of_disk("start_timeout"), millis(disk.start_timeout));
        assert_eq!(of_disk("stop_timeout"), millis(disk.stop_timeout));
        assert_eq!(of_disk("peer_timeout"), millis(disk.peer_timeout));
        assert_eq!(of_disk("port"), Some(Value::Integer(disk.port.into())));
        assert_eq!(of_disk("filesystem"), Some(Value::String(disk.filesystem)));
        assert_eq!(of_disk("fsck"), Some(Value::Boolean(disk.check)));
        assert_eq!(of_disk("automatic"), Some(Value::Boolean(disk.automatic)));
        assert_eq!(default("start_timeout"), millis(exec.start_timeout));
        assert_eq!(default("stop_timeout"), millis(exec.stop_timeout));
        assert_eq!(default("uptime_threshold"), millis(resource.uptime_threshold));
        assert_eq!(default("failure_interval"), millis(resource.failure_interval));
        assert_eq!(default("failure_threshold"), Some(Value::Integer(resource.failure_threshold.into())));
        assert_eq!(
            default("restart_attempts"),
            Some(Value::Integer(resource.on_start_failure.retries.into()))
        );
        assert_eq!(default("wait"), Some(Value::Boolean(exec.wait)));
        assert_eq!(default("watch"), Some(Value::Boolean(exec.watch)));
        assert_eq!(
            (Startup::default(), PlacementPolicy::default()),
            (Startup::Always, PlacementPolicy::Balanced)
        );
        assert_eq!(default("auto_start"), Some(Value::String("always".into())));
        assert_eq!(default("placement"), Some(Value::String("balanced".into())));
        assert_eq!(default("cardinality"), Some(Value::Integer(1)));
    }
}
