//! How long the placement decision takes, and how much memory, on random clusters of many
//! resources in groups of three with dependencies, one server lost.
//!
//! Each size runs in a process of its own, so that its peak memory is its own. The figures are
//! for the deciding alone; the registry is filled through the real `apply` before.

// What the crate itself may not do is what a benchmark is for.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::{collections::BTreeMap, env, fmt::Write as _, fs, hint::black_box, process, time::Instant};

use common::{Plain, cluster, exec, server_name};
use tasuki_core::{config::*, ids::*};

const ROUNDS: usize = 11;

/// Numbers that look random and are the same each time (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }
}

fn config(resources: usize, servers: usize) -> ClusterConfig {
    let mut dice = Dice(0x5eed);
    let mut config = cluster(servers);
    for group in 0..resources.div_ceil(3) {
        let member = |n: usize| ResourceName::new(format!("r{group}-{n}"));
        let count = 3.min(resources - group * 3);
        let members = (0..count).map(|n| {
            let depends_on = Some((0..n).map(member).collect());
            (member(n), ResourceConfig { depends_on, ..exec() })
        });
        // A third of the groups asks something of an earlier one.
        let on = |dice: &mut Dice| Named::Resource(ResourceName::new(format!("r{}-0", dice.below(group))));
        let start = match group % 9 {
            0 if group > 0 => {
                let kind = StartKind::Hard { intermediate: false, global: true };
                vec![StartDependency { on: on(&mut dice), kind }]
            }
            3 => vec![StartDependency {
                on: on(&mut dice),
                kind: StartKind::Attraction { intermediate: false },
            }],
            6 => vec![StartDependency {
                on: on(&mut dice),
                kind: StartKind::Dispersion { active: false, intermediate: false },
            }],
            _ => Vec::new(),
        };
        let first = dice.below(servers);
        let list = (0..servers).map(|n| server_name((first + n) % servers + 1)).collect();
        let value = GroupConfig {
            servers: list,
            resources: members.collect::<BTreeMap<_, _>>(),
            placement: Placement::Balanced,
            start,
            ..GroupConfig::default()
        };
        config.groups.insert(GroupName::new(format!("g{group}")), value);
    }
    config
}

fn memory(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn one(resources: usize, servers: usize) {
    let mut plain = Plain::up(config(resources, servers));
    plain.settle();
    let lost = server_name(1);
    plain.lose(&lost);
    let before = memory("VmHWM");
    let mut times = Vec::new();
    let mut count = 0;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        count = black_box(plain.decisions()).len();
        times.push(start.elapsed());
    }
    times.sort();
    let start = Instant::now();
    plain.settle();
    let whole = start.elapsed();
    println!(
        "{resources:>9} {servers:>8} {count:>10} {:>10.2} {:>10.2} {:>9} {:>9} {:>12.0}",
        times[ROUNDS / 2].as_secs_f64() * 1e3,
        times[ROUNDS - 1].as_secs_f64() * 1e3,
        memory("VmHWM"),
        memory("VmHWM") - before,
        whole.as_secs_f64() * 1e3,
    );
}

/// The same cluster for Pacemaker's scheduler: all servers up, nothing running, no probes.
fn as_cib(config: &ClusterConfig) -> String {
    let mut cib = String::from(concat!(
        "<cib validate-with=\"pacemaker-3.8\" crm_feature_set=\"3.16.1\" epoch=\"1\" num_updates=\"0\" ",
        "admin_epoch=\"0\" have-quorum=\"1\" dc-uuid=\"1\"><configuration><crm_config>",
        "<cluster_property_set id=\"o\"><nvpair id=\"o1\" name=\"stonith-enabled\" value=\"false\"/>",
        "<nvpair id=\"o2\" name=\"enable-startup-probes\" value=\"false\"/></cluster_property_set>",
        "</crm_config><nodes>"
    ));
    let mut states = String::new();
    for (name, server) in &config.servers {
        let id = server.number;
        let _ = write!(cib, "<node id=\"{id}\" uname=\"{name}\"/>");
        let _ = write!(
            states,
            "<node_state id=\"{id}\" uname=\"{name}\" in_ccm=\"true\" crmd=\"online\" join=\"member\" \
             expected=\"member\"/>"
        );
    }
    cib.push_str("</nodes><resources>");
    let mut constraints = String::new();
    for (name, group) in &config.groups {
        let _ = write!(cib, "<group id=\"{name}\">");
        for resource in group.resources.keys() {
            let _ = write!(
                cib,
                "<primitive id=\"{resource}\" class=\"ocf\" provider=\"pacemaker\" type=\"Dummy\"/>"
            );
        }
        cib.push_str("</group>");
        for need in &group.start {
            let Named::Resource(on) = &need.on else { continue };
            let _ = match need.kind {
                StartKind::Attraction { .. } => write!(
                    constraints,
                    "<rsc_colocation id=\"c-{name}\" rsc=\"{name}\" with-rsc=\"{on}\" score=\"100\"/>"
                ),
                StartKind::Dispersion { .. } => write!(
                    constraints,
                    "<rsc_colocation id=\"c-{name}\" rsc=\"{name}\" with-rsc=\"{on}\" score=\"-100\"/>"
                ),
                _ => write!(constraints, "<rsc_order id=\"o-{name}\" first=\"{on}\" then=\"{name}\"/>"),
            };
        }
    }
    let _ = write!(
        cib,
        "</resources><constraints>{constraints}</constraints></configuration><status>{states}</status></cib>"
    );
    cib
}

/// The first start of everything: ours until all runs, Pacemaker's one run of its scheduler.
fn beside_pacemaker(resources: usize, servers: usize) {
    let config = config(resources, servers);
    let mut plain = Plain::up(config.clone());
    let start = Instant::now();
    plain.settle();
    let ours = start.elapsed();
    assert!(config.groups.keys().all(|group| plain.online(group)), "all runs");
    let file = env::temp_dir().join(format!("tasuki-bench-{}.xml", process::id()));
    fs::write(&file, as_cib(&config)).unwrap();
    let mut times = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        let done = process::Command::new("crm_simulate").arg("-x").arg(&file).args(["--run"]).output();
        times.push(start.elapsed());
        let done = done.unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && said.contains("Start "), "{said}");
    }
    fs::remove_file(&file).unwrap();
    times.sort();
    let ratio = times[1].as_secs_f64() / ours.as_secs_f64();
    println!(
        "{resources:>9} {servers:>8} {:>14.1} {:>14.1} {ratio:>8.0}",
        ours.as_secs_f64() * 1e3,
        times[1].as_secs_f64() * 1e3
    );
}

fn main() {
    let sizes: Vec<usize> = env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    if let [resources, servers] = sizes[..] {
        one(resources, servers);
        return;
    }
    println!("one decision after the loss of one server; memory is the peak of the whole process, and of");
    println!("that what the decision added; `until` is all decisions and owners played until all runs again");
    println!();
    println!("resources  servers  decisions  median ms    max ms    MB all    MB add     until ms");
    for resources in [100, 1_000, 5_000, 10_000] {
        for servers in [3, 16, 32, 64] {
            let program = env::current_exe().unwrap();
            let args = [resources.to_string(), servers.to_string()];
            let done = process::Command::new(program).args(args).status().unwrap();
            assert!(done.success());
        }
    }
    println!();
    if process::Command::new("crm_simulate").arg("--version").output().is_err() {
        println!("beside Pacemaker: skipped, because crm_simulate is not installed");
        return;
    }
    println!("the first start of everything, in ms: ours until all runs (decisions, registry, owners that");
    println!("obey at once), and one run of Pacemaker's scheduler over the same groups without probes");
    println!();
    println!("resources  servers    ours, all ms  Pacemaker ms    ratio");
    for (resources, servers) in [(100, 3), (1_000, 3), (1_000, 32), (5_000, 3)] {
        beside_pacemaker(resources, servers);
    }
}
