//! Waiting for a descriptor of the kernel's without a thread.
//!
//! `unsafe` here is the promise that `AsyncFd` asks for.

#![allow(unsafe_code)]

use std::{io, os::fd::OwnedFd};

use tokio::io::{Interest, unix::AsyncFd};

/// What is waited for: something can be read, or the other end is gone.
pub(crate) const NEWS: Interest = Interest::READABLE.add(Interest::ERROR);

/// A descriptor that is waited for until there is news.
pub(crate) fn readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` names the same open descriptor for as long as it lives, and `AsyncFd` owns it.
    unsafe { AsyncFd::register_with_interest(descriptor, NEWS) }.map_err(io::Error::from)
}
