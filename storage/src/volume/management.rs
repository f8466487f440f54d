//! The management area of one copy: superblock, activity log, dirty maps.
//!
//! Everything is double-buffered and carries a checksum: what was being written when the power went is
//! not taken, what was written before is. A call that returned is durable. Once a write has failed,
//! nothing is written any more: what stands there is not known, and so the copy has failed.
//!
//! The three parts have locks of their own: the log never waits for a map.

mod log;
mod maps;
mod open;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use tasuki_core::{ids::Epoch, mirror::handshake::LocalCopy};

pub use self::{
    log::Active,
    maps::{MapFound, MapPage},
};
use super::{
    area::Area,
    block::{AreaId, Head, Kind, seal},
    error::AreaError,
    layout::{self, BLOCK, PEERS},
    superblock::Superblock,
};

/// An open management area. Calls wait for the disk; they may come from any thread.
#[derive(Debug)]
pub struct Management {
    area: Arc<dyn Area>,
    id: AreaId,
    head: Mutex<Numbered>,
    /// The sequence number of the newest log block.
    log: Mutex<u64>,
    maps: Mutex<[maps::Pages; PEERS]>,
    found: Active,
    failed: OnceLock<String>,
}

#[derive(Debug)]
struct Numbered {
    sequence: u64,
    superblock: Superblock,
}

impl Management {
    /// What the superblock says now.
    #[must_use]
    pub fn superblock(&self) -> Superblock {
        lock(&self.head).superblock.clone()
    }

    /// The same, as two copies tell each other of it.
    #[must_use]
    pub fn copy(&self) -> LocalCopy {
        lock(&self.head).superblock.copy()
    }

    /// Changes the superblock; durable when this returns. Nothing is written when nothing changed.
    ///
    /// # Errors
    /// When the area fails; the superblock is as before then, for this program.
    pub fn store(&self, change: impl FnOnce(&mut Superblock)) -> Result<(), AreaError> {
        let mut head = lock(&self.head);
        let mut new = head.superblock.clone();
        change(&mut new);
        if new == head.superblock {
            return Ok(());
        }
        let sequence = head.sequence + 1;
        self.write_superblock(sequence, &new)?;
        *head = Numbered { sequence, superblock: new };
        Ok(())
    }

    /// Keeps an epoch; durable when this returns. An epoch never goes back: an older one changes
    /// nothing (R31).
    ///
    /// # Errors
    /// When the area fails.
    pub fn store_epoch(&self, epoch: Epoch) -> Result<(), AreaError> {
        self.store(|superblock| superblock.epoch = superblock.epoch.max(epoch))
    }

    /// Why nothing is written any more, once a write has failed.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failed.get().map(String::as_str)
    }

    fn write_superblock(&self, sequence: u64, superblock: &Superblock) -> Result<(), AreaError> {
        let payload = serde_json::to_vec(superblock).map_err(|error| self.error("write", error.into()))?;
        let head = self.head_of(Kind::Superblock, sequence, sequence);
        let Some(block) = seal(&head, &payload) else {
            let why = format!("{} bytes do not fit in a superblock", payload.len());
            return Err(self.error("write", io::Error::new(io::ErrorKind::InvalidInput, why)));
        };
        self.writing(|area| area.write_durable(&block, layout::superblock(sequence)))
    }

    fn head_of(&self, kind: Kind, sequence: u64, superblock: u64) -> Head {
        Head { kind, area: self.id, place: 0, number: 0, tenure: 0, sequence, superblock }
    }

    /// Writes, unless a write has failed before.
    fn writing(&self, write: impl FnOnce(&dyn Area) -> io::Result<()>) -> Result<(), AreaError> {
        if let Some(why) = self.failed.get() {
            return Err(self.error("write", io::Error::other(format!("it failed before: {why}"))));
        }
        write(&*self.area).map_err(|error| {
            let _the_first_counts = self.failed.set(error.to_string());
            self.error("write", error)
        })
    }

    fn error(&self, what: &'static str, source: io::Error) -> AreaError {
        AreaError::io(what, self.area.place(), source)
    }
}

fn read(area: &dyn Area, offset: u64) -> Result<Vec<u8>, AreaError> {
    let mut block = vec![0; BLOCK];
    area.read_at(&mut block, offset).map_err(|error| AreaError::io("read", area.place(), error))?;
    Ok(block)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
