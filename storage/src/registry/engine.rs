//! sled, opened with its guards, and held by one process.
//!
//! On Linux sled's own flush ends in `sync_file_range`, which does not reach the disk. So nothing
//! is flushed behind our back (`flush_every_ms(None)`), and each flush of ours is followed by
//! `sync_data` on a descriptor of our own for sled's file.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::watch;

use super::{OpenOptions, keys};
use crate::{
    StoreError,
    error::{from_sled, is_full},
};

/// Between two looks at a lock that another opener holds.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

// The order of the fields is the order of closing: sled, then our lock, then who waits for it.
pub(crate) struct Engine {
    pub(crate) log: sled::Tree,
    pub(crate) meta: sled::Tree,
    pub(crate) db: sled::Db,
    file: File,
    dir: PathBuf,
    reserve: u64,
    _lock: File,
    held: watch::Sender<()>,
}

impl Engine {
    pub(crate) fn open(dir: &Path, options: &OpenOptions) -> Result<Self, StoreError> {
        fs::create_dir_all(dir).map_err(|e| StoreError::io("make", dir, e))?;
        let until = Instant::now() + options.patience;
        let lock = lock(dir, until)?;
        let folder = dir.join("registry.sled");
        check_space(dir, options.reserve / 2).map_err(|e| StoreError::io("open", dir, e))?;
        remove_unfinished(&folder).map_err(|e| StoreError::io("clean", &folder, e))?;
        let db = open_sled(dir, &folder, options.cache, until)?;
        let tree = |name: &str| db.open_tree(name).map_err(|e| StoreError::io("open", &folder, from_sled(e)));
        let (log, meta) = (tree(keys::LOG_TREE)?, tree(keys::META_TREE)?);
        let data = folder.join("db");
        let file = File::options()
            .read(true)
            .write(true)
            .open(&data)
            .map_err(|e| StoreError::io("open", &data, e))?;
        // sled syncs neither what it makes once nor the names of its files. Its own start-up
        // snapshot is a new name at every opening.
        for path in [&folder.join("conf"), &folder.join("blobs"), &folder, dir, parent(dir)] {
            sync_path(path).map_err(|e| StoreError::io("sync", path, e))?;
        }
        let (held, _) = watch::channel(());
        Ok(Self { log, meta, db, file, dir: dir.to_owned(), reserve: options.reserve, _lock: lock, held })
    }

    /// The data folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Closes (its sender goes) when the engine is gone.
    pub(crate) fn held(&self) -> watch::Receiver<()> {
        self.held.subscribe()
    }

    /// Everything written so far is on the disk when this returns.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        let synced = self.db.flush().map_err(from_sled).and_then(|_| self.file.sync_data());
        synced.map_err(|e| StoreError::io("sync", &self.dir, e))
    }

    /// What sled could not do, with the folder and a code.
    pub(crate) fn failed(&self, what: &'static str, error: sled::Error) -> StoreError {
        StoreError::io(what, &self.dir, from_sled(error))
    }

    /// Refuses while the reserve is touched: sled must never meet a full disk in the middle of a
    /// write, and half of the reserve is for opening it again.
    pub(crate) fn check_space(&self) -> io::Result<()> {
        check_space(&self.dir, self.reserve)
    }

    pub(crate) fn read<T: DeserializeOwned>(&self, key: &str) -> io::Result<Option<T>> {
        let Some(json) = self.meta.get(key).map_err(|e| self.failed("read", e))? else { return Ok(None) };
        Ok(Some(serde_json::from_slice(&json)?))
    }

    /// Not on the disk before the next [`Engine::sync`].
    pub(crate) fn write<T: Serialize>(&self, key: &str, value: &T) -> io::Result<()> {
        self.meta.insert(key, serde_json::to_vec(value)?).map_err(|e| self.failed("write", e))?;
        Ok(())
    }
}

/// Waits a moment for an opener that is just closing: its flusher and sled's background tasks end
/// shortly after its last user.
fn lock(dir: &Path, until: Instant) -> Result<File, StoreError> {
    let path = dir.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| StoreError::io("open", &path, e))?;
    loop {
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < until => thread::sleep(LOCK_PAUSE),
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StoreError::InUse { dir: dir.to_owned() }),
            Err(e) => return Err(StoreError::io("lock", &path, e.into())),
        }
    }
}

fn check_space(dir: &Path, reserve: u64) -> io::Result<()> {
    let disk = rustix::fs::statvfs(dir)?;
    if disk.f_bavail.saturating_mul(disk.f_frsize) < reserve {
        return Err(StoreError::DiskFull { dir: dir.to_owned() }.into());
    }
    Ok(())
}

/// sled writes a start-up snapshot when it is opened. One that a kill, a power loss or a full disk
/// left half-written it would take for the newest, and call the whole store corrupt for ever. It
/// is only a shortcut to what sled's log has.
fn remove_unfinished(folder: &Path) -> io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        if path.extension().is_some_and(|ending| ending == "generating") {
            tracing::warn!(path = %path.display(), "removing a start-up snapshot that was not finished");
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn open_sled(dir: &Path, folder: &Path, cache: u64, until: Instant) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new()
        .path(folder)
        .flush_every_ms(None)
        .cache_capacity(cache)
        .mode(sled::Mode::HighThroughput);
    loop {
        let error = match config.open() {
            Ok(db) => return Ok(db),
            Err(sled::Error::Io(e)) => e,
            Err(e) => return Err(StoreError::damaged(dir, e)),
        };
        if !error.to_string().contains("could not acquire lock") {
            return Err(match is_full(&error) {
                true => StoreError::DiskFull { dir: dir.to_owned() },
                false => StoreError::io("open", folder, error),
            });
        }
        if Instant::now() >= until {
            return Err(StoreError::InUse { dir: dir.to_owned() });
        }
        thread::sleep(LOCK_PAUSE);
    }
}

fn parent(dir: &Path) -> &Path {
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Syncs a file or the names in a folder.
pub(crate) fn sync_path(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
