//! Real-time priority and locked memory, as far as permitted: so that the guard runs in time on a
//! machine that is busy or short of memory.

use nix::{
    sys::{
        mman::{MlockAllFlags, mlockall},
        resource::{Resource, getrlimit},
    },
    unistd::geteuid,
};

/// What was permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Achieved {
    /// `SCHED_RR`; children start with ordinary priority.
    pub real_time: bool,
    /// No page of this process is ever read from disk again.
    pub locked_memory: bool,
}

/// Asks for both; takes what is permitted.
#[must_use]
pub fn prefer_in_time() -> Achieved {
    Achieved { real_time: real_time(), locked_memory: lock_memory() }
}

fn lock_memory() -> bool {
    let unlimited =
        geteuid().is_root() || getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(soft, _)| soft == u64::MAX);
    // With a limit, locking what comes later would make a later allocation fail.
    unlimited && mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE).is_ok()
}

fn real_time() -> bool {
    kernel::round_robin(1).is_ok()
}

/// The one call that no safe binding offers.
#[allow(unsafe_code)]
mod kernel {
    use nix::{errno::Errno, libc};

    /// `SCHED_RR` for this thread, not inherited by children.
    pub(super) fn round_robin(priority: i32) -> nix::Result<()> {
        let parameters = libc::sched_param { sched_priority: priority };
        // SAFETY: the pointer is valid for the call, which keeps nothing of it; 0 is this thread.
        let result = unsafe {
            libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &raw const parameters)
        };
        Errno::result(result).map(drop)
    }
}
