//! What dm-log-writes recorded: every write in the order in which it could count, and every flush.

use std::{
    fs::File,
    io::{self, BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use crate::load::SECTOR;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;

/// One entry. A flush comes before the write in it.
#[derive(Debug)]
pub struct Entry {
    pub offset: u64,
    pub bytes: Vec<u8>,
    /// So many bytes are given up instead.
    pub discards: u64,
    /// What was finished before it is durable.
    pub flush: bool,
    /// The write itself is durable at once.
    pub durable: bool,
}

pub struct Recording {
    log: BufReader<File>,
    left: u64,
    /// Bytes of the log's sectors.
    unit: u64,
}

impl Recording {
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut log = BufReader::with_capacity(1 << 20, File::open(path)?);
        let mut head = [0; SECTOR as usize];
        log.read_exact(&mut head)?;
        let word = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap());
        let (magic, version, left) = (word(0), word(8), word(16));
        let unit = word(24) & u64::from(u32::MAX);
        if (magic, version) != (MAGIC, 1) || unit < SECTOR {
            return Err(io::Error::other(format!("no recording: {magic:x}, version {version}, {unit}")));
        }
        log.seek(SeekFrom::Start(unit))?;
        Ok(Self { log, left, unit })
    }

    fn next_entry(&mut self) -> io::Result<Entry> {
        let mut head = vec![0; usize::try_from(self.unit).unwrap()];
        self.log.read_exact(&mut head)?;
        let word = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap());
        let (sector, sectors, flags) = (word(0), word(8), word(16));
        let length = sectors * self.unit;
        let writes = flags & (DISCARD | MARK) == 0;
        let mut bytes = vec![0; if writes { usize::try_from(length).unwrap() } else { 0 }];
        self.log.read_exact(&mut bytes)?;
        Ok(Entry {
            offset: sector * self.unit,
            bytes,
            discards: if flags & DISCARD != 0 { length } else { 0 },
            flush: flags & FLUSH != 0,
            durable: flags & FUA != 0,
        })
    }
}

impl Iterator for Recording {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        self.left = self.left.checked_sub(1)?;
        Some(self.next_entry().unwrap())
    }
}
