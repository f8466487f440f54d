//! How long the placement decision takes, and how much memory, on random clusters of many
//! resources in groups of three with dependencies, one server lost.
//!
//! Each size runs in a process of its own, so that its peak memory is its own. The figures are
//! for the deciding alone; the registry is filled through the real `apply` before.

// What the crate itself may not do is what a benchmark is for.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::{collections::BTreeMap, env, fs, hint::black_box, process, time::Instant};

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
}
