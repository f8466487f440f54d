//! The last decisions of this server, with their inputs: a ring over two files.
//!
//! One line a record: CRC-32 of the JSON in hexadecimal, a space, the JSON. Records go to
//! `decisions.log`; when that holds as many as should be kept it becomes `decisions.old`, in place
//! of the one before. So between one and two times as many are kept.
//!
//! Nothing is synced, on purpose: these are explanations, the truth is in the registry, and a
//! decision must not wait for a disk. A line torn by a crash is left out when read.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tasuki_core::time::WallTime;

use crate::StoreError;

const CURRENT: &str = "decisions.log";
const BEFORE: &str = "decisions.old";

/// One decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Grows by one with each record of this server; set by [`Decisions::append`].
    pub id: u64,
    /// When, by this server's clock.
    pub at: WallTime,
    /// Which decision: `placement`, `membership`, `recovery`, …
    pub kind: String,
    /// What it was about, as `group/web` or `server/kiki`.
    pub about: String,
    /// What it was computed from, enough to compute it again.
    pub input: serde_json::Value,
    /// What came out, with its reasons.
    pub outcome: serde_json::Value,
}

/// The journal of one server; one opener at a time.
pub struct Decisions {
    dir: PathBuf,
    keep: usize,
    current: File,
    in_current: usize,
    next: u64,
}

impl Decisions {
    /// Opens the journal in `dir`, which is made when missing; keeps at least `keep` records.
    ///
    /// # Errors
    /// [`StoreError::Io`] or [`StoreError::DiskFull`].
    pub fn open(dir: &Path, keep: usize) -> Result<Self, StoreError> {
        fs::create_dir_all(dir).map_err(|e| StoreError::io("make", dir, e))?;
        let path = dir.join(CURRENT);
        let (records, lines) = read(&path)?;
        let last = match records.last() {
            Some(last) => Some(last.id),
            None => read(&dir.join(BEFORE))?.0.last().map(|last| last.id),
        };
        let mut current = open_for_append(&path)?;
        if lines > 0 {
            // Ends a line that a crash has torn; an empty line does no harm.
            current.write_all(b"\n").map_err(|e| StoreError::io("write", &path, e))?;
        }
        Ok(Self {
            dir: dir.to_owned(),
            keep: keep.max(1),
            current,
            in_current: lines,
            next: last.map_or(1, |last| last + 1),
        })
    }

    /// Adds a record and returns the id that it got.
    ///
    /// # Errors
    /// [`StoreError::Io`] or [`StoreError::DiskFull`]; the record is then not kept.
    pub fn append(&mut self, mut decision: Decision) -> Result<u64, StoreError> {
        let path = self.dir.join(CURRENT);
        let failed = |e: io::Error| StoreError::io("write", &path, e);
        if self.in_current >= self.keep {
            fs::rename(&path, self.dir.join(BEFORE)).map_err(failed)?;
            self.current = open_for_append(&path)?;
            self.in_current = 0;
        }
        decision.id = self.next;
        let json = serde_json::to_string(&decision).map_err(|e| failed(e.into()))?;
        // Begins with a line end, so that a record never joins one that was written in part.
        let line = format!("\n{:08x} {json}\n", crc32fast::hash(json.as_bytes()));
        self.current.write_all(line.as_bytes()).map_err(failed)?;
        self.in_current += 1;
        self.next += 1;
        Ok(decision.id)
    }

    /// The last `limit` records, oldest first.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn list(&self, limit: usize) -> Result<Vec<Decision>, StoreError> {
        let mut all: VecDeque<Decision> = read(&self.dir.join(BEFORE))?.0.into();
        all.extend(read(&self.dir.join(CURRENT))?.0);
        all.drain(..all.len().saturating_sub(limit.min(self.keep)));
        Ok(all.into())
    }

    /// One record, while it is kept.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn get(&self, id: u64) -> Result<Option<Decision>, StoreError> {
        for name in [CURRENT, BEFORE] {
            let (records, _) = read(&self.dir.join(name))?;
            if let Some(found) = records.into_iter().find(|record| record.id == id) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

fn open_for_append(path: &Path) -> Result<File, StoreError> {
    File::options().create(true).append(true).open(path).map_err(|e| StoreError::io("open", path, e))
}

/// The whole records of a file, and how many lines it has that are not empty.
fn read(path: &Path) -> Result<(Vec<Decision>, usize), StoreError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(e) => return Err(StoreError::io("read", path, e)),
    };
    let lines = || bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Ok((lines().filter_map(record).collect(), lines().count()))
}

fn record(line: &[u8]) -> Option<Decision> {
    let (crc, json) = (line.get(..8)?, line.get(9..)?);
    let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?, 16).ok()?;
    (crc32fast::hash(json) == crc).then(|| serde_json::from_slice(json).ok())?
}
