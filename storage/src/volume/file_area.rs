//! A block device or a file as an area.
//!
//! Through the kernel's cache, not past it. Measured here with single 4 KiB writes, each flushed: 95 % of
//! the rate of direct I/O; with a flush after 32 writes three times as much; sequential reads come ahead
//! of time; and nothing needs to be aligned. Durable is what `fdatasync` or a write with `RWF_DSYNC` said.
//! A failed one is final: the kernel has dropped what it could not write.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, FileTypeExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{FallocateFlags, FlockOperation, OFlags, fallocate, fdatasync, flock},
    io::{Errno, ReadWriteFlags, preadv2, pwritev2},
};

use super::{
    area::Area,
    error::AreaError,
    layout::{MANAGEMENT_FILE, MANAGEMENT_LEAST},
    occupant::occupants,
    start_writing::start_writing,
};

/// What the kernel can make zeroes of: whole blocks of this size.
const UNIT: u64 = 4096;

/// The most that is written at a time, in bytes. The kernel caches what comes in one write as one piece, and
/// walks through all blocks of a piece at each later write to one of them: after writes of 1 MiB a 4 KiB
/// write took 20 µs here, after writes of 32 KiB 2.7 µs. A first write of 1 MiB takes 40 µs more for it.
const PIECE: usize = 32 << 10;

/// A device or file that this program has for itself.
#[derive(Debug)]
pub struct FileArea {
    file: File,
    path: PathBuf,
    size: AtomicU64,
}

impl FileArea {
    /// Opens a data area. `size` is that of a file; a missing file is made, with its space.
    ///
    /// # Errors
    /// When it is in use, of another size, refused (C5), cannot be opened, or there is no space.
    pub fn data(path: &Path, size: Option<u64>) -> Result<Self, AreaError> {
        if let Some(size) = size {
            make_missing(path, size, |file| space(file, 0, size))?;
        }
        let area = Self::open(path)?;
        let found = area.size();
        match size {
            Some(size) if size != found && !area.is_device() => {
                let expected = format!("its size is configured as {size}");
                Err(AreaError::Size { path: path.to_owned(), found, expected })
            }
            _ if found < UNIT => {
                let expected = format!("a data area has at least {UNIT}");
                Err(AreaError::Size { path: path.to_owned(), found, expected })
            }
            _ => Ok(area),
        }
    }

    /// Opens a management area. A missing file is made.
    ///
    /// # Errors
    /// When it is in use, too small, refused (C5), cannot be opened, or there is no space.
    pub fn management(path: &Path) -> Result<Self, AreaError> {
        make_missing(path, MANAGEMENT_FILE, |file| space(file, 0, MANAGEMENT_FILE))?;
        let area = Self::open(path)?;
        if area.size() < MANAGEMENT_LEAST {
            let expected = format!("a management area has at least {MANAGEMENT_LEAST}");
            return Err(AreaError::Size { path: path.to_owned(), found: area.size(), expected });
        }
        Ok(area)
    }

    /// Opens what is there, for this program alone.
    fn open(path: &Path) -> Result<Self, AreaError> {
        let error = |what| move |error| AreaError::io(what, path, error);
        let kind = fs::metadata(path).map_err(error("open"))?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            let why = "it is neither a file nor a block device".to_owned();
            return Err(AreaError::Refused { path: path.to_owned(), why });
        }
        let occupants = occupants(path);
        if let Some(user) = occupants.iter().find(|occupant| occupant.uses_it()) {
            return Err(AreaError::InUse { path: path.to_owned(), by: user.to_string() });
        }
        if let Some(rule) = occupants.first() {
            return Err(AreaError::Refused { path: path.to_owned(), why: rule.to_string() });
        }
        let in_use = || AreaError::InUse {
            path: path.to_owned(),
            by: "another program has opened it, and did not say who it is".to_owned(),
        };
        let alone = if kind.is_block_device() { OFlags::EXCL } else { OFlags::empty() };
        let flags = i32::try_from((alone | OFlags::NONBLOCK).bits()).unwrap_or_default();
        let file = match OpenOptions::new().read(true).write(true).custom_flags(flags).open(path) {
            Err(busy) if busy.kind() == io::ErrorKind::ResourceBusy => return Err(in_use()),
            other => other.map_err(error("open"))?,
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(in_use()),
            other => other.map_err(|errno| AreaError::io("lock", path, errno.into()))?,
        }
        let area = Self { file, path: path.to_owned(), size: AtomicU64::new(0) };
        area.measure().map_err(error("measure"))?;
        Ok(area)
    }

    /// Makes a file larger, with its space; a device is as large as it is. The size then, in bytes.
    ///
    /// # Errors
    /// When there is no space, or the system refuses. Nothing is ever made smaller.
    pub fn grow(&self, size: u64) -> Result<u64, AreaError> {
        let now = self.measure().map_err(|error| AreaError::io("measure", &self.path, error))?;
        if !self.is_device() && size > now {
            space(&self.file, now, size - now)
                .and_then(|()| self.file.sync_all())
                .map_err(|error| AreaError::io("make larger", &self.path, error))?;
        }
        self.measure().map_err(|error| AreaError::io("measure", &self.path, error))
    }

    /// Whether it is a block device.
    #[must_use]
    pub fn is_device(&self) -> bool {
        self.file.metadata().is_ok_and(|found| found.file_type().is_block_device())
    }

    /// Makes zeroes of whole units with these flags, and of what is before and after by writing.
    fn zeroes(&self, offset: u64, length: u64, flags: &[FallocateFlags]) -> io::Result<()> {
        let end = offset.saturating_add(length);
        if end > self.size() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "beyond the end of the area"));
        }
        let (start, stop) = (offset.next_multiple_of(UNIT), end / UNIT * UNIT);
        if start >= stop {
            return self.write_zeroes(offset, length);
        }
        self.write_zeroes(offset, start - offset)?;
        self.write_zeroes(stop, end - stop)?;
        for flags in flags {
            match fallocate(&self.file, *flags | FallocateFlags::KEEP_SIZE, start, stop - start) {
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {}
                other => return other.map_err(io::Error::from),
            }
        }
        self.write_zeroes(start, stop - start)
    }
}

impl Area for FileArea {
    fn place(&self) -> &Path {
        &self.path
    }

    fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    fn measure(&self) -> io::Result<u64> {
        use std::io::{Seek as _, SeekFrom};
        let size = (&self.file).seek(SeekFrom::End(0))?;
        self.size.store(size, Ordering::Release);
        Ok(size)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    fn read_at_nowait(&self, bytes: &mut [u8], offset: u64) -> io::Result<bool> {
        let wanted = bytes.len();
        match preadv2(&self.file, &mut [io::IoSliceMut::new(bytes)], offset, ReadWriteFlags::NOWAIT) {
            Ok(read) => Ok(read == wanted),
            Err(Errno::AGAIN | Errno::INTR | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.inside(bytes.len(), offset)?;
        let pieces = bytes.chunks(PIECE).zip((offset..).step_by(PIECE));
        pieces.into_iter().try_for_each(|(piece, at)| self.file.write_all_at(piece, at))
    }

    fn start_writing(&self, offset: u64, length: u64) {
        start_writing(&self.file, offset, length);
    }

    fn write_durable(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.inside(bytes.len(), offset)?;
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let at = offset + done as u64;
            match pwritev2(&self.file, &[io::IoSlice::new(rest)], at, ReadWriteFlags::DSYNC) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => done += written,
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                    self.file.write_all_at(rest, at)?;
                    return self.flush();
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        loop {
            match fdatasync(&self.file) {
                Err(Errno::INTR) => {}
                other => return other.map_err(io::Error::from),
            }
        }
    }

    fn trim(&self, offset: u64, length: u64) -> io::Result<()> {
        self.zeroes(offset, length, &[FallocateFlags::PUNCH_HOLE, FallocateFlags::ZERO_RANGE])
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        self.zeroes(offset, length, &[FallocateFlags::ZERO_RANGE])
    }
}

impl FileArea {
    /// A file would grow otherwise.
    fn inside(&self, length: usize, offset: u64) -> io::Result<()> {
        if offset.saturating_add(length as u64) <= self.size() {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "beyond the end of the area"))
    }
}

/// Gives a part of a file its space.
fn space(file: &File, from: u64, length: u64) -> io::Result<()> {
    fallocate(file, FallocateFlags::empty(), from, length).map_err(io::Error::from)
}

/// Makes a file unless something is there. It has its name only once it is whole.
fn make_missing(path: &Path, size: u64, fill: impl FnOnce(&File) -> io::Result<()>) -> Result<(), AreaError> {
    let error = |error| AreaError::io("make", path, error);
    match fs::metadata(path) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
        Err(other) => return Err(error(other)),
        Ok(_) => return Ok(()),
    }
    if path.starts_with("/dev") && !path.starts_with("/dev/shm") {
        return Err(error(io::Error::new(io::ErrorKind::NotFound, "there is no such device")));
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".making");
    let half = PathBuf::from(name);
    let made = (|| {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&half)?;
        fill(&file)?;
        file.set_len(size)?;
        file.sync_all()?;
        fs::rename(&half, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    })();
    made.map_err(|failure| {
        let _it_may_be_gone = fs::remove_file(&half);
        error(failure)
    })
}
