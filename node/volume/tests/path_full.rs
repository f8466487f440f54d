//! No space under a data area: nothing hangs, nothing that was acknowledged is lost, and who asked is
//! told where nobody has it.
#![allow(clippy::unwrap_used)]

mod path_common;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    sync::Arc,
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use path_common::{EXTENT, Pair, SIZE, block, flush, read, run, write};
use tasuki_core::{
    ids::{Epoch, Generation, Lineage, ServerName, VolumeName},
    mirror::{DiskState, geometry::Geometry},
};
use tasuki_storage::volume::{FileArea, Management, MemoryArea, Owner, memory::Operation};
use tasuki_volume::{
    block::BlockError,
    path::{Options, Volume, stream::TcpDialer},
};

/// Every write beyond the first megabyte finds no space.
fn full(area: &MemoryArea) {
    area.watch(|operation| match operation {
        Operation::Write(offset, _) if offset >= 1 << 20 => Err(io::ErrorKind::StorageFull.into()),
        _ => Ok(()),
    });
}

#[test]
fn a_server_without_its_peer_tells_who_asked_and_goes_on() {
    run(async {
        let mut pair = Pair::new(None);
        let door = pair.promote(0).await;
        pair.both_good().await;
        pair.cable.cut();
        write(&door, 0, block(1)).await.unwrap();
        full(&pair.hosts[0].data);
        assert_eq!(write(&door, 2 << 20, block(2)).await, Err(BlockError::NoSpace));
        assert_eq!(write(&door, 3 << 20, vec![2; 2 << 20]).await, Err(BlockError::NoSpace));
        write(&door, EXTENT, block(3)).await.unwrap();
        flush(&door).await.unwrap();
        assert_eq!(read(&door, 0, 4096).await.unwrap()[..], [1; 4096]);
        assert_eq!(pair.up(0).volume.copy().disk, DiskState::Consistent);
        pair.hosts[0].data.unwatch();
        write(&door, 2 << 20, block(4)).await.unwrap();
        pair.cable.mend();
        pair.both_good().await;
        flush(&door).await.unwrap();
        assert!(pair.equal(), "what failed is of one content on both");
    });
}

#[test]
fn r27_with_a_peer_the_service_goes_on_there_and_the_copy_has_failed() {
    run(async {
        let mut pair = Pair::new(None);
        let door = pair.promote(0).await;
        pair.both_good().await;
        full(&pair.hosts[0].data);
        for at in 0..64 {
            write(&door, (2 << 20) + at * EXTENT, block(at as u8 + 1)).await.unwrap();
        }
        flush(&door).await.unwrap();
        assert_eq!(pair.up(0).volume.copy().disk, DiskState::Failed);
        assert_eq!(pair.facts.lock().unwrap().good, BTreeSet::from([1]));
        for at in 0..64 {
            let found = read(&door, (2 << 20) + at * EXTENT, 4096).await.unwrap();
            assert_eq!(found[..], block(at as u8 + 1));
        }
        assert_eq!(pair.hosts[1].data.unsynced(), 0, "R32");
    });
}

#[test]
fn a_peer_without_space_is_put_out_and_writes_go_on() {
    run(async {
        let mut pair = Pair::new(None);
        let door = pair.promote(0).await;
        pair.both_good().await;
        full(&pair.hosts[1].data);
        write(&door, 2 << 20, block(1)).await.unwrap();
        flush(&door).await.unwrap();
        assert_eq!(pair.facts.lock().unwrap().good, BTreeSet::from([0]));
        assert_eq!(read(&door, 2 << 20, 4096).await.unwrap()[..], [1; 4096]);
    });
}

/// A primary whose own disk fails under load: whatever was answered is read from the peer.
#[test]
fn r27_reads_stay_right_when_the_own_disk_fails_under_load() {
    run(async {
        let mut pair = Pair::new(None);
        let door = pair.promote(0).await;
        pair.both_good().await;
        let own = pair.hosts[0].data.clone();
        let writers = (0..8_u64).map(|who| {
            let (door, own) = (door.clone(), own.clone());
            async move {
                for turn in 0..40_u64 {
                    let at = (who * 64 + turn) * EXTENT;
                    let value = (who * 40 + turn) as u8;
                    write(&door, at, block(value)).await.unwrap();
                    if who == 3 && turn == 20 {
                        own.watch(|_| Err(io::Error::other("the disk is broken")));
                    }
                    assert_eq!(read(&door, at, 4096).await.unwrap()[..], block(value));
                    if turn % 7 == 0 {
                        flush(&door).await.unwrap();
                    }
                }
            }
        });
        futures::future::join_all(writers).await;
        for who in 0..8_u64 {
            for turn in 0..40_u64 {
                let found = read(&door, (who * 64 + turn) * EXTENT, 4096).await.unwrap();
                assert_eq!(found[..], block((who * 40 + turn) as u8));
            }
        }
        assert_eq!(pair.up(0).volume.copy().disk, DiskState::Failed);
    });
}

/// A server that was overthrown has acknowledged nothing that the new primary does not have.
#[test]
fn r31_a_primary_that_was_overthrown_acknowledges_nothing() {
    run(async {
        let mut pair = Pair::new(None);
        let old = pair.promote(0).await;
        pair.both_good().await;
        write(&old, 0, block(1)).await.unwrap();
        pair.still(0).await;
        pair.cable.hold(true);
        let waiting = path_common::begin_write(&old, 0, block(2)).await;
        let barrier = path_common::begin_flush(&old).await;
        pair.cable.cut();
        pair.cable.hold(false);
        pair.cable.mend();
        let new = pair.promote(1).await;
        assert_eq!(waiting.await.unwrap_or(Err(BlockError::Closing)), Err(BlockError::Io));
        assert_eq!(barrier.await.unwrap_or(Err(BlockError::Closing)), Err(BlockError::Io));
        assert!(write(&old, EXTENT, block(3)).await.is_err());
        assert!(flush(&old).await.is_err());
        pair.both_good().await;
        assert_eq!(read(&new, 0, 4096).await.unwrap()[..], [1; 4096]);
        assert_eq!(read(&new, EXTENT, 4096).await.unwrap()[..], [0; 4096]);
        flush(&new).await.unwrap();
        assert!(pair.equal());
    });
}

/// A mount that is taken away at the end.
struct Mounted(tempfile::TempDir);

impl Drop for Mounted {
    fn drop(&mut self) {
        umount2(self.0.path(), MntFlags::MNT_DETACH).unwrap();
    }
}

#[test]
fn a_sparse_file_on_a_full_file_system_is_such_an_area() {
    let folder = tempfile::tempdir().unwrap();
    let small = Some("size=16m");
    if let Err(why) = mount(Some("none"), folder.path(), Some("tmpfs"), MsFlags::empty(), small) {
        println!("skipped, because a small file system cannot be mounted: {why}");
        return;
    }
    let mounted = Mounted(folder);
    let path = mounted.0.path().join("data");
    File::create(&path).unwrap().set_len(SIZE).unwrap();
    let data = FileArea::data(&path, None).unwrap();
    let me = ServerName::from("kiki");
    let owner =
        Owner { lineage: Lineage::from("line"), volume: VolumeName::from("data"), server: me.clone() };
    let management = Arc::new(MemoryArea::new(10 << 20));
    let management = Management::create(management, &owner, Geometry::of(SIZE)).unwrap();
    // All but two megabytes of the file system is somebody else's.
    fs::write(mounted.0.path().join("other"), vec![1; 14 << 20]).unwrap();
    run(async {
        let opened = Volume::open(
            Arc::new(data),
            management,
            &BTreeSet::new(),
            Options::default(),
            Arc::new(TcpDialer),
        );
        let (volume, _events) = opened.unwrap();
        volume.store_epoch(Epoch(1)).await.unwrap();
        volume.store_step(Generation(1), &me).await.unwrap();
        volume.become_primary(Epoch(1)).await.unwrap();
        let door = volume.door();
        let mut kept = 0;
        let why = loop {
            match write(&door, kept * EXTENT, block(kept as u8 | 1)).await {
                Ok(()) => kept += 1,
                Err(why) => break why,
            }
        };
        assert_eq!(why, BlockError::NoSpace);
        assert!(kept > 256, "{kept}");
        flush(&door).await.unwrap();
        for at in 0..kept {
            assert_eq!(read(&door, at * EXTENT, 4096).await.unwrap()[..], block(at as u8 | 1));
        }
        fs::remove_file(mounted.0.path().join("other")).unwrap();
        write(&door, kept * EXTENT, block(9)).await.unwrap();
        assert_eq!(volume.copy().disk, DiskState::Consistent);
        drop(door);
        volume.become_secondary().await.unwrap();
    });
}
