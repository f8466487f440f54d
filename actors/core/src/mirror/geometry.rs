//! How a volume is divided.

use serde::{Deserialize, Serialize};

/// The smallest extent, and the unit of a volume's size, in bytes.
pub const SMALLEST_EXTENT: u64 = 4096;
/// A dirty map has at most so many extents: one mebibyte a peer.
pub const EXTENTS_LIMIT: u64 = 8 * 1024 * 1024;
/// What one slot of the activity log stands for, in bytes.
pub const REGION: u64 = 4 * 1024 * 1024;
/// A dirty map is written in pages of so many extents: what a block of the management area holds besides
/// its head. A whole number of words of 64 bits.
pub const MAP_PAGE_BITS: u64 = (4096 - 64) * 8;
/// So many regions are in the activity log at most: its table is one block of the management area.
pub const LOG_SLOTS: usize = 1000;
/// A volume has at most so many copies.
pub const COPIES_LIMIT: usize = 4;

/// How a volume is divided: extents are what the dirty map tells apart, regions what the activity log
/// does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Geometry {
    /// The volume's size in bytes; whole extents of the smallest size.
    pub size: u64,
    /// The size of an extent in bytes: a power of two.
    pub extent: u64,
}

impl Geometry {
    /// The geometry of a volume of so many bytes, of which an unfinished smallest extent at the end
    /// is not used.
    #[must_use]
    pub fn of(size: u64) -> Self {
        let size = size / SMALLEST_EXTENT * SMALLEST_EXTENT;
        let mut extent = SMALLEST_EXTENT;
        while size.div_ceil(extent) > EXTENTS_LIMIT {
            extent *= 2;
        }
        Self { size, extent }
    }

    /// How many extents there are; the last may be shorter.
    #[must_use]
    pub fn extents(&self) -> u64 {
        self.size.div_ceil(self.extent)
    }

    /// How many pages of a dirty map there are.
    #[must_use]
    pub fn map_pages(&self) -> u32 {
        u32::try_from(self.extents().div_ceil(MAP_PAGE_BITS)).unwrap_or(u32::MAX)
    }

    /// How many regions there are; the last may be shorter.
    #[must_use]
    pub fn regions(&self) -> u32 {
        u32::try_from(self.size.div_ceil(REGION)).unwrap_or(u32::MAX)
    }

    /// The extents that a span of bytes touches: first, and one past the last.
    #[must_use]
    pub fn extents_of(&self, offset: u64, length: u64) -> (u64, u64) {
        (offset / self.extent, (offset + length).div_ceil(self.extent))
    }

    /// The regions that a span of bytes touches: first, and one past the last.
    #[must_use]
    pub fn regions_of(&self, offset: u64, length: u64) -> (u32, u32) {
        let number = |region: u64| u32::try_from(region).unwrap_or(u32::MAX);
        (number(offset / REGION), number((offset + length).div_ceil(REGION)))
    }

    /// The extents of a region: first, and one past the last.
    #[must_use]
    pub fn extents_in(&self, region: u32) -> (u64, u64) {
        let start = u64::from(region) * REGION;
        self.extents_of(start, REGION.min(self.size.saturating_sub(start)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_volumes_have_the_smallest_extents_and_large_ones_at_most_a_mebibyte_of_bits() {
        assert_eq!(Geometry::of(20 << 30).extent, 4096);
        assert_eq!(Geometry::of(32 << 30).extents(), EXTENTS_LIMIT);
        let large = Geometry::of(1 << 40);
        assert_eq!((large.extent, large.extents()), (128 * 1024, EXTENTS_LIMIT));
        assert_eq!(Geometry::of(10_000).size, 8192);
    }

    #[test]
    fn spans_touch_what_they_overlap() {
        let it = Geometry::of(16 << 20);
        assert_eq!(it.extents_of(4095, 2), (0, 2));
        assert_eq!(it.extents_of(4096, 4096), (1, 2));
        assert_eq!(it.regions_of(REGION - 1, 2), (0, 2));
        assert_eq!(it.extents_in(3), (3072, 4096));
        assert_eq!(it.regions(), 4);
    }
}
