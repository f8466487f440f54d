//! Waiting in the runtime for a descriptor.
#![allow(unsafe_code)] // tokio offers it only with a promise about the descriptor

use std::{io, os::fd::OwnedFd};

use tokio::io::{Interest, unix::AsyncFd};

/// Registers a descriptor with the runtime.
pub(crate) fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is valid and stays the same descriptor until it is dropped, and the
    // `AsyncFd` owns it until then.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(io::Error::from)
}

/// Registers a descriptor with the runtime for both directions. It must not block.
///
/// # Errors
/// When the kernel cannot wait for such a file.
pub fn both_ways(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: as above.
    unsafe { AsyncFd::register(fd) }.map_err(io::Error::from)
}
