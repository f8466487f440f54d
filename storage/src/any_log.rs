//! One log type for Raft, whatever the log is kept in: the generic Raft is instantiated once.

use std::{fmt::Debug, io, ops::RangeBounds, sync::Arc};

use openraft::{
    OptionalSend, RaftLogReader,
    storage::{IOFlushed, LogState, RaftLogStorage},
};
use tasuki_core::registry::State;
use tokio::sync::watch;

use crate::{
    memory::MemoryLog,
    raft_types::{Entry, LogId, Registry, Vote},
    registry::{LogStore, RegistryStore, StateMachine},
};

/// The log, on a disk or in memory. Cheap to clone.
#[derive(Clone)]
pub enum AnyLog {
    /// In sled.
    Disk(LogStore),
    /// In memory, for simulations.
    Memory(MemoryLog),
}

/// An open store as a node takes it.
pub struct OpenStore {
    /// Log and vote.
    pub log: AnyLog,
    /// What applies the log, and its snapshots.
    pub machine: StateMachine,
    /// The registry as this server has applied it.
    pub state: watch::Receiver<Arc<State>>,
    /// Index of the last applied entry.
    pub applied: watch::Receiver<u64>,
}

impl From<RegistryStore> for OpenStore {
    fn from(store: RegistryStore) -> Self {
        let RegistryStore { log, machine, state, applied, .. } = store;
        Self { log: AnyLog::Disk(log), machine, state, applied }
    }
}

impl RaftLogReader<Registry> for AnyLog {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        match self {
            Self::Disk(log) => log.try_get_log_entries(range).await,
            Self::Memory(log) => log.try_get_log_entries(range).await,
        }
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        match self {
            Self::Disk(log) => log.read_vote().await,
            Self::Memory(log) => log.read_vote().await,
        }
    }
}

impl RaftLogStorage<Registry> for AnyLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Registry>, io::Error> {
        match self {
            Self::Disk(log) => log.get_log_state().await,
            Self::Memory(log) => log.get_log_state().await,
        }
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        match self {
            Self::Disk(log) => log.save_vote(vote).await,
            Self::Memory(log) => log.save_vote(vote).await,
        }
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        match self {
            Self::Disk(log) => log.save_committed(committed).await,
            Self::Memory(log) => log.save_committed(committed).await,
        }
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        match self {
            Self::Disk(log) => log.read_committed().await,
            Self::Memory(log) => log.read_committed().await,
        }
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Registry>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        match self {
            Self::Disk(log) => log.append(entries, flushed).await,
            Self::Memory(log) => log.append(entries, flushed).await,
        }
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        match self {
            Self::Disk(log) => log.truncate_after(last).await,
            Self::Memory(log) => log.truncate_after(last).await,
        }
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        match self {
            Self::Disk(log) => log.purge(upto).await,
            Self::Memory(log) => log.purge(upto).await,
        }
    }
}
