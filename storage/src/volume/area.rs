//! A place of bytes.

use std::{fmt::Debug, io, path::Path};

/// Bytes on a disk, or in memory for tests. All calls may come from any thread at any time. What two
/// writes to the same place leave that are under way together is not said: callers exclude that.
pub trait Area: Debug + Send + Sync + 'static {
    /// Where it is, for messages.
    fn place(&self) -> &Path;

    /// Its size in bytes when it was opened, or measured last.
    fn size(&self) -> u64;

    /// Looks how large it is now.
    ///
    /// # Errors
    /// When the system refuses.
    fn measure(&self) -> io::Result<u64>;

    /// Reads all of `bytes` from there.
    ///
    /// # Errors
    /// When the disk fails, or the area ends before.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// As `read_at`, where that needs no wait for the disk. `false`: it would; what is in `bytes` then
    /// means nothing.
    ///
    /// # Errors
    /// As `read_at`.
    fn read_at_nowait(&self, bytes: &mut [u8], offset: u64) -> io::Result<bool> {
        let (_, _) = (bytes, offset);
        Ok(false)
    }

    /// Writes all of `bytes` there. It is seen by reads from now on, and durable after a `flush` that
    /// begins after this returned.
    ///
    /// # Errors
    /// When the disk fails or is full. What is there then is not known.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// What was written there is on its way to the disk from now on, without a wait: a flush soon
    /// afterwards has less to do. Says nothing of what becomes of it; the flush does.
    fn start_writing(&self, offset: u64, length: u64) {
        let (_, _) = (offset, length);
    }

    /// As `write_at`, and durable when it returns. Other writes need not be.
    ///
    /// # Errors
    /// As `write_at` and `flush`.
    fn write_durable(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_at(bytes, offset)?;
        self.flush()
    }

    /// What was written before is durable when this returns.
    ///
    /// # Errors
    /// When the disk fails. What was not durable before may be lost from then on, and a later flush
    /// that goes well says nothing about it: the copy has failed.
    fn flush(&self) -> io::Result<()>;

    /// Gives the space up; it reads as zeroes from then on. Durable as a write is.
    ///
    /// # Errors
    /// As `write_at`.
    fn trim(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Makes it zeroes; its space stays.
    ///
    /// # Errors
    /// As `write_at`.
    fn zero(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Makes it zeroes by writing them, so that later writes there need no new space, and no note of
    /// the file system: on ext4 they are twice as fast.
    ///
    /// # Errors
    /// As `write_at`.
    fn write_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        static ZEROES: [u8; 64 * 1024] = [0; 64 * 1024];
        let mut done = 0;
        while done < length {
            let part = (length - done).min(ZEROES.len() as u64);
            let bytes = usize::try_from(part).ok().and_then(|part| ZEROES.get(..part)).unwrap_or(&ZEROES);
            self.write_at(bytes, offset + done)?;
            done += bytes.len() as u64;
        }
        Ok(())
    }
}

/// What a failure means for who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no space under the area (ENOSPC, EDQUOT).
    NoSpace,
    /// The disk failed.
    Disk,
}

impl Fault {
    /// Which one an error is.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        if crate::error::is_full(error) { Self::NoSpace } else { Self::Disk }
    }
}
