//! Recovery as readable scenarios, `tests/recovery/*.txt`: servers and rules first, then a script of
//! what happens (`> …`), and under each line what follows, step by step.
//!
//! The steps are those of the real decisions: each owner's [`Lifecycle`], [`decide`] on the leader
//! and [`apply`] for every command play together on servers that exist only here. `UPDATE=1`
//! rewrites what follows; look at the difference before keeping it.
//!
//! [`Lifecycle`]: tasuki_core::group::lifecycle::Lifecycle
//! [`decide`]: tasuki_core::placement::plan::decide
//! [`apply`]: tasuki_core::registry::apply

// A test reads its scenarios from files, and writes them anew when asked to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod scenario;
mod world;

use std::{fs, path::Path};

/// What a scenario should look like: the same text with what really follows.
fn played(text: &str) -> String {
    let (head, script) = text.split_at(text.find("\n>").expect("a script") + 1);
    let mut world = world::World::new(&scenario::read(head));
    let mut out = head.to_owned();
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            out += &format!("> {command}\n");
            for step in folded(world.play(command)) {
                out += &format!("  {step}\n");
            }
        } else if !line.starts_with("  ") {
            out += &format!("{line}\n"); // comments and blank lines stay
        }
    }
    out
}

/// The same step several times in a row is one line.
fn folded(steps: Vec<String>) -> Vec<String> {
    let mut folded: Vec<(String, u32)> = Vec::new();
    for step in steps {
        match folded.last_mut() {
            Some((last, times)) if *last == step => *times += 1,
            _ => folded.push((step, 1)),
        }
    }
    let times = |(step, times)| if times == 1 { step } else { format!("{step}, {times} times") };
    folded.into_iter().map(times).collect()
}

#[test]
fn every_scenario_ends_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recovery");
    let mut wrong = Vec::new();
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 12, "the scenarios are there");
    for file in files {
        let written = fs::read_to_string(&file).unwrap();
        let played = played(&written);
        if written == played {
            continue;
        }
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&file, played).unwrap();
        } else {
            wrong.push(format!("{}\n{played}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "these ended otherwise (UPDATE=1 rewrites):\n{}", wrong.join("\n"));
}
