//! What the servers of a cluster in memory share: voting files, and fencing devices.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tasuki_actors::ports::{DiskBeat, FenceOrder, Fencer, VotingFileError, VotingFiles};

use super::power::Power;

/// See the module.
#[derive(Default)]
pub struct Shared {
    /// The fencing devices.
    pub power: Power,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    blocks: BTreeMap<PathBuf, BTreeMap<u32, DiskBeat>>,
    broken: BTreeSet<PathBuf>,
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A voting file fails for everybody, or works again.
    pub(super) fn break_file(&self, file: &Path, broken: bool) {
        let mut inner = self.inner();
        if broken {
            inner.broken.insert(file.to_owned());
        } else {
            inner.broken.remove(file);
        }
    }
}

#[async_trait]
impl VotingFiles for Shared {
    async fn exchange(&self, file: &Path, own: &DiskBeat) -> Result<Vec<DiskBeat>, VotingFileError> {
        let mut inner = self.inner();
        if inner.broken.contains(file) {
            return Err(VotingFileError::Failed(format!("{} does not answer", file.display())));
        }
        let blocks = inner.blocks.entry(file.to_owned()).or_default();
        blocks.insert(own.number, own.clone());
        Ok(blocks.values().filter(|beat| beat.number != own.number).cloned().collect())
    }
}

#[async_trait]
impl Fencer for Shared {
    async fn act(&self, order: &FenceOrder) -> Result<(), String> {
        self.power.act(order).await
    }
}
