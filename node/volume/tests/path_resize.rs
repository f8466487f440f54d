//! A volume that grows while it is used, and servers that are lost meanwhile.
#![allow(clippy::unwrap_used)]

mod path_common;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use path_common::{EXTENT, Pair, SIZE, block, flush, read, run, until, write};
use tasuki_core::mirror::geometry::Geometry;
use tasuki_storage::volume::{Area, memory::Operation};
use tasuki_volume::block::BlockError;

const LARGER: u64 = SIZE + (8 << 20);

/// The data area of a server is longer; what stands there is left from somebody else.
fn lengthen(pair: &Pair, number: usize, size: u64) {
    let area = &pair.hosts[number].data;
    area.resize(size);
    area.write_at(&[number as u8 + 7; 4096], size - 4096).unwrap();
    area.flush().unwrap();
}

fn size_of(pair: &Pair, number: usize) -> u64 {
    pair.up(number).volume.copy().geometry.size
}

#[test]
fn it_grows_on_both_when_both_have_room_and_what_is_new_is_zeroes() {
    run(async {
        let mut pair = Pair::new(None);
        let door = pair.promote(0).await;
        pair.both_good().await;
        write(&door, SIZE - EXTENT, block(3)).await.unwrap();
        lengthen(&pair, 0, LARGER);
        assert_eq!(pair.up(0).volume.resize().await, Ok(SIZE), "the other has no room");
        assert_eq!(write(&door, SIZE, block(1)).await, Err(BlockError::Invalid));
        lengthen(&pair, 1, LARGER + EXTENT);
        assert_eq!(pair.up(0).volume.resize().await, Ok(LARGER));
        assert_eq!((size_of(&pair, 0), size_of(&pair, 1)), (LARGER, LARGER));
        assert_eq!(read(&door, LARGER - EXTENT, 4096).await.unwrap()[..], [0; 4096]);
        write(&door, SIZE, block(1)).await.unwrap();
        flush(&door).await.unwrap();
        let mut far = vec![0; 4096];
        pair.hosts[1].data.read_at(&mut far, LARGER - EXTENT).unwrap();
        assert_eq!(far, [0; 4096]);
        pair.hosts[1].data.read_at(&mut far, SIZE).unwrap();
        assert_eq!(far, [1; 4096]);
        drop(door);
        pair.demote(0).await;
        let door = pair.promote(1).await;
        assert_eq!(door.size, LARGER);
        assert_eq!(read(&door, SIZE, 4096).await.unwrap()[..], [1; 4096]);
    });
}

#[test]
fn a_server_that_was_away_takes_over_the_size_and_what_was_written_there() {
    run(async {
        let mut pair = Pair::new(None);
        let door = pair.promote(0).await;
        pair.both_good().await;
        write(&door, 0, block(1)).await.unwrap();
        pair.kill(1).await;
        pair.facts_are(|facts| facts.good.len() == 1).await;
        // Nobody but the server itself is asked.
        until(|| pair.up(0).volume.view().peers[0].mode == tasuki_core::mirror::state::PeerMode::Absent)
            .await;
        lengthen(&pair, 0, LARGER);
        assert_eq!(pair.up(0).volume.resize().await, Ok(LARGER));
        write(&door, LARGER - EXTENT, block(2)).await.unwrap();
        lengthen(&pair, 1, LARGER);
        pair.boot(1);
        assert_eq!(size_of(&pair, 1), SIZE);
        pair.both_good().await;
        flush(&door).await.unwrap();
        assert_eq!(size_of(&pair, 1), LARGER);
        assert!(pair.equal());
    });
}

#[test]
fn power_that_is_lost_while_it_grows_leaves_both_with_one_size_again_and_all_that_was_flushed() {
    // After how many operations on the disks of the primary the cable holds what is sent and the power
    // goes; and how much of what was not flushed survives.
    for after in 0..12 {
        for survives in [false, true] {
            run(async {
                let mut pair = Pair::new(None);
                let door = pair.promote(0).await;
                pair.both_good().await;
                write(&door, SIZE - EXTENT, block(3)).await.unwrap();
                flush(&door).await.unwrap();
                lengthen(&pair, 0, LARGER);
                lengthen(&pair, 1, LARGER);
                let gone = Arc::new(AtomicBool::new(false));
                let count = Arc::new(std::sync::atomic::AtomicU64::new(0));
                let areas = [pair.hosts[0].data.clone(), pair.hosts[0].management.clone()];
                for area in &areas {
                    let (gone, count, cable) = (gone.clone(), count.clone(), pair.cable.clone());
                    area.watch(move |operation| {
                        if matches!(operation, Operation::Read(..)) {
                            return Ok(());
                        }
                        if count.fetch_add(1, Ordering::SeqCst) >= after {
                            gone.store(true, Ordering::SeqCst);
                            cable.hold(true);
                        }
                        Ok(())
                    });
                }
                let volume = pair.up(0).volume.clone();
                let growing = tokio::spawn(async move { volume.resize().await });
                until(|| gone.load(Ordering::SeqCst) || growing.is_finished()).await;
                areas.iter().for_each(|area| area.unwatch());
                pair.still(0).await;
                pair.cable.cut();
                growing.abort();
                let _it_was_given_up = growing.await;
                drop(door);
                pair.power(0, |_| survives).await;
                pair.cable.hold(false);
                pair.cable.mend();
                pair.boot(0);
                let door = pair.promote(1).await;
                pair.both_good().await;
                assert_eq!(size_of(&pair, 0), size_of(&pair, 1), "after {after}");
                assert_eq!(read(&door, SIZE - EXTENT, 4096).await.unwrap()[..], [3; 4096]);
                assert_eq!(pair.up(1).volume.resize().await, Ok(LARGER));
                write(&door, LARGER - 2 * EXTENT, block(4)).await.unwrap();
                flush(&door).await.unwrap();
                assert_eq!(read(&door, LARGER - EXTENT, 4096).await.unwrap()[..], [0; 4096]);
                assert!(pair.equal(), "after {after}");
            });
        }
    }
}

#[test]
fn a_volume_that_waits_for_its_peer_does_not_grow() {
    run(async {
        let mut pair = Pair::new(None);
        let _door = pair.promote(0).await;
        pair.both_good().await;
        pair.still(0).await;
        lengthen(&pair, 0, LARGER);
        pair.cable.cut();
        until(|| pair.up(0).volume.view().frozen).await;
        assert!(pair.up(0).volume.resize().await.is_err());
        assert_eq!(pair.up(0).volume.copy().geometry, Geometry::of(SIZE));
    });
}
