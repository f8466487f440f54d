//! Reading and writing past the cache: another server's write must be seen, and the own one must be
//! on the disk when it counts (R18).

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use rustix::fs::{Advice, OFlags, fadvise};

use super::{error::VoteError, layout::BLOCK};

/// An open device or file. All offsets and lengths are in blocks.
#[derive(Debug)]
pub struct Direct {
    file: File,
    /// The file system takes no direct I/O: written through, and dropped from the cache instead.
    cached: bool,
}

impl Direct {
    /// Opens it for reading and writing.
    ///
    /// # Errors
    /// When it cannot be opened, or is a folder, for example.
    pub fn open(path: &Path) -> Result<Self, VoteError> {
        let io = |what, source| VoteError::Io { what, path: path.to_owned(), source };
        let flags = |flags: OFlags| i32::try_from(flags.bits()).unwrap_or_default();
        let with = |flags: i32| OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
        let direct = flags(OFlags::DIRECT | OFlags::DSYNC);
        let (file, cached) = match with(direct) {
            Ok(file) => (file, false),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                tracing::warn!(
                    file = %path.display(),
                    "the file system takes no direct I/O: what this server reads may come from its cache"
                );
                (with(flags(OFlags::DSYNC)).map_err(|error| io("open", error))?, true)
            }
            Err(error) => return Err(io("open", error)),
        };
        let kind = file.metadata().map_err(|error| io("look at", error))?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(VoteError::NoFile(path.to_owned()));
        }
        Ok(Self { file, cached })
    }

    /// Bytes.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn size(&self) -> io::Result<u64> {
        use std::io::{Seek as _, SeekFrom};
        (&self.file).seek(SeekFrom::End(0))
    }

    /// The device that it is, or lies on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn device(&self) -> io::Result<(u32, u32)> {
        let found = self.file.metadata()?;
        let device = if found.file_type().is_block_device() { found.rdev() } else { found.dev() };
        Ok((rustix::fs::major(device), rustix::fs::minor(device)))
    }

    /// Whether the path still leads here: a file that was deleted can be read by whoever has it open,
    /// and by nobody else.
    ///
    /// # Errors
    /// When the system refuses, or nothing is there.
    pub fn is_at(&self, path: &Path) -> io::Result<bool> {
        let (open, there) = (self.file.metadata()?, std::fs::metadata(path)?);
        Ok(if open.file_type().is_block_device() {
            there.rdev() == open.rdev()
        } else {
            (there.dev(), there.ino()) == (open.dev(), open.ino())
        })
    }

    /// Reads so many blocks.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn read(&self, from: u64, blocks: usize) -> io::Result<Vec<u8>> {
        let (at, length) = (from * BLOCK as u64, blocks * BLOCK);
        if self.cached {
            let length = std::num::NonZeroU64::new(u64::try_from(length).unwrap_or(u64::MAX));
            fadvise(&self.file, at, length, Advice::DontNeed)?;
        }
        let mut room = vec![0; length + BLOCK];
        let start = room.as_ptr().align_offset(BLOCK).min(BLOCK);
        let aligned = room.get_mut(start..start + length).unwrap_or_default();
        self.file.read_exact_at(aligned, at)?;
        Ok(aligned.to_vec())
    }

    /// Writes whole blocks; they are on the disk when this returns.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn write(&self, to: u64, bytes: &[u8]) -> io::Result<()> {
        let mut room = vec![0; bytes.len() + BLOCK];
        let start = room.as_ptr().align_offset(BLOCK).min(BLOCK);
        let aligned = room.get_mut(start..start + bytes.len()).unwrap_or_default();
        aligned.copy_from_slice(bytes);
        self.file.write_all_at(aligned, to * BLOCK as u64)
    }
}

/// Whether it lies on a mirror whose halves can differ, and on which (R18).
#[must_use]
pub fn mirrored(direct: &Direct) -> Option<String> {
    let (major, minor) = direct.device().ok()?;
    mirrored_below(Path::new(&format!("/sys/dev/block/{major}:{minor}")), 8)
}

fn mirrored_below(block: &Path, depth: u8) -> Option<String> {
    let place = std::fs::canonicalize(block).ok()?;
    let name = place.file_name()?.to_string_lossy().into_owned();
    if name.starts_with("drbd") {
        return Some(format!("{name}, DRBD"));
    }
    let level = std::fs::read_to_string(place.join("md/level")).unwrap_or_default();
    if matches!(level.trim(), "raid1" | "raid10") {
        return Some(format!("{name}, {}", level.trim()));
    }
    if depth == 0 {
        return None;
    }
    let slaves = std::fs::read_dir(place.join("slaves")).into_iter().flatten().flatten();
    let below = slaves.map(|slave| slave.path()).find_map(|slave| mirrored_below(&slave, depth - 1));
    let partition = || place.join("partition").exists().then(|| place.parent()).flatten();
    below.or_else(|| mirrored_below(partition()?, depth - 1))
}
