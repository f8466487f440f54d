//! The twin of the store that lives in memory, for tests and simulations.
//!
//! A [`MemoryDisk`] outlives the node that uses it: opening it again is a restart in which
//! everything written was also synced, and only the applied state is gone.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    io,
    ops::RangeBounds,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use openraft::{
    OptionalSend, RaftLogReader,
    entry::RaftEntry,
    storage::{IOFlushed, LogState, RaftLogStorage},
};

use crate::{
    StoreError,
    raft_types::{Entry, LogId, Registry, Vote},
    registry::{Flush, Shelf, StateMachine, indexes},
};

/// What a simulated server keeps over a restart. Cheap to clone.
#[derive(Clone)]
pub struct MemoryDisk {
    log: MemoryLog,
    shelf: Shelf,
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self { log: MemoryLog::default(), shelf: Shelf::in_memory() }
    }
}

impl MemoryDisk {
    /// Log and state machine for one run of a node.
    ///
    /// # Errors
    /// When the kept snapshot cannot be read.
    pub fn open(&self) -> Result<(MemoryLog, StateMachine), StoreError> {
        let snapshot = self.shelf.newest()?;
        let machine = StateMachine::new(self.shelf.clone(), snapshot, None, Flush::Inline)?;
        Ok((self.log.clone(), machine))
    }
}

/// The log in memory. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryLog {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    entries: BTreeMap<u64, Entry>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
}

impl MemoryLog {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RaftLogReader<Registry> for MemoryLog {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        Ok(self.kept().entries.range(indexes(&range)).map(|(_, entry)| entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.kept().vote)
    }
}

impl RaftLogStorage<Registry> for MemoryLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Registry>, io::Error> {
        let kept = self.kept();
        let last = kept.entries.values().next_back().map(|entry| entry.log_id);
        Ok(LogState { last_purged_log_id: kept.purged, last_log_id: last.or(kept.purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.kept().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.kept().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.kept().committed)
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Registry>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.kept().entries.extend(entries.into_iter().map(|entry| (entry.index(), entry)));
        flushed.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        self.kept().entries.split_off(&last.map_or(0, |last| last.index + 1));
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let mut kept = self.kept();
        kept.purged = Some(upto);
        kept.entries = kept.entries.split_off(&(upto.index + 1));
        Ok(())
    }
}
