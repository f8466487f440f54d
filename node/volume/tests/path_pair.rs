//! Two servers over the real data path: writing, losing each other, coming back, moving.
#![allow(clippy::unwrap_used)]

mod path_common;

use path_common::{EXTENT, Pair, SIZE, begin_durable, block, flush, read, run, until, write};
use tasuki_core::mirror::{DiskState, LinkState, Role};
use tasuki_storage::volume::Area;
use tasuki_volume::{
    block::{BlockError, Request},
    path::{PathError, VolumeEvent},
};
use tokio::sync::oneshot;

#[test]
fn what_is_written_is_on_both_and_moves_with_the_role() {
    run(async {
        let mut pair = Pair::new(None);
        let door = pair.promote(0).await;
        pair.both_good().await;
        for at in 0..50 {
            write(&door, at * 7 * EXTENT, block(at as u8 + 1)).await.unwrap();
        }
        write(&door, 1000, vec![9; 3]).await.unwrap();
        write(&door, SIZE - 3 * (1 << 20), vec![5; 3 << 20]).await.unwrap();
        flush(&door).await.unwrap();
        assert!(pair.equal());
        assert_eq!(pair.hosts[0].data.unsynced() + pair.hosts[1].data.unsynced(), 0, "R32: both are durable");
        drop(door);
        let view = pair.up(0).volume.view();
        assert_eq!(
            (view.role, view.peers[0].link, view.frozen),
            (Role::Primary, LinkState::Connected, false)
        );
        assert!(view.counters.writes >= 52);
        pair.demote(0).await;
        assert!(!pair.up(0).volume.copy().crashed && !pair.up(1).volume.copy().crashed);
        let door = pair.promote(1).await;
        assert_eq!(pair.facts.lock().unwrap().good.len(), 2, "nothing differs, nobody is put out");
        assert!(read(&door, 7 * EXTENT, 4096).await.unwrap() == block(2));
        assert_eq!(read(&door, 999, 5).await.unwrap()[..], [1, 9, 9, 9, 1]);
        assert_eq!(read(&door, SIZE, 1).await, Err(BlockError::Invalid));
        assert_eq!(write(&door, SIZE - 1, vec![0; 2]).await, Err(BlockError::Invalid));
    });
}

/// Its flush does not wait for the peer to have it: both are under way at once.
#[test]
fn a_durable_write_is_flushed_while_the_peer_still_writes() {
    run(async {
        let mut pair = Pair::new(None);
        let door = pair.promote(0).await;
        pair.both_good().await;
        pair.cable.hold(true);
        let mut written = begin_durable(&door, 0, block(1)).await;
        let own = pair.hosts[0].data.clone();
        let holds = || {
            let mut bytes = block(0);
            own.read_at(&mut bytes, 0).unwrap();
            bytes == block(1)
        };
        until(|| holds() && own.unsynced() == 0).await;
        assert!(written.try_recv().is_err(), "the peer has nothing of it");
        pair.cable.hold(false);
        written.await.unwrap().unwrap();
        assert!(pair.hosts[1].data.unsynced() == 0 && pair.equal());
    });
}

#[test]
fn where_a_flush_has_always_followed_it_begins_with_the_write() {
    run(async {
        let mut pair = Pair::new(None);
        let door = pair.promote(0).await;
        pair.both_good().await;
        for at in 0..8 {
            write(&door, at * EXTENT, block(1)).await.unwrap();
            flush(&door).await.unwrap();
        }
        let unsynced = |pair: &Pair| pair.hosts[0].data.unsynced() + pair.hosts[1].data.unsynced();
        write(&door, 0, block(2)).await.unwrap();
        until(|| unsynced(&pair) == 0).await;
        // It was for nothing: nobody flushes, so the next ones are not flushed unasked.
        for at in 0..20 {
            write(&door, at * EXTENT, block(3)).await.unwrap();
        }
        read(&door, 0, 1).await.unwrap();
        assert!(unsynced(&pair) > 0);
        flush(&door).await.unwrap();
        assert!(unsynced(&pair) == 0 && pair.equal());
    });
}

#[test]
fn a_lost_peer_is_put_out_and_only_what_it_missed_is_copied_when_it_returns() {
    run(async {
        let mut pair = Pair::new(None);
        let door = pair.promote(0).await;
        for at in 0..20 {
            write(&door, at * EXTENT, block(1)).await.unwrap();
        }
        flush(&door).await.unwrap();
        pair.cable.cut();
        for at in 100..110 {
            write(&door, at * EXTENT, block(2)).await.unwrap();
        }
        assert_eq!(pair.facts.lock().unwrap().good.len(), 1, "answered only after it was put out");
        assert!(!pair.equal());
        assert_eq!(pair.up(0).volume.view().peers[0].dirty, 10 * EXTENT);
        pair.cable.mend();
        pair.both_good().await;
        flush(&door).await.unwrap();
        assert!(pair.equal());
        assert_eq!(pair.up(0).volume.view().peers[0].dirty, 0);
        assert_eq!(pair.up(1).volume.copy().disk, DiskState::Consistent);
        assert_eq!(pair.up(1).volume.copy().history, pair.up(0).volume.copy().history);
    });
}

#[test]
fn trims_and_zeroes_are_on_both_and_so_is_a_resync_beside_running_writes() {
    run(async {
        let mut pair = Pair::new(None);
        let door = pair.promote(0).await;
        write(&door, 0, vec![7; 8 << 20]).await.unwrap();
        pair.cable.cut();
        for (offset, length, may_trim) in [(4096, 8192, true), (1 << 20, 1 << 20, false), (5000, 100, false)]
        {
            let (answer, answered) = oneshot::channel();
            let zero = Request::Zero { offset, length, may_trim, durable: true, answer };
            door.requests.send(zero).await.unwrap();
            answered.await.unwrap().unwrap();
        }
        pair.cable.mend();
        let mut count = 0u8;
        let mut said = pair.up(0).said.subscribe();
        while !said.borrow_and_update().iter().any(|event| matches!(event, VolumeEvent::Synced { .. })) {
            count = count.wrapping_add(1);
            write(&door, u64::from(count) * 64 * 1024, block(count)).await.unwrap();
        }
        pair.both_good().await;
        let (answer, answered) = oneshot::channel();
        let trim = Request::Trim { offset: 3 << 20, length: 1 << 20, durable: true, answer };
        door.requests.send(trim).await.unwrap();
        answered.await.unwrap().unwrap();
        flush(&door).await.unwrap();
        assert!(pair.equal());
        assert!(read(&door, 4096, 8192).await.unwrap() == vec![0; 8192]);
    });
}

#[test]
fn a_check_finds_what_differs_and_the_next_resync_mends_it() {
    run(async {
        let mut pair = Pair::new(None);
        let door = pair.promote(0).await;
        write(&door, 0, vec![3; 1 << 20]).await.unwrap();
        flush(&door).await.unwrap();
        use tasuki_storage::volume::Area;
        pair.hosts[1].data.write_at(&[1], 5 * EXTENT + 7).unwrap();
        let lala = path_common::name(1);
        let mut said = pair.up(0).said.subscribe();
        pair.up(0).volume.verify(&lala, true);
        let report = said
            .wait_for(|said| said.iter().any(|event| matches!(event, VolumeEvent::Verified(_))))
            .await
            .unwrap()
            .iter()
            .find_map(|event| match event {
                VolumeEvent::Verified(report) => Some(report.clone()),
                _ => None,
            })
            .unwrap();
        assert_eq!(report.different, [(5 * EXTENT, EXTENT)]);
        assert_eq!((report.compared, report.repaired, report.problem), (SIZE, true, None));
        pair.up(0).volume.start_resync(&lala, false, false);
        until(|| said.borrow().iter().any(|event| matches!(event, VolumeEvent::Synced { .. }))).await;
        assert!(pair.equal());
    });
}

#[test]
fn a_loser_saves_what_only_it_has_before_it_is_overwritten() {
    run(async {
        let mut pair = Pair::new(None);
        let door = pair.promote(0).await;
        pair.cable.cut();
        write(&door, 3 * EXTENT, block(0x77)).await.unwrap();
        drop(door);
        pair.kill(0).await;
        // An operator forces the other side, which lacks that write.
        pair.facts.lock().unwrap().good.insert(1);
        let door = pair.promote(1).await;
        write(&door, 3 * EXTENT, block(0x11)).await.unwrap();
        pair.still(1).await;
        let mut said = pair.up(1).said.subscribe();
        pair.boot(0);
        pair.cable.mend();
        let met =
            |said: &Vec<VolumeEvent>| said.iter().any(|event| matches!(event, VolumeEvent::PeerMet { .. }));
        said.wait_for(met).await.unwrap();
        let kiki = path_common::name(0);
        let volume = &pair.up(1).volume;
        volume.set_peer(&kiki, tasuki_core::mirror::state::PeerMode::Syncing).await;
        volume.start_resync(&kiki, false, true);
        said.wait_for(|said| said.iter().any(|event| matches!(event, VolumeEvent::Synced { .. })))
            .await
            .unwrap();
        assert!(pair.equal());
        let names = std::fs::read_dir(pair.saved()).unwrap().map(|entry| entry.unwrap().path());
        let (images, pages): (Vec<_>, Vec<_>) = names.partition(|path| path.extension().unwrap() == "img");
        let image = std::fs::read(&images[0]).unwrap();
        let at = usize::try_from(3 * EXTENT).unwrap();
        assert_eq!(image[at..at + 4096], block(0x77), "it is in the image, in its place");
        let page = std::fs::read_to_string(&pages[0]).unwrap();
        assert!(page.contains("\"overwritten_from\": \"lala\""), "{page}");
        assert_eq!((images.len(), pages.len()), (1, 1), "nothing half done is left");
    });
}

#[test]
fn reads_and_writes_of_a_volume_that_is_closed_for_good_fail_and_do_not_hang() {
    run(async {
        let mut pair = Pair::new(None);
        let door = pair.promote(0).await;
        pair.cable.hold(true);
        let waiting = path_common::begin_write(&door, 0, block(1)).await;
        pair.up(0).volume.fail_io();
        assert_eq!(waiting.await.unwrap(), Err(BlockError::Io), "R34");
        assert_eq!(read(&door, 0, 1).await, Err(BlockError::Io));
        assert_eq!(flush(&door).await, Err(BlockError::Io));
    });
}

#[test]
fn a_panic_on_the_volumes_thread_ends_the_data_path_as_the_end_of_its_process_would() {
    run(async {
        let mut pair = Pair::new(None);
        let door = pair.promote(0).await;
        pair.both_good().await;
        for at in 0..20 {
            write(&door, at * EXTENT, block(at as u8 + 1)).await.unwrap();
        }
        flush(&door).await.unwrap();
        let volume = pair.up(0).volume.clone();
        volume.answers().await.unwrap();
        volume.spawn(|| Box::pin(async { panic!("planted") }));
        let mut said = pair.up(0).said.subscribe();
        let ended = |event: &VolumeEvent| matches!(event, VolumeEvent::Ended { why } if why == "planted");
        said.wait_for(|said| said.iter().any(ended)).await.unwrap();
        assert_eq!(volume.answers().await, Err(PathError::Ended));
        until(|| door.requests.is_closed()).await; // what waits for an answer gets an error
        drop((door, volume, said));
        pair.kill(0).await;
        pair.boot(0);
        assert!(pair.up(0).volume.copy().crashed);
        let door = pair.promote(0).await;
        pair.both_good().await;
        for at in 0..20 {
            assert!(read(&door, at * EXTENT, 4096).await.unwrap() == block(at as u8 + 1));
        }
        assert!(pair.equal());
    });
}
