//! The head of a scenario: servers, types, pools, groups and resources, one on a line.
//!
//! ```text
//! servers kiki lala mimi
//! type vip floating_ip
//! pool gold min=1 max=2 rank=9 on kiki lala
//! group R1 on kiki lala exclusive=normal has=a,b:vip start=hard(R2) stop=hard(R2)
//! resource R2 x2 on kiki pools=gold type=vip
//! ```
//!
//! A group has one program of its own name unless `has=` names others. A resource is balanced over
//! all servers; `on` restricts it, `favors` prefers; `xN`, `uniform` and `local` are its cardinality.
//! For both: `off`, `balanced`, `load=`, `startup=always|restore|never`, `failover=manual`,
//! `failback=auto`, `pools=`, dependencies in the reference's own words.

use std::{collections::BTreeMap, time::Duration};

use tasuki_core::{
    config::{
        dependency_syntax::{parse_start, parse_stop},
        graph, *,
    },
    ids::*,
    timing::Timing,
};

/// Reads the head.
pub fn read(head: &str) -> ClusterConfig {
    let mut config = ClusterConfig {
        settings: ClusterSettings {
            votes: Default::default(),
            fences: BTreeMap::new(),
            on_hang: Default::default(),
            name: "golden".into(),
            comment: String::new(),
            timing: Timing::from_detect(Duration::from_secs(1)),
            startup_wait: Duration::ZERO,
            networks: BTreeMap::new(),
            heartbeats: Vec::new(),
            port: 1,
            heartbeat_port: 2,
        },
        servers: BTreeMap::new(),
        groups: BTreeMap::new(),
        types: BTreeMap::new(),
        pools: BTreeMap::new(),
        resources: BTreeMap::new(),
        monitors: BTreeMap::new(),
    };
    for line in head.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["servers", ref names @ ..] => {
                for (name, number) in names.iter().zip(1..) {
                    let server = ServerConfig {
                        role: Default::default(),
                        domain: None,
                        fencing: Vec::new(),
                        number,
                        comment: String::new(),
                        addresses: BTreeMap::new(),
                    };
                    config.servers.insert((*name).into(), server);
                }
            }
            ["type", name, base] => {
                let of =
                    TypeConfig { comment: String::new(), base: base.into(), attributes: BTreeMap::new() };
                config.types.insert(name.into(), of);
            }
            ["pool", name, ref rest @ ..] => {
                let words = Words::new(rest);
                let pool = PoolConfig {
                    comment: String::new(),
                    min: words.number("min").unwrap_or(0),
                    max: words.number("max"),
                    importance: words.number("rank").unwrap_or(0),
                    servers: words.names("on"),
                };
                config.pools.insert(name.into(), pool);
            }
            ["group", name, ref rest @ ..] => {
                config.groups.insert(name.into(), group(name, &Words::new(rest)));
            }
            ["resource", name, ref rest @ ..] => {
                config.resources.insert(name.into(), definition(&Words::new(rest)));
            }
            _ => panic!("what is {line:?}?"),
        }
    }
    let wrong: Vec<String> = graph::problems(&config)
        .iter()
        .filter(|problem| !problem.fault.is_warning())
        .map(ToString::to_string)
        .chain(graph::pool_problems(&config).iter().map(ToString::to_string))
        .collect();
    assert!(wrong.is_empty(), "such a configuration would be refused: {wrong:?}");
    config
}

/// Words, lists after `on` or `favors`, and values after `=`.
struct Words<'a> {
    flags: Vec<&'a str>,
    lists: BTreeMap<&'a str, Vec<&'a str>>,
    values: BTreeMap<&'a str, String>,
}

impl<'a> Words<'a> {
    fn new(words: &[&'a str]) -> Self {
        let mut read = Self { flags: Vec::new(), lists: BTreeMap::new(), values: BTreeMap::new() };
        let mut list = None;
        let mut value = None;
        for word in words.iter().copied() {
            if let Some((key, text)) = word.split_once('=') {
                read.values.insert(key, text.to_owned());
                (list, value) = (None, Some(key));
            } else if matches!(word, "on" | "favors") {
                list = Some(word);
            } else if word.contains('(') {
                let line = read.values.get_mut(value.expect("start= or stop= first")).unwrap();
                *line += &format!(" {word}");
            } else if flag(word) {
                read.flags.push(word);
                list = None;
            } else {
                read.lists.entry(list.unwrap_or_else(|| panic!("what is {word:?}?"))).or_default().push(word);
            }
        }
        for key in read.values.keys() {
            assert!(KEYS.contains(key), "what is {key}=?");
        }
        read
    }

    fn has(&self, word: &str) -> bool {
        self.flags.contains(&word)
    }

    fn names(&self, list: &str) -> Vec<ServerName> {
        self.lists.get(list).into_iter().flatten().map(|name| ServerName::from(*name)).collect()
    }

    fn value(&self, key: &str) -> &str {
        self.values.get(key).map_or("", String::as_str)
    }

    fn number(&self, key: &str) -> Option<u32> {
        self.values.get(key).map(|text| text.parse().unwrap())
    }

    fn pools(&self) -> Vec<PoolName> {
        self.value("pools").split(',').filter(|name| !name.is_empty()).map(PoolName::from).collect()
    }

    fn startup(&self) -> Startup {
        match self.value("startup") {
            "" | "always" => Startup::Always,
            "restore" => Startup::Restore,
            "never" => Startup::Never,
            other => panic!("no startup {other:?}"),
        }
    }

    fn automatic(&self, key: &str, default: Automatic) -> Automatic {
        match self.value(key) {
            "" => default,
            "auto" => Automatic::Auto,
            "manual" => Automatic::Manual,
            other => panic!("no {key} {other:?}"),
        }
    }

    fn start(&self) -> Vec<StartDependency> {
        parse_start(self.value("start")).unwrap().into_iter().map(|written| written.value).collect()
    }

    fn stop(&self) -> Vec<StopDependency> {
        parse_stop(self.value("stop")).unwrap().into_iter().map(|written| written.value).collect()
    }
}

const KEYS: [&str; 13] = [
    "exclusive",
    "failback",
    "failover",
    "has",
    "load",
    "max",
    "min",
    "pools",
    "rank",
    "start",
    "startup",
    "stop",
    "type",
];

fn flag(word: &str) -> bool {
    ["off", "balanced", "uniform", "local"].contains(&word) || count(word).is_some()
}

/// `x3`
fn count(word: &str) -> Option<u32> {
    word.strip_prefix('x')?.parse().ok()
}

fn group(name: &str, words: &Words<'_>) -> GroupConfig {
    let has = if words.value("has").is_empty() { name } else { words.value("has") };
    let members = has.split(',').map(|text| text.split_once(':').unwrap_or((text, "exec")));
    GroupConfig {
        servers: words.names("on"),
        startup: words.startup(),
        failover: words.automatic("failover", Automatic::Auto),
        failback: words.automatic("failback", Automatic::Manual),
        resources: members.map(|(name, type_name)| (name.into(), member(type_name))).collect(),
        exclusive: match words.value("exclusive") {
            "" => Exclusive::No,
            "normal" => Exclusive::Normal,
            "complete" => Exclusive::Complete,
            other => panic!("no exclusive {other:?}"),
        },
        placement: if words.has("balanced") { Placement::Balanced } else { Placement::Ordered },
        pools: words.pools(),
        load: words.number("load").unwrap_or(1),
        enabled: !words.has("off"),
        start: words.start(),
        stop: words.stop(),
        ..GroupConfig::default()
    }
}

/// A resource that is tried once here and once elsewhere.
fn member(type_name: &str) -> ResourceConfig {
    let exec = ResourceConfig::of(ResourceKind::Exec(ExecConfig::of(vec!["x".into()])));
    match type_name {
        "exec" => exec,
        "mirror_disk" => ResourceConfig::of(ResourceKind::MirrorDisk(MirrorDiskConfig::of(
            "/dev/sdb2".into(),
            "/dev/sdb1".into(),
        ))),
        other => ResourceConfig { type_name: Some(other.into()), ..exec },
    }
}

fn definition(words: &Words<'_>) -> ResourceDefinition {
    let (on, favors) = (words.names("on"), words.names("favors"));
    let placement = match (on.is_empty(), favors.is_empty()) {
        (false, _) => PlacementPolicy::Restricted,
        (true, false) => PlacementPolicy::Favored,
        (true, true) => PlacementPolicy::Balanced,
    };
    let cardinality = match words.flags.iter().find_map(|word| count(word)) {
        Some(count) => Cardinality::Number(count),
        None if words.has("uniform") => Cardinality::Uniform,
        None if words.has("local") => Cardinality::Local,
        None => Cardinality::Number(1),
    };
    let type_name = match words.value("type") {
        "" if words.has("local") => "local_resource",
        "" => "cluster_resource",
        name => name,
    };
    ResourceDefinition {
        type_name: type_name.into(),
        resource: member(type_name),
        attributes: BTreeMap::new(),
        cardinality,
        placement,
        hosting_members: if on.is_empty() { favors } else { on },
        server_pools: words.pools(),
        load: words.number("load").unwrap_or(1),
        auto_start: words.startup(),
        enabled: !words.has("off"),
        failover: words.automatic("failover", Automatic::Auto),
        failback: words.automatic("failback", Automatic::Manual),
        start: words.start(),
        stop: words.stop(),
    }
}
