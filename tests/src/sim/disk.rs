//! How the disk of a machine behaves: as the faults have set it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tasuki_storage::memory::Pace;

/// A disk's behaviour, shared by whoever spoils it.
#[derive(Clone, Debug, Default)]
pub struct DiskPace(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    sync_millis: AtomicU64,
    full: AtomicBool,
    lies: AtomicBool,
}

impl DiskPace {
    /// A sync takes this long from now on.
    pub fn set_sync(&self, millis: u64) {
        self.0.sync_millis.store(millis, Ordering::Relaxed);
    }

    /// Whether there is space.
    pub fn set_full(&self, full: bool) {
        self.0.full.store(full, Ordering::Relaxed);
    }

    /// Says "synced" before it is so (a planted fault).
    pub fn set_lies(&self, lies: bool) {
        self.0.lies.store(lies, Ordering::Relaxed);
    }
}

impl Pace for DiskPace {
    fn sync(&self) -> Duration {
        Duration::from_millis(self.0.sync_millis.load(Ordering::Relaxed))
    }

    fn space(&self) -> io::Result<()> {
        if self.0.full.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the simulated disk is full"));
        }
        Ok(())
    }

    fn lies(&self) -> bool {
        self.0.lies.load(Ordering::Relaxed)
    }
}
