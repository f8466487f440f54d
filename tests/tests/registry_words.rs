//! What stands in the registry, word by word: every type that its log entries and snapshots are made
//! of, with its fields and variants. A new word needs a new level, or a member with an older program
//! could not read it, or would silently leave it out (`docs/upgrade.md`). The compiler asks for the
//! variants of commands and reasons; this asks for the rest.
//!
//! `UPDATE=1 cargo test -p tasuki-tests --test registry_words` writes the list anew: do that together
//! with the level, or when you are sure that no program ever wrote or will write the word before.

#![allow(clippy::unwrap_used)]

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Where the types of log entries and snapshots are.
const PLACES: [&str; 6] =
    ["registry", "reason.rs", "config", "ids.rs", "timing.rs", "membership/tie_break.rs"];

fn core() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../actors/core/src")
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/registry_words.txt")
}

fn files(place: &Path, found: &mut Vec<PathBuf>) {
    if place.is_file() {
        found.push(place.to_owned());
        return;
    }
    let mut inside: Vec<PathBuf> = fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()).collect();
    inside.sort();
    for path in inside {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() || name.ends_with(".rs") {
            // Neither `apply` nor tests have types that are stored.
            if !["apply", "apply.rs", "tests", "tests.rs"].contains(&&*name) {
                files(&path, found);
            }
        }
    }
}

/// The types of one file that can be read back, with what is in them.
fn words(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut derives, mut inside) = (String::new(), false);
    for line in text.lines() {
        let trimmed = line.trim();
        if inside {
            inside = line != "}";
            let says = !trimmed.is_empty() && !trimmed.starts_with("//");
            if says && inside {
                found.push(line.to_owned());
            }
            continue;
        }
        if trimmed.starts_with("#[derive(") || (!derives.is_empty() && !derives.contains(")]")) {
            derives.push_str(trimmed);
            continue;
        }
        if trimmed.starts_with("#[") || trimmed.starts_with("//") {
            continue;
        }
        let is_type = line.starts_with("pub struct ") || line.starts_with("pub enum ");
        if is_type && derives.contains("Deserialize") {
            found.push(line.trim_end_matches(" {").to_owned());
            inside = line.ends_with('{');
        }
        derives.clear();
    }
    found
}

#[test]
fn every_word_of_the_registry_is_known_and_a_new_one_has_a_level() {
    let mut all = Vec::new();
    PLACES.iter().for_each(|place| files(&core().join(place), &mut all));
    let mut text = String::new();
    for file in all {
        let words = words(&fs::read_to_string(&file).unwrap());
        if !words.is_empty() {
            let name = file.strip_prefix(core()).unwrap().display().to_string();
            text.push_str(&format!("# {name}\n{}\n", words.join("\n")));
        }
    }
    assert!(text.contains("    WatchdogArmed {\n") && text.contains("    pub watchdog: Option<Duration>,\n"));
    if env::var_os("UPDATE").is_some() {
        fs::write(golden(), &text).unwrap();
    }
    let known = fs::read_to_string(golden()).unwrap();
    for (now, then) in text.lines().zip(known.lines()) {
        assert_eq!(now, then, "a word of the registry has changed: see the head of this test");
    }
    assert_eq!(text.lines().count(), known.lines().count(), "see the head of this test");
}
