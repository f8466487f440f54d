//! The head of a scenario: servers, groups and their rules, monitors.
//!
//! ```text
//! servers A B
//! group web on A B, failover manual
//!   ip address
//!   db program, start 5/1/none, stop 0/stop, uptime 60, threshold 3/60
//! monitor oracle-watch mends db 1/1/none
//! ```
//!
//! `start` is retries, failovers and the final action; a monitor's numbers are restarts, failovers
//! and the final action, and it mends a resource, `group NAME` or `cluster`.

use std::{collections::BTreeMap, time::Duration};

use tasuki_core::{config::*, timing::Timing};

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
    let mut group = None;
    for line in head.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split([' ', ',']).filter(|word| !word.is_empty()).collect();
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
            ["group", name, "on", ref rest @ ..] => {
                config.groups.insert(name.into(), read_group(rest));
                group = Some(name);
            }
            ["monitor", name, "mends", ref rest @ ..] => {
                config.monitors.insert(name.into(), read_monitor(rest));
            }
            [name, kind, ref rules @ ..] if line.starts_with("  ") => {
                let group = config.groups.get_mut(&group.expect("a group first").into()).unwrap();
                group.resources.insert(name.into(), read_resource(kind, rules));
            }
            _ => panic!("what is {line:?}?"),
        }
    }
    config
}

fn read_group(words: &[&str]) -> GroupConfig {
    let mut group = GroupConfig::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "failover" if words.next() == Some(&"manual") => group.failover = Automatic::Manual,
            "failback" if words.next() == Some(&"auto") => group.failback = Automatic::Auto,
            server => group.servers.push(server.into()),
        }
    }
    group
}

fn read_resource(kind: &str, rules: &[&str]) -> ResourceConfig {
    let mut resource = ResourceConfig::of(match kind {
        "address" => ResourceKind::FloatingIp(FloatingIpConfig {
            address: "10.0.0.88".parse().unwrap(),
            prefix: 24,
            device: None,
            per_server: BTreeMap::new(),
        }),
        "program" => ResourceKind::Exec(ExecConfig::of(vec!["x".into()])),
        other => panic!("no kind {other:?}"),
    });
    for rule in rules.chunks(2) {
        let [word, value] = rule else { panic!("{rule:?} has no value") };
        let parts: Vec<&str> = value.split('/').collect();
        let seconds = |text: &str| Duration::from_secs(text.parse().unwrap());
        match (*word, &parts[..]) {
            ("start", [retries, failovers, last]) => {
                resource.on_start_failure = StartFailurePolicy {
                    retries: retries.parse().unwrap(),
                    failovers: failovers.parse().unwrap(),
                    last: read_action(last),
                };
            }
            ("stop", [retries, last]) => {
                resource.on_stop_failure =
                    StopFailurePolicy { retries: retries.parse().unwrap(), last: read_action(last) };
            }
            ("uptime", [threshold]) => resource.uptime_threshold = seconds(threshold),
            ("threshold", [failures, interval]) => {
                resource.failure_threshold = failures.parse().unwrap();
                resource.failure_interval = seconds(interval);
            }
            ("after", names) => {
                resource.depends_on = Some(names.iter().map(|name| (*name).into()).collect());
            }
            _ => panic!("what is {rule:?}?"),
        }
    }
    resource
}

fn read_monitor(words: &[&str]) -> MonitorConfig {
    let (target, numbers) = match words {
        ["group", name, numbers] => (RecoveryTarget::Group((*name).into()), numbers),
        ["cluster", numbers] => (RecoveryTarget::Cluster, numbers),
        [name, numbers] => (RecoveryTarget::Resource((*name).into()), numbers),
        _ => panic!("what does {words:?} mend?"),
    };
    let parts: Vec<&str> = numbers.split('/').collect();
    let [restarts, failovers, last] = parts[..] else { panic!("{numbers:?} is not three numbers") };
    MonitorConfig {
        comment: String::new(),
        kind: MonitorKind::Exec { command: vec!["look".into()], user: None, directory: None },
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(60),
        retries: 0,
        start_delay: Duration::from_secs(30),
        timing: MonitorTiming::Always,
        target: None,
        nice: 0,
        servers: Vec::new(),
        recovery: RecoveryConfig {
            target,
            restarts: restarts.parse().unwrap(),
            failovers: failovers.parse().unwrap(),
            last: read_action(last),
        },
    }
}

fn read_action(word: &str) -> FinalAction {
    match word {
        "none" => FinalAction::None,
        "stop" => FinalAction::Stop,
        "reboot" => FinalAction::StopAndReboot,
        "poweroff" => FinalAction::StopAndPowerOff,
        "reset" => FinalAction::Reset,
        other => panic!("no final action {other:?}"),
    }
}
