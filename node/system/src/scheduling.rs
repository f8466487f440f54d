//! Priority and locked memory, as far as permitted: so that guard and node run in time on a machine
//! that is busy or short of memory.
//!
//! The guard, one thread that waits for nobody, has real-time priority. The node's threads must not:
//! the store spins on locks that threads of ordinary priority hold, and a real-time thread that
//! spins on every core keeps them from ever letting go. They have a nice value, which Linux compares
//! only within one session where it groups tasks by session (`sched_autogroup`): so the session gets
//! the same, if it is the guard's own.

use std::{fs, io};

use nix::{
    sys::{
        mman::{MlockAllFlags, mlockall},
        resource::{Resource, getrlimit},
    },
    unistd::{geteuid, getpid, getsid},
};
use rustix::process::setpriority_process;

/// 28 times the weight of an ordinary thread.
const THREAD_NICE: i32 = -15;
/// Where the nice value of a process's session is, on kernels that have one.
const SESSION_NICE: &str = "/proc/self/autogroup";

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

/// Asks for a large share of the processor for the session that this process leads: whatever whole
/// sessions run beside it, its threads go first. Programs that are started for resources have sessions
/// of their own. Whoever leads no session (a guard that was started by hand) leaves it as it is.
///
/// # Errors
/// When that is not permitted, or the kernel does not group tasks by session.
pub fn session_in_time() -> io::Result<bool> {
    let leads = getsid(None).is_ok_and(|session| session == getpid());
    if leads {
        fs::write(SESSION_NICE, THREAD_NICE.to_string())?;
    }
    Ok(leads)
}

/// Asks for a process with threads of its own: memory stays where it is once it was touched (a lock
/// on everything would fill every thread's stack). Its threads ask for priority one by one.
#[must_use]
pub fn keep_touched_memory() -> bool {
    use rustix::mm::{MlockAllFlags, mlockall};
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    may_lock() && mlockall(flags).is_ok()
}

/// A large share of the processor for this thread, if permitted; not inherited by threads and
/// children. It goes first when it wakes, and still lets others finish what it waits for.
pub fn thread_in_time() -> bool {
    kernel::schedule(Policy::Ordinary).is_ok() && setpriority_process(None, THREAD_NICE).is_ok()
}

/// Real-time priority for a thread that only watches and shares no lock with others, if permitted.
pub fn watcher_in_time() -> bool {
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
    kernel::schedule(Policy::RoundRobin).is_ok()
}

#[derive(Clone, Copy)]
enum Policy {
    RoundRobin,
    Ordinary,
}

/// The one call that no safe binding offers.
#[allow(unsafe_code)]
mod kernel {
    use nix::{errno::Errno, libc};

    use super::Policy;

    /// Sets this thread's policy, which its children do not inherit, and neither a low nice value.
    pub(super) fn schedule(policy: Policy) -> nix::Result<()> {
        let (policy, priority) = match policy {
            Policy::RoundRobin => (libc::SCHED_RR, 1),
            Policy::Ordinary => (libc::SCHED_OTHER, 0),
        };
        let parameters = libc::sched_param { sched_priority: priority };
        // SAFETY: the pointer is valid for the call, which keeps nothing of it; 0 is this thread.
        let result =
            unsafe { libc::sched_setscheduler(0, policy | libc::SCHED_RESET_ON_FORK, &raw const parameters) };
        Errno::result(result).map(drop)
    }
}
