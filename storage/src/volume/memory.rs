//! An area in memory, for tests: it fails, waits, tears and loses its power on demand.
//!
//! What was written is seen at once, as in the kernel's cache, by everybody who has the area. What was not
//! made durable is a list: at a power loss the test says of every sector of it whether the disk had got
//! to it, in whatever order.

mod bytes;

use std::{
    collections::VecDeque,
    fmt::{self, Debug},
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use self::bytes::{Bytes, PAGE, What, Written};
use super::area::Area;

/// What a disk writes whole, at least.
pub const SECTOR: u64 = 512;

/// What is being asked of the area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Read from there so much.
    Read(u64, u64),
    /// Write there so much.
    Write(u64, u64),
    /// Make that zeroes.
    Zero(u64, u64),
    /// Flush.
    Flush,
}

/// A sector that was written and not made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsynced {
    /// Of which write, counted from the oldest that was not made durable.
    pub write: usize,
    /// Which sector of the area.
    pub sector: u64,
}

type Watcher = Arc<dyn Fn(Operation) -> io::Result<()> + Send + Sync>;

/// An area in memory. Clones share it.
#[derive(Clone)]
pub struct MemoryArea {
    kept: Arc<Mutex<Kept>>,
}

struct Kept {
    size: u64,
    seen: Bytes,
    durable: Bytes,
    /// Oldest first.
    unsynced: VecDeque<Written>,
    /// Counts the writes.
    writes: u64,
    watcher: Option<Watcher>,
}

impl Debug for MemoryArea {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryArea").field("size", &self.size()).finish_non_exhaustive()
    }
}

impl MemoryArea {
    /// One of zeroes.
    #[must_use]
    pub fn new(size: u64) -> Self {
        let kept = Kept {
            size,
            seen: Bytes::default(),
            durable: Bytes::default(),
            unsynced: VecDeque::new(),
            writes: 0,
            watcher: None,
        };
        Self { kept: Arc::new(Mutex::new(kept)) }
    }

    /// Asks this before everything that is done, without any lock: it may wait, and what it answers
    /// with an error is not done.
    pub fn watch(&self, watcher: impl Fn(Operation) -> io::Result<()> + Send + Sync + 'static) {
        self.kept().watcher = Some(Arc::new(watcher));
    }

    /// Asks nobody any more.
    pub fn unwatch(&self) {
        self.kept().watcher = None;
    }

    /// The power is gone. Of what was not durable, the sectors are kept of which `survives` says so;
    /// it is asked in the order of the writes.
    pub fn power_loss(&self, mut survives: impl FnMut(Unsynced) -> bool) {
        let mut kept = self.kept();
        let mut left = std::mem::take(&mut kept.durable);
        let mut write = 0;
        for written in std::mem::take(&mut kept.unsynced) {
            if written.durable {
                left.apply(&written);
                continue;
            }
            for part in written.sectors() {
                if survives(Unsynced { write, sector: part.offset / SECTOR }) {
                    left.apply(&part);
                }
            }
            write += 1;
        }
        kept.seen = left.clone();
        kept.durable = left;
    }

    /// How many writes are not durable.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.kept().unsynced.iter().filter(|written| !written.durable).count()
    }

    /// Another area that is as this one is now, and nobody watches it.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let kept = self.kept();
        let copy = Kept {
            size: kept.size,
            seen: kept.seen.clone(),
            durable: kept.durable.clone(),
            unsynced: kept.unsynced.clone(),
            writes: kept.writes,
            watcher: None,
        };
        Self { kept: Arc::new(Mutex::new(copy)) }
    }

    /// It is as large as this from now on.
    pub fn resize(&self, size: u64) {
        self.kept().size = size;
    }

    /// Whether the two hold the same bytes; where they differ first otherwise.
    #[must_use]
    pub fn differs(&self, other: &Self) -> Option<u64> {
        let (own, theirs) = (self.kept().seen.clone(), other.kept().seen.clone());
        let mut pages: Vec<u64> = own.0.keys().chain(theirs.0.keys()).copied().collect();
        pages.sort_unstable();
        pages.dedup();
        pages.into_iter().find_map(|page| {
            let (own, theirs) = (own.page(page), theirs.page(page));
            let at = own.iter().zip(theirs.iter()).position(|(own, theirs)| own != theirs)?;
            Some(page * PAGE + at as u64)
        })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, operation: Operation) -> io::Result<()> {
        let watcher = self.kept().watcher.clone();
        watcher.map_or(Ok(()), |watcher| watcher(operation))
    }

    /// The number of the write.
    fn write(&self, offset: u64, what: What) -> io::Result<u64> {
        let mut kept = self.kept();
        kept.writes += 1;
        let written = Written { number: kept.writes, offset, what, durable: false };
        if offset.saturating_add(written.length()) > kept.size {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "beyond the end of the area"));
        }
        kept.seen.apply(&written);
        kept.unsynced.push_back(written);
        Ok(kept.writes)
    }
}

impl Kept {
    /// These writes are durable from now on. They take their turn: what was written before and is not
    /// durable does not come over them.
    fn synced(&mut self, which: impl Fn(u64) -> bool) {
        for written in self.unsynced.iter_mut().filter(|written| which(written.number)) {
            written.durable = true;
        }
        while self.unsynced.front().is_some_and(|written| written.durable) {
            if let Some(written) = self.unsynced.pop_front() {
                self.durable.apply(&written);
            }
        }
    }
}

impl Area for MemoryArea {
    fn place(&self) -> &Path {
        Path::new("memory")
    }

    fn size(&self) -> u64 {
        self.kept().size
    }

    fn measure(&self) -> io::Result<u64> {
        Ok(self.size())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.ask(Operation::Read(offset, bytes.len() as u64))?;
        let kept = self.kept();
        if offset.saturating_add(bytes.len() as u64) > kept.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        kept.seen.read(bytes, offset);
        Ok(())
    }

    fn read_at_nowait(&self, bytes: &mut [u8], offset: u64) -> io::Result<bool> {
        self.read_at(bytes, offset).map(|()| true)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.ask(Operation::Write(offset, bytes.len() as u64))?;
        self.write(offset, What::Bytes(bytes.to_vec())).map(|_| ())
    }

    fn write_durable(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.ask(Operation::Write(offset, bytes.len() as u64))?;
        // It is in the cache, and a power loss can tear it, until the disk has it.
        let number = self.write(offset, What::Bytes(bytes.to_vec()))?;
        self.ask(Operation::Flush)?;
        self.kept().synced(|written| written == number);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let before = self.kept().writes;
        self.ask(Operation::Flush)?;
        self.kept().synced(|written| written <= before);
        Ok(())
    }

    fn trim(&self, offset: u64, length: u64) -> io::Result<()> {
        self.zero(offset, length)
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        self.ask(Operation::Zero(offset, length))?;
        self.write(offset, What::Zeroes(length)).map(|_| ())
    }

    fn write_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        self.zero(offset, length)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn byte(area: &MemoryArea, at: u64) -> u8 {
        let mut byte = [0];
        area.read_at(&mut byte, at).unwrap();
        byte[0]
    }

    #[test]
    fn what_was_not_flushed_is_seen_at_once_and_may_be_lost_sector_by_sector() {
        let area = MemoryArea::new(1 << 20);
        area.write_at(&[1; 1024], 100).unwrap();
        area.flush().unwrap();
        area.write_at(&[2; 1024], 100).unwrap();
        area.write_at(&[3; 8192], 0).unwrap();
        assert_eq!((byte(&area, 100), byte(&area, 8191), area.unsynced()), (3, 3, 2));
        area.power_loss(|at| at.write == 0 && at.sector == 1);
        assert_eq!((byte(&area, 100), byte(&area, 600), byte(&area, 1100), byte(&area, 8000)), (1, 2, 1, 0));
    }

    #[test]
    fn a_durable_write_survives_and_what_was_written_under_it_does_not_come_back() {
        let area = MemoryArea::new(1 << 20);
        area.write_at(&[1; 512], 0).unwrap();
        area.write_durable(&[2; 512], 0).unwrap();
        area.write_at(&[3; 512], 512).unwrap();
        area.power_loss(|at| at.sector == 0);
        assert_eq!((byte(&area, 0), byte(&area, 512)), (2, 0));
    }

    #[test]
    fn a_watcher_can_refuse_and_a_snapshot_has_none() {
        let area = MemoryArea::new(1 << 20);
        area.watch(|operation| match operation {
            Operation::Flush => Err(io::Error::other("no")),
            _ => Ok(()),
        });
        assert!(area.write_durable(&[1], 0).is_err());
        let other = area.snapshot();
        other.flush().unwrap();
        area.power_loss(|_| false);
        assert_eq!((byte(&area, 0), byte(&other, 0)), (0, 1));
        assert_eq!(area.differs(&other), Some(0));
    }
}
