//! Processes found by a mark in their environment, and through those by parent and session.

use std::{
    collections::BTreeSet,
    fs, io,
    sync::{Arc, Mutex, PoisonError},
};

use rustix::process::Signal;
use tasuki_core::time::Timestamp;

use super::{MARK, millis_left};
use crate::process::{self, ProcessId, Stat};

/// Between two looks that find nothing.
const BETWEEN_LOOKS_MS: u16 = 1;

/// Finds the processes of one resource.
#[derive(Clone, Debug)]
pub(super) struct Tracker {
    mark: String,
    /// Sessions led by a process that was found once: what wiped its environment and lost its
    /// parent is still in one of these.
    sessions: Arc<Mutex<BTreeSet<i32>>>,
}

impl Tracker {
    pub(super) fn new(mark: String) -> Self {
        Self { mark, sessions: Arc::default() }
    }

    /// A session that is this resource's, whether its leader still lives or not: a process that is
    /// just being executed has no environment for a moment, and so no mark.
    pub(super) fn know_session(&self, leader: ProcessId) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(leader.pid);
    }

    pub(super) fn members(&self) -> io::Result<Vec<ProcessId>> {
        let processes = process::all()?;
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: BTreeSet<i32> = processes
            .iter()
            .filter(|stat| mark_of(stat.id.pid).as_deref() == Some(self.mark.as_str()))
            .map(|stat| stat.id.pid)
            .collect();
        loop {
            let before = found.len();
            // Only a session whose leader is one of them is theirs: before its setsid a child is
            // still in the node's session, or in that of an operator's shell.
            sessions.extend(
                processes
                    .iter()
                    .filter(|stat| stat.session == stat.id.pid && found.contains(&stat.id.pid))
                    .map(|stat| stat.session),
            );
            let near = |stat: &&Stat| found.contains(&stat.parent) || sessions.contains(&stat.session);
            let more: Vec<i32> = processes.iter().filter(near).map(|stat| stat.id.pid).collect();
            found.extend(more);
            if found.len() == before {
                break;
            }
        }
        let other = |pid: i32| mark_of(pid).is_some_and(|mark| mark != self.mark);
        Ok(processes
            .iter()
            .map(|stat| stat.id)
            .filter(|id| found.contains(&id.pid) && !other(id.pid))
            .collect())
    }

    pub(super) fn kill(&self) -> io::Result<()> {
        for member in self.members()? {
            member.signal(Signal::KILL);
        }
        Ok(())
    }

    /// Looks again and again, because what runs can have children between two looks; twice
    /// nothing is nothing.
    pub(super) fn wait_until_empty(&self, deadline: Timestamp, kill: bool) -> io::Result<bool> {
        let mut empty_looks = 0;
        loop {
            let members = self.members()?;
            if members.is_empty() {
                empty_looks += 1;
                if empty_looks == 2 {
                    return Ok(true);
                }
                // What is just being executed has no mark at this moment.
                process::wait_for_an_end(&[], BETWEEN_LOOKS_MS);
                continue;
            }
            empty_looks = 0;
            let open: Vec<_> = members.iter().filter_map(ProcessId::open).collect();
            if kill {
                for member in &members {
                    member.signal(Signal::KILL);
                }
            }
            let Some(millis) = millis_left(deadline) else { return Ok(false) };
            process::wait_for_an_end(&open, millis.min(20));
        }
    }
}

/// The names (as of control groups) of this server's resources of which something runs.
pub(super) fn names(instance: &str) -> io::Result<Vec<String>> {
    let prefix = format!("{instance}/");
    let names: BTreeSet<String> = process::all()?
        .iter()
        .filter_map(|stat| mark_of(stat.id.pid))
        .filter_map(|mark| Some(mark.strip_prefix(&prefix)?.replace('/', ".")))
        .collect();
    Ok(names.into_iter().collect())
}

fn mark_of(pid: i32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment.split(|byte| *byte == 0).find_map(|variable| {
        let variable = std::str::from_utf8(variable).ok()?;
        Some(variable.strip_prefix(MARK)?.strip_prefix('=')?.to_owned())
    })
}
