#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    config::{
        Automatic, ClusterSettings, ExecConfig, FinalAction, FloatingIpConfig, GroupConfig, MonitorConfig,
        MonitorKind, MonitorTiming, PoolConfig, RecoveryConfig, RecoveryTarget, ResourceDefinition,
        ResourceKind, ServerConfig, Startup, TypeConfig,
        dependency_syntax::{parse_start, parse_stop},
    },
    ids::MonitorName,
    timing::Timing,
};

/// A cluster of a few lines. `group NAME`, `local NAME` or `resource NAME`, then words: `on=a,b`
/// (allowed servers), `has=db,fip:floating_ip` (members), `type=`, `many`, `uniform`, `off`,
/// `complete`, `pools=a,b`, `start=…`, `stop=…`; `type NAME BASE`; `pool NAME min=1 max=2 rank=3 on=a`.
fn cluster(lines: &[&str]) -> ClusterConfig {
    let names = ["kiki", "lala", "mimi"];
    let server = |number| ServerConfig {
        role: Default::default(),
        domain: None,
        fencing: Vec::new(),
        number,
        comment: String::new(),
        addresses: BTreeMap::new(),
    };
    let mut config = ClusterConfig {
        settings: ClusterSettings {
            votes: Default::default(),
            fences: BTreeMap::new(),
            on_hang: Default::default(),
            name: "test".into(),
            comment: String::new(),
            timing: Timing::from_detect(Duration::from_secs(1)),
            startup_wait: Duration::ZERO,
            networks: BTreeMap::new(),
            heartbeats: Vec::new(),
            port: 1,
            heartbeat_port: 2,
        },
        servers: (1..).zip(names).map(|(number, name)| (name.into(), server(number))).collect(),
        groups: BTreeMap::new(),
        types: BTreeMap::new(),
        pools: BTreeMap::new(),
        resources: BTreeMap::new(),
        monitors: BTreeMap::new(),
    };
    for line in lines {
        let mut words = line.split_whitespace();
        let (kind, name) = (words.next().unwrap(), words.next().unwrap());
        let rest = Words(words.collect());
        match kind {
            "group" => {
                config.groups.insert(name.into(), group(name, &rest));
            }
            "resource" | "local" => {
                config.resources.insert(name.into(), definition(kind, &rest));
            }
            "type" => {
                let base = rest.0[0].into();
                let config_of = TypeConfig { comment: String::new(), base, attributes: BTreeMap::new() };
                config.types.insert(name.into(), config_of);
            }
            "pool" => {
                let number = |word| rest.get(word).map(|text| text.parse().unwrap());
                let pool = PoolConfig {
                    comment: String::new(),
                    min: number("min").unwrap_or(0),
                    max: number("max"),
                    importance: number("rank").unwrap_or(0),
                    servers: rest.list("on").into_iter().map(ServerName::new).collect(),
                };
                config.pools.insert(name.into(), pool);
            }
            other => panic!("{other}"),
        }
    }
    config
}

struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    fn get(&self, word: &str) -> Option<&'a str> {
        self.0.iter().find_map(|given| given.strip_prefix(word)?.strip_prefix('='))
    }

    fn has(&self, word: &str) -> bool {
        self.0.contains(&word)
    }

    fn list(&self, word: &str) -> Vec<&'a str> {
        self.get(word).map(|list| list.split(',').collect()).unwrap_or_default()
    }

    /// `+` stands for the space between two kinds.
    fn start(&self) -> Vec<StartDependency> {
        let text = self.get("start").unwrap_or("").replace('+', " ");
        parse_start(&text).unwrap().into_iter().map(|written| written.value).collect()
    }

    fn stop(&self) -> Vec<StopDependency> {
        let text = self.get("stop").unwrap_or("").replace('+', " ");
        parse_stop(&text).unwrap().into_iter().map(|written| written.value).collect()
    }

    fn pools(&self) -> Vec<PoolName> {
        self.list("pools").into_iter().map(PoolName::new).collect()
    }
}

fn member(type_name: &str) -> ResourceConfig {
    let ip = FloatingIpConfig {
        address: [10, 0, 0, 1].into(),
        prefix: 24,
        device: None,
        per_server: BTreeMap::new(),
    };
    match type_name {
        "exec" => ResourceConfig::of(ResourceKind::Exec(ExecConfig::of(Vec::new()))),
        "floating_ip" => ResourceConfig::of(ResourceKind::FloatingIp(ip)),
        other => ResourceConfig { type_name: Some(other.into()), ..member("exec") },
    }
}

fn group(name: &str, words: &Words<'_>) -> GroupConfig {
    let mut members = words.list("has");
    if members.is_empty() {
        members.push(name);
    }
    let resources = members
        .into_iter()
        .map(|text| text.split_once(':').unwrap_or((text, "exec")))
        .map(|(name, type_name)| (name.into(), member(type_name)))
        .collect();
    let servers = match words.get("on") {
        Some(_) => words.list("on"),
        None => vec!["kiki", "lala", "mimi"],
    };
    GroupConfig {
        servers: servers.into_iter().map(ServerName::new).collect(),
        resources,
        exclusive: if words.has("complete") { Exclusive::Complete } else { Exclusive::No },
        pools: words.pools(),
        enabled: !words.has("off"),
        start: words.start(),
        stop: words.stop(),
        ..GroupConfig::default()
    }
}

fn definition(kind: &str, words: &Words<'_>) -> ResourceDefinition {
    let local = kind == "local";
    let hosting = words.list("on");
    let type_name = words.get("type").unwrap_or(if local { "local_resource" } else { "exec" });
    ResourceDefinition {
        type_name: type_name.into(),
        resource: member(type_name),
        attributes: BTreeMap::new(),
        cardinality: match () {
            () if local => Cardinality::Local,
            () if words.has("uniform") => Cardinality::Uniform,
            () if words.has("many") => Cardinality::Number(2),
            () => Cardinality::Number(1),
        },
        placement: if hosting.is_empty() { PlacementPolicy::Balanced } else { PlacementPolicy::Restricted },
        hosting_members: hosting.into_iter().map(ServerName::new).collect(),
        server_pools: words.pools(),
        load: 1,
        auto_start: Startup::Always,
        enabled: !words.has("off"),
        failover: Automatic::Auto,
        failback: Automatic::Manual,
        start: words.start(),
        stop: words.stop(),
    }
}

/// What is said, with the place in the list of dependencies.
fn told(lines: &[&str]) -> Vec<String> {
    problems(&cluster(lines))
        .iter()
        .map(|problem| {
            let side = if problem.place.side == Side::Start { "start" } else { "stop" };
            let warning = if problem.fault.is_warning() { "warning: " } else { "" };
            format!("{warning}{side}[{}] {problem}; {}", problem.place.index, problem.fault.remedy())
        })
        .collect()
}

const NOTHING: [&str; 0] = [];

#[test]
fn what_is_right_has_no_problems() {
    assert_eq!(
        told(&[
            "local asm",
            "resource vip type=floating_ip",
            "resource db many start=hard(asm)+pullup(asm)+weak(type:floating_ip) stop=hard(asm)",
            "group web has=web,fip:floating_ip start=hard(global:db)+attraction(db)+dispersion(mail)",
            "group mail",
        ]),
        NOTHING
    );
}

#[test]
fn names_must_name_something() {
    assert_eq!(
        told(&[
            "resource db start=hard(asn)+hard(type:exce)+hard(db)+weak(web)+weak(type:vip) stop=hard(nobody)",
            "local asm",
            "type vip floating_ip",
            "group web has=httpd,cert start=hard(cert)",
        ]),
        [
            "start[0] group `web`: it depends on `cert`, which is part of itself; take it out; order inside a \
             group is said with `depends_on`",
            "start[0] resource `db`: it depends on `asn`, which does not exist; did you mean `asm`?",
            "start[1] resource `db`: it depends on type `exce`, which does not exist; did you mean `exec`?",
            "start[2] resource `db`: it depends on `db`, which is part of itself; take it out; order inside a \
             group is said with `depends_on`",
            "start[3] resource `db`: it depends on `web`, which does not exist; `web` is a group: name one of \
             its resources",
            "warning: start[4] resource `db`: it depends on type `vip`, and there is no other resource of \
             this type; add a resource of this type, or take the dependency out",
            "stop[0] resource `db`: it depends on `nobody`, which does not exist; add that resource, or take \
             the dependency out",
        ]
    );
}

#[test]
fn what_is_disabled_is_warned_about() {
    assert_eq!(
        told(&[
            "resource db off",
            "resource app start=hard(db)+weak(type:floating_ip)",
            "resource ip off type=floating_ip"
        ]),
        ["warning: start[0] resource `app`: it does not start while `db` is disabled; enable `db` when it \
             should start"]
    );
    // Whoever is disabled itself waits for nobody.
    assert_eq!(told(&["resource db off", "resource app off start=hard(db)"]), NOTHING);
}

#[test]
fn the_way_back_is_warned_about() {
    let warned = |lines: &[&str]| told(lines).len();
    assert_eq!(
        told(&["resource db", "resource app start=hard(db) stop=hard(db)"]),
        ["warning: stop[0] resource `app`: when `db` stops it stops too, and it does not start again by \
             itself; add `pullup(db)` to its start dependencies if it should"]
    );
    assert_eq!(warned(&["resource db", "resource app start=pullup(db) stop=hard(db)"]), 0);
    assert_eq!(
        warned(&["resource db", "resource app start=pullup:always(global:type:exec) stop=hard(db)"]),
        0
    );
    assert_eq!(
        warned(&["resource db", "resource app start=pullup(other) stop=hard(db)", "resource other"]),
        1
    );
    assert_eq!(warned(&["resource db", "resource app stop=hard(shutdown:db)"]), 0);
}

fn circle(names: &str) -> String {
    format!("these wait for each other: {names}; take one of these dependencies out")
}

#[test]
fn circles_are_shown_once_with_the_way() {
    assert_eq!(
        told(&["resource a start=hard(b)", "resource b start=weak(c)", "resource c start=pullup(a)"]),
        [format!(
            "start[0] resource `a`: {}",
            circle("resource `a` for resource `b` for resource `c` for resource `a`")
        )]
    );
    // Who waits behind a circle is no part of it; the dependency that closes it is named.
    assert_eq!(
        told(&[
            "group x has=a start=attraction(b)+hard(b)",
            "group y has=b start=hard(a)",
            "resource behind start=hard(a)",
        ]),
        [format!("start[1] group `x`: {}", circle("group `x` for group `y` for group `x`"))]
    );
    assert_eq!(
        told(&[
            "resource a stop=hard(global:b)+hard(shutdown:c)",
            "resource b",
            "resource c stop=hard(shutdown:a)"
        ])
        .into_iter()
        .filter(|line| !line.starts_with("warning"))
        .collect::<Vec<_>>(),
        [format!("stop[1] resource `a`: {}", circle("resource `a` for resource `c` for resource `a`"))]
    );
}

/// The kinds that wait, and those that do not.
#[test]
fn table_of_kinds_and_circles() {
    for (kind, waits) in [
        ("hard(a)", true),
        ("hard(global:intermediate:a)", true),
        ("weak(a)", true),
        ("weak(global:a)", true),
        ("weak(concurrent:a)", false),
        ("attraction(a)", false),
        ("pullup(a)", true),
        ("pullup:always(a)", true),
        ("dispersion(a)", false),
        ("dispersion:active(a)", false),
    ] {
        let line = format!("resource b start={kind}");
        let found = told(&["resource a start=hard(global:b)", &line]);
        assert_eq!(!found.is_empty(), waits, "{kind}: {found:?}");
    }
}

#[test]
fn one_other_resource_of_the_type_opens_a_circle() {
    let closed =
        ["resource a start=hard(type:vip)", "resource b type=vip start=hard(a)", "type vip floating_ip"];
    assert_eq!(
        told(&closed),
        [format!("start[0] resource `a`: {}", circle("resource `a` for resource `b` for resource `a`"))]
    );
    assert_eq!(told(&[&closed[..], &["resource c type=vip"]].concat()), NOTHING);
    // Of two instances one can be the other's; neither starts first.
    assert_eq!(
        told(&["resource v many type=vip start=hard(type:vip)", "type vip floating_ip"]),
        [format!("start[0] resource `v`: {}", circle("resource `v` for resource `v`"))]
    );
}

#[test]
fn when_all_stops_every_way_back_is_a_circle() {
    let lines = [
        "type vip floating_ip",
        "resource a start=pullup(type:vip) stop=hard(type:vip)",
        "resource b type=vip start=pullup(global:c) stop=hard(a)",
        "resource c type=vip",
    ];
    let errors: Vec<String> = told(&lines).into_iter().filter(|line| line.starts_with("stop")).collect();
    assert_eq!(
        errors,
        [format!("stop[0] resource `a`: {}", circle("resource `a` for resource `b` for resource `a`"))]
    );
    // Bound instances do not meet their like on other servers.
    let alone = |scope: &str| {
        told(&["type n exec", &format!("resource n type=n {scope} start=pullup(type:n) stop=hard(type:n)")])
            .iter()
            .filter(|line| line.starts_with("stop"))
            .count()
    };
    assert_eq!((alone("uniform"), alone("many")), (0, 1));
}

#[test]
fn a_server_for_both_must_exist() {
    assert_eq!(
        told(&["resource db on=kiki", "resource app on=lala,mimi start=hard(db)"]),
        ["start[0] resource `app`: it can never start: it must be on the same server as `db`, but resource \
             `app` may run on `lala`, `mimi`, resource `db` on `kiki`; let both run on one server, or write \
             `global:` if any server will do"]
    );
    assert_eq!(told(&["resource db on=kiki", "resource app on=lala,mimi start=hard(global:db)"]), NOTHING);
    assert_eq!(told(&["resource db on=kiki", "resource app on=lala,mimi start=attraction(db)"]), NOTHING);
    // What a dependency itself depends on counts: only told where it goes wrong.
    let found = told(&[
        "group base on=kiki has=base",
        "resource db start=hard(base)",
        "resource app on=lala start=hard(db)",
        "resource top start=hard(app)",
    ]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("start[0] resource `app`: it can never start"), "{found:?}");
    // Two dependencies with no server in common.
    let found = told(&["resource a on=kiki", "resource b on=lala", "resource c start=hard(a,b)"]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("start[1] resource `c`: it can never start"), "{found:?}");
    // Any of a type will do.
    assert_eq!(
        told(&[
            "type n exec",
            "resource a type=n on=kiki",
            "resource b type=n on=lala",
            "resource c on=lala start=hard(type:n)"
        ]),
        NOTHING
    );
}

#[test]
fn a_local_resource_cannot_follow_one_that_is_elsewhere() {
    assert_eq!(
        told(&["resource db on=kiki", "local watch start=hard(db)"]),
        ["start[0] resource `watch`: its instances on `lala`, `mimi` can never start: they must be on the \
             same server as `db`, but resource `watch` may run on `kiki`, `lala`, `mimi`, resource `db` on \
             `kiki`; let it run on these servers too, or write `global:` if any server will do"]
    );
    assert_eq!(told(&["resource db on=kiki", "local watch start=hard(global:db)"]), NOTHING);
    assert_eq!(told(&["resource db", "local watch start=hard(db)"]), NOTHING);
    assert_eq!(told(&["local asm", "resource db on=kiki start=hard(asm)"]), NOTHING);
    assert_eq!(told(&["resource db on=kiki", "resource svc uniform on=kiki start=hard(db)"]), NOTHING);
    assert_eq!(told(&["resource db on=kiki", "resource svc uniform start=hard(db)"]).len(), 1);
}

#[test]
fn pools_and_exclusive_groups_keep_apart() {
    let pools = ["pool gold on=kiki", "pool silver on=lala", "pool iron"];
    let both = |a: &str, b: &str| {
        let (a, b) = (format!("resource db {a}"), format!("resource app start=hard(db) {b}"));
        told(&[&pools[..], &[&a, &b]].concat())
    };
    assert_eq!(
        both("pools=gold", "pools=silver"),
        ["start[0] resource `app`: it can never start: it must be on the same server as `db`, but resource \
             `app` runs in `silver`, resource `db` in `gold`; let both run on one server, or write `global:` \
             if any server will do"]
    );
    assert_eq!(both("pools=gold,iron", "pools=iron,silver"), NOTHING);
    assert_eq!(both("pools=gold", "on=lala").len(), 1); // gold never has lala
    assert_eq!(both("pools=gold", "on=kiki"), NOTHING);
    assert_eq!(both("pools=Free", ""), NOTHING);
    assert_eq!(
        told(&["group a complete", "group b complete start=hard(a)"]),
        ["start[0] group `b`: it can never start: it must be on the same server as `a`, but group `b` and \
             group `a` are both exclusive; let both run on one server, or write `global:` if any server will do"]
    );
    assert_eq!(told(&["group a complete", "group b start=hard(a)"]), NOTHING);
}

#[test]
fn contradictions_and_repetitions() {
    let second = |list: &str| {
        let found = told(&["resource a", &format!("resource b start={list}")]);
        found.into_iter().map(|line| line.split(';').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        second("hard(a)+dispersion(a)"),
        ["start[1] resource `b`: `dispersion(a)` and `hard(a)` contradict each other"]
    );
    for together in ["attraction(a)", "pullup(a)", "weak(a)", "hard(intermediate:a)"] {
        assert_eq!(second(&format!("dispersion(a)+{together}")).len(), 1, "{together}");
    }
    for apart in ["hard(global:a)", "weak(global:a)", "pullup:always(global:a)"] {
        assert_eq!(second(&format!("dispersion:active(a)+{apart}")), NOTHING, "{apart}");
    }
    assert_eq!(
        second("hard(a)+pullup(a)+hard(global:a)"),
        ["start[2] resource `b`: `hard(global:a)` stands here although `hard(a)` does too"]
    );
    let stops = told(&["resource a", "resource b start=pullup(a) stop=hard(a,global:a,shutdown:a)"]);
    assert_eq!(stops.len(), 1, "{stops:?}");
    assert!(stops[0].starts_with("stop[1] resource `b`: `hard(global:a)` stands here"), "{stops:?}");
}

#[test]
fn who_would_miss_it() {
    let mut config = cluster(&[
        "type vip floating_ip",
        "type scan vip",
        "pool gold",
        "resource db pools=gold",
        "resource ip type=vip",
        "resource app start=hard(db) stop=hard(type:vip)",
        "group web has=httpd,fip:vip start=weak(db) pools=gold,Free",
    ]);
    let group = config.groups.get_mut(&"web".into()).unwrap();
    group.resources.get_mut(&"httpd".into()).unwrap().depends_on = Some(vec!["fip".into()]);
    let monitor = |target: Option<&str>, recovery| MonitorConfig {
        comment: String::new(),
        kind: MonitorKind::Pid,
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(60),
        retries: 0,
        start_delay: Duration::ZERO,
        timing: MonitorTiming::WhileActive,
        target: target.map(ResourceName::from),
        nice: 0,
        servers: Vec::new(),
        recovery: RecoveryConfig { target: recovery, restarts: 1, failovers: 1, last: FinalAction::None },
    };
    config.monitors = BTreeMap::from([
        (MonitorName::from("m1"), monitor(Some("db"), RecoveryTarget::Cluster)),
        (MonitorName::from("m2"), monitor(None, RecoveryTarget::Resource("httpd".into()))),
        (MonitorName::from("m3"), monitor(None, RecoveryTarget::Group("web".into()))),
    ]);
    let missed = |subject| {
        let list = dependents_of(&config, &subject).into_iter().map(|dependent| dependent.to_string());
        list.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(missed(Subject::Resource("db".into())), "group `web`, resource `app`, monitor `m1`");
    assert_eq!(missed(Subject::Resource("fip".into())), "resource `httpd`");
    assert_eq!(missed(Subject::Resource("httpd".into())), "monitor `m2`");
    assert_eq!(missed(Subject::Resource("app".into())), "");
    assert_eq!(
        missed(Subject::Type("vip".into())),
        "resource `app`, resource `ip`, resource `fip`, type `scan`"
    );
    assert_eq!(missed(Subject::Type("scan".into())), "");
    assert_eq!(missed(Subject::Pool("gold".into())), "group `web`, resource `db`");
    assert_eq!(missed(Subject::Pool("iron".into())), "");
}

#[test]
fn names_that_people_take_for_one_another() {
    let config = cluster(&[
        "group web has=db,DB",
        "group Web has=x",
        "resource db",
        "type Exec exec",
        "pool gold",
        "pool GOLD",
    ]);
    let found: Vec<String> = name_problems(&config).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "the names of groups `web` and `Web` differ only by capital letters",
            "the names of resources `db` and `DB` differ only by capital letters",
            "the names of types `Exec` and `exec` differ only by capital letters",
            "the names of server pools `gold` and `GOLD` differ only by capital letters",
            "two resources are called `db`",
        ]
    );
}

fn pools_told(lines: &[&str]) -> Vec<String> {
    let found = pool_problems(&cluster(lines));
    found.iter().map(|problem| format!("{problem}; {}", problem.fault.remedy())).collect()
}

#[test]
fn pools_that_cannot_be() {
    assert_eq!(
        pools_told(&[
            "pool free",
            "pool Generic",
            "pool gold min=2 max=1",
            "pool silver on=kiki,lalla,nobody",
            "resource db pools=gold,sliver",
            "group web pools=nothing,Free,Generic",
        ]),
        [
            "server pool `Generic`: `Generic` is a server pool that exists by itself; rename it",
            "server pool `free`: `Free` is a server pool that exists by itself; rename it",
            "server pool `gold`: at least 2 servers and at most 1; make `min` smaller or `max` greater",
            "server pool `silver`: no server is called `lalla`; did you mean `lala`?",
            "server pool `silver`: no server is called `nobody`; add that server, or take it out here",
            "group `web`: server pool `nothing`: no server pool is called so; add that server pool, or take \
             it out here",
            "resource `db`: server pool `sliver`: no server pool is called so; did you mean `silver`?",
        ]
    );
}

#[test]
fn minima_that_no_cluster_of_this_size_can_meet() {
    let too_few = |lines: &[&str]| {
        let told = pools_told(lines);
        told.into_iter().map(|line| line.split("; ").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(too_few(&["pool a min=2", "pool b min=1"]), NOTHING);
    assert_eq!(
        too_few(&["pool a min=2", "pool b min=2 rank=9", "pool c"]),
        ["server pool `a`: at least 2 servers can never be in it: 1 is left for it when all servers are \
             up, after `b`"]
    );
    assert_eq!(
        too_few(&["pool a min=2 on=kiki"]),
        ["server pool `a`: at least 2 servers can never be in it: 1 is left for it when all servers are up"]
    );
    // The sum is right, but the lists are not; or they are, when the first one makes room.
    assert_eq!(too_few(&["pool a min=1 rank=9", "pool b min=1 on=kiki", "pool c min=1 on=lala"]), NOTHING);
    assert_eq!(too_few(&["pool a min=1 on=kiki", "pool b min=1 on=kiki"]).len(), 1);
    // What Generic keeps is not there for others.
    let kept = ["pool a min=3", "resource db on=kiki pools=Generic"];
    assert_eq!(
        too_few(&kept),
        ["server pool `a`: at least 3 servers can never be in it: 2 are left for it when all servers are up"]
    );
}

/// Ten thousand resources: by name in a chain that is written backwards, then all by type.
#[test]
fn a_big_configuration_is_looked_at_in_no_time() {
    let mut lines = vec!["type vip floating_ip".to_owned()];
    for n in 0..3333 {
        lines.push(format!(
            "group g{n:04} has=a{n},b{n},ip{n}:vip start=hard(a{})+pullup(a{0}) stop=hard(a{0})",
            n + 1
        ));
    }
    lines.push("resource a3333".to_owned());
    for n in 0..3333 {
        lines.push(format!("resource r{n:04} start=hard(type:vip)+pullup(type:vip) stop=hard(type:vip)"));
    }
    let config = cluster(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let found = problems(&config);
    assert_eq!(found, []);
    // The last one of the chain names the first: the whole chain is a circle.
    let last = config.resources.get(&"a3333".into()).unwrap().clone();
    let mut closed = config;
    let start = parse_start("hard(a0)").unwrap().remove(0).value;
    closed.resources.insert("a3333".into(), ResourceDefinition { start: vec![start], ..last });
    let found = problems(&closed);
    assert_eq!(found.len(), 1);
    let GraphFault::Circle { path } = &found[0].fault else { panic!("{}", found[0]) };
    assert_eq!(path.len(), 3335);
}

/// By trying every way to give three servers to pools: can all minima be met?
fn can_all_be_met(config: &ClusterConfig) -> bool {
    let servers: Vec<&ServerName> = config.servers.keys().collect();
    let pools: Vec<&PoolConfig> = config.pools.values().collect();
    let ways = (pools.len() + 1).pow(3);
    (0..ways).any(|way| {
        let mut count = vec![0; pools.len()];
        let mut rest = way;
        for server in &servers {
            let pool = rest % (pools.len() + 1);
            rest /= pools.len() + 1;
            if pool < pools.len() {
                if !pools[pool].servers.is_empty() && !pools[pool].servers.contains(server) {
                    return false;
                }
                count[pool] += 1;
            }
        }
        pools.iter().zip(count).all(|(pool, count)| count >= pool.min)
    })
}

/// By trying every order: can all of these start one after the other?
fn can_all_start(config: &ClusterConfig) -> bool {
    fn go(config: &ClusterConfig, up: &mut Vec<ResourceName>) -> bool {
        if up.len() == config.resources.len() {
            return true;
        }
        // What names nothing but itself is told as such, and waits for nobody.
        let ready = |name: &ResourceName, definition: &ResourceDefinition| {
            definition.start.iter().all(|dependency| {
                let means = |other: &&ResourceName| match &dependency.on {
                    Named::Resource(on) => *other == on,
                    Named::Type(on) => config.resources[*other].type_name == *on,
                };
                let mut others = config.resources.keys().filter(|other| *other != name).filter(means);
                others.clone().next().is_none() || others.any(|other| up.contains(other))
            })
        };
        let next =
            config.resources.iter().find(|(name, definition)| !up.contains(name) && ready(name, definition));
        let Some((name, _)) = next else { return false };
        up.push(name.clone());
        go(config, up)
    }
    go(config, &mut Vec::new())
}

proptest! {
    #[test]
    fn minima_are_met_exactly_when_some_way_meets_them(
        pools in prop::collection::vec((0..3u32, 0..3u32, 0..8usize), 0..4),
    ) {
        let lines: Vec<String> = pools
            .iter()
            .enumerate()
            .map(|(n, (min, rank, list))| {
                let names = ["kiki", "lala", "mimi"].iter().enumerate();
                let list: Vec<&str> =
                    names.filter(|(bit, _)| list & (1 << bit) != 0).map(|(_, name)| *name).collect();
                let on = if list.is_empty() { String::new() } else { format!("on={}", list.join(",")) };
                format!("pool p{n} min={min} rank={rank} {on}")
            })
            .collect();
        let config = cluster(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        prop_assert_eq!(pool_problems(&config).is_empty(), can_all_be_met(&config));
    }

    /// A circle is told exactly when some order of starting does not exist, and every circle is one.
    #[test]
    fn circles_are_told_exactly_when_nothing_can_start(
        list in prop::collection::vec(prop::collection::vec((any::<bool>(), 0..5usize), 0..3), 5),
        of in prop::collection::vec(0..2usize, 5),
    ) {
        let line = |n: usize| {
            let word = |(named, to): &(bool, usize)| match named {
                true => format!("global:r{to}"),
                false => format!("global:type:t{}", to % 2),
            };
            let words: Vec<String> = list[n].iter().map(word).collect();
            let start = if words.is_empty() { String::new() } else { format!("start=hard({})", words.join(",")) };
            format!("resource r{n} type=t{} {start}", of[n])
        };
        let mut lines: Vec<String> = (0..list.len()).map(line).collect();
        lines.extend(["type t0 exec".to_owned(), "type t1 exec".to_owned()]);
        let config = cluster(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        let found = problems(&config);
        let circles: Vec<&Vec<Place>> = found
            .iter()
            .filter_map(|problem| match &problem.fault {
                GraphFault::Circle { path } => Some(path),
                _ => None,
            })
            .collect();
        prop_assert_eq!(circles.is_empty(), can_all_start(&config), "{:?}", lines);
        for path in circles {
            prop_assert_eq!(path.first(), path.last());
            for pair in path.windows(2) {
                let Owner::Resource(from) = &pair[0].owner else { panic!() };
                let Owner::Resource(to) = &pair[1].owner else { panic!() };
                let on = &config.resources[from].start[pair[0].index].on;
                let means = match on {
                    Named::Resource(name) => name == to,
                    Named::Type(name) => config.resources[to].type_name == *name,
                };
                prop_assert!(means, "{} on {:?} in {:?}", from, on, lines);
            }
        }
    }
}
