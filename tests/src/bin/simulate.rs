//! Runs the simulator.
//!
//! ```text
//! simulate --seed 7 --trace            one seed, every line of it
//! simulate --runs 100 --minutes 5      a hunt: prints each failing seed and what it broke
//! simulate --kept tests/seeds.txt      the seeds that once failed
//! simulate --planted R1 --runs 50      a hunt with a rule taken out (feature `planted`)
//! simulate --bite --runs 50            every rule taken out in turn: which seed notices, and how
//! simulate --bite --rule R16           one of them
//! ```
//!
//! `--servers`, `--tie-break` (none, files, witness, fence, ping), `--profile` (`any`, or one of
//! `sim::profile`) and `--seconds` of faults say what a run is like; `--jobs` how many run at once.

use std::{
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use tasuki_tests::sim::{
    bites::{BITES, Bite},
    profile::PROFILES,
    run::{OUTSIDE, Options, Report, run, tie_breaks, watch_panics},
};

/// What the random numbers of libraries are made of, from the seed: hash maps, election time-outs,
/// names of proposals. Only in this program.
#[allow(unsafe_code)]
mod chance {
    use std::sync::atomic::{AtomicU64, Ordering};

    static STATE: AtomicU64 = AtomicU64::new(0x7a5f);

    pub fn seed(seed: u64) {
        STATE.store(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, Ordering::Relaxed);
    }

    /// In the place of libc's: the standard library and `rand` take their seeds from here.
    ///
    /// # Safety
    /// As getrandom(2): `buffer` has room for `length` bytes.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
        for at in 0..length {
            let mut x = STATE.load(Ordering::Relaxed);
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            STATE.store(x, Ordering::Relaxed);
            // SAFETY: the caller says that there is room.
            unsafe { buffer.add(at).write((x >> 32) as u8) };
        }
        isize::try_from(length).unwrap_or(isize::MAX)
    }
}

struct Arguments {
    seed: Option<u64>,
    from: u64,
    runs: u64,
    minutes: f64,
    jobs: usize,
    servers: Option<usize>,
    tie_break: String,
    seconds: u64,
    trace: bool,
    profile: String,
    planted: Option<String>,
    bite: bool,
    rule: Option<String>,
    kept: Option<String>,
}

/// The program.
pub fn main() -> ExitCode {
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    match (arguments.seed, &arguments.kept) {
        (Some(seed), _) => one(&arguments, seed),
        (None, Some(list)) => kept(list),
        (None, None) if arguments.bite => bite(&arguments),
        (None, None) => hunt(&arguments),
    }
}

fn parse() -> Result<Arguments, String> {
    let mut parsed = Arguments {
        seed: None,
        from: 1,
        runs: 20,
        minutes: 60.0,
        jobs: 1,
        servers: None,
        tie_break: "none".into(),
        seconds: 40,
        trace: false,
        profile: "mixed".into(),
        planted: None,
        bite: false,
        rule: None,
        kept: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--trace" => parsed.trace = true,
            "--bite" => parsed.bite = true,
            _ => {}
        }
        if word == "--trace" || word == "--bite" {
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{word} needs a number, not {value}"));
        match word.as_str() {
            "--seed" => parsed.seed = Some(number()?),
            "--from" => parsed.from = number()?,
            "--runs" => parsed.runs = number()?,
            "--minutes" => parsed.minutes = value.parse().map_err(|_| "--minutes needs a number")?,
            "--jobs" => parsed.jobs = usize::try_from(number()?).unwrap_or(1).max(1),
            "--servers" => parsed.servers = usize::try_from(number()?).ok(),
            "--tie-break" => parsed.tie_break = value,
            "--profile" => parsed.profile = value,
            "--rule" => parsed.rule = Some(value),
            "--planted" => parsed.planted = Some(value),
            "--kept" => parsed.kept = Some(value),
            "--seconds" => parsed.seconds = number()?,
            _ => return Err(format!("{word} is not known; see the head of tests/src/bin/simulate.rs")),
        }
    }
    if !tie_breaks().contains_key(parsed.tie_break.as_str()) {
        return Err(format!("--tie-break is one of {:?}", tie_breaks().keys().collect::<Vec<_>>()));
    }
    let profiles: Vec<&str> = PROFILES.iter().map(|(name, _)| *name).chain(["any"]).collect();
    if !profiles.contains(&parsed.profile.as_str()) {
        return Err(format!("--profile is one of {profiles:?}"));
    }
    Ok(parsed)
}

/// One seed, in this process.
fn one(arguments: &Arguments, seed: u64) -> ExitCode {
    if std::env::var_os("RUST_LOG").is_some() {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
    if let Some(rule) = &arguments.planted
        && let Err(why) = plant(rule)
    {
        eprintln!("{why}");
        return ExitCode::from(2);
    }
    watch_panics();
    std::thread::spawn(move || end_what_hangs(seed));
    let options = Options {
        seed,
        servers: arguments.servers,
        tie_break: tie_breaks().remove(arguments.tie_break.as_str()).unwrap_or_default(),
        profile: arguments.profile.clone(),
        faults: arguments.seconds * 1000,
        aloud: arguments.trace,
        planted: arguments.planted.clone(),
    };
    // A thread of its own has hash maps that are seeded from here on.
    chance::seed(seed);
    let Ok(report) = std::thread::spawn(move || run(&options)).join() else {
        println!("seed {seed} BROKE nothing panics: the simulation itself did");
        return ExitCode::FAILURE;
    };
    let Report { violation, hash, lines, millis, revisions, tail } = report;
    println!("seed {seed}: {millis} ms simulated, {revisions} revisions, {lines} lines, trace {hash:016x}");
    let Some(violation) = violation else { return ExitCode::SUCCESS };
    if !arguments.trace {
        for line in tail {
            println!("{line}");
        }
    }
    println!("seed {seed} BROKE {violation}");
    ExitCode::FAILURE
}

/// Seconds of CPU that a run may take: ten times what the slowest takes, not optimised.
const LONGEST: u64 = 90;

/// A node that goes round and round lets no step end, so that nothing else sees it.
fn end_what_hangs(seed: u64) {
    loop {
        std::thread::sleep(Duration::from_millis(500));
        // User and system time of this process, in hundredths of a second: proc(5).
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let after = stat.rsplit(')').next().unwrap_or_default();
        let ticks: u64 =
            after.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
        if ticks > LONGEST * 100 {
            println!("seed {seed} BROKE nothing hangs: {LONGEST} s of CPU, and no end");
            std::process::exit(1);
        }
    }
}

/// Takes a rule out of this process; several at once, joined by `+`.
#[cfg(feature = "planted")]
fn plant(rule: &str) -> Result<(), String> {
    use tasuki_core::planted;
    let known = |name: &str| planted::ALL.iter().find(|(known, _)| *known == name).map(|(_, what)| *what);
    let mut out = Vec::new();
    for part in if known(rule).is_some() { vec![rule] } else { rule.split('+').collect() } {
        match known(part) {
            Some(what) => out.extend_from_slice(what),
            None if OUTSIDE.contains(&part) => {}
            None => {
                let names = planted::ALL.iter().map(|(name, _)| *name).chain(OUTSIDE);
                return Err(format!("--planted is one of {:?}", names.collect::<Vec<_>>()));
            }
        }
    }
    planted::plant(&out);
    Ok(())
}

#[cfg(not(feature = "planted"))]
fn plant(rule: &str) -> Result<(), String> {
    if OUTSIDE.contains(&rule) { Ok(()) } else { Err("built without the feature `planted`".into()) }
}

/// Every rule taken out in turn, until a seed notices.
fn bite(arguments: &Arguments) -> ExitCode {
    let mut wrong = 0;
    println!("{:<20} {:<28} {:>5} {:>6}  noticed by", "rule", "where", "runs", "stated");
    for bite in BITES.iter().filter(|bite| arguments.rule.as_deref().is_none_or(|rule| rule == bite.rule)) {
        let Ok(found) = found(arguments, bite) else { return ExitCode::FAILURE };
        let place = format!("{} servers, {}, {}", bite.servers, bite.tie_break, bite.profile);
        let stated = bite.within.map_or("-".to_owned(), |within| within.to_string());
        let (runs, what) = match &found {
            Some((seed, what)) => (seed - bite.from + 1, what.as_str()),
            None => (arguments.runs, "nobody"),
        };
        println!("{:<20} {place:<28} {runs:>5} {stated:>6}  {what}", bite.rule);
        wrong += u32::from(bite.within.is_some_and(|within| found.is_none() || runs > within));
    }
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The first seed that notices, and how.
fn found(arguments: &Arguments, bite: &Bite) -> std::io::Result<Option<(u64, String)>> {
    let how = Arguments {
        planted: Some(bite.rule.to_owned()),
        servers: Some(bite.servers),
        tie_break: bite.tie_break.to_owned(),
        profile: bite.profile.to_owned(),
        seed: None,
        rule: None,
        kept: None,
        ..*arguments
    };
    let seeds: Vec<u64> = (bite.from..bite.from + arguments.runs).collect();
    for batch in seeds.chunks(arguments.jobs) {
        let children: Vec<_> = batch.iter().map(|seed| (*seed, child(&how, *seed))).collect();
        let mut first = None;
        for (seed, child) in children {
            let output = child?.wait_with_output()?;
            if !output.status.success() && first.is_none() {
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                first = Some((seed, text.lines().last().unwrap_or_default().to_owned()));
            }
        }
        if first.is_some() {
            return Ok(first);
        }
    }
    Ok(None)
}

/// The seeds of a list, one a line: seed, servers, tie-break, profile, and why it is kept.
fn kept(list: &str) -> ExitCode {
    let text = match std::fs::read_to_string(list) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("{list}: {error}");
            return ExitCode::from(2);
        }
    };
    let mut failed = 0;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let (seed, servers) =
            (words.next().and_then(|w| w.parse().ok()), words.next().and_then(|w| w.parse().ok()));
        let (Some(seed), Some(servers), Some(tie_break), Some(profile)) =
            (seed, servers, words.next(), words.next())
        else {
            eprintln!("{list}: not understood: {line}");
            return ExitCode::from(2);
        };
        let how = Arguments {
            seed: None,
            from: 1,
            runs: 1,
            minutes: 1.0,
            jobs: 1,
            servers: Some(servers),
            tie_break: tie_break.to_owned(),
            seconds: 40,
            trace: false,
            profile: profile.to_owned(),
            planted: None,
            bite: false,
            rule: None,
            kept: None,
        };
        match child(&how, seed).and_then(std::process::Child::wait_with_output) {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                failed += 1;
                println!("{}", String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default());
            }
            Err(error) => {
                eprintln!("seed {seed}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{failed} of the kept seeds failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Many seeds, each in a process of its own.
fn hunt(arguments: &Arguments) -> ExitCode {
    let began = Instant::now();
    let limit = Duration::from_secs_f64(arguments.minutes * 60.0);
    let (mut done, mut failed, mut millis) = (0u64, Vec::new(), 0u64);
    let mut next = arguments.from;
    let end = arguments.from + arguments.runs;
    while next < end && began.elapsed() < limit {
        let batch: Vec<u64> = (next..end).take(arguments.jobs).collect();
        next += batch.len() as u64;
        let children: Vec<_> = batch.iter().map(|seed| (*seed, child(arguments, *seed))).collect();
        for (seed, child) in children {
            let output = match child.and_then(std::process::Child::wait_with_output) {
                Ok(output) => output,
                Err(error) => {
                    eprintln!("seed {seed}: {error}");
                    return ExitCode::FAILURE;
                }
            };
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            done += 1;
            millis += simulated(&text);
            if !output.status.success() {
                let last = text.lines().last().unwrap_or("it said nothing").to_owned();
                println!("{last}");
                failed.push(seed);
            }
        }
    }
    let wall = began.elapsed().as_secs_f64();
    let hours = millis as f64 / 3_600_000.0;
    println!(
        "{done} runs, {} failed {failed:?}; {hours:.2} simulated hours in {wall:.0} s: {:.2} hours a minute",
        failed.len(),
        hours / (wall / 60.0)
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn child(arguments: &Arguments, seed: u64) -> std::io::Result<std::process::Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--seed", &seed.to_string(), "--seconds", &arguments.seconds.to_string()]);
    command.args(["--tie-break", &arguments.tie_break, "--profile", &arguments.profile]);
    if let Some(rule) = &arguments.planted {
        command.args(["--planted", rule]);
    }
    if let Some(servers) = arguments.servers {
        command.args(["--servers", &servers.to_string()]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
}

fn simulated(text: &str) -> u64 {
    let line = text.lines().find(|line| line.contains(" ms simulated"));
    let word = line.and_then(|line| line.split_whitespace().nth(2));
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}
