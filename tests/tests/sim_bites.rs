//! The simulator bites: a rule that is taken out is noticed within the runs that
//! `tasuki_tests::sim::bites` states. Every rule, and how far each search went, is in
//! `docs/decisions/015-simulator.md`; those that take long are left to `just bite`, which sets
//! `TASUKI_BITE`.
//!
//! The program is built here, with the feature `planted`, under a name of its own: nothing else that is
//! tested has the faults in it.

#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used)]

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use tasuki_tests::sim::bites::{BITES, Bite};

/// Builds the program beside the tests' own.
fn build() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_simulate")).parent().unwrap();
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["build", "--offline", "--locked", "--quiet", "--profile", profile]);
    cargo.args(["--package", "tasuki-tests", "--features", "planted", "--bin", "bite"]);
    cargo.arg("--target-dir").arg(folder.parent().unwrap());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder.join("bite")
}

/// How a rule was missed, or else which run noticed and what it said.
fn search(program: &Path, bite: &Bite, within: u64) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(["--bite", "--rule", bite.rule, "--runs", &within.to_string(), "--jobs", "2"]);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(text.lines().last().unwrap_or_default().into()) } else { Err(text) }
}

#[test]
fn a_rule_that_is_taken_out_is_noticed() {
    let all = std::env::var_os("TASUKI_BITE").is_some();
    let program = build();
    let began = Instant::now();
    // The quickest to be found first.
    let mut stated: Vec<(u64, &Bite)> = BITES.iter().filter_map(|bite| Some((bite.within?, bite))).collect();
    stated.sort_by_key(|(within, _)| *within);
    let (mut tried, mut missed) = (0, Vec::new());
    for (within, bite) in stated {
        if !all && !bite.is_quick() {
            println!("{:<20} is left to just bite", bite.rule);
            continue;
        }
        tried += 1;
        match search(&program, bite, within) {
            Ok(line) => println!("{line}"),
            Err(text) => missed.push(text),
        }
    }
    println!("{tried} rules taken out in turn, in {} s", began.elapsed().as_secs());
    assert!(missed.is_empty(), "not noticed:\n{}", missed.join("\n"));
    assert!(tried > 0);
}

#[test]
fn without_a_fault_the_first_runs_of_every_search_are_clean() {
    for bite in BITES {
        let seed = bite.from.to_string();
        let servers = bite.servers.to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_simulate"));
        command.args(["--seed", &seed, "--seconds", "15", "--servers", &servers]);
        command.args(["--tie-break", bite.tie_break, "--profile", bite.profile]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}: {}", bite.rule, String::from_utf8_lossy(&output.stdout));
    }
}
