//! The twin of the store that lives in memory, for tests and simulations.
//!
//! A [`MemoryDisk`] outlives the node that uses it. What was written and not yet synced is seen by
//! whoever opens it next, as the page cache is after a killed process, and is gone after
//! [`MemoryDisk::lose_power`]. How long a sync takes, and whether there is space, a [`Pace`] says.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
    io,
    ops::RangeBounds,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use openraft::{
    OptionalSend, RaftLogReader,
    entry::RaftEntry,
    storage::{IOFlushed, LogState, RaftLogStorage},
};

use crate::{
    StoreError,
    any_log::{AnyLog, OpenStore},
    raft_types::{Entry, LogId, Registry, Vote},
    registry::{Flush, Shelf, StateMachine, indexes},
};

/// How a disk in memory behaves.
pub trait Pace: Send + Sync + 'static {
    /// How long the sync that begins now takes.
    fn sync(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether anything can be written now.
    ///
    /// # Errors
    /// Why not.
    fn space(&self) -> io::Result<()> {
        Ok(())
    }

    /// Votes and entries are acknowledged before they are synced: what R23 forbids, for simulations
    /// that must notice it.
    fn lies(&self) -> bool {
        false
    }
}

/// Syncs at once, and is never full.
struct Ideal;

impl Pace for Ideal {}

/// What a simulated server keeps over a restart. Cheap to clone.
#[derive(Clone)]
pub struct MemoryDisk {
    log: MemoryLog,
    shelf: Shelf,
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::paced(Arc::new(Ideal))
    }
}

impl Debug for MemoryDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDisk").finish_non_exhaustive()
    }
}

impl MemoryDisk {
    /// An empty disk that behaves like this.
    #[must_use]
    pub fn paced(pace: Arc<dyn Pace>) -> Self {
        let log = MemoryLog {
            kept: Arc::default(),
            opener: 0,
            openers: Arc::default(),
            syncing: Arc::default(),
            pace,
        };
        Self { log, shelf: Shelf::in_memory() }
    }

    /// Log and state machine for one run of a node. What an earlier opener still has under way has
    /// no effect any more.
    ///
    /// # Errors
    /// When the kept snapshot cannot be read.
    pub fn open(&self) -> Result<(MemoryLog, StateMachine), StoreError> {
        let snapshot = self.shelf.newest()?;
        let machine = StateMachine::new(self.shelf.clone(), snapshot, None, Flush::Inline)?;
        let opener = self.log.openers.fetch_add(1, Ordering::Relaxed) + 1;
        // What is there was written by a process that has ended: the opener syncs it first.
        self.log.kept().unsynced.clear();
        Ok((MemoryLog { opener, ..self.log.clone() }, machine))
    }

    /// As [`MemoryDisk::open`], as a node takes it.
    ///
    /// # Errors
    /// When there should be something and nothing is there (R23), or the snapshot cannot be read.
    pub fn open_store(&self, must_exist: bool) -> Result<OpenStore, StoreError> {
        if must_exist && self.log.kept().vote.is_none() && self.shelf.newest()?.is_none() {
            return Err(StoreError::Lost { dir: "memory".into(), server: "this server".into() });
        }
        let (log, machine) = self.open()?;
        Ok(OpenStore {
            log: AnyLog::Memory(log),
            state: machine.watch(),
            applied: machine.applied(),
            machine,
        })
    }

    /// The machine loses its power: what was not synced is gone, except for the first `survive`
    /// writes, which the disk had got to by itself.
    pub fn lose_power(&self, survive: usize) {
        let mut kept = self.log.kept();
        while kept.unsynced.len() > survive {
            if let Some((_, undo)) = kept.unsynced.pop() {
                kept.undo(undo);
            }
        }
        kept.unsynced.clear();
    }

    /// What a snapshot of the whole machine would keep of it: synced or not, it is on the copy. Who starts
    /// from the copy has a store that went back (R23).
    #[must_use]
    pub fn copied(&self) -> Self {
        let kept = self.log.kept();
        let copy = Kept {
            entries: kept.entries.clone(),
            vote: kept.vote,
            committed: kept.committed,
            purged: kept.purged,
            writes: kept.writes,
            unsynced: Vec::new(),
        };
        let log = MemoryLog {
            kept: Arc::new(Mutex::new(copy)),
            opener: 0,
            openers: Arc::default(),
            syncing: Arc::default(),
            pace: self.log.pace.clone(),
        };
        Self { log, shelf: self.shelf.copied() }
    }

    /// The term and index of an entry of the log, while it is there.
    #[must_use]
    pub fn log_id(&self, index: u64) -> Option<LogId> {
        let kept = self.log.kept();
        let at = kept.entries.get(&index).map(|entry| entry.log_id);
        at.or(kept.purged.filter(|purged| purged.index == index))
    }

    /// The vote, synced or not.
    #[must_use]
    pub fn vote(&self) -> Option<Vote> {
        self.log.kept().vote
    }
}

/// The log in memory. Clones share it.
#[derive(Clone)]
pub struct MemoryLog {
    kept: Arc<Mutex<Kept>>,
    /// Which opening of the disk this is: an older one writes nothing more.
    opener: u64,
    openers: Arc<AtomicU64>,
    /// One sync at a time.
    syncing: Arc<tokio::sync::Mutex<()>>,
    pace: Arc<dyn Pace>,
}

#[derive(Default)]
struct Kept {
    entries: BTreeMap<u64, Entry>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    /// Counts the writes.
    writes: u64,
    /// What takes the writes back that are not synced, oldest first.
    unsynced: Vec<(u64, Undo)>,
}

enum Undo {
    Vote(Option<Vote>),
    /// These indexes were added.
    Append(Vec<u64>),
    /// These entries were removed.
    Truncate(BTreeMap<u64, Entry>),
}

impl Kept {
    fn note(&mut self, undo: Undo) -> u64 {
        self.writes += 1;
        self.unsynced.push((self.writes, undo));
        self.writes
    }

    fn synced(&mut self, upto: u64) {
        self.unsynced.retain(|(write, _)| *write > upto);
    }

    fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Vote(before) => self.vote = before,
            Undo::Append(indexes) => {
                for index in indexes {
                    self.entries.remove(&index);
                }
            }
            Undo::Truncate(entries) => self.entries.extend(entries),
        }
    }
}

impl MemoryLog {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, for a write: not for who opened the disk before somebody else did.
    fn mine(&self) -> io::Result<MutexGuard<'_, Kept>> {
        if self.openers.load(Ordering::Relaxed) == self.opener || self.opener == 0 {
            return Ok(self.kept());
        }
        Err(io::Error::other("the store was opened anew by somebody else"))
    }

    /// Returns once this write, and all before it, are synced.
    async fn sync(&self, write: u64) -> io::Result<()> {
        if self.pace.lies() {
            drop(tokio::spawn(self.clone().really_sync(write)));
            return Ok(());
        }
        self.clone().really_sync(write).await
    }

    async fn really_sync(self, write: u64) -> io::Result<()> {
        let _turn = self.syncing.lock().await;
        let upto = {
            let kept = self.kept();
            if kept.unsynced.first().is_none_or(|(first, _)| *first > write) {
                return Ok(()); // the sync before took it with it
            }
            kept.writes
        };
        let takes = self.pace.sync();
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        self.mine()?.synced(upto);
        Ok(())
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

    // R23: synced before it is told to anybody.
    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let write = {
            let mut kept = self.mine()?;
            let before = kept.vote.replace(*vote);
            kept.note(Undo::Vote(before))
        };
        self.sync(write).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.mine()?.committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        // What is committed is known again from the leader; a power loss may have taken the entry.
        let kept = self.kept();
        let last = kept.entries.keys().next_back().copied().max(kept.purged.map(|purged| purged.index));
        Ok(kept.committed.filter(|committed| last.is_some_and(|last| committed.index <= last)))
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Registry>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.pace.space()?;
        let write = {
            let mut kept = self.mine()?;
            let mut added = Vec::new();
            for entry in entries {
                added.push(entry.index());
                kept.entries.insert(entry.index(), entry);
            }
            kept.note(Undo::Append(added))
        };
        let log = self.clone();
        let sync = async move {
            let synced = log.sync(write).await;
            flushed.io_completed(synced);
        };
        // In a runtime it is done beside what follows, as by the real store's flusher.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(sync)),
            Err(_) => sync.await,
        }
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let write = {
            let mut kept = self.mine()?;
            let removed = kept.entries.split_off(&last.map_or(0, |last| last.index + 1));
            kept.note(Undo::Truncate(removed))
        };
        self.sync(write).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let mut kept = self.mine()?;
        kept.purged = Some(upto);
        kept.entries = kept.entries.split_off(&(upto.index + 1));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use openraft::{storage::RaftLogStorageExt, type_config::TypeConfigExt};

    use super::*;

    struct Slow;

    impl Pace for Slow {
        fn sync(&self) -> Duration {
            Duration::from_millis(20)
        }
    }

    fn entry(index: u64) -> Entry {
        Entry::new(LogId::new(1.into(), index), openraft::EntryPayload::Blank)
    }

    #[tokio::test]
    async fn r23_what_was_not_synced_is_gone_after_a_power_loss_and_what_was_is_not() {
        let disk = MemoryDisk::paced(Arc::new(Slow));
        let (mut log, _machine) = disk.open().unwrap();
        log.blocking_append([entry(0), entry(1)]).await.unwrap();
        let (done, _waiting) = Registry::oneshot();
        log.append([entry(2)], IOFlushed::signal(done)).await.unwrap();
        assert_eq!(log.try_get_log_entries(0..9).await.unwrap().len(), 3, "readable before it is synced");
        disk.lose_power(0);
        let (mut log, _machine) = disk.open().unwrap();
        assert_eq!(log.try_get_log_entries(0..9).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_copy_of_a_disk_goes_its_own_way() {
        let disk = MemoryDisk::default();
        let (mut log, _machine) = disk.open().unwrap();
        log.blocking_append([entry(0)]).await.unwrap();
        let copy = disk.copied();
        log.blocking_append([entry(1)]).await.unwrap();
        copy.lose_power(0);
        let (mut old, _machine) = copy.open().unwrap();
        assert_eq!(old.try_get_log_entries(0..9).await.unwrap().len(), 1);
        assert_eq!(log.try_get_log_entries(0..9).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_killed_process_loses_nothing_and_writes_nothing_more() {
        let disk = MemoryDisk::paced(Arc::new(Slow));
        let (mut before, _machine) = disk.open().unwrap();
        let (done, _waiting) = Registry::oneshot();
        before.append([entry(0)], IOFlushed::signal(done)).await.unwrap();
        let (mut log, _machine) = disk.open().unwrap();
        assert_eq!(log.try_get_log_entries(0..9).await.unwrap().len(), 1);
        assert!(before.save_vote(&Vote::new(7, 1)).await.is_err());
        assert_eq!(log.read_vote().await.unwrap(), None);
    }
}
