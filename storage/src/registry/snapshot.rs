//! Snapshots in plain files: they are large, and sled does not keep large values over a power
//! loss.
//!
//! ```text
//! magic "TSKSNAP1" (8) | format u32 | length of meta u32 | length of data u64 | CRC-32 u32 | meta | data
//! ```
//!
//! Numbers are little endian; meta is what the snapshot covers, as JSON; data is the state, as
//! JSON, exactly as it goes to another server. A file gets its name only after it is on the disk.
//! The last two are kept: when the newest cannot be read, the one before serves, and the log
//! since then is still there (see `LogStore::purge`).

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::engine::sync_path;
use crate::{StoreError, raft_types::SnapshotMeta};

const MAGIC: &[u8; 8] = b"TSKSNAP1";
const FORMAT: u32 = 1;
const HEADER: usize = 8 + 4 + 4 + 8 + 4;
const KEPT: usize = 2;
const ENDING: &str = "snapshot";

/// A snapshot and what it covers.
#[derive(Clone)]
pub(crate) struct StoredSnapshot {
    pub(crate) meta: SnapshotMeta,
    pub(crate) data: Vec<u8>,
}

impl StoredSnapshot {
    /// How many log entries it stands for.
    fn covers(&self) -> u64 {
        self.meta.last_log_id.map_or(0, |last| last.index + 1)
    }
}

/// Where snapshots are kept.
#[derive(Clone)]
pub(crate) enum Shelf {
    Disk(PathBuf),
    Memory(Arc<Mutex<Option<StoredSnapshot>>>),
}

impl Shelf {
    pub(crate) fn on_disk(dir: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(dir).map_err(|e| StoreError::io("make", dir, e))?;
        for (path, ending) in list(dir)? {
            // What was being written when the process or the power went.
            if ending == "new" {
                fs::remove_file(&path).map_err(|e| StoreError::io("remove", &path, e))?;
            }
        }
        Ok(Self::Disk(dir.to_owned()))
    }

    pub(crate) fn in_memory() -> Self {
        Self::Memory(Arc::default())
    }

    /// The same snapshot on a shelf of its own, where it is in memory; the same folder otherwise.
    pub(crate) fn copied(&self) -> Self {
        match self {
            Self::Disk(dir) => Self::Disk(dir.clone()),
            Self::Memory(kept) => {
                let now = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Self::Memory(Arc::new(Mutex::new(now)))
            }
        }
    }

    /// Keeps a snapshot; it is on the disk when this returns.
    pub(crate) fn put(&self, snapshot: &StoredSnapshot) -> Result<(), StoreError> {
        match self {
            Self::Memory(kept) => {
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(snapshot.clone());
                Ok(())
            }
            Self::Disk(dir) => {
                write(dir, snapshot)?;
                let kept = snapshots(dir)?;
                for (_, path) in kept.iter().rev().skip(KEPT) {
                    fs::remove_file(path).map_err(|e| StoreError::io("remove", path, e))?;
                }
                Ok(())
            }
        }
    }

    /// The newest snapshot that can be read. What cannot be read is put aside as `*.damaged`.
    pub(crate) fn newest(&self) -> Result<Option<StoredSnapshot>, StoreError> {
        let dir = match self {
            Self::Memory(kept) => return Ok(kept.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            Self::Disk(dir) => dir,
        };
        for (_, path) in snapshots(dir)?.into_iter().rev() {
            let bytes = fs::read(&path).map_err(|e| StoreError::io("read", &path, e))?;
            match decode(&bytes) {
                Ok(snapshot) => return Ok(Some(snapshot)),
                Err(Unreadable::Newer(found)) => {
                    return Err(StoreError::NewerFormat { dir: dir.clone(), found, known: FORMAT });
                }
                Err(Unreadable::Damaged(why)) => {
                    tracing::error!(path = %path.display(), why, "TSK-1204: a registry snapshot is damaged");
                    let aside = path.with_extension("damaged");
                    fs::rename(&path, &aside).map_err(|e| StoreError::io("rename", &path, e))?;
                }
            }
        }
        Ok(None)
    }

    /// How many log entries the snapshot before the newest stands for: the log after those must
    /// stay. Zero when there is none.
    pub(crate) fn older_covers(&self) -> Result<u64, StoreError> {
        match self {
            Self::Memory(_) => Ok(u64::MAX),
            Self::Disk(dir) => {
                Ok(snapshots(dir)?.iter().rev().nth(KEPT - 1).map_or(0, |(covers, _)| *covers))
            }
        }
    }
}

fn write(dir: &Path, snapshot: &StoredSnapshot) -> Result<(), StoreError> {
    // Twenty digits hold any u64, so names sort as numbers do.
    let path = dir.join(format!("{:020}.{ENDING}", snapshot.covers()));
    let unfinished = path.with_extension("new");
    let written = encode(snapshot).and_then(|bytes| {
        let mut file = File::create(&unfinished)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        sync_path(dir)
    });
    written.map_err(|e| {
        // Gives its space back; a failure to do so is mended when the store is opened.
        drop(fs::remove_file(&unfinished));
        StoreError::io("write", &path, e)
    })
}

fn encode(snapshot: &StoredSnapshot) -> io::Result<Vec<u8>> {
    let meta = serde_json::to_vec(&snapshot.meta)?;
    let meta_len = u32::try_from(meta.len()).map_err(io::Error::other)?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&meta);
    crc.update(&snapshot.data);
    let mut bytes = Vec::with_capacity(HEADER + meta.len() + snapshot.data.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&meta_len.to_le_bytes());
    bytes.extend_from_slice(&(snapshot.data.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&crc.finalize().to_le_bytes());
    bytes.extend_from_slice(&meta);
    bytes.extend_from_slice(&snapshot.data);
    Ok(bytes)
}

enum Unreadable {
    Newer(u32),
    Damaged(&'static str),
}

fn decode(bytes: &[u8]) -> Result<StoredSnapshot, Unreadable> {
    use Unreadable::Damaged;
    let (header, body) = bytes.split_at_checked(HEADER).ok_or(Damaged("it is shorter than its header"))?;
    if header[..8] != *MAGIC {
        return Err(Damaged("it does not begin like a snapshot"));
    }
    let number = |at: usize, len: usize| {
        header[at..at + len].iter().rev().fold(0u64, |n, byte| n << 8 | u64::from(*byte))
    };
    let format = number(8, 4) as u32;
    if format > FORMAT {
        return Err(Unreadable::Newer(format));
    }
    let (meta_len, data_len) = (number(12, 4), number(16, 8));
    if body.len() as u64 != meta_len.saturating_add(data_len) {
        return Err(Damaged("it is not as long as its header says"));
    }
    if u64::from(crc32fast::hash(body)) != number(24, 4) {
        return Err(Damaged("its checksum does not match"));
    }
    let (meta, data) = body.split_at(meta_len as usize);
    let meta = serde_json::from_slice(meta).map_err(|_| Damaged("what it covers cannot be read"))?;
    Ok(StoredSnapshot { meta, data: data.to_vec() })
}

/// The snapshots in a folder with how many entries each stands for, oldest first.
fn snapshots(dir: &Path) -> Result<Vec<(u64, PathBuf)>, StoreError> {
    let covers = |path: &Path| path.file_stem()?.to_str()?.parse().ok();
    let found = list(dir)?.into_iter().filter(|(_, ending)| ending == ENDING);
    let mut found: Vec<_> = found.filter_map(|(path, _)| Some((covers(&path)?, path))).collect();
    found.sort_unstable();
    Ok(found)
}

fn list(dir: &Path) -> Result<Vec<(PathBuf, String)>, StoreError> {
    let read = || -> io::Result<Vec<(PathBuf, String)>> {
        let ending = |path: &Path| path.extension().unwrap_or_default().to_string_lossy().into_owned();
        fs::read_dir(dir)?.map(|entry| entry.map(|e| (e.path(), ending(&e.path())))).collect()
    };
    read().map_err(|e| StoreError::io("list", dir, e))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn snapshot() -> StoredSnapshot {
        StoredSnapshot { meta: SnapshotMeta::default(), data: b"{\"state\":1}".to_vec() }
    }

    #[test]
    fn no_torn_or_changed_snapshot_is_taken_for_a_whole_one() {
        let bytes = encode(&snapshot()).unwrap();
        assert_eq!(decode(&bytes).ok().unwrap().data, snapshot().data);
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "cut after {len} bytes");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            // Format 0 never was; the lowest bit of the format is the one harmless change.
            assert!(decode(&changed).is_err() || at == 8, "byte {at} changed");
        }
    }

    #[test]
    fn a_newer_snapshot_is_not_called_damaged() {
        let mut bytes = encode(&snapshot()).unwrap();
        bytes[8] = 9;
        assert!(matches!(decode(&bytes), Err(Unreadable::Newer(9))));
    }
}
