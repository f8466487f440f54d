//! io_uring for ublk: commands to its two kinds of files, and the page where the kernel writes what it
//! asks.
//!
//! `unsafe` here: an entry is pushed onto a ring (what it points to must live until it is done), and a
//! page of the kernel's is mapped and read.

#![allow(unsafe_code)]

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    ptr,
};

use io_uring::{IoUring, cqueue, opcode::UringCmd80, squeue::Entry128, types::Fd};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::words::{Control, DESCRIPTOR, Described};

/// A ring for commands of 80 bytes.
pub(super) struct Ring(IoUring<Entry128, cqueue::Entry>);

impl Ring {
    pub(super) fn new(entries: u32) -> io::Result<Self> {
        IoUring::builder().build(entries).map(Self)
    }

    /// A descriptor that can be waited on for what is done.
    pub(super) fn waitable(&self) -> io::Result<OwnedFd> {
        // SAFETY: the ring is open for as long as this borrow lives.
        unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) }.try_clone_to_owned()
    }

    /// Puts an I/O command into the ring: its words are in the entry itself.
    pub(super) fn push(&mut self, file: &File, command: u32, words: [u8; 16], number: u64) -> io::Result<()> {
        let mut all = [0; 80];
        all[..16].copy_from_slice(&words);
        self.push_all(file, command, all, number)
    }

    fn push_all(&mut self, file: &File, command: u32, words: [u8; 80], number: u64) -> io::Result<()> {
        let entry = UringCmd80::new(Fd(file.as_raw_fd()), command).cmd(words).build().user_data(number);
        // SAFETY: a command's words are copied with its entry. What a control command points to outlives
        // it: `control` waits for its end. I/O commands point to nothing.
        let pushed = unsafe { self.0.submission().push(&entry) };
        pushed.map_err(|_| io::Error::other("the ring is full"))
    }

    /// Gives the kernel what was pushed.
    pub(super) fn submit(&mut self) -> io::Result<()> {
        match self.0.submit() {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// What is done: number and result.
    pub(super) fn done(&mut self) -> Vec<(u64, i32)> {
        self.0.completion().map(|entry| (entry.user_data(), entry.result())).collect()
    }
}

/// One control command, with a buffer that the kernel reads or writes.
pub(super) fn control(file: &File, command: u32, mut words: Control, buffer: &mut [u8]) -> io::Result<()> {
    let mut ring = Ring::new(4)?;
    words.length = u16::try_from(buffer.len()).map_err(io::Error::other)?;
    words.address = if buffer.is_empty() { 0 } else { buffer.as_mut_ptr() as u64 };
    let mut all = [0; 80];
    all[..32].copy_from_slice(&words.bytes());
    ring.push_all(file, command, all, 0)?;
    // `buffer` is borrowed until the kernel has answered.
    loop {
        match ring.0.submit_and_wait(1) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other.map(drop)?,
        }
    }
    match ring.done().first() {
        Some((_, result)) if *result < 0 => Err(io::Error::from_raw_os_error(-result)),
        Some(_) => Ok(()),
        None => Err(io::Error::other("the kernel answered nothing")),
    }
}

/// The page where the kernel writes what it asks, one descriptor a tag.
pub(super) struct Descriptors {
    at: *mut u8,
    length: usize,
    tags: u16,
}

// SAFETY: the pages are only read, and belong to whoever has this value.
unsafe impl Send for Descriptors {}

impl Descriptors {
    pub(super) fn map(file: &File, tags: u16) -> io::Result<Self> {
        let length = (usize::from(tags) * DESCRIPTOR).next_multiple_of(4096);
        // SAFETY: a new mapping where the kernel likes it, which nobody else knows.
        let at = unsafe {
            mmap(
                ptr::null_mut(),
                length,
                ProtFlags::READ,
                MapFlags::SHARED | MapFlags::POPULATE,
                file.as_fd(),
                0,
            )
        }?;
        Ok(Self { at: at.cast(), length, tags })
    }

    /// What is asked under a tag. To be read when the kernel has said that it is there.
    pub(super) fn read(&self, tag: u16) -> Option<Described> {
        if tag >= self.tags {
            return None;
        }
        let mut bytes = [0_u8; DESCRIPTOR];
        // SAFETY: the descriptor lies inside the mapping; the kernel does not write it between its word
        // and our answer.
        unsafe {
            ptr::copy_nonoverlapping(
                self.at.add(usize::from(tag) * DESCRIPTOR),
                bytes.as_mut_ptr(),
                DESCRIPTOR,
            )
        };
        Some(Described::read(&bytes))
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        // SAFETY: mapped by us with this length, and read by nobody any more.
        if let Err(error) = unsafe { munmap(self.at.cast(), self.length) } {
            tracing::warn!(%error, "a page of ublk stays mapped");
        }
    }
}
