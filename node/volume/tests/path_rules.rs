//! One story for each of the mirror's rules that the data path keeps. Each is told twice: with the
//! rule, when nothing is lost; and without it, when something is. A story in which nothing is lost
//! without the rule proves nothing.
#![allow(clippy::unwrap_used)]

mod path_common;

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use path_common::{
    EXTENT, Pair, begin_durable, begin_flush, begin_write, block, flush, name, read, run, until, write,
};
use tasuki_core::{ids::Epoch, mirror::state::PeerMode};
use tasuki_storage::volume::{Area, memory::Operation};
use tasuki_volume::{
    block::BlockError,
    path::{Planted, VolumeEvent},
};

/// Tells a story with its rule and without it.
fn told<F: Future<Output = bool>>(rule: Planted, story: impl Fn(Pair) -> F) {
    assert!(run(story(Pair::new(None))), "with the rule nothing may be lost");
    assert!(!run(story(Pair::new(Some(rule)))), "without {rule:?} something has to be lost");
}

/// The primary's disk gets a write that the peer does not; the primary is killed; the peer goes on, and
/// the old primary comes back. Then both have to be equal.
async fn half_a_write(mut pair: Pair) -> bool {
    let door = pair.promote(0).await;
    write(&door, 0, block(1)).await.unwrap();
    flush(&door).await.unwrap();
    pair.cable.hold(true);
    let unanswered = begin_write(&door, 5 * EXTENT, block(2)).await;
    let own = pair.hosts[0].data.clone();
    until(|| holds(&own, 5 * EXTENT, 2)).await;
    drop(door);
    pair.still(0).await;
    pair.cable.cut();
    pair.kill(0).await;
    drop(unanswered);
    pair.cable.hold(false);
    pair.facts.lock().unwrap().good.insert(1);
    let door = pair.promote(1).await;
    assert!(read(&door, 5 * EXTENT, 4096).await.unwrap() == block(0));
    pair.boot(0);
    pair.cable.mend();
    pair.both_good().await;
    flush(&door).await.unwrap();
    pair.equal()
}

fn holds(area: &impl Area, offset: u64, value: u8) -> bool {
    let mut bytes = vec![0; EXTENT as usize];
    area.read_at(&mut bytes, offset).unwrap();
    bytes == block(value)
}

#[test]
fn r29_the_log_names_a_region_before_either_leg_is_sent() {
    told(Planted::R29NoLog, half_a_write);
}

#[test]
fn r30_a_resync_copies_what_either_sides_maps_and_logs_name() {
    told(Planted::R30NoUnion, half_a_write);
}

#[test]
fn r29_what_a_lost_peer_had_not_flushed_joins_its_dirty_map() {
    told(Planted::R29ForgetUnflushed, |mut pair| async move {
        let door = pair.promote(0).await;
        write(&door, 0, block(1)).await.unwrap();
        flush(&door).await.unwrap();
        write(&door, 3 * EXTENT, block(2)).await.unwrap();
        pair.cable.cut();
        pair.power(1, |_| false).await;
        assert!(!holds(&pair.hosts[1].data, 3 * EXTENT, 2));
        pair.boot(1);
        pair.cable.mend();
        pair.facts_are(|facts| facts.good.len() == 1).await;
        pair.both_good().await;
        flush(&door).await.unwrap();
        pair.equal()
    });
}

#[test]
fn r30_a_resync_block_and_a_write_to_the_same_place_exclude_each_other() {
    told(Planted::R30NoExclusion, |mut pair| async move {
        let door = pair.promote(0).await;
        pair.cable.cut();
        write(&door, 0, vec![1; 64 * 1024]).await.unwrap();
        // Between the resync's read and its block, a client writes to the same place, if it can.
        let passed = Arc::new((Mutex::new(false), Condvar::new()));
        let seen = passed.clone();
        let own = pair.hosts[0].data.clone();
        own.watch(move |operation| {
            if operation == Operation::Write(0, EXTENT) {
                *seen.0.lock().unwrap() = true;
                seen.1.notify_all();
            }
            Ok(())
        });
        // Sums are asked of the target after the read: there the resync waits for the write.
        let (met, far) = (passed.clone(), pair.hosts[1].data.clone());
        let once = AtomicBool::new(true);
        let asked = Arc::new(AtomicBool::new(false));
        let asking = asked.clone();
        far.watch(move |operation| {
            if matches!(operation, Operation::Read(0, length) if length > EXTENT)
                && once.swap(false, Ordering::SeqCst)
            {
                asking.store(true, Ordering::SeqCst);
                let guard = met.0.lock().unwrap();
                // With the rule the write waits for this block, and this wait ends by itself.
                let _either =
                    met.1.wait_timeout_while(guard, Duration::from_millis(500), |written| !*written);
            }
            Ok(())
        });
        pair.cable.mend();
        until(|| asked.load(Ordering::SeqCst)).await;
        write(&door, 0, block(9)).await.unwrap();
        pair.both_good().await;
        flush(&door).await.unwrap();
        pair.equal()
    });
}

#[test]
fn r31_a_frame_of_an_older_primary_changes_nothing() {
    told(Planted::R31OlderFrames, |mut pair| async move {
        let door = pair.promote(0).await;
        write(&door, 0, block(1)).await.unwrap();
        pair.cable.hold(true);
        let unanswered = begin_write(&door, EXTENT, block(2)).await;
        let own = pair.hosts[0].data.clone();
        until(|| holds(&own, EXTENT, 2)).await;
        // The old primary stands still; the other one is to be promoted.
        pair.up(1).volume.store_epoch(Epoch(7)).await.unwrap();
        let delivered = pair.cable.delivered.load(Ordering::SeqCst);
        pair.cable.hold(false);
        // Its frame arrives, or its stream has ended.
        let lost =
            |said: &Vec<VolumeEvent>| said.iter().any(|event| matches!(event, VolumeEvent::PeerLost { .. }));
        let said = pair.up(0).said.subscribe();
        let far = pair.hosts[1].data.clone();
        until(|| {
            lost(&said.borrow())
                || (holds(&far, EXTENT, 2) && pair.cable.delivered.load(Ordering::SeqCst) > delivered)
        })
        .await;
        drop(unanswered);
        !holds(&pair.hosts[1].data, EXTENT, 2)
    });
}

/// A barrier is begun while the far disk cannot flush; whether it is answered only after that.
async fn waits_for_the_far_disk(mut pair: Pair, durable: bool) -> bool {
    let door = pair.promote(0).await;
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let (wait, far) = (gate.clone(), pair.hosts[1].data.clone());
    far.watch(move |operation| {
        if operation == Operation::Flush {
            let guard = wait.0.lock().unwrap();
            drop(wait.1.wait_while(guard, |open| !*open).unwrap());
        }
        Ok(())
    });
    let mut barrier = if durable {
        begin_durable(&door, 0, block(1)).await
    } else {
        write(&door, 0, block(1)).await.unwrap();
        begin_flush(&door).await
    };
    let own = pair.hosts[0].data.clone();
    until(|| own.unsynced() == 0 && holds(&own, 0, 1)).await;
    // The primary has had every opportunity to answer.
    for _ in 0..50 {
        read(&door, 0, 1).await.unwrap();
    }
    let early = barrier.try_recv().is_ok();
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    if !early {
        barrier.await.unwrap().unwrap();
        assert_eq!(far.unsynced(), 0);
    }
    !early
}

#[test]
fn r32_a_flush_is_answered_when_both_have_flushed() {
    told(Planted::R32OwnOnly, |pair| waits_for_the_far_disk(pair, false));
}

#[test]
fn r32_a_durable_write_is_answered_when_both_have_flushed() {
    told(Planted::R32OwnOnly, |pair| waits_for_the_far_disk(pair, true));
}

/// There is one level of acknowledgement: a write that was only sent to the peer is not answered. Were it, it
/// would be missing after the next failover.
#[test]
fn r33_a_write_is_answered_when_both_copies_have_it() {
    told(Planted::R33Early, |mut pair| async move {
        let door = pair.promote(0).await;
        pair.both_good().await;
        pair.cable.hold(true);
        let mut written = begin_write(&door, 0, block(2)).await;
        let own = pair.hosts[0].data.clone();
        until(|| holds(&own, 0, 2)).await;
        // The primary has had every opportunity to answer.
        for _ in 0..50 {
            read(&door, EXTENT, 1).await.unwrap();
        }
        let answered = written.try_recv() == Ok(Ok(()));
        drop(door);
        pair.still(0).await;
        pair.cable.cut();
        pair.kill(0).await;
        pair.cable.hold(false);
        let door = pair.promote(1).await;
        !answered || read(&door, 0, 4096).await.unwrap() == block(2)
    });
}

/// A write waits for a peer that does not answer; the primary stands down. Whoever waits is told, or he would
/// wait for ever.
#[test]
fn r34_what_waits_for_a_peer_fails_when_the_volume_stands_down() {
    told(Planted::R34Waits, |mut pair| async move {
        let door = pair.promote(0).await;
        pair.cable.hold(true);
        let mut waiting = begin_write(&door, 0, block(1)).await;
        let own = pair.hosts[0].data.clone();
        until(|| holds(&own, 0, 1)).await;
        let volume = pair.up(0).volume.clone();
        volume.fail_io();
        volume.answers().await.unwrap();
        let answer = waiting.try_recv();
        pair.cable.hold(false);
        answer == Ok(Err(BlockError::Io))
    });
}

#[test]
fn r27_the_side_that_has_the_data_records_what_a_primary_without_a_disk_lacks() {
    told(Planted::R27NoRecord, |mut pair| async move {
        let door = pair.promote(0).await;
        write(&door, 0, block(1)).await.unwrap();
        flush(&door).await.unwrap();
        let own = pair.hosts[0].data.clone();
        own.watch(|_| Err(io::Error::other("the disk is broken")));
        write(&door, 2 * EXTENT, block(2)).await.unwrap();
        assert_eq!(pair.facts.lock().unwrap().good, BTreeSet::from([1]), "committed before the answer");
        // In another region than the primary's own log names.
        write(&door, 8 << 20, block(3)).await.unwrap();
        assert!(read(&door, 2 * EXTENT, 4096).await.unwrap() == block(2));
        flush(&door).await.unwrap();
        drop(door);
        pair.kill(0).await;
        own.unwatch();
        let door = pair.promote(1).await;
        assert!(read(&door, 8 << 20, 4096).await.unwrap() == block(3));
        pair.boot(0);
        pair.both_good().await;
        flush(&door).await.unwrap();
        pair.equal()
    });
}

#[test]
fn r26_a_peer_whose_stream_ended_after_the_resync_is_not_taken_for_good() {
    told(Planted::R26Blind, |mut pair| async move {
        let door = pair.promote(0).await;
        pair.cable.cut();
        write(&door, 0, block(1)).await.unwrap();
        pair.still(0).await;
        let mut said = pair.up(0).said.subscribe();
        let before = said.borrow().len();
        pair.cable.mend();
        let met = |said: &Vec<VolumeEvent>| {
            said[before..].iter().any(|event| matches!(event, VolumeEvent::PeerMet { .. }))
        };
        said.wait_for(met).await.unwrap();
        let volume = pair.up(0).volume.clone();
        volume.set_peer(&name(1), PeerMode::Syncing).await;
        volume.start_resync(&name(1), false, false);
        said.wait_for(|said| said.iter().any(|event| matches!(event, VolumeEvent::Synced { .. })))
            .await
            .unwrap();
        // Between the end of the resync and the order to count on the peer, it is lost, and a write is
        // answered without it.
        pair.cable.cut();
        write(&door, EXTENT, block(2)).await.unwrap();
        let in_step = volume.set_peer(&name(1), PeerMode::Required).await;
        !in_step || pair.equal()
    });
}
