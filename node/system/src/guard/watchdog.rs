//! The watchdog device: it resets the machine when nobody pets it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::fd::AsRawFd,
    path::Path,
    time::Duration,
};

/// An open, and so running, watchdog.
#[derive(Debug)]
pub(super) struct Watchdog {
    device: File,
    timeout: Duration,
}

impl Watchdog {
    /// Opens the device and asks for a time-out; the device may choose a longer one.
    pub(super) fn open(path: &Path, wanted: Duration) -> io::Result<Self> {
        let device = OpenOptions::new().write(true).open(path)?;
        let seconds = i32::try_from(wanted.as_millis().div_ceil(1000)).unwrap_or(i32::MAX).max(1);
        let seconds = kernel::set_timeout(device.as_raw_fd(), seconds)?;
        Ok(Self { device, timeout: Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX)) })
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn pet(&mut self) -> io::Result<()> {
        self.device.write_all(b"\0")
    }

    /// The letter that allows a watchdog to be closed without a reset.
    pub(super) fn close(mut self) -> io::Result<()> {
        self.device.write_all(b"V")
    }
}

#[allow(unsafe_code)]
mod kernel {
    use std::{io, os::fd::RawFd};

    nix::ioctl_readwrite!(
        /// `WDIOC_SETTIMEOUT`: takes seconds, answers with the seconds that are used.
        watchdog_set_timeout, b'W', 6, i32
    );

    pub(super) fn set_timeout(device: RawFd, mut seconds: i32) -> io::Result<i32> {
        // SAFETY: the pointer is to an int, as this ioctl wants, and valid for the call.
        unsafe { watchdog_set_timeout(device, &raw mut seconds) }?;
        Ok(seconds)
    }
}
