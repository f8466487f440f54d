//! A primary that stands down while a write waits for the activity log: the write is answered, with an
//! error, and reaches no disk any more.
#![allow(clippy::unwrap_used)]

mod path_common;

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use path_common::{EXTENT, Pair, begin_write, block, run, until, write};
use tasuki_storage::volume::{Area, memory::Operation};

/// The management area takes nothing until it is let go; whether somebody waits for that.
fn stuck(pair: &Pair) -> (Arc<(Mutex<bool>, Condvar)>, Arc<AtomicBool>) {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let waits = Arc::new(AtomicBool::new(false));
    let (wait, seen) = (gate.clone(), waits.clone());
    pair.hosts[0].management.watch(move |operation| {
        if matches!(operation, Operation::Write(..)) {
            seen.store(true, Ordering::SeqCst);
            let guard = wait.0.lock().unwrap();
            drop(wait.1.wait_while(guard, |open| !*open).unwrap());
        }
        Ok(())
    });
    (gate, waits)
}

fn let_go(gate: &(Mutex<bool>, Condvar)) {
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
}

#[test]
fn r34_a_write_that_waits_for_the_log_is_answered_when_the_io_fails_and_changes_nothing() {
    run(async {
        let mut pair = Pair::new(None);
        let door = pair.promote(0).await;
        write(&door, 0, block(1)).await.unwrap();
        let (gate, waits) = stuck(&pair);
        // In a region that the log does not name yet.
        let begun = begin_write(&door, 8 << 20, block(2)).await;
        until(|| waits.load(Ordering::SeqCst)).await;
        pair.up(0).volume.fail_io();
        pair.up(0).volume.answers().await.unwrap();
        let_go(&gate);
        let answer = tokio::time::timeout(Duration::from_secs(20), begun).await;
        assert!(answer.unwrap().unwrap().is_err(), "it stood down before the write had begun");
        let mut bytes = vec![0; EXTENT as usize];
        pair.hosts[0].data.read_at(&mut bytes, 8 << 20).unwrap();
        assert!(bytes == block(0), "a write reached the disk after the primary had stood down");
    });
}
