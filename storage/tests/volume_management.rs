//! A management area in memory: what is found in it again, and what is refused.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tasuki_core::{
    ids::{Epoch, Generation, ServerName},
    mirror::{
        DiskState,
        geometry::{Geometry, LOG_SLOTS, MAP_PAGE_BITS},
    },
};
use tasuki_storage::volume::{
    Active, Area, AreaError, MANAGEMENT_LEAST, Management, MapFound, MapPage, MemoryArea, Owner,
    memory::Operation,
};

const BLOCK: u64 = 4096;
/// Where the blocks of an area are: two superblocks, the ring between them, the maps behind.
const SUPERBLOCKS: [u64; 2] = [0, 65 * BLOCK];
const RING: u64 = BLOCK;
const MAPS: u64 = 66 * BLOCK;

fn owner() -> Owner {
    Owner { lineage: "one".into(), volume: "data".into(), server: "kiki".into() }
}

fn lineage(text: &str) -> tasuki_core::ids::Lineage {
    text.into()
}

fn names(names: &[&str]) -> BTreeSet<ServerName> {
    names.iter().map(|name| ServerName::from(*name)).collect()
}

fn geometry() -> Geometry {
    Geometry::of(1 << 30)
}

fn made() -> (MemoryArea, Management) {
    let area = MemoryArea::new(MANAGEMENT_LEAST);
    let management = Management::create(Arc::new(area.clone()), &owner(), geometry()).unwrap();
    (area, management)
}

fn open(area: &MemoryArea) -> Result<Management, AreaError> {
    Management::open(Arc::new(area.clone()), &owner())
}

fn block(area: &MemoryArea, at: u64) -> Vec<u8> {
    let mut block = vec![0; BLOCK as usize];
    area.read_at(&mut block, at).unwrap();
    block
}

#[test]
fn what_was_stored_is_there_after_opening_again() {
    let (area, management) = made();
    management.set_peers(&names(&["lala", "momo"])).unwrap();
    management.store_epoch(Epoch(7)).unwrap();
    management
        .store(|superblock| {
            superblock.disk = DiskState::Inconsistent;
            superblock.history.step(Generation(3), &"kiki".into());
            superblock.primary = Some(Epoch(7));
        })
        .unwrap();
    management.log(&[3, 1, 200]).unwrap();
    let (lala, momo) = (ServerName::from("lala"), ServerName::from("momo"));
    management.write_map_pages(&lala, &[MapPage { page: 0, words: &[5] }]).unwrap();
    management.write_map_pages(&momo, &[MapPage { page: 8, words: &[0, u64::MAX] }]).unwrap();

    let again = open(&area).unwrap();
    assert_eq!(again.superblock(), management.superblock());
    let copy = again.copy();
    assert_eq!((copy.epoch, copy.disk, copy.crashed), (Epoch(7), DiskState::Inconsistent, true));
    assert_eq!(copy.history.generation(), Generation(3));
    assert_eq!(again.active(), &Active::Regions(vec![3, 1, 200]));
    let map = again.read_map(&lala).unwrap();
    assert_eq!((map.words[0], map.dirty(), map.unsure.len()), (5, 2, 0));
    assert_eq!(map.words.len() as u64, geometry().extents() / 64);
    let map = again.read_map(&momo).unwrap();
    let word = usize::try_from(8 * MAP_PAGE_BITS / 64 + 1).unwrap();
    assert_eq!((map.words[word], map.dirty()), (geometry_mask(8), u64::from(geometry_mask(8).count_ones())));
}

/// What of the second word of a page lies before the end of the volume.
fn geometry_mask(page: u64) -> u64 {
    let first = page * MAP_PAGE_BITS + 64;
    match geometry().extents().checked_sub(first) {
        None => 0,
        Some(left) if left >= 64 => u64::MAX,
        Some(left) => (1 << left) - 1,
    }
}

#[test]
fn a_blank_area_is_blank_and_is_made_once() {
    let area = MemoryArea::new(MANAGEMENT_LEAST);
    assert!(matches!(open(&area), Err(AreaError::Blank(_))));
    assert_eq!(Management::owner_of(&area).unwrap(), None);
    let small = MemoryArea::new(MANAGEMENT_LEAST - 1);
    assert!(matches!(open(&small), Err(AreaError::Size { .. })));
    Management::create(Arc::new(area.clone()), &owner(), geometry()).unwrap();
    let again = Management::create(Arc::new(area.clone()), &owner(), geometry());
    assert!(matches!(again, Err(AreaError::NotOurs { .. })), "what is there is not made over");
    assert_eq!(Management::owner_of(&area).unwrap(), Some(owner()));
    let copy = open(&area).unwrap().copy();
    assert!(copy.history.0.is_empty() && !copy.crashed, "{copy:?}");
}

#[test]
fn r24_areas_of_another_lineage_volume_or_server_are_refused() {
    let (area, _) = made();
    let others = [
        Owner { lineage: lineage("two"), ..owner() },
        Owner { volume: "logs".into(), ..owner() },
        Owner { server: "lala".into(), ..owner() },
    ];
    for other in others {
        let refused = Management::open(Arc::new(area.clone()), &other).unwrap_err();
        assert_eq!(refused.code(), "TSK-1822");
        assert!(refused.to_string().contains("belongs to volume data on kiki (lineage one)"), "{refused}");
    }
}

#[test]
fn what_is_no_management_area_is_refused_and_left_alone() {
    for (at, mark, says) in [
        (1080, &b"\x53\xef"[..], "a file system (ext2)"),
        (0, b"XFSB", "a file system (xfs)"),
        (9, b"?", "bytes"),
    ] {
        let area = MemoryArea::new(MANAGEMENT_LEAST);
        area.write_at(mark, at).unwrap();
        let before = area.snapshot();
        for refused in [
            open(&area).unwrap_err(),
            Management::create(Arc::new(area.clone()), &owner(), geometry()).unwrap_err(),
        ] {
            assert_eq!(refused.code(), "TSK-1823");
            assert!(refused.to_string().contains(says), "{refused}");
        }
        assert_eq!(area.differs(&before), None);
    }
}

#[test]
fn a_newer_format_is_refused() {
    let (area, management) = made();
    management.store_epoch(Epoch(1)).unwrap();
    for superblock in SUPERBLOCKS {
        area.write_at(&[9, 0], superblock + 8).unwrap();
    }
    assert_eq!(open(&area).unwrap_err().code(), "TSK-1825");
}

/// Both halves of the new one, at every byte that could matter and many that could not.
#[test]
fn r31_a_torn_superblock_leaves_the_one_before() {
    let (area, management) = made();
    for epoch in 1..=4 {
        let before = area.snapshot();
        management.store_epoch(Epoch(epoch)).unwrap();
        let at = if epoch % 2 == 0 { SUPERBLOCKS[0] } else { SUPERBLOCKS[1] };
        let (old, new) = (block(&before, at), block(&area, at));
        assert_ne!(old, new, "each is written over the older of the two");
        for cut in (0..64).chain((64..=BLOCK as usize).step_by(32)) {
            for (front, back) in [(&new, &old), (&old, &new)] {
                let torn = before.snapshot();
                torn.write_at(&[&front[..cut], &back[cut..]].concat(), at).unwrap();
                let found = open(&torn).unwrap().copy().epoch;
                let whole = [&front[..cut], &back[cut..]].concat() == new;
                assert_eq!(found, Epoch(if whole { epoch } else { epoch - 1 }), "cut at {cut}");
            }
        }
    }
}

#[test]
fn a_superblock_that_was_lost_or_overwritten_is_noticed() {
    let (area, management) = made();
    management.set_peers(&names(&["lala"])).unwrap();
    for at in SUPERBLOCKS {
        for over in [&[0; BLOCK as usize][..], &[0x42; 600][..]] {
            let damaged = area.snapshot();
            damaged.write_at(over, at).unwrap();
            assert_eq!(open(&damaged).unwrap_err().code(), "TSK-1824", "at {at}");
        }
    }
    // Both torn: no power loss does that.
    let damaged = area.snapshot();
    for at in SUPERBLOCKS {
        damaged.write_at(&[1], at + 100).unwrap();
    }
    assert_eq!(open(&damaged).unwrap_err().code(), "TSK-1824");
    // The newest is lost, and the log knows that it was there: an epoch must not go back (R31).
    management.store_epoch(Epoch(9)).unwrap();
    management.log(&[1]).unwrap();
    let torn: Vec<String> = SUPERBLOCKS
        .into_iter()
        .map(|at| {
            let damaged = area.snapshot();
            damaged.write_at(&[1], at + 100).unwrap();
            open(&damaged).map_or_else(|error| error.code().to_owned(), |it| it.copy().epoch.to_string())
        })
        .collect();
    assert!(torn.contains(&"TSK-1824".to_owned()) && torn.contains(&"9".to_owned()), "{torn:?}");
}

#[test]
fn a_creation_that_was_broken_off_is_done_again() {
    for stop in 0.. {
        let area = MemoryArea::new(MANAGEMENT_LEAST);
        let (asked, dead) = (std::sync::atomic::AtomicUsize::new(0), AtomicBool::new(false));
        area.watch(move |operation| {
            let writes = matches!(operation, Operation::Write(..) | Operation::Zero(..) | Operation::Flush);
            if writes && asked.fetch_add(1, Ordering::SeqCst) == stop || dead.load(Ordering::SeqCst) {
                dead.store(true, Ordering::SeqCst);
                return Err(io::Error::other("the power is gone"));
            }
            Ok(())
        });
        let made = Management::create(Arc::new(area.clone()), &owner(), geometry());
        area.unwatch();
        area.power_loss(|at| at.sector % 2 == 1);
        if made.is_ok() {
            open(&area).unwrap();
            assert!(stop >= 4, "two superblocks, each flushed");
            return;
        }
        match open(&area) {
            Err(AreaError::Blank(_)) => {
                Management::create(Arc::new(area.clone()), &owner(), geometry()).unwrap();
                open(&area).unwrap();
            }
            opened => assert_eq!(opened.unwrap().copy().epoch, Epoch(0)),
        }
    }
}

/// More than twice round the ring; around its ends the block that was just written is torn.
#[test]
fn r29_a_torn_log_block_leaves_the_table_before() {
    let (area, management) = made();
    for step in 1_u32..=140 {
        let before = area.snapshot();
        management.log(&[step, step + 1]).unwrap();
        let at = RING + u64::from(step % 64) * BLOCK;
        let (old, new) = (block(&before, at), block(&area, at));
        let near_an_end = step < 4 || step % 64 < 3 || step % 64 > 61;
        for cut in (8..64).step_by(8).chain([100, 511, 512, 513, 2048, 4095]).filter(|_| near_an_end) {
            for (front, back) in [(&new, &old), (&old, &new)] {
                let mixed = [&front[..cut], &back[cut..]].concat();
                let torn = before.snapshot();
                torn.write_at(&mixed, at).unwrap();
                let expected = match (mixed == new, step) {
                    (true, _) => Active::Regions(vec![step, step + 1]),
                    (false, 1) => Active::None,
                    (false, _) => Active::Regions(vec![step - 1, step]),
                };
                assert_eq!(open(&torn).unwrap().active(), &expected, "step {step}, cut at {cut}");
            }
        }
        assert_eq!(open(&area).unwrap().active(), &Active::Regions(vec![step, step + 1]));
    }
    management.log(&[]).unwrap();
    assert_eq!(open(&area).unwrap().active(), &Active::None);
}

#[test]
fn r29_a_log_that_lost_more_than_the_last_block_names_every_region() {
    let (area, management) = made();
    for step in 1..=70 {
        management.log(&[step]).unwrap();
    }
    // Place 6 has the newest, 7 may have been torn; the others were durable.
    for (place, all) in [(7, false), (8, true), (5, true), (0, true)] {
        for over in [&[0; BLOCK as usize][..], &[7; 64][..]] {
            let damaged = area.snapshot();
            damaged.write_at(over, RING + place * BLOCK).unwrap();
            let management = open(&damaged).unwrap();
            let regions = management.active().regions().count();
            assert_eq!(regions, if all { 256 } else { 1 }, "place {place}");
        }
    }
}

#[test]
fn the_largest_table_fits_and_a_larger_one_is_refused() {
    let (area, management) = made();
    let regions: Vec<u32> = (0..u32::try_from(LOG_SLOTS).unwrap()).collect();
    management.log(&regions).unwrap();
    let found: Vec<u32> = open(&area).unwrap().active().regions().collect();
    let inside = |region: &u32| *region < geometry().regions();
    assert_eq!(found, regions.iter().copied().filter(inside).collect::<Vec<_>>());
    assert!(management.log(&[0; LOG_SLOTS + 1]).is_err());
    management.log(&[1]).unwrap();
}

#[test]
fn r29_a_torn_map_page_leaves_the_page_before() {
    let (area, management) = made();
    let lala = ServerName::from("lala");
    management.set_peers(&names(&["lala"])).unwrap();
    for step in 1_u64..=4 {
        let before = area.snapshot();
        management.write_map_pages(&lala, &[MapPage { page: 2, words: &[step, 0, step] }]).unwrap();
        let at = MAPS + (2 * 2 + step % 2) * BLOCK;
        let (old, new) = (block(&before, at), block(&area, at));
        assert_ne!(old, new);
        for cut in (8..96).step_by(8).chain([511, 512, 513, 2048]) {
            for (front, back) in [(&new, &old), (&old, &new)] {
                let mixed = [&front[..cut], &back[cut..]].concat();
                let torn = before.snapshot();
                torn.write_at(&mixed, at).unwrap();
                let found = open(&torn).unwrap().read_map(&lala).unwrap();
                let expected = if mixed == new { step } else { step - 1 };
                let word = usize::try_from(2 * MAP_PAGE_BITS / 64).unwrap();
                let seen = (found.words[word], found.words[word + 2]);
                assert_eq!((seen, found.unsure.len()), ((expected, expected), 0), "cut at {cut}");
            }
        }
    }
}

#[test]
fn a_page_of_which_both_places_are_lost_is_all_dirty_and_can_be_written_again() {
    let (area, management) = made();
    let lala = ServerName::from("lala");
    management.set_peers(&names(&["lala"])).unwrap();
    for word in [1, 2] {
        management.write_map_pages(&lala, &[MapPage { page: 1, words: &[word] }]).unwrap();
    }
    for copy in 0..2 {
        area.write_at(&[9; 700], MAPS + (2 + copy) * BLOCK).unwrap();
    }
    let again = open(&area).unwrap();
    let found = again.read_map(&lala).unwrap();
    assert_eq!((found.unsure.as_slice(), found.dirty()), (&[1][..], MAP_PAGE_BITS));
    again.write_map_pages(&lala, &[MapPage { page: 1, words: &[3] }]).unwrap();
    assert_eq!(open(&area).unwrap().read_map(&lala).unwrap().dirty(), 2);
}

#[test]
fn the_map_of_a_peer_that_left_is_not_the_next_ones() {
    let (area, management) = made();
    management.set_peers(&names(&["lala", "momo", "nana"])).unwrap();
    let all = MapPage { page: 0, words: &[u64::MAX] };
    for peer in ["lala", "momo", "nana"] {
        management.write_map_pages(&peer.into(), &[all]).unwrap();
    }
    assert!(management.set_peers(&names(&["a", "b", "c", "d"])).is_err());
    management.set_peers(&names(&["lala", "nana", "pipi"])).unwrap();
    for management in [management, open(&area).unwrap()] {
        let dirty = |peer: &str| management.read_map(&peer.into()).map(|map| map.dirty());
        assert_eq!((dirty("lala").unwrap(), dirty("nana").unwrap(), dirty("pipi").unwrap()), (64, 64, 0));
        assert!(dirty("momo").is_err());
        assert_eq!(management.peers(), names(&["lala", "nana", "pipi"]));
    }
    let again = open(&area).unwrap();
    again.write_map_pages(&"pipi".into(), &[MapPage { page: 0, words: &[1] }]).unwrap();
    assert_eq!(open(&area).unwrap().read_map(&"pipi".into()).unwrap().dirty(), 1);
}

#[test]
fn pages_outside_the_map_and_words_outside_the_page_are_refused() {
    let (_, management) = made();
    let lala = ServerName::from("lala");
    management.set_peers(&names(&["lala"])).unwrap();
    let pages = geometry().map_pages();
    assert!(management.write_map_pages(&lala, &[MapPage { page: pages, words: &[1] }]).is_err());
    assert!(management.write_map_pages(&lala, &[MapPage { page: 0, words: &[1; 505] }]).is_err());
    assert!(management.write_map_pages(&"nana".into(), &[MapPage { page: 0, words: &[1] }]).is_err());
    management.write_map_pages(&lala, &[MapPage { page: pages - 1, words: &[u64::MAX; 504] }]).unwrap();
    let map = management.read_map(&lala).unwrap();
    let left = geometry().extents() - u64::from(pages - 1) * MAP_PAGE_BITS;
    assert_eq!(map.dirty(), left, "none beyond the last extent");
}

#[test]
fn an_epoch_never_goes_back() {
    let (area, management) = made();
    management.store_epoch(Epoch(5)).unwrap();
    management.store_epoch(Epoch(4)).unwrap();
    assert_eq!(management.copy().epoch, Epoch(5));
    assert_eq!(open(&area).unwrap().copy().epoch, Epoch(5));
}

#[test]
fn after_a_failed_write_nothing_is_written_any_more() {
    let (area, management) = made();
    area.watch(|operation| match operation {
        Operation::Flush => Err(io::Error::other("medium error")),
        _ => Ok(()),
    });
    let failed = management.log(&[1]).unwrap_err();
    assert_eq!((failed.code(), failed.is_disk()), ("TSK-1820", true));
    area.unwatch();
    assert!(management.failure().unwrap().contains("medium error"));
    assert!(management.log(&[2]).is_err() && management.store_epoch(Epoch(8)).is_err());
    assert_eq!(management.copy().epoch, Epoch(0));
}

#[test]
fn a_full_disk_is_told_from_a_failed_one() {
    let (area, management) = made();
    area.watch(|operation| match operation {
        Operation::Write(..) => Err(io::ErrorKind::StorageFull.into()),
        _ => Ok(()),
    });
    assert_eq!(management.log(&[1]).unwrap_err().code(), "TSK-1828");
}

#[test]
fn a_volume_grows_and_the_maps_with_it() {
    let area = MemoryArea::new(MANAGEMENT_LEAST);
    let small = Geometry::of(24 << 30);
    let management = Management::create(Arc::new(area.clone()), &owner(), small).unwrap();
    let lala = ServerName::from("lala");
    management.set_peers(&names(&["lala"])).unwrap();
    let last = small.map_pages() - 1;
    management.write_map_pages(&lala, &[MapPage { page: last, words: &[1] }]).unwrap();

    // Extents of the same size: the maps stay.
    let middle = Geometry::of(30 << 30);
    management.resize(middle, &BTreeMap::new()).unwrap();
    let again = open(&area).unwrap();
    assert_eq!((again.copy().geometry, again.read_map(&lala).unwrap().dirty()), (middle, 1));
    management.write_map_pages(&lala, &[MapPage { page: middle.map_pages() - 1, words: &[2] }]).unwrap();

    // Extents of another size: written anew, and everything is dirty until that has ended.
    let large = Geometry::of(100 << 30);
    assert_ne!(large.extent, middle.extent);
    let maps = BTreeMap::from([(lala.clone(), vec![0b11])]);
    for stop in 0.. {
        let area = area.snapshot();
        let management = open(&area).unwrap();
        let asked = std::sync::atomic::AtomicUsize::new(0);
        area.watch(move |operation| match operation {
            Operation::Read(..) => Ok(()),
            _ if asked.fetch_add(1, Ordering::SeqCst) >= stop => Err(io::Error::other("the power is gone")),
            _ => Ok(()),
        });
        let resized = management.resize(large, &maps);
        area.unwatch();
        area.power_loss(|at| at.sector % 3 == 0);
        let again = open(&area).unwrap();
        let (geometry, map) = (again.copy().geometry, again.read_map(&lala).unwrap());
        match (&resized, geometry == middle) {
            (Ok(()), _) => {
                assert_eq!(map, MapFound { words: map.words.clone(), unsure: Vec::new() });
                assert_eq!((map.words[0], map.dirty()), (0b11, 2));
                return;
            }
            (Err(_), true) => assert_eq!(map.dirty(), 2, "as before"),
            (Err(_), false) if map.unsure.is_empty() => assert_eq!(map.dirty(), 2, "as after"),
            (Err(_), false) => assert_eq!(map.dirty(), large.extents()),
        }
    }
}

#[test]
fn volumes_of_all_sizes_have_their_maps() {
    for shift in 30..=44 {
        let area = MemoryArea::new(MANAGEMENT_LEAST);
        let geometry = Geometry::of(1 << shift);
        let management = Management::create(Arc::new(area.clone()), &owner(), geometry).unwrap();
        let peers = names(&["lala", "momo", "nana"]);
        management.set_peers(&peers).unwrap();
        for peer in &peers {
            let page = MapPage { page: geometry.map_pages() - 1, words: &[1] };
            management.write_map_pages(peer, &[page]).unwrap();
        }
        let again = open(&area).unwrap();
        for peer in &peers {
            assert_eq!(again.read_map(peer).unwrap().dirty(), 1, "{geometry:?}");
        }
    }
}
