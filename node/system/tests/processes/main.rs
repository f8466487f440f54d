//! Real processes: programs in their confinement, and a guard with a small node under it.
//!
//! This binary plays every role itself (`/proc/self/exe` is the trampoline), so it has a runner of
//! its own instead of the usual one. It takes the usual filter words, `--exact` and `--list`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod guard;
mod node;
mod programs;
mod quorum_loss;
mod support;

use std::{ffi::OsString, panic, process::ExitCode};

type Test = (&'static str, fn());

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_deref().and_then(|role| role.to_str()) {
        Some("__run") => tasuki_system::exec::trampoline(arguments),
        Some("__guard") => guard::play(arguments),
        Some("__node") => node::play(arguments),
        _ => run_tests(),
    }
}

fn run_tests() -> ExitCode {
    let tests: Vec<Test> =
        programs::TESTS.iter().chain(guard::TESTS).chain(quorum_loss::TESTS).copied().collect();
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let has = |flag: &str| words.iter().any(|word| word == flag);
    if has("--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&str> =
        words.iter().filter_map(|word| word.to_str()).filter(|word| !word.starts_with('-')).collect();
    let wanted = |name: &str| {
        filters.is_empty()
            || filters
                .iter()
                .any(|filter| if has("--exact") { name == *filter } else { name.contains(filter) })
    };
    let mut failed = Vec::new();
    let chosen: Vec<&Test> = tests.iter().filter(|(name, _)| wanted(name)).collect();
    println!("running {} tests", chosen.len());
    for (name, test) in &chosen {
        match panic::catch_unwind(test) {
            Ok(()) => println!("test {name} ... ok"),
            Err(_) => {
                println!("test {name} ... FAILED");
                failed.push(*name);
            }
        }
    }
    println!("{} passed; {} failed {failed:?}", chosen.len() - failed.len(), failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(101) }
}
