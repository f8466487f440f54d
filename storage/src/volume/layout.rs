//! Where what stands in a management area. It is the same for every size of volume, so that a volume can
//! grow: geometry keeps a dirty map below a mebibyte.
//!
//! ```text
//!  block 0            superblock, one copy
//!  blocks 1..=64      activity log: a ring
//!  block 65           superblock, the other copy: far from the first, so that who writes over the
//!                     beginning of the wrong disk is noticed and does not take both
//!  blocks 66..        dirty maps: for each of three peers, for each page, two blocks
//! ```

use tasuki_core::mirror::geometry::{COPIES_LIMIT, EXTENTS_LIMIT, MAP_PAGE_BITS};

/// Bytes of a block.
pub const BLOCK: usize = 4096;
/// Bytes of a block's head.
pub const HEAD: usize = 64;
/// The format that this program writes, and the newest that it reads.
pub const FORMAT: u16 = 1;
/// Blocks of the activity log's ring.
pub const LOG_BLOCKS: u64 = 64;
/// Peers that a dirty map can be kept for.
pub const PEERS: usize = COPIES_LIMIT - 1;
/// Pages of the largest dirty map.
pub const MAP_PAGES: u64 = EXTENTS_LIMIT.div_ceil(MAP_PAGE_BITS);

const FIRST_LOG: u64 = 1;
const SECOND_SUPERBLOCK: u64 = FIRST_LOG + LOG_BLOCKS;
const FIRST_MAP: u64 = SECOND_SUPERBLOCK + 1;

/// Bytes that are used.
pub const USED: u64 = (FIRST_MAP + PEERS as u64 * MAP_PAGES * 2) * BLOCK as u64;
/// A management area has at least so many bytes (C5).
pub const MANAGEMENT_LEAST: u64 = 10_000_000;
/// The size of a management area that is a file and was missing.
pub const MANAGEMENT_FILE: u64 = 10 * 1024 * 1024;

/// Where a superblock of this sequence number is: two in turn.
pub fn superblock(sequence: u64) -> u64 {
    let block = if sequence.is_multiple_of(2) { 0 } else { SECOND_SUPERBLOCK };
    block * BLOCK as u64
}

/// The place in the ring of this sequence number.
pub fn log_place(sequence: u64) -> u64 {
    sequence % LOG_BLOCKS
}

/// Where a place of the ring is.
pub fn log(place: u64) -> u64 {
    (FIRST_LOG + place) * BLOCK as u64
}

/// Where a page of a peer's dirty map of this sequence number is: two in turn.
pub fn map(peer: usize, page: u32, sequence: u64) -> u64 {
    (FIRST_MAP + (peer as u64 * MAP_PAGES + u64::from(page)) * 2 + sequence % 2) * BLOCK as u64
}

#[cfg(test)]
mod tests {
    use tasuki_core::mirror::geometry::Geometry;

    use super::*;

    #[test]
    fn nothing_overlaps_and_all_fits_in_ten_megabytes_for_volumes_from_a_gigabyte_to_sixteen_terabytes() {
        let mut places = vec![superblock(0), superblock(1)];
        places.extend((0..LOG_BLOCKS).map(log));
        for peer in 0..PEERS {
            for page in 0..u32::try_from(MAP_PAGES).unwrap_or(u32::MAX) {
                places.extend([map(peer, page, 0), map(peer, page, 1)]);
            }
        }
        let count = places.len() as u64;
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len() as u64, count, "no two at one place");
        assert_eq!(count * BLOCK as u64, USED, "and no holes");
        const { assert!(USED <= MANAGEMENT_LEAST) };
        for shift in 30..=44 {
            let geometry = Geometry::of(1 << shift);
            assert!(u64::from(geometry.map_pages()) <= MAP_PAGES, "{geometry:?}");
            assert!(u64::from(geometry.map_pages()) * MAP_PAGE_BITS >= geometry.extents());
        }
    }
}
