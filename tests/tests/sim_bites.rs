//! The simulator bites: a rule that is taken out is noticed within the runs that
//! `tasuki_tests::sim::bites` states. Every rule, and how far each search went, is in
//! `docs/decisions/015-simulator.md`; the gate tries as many as fit `TASUKI_BITE_SECONDS` (180 when it
//! is not set), and says which it left out.
//!
//! The program is built here, with the feature `planted`, under a name of its own: nothing else that is
//! tested has the faults in it.

#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used)]

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
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
    let seconds = std::env::var("TASUKI_BITE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(180);
    let limit = Duration::from_secs(seconds);
    let program = build();
    let began = Instant::now();
    // The quickest to be found first.
    let mut stated: Vec<(u64, &Bite)> = BITES.iter().filter_map(|bite| Some((bite.within?, bite))).collect();
    stated.sort_by_key(|(within, _)| *within);
    let (mut tried, mut missed) = (0, Vec::new());
    for (within, bite) in stated {
        if began.elapsed() > limit {
            println!("{} is left out, because {seconds} s are over", bite.rule);
            continue;
        }
        tried += 1;
        match search(&program, bite, within) {
            Ok(line) => println!("{line}"),
            Err(text) => missed.push(text),
        }
    }
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
