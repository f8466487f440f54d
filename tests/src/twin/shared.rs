//! What the servers of a cluster in memory share: the tie-break record, voting files, and fencing
//! devices.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tasuki_actors::ports::{
    DiskBeat, FenceOrder, Fencer, RegisterError, RegisterPlace, Swap, TieBreakRegister, VotingFileError,
    VotingFiles,
};
use tasuki_core::membership::tie_break::Record;

/// See the module.
#[derive(Default)]
pub struct Shared {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    record: Option<Record>,
    blocks: BTreeMap<PathBuf, BTreeMap<u32, DiskBeat>>,
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl TieBreakRegister for Shared {
    async fn read(&self, _: &RegisterPlace) -> Result<Option<Record>, RegisterError> {
        Ok(self.inner().record.clone())
    }

    async fn swap(
        &self,
        _: &RegisterPlace,
        from: Option<&Record>,
        to: &Record,
    ) -> Result<Swap, RegisterError> {
        let mut inner = self.inner();
        if inner.record.as_ref() != from {
            return Ok(Swap::Other(inner.record.clone()));
        }
        inner.record = Some(to.clone());
        Ok(Swap::Done)
    }
}

#[async_trait]
impl VotingFiles for Shared {
    async fn exchange(&self, file: &Path, own: &DiskBeat) -> Result<Vec<DiskBeat>, VotingFileError> {
        let mut inner = self.inner();
        let blocks = inner.blocks.entry(file.to_owned()).or_default();
        blocks.insert(own.number, own.clone());
        Ok(blocks.values().filter(|beat| beat.number != own.number).cloned().collect())
    }
}

#[async_trait]
impl Fencer for Shared {
    async fn act(&self, order: &FenceOrder) -> Result<(), String> {
        Err(format!("{} has no device in this cluster", order.target))
    }
}
