//! What must hold for any configuration, and for any text.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    time::Duration,
};

use proptest::{collection, option, prelude::*};
use tasuki_config::{Kind, edit_define, edit_delete, edit_modify, parse, to_toml};

#[path = "properties/engine.rs"]
mod engine;
#[path = "properties/mirror.rs"]
mod mirror;
use tasuki_core::{
    config::{
        Automatic, CheckConfig, ClusterConfig, ClusterSettings, ExecConfig, FinalAction, FloatingIpConfig,
        GroupConfig, HeartbeatPath, Network, NetworkUse, ResourceConfig, ResourceKind, ServerConfig,
        StartFailurePolicy, Startup, StopFailurePolicy,
    },
    ids::ServerName,
    timing::Timing,
};

const SAMPLE: &str = include_str!("../../../deploy/samples/three-servers.toml");
const ENGINE: &str = include_str!("warn/all_of_the_resource_engine.toml");

/// Networks 10.N.0.0/16 or fdNN::/64; server S has host number S there, resource R of group G has
/// 256 + 16 G + R.
fn address(network: u8, v6: bool, host: u16) -> IpAddr {
    if v6 {
        Ipv6Addr::new(0xfd00 | u16::from(network), 0, 0, 0, 0, 0, 0, host).into()
    } else {
        let [high, low] = host.to_be_bytes();
        Ipv4Addr::new(10, network, high, low).into()
    }
}

fn automatic() -> impl Strategy<Value = Automatic> {
    prop_oneof![Just(Automatic::Auto), Just(Automatic::Manual)]
}

fn startup() -> impl Strategy<Value = Startup> {
    prop_oneof![Just(Startup::Always), Just(Startup::Restore), Just(Startup::Never)]
}

fn final_action() -> impl Strategy<Value = FinalAction> {
    prop_oneof![
        Just(FinalAction::None),
        Just(FinalAction::Stop),
        Just(FinalAction::StopAndReboot),
        Just(FinalAction::StopAndPowerOff),
        Just(FinalAction::Reset)
    ]
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (1u64..5000).prop_map(Duration::from_millis),
        (1u64..5000).prop_map(Duration::from_secs),
        (1u64..500).prop_map(|minutes| Duration::from_secs(minutes * 60)),
    ]
}

/// Anything that a person may type, with quotes, control characters and other alphabets.
fn words() -> impl Strategy<Value = String> {
    "[ -~\n\t\r\u{1}\u{7f}\"\\\\éß襷'#]{0,12}"
}

fn timing() -> impl Strategy<Value = Timing> {
    let times = || option::of(100u32..400);
    (200u64..5000, times(), times(), times()).prop_map(|(detect, lease, margin, late)| {
        let plain = Timing::from_detect(Duration::from_millis(detect));
        let scaled = |time: Duration, percent: Option<u32>| {
            let time = time * percent.unwrap_or(100) / 100;
            Duration::from_millis(u64::try_from(time.as_millis()).unwrap())
        };
        let lease = scaled(plain.lease, lease);
        let least = Timing { lease, ..plain.clone() }.least_clock_margin();
        let path_late = scaled(plain.path_late, late);
        Timing {
            clock_margin: scaled(least, margin),
            path_lost: plain.path_lost.max(path_late * 2),
            path_late,
            lease,
            ..plain
        }
    })
}

/// No time-out of a program is shorter.
const SHORTEST: Duration = Duration::from_millis(100);

fn exec() -> impl Strategy<Value = ExecConfig> {
    let command = || ("[a-z./]{1,12}", collection::vec(words(), 0..3));
    let environment = collection::btree_map("[A-Z]{1,4}[ -<>-~]{0,4}", words(), 0..3);
    (
        command(),
        option::of(command()),
        any::<(bool, bool, bool)>(),
        (option::of("[a-z]{1,8}"), option::of("/[a-z \"]{0,8}"), environment),
        (duration(), duration()),
        option::of((command(), duration(), duration())),
    )
        .prop_map(
            |(start, stop, (wait, watch, read_only), (user, directory, environment), timeouts, check)| {
                let line = |(program, arguments): (String, Vec<String>)| {
                    std::iter::once(program).chain(arguments).collect::<Vec<_>>()
                };
                ExecConfig {
                    start: line(start),
                    stop: stop.map(line),
                    wait,
                    user,
                    directory: directory.map(PathBuf::from),
                    environment: environment
                        .into_iter()
                        .filter(|(name, _)| !name.starts_with("CLP_") && !name.starts_with("_CRS_"))
                        .collect(),
                    start_timeout: timeouts.0.max(SHORTEST),
                    stop_timeout: timeouts.1.max(SHORTEST),
                    watch: watch && !wait,
                    check: check.map(|(command, interval, timeout)| CheckConfig {
                        command: line(command),
                        interval: interval.max(Duration::from_secs(1)),
                        timeout: timeout.max(SHORTEST),
                    }),
                    read_only,
                }
            },
        )
}

/// Everything of a resource that does not depend on its place in the cluster.
type Loose = (Option<ExecConfig>, String, (u32, u32, FinalAction), (u32, FinalAction), bool, bool);

fn resource() -> impl Strategy<Value = Loose> {
    let start = (0u32..9, 0u32..9, final_action());
    (option::of(exec()), words(), start, (0u32..9, final_action()), any::<bool>(), any::<bool>())
}

type LooseGroup = (String, usize, (Startup, Automatic, Automatic), Vec<Loose>);

/// A cluster with groups, and with everything of the resource engine put on top.
fn whole() -> impl Strategy<Value = ClusterConfig> {
    (config(), engine::engine(), mirror::disks())
        .prop_map(|(config, engine, disks)| mirror::put_on(engine::put_on(config, engine), disks))
}

fn config() -> impl Strategy<Value = ClusterConfig> {
    let group =
        (words(), 0usize..9, (startup(), automatic(), automatic()), collection::vec(resource(), 1..4));
    let cluster = ("[a-z][a-z0-9-]{0,10}[a-z0-9]", words(), timing(), duration(), 1u16.., 1u16..);
    let networks = collection::vec((any::<bool>(), any::<bool>()), 1..4);
    (cluster, networks, 1u16..7, words(), collection::vec(group, 0..4)).prop_map(
        |(cluster, networks, servers, comment, groups)| build(cluster, &networks, servers, &comment, groups),
    )
}

fn build(
    (name, about, timing, startup_wait, port, heartbeat_port): (String, String, Timing, Duration, u16, u16),
    networks: &[(bool, bool)],
    servers: u16,
    comment: &str,
    groups: Vec<LooseGroup>,
) -> ClusterConfig {
    let numbered = || (1u8..).zip(networks.iter().copied());
    let network = |number: u8| format!("net-{number}");
    let settings = ClusterSettings {
        votes: Default::default(),
        fences: BTreeMap::new(),
        on_hang: Default::default(),
        name,
        comment: about,
        timing,
        startup_wait,
        networks: numbered()
            .map(|(number, (v6, mirror))| {
                let mut uses = vec![NetworkUse::Public, NetworkUse::Interconnect];
                uses.extend(mirror.then_some(NetworkUse::Mirror));
                let prefix = if v6 { 64 } else { 16 };
                let value = Network { subnet: address(number, v6, 0), prefix, uses };
                (network(number).as_str().into(), value)
            })
            .collect(),
        heartbeats: numbered()
            .map(|(number, _)| HeartbeatPath::Lan { network: network(number).as_str().into() })
            .collect(),
        port,
        heartbeat_port,
    };
    let server = |number: u16| format!("s{}", servers + 1 - number);
    let servers_map = (1..=servers)
        .map(|number| {
            let addresses = numbered()
                .map(|(on, (v6, _))| (network(on).as_str().into(), address(on, v6, number)))
                .collect();
            let value = ServerConfig {
                role: Default::default(),
                domain: None,
                fencing: Vec::new(),
                number: number.into(),
                comment: comment.to_owned(),
                addresses,
            };
            (server(number).as_str().into(), value)
        })
        .collect();
    let v6 = networks[0].0;
    let groups = (0u16..)
        .zip(groups)
        .map(|(g, (comment, home, modes, loose))| {
            let home = u16::try_from(home).unwrap() % servers;
            let order: Vec<ServerName> =
                (0..servers).map(|n| server((home + n) % servers + 1).as_str().into()).collect();
            let resources = (0u16..)
                .zip(loose)
                .map(|(r, (exec, comment, start, stop, explicit, special))| {
                    let kind = match exec {
                        Some(exec) => ResourceKind::Exec(exec),
                        None => ResourceKind::FloatingIp(FloatingIpConfig {
                            address: address(1, v6, 256 + 16 * g + r),
                            prefix: if special {
                                31
                            } else if v6 {
                                64
                            } else {
                                16
                            },
                            device: special.then(|| "bond0".to_owned()),
                            per_server: if special {
                                BTreeMap::from([(order[0].clone(), address(1, v6, 2048 + 16 * g + r))])
                            } else {
                                BTreeMap::new()
                            },
                        }),
                    };
                    let before = (0..r).map(|n| format!("g{g}-r{n}").as_str().into()).collect();
                    // Addresses with an order of their own would wait for programs that wait for them.
                    let explicit = explicit && matches!(kind, ResourceKind::Exec(_));
                    let value = ResourceConfig {
                        comment,
                        depends_on: explicit.then_some(before),
                        on_start_failure: StartFailurePolicy {
                            retries: start.0,
                            failovers: start.1,
                            last: start.2,
                        },
                        on_stop_failure: StopFailurePolicy { retries: stop.0, last: stop.1 },
                        kind,
                        ..ResourceConfig::of(ResourceKind::Exec(ExecConfig::of(Vec::new())))
                    };
                    (format!("g{g}-r{r}").as_str().into(), value)
                })
                .collect();
            let value = GroupConfig {
                comment,
                servers: order,
                startup: modes.0,
                failover: modes.1,
                failback: modes.2,
                resources,
                ..GroupConfig::default()
            };
            (format!("G{g}_x").as_str().into(), value)
        })
        .collect();
    ClusterConfig {
        settings,
        servers: servers_map,
        groups,
        types: BTreeMap::new(),
        pools: BTreeMap::new(),
        resources: BTreeMap::new(),
        monitors: BTreeMap::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_written_reads_back(config in whole()) {
        let text = to_toml(&config);
        match parse(&text, "written.toml") {
            Ok(loaded) => prop_assert_eq!(loaded.config, config),
            Err(errors) => prop_assert!(false, "{}\n{}", text, errors),
        }
    }

    /// A slip of the pen anywhere in a right file: never a panic, and every error has its place.
    #[test]
    fn any_slip_is_reported_at_a_place_in_the_file(
        engine in any::<bool>(), at in 0usize..4000, with in ".{0,3}", remove in 0usize..20,
    ) {
        let mut chars: Vec<char> = if engine { ENGINE } else { SAMPLE }.chars().collect();
        let at = at.min(chars.len());
        let end = (at + remove).min(chars.len());
        chars.splice(at..end, with.chars());
        let text: String = chars.into_iter().collect();
        let lines: Vec<&str> = text.split('\n').collect();
        if let Err(errors) = parse(&text, "slip.toml") {
            prop_assert!(!errors.problems().is_empty());
            for problem in errors.problems() {
                let (line, column) = (problem.line.unwrap(), problem.column.unwrap());
                prop_assert!(line >= 1 && line <= lines.len(), "{}", problem);
                prop_assert!(column >= 1 && column <= lines[line - 1].chars().count() + 1, "{}", problem);
                prop_assert!(!problem.remedy.is_empty(), "{}", problem);
            }
        }
    }

    #[test]
    fn any_text_at_all_is_read_without_panic(text in "\\PC{0,200}") {
        let _ = parse(&text, "noise.toml").map_err(|errors| errors.to_string());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// An edit touches what it names, and nothing else.
    #[test]
    fn an_edit_changes_what_it_names(config in whole(), pick in 0usize..9, word in "[a-z]{1,9}") {
        let change = vec![("comment".to_owned(), word.clone())];
        let resources: Vec<_> = config.resources.keys().cloned().collect();
        if let Some(name) = resources.get(pick) {
            let edited = edit_modify(&config, Kind::Resource, name.as_str(), &change).unwrap();
            let mut expected = config.clone();
            expected.resources.get_mut(name).unwrap().resource.comment.clone_from(&word);
            prop_assert_eq!(edited, expected);
        }
        // Those of mirrored disks come back by themselves.
        let monitors = config.monitors.iter().filter(|(_, monitor)| !monitor.kind.is_of_mirror());
        let monitors: Vec<_> = monitors.map(|(name, _)| name.clone()).collect();
        if let Some(name) = monitors.get(pick) {
            let mut expected = config.clone();
            expected.monitors.remove(name);
            prop_assert_eq!(edit_delete(&config, Kind::Monitor, name.as_str()).unwrap(), expected);
        }
        let pool = edit_define(&config, Kind::Pool, "another", &change).unwrap();
        prop_assert_eq!(edit_delete(&pool, Kind::Pool, "another").unwrap(), config);
    }
}
