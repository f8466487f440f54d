//! The Raft log and the vote, in sled.
//!
//! [`RaftLogStorage::append`] applies one batch, so the entries can be read when it returns, and
//! leaves their completion to the flusher. While the disk's reserve is touched it refuses with
//! [`io::ErrorKind::StorageFull`] before anything is written. A failed sync is reported through
//! `IOFlushed`. Raft goes `Fatal` on either, see the module above for the way on.

use std::{
    fmt::Debug,
    io,
    iter::Peekable,
    ops::{Bound, Range, RangeBounds},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use openraft::{
    OptionalSend, RaftLogReader,
    entry::RaftEntry,
    storage::{IOFlushed, LogState, RaftLogStorage},
};

use super::{engine::Engine, flusher::Flusher, keys, snapshot::Shelf};
use crate::{
    error::from_sled,
    raft_types::{Entry, LogId, Registry, Vote},
};

/// The Raft log in sled. Clones are the readers that replication uses.
#[derive(Clone)]
pub struct LogStore {
    engine: Arc<Engine>,
    flusher: Flusher,
    shelf: Shelf,
    /// What Raft calls purged; older entries may still be there for an older snapshot.
    purged: Arc<Mutex<Option<LogId>>>,
}

impl LogStore {
    pub(crate) fn new(engine: Arc<Engine>, flusher: Flusher, shelf: Shelf, purged: Option<LogId>) -> Self {
        Self { engine, flusher, shelf, purged: Arc::new(Mutex::new(purged)) }
    }

    fn purged(&self) -> MutexGuard<'_, Option<LogId>> {
        self.purged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log_id_at(&self, index: u64) -> io::Result<Option<LogId>> {
        let entry = entries(&self.engine, index..index + 1).next().transpose()?;
        entry.map(|entry| Ok(entry.decode()?.log_id)).transpose()
    }

    fn remove(&self, indexes: Range<u64>) -> io::Result<()> {
        let mut batch = sled::Batch::default();
        for key in self.engine.log.range(keys::key_range(indexes)).keys() {
            batch.remove(key.map_err(|e| self.engine.failed("read", e))?);
        }
        Ok(self.engine.log.apply_batch(batch).map_err(|e| self.engine.failed("write", e))?)
    }
}

impl RaftLogReader<Registry> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let wanted = indexes(&range);
        let first = self.purged().map_or(0, |purged| purged.index + 1);
        let wanted = wanted.start.max(first)..wanted.end;
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        entries(&self.engine, wanted).map(|entry| entry?.decode()).collect()
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        self.engine.read(keys::VOTE_KEY)
    }
}

impl RaftLogStorage<Registry> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Registry>, io::Error> {
        let purged = *self.purged();
        let last = self.engine.log.last().map_err(|e| self.engine.failed("read", e))?;
        let last = last.and_then(|(key, _)| keys::read_key(&key)).map(|(index, _)| index);
        let last = last.filter(|last| purged.is_none_or(|purged| *last > purged.index));
        let last = match last {
            Some(index) => self.log_id_at(index)?,
            None => purged,
        };
        Ok(LogState { last_purged_log_id: purged, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    // R23: on the disk before it is told to anybody.
    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.engine.write(keys::VOTE_KEY, vote)?;
        self.flusher.barrier().await
    }

    // Not synced: what is committed is known again from the leader; this only lets a restarted
    // server apply it before it hears from one.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.engine.write(keys::COMMITTED_KEY, &committed)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.engine.read::<Option<LogId>>(keys::COMMITTED_KEY)?.flatten())
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Registry>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.engine.check_space()?;
        let mut batch = sled::Batch::default();
        for entry in entries {
            let json = serde_json::to_vec(&entry)?;
            let parts = keys::split(entry.index(), &json)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the entry is too large"))?;
            for (key, bytes) in parts {
                batch.insert(&key, bytes);
            }
        }
        self.engine.log.apply_batch(batch).map_err(|e| self.engine.failed("write", e))?;
        self.flusher.complete(flushed)
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        self.remove(last.map_or(0, |last| last.index + 1)..u64::MAX)?;
        self.flusher.barrier().await
    }

    // Entries that the older of the two snapshots needs stay on the disk, so that it can serve
    // when the newer one cannot be read. They stay only if this log really had what was purged:
    // after a snapshot from the leader our own older entries may never have been committed.
    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let own = self.log_id_at(upto.index)? == Some(upto);
        self.engine.write(keys::PURGED_KEY, &Some(upto))?;
        *self.purged() = Some(upto);
        let removable = match own {
            true => self.shelf.older_covers()?.min(upto.index + 1),
            false => upto.index + 1,
        };
        self.remove(0..removable)
    }
}

/// The indexes that a range names.
pub(crate) fn indexes(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end.max(start)
}

/// One entry, joined from its parts and found whole.
pub(crate) struct EntryBytes {
    pub(crate) index: u64,
    pub(crate) json: Vec<u8>,
}

impl EntryBytes {
    fn decode(&self) -> io::Result<Entry> {
        serde_json::from_slice(&self.json).map_err(|e| invalid(self.index, &e.to_string()))
    }
}

/// The entries with these indexes that are there, in order.
pub(crate) fn entries(engine: &Engine, indexes: Range<u64>) -> Entries {
    Entries { parts: engine.log.range(keys::key_range(indexes)).peekable() }
}

pub(crate) struct Entries {
    parts: Peekable<sled::Iter>,
}

impl Iterator for Entries {
    type Item = io::Result<EntryBytes>;

    fn next(&mut self) -> Option<Self::Item> {
        let (key, first) = match self.parts.next()? {
            Ok(part) => part,
            Err(e) => return Some(Err(from_sled(e))),
        };
        let Some((index, part)) = keys::read_key(&key) else {
            return Some(Err(invalid(0, "a key of the log cannot be read")));
        };
        if part != 0 {
            return Some(Err(invalid(index, "its first part is missing")));
        }
        let mut whole = first.to_vec();
        while let Some(Ok((_, bytes))) = self.parts.next_if(|part| match part {
            Ok((key, _)) => keys::read_key(key).is_some_and(|(other, _)| other == index),
            Err(_) => false,
        }) {
            whole.extend_from_slice(&bytes);
        }
        Some(match keys::join(&whole) {
            Ok(json) => Ok(EntryBytes { index, json: json.to_vec() }),
            Err(why) => Err(invalid(index, why)),
        })
    }
}

fn invalid(index: u64, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("log entry {index}: {why}"))
}
