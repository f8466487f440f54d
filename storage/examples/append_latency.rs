//! How long an acknowledged append takes, beside a plain append + fdatasync in the same run.
//!
//! `cargo run --release -p tasuki-storage --example append_latency [FOLDER]`
#![allow(clippy::unwrap_used)]

use std::{
    fs::File,
    io::Write,
    path::PathBuf,
    time::{Duration, Instant},
};

use openraft::{EntryPayload, entry::RaftEntry, storage::RaftLogStorageExt};
use tasuki_core::{
    registry::{Author, Command, Proposal},
    time::WallTime,
};
use tasuki_storage::{
    OpenOptions, open,
    raft_types::{Entry, LogId},
};

const WRITES: u64 = 2000;

#[tokio::main]
async fn main() {
    let folder = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = folder.join(format!("tasuki-append-latency-{}", std::process::id()));
    let store = open(&dir, &OpenOptions::default()).unwrap();
    let mut log = store.log.clone();
    let mut plain = File::create(dir.join("plain")).unwrap();
    let (mut in_store, mut in_file) = (Vec::new(), Vec::new());
    // In turn, so that both meet the same moods of the disk.
    for index in 0..WRITES {
        let entry = entry(index);
        let json = serde_json::to_vec(&entry).unwrap();
        let started = Instant::now();
        log.blocking_append([entry]).await.unwrap();
        in_store.push(started.elapsed());
        let started = Instant::now();
        plain.write_all(&json).unwrap();
        plain.sync_data().unwrap();
        in_file.push(started.elapsed());
    }
    println!("{WRITES} writes, one at a time       p50       p99       max");
    show("registry log, acknowledged", in_store);
    show("plain append + fdatasync", in_file);
    drop((log, store));
    std::fs::remove_dir_all(dir).unwrap();
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("{what:30} {:>9.1?} {:>9.1?} {:>9.1?}", at(0.5), at(0.99), at(1.0));
}

fn entry(index: u64) -> Entry {
    let proposal = Proposal {
        id: None,
        author: Author::Operator("bench".to_owned()),
        at: WallTime(index),
        lineage: None,
        read: Vec::new(),
        reason: None,
        command: Command::IssueToken {
            id: format!("t{index}"),
            digest: "d".repeat(64),
            server: None,
            expires: WallTime(index),
        },
    };
    Entry::new(LogId::new(1.into(), index), EntryPayload::Normal(proposal))
}
