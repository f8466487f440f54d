//! The last decisions of this server, with their inputs: a ring over two files.
//!
//! One line a record: CRC-32 of the JSON in hexadecimal, a space, the JSON. Records go to
//! `decisions.log`; when that holds as many as should be kept, or is as large as allowed, it becomes
//! `decisions.old`, in place of the one before. So between one and two times as many are kept, in at
//! most twice the bytes. A record that is too large by itself is kept without its input.
//!
//! Nothing is synced, on purpose: these are explanations, the truth is in the registry, and a
//! decision must not wait for a disk. A line torn by a crash is left out when read.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned, de::IgnoredAny};
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
    /// What it was computed from, enough to compute it again; null when that was not kept.
    pub input: serde_json::Value,
    /// What came out, with its reasons.
    pub outcome: serde_json::Value,
}

/// One decision without its input: what a list needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Its number.
    pub id: u64,
    /// When.
    pub at: WallTime,
    /// Which decision.
    pub kind: String,
    /// What it was about.
    pub about: String,
    /// What came out.
    pub outcome: serde_json::Value,
    /// Its input was kept: it can be computed again.
    pub has_input: bool,
}

/// As in the file; the input is passed over.
#[derive(Deserialize)]
struct Short {
    id: u64,
    at: WallTime,
    kind: String,
    about: String,
    input: Option<IgnoredAny>,
    outcome: serde_json::Value,
}

#[derive(Deserialize)]
struct Id {
    id: u64,
}

/// The journal of one server; one opener at a time, any number of readers beside it.
pub struct Decisions {
    dir: PathBuf,
    keep: usize,
    bytes: u64,
    current: File,
    in_current: usize,
    size: u64,
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
        let (records, lines) = read::<Id>(&path)?;
        let last = match records.last() {
            Some(last) => Some(last.id),
            None => read::<Id>(&dir.join(BEFORE))?.0.last().map(|last| last.id),
        };
        let mut current = open_for_append(&path)?;
        let size = current.metadata().map_err(|e| StoreError::io("read", &path, e))?.len();
        if lines > 0 {
            // Ends a line that a crash has torn; an empty line does no harm.
            current.write_all(b"\n").map_err(|e| StoreError::io("write", &path, e))?;
        }
        Ok(Self {
            dir: dir.to_owned(),
            keep: keep.max(1),
            bytes: u64::MAX,
            current,
            in_current: lines,
            size,
            next: last.map_or(1, |last| last + 1),
        })
    }

    /// Lets neither file become larger than this, even if fewer records are kept then.
    #[must_use]
    pub fn at_most(self, bytes: u64) -> Self {
        Self { bytes, ..self }
    }

    /// Adds a record and returns the id that it got.
    ///
    /// # Errors
    /// [`StoreError::Io`] or [`StoreError::DiskFull`]; the record is then not kept.
    pub fn append(&mut self, mut decision: Decision) -> Result<u64, StoreError> {
        let path = self.dir.join(CURRENT);
        let failed = |e: io::Error| StoreError::io("write", &path, e);
        decision.id = self.next;
        let mut line = line_of(&decision).map_err(failed)?;
        if length(&line) > self.bytes {
            decision.input = serde_json::Value::Null;
            line = line_of(&decision).map_err(failed)?;
        }
        if self.in_current >= self.keep || self.size.saturating_add(length(&line)) > self.bytes {
            fs::rename(&path, self.dir.join(BEFORE)).map_err(failed)?;
            self.current = open_for_append(&path)?;
            (self.in_current, self.size) = (0, 0);
        }
        self.current.write_all(line.as_bytes()).map_err(failed)?;
        self.in_current += 1;
        self.size += length(&line);
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
        find(&self.dir, id)
    }
}

/// The last `limit` records of the journal in `dir` without their inputs, oldest first. Changes
/// nothing, and needs nobody's leave: a record that is being written is left out.
///
/// # Errors
/// When the files cannot be read.
pub fn summaries(dir: &Path, limit: usize) -> Result<Vec<Summary>, StoreError> {
    // The newer file first: what is renamed in between is then seen twice, rather than not at all.
    let newer = read::<Short>(&dir.join(CURRENT))?.0;
    let older = read::<Short>(&dir.join(BEFORE))?.0;
    let mut all: BTreeMap<u64, Short> = older.into_iter().map(|short| (short.id, short)).collect();
    all.extend(newer.into_iter().map(|short| (short.id, short)));
    let left_out = all.len().saturating_sub(limit);
    let kept = all.into_values().skip(left_out);
    Ok(kept
        .map(|Short { id, at, kind, about, input, outcome }| Summary {
            id,
            at,
            kind,
            about,
            outcome,
            has_input: input.is_some(),
        })
        .collect())
}

/// One record of the journal in `dir`, while it is kept; changes nothing.
///
/// # Errors
/// When the files cannot be read.
pub fn find(dir: &Path, id: u64) -> Result<Option<Decision>, StoreError> {
    for name in [CURRENT, BEFORE] {
        // Two steps: inputs are large, and only one of them is asked for.
        let path = dir.join(name);
        for line in lines(&contents(&path)?) {
            if record::<Id>(line).is_some_and(|short| short.id == id) {
                return Ok(record(line));
            }
        }
    }
    Ok(None)
}

fn line_of(decision: &Decision) -> io::Result<String> {
    let json = serde_json::to_string(decision)?;
    // Begins with a line end, so that a record never joins one that was written in part.
    Ok(format!("\n{:08x} {json}\n", crc32fast::hash(json.as_bytes())))
}

fn length(line: &str) -> u64 {
    u64::try_from(line.len()).unwrap_or(u64::MAX)
}

fn open_for_append(path: &Path) -> Result<File, StoreError> {
    File::options().create(true).append(true).open(path).map_err(|e| StoreError::io("open", path, e))
}

/// The whole records of a file, and how many lines it has that are not empty.
fn read<T: DeserializeOwned>(path: &Path) -> Result<(Vec<T>, usize), StoreError> {
    let bytes = contents(path)?;
    Ok((lines(&bytes).filter_map(record).collect(), lines(&bytes).count()))
}

fn contents(path: &Path) -> Result<Vec<u8>, StoreError> {
    match fs::read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|e| StoreError::io("read", path, e)),
    }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

fn record<T: DeserializeOwned>(line: &[u8]) -> Option<T> {
    let (crc, json) = (line.get(..8)?, line.get(9..)?);
    let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?, 16).ok()?;
    (crc32fast::hash(json) == crc).then(|| serde_json::from_slice(json).ok())?
}
