//! Telling the kernel to begin to write a part of a file to its disk.
//!
//! `unsafe` here is one `sync_file_range`: no crate that we use has it as a safe call.

#![allow(unsafe_code)]

use std::{fs::File, os::fd::AsRawFd as _};

/// What was written there is on its way to the disk when this returns; nothing is waited for. Makes
/// nothing durable, and tells of no failure: the flush that follows does both. Where the kernel does not
/// know it, the flush has more to do.
pub(super) fn start_writing(file: &File, offset: u64, length: u64) {
    let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) else { return };
    // SAFETY: the descriptor is open as long as the file is, and the call takes numbers only.
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE);
    }
}
