//! Processes of this machine, named so that a later process with the same number is not mistaken
//! for them.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// A process: its number and when it started (clock ticks since boot, `/proc/PID/stat`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number.
    pub pid: i32,
    /// When it started.
    pub start_time: u64,
}

/// What `/proc/PID/stat` says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The process.
    pub id: ProcessId,
    /// Its parent's number.
    pub parent: i32,
    /// Its session.
    pub session: i32,
    /// It has ended and waits to be reaped.
    pub ended: bool,
}

impl ProcessId {
    /// The process that has this number now.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        stat(pid).map(|stat| stat.id)
    }

    /// A descriptor of exactly this process, if it is there and has not ended.
    #[must_use]
    pub fn open(&self) -> Option<OwnedFd> {
        let fd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::NONBLOCK).ok()?;
        // Looked at after opening: from here on the number cannot be given to another process
        // without the descriptor telling them apart.
        let now = stat(self.pid)?;
        (now.id == *self && !now.ended).then_some(fd)
    }

    /// Sends a signal to exactly this process; that it has ended is no error.
    pub fn signal(&self, signal: Signal) {
        if let Some(fd) = self.open() {
            let _ended_meanwhile = pidfd_send_signal(fd, signal);
        }
    }
}

/// Reads one process's stat. `None` when it is gone.
#[must_use]
pub fn stat(pid: i32) -> Option<Stat> {
    parse_stat(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(pid: i32, text: &str) -> Option<Stat> {
    // The command's name stands in brackets and may hold anything, brackets too.
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
    Some(Stat {
        id: ProcessId { pid, start_time: fields.get(19)?.parse().ok()? },
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        // A first thread that has ended is a zombie while others of its process still live.
        ended: match *fields.first()? {
            "Z" => fields.get(17)?.parse::<u32>().ok()? <= 1,
            state => state == "X",
        },
    })
}

/// All processes that have not ended.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn all() -> io::Result<Vec<Stat>> {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        processes.extend(pid.and_then(stat).filter(|stat| !stat.ended));
    }
    Ok(processes)
}

/// Waits until one of the processes ends, at most `millis`.
pub fn wait_for_an_end(processes: &[OwnedFd], millis: u16) {
    let mut waiting: Vec<PollFd<'_>> =
        processes.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
    let _either_way_the_caller_looks = poll(&mut waiting, PollTimeout::from(millis));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_past_any_name() {
        let text = "7 (a) b (c) S 3 7 5 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 10";
        let read = parse_stat(7, text);
        let id = ProcessId { pid: 7, start_time: 4242 };
        assert_eq!(read, Some(Stat { id, parent: 3, session: 5, ended: false }));
    }

    #[test]
    fn a_process_has_ended_only_when_its_last_thread_has() {
        let stat = |state: &str, threads: u32| {
            let text = format!("7 (a) {state} 3 7 5 0 -1 4 1 2 3 4 5 6 7 8 20 0 {threads} 0 4242 9 10");
            parse_stat(7, &text).is_some_and(|stat| stat.ended)
        };
        assert!(stat("Z", 1) && stat("Z", 0) && stat("X", 0));
        assert!(!stat("Z", 2) && !stat("S", 1));
    }

    #[test]
    fn a_number_used_again_is_another_process() {
        let me = i32::try_from(std::process::id()).ok().and_then(ProcessId::of);
        assert!(me.is_some_and(|me| me.open().is_some()));
        let other = me.map(|me| ProcessId { start_time: me.start_time + 1, ..me });
        assert!(other.is_some_and(|other| other.open().is_none()));
    }
}
