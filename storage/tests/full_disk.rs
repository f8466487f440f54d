//! A full disk: a clear error, nothing acknowledged is lost, and it goes on once there is space.
//! Going on means opening the store again: Raft is `Fatal` after its first storage error.
#![allow(clippy::unwrap_used)]

mod common;

use std::{fs, path::Path};

use common::{Acknowledged, Mount, append, expect_all_in};
use tasuki_storage::{OpenOptions, RegistryStore, StoreError, open};

fn small_disk() -> Option<Mount> {
    Mount::new(&["-t", "tmpfs", "-o", "size=12m", "tmpfs"])
        .inspect_err(|why| println!("skipped, because no small file system can be mounted: {why}"))
        .ok()
}

/// Appends until it is refused; what was acknowledged, and the refusal.
async fn fill(store: &RegistryStore, mut next: u64) -> (Acknowledged, String) {
    let mut log = store.log.clone();
    loop {
        match append(&mut log, next..next + 8).await {
            Ok(()) => next += 8,
            Err(why) => return (Acknowledged { index: next.checked_sub(1), term: 0 }, why),
        }
    }
}

/// Fills what is left to the last byte.
fn fill_up(file: &Path) {
    let mut filler = fs::File::create(file).unwrap();
    while std::io::Write::write_all(&mut filler, &[0; 4096]).is_ok() {}
}

async fn goes_on(reserve: u64) {
    let Some(disk) = small_disk() else { return };
    let (dir, filler) = (disk.path().join("store"), disk.path().join("filler"));
    let options = OpenOptions { reserve, ..Default::default() };

    // The disk fills up by something else while we write.
    let store = open(&dir, &options).unwrap();
    append(&mut store.log.clone(), 0..8).await.unwrap();
    fs::write(&filler, vec![0; 2 << 20]).unwrap();
    let (acknowledged, why) = fill(&store, 8).await;
    println!("reserve {reserve}: {acknowledged:?}, then: {why}");
    assert!(why.contains("TSK-1206"), "{why}");
    assert!(append(&mut store.log.clone(), 9000..9001).await.is_err(), "refuses as long as it is full");
    let closing = store.closing();
    drop(store);
    closing.await;

    // As long as there is no space it may open or not, but it says why not and harms nothing.
    fill_up(&filler);
    for _ in 0..3 {
        match open(&dir, &options) {
            Ok(store) => {
                expect_all_in(&store, acknowledged).await;
                let closing = store.closing();
                drop(store);
                closing.await;
            }
            Err(why) => assert!(matches!(why, StoreError::DiskFull { .. }), "{why}"),
        }
    }

    fs::remove_file(&filler).unwrap();
    let store = open(&dir, &options).unwrap();
    expect_all_in(&store, acknowledged).await;
    let state = openraft::storage::RaftLogStorage::get_log_state(&mut store.log.clone()).await.unwrap();
    let next = state.last_log_id.unwrap().index + 1;
    append(&mut store.log.clone(), next..next + 8).await.unwrap();
    expect_all_in(&store, Acknowledged { index: Some(next + 7), term: 0 }).await;
}

#[tokio::test]
async fn a_full_disk_is_refused_before_anything_is_written() {
    goes_on(OpenOptions::default().reserve).await;
}

#[tokio::test]
async fn a_disk_that_is_full_to_the_last_byte_loses_nothing_acknowledged() {
    goes_on(0).await;
}
