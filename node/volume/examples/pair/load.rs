//! What is written, in an order that can be computed again, and where everything is.

use tasuki_core::mirror::geometry::{Geometry, REGION};
use tasuki_storage::volume::{MANAGEMENT_FILE, Owner};

/// Bytes of a block, and of a sector.
pub const BLOCK: u64 = 4096;
pub const SECTOR: u64 = 512;
/// Bytes of the volume: more regions than the activity log has slots.
pub const VOLUME: u64 = 1280 * REGION;
/// Writes under way at a time, at most. As many in a row are to different blocks.
pub const WINDOW: u64 = 16;
/// Seeds from here on stay in a few regions.
const NARROW: u64 = 1000;
const LEDGER: u64 = 1 << 20;

/// Where something is on the disk.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub name: &'static str,
    pub offset: u64,
    pub size: u64,
}

/// The five places, without gaps.
pub fn places() -> [Place; 5] {
    let mut offset = 0;
    [
        ("meta1", MANAGEMENT_FILE),
        ("data1", VOLUME),
        ("meta2", MANAGEMENT_FILE),
        ("data2", VOLUME),
        ("ledger", LEDGER),
    ]
    .map(|(name, size)| {
        let place = Place { name, offset, size };
        offset += size;
        place
    })
}

pub fn table() {
    for place in places() {
        println!("{} {} {}", place.name, place.offset / SECTOR, place.size / SECTOR);
    }
}

pub fn geometry() -> Geometry {
    Geometry::of(VOLUME)
}

pub fn owner(server: &str) -> Owner {
    Owner { lineage: "power".into(), volume: "data".into(), server: server.into() }
}

/// Which block a write is to; writes count from one. Some of them go to few blocks, again and again, the
/// others to one region after the other, so that the activity log is full soon, and from then on a region has
/// to leave for almost every write. With a seed of at least [`NARROW`] they are few, so that what a log names
/// after a crash is compared in seconds.
pub fn block_of(seed: u64, number: u64) -> u64 {
    let chance = mixed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let regions = if seed < NARROW { VOLUME / REGION } else { 16 };
    let windows = REGION / BLOCK / WINDOW;
    let window = match chance % 12 {
        0 => (chance >> 8) % 4,
        // A few places in each region, so that they are met again.
        _ => number % regions * windows + (chance >> 8) % if seed < NARROW { 4 } else { windows },
    };
    window * WINDOW + number % WINDOW
}

/// What a write writes. Each sector says which it is.
pub fn content(block: u64, number: u64) -> Vec<u8> {
    let words = (0..BLOCK / 8).flat_map(|word| {
        let sector = word * 8 / SECTOR;
        let value = match word % (SECTOR / 8) {
            0 => number,
            1 => block,
            2 => sector,
            other => mixed(number ^ block << 20 ^ sector << 40 ^ other << 50),
        };
        value.to_le_bytes()
    });
    words.collect()
}

/// The numbers of the writes that a block's sectors are of; zero: never written. `None`: it is nothing that
/// was ever written there.
pub fn numbers_of(bytes: &[u8], block: u64) -> Vec<Option<u64>> {
    let mut whole: Option<(u64, Vec<u8>)> = None;
    let sectors = (0..).zip(bytes.chunks(SECTOR as usize));
    let number = |(sector, bytes): (usize, &[u8])| {
        if bytes.iter().all(|byte| *byte == 0) {
            return Some(0);
        }
        let number = u64::from_le_bytes(bytes[..8].try_into().ok()?);
        let (_, content) = match whole.take().filter(|(known, _)| *known == number) {
            Some(known) => whole.insert(known),
            None => whole.insert((number, content(block, number))),
        };
        (content[sector * SECTOR as usize..][..bytes.len()] == *bytes).then_some(number)
    };
    sectors.map(number).collect()
}

/// A line of the ledger, which stands for the registry: written durably after what it says has come about,
/// or before it may, when the second copy is put out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    pub sequence: u64,
    /// The writes up to this one were flushed.
    pub flushed: u64,
    /// The second copy counts; zero: it is out.
    pub both: u64,
    /// The writes up to this one were flushed when it counted last.
    pub both_flushed: u64,
    /// The last write that was begun before it was put out.
    pub last_to_both: u64,
}

impl Line {
    pub fn bytes(&self) -> Vec<u8> {
        let words = [self.sequence, self.flushed, self.both, self.both_flushed, self.last_to_both];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.resize(usize::try_from(SECTOR).unwrap(), 0);
        bytes
    }

    pub fn read(bytes: &[u8]) -> Self {
        let mut words = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
        let mut word = || words.next().unwrap();
        Self { sequence: word(), flushed: word(), both: word(), both_flushed: word(), last_to_both: word() }
    }
}

pub fn mixed(mut value: u64) -> u64 {
    value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}
