//! A resync has a stream beside the one of the writes.
#![allow(clippy::unwrap_used)]

mod path_common;

use std::sync::{Arc, Condvar, Mutex, atomic::Ordering};

use path_common::{EXTENT, Pair, begin_write, block, flush, name, run, until, write};
use tasuki_storage::volume::memory::Operation;
use tasuki_volume::path::VolumeEvent;

/// The peer misses a write, and is back.
async fn misses_one(pair: &Pair, door: &tasuki_volume::block::Door, at: u64, value: u8) {
    pair.cable.cut();
    write(door, at * EXTENT, block(value)).await.unwrap();
    pair.facts_are(|facts| facts.good.len() == 1).await;
    pair.cable.mend();
    pair.both_good().await;
    flush(door).await.unwrap();
}

#[test]
fn a_resync_is_beside_the_writes_and_the_end_of_its_stream_ends_the_session() {
    run(async {
        let mut pair = Pair::new(None);
        let door = pair.promote(0).await;
        pair.both_good().await;
        assert_eq!(pair.cable.besides.load(Ordering::SeqCst), 0, "nothing has to be copied");
        misses_one(&pair, &door, 3, 1).await;
        assert_eq!(pair.cable.besides.load(Ordering::SeqCst), 1);
        // A check has its questions, and the next resync its blocks, on the streams that stand.
        let (volume, mut said) = (pair.up(0).volume.clone(), pair.up(0).said.subscribe());
        let synced = |said: &Vec<VolumeEvent>| {
            said.iter().filter(|event| matches!(event, VolumeEvent::Synced { .. })).count()
        };
        let before = synced(&said.borrow());
        volume.start_resync(&name(1), true, false);
        said.wait_for(|said| synced(said) > before).await.unwrap();
        assert_eq!(pair.cable.besides.load(Ordering::SeqCst), 1);
        // The stream beside fails when it is used again; the session with it, and a new one follows.
        let lost = |said: &Vec<VolumeEvent>| {
            said.iter().filter(|it| matches!(it, VolumeEvent::PeerLost { .. })).count()
        };
        let (before, met) = (lost(&said.borrow()), synced(&said.borrow()));
        pair.cable.cut_beside.send_modify(|count| *count += 1);
        volume.start_resync(&name(1), true, false);
        said.wait_for(|said| lost(said) > before).await.unwrap();
        said.wait_for(|said| synced(said) > met).await.unwrap();
        assert!(pair.cable.besides.load(Ordering::SeqCst) > 1);
        pair.both_good().await;
        write(&door, 9 * EXTENT, block(4)).await.unwrap();
        flush(&door).await.unwrap();
        assert!(pair.equal());
    });
}

#[test]
fn a_peer_that_cannot_be_called_twice_gets_the_blocks_behind_the_writes() {
    run(async {
        let mut pair = Pair::new(None);
        pair.cable.single.store(true, Ordering::SeqCst);
        let door = pair.promote(0).await;
        misses_one(&pair, &door, 3, 1).await;
        assert_eq!(pair.cable.besides.load(Ordering::SeqCst), 0);
        assert!(pair.equal());
    });
}

/// The target's disk is slow at a block of the resync: a write elsewhere is answered meanwhile.
#[test]
fn a_block_that_takes_long_does_not_delay_a_write() {
    run(async {
        let mut pair = Pair::new(None);
        let door = pair.promote(0).await;
        pair.cable.cut();
        // Long enough not to be written by the thread that reads frames.
        write(&door, 0, vec![1; 512 * 1024]).await.unwrap();
        pair.facts_are(|facts| facts.good.len() == 1).await;
        let gate = Arc::new((Mutex::new((false, false)), Condvar::new()));
        let (wait, far) = (gate.clone(), pair.hosts[1].data.clone());
        far.watch(move |operation| {
            if matches!(operation, Operation::Write(0, length) if length > 4 * EXTENT) {
                let mut guard = wait.0.lock().unwrap();
                guard.0 = true;
                drop(wait.1.wait_while(guard, |(_, open)| !*open).unwrap());
            }
            Ok(())
        });
        pair.cable.mend();
        until(|| gate.0.lock().unwrap().0).await;
        write(&door, 8 << 20, block(7)).await.unwrap();
        // One to the same place waits for the block (R30).
        let mut same = begin_write(&door, 0, block(8)).await;
        write(&door, 9 << 20, block(7)).await.unwrap();
        assert!(same.try_recv().is_err());
        gate.0.lock().unwrap().1 = true;
        gate.1.notify_all();
        same.await.unwrap().unwrap();
        pair.both_good().await;
        flush(&door).await.unwrap();
        assert!(pair.equal());
    });
}
