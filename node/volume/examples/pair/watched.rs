//! What a load brings about in a management area: log blocks go round their ring, regions leave a log that is
//! full, map pages are written. Told on the console, where a reset can be timed by it, and found again in a
//! recording.

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    path::Path,
    sync::{Arc, Mutex},
};

use tasuki_core::mirror::geometry::LOG_SLOTS;
use tasuki_storage::volume::Area;

/// What regions leave a full log at a time, at most: so it is as good as full with so many fewer.
const LEAVE: usize = LOG_SLOTS / 16;
/// Blocks of the log's ring.
const RING: u64 = 64;

/// A block that was written to a management area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// A table of regions.
    Log {
        /// So many that were in the one before are not in it, although it has some.
        left: usize,
    },
    /// A page of a dirty map.
    Map,
    Superblock,
}

/// What was written so far.
#[derive(Clone, Debug, Default)]
pub struct Course {
    table: BTreeSet<u32>,
    /// Log blocks.
    pub logs: u64,
    /// Tables that regions had left when the one before was full.
    pub evictions: u64,
    /// Map pages, and those that were written while the log was full.
    pub maps: u64,
    pub maps_full: u64,
}

impl Course {
    /// The log has no room, or as good as none.
    pub fn is_full(&self) -> bool {
        self.table.len() + LEAVE >= LOG_SLOTS
    }

    /// Times that the ring was written round.
    pub fn rounds(&self) -> u64 {
        self.logs / RING
    }

    /// Notes a block. `None`: it is none of a management area.
    pub fn saw(&mut self, bytes: &[u8]) -> Option<Block> {
        if bytes.get(..8)? != b"TASUKIMD" {
            return None;
        }
        match bytes.get(10)? {
            1 => Some(Block::Superblock),
            2 => {
                let length = u32::from_le_bytes(bytes.get(48..52)?.try_into().ok()?) as usize;
                let table = bytes.get(64..64 + length)?.chunks_exact(4);
                let table: BTreeSet<u32> =
                    table.map(|region| u32::from_le_bytes(region.try_into().unwrap())).collect();
                let left = if table.is_empty() { 0 } else { self.table.difference(&table).count() };
                self.logs += 1;
                self.evictions += u64::from(left > 0 && self.is_full());
                let left = if self.is_full() { left } else { 0 };
                self.table = table;
                Some(Block::Log { left })
            }
            _ => {
                self.maps += 1;
                self.maps_full += u64::from(self.is_full());
                Some(Block::Map)
            }
        }
    }
}

/// An area that tells of this on the console.
#[derive(Debug)]
pub struct Watched {
    area: Arc<dyn Area>,
    course: Mutex<(Course, Option<Block>)>,
}

impl Watched {
    pub fn new(area: Arc<dyn Area>) -> Self {
        Self { area, course: Mutex::default() }
    }

    /// Before the write, so that a reset comes upon it.
    fn tell(&self, bytes: &[u8]) {
        let mut course = self.course.lock().unwrap();
        let (course, before) = &mut *course;
        let Some(block) = course.saw(bytes) else { return };
        let said = match block {
            Block::Log { left } if left > 0 => Some(format!("MARK evicted {left} in log {}", course.logs)),
            Block::Log { .. } if course.logs % RING == 0 => Some(format!("MARK round {}", course.rounds())),
            // Once for all that are written together.
            Block::Map if *before != Some(Block::Map) => {
                Some(format!("MARK map {} {}", if course.is_full() { "full" } else { "small" }, course.maps))
            }
            _ => None,
        };
        *before = Some(block);
        if let Some(said) = said {
            println!("{said}");
            io::stdout().flush().unwrap();
        }
    }
}

impl Area for Watched {
    fn place(&self) -> &Path {
        self.area.place()
    }

    fn size(&self) -> u64 {
        self.area.size()
    }

    fn measure(&self) -> io::Result<u64> {
        self.area.measure()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.area.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.tell(bytes);
        self.area.write_at(bytes, offset)
    }

    fn write_durable(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.tell(bytes);
        self.area.write_durable(bytes, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.area.flush()
    }

    fn trim(&self, offset: u64, length: u64) -> io::Result<()> {
        self.area.trim(offset, length)
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        self.area.zero(offset, length)
    }

    fn write_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        self.area.write_zeroes(offset, length)
    }
}
