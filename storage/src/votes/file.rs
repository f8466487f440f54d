//! One voting file, opened by one server. Everything here blocks; [`super::Worker`] gives each file a
//! thread of its own.

use std::{collections::BTreeMap, fs, io::Read as _, path::Path, path::PathBuf};

use serde::{Serialize, de::DeserializeOwned};
use tasuki_core::{ids::Lineage, time::WallTime};

use super::{
    direct::{Direct, mirrored},
    error::VoteError,
    layout::{BLOCK, BLOCKS, FORMAT, FileId, Header, LEAST, beat, register},
    paxos::{Block, Blocks, SLOTS},
    sealed::{Found, Kind, open, seal},
};

/// What a file is, before it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Examined {
    /// Not there; its folder is.
    Absent,
    /// Zeros throughout.
    Blank,
    /// A voting file.
    Voting(Header),
    /// Something else.
    Unknown,
}

/// What may be overwritten by [`create`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// Only what is blank, or not there.
    Blank,
    /// Also a voting file of the same registry, or one that was taken out: what stood there is gone.
    Own,
    /// Anything at all.
    Anything,
}

/// Whom a voting file is made for.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The registry.
    pub lineage: Lineage,
    /// The cluster's name, for people.
    pub cluster: String,
}

/// Looks at a file without changing it.
///
/// # Errors
/// When it cannot be read, is too small, or damaged.
pub fn examine(path: &Path) -> Result<Examined, VoteError> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let folder = path.parent().unwrap_or_else(|| Path::new("/"));
            fs::read_dir(folder).map_err(|source| io_error("open the folder of", path, source))?;
            return Ok(Examined::Absent);
        }
        Err(source) => return Err(io_error("look at", path, source)),
        Ok(_) => {}
    }
    let disk = sized(path)?;
    let all = read(&disk, path, 0, usize::try_from(BLOCKS).unwrap_or_default())?;
    match header(path, &all) {
        Ok(header) => Ok(Examined::Voting(header)),
        Err(VoteError::Blank(_)) if all.iter().all(|byte| *byte == 0) => Ok(Examined::Blank),
        Err(VoteError::Blank(_) | VoteError::Unknown(_)) => Ok(Examined::Unknown),
        Err(other) => Err(other),
    }
}

/// Makes a voting file: all blocks blank, under a new name.
///
/// # Errors
/// When something stands there that may not be overwritten, on a mirrored volume, or when it is too
/// small.
pub fn create(path: &Path, owner: &Owner, now: WallTime, overwrite: Overwrite) -> Result<Header, VoteError> {
    match examine(path) {
        Ok(Examined::Absent) => {
            let make = fs::OpenOptions::new().write(true).create_new(true).open(path);
            let file = make.map_err(|source| io_error("create", path, source))?;
            let zeros = vec![0; usize::try_from(LEAST).unwrap_or_default()];
            let wrote = std::io::Write::write_all(&mut &file, &zeros).and_then(|()| file.sync_all());
            wrote.map_err(|source| io_error("fill", path, source))?;
            let folder = fs::File::open(path.parent().unwrap_or_else(|| Path::new("/")));
            let synced = folder.and_then(|folder| folder.sync_all());
            synced.map_err(|source| io_error("sync the folder of", path, source))?;
        }
        Ok(Examined::Blank) => {}
        _ if overwrite == Overwrite::Anything => {}
        Ok(Examined::Voting(header)) if header.retired || header.lineage == owner.lineage => {
            if overwrite == Overwrite::Blank {
                return Err(VoteError::Replaced(path.to_owned()));
            }
        }
        Ok(Examined::Voting(header)) => return Err(foreign(path, &header)),
        Ok(Examined::Unknown) => return Err(VoteError::Unknown(path.to_owned())),
        Err(error) => return Err(error),
    }
    let disk = sized(path)?;
    if let Some(what) = mirrored(&disk) {
        return Err(VoteError::Mirrored { path: path.to_owned(), what });
    }
    let header = Header {
        lineage: owner.lineage.clone(),
        cluster: owner.cluster.clone(),
        id: new_id(path)?,
        slots: SLOTS,
        created: now,
        retired: false,
    };
    // The header comes last: a file that is half made is none.
    let blank = vec![0; usize::try_from(BLOCKS).unwrap_or_default() * BLOCK];
    disk.write(0, &blank).map_err(|source| io_error("write", path, source))?;
    put_header(&disk, path, &header)?;
    Ok(header)
}

/// Takes a voting file out of use: whoever still has it open is told so.
///
/// # Errors
/// When it is not this registry's, or cannot be written.
pub fn retire(path: &Path, lineage: &Lineage) -> Result<(), VoteError> {
    let disk = sized(path)?;
    let mut found = header(path, &read(&disk, path, 0, 1)?)?;
    if found.lineage != *lineage {
        return Err(foreign(path, &found));
    }
    found.retired = true;
    put_header(&disk, path, &found)
}

/// One voting file, opened by the server of one slot.
#[derive(Debug)]
pub struct VotingFile {
    disk: Direct,
    path: PathBuf,
    header: Header,
    slot: u32,
    beats: BTreeMap<u32, u64>,
    parts: BTreeMap<u32, u64>,
    beat_seq: u64,
    part_seq: u64,
    /// The highest slot in which a beat was found: those above are looked at now and then only.
    reach: u32,
}

/// Slots that are always read: those of a cluster's first stores.
const FIRST_SLOTS: u32 = 8;
/// Exchanges from one look at all slots to the next.
const ALL_SLOTS: u64 = 32;

impl VotingFile {
    /// Opens it, and reads back what this server wrote last.
    ///
    /// # Errors
    /// When it is not a voting file of this registry.
    pub fn open(path: &Path, lineage: &Lineage, slot: u32) -> Result<Self, VoteError> {
        let disk = sized(path)?;
        if let Some(what) = mirrored(&disk) {
            return Err(VoteError::Mirrored { path: path.to_owned(), what });
        }
        let header = header(path, &read(&disk, path, 0, 1)?)?;
        let mut file = Self {
            disk,
            path: path.to_owned(),
            header,
            slot,
            beats: BTreeMap::new(),
            parts: BTreeMap::new(),
            beat_seq: 0,
            part_seq: 0,
            reach: SLOTS,
        };
        file.check_header(lineage)?;
        let own = read(&file.disk, path, beat(slot), 1)?;
        if let Found::Whole { seq, .. } = file.opened(Kind::Beat, slot, &own)? {
            file.beat_seq = seq;
        }
        file.read_parts::<serde_json::Value>()?;
        file.part_seq = file.parts.get(&slot).copied().unwrap_or(0);
        Ok(file)
    }

    /// Its header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Writes the own beat, and reads all others'. Torn, unreadable and stale ones are left out: the
    /// next one comes soon.
    ///
    /// # Errors
    /// When the disk fails, or the file is another one by now.
    pub fn exchange<B: Serialize + DeserializeOwned>(&mut self, own: &B) -> Result<Vec<(u32, B)>, VoteError> {
        self.is_current()?;
        let payload = serde_json::to_vec(own).unwrap_or_default();
        self.beat_seq += 1;
        let block = seal(Kind::Beat, self.header.id, self.slot, self.beat_seq, &payload)?;
        self.write(beat(self.slot), &block)?;
        let all = self.beat_seq.is_multiple_of(ALL_SLOTS) || self.reach == SLOTS;
        let slots = if all { SLOTS } else { self.reach };
        let blocks = read(&self.disk, &self.path, beat(1), usize::try_from(slots).unwrap_or_default())?;
        if all {
            self.reach = self.slot.max(FIRST_SLOTS);
        }
        let mut others = Vec::new();
        for (slot, block) in (1..=slots).zip(blocks.chunks(BLOCK)) {
            let Found::Whole { file, seq, payload } = open(Kind::Beat, slot, block) else { continue };
            self.reach = self.reach.max(slot);
            let newest = self.beats.entry(slot).or_default();
            if slot == self.slot || file != self.header.id || seq < *newest {
                continue;
            }
            *newest = seq;
            if let Ok(beat) = serde_json::from_slice(&payload) {
                others.push((slot, beat));
            }
        }
        Ok(others)
    }

    /// Reads all beats, and writes nothing. Torn and unreadable ones are left out.
    ///
    /// # Errors
    /// When the disk fails, or the file is another one by now.
    pub fn peek<B: DeserializeOwned>(&self) -> Result<(Header, Vec<(u32, B)>), VoteError> {
        self.is_current()?;
        let blocks = read(&self.disk, &self.path, beat(1), usize::try_from(SLOTS).unwrap_or_default())?;
        let mut beats = Vec::new();
        for (slot, block) in (1..=SLOTS).zip(blocks.chunks(BLOCK)) {
            if let Found::Whole { payload, .. } = self.opened(Kind::Beat, slot, block)?
                && let Ok(beat) = serde_json::from_slice(&payload)
            {
                beats.push((slot, beat));
            }
        }
        Ok((self.header.clone(), beats))
    }

    /// Writes the own part of the register if there is one to write, then reads all.
    ///
    /// # Errors
    /// When the disk fails, or what was there before cannot be read: then nothing is known.
    pub fn register<V: Serialize + DeserializeOwned>(
        &mut self,
        own: Option<&Block<V>>,
    ) -> Result<Blocks<V>, VoteError> {
        self.is_current()?;
        if let Some(own) = own {
            let payload = serde_json::to_vec(own).unwrap_or_default();
            let seq = self.part_seq + 1;
            let block = seal(Kind::Register, self.header.id, self.slot, seq, &payload)?;
            self.write(register(self.slot, seq), &block)?;
            self.part_seq = seq;
        }
        self.read_parts()
    }

    fn read_parts<V: DeserializeOwned>(&mut self) -> Result<Blocks<V>, VoteError> {
        let count = usize::try_from(2 * SLOTS).unwrap_or_default();
        let blocks = read(&self.disk, &self.path, register(1, 0), count)?;
        let mut parts = Blocks::new();
        for (slot, pair) in (1..=SLOTS).zip(blocks.chunks(2 * BLOCK)) {
            let mut newest: Option<(u64, Vec<u8>)> = None;
            let (mut blank, mut torn) = (0, 0);
            for block in pair.chunks(BLOCK) {
                match self.opened(Kind::Register, slot, block)? {
                    Found::Whole { seq, payload, .. } => {
                        newest = newest.filter(|(other, _)| *other > seq).or(Some((seq, payload)));
                    }
                    Found::Blank => blank += 1,
                    _ => torn += 1,
                }
            }
            let known = self.parts.get(&slot).copied().unwrap_or(0);
            let seq = newest.as_ref().map_or(0, |(seq, _)| *seq);
            // A torn block is a write that nobody relied on, as long as the one before stands beside
            // it: the very first write has nothing before it.
            if newest.is_none() && (torn == 2 || torn == 1 && blank == 0) {
                return Err(self.damaged(format!("both blocks of slot {slot} are unreadable")));
            }
            if seq < known {
                let what = format!("slot {slot} has sequence {seq}, and had {known}");
                return Err(VoteError::WentBack { path: self.path.clone(), what });
            }
            self.parts.insert(slot, seq);
            if let Some((_, payload)) = newest {
                let part = serde_json::from_slice(&payload);
                parts.insert(slot, part.map_err(|error| self.damaged(format!("slot {slot}: {error}")))?);
            }
        }
        Ok(parts)
    }

    /// A block of this file; what an earlier life of the file left is blank.
    fn opened(&self, kind: Kind, slot: u32, block: &[u8]) -> Result<Found, VoteError> {
        match open(kind, slot, block) {
            Found::Whole { file, .. } if file != self.header.id => Ok(Found::Blank),
            Found::Newer(found) => Err(newer(&self.path, found)),
            Found::Strange => Ok(Found::Torn),
            other => Ok(other),
        }
    }

    /// Whether it still is the file that was opened.
    ///
    /// # Errors
    /// When it is not, or cannot be read.
    pub fn is_current(&self) -> Result<(), VoteError> {
        if !self.disk.is_at(&self.path).map_err(|source| io_error("find", &self.path, source))? {
            return Err(VoteError::Replaced(self.path.clone()));
        }
        let now = header(&self.path, &read(&self.disk, &self.path, 0, 1)?)?;
        if now.retired {
            return Err(VoteError::Retired(self.path.clone()));
        }
        if now == self.header { Ok(()) } else { Err(VoteError::Replaced(self.path.clone())) }
    }

    fn check_header(&self, lineage: &Lineage) -> Result<(), VoteError> {
        if self.header.lineage != *lineage {
            return Err(foreign(&self.path, &self.header));
        }
        if self.header.retired {
            return Err(VoteError::Retired(self.path.clone()));
        }
        Ok(())
    }

    fn write(&self, at: u64, block: &[u8]) -> Result<(), VoteError> {
        self.disk.write(at, block).map_err(|source| io_error("write", &self.path, source))
    }

    fn damaged(&self, what: String) -> VoteError {
        VoteError::Damaged { path: self.path.clone(), what }
    }
}

fn sized(path: &Path) -> Result<Direct, VoteError> {
    let disk = Direct::open(path)?;
    let size = disk.size().map_err(|source| io_error("measure", path, source))?;
    if size < LEAST {
        return Err(VoteError::TooSmall { path: path.to_owned(), size, least: LEAST });
    }
    Ok(disk)
}

fn read(disk: &Direct, path: &Path, from: u64, blocks: usize) -> Result<Vec<u8>, VoteError> {
    disk.read(from, blocks).map_err(|source| io_error("read", path, source))
}

fn header(path: &Path, blocks: &[u8]) -> Result<Header, VoteError> {
    match open(Kind::Header, 0, blocks.get(..BLOCK).unwrap_or_default()) {
        Found::Blank => Err(VoteError::Blank(path.to_owned())),
        Found::Newer(found) => Err(newer(path, found)),
        Found::Strange => Err(VoteError::Unknown(path.to_owned())),
        Found::Torn => {
            Err(VoteError::Damaged { path: path.to_owned(), what: "its header is unreadable".into() })
        }
        Found::Whole { payload, .. } => serde_json::from_slice(&payload)
            .map_err(|error| VoteError::Damaged { path: path.to_owned(), what: error.to_string() }),
    }
}

fn put_header(disk: &Direct, path: &Path, header: &Header) -> Result<(), VoteError> {
    let payload = serde_json::to_vec(header).unwrap_or_default();
    let block = seal(Kind::Header, header.id, 0, 1, &payload)?;
    disk.write(0, &block).map_err(|source| io_error("write", path, source))
}

fn new_id(path: &Path) -> Result<FileId, VoteError> {
    let mut id = [0; 16];
    let random = fs::File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut id));
    random.map_err(|source| io_error("find a name for", path, source))?;
    Ok(FileId(id))
}

fn io_error(what: &'static str, path: &Path, source: std::io::Error) -> VoteError {
    VoteError::Io { what, path: path.to_owned(), source }
}

fn newer(path: &Path, found: u16) -> VoteError {
    VoteError::NewerFormat { path: path.to_owned(), found, known: FORMAT }
}

fn foreign(path: &Path, header: &Header) -> VoteError {
    let (cluster, lineage) = (header.cluster.clone(), header.lineage.to_string());
    VoteError::Foreign { path: path.to_owned(), cluster, lineage }
}

#[cfg(test)]
mod tests;
