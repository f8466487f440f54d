//! Telling the kernel that a thread is what disks wait for.
//!
//! `unsafe` here is one `prctl`: no crate that we use has this one as a safe call.

#![allow(unsafe_code)]

/// From `linux/prctl.h`.
const PR_SET_IO_FLUSHER: i32 = 57;

/// This thread answers what the kernel writes back: when it needs memory, the kernel must not wait for
/// that very writing (PR_SET_IO_FLUSHER, Linux 5.6). Needs CAP_SYS_RESOURCE; without it the thread works
/// as any other, and a server whose memory is full of unwritten pages can stall.
pub(crate) fn this_thread_writes_back() {
    // SAFETY: this option takes one number and touches no memory of ours.
    let told = unsafe { nix::libc::prctl(PR_SET_IO_FLUSHER, 1_u64, 0_u64, 0_u64, 0_u64) };
    if told != 0 {
        let error = std::io::Error::last_os_error();
        tracing::debug!(%error, "the kernel was not told that this thread writes back");
    }
}
