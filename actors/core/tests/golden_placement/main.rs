//! Placement as readable scenarios, `tests/placement/*.txt`: one sentence of the reference each, the
//! cluster, then what happens (`> …`) and under each line what follows.
//!
//! ```text
//! # One sentence.
//! servers kiki lala
//! group R2 on lala
//! resource R1 start=hard(R2) pullup(R2) stop=hard(R2)
//!
//! > up kiki, up lala
//!   leader: R2 starts on lala, because the group starts with the cluster
//!   lala: R2 is online
//!   = lala R2; nowhere R1
//! ```
//!
//! The real [`decide`] and [`apply`] play; owners are simple: a start succeeds at once unless the
//! scenario says otherwise, and a release is obeyed as soon as nothing else has to stop first. After
//! each line the leader decides until it has nothing more to say: the same picture gives the same
//! decisions, and after the last there are none. `UPDATE=1` rewrites what follows; compare it with
//! the sentence before keeping it.
//!
//! [`decide`]: tasuki_core::placement::plan::decide
//! [`apply`]: tasuki_core::registry::apply

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
        if let Some(events) = line.strip_prefix("> ") {
            out += &format!("{line}\n");
            for step in world.play(events) {
                out += &format!("  {step}\n");
            }
        } else if !line.starts_with("  ") {
            out += &format!("{line}\n"); // comments and blank lines stay
        }
    }
    out
}

/// The lines in which two texts differ, side by side.
fn difference(written: &str, played: &str) -> String {
    let (written, played): (Vec<&str>, Vec<&str>) = (written.lines().collect(), played.lines().collect());
    let same = written.iter().zip(&played).take_while(|(a, b)| a == b).count();
    let shown = |lines: &[&str], sign: char| -> String {
        lines[same.min(lines.len())..].iter().map(|line| format!("  {sign}{line}\n")).collect()
    };
    let before: String =
        written[same.saturating_sub(4)..same].iter().map(|line| format!("   {line}\n")).collect();
    before + &shown(&written, '-') + &shown(&played, '+')
}

#[test]
fn every_scenario_ends_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/placement");
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut wrong = Vec::new();
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.to_string_lossy().contains(&only));
    files.sort();
    assert!(!only.is_empty() || files.len() >= 40, "the scenarios are there");
    for file in files {
        let written = fs::read_to_string(&file).unwrap();
        let played = std::panic::catch_unwind(|| played(&written));
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        match played {
            Ok(played) if played == written => {}
            Ok(played) if std::env::var_os("UPDATE").is_some() => fs::write(&file, played).unwrap(),
            Ok(played) => wrong.push(format!("{name}\n{}", difference(&written, &played))),
            Err(_) => wrong.push(format!("{name} could not be played: see above")),
        }
    }
    let count = wrong.len();
    assert!(wrong.is_empty(), "{count} ended otherwise (UPDATE=1 rewrites):\n{}", wrong.join("\n"));
}
