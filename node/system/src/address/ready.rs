//! Waiting for a descriptor to become readable.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

use tokio::io::{Interest, unix::AsyncFd};

/// Registers a duplicate of `fd` with the runtime: readable when `fd` is, whatever happens to `fd`
/// meanwhile.
///
/// # Panics
/// Outside a tokio runtime.
#[allow(unsafe_code)] // tokio cannot know that an OwnedFd keeps its promise
pub(crate) fn readiness(fd: BorrowedFd<'_>) -> io::Result<AsyncFd<OwnedFd>> {
    let duplicate = fd.try_clone_to_owned()?;
    // SAFETY: an OwnedFd is open, and the same, until it is dropped; AsyncFd owns it.
    let ready = unsafe { AsyncFd::register_with_interest(duplicate, Interest::READABLE) };
    Ok(ready?)
}
