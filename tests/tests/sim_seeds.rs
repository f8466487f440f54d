//! The simulator in the gate: the seeds that once failed, that a seed always gives the same run, and
//! new seeds for a while (`TASUKI_SIM_SECONDS`, 60 when it is not set).

#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used)]

use std::{
    process::{Command, Output},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

fn simulate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_simulate")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_seeds_that_once_failed_pass() {
    let list = concat!(env!("CARGO_MANIFEST_DIR"), "/seeds.txt");
    let output = simulate(&["--kept", list]);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let mut runs = std::collections::BTreeSet::new();
    for seed in 1..=20 {
        let seed = seed.to_string();
        let run = || text(&simulate(&["--seed", &seed, "--seconds", "8"]));
        let (one, other) = (run(), run());
        assert!(one.contains("trace"), "{one}");
        assert_eq!(one, other, "seed {seed}");
        runs.insert(one);
    }
    assert_eq!(runs.len(), 20, "another seed is another run");
}

#[test]
fn new_seeds_pass_too() {
    let seconds = std::env::var("TASUKI_SIM_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let limit = Duration::from_secs(seconds);
    let began = Instant::now();
    // From the date: every run of the gate looks elsewhere, and says where.
    let from = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() * 1000;
    let (mut done, mut millis) = (0, 0);
    while began.elapsed() < limit {
        let seed = (from + done).to_string();
        let shape: &[&str] = match done % 4 {
            0 => &["--servers", "5"],
            1 => &["--servers", "2", "--tie-break", "files"],
            _ => &["--servers", "3"],
        };
        let arguments: Vec<&str> = ["--seed", &seed].into_iter().chain(shape.iter().copied()).collect();
        let output = simulate(&arguments);
        let said = text(&output);
        assert!(output.status.success(), "simulate {}:\n{said}", arguments.join(" "));
        millis += said.split_whitespace().nth(2).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        done += 1;
    }
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    println!("{done} seeds, {:.2} simulated hours a minute", millis as f64 / 3_600_000.0 / minutes);
    assert!(done > 0 && millis > 0);
}
