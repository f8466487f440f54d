//! openraft's own storage suite, over the store on disk and over its twin in memory.
#![allow(clippy::unwrap_used)]

use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use tasuki_storage::{
    Flush, OpenOptions,
    memory::{MemoryDisk, MemoryLog},
    open,
    raft_types::Registry,
    registry::{LogStore, StateMachine},
};

struct OnDisk(Flush);

impl StoreBuilder<Registry, LogStore, StateMachine, tempfile::TempDir> for OnDisk {
    async fn build(&self) -> Result<(tempfile::TempDir, LogStore, StateMachine), StorageError<Registry>> {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), &OpenOptions { flush: self.0, ..Default::default() }).unwrap();
        Ok((dir, store.log, store.machine))
    }
}

struct InMemory;

impl StoreBuilder<Registry, MemoryLog, StateMachine> for InMemory {
    async fn build(&self) -> Result<((), MemoryLog, StateMachine), StorageError<Registry>> {
        let (log, machine) = MemoryDisk::default().open().unwrap();
        Ok(((), log, machine))
    }
}

#[tokio::test]
async fn the_store_passes_the_suite_of_openraft() {
    Suite::test_all(OnDisk(Flush::Grouped)).await.unwrap();
}

#[tokio::test]
async fn the_store_with_inline_flush_passes_the_suite_of_openraft() {
    Suite::test_all(OnDisk(Flush::Inline)).await.unwrap();
}

#[tokio::test]
async fn the_twin_in_memory_passes_the_suite_of_openraft() {
    Suite::test_all(InMemory).await.unwrap();
}
