//! The journal of decisions.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use serde_json::json;
use tasuki_core::time::WallTime;
use tasuki_storage::journal::{Decision, Decisions, find, summaries};

fn decision(n: u64) -> Decision {
    Decision {
        id: 0,
        at: WallTime(n),
        kind: "placement".to_owned(),
        about: "group/web".to_owned(),
        input: json!({ "n": n, "text": "line\nend" }),
        outcome: json!({ "server": "kiki" }),
    }
}

fn ids(dir: &Path, limit: usize) -> Vec<u64> {
    Decisions::open(dir, 5).unwrap().list(limit).unwrap().iter().map(|d| d.id).collect()
}

#[test]
fn the_last_decisions_are_kept_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    for n in 1..=13 {
        // Opened anew each time: ids go on.
        assert_eq!(Decisions::open(dir.path(), 5).unwrap().append(decision(n)).unwrap(), n);
    }
    assert_eq!(ids(dir.path(), 100), [9, 10, 11, 12, 13]);
    assert_eq!(ids(dir.path(), 2), [12, 13]);
    let journal = Decisions::open(dir.path(), 5).unwrap();
    assert_eq!(journal.get(12).unwrap(), Some(Decision { id: 12, ..decision(12) }));
    assert_eq!(journal.get(1).unwrap(), None);
}

#[test]
fn a_torn_record_is_left_out_and_harms_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Decisions::open(dir.path(), 5).unwrap();
    for n in 1..=3 {
        journal.append(decision(n)).unwrap();
    }
    let file = dir.path().join("decisions.log");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 20]).unwrap();
    let mut journal = Decisions::open(dir.path(), 5).unwrap();
    assert_eq!(journal.append(decision(4)).unwrap(), 3);
    assert_eq!(ids(dir.path(), 100), [1, 2, 3]);
}

#[test]
fn readers_see_what_is_written_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert!(summaries(dir.path(), 10).unwrap().is_empty());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let mut journal = Decisions::open(dir.path(), 3).unwrap();
    for n in 1..=5 {
        journal.append(decision(n)).unwrap();
    }
    let seen = summaries(dir.path(), 10).unwrap();
    assert_eq!(seen.iter().map(|one| one.id).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert!(seen.iter().all(|one| one.has_input && one.outcome == json!({ "server": "kiki" })));
    assert_eq!(summaries(dir.path(), 2).unwrap().len(), 2);
    assert_eq!(find(dir.path(), 2).unwrap(), Some(Decision { id: 2, ..decision(2) }));
    assert_eq!(find(dir.path(), 6).unwrap(), None);
}

#[test]
fn the_files_stay_within_their_bytes_and_what_is_too_large_loses_its_input() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Decisions::open(dir.path(), 1000).unwrap().at_most(2000);
    for n in 1..=100 {
        journal.append(decision(n)).unwrap();
    }
    let huge = Decision { input: json!("x".repeat(5000)), ..decision(101) };
    assert_eq!(journal.append(huge).unwrap(), 101);
    for name in ["decisions.log", "decisions.old"] {
        let size = fs::metadata(dir.path().join(name)).unwrap().len();
        assert!((200..=2000).contains(&size), "{name}: {size}");
    }
    let last = summaries(dir.path(), 1).unwrap();
    assert_eq!((last[0].id, last[0].has_input), (101, false));
    assert!(summaries(dir.path(), 1000).unwrap().len() > 10);
}
