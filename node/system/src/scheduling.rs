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

/// Asks for a process with threads of its own: memory stays where it is once it was touched (a lock
/// on everything would fill every thread's stack). Its threads ask for priority one by one.
#[must_use]
pub fn keep_touched_memory() -> bool {
    use rustix::mm::{MlockAllFlags, mlockall};
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    may_lock() && mlockall(flags).is_ok()
}

/// Real-time priority for this thread, if permitted; not inherited by threads and children.
pub fn thread_in_time() -> bool {
    real_time()
}

fn may_lock() -> bool {
    geteuid().is_root() || getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(soft, _)| soft == u64::MAX)
}

fn lock_memory() -> bool {
    // With a limit, locking what comes later would make a later allocation fail.
    may_lock() && mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE).is_ok()
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
