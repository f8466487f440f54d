//! The numbers of a cluster of three on whole machines, as tables in Markdown: what each fault costs
//! a client outside, where the time goes, what idling and writing cost.
//!
//! `cargo bench -p tasuki-tests --bench failover`. `TASUKI_ROUNDS` says how often each fault happens
//! (10 by default), `TASUKI_BUSY_SECONDS` how long each tight setting is watched for false alarms (60),
//! `TASUKI_FAULTS` which faults happen, by parts of their names, `TASUKI_PARTS` which of formation, costs, default and tight are wanted.

use std::{collections::BTreeMap, env, io, process::Command, time::Duration};

use tasuki_tests::{
    hosts::{
        Cluster, Make, SERVERS,
        budget::{self, PARTS},
        cost::{self, Busy},
        fault::Fault,
    },
    network::Lab,
    numbers::{Times, ms},
};

/// What a cluster gets that says nothing else.
const DEFAULT: Duration = Duration::from_secs(1);
/// How long nothing happens.
const IDLE: Duration = Duration::from_secs(30);
/// From the tightest that the configuration accepts upwards.
const TIGHT: [u64; 6] = [200, 250, 300, 400, 500, 700];

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    if let Some(why) = Lab::impossible() {
        println!("skipped, because {why}");
        return Ok(());
    }
    build()?;
    let rounds = number("TASUKI_ROUNDS", 10);
    let busy = Duration::from_secs(number("TASUKI_BUSY_SECONDS", 60));
    let parts = env::var("TASUKI_PARTS").unwrap_or_else(|_| "formation,costs,default,tight".to_owned());
    for part in parts.split(',') {
        match part {
            "formation" => formation(rounds)?,
            "costs" => costs()?,
            "default" => faults(DEFAULT, rounds)?,
            "tight" => match tightest(busy)? {
                Some(tightest) => faults(tightest, rounds)?,
                None => println!("\nNo tight setting is free of false alarms on this machine."),
            },
            other => return Err(io::Error::other(format!("TASUKI_PARTS: there is no part {other:?}"))),
        }
    }
    Ok(())
}

/// The same program that is measured, as it is now.
fn build() -> io::Result<()> {
    let Some(cargo) = env::var_os("CARGO").filter(|_| env::var_os("TASUKI_PROGRAM").is_none()) else {
        return Ok(());
    };
    let done = Command::new(cargo).args(["build", "--quiet", "--release", "-p", "tasuki"]).status()?;
    if done.success() { Ok(()) } else { Err(io::Error::other("the program could not be built")) }
}

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn formation(rounds: u64) -> io::Result<()> {
    let mut all = Vec::new();
    for _ in 0..rounds {
        all.push(Cluster::start(Make::with_detect(DEFAULT)?)?.formation().all);
    }
    println!("\n### Three servers formed from nothing, ms\n\n| min | median | max |\n|---|---|---|");
    println!("| {} |", Times::new(all));
    Ok(())
}

fn costs() -> io::Result<()> {
    let cluster = Cluster::start(Make::with_detect(DEFAULT)?)?;
    let idle = cost::idle(&cluster, IDLE)?;
    let (_, leader) = cluster.active_and_leader()?;
    println!("\n### Idle for {IDLE:?}\n");
    println!(
        "| server | node, % of a core | node, MiB resident | guard, % of a core | guard, MiB resident |"
    );
    println!("|---|---|---|---|---|");
    for (server, (guard, node)) in idle.iter().enumerate() {
        println!(
            "| {}{} | {:.2} | {} | {:.2} | {} |",
            SERVERS[server],
            if server == leader { " (leader)" } else { "" },
            node.cpu,
            node.resident / 1024,
            guard.cpu,
            guard.resident / 1024
        );
    }
    println!("\n### Registry write on three servers, one disk for all, ms\n");
    println!("| what | p50 | p99 |\n|---|---|---|");
    let cell = |times: &Times, share| times.quantile(share).map_or_else(String::new, ms);
    for server in [leader, (leader + 1) % SERVERS.len()] {
        let (registry, append) = cost::writes(&cluster, server, 1000)
            .map_err(|error| io::Error::other(format!("{error}\n{}", cluster.last_words(40))))?;
        let who = if server == leader { "the leader" } else { "a follower" };
        println!("| through {who} | {} | {} |", cell(&registry, 0.5), cell(&registry, 0.99));
        println!("| append + fdatasync, right after | {} | {} |", cell(&append, 0.5), cell(&append, 0.99));
    }
    Ok(())
}

fn faults(detect: Duration, rounds: u64) -> io::Result<()> {
    let cluster = Cluster::start(Make::with_detect(detect)?)?;
    let events = cluster.calls().events((0..SERVERS.len()).map(|server| cluster.data(server)));
    let mut split: BTreeMap<Fault, Vec<[f64; PARTS.len()]>> = BTreeMap::new();
    println!("\n### Outage as a client sees it, detect = {detect:?}, ms, {rounds} rounds\n");
    println!(
        "| fault | min | median | max | overlap of holders, max | address given up, max | whole again, max |"
    );
    println!("|---|---|---|---|---|---|---|");
    for fault in Fault::wanted() {
        let (mut all, mut overlap, mut broken) = (Vec::new(), Duration::ZERO, 0);
        let (mut held, mut healed) = (None, Duration::ZERO);
        for _ in 0..rounds {
            events.clear();
            match cluster.suffer(fault) {
                Ok(round) => {
                    eprintln!("{round}");
                    let parts = budget::split(&round, &events.so_far());
                    split.entry(fault).or_default().extend(parts);
                    overlap = overlap.max(round.overlap);
                    held = held.max(round.held);
                    healed = healed.max(round.healed);
                    all.push(round.outage);
                }
                Err(error) => {
                    broken += 1;
                    eprintln!("BROKEN: {error}");
                }
            }
        }
        let broken = if broken > 0 { format!(" ({broken} rounds broken)") } else { String::new() };
        let held = held.map_or_else(|| "-".to_owned(), ms);
        println!("| {fault}{broken} | {} | {} | {held} | {} |", Times::new(all), ms(overlap), ms(healed));
    }
    println!("\n### Where the time of a failover goes, detect = {detect:?}, median ms\n");
    let lost = [Fault::PowerLost { leads: false }, Fault::PowerLost { leads: true }];
    println!("| part | {} | {} |\n|---|---|---|", lost[0], lost[1]);
    for (part, name) in PARTS.iter().enumerate() {
        let median = |fault| {
            let mut times: Vec<f64> =
                split.get(&fault).into_iter().flatten().map(|parts| parts[part]).collect();
            times.sort_by(f64::total_cmp);
            times.get(times.len() / 2).map_or_else(|| "-".to_owned(), |time| format!("{time:.1}"))
        };
        println!("| {name} | {} | {} |", median(lost[0]), median(lost[1]));
    }
    Ok(())
}

/// The tightest setting that raises no false alarm while both cores are busy.
fn tightest(span: Duration) -> io::Result<Option<Duration>> {
    let cores = std::thread::available_parallelism()?.get();
    println!("\n### False alarms while all {cores} cores are busy for {span:?}\n");
    println!(
        "| detect | failovers | servers called gone | leases lost | elections | paths lost | longest gap, ms |"
    );
    println!("|---|---|---|---|---|---|---|");
    for detect in TIGHT.map(Duration::from_millis) {
        let cluster = Cluster::start(Make::with_detect(detect)?)?;
        let alarms = {
            let _busy = Busy::start(cores)?;
            cost::false_alarms(&cluster, span)?
        };
        println!(
            "| {detect:?} | {} | {} | {} | {} | {} | {} |",
            alarms.failovers,
            alarms.judged,
            alarms.leases,
            alarms.elections,
            alarms.paths,
            ms(alarms.longest)
        );
        if alarms.none() {
            return Ok(Some(detect));
        }
    }
    Ok(None)
}
