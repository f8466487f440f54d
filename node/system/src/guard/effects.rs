//! What the guard does: processes, addresses, files. Nothing here decides.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::Path,
    process::{Command, ExitStatus},
    time::Duration,
};

use nix::{
    sys::wait::{WaitPidFlag, WaitStatus, waitpid},
    unistd::Pid,
};
use rustix::process::{Signal, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tasuki_core::{
    config::AtLeaseEnd,
    ids::{BootId, GroupName, ResourceName},
    time::Timestamp,
};

use super::protocol::{self, GUARD_PID_VARIABLE, SOCKET_VARIABLE, ToNode};
use crate::{
    address::{self, HeldAddress},
    clock,
    confinement::{CONFINEMENT_VARIABLE, Cell, Confinement, Part},
    layout::Layout,
    process::{self, ProcessId},
    records::{ExecRecord, Records},
};

/// The guard's hold on this server.
#[derive(Debug)]
pub(super) struct Hands {
    pub(super) layout: Layout,
    pub(super) confinement: Confinement,
    pub(super) boot: BootId,
    node_command: Vec<OsString>,
    node: Option<NodeProcess>,
    lease_file: File,
    programs: Records<ExecRecord>,
    addresses: Records<HeldAddress>,
}

type Name = (GroupName, ResourceName);

#[derive(Debug)]
struct NodeProcess {
    id: ProcessId,
    fd: OwnedFd,
    /// None for the node of a guard before this one.
    socket: Option<OwnedFd>,
}

/// What a file of this boot holds.
#[derive(Debug, Serialize, Deserialize)]
struct OfBoot<T> {
    boot: BootId,
    content: T,
}

/// The lease file has one length, so that one write replaces it.
const LEASE_FILE_LENGTH: usize = 128;

impl Hands {
    pub(super) fn new(
        layout: Layout,
        confinement: Confinement,
        boot: BootId,
        node_command: Vec<OsString>,
    ) -> io::Result<Self> {
        let lease_file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(layout.lease())?;
        let node = read_of_boot::<ProcessId>(&fs::read(layout.node_process()).unwrap_or_default(), &boot)
            .and_then(|id| Some(NodeProcess { id, fd: id.open()?, socket: None }));
        let programs = Records::new(layout.resource_records(), boot.clone());
        let addresses = Records::new(layout.address_records(), boot.clone());
        Ok(Self { layout, confinement, boot, node_command, node, lease_file, programs, addresses })
    }

    /// The lease's end as it was written down in this boot.
    pub(super) fn remembered(&self) -> Option<Timestamp> {
        let mut text = vec![0; LEASE_FILE_LENGTH];
        self.lease_file.read_exact_at(&mut text, 0).ok()?;
        read_of_boot::<Option<Timestamp>>(&text, &self.boot)?
    }

    pub(super) fn remember(&self, end: Option<Timestamp>) -> io::Result<()> {
        let mut text = serde_json::to_vec(&OfBoot { boot: self.boot.clone(), content: end })?;
        text.resize(LEASE_FILE_LENGTH, b' ');
        self.lease_file.write_all_at(&text, 0)
    }

    /// Whether something of this server runs that must not without a lease. When that cannot be found
    /// out, it counts as so.
    pub(super) fn runs(&self) -> bool {
        let left = self.left_at_lease_end();
        let other =
            |group: &GroupName, resource: &ResourceName| !left.contains(&(group.clone(), resource.clone()));
        self.confinement.running().map_or(true, |all| all.keys().any(|(group, name)| other(group, name)))
            || self
                .programs
                .all()
                .map_or(true, |records| records.iter().any(|one| other(&one.group, &one.resource)))
            || self.addresses.all().map_or(true, |records| !records.is_empty())
    }

    /// What a guard left at a lease's end as its records ask: what stands still, and what may run on.
    fn left_at_lease_end(&self) -> BTreeSet<Name> {
        let marked = self.programs.all().unwrap_or_default();
        let marked = marked.into_iter().filter(|record| match record.content.at_lease_end {
            AtLeaseEnd::Stop => false,
            AtLeaseEnd::Freeze => {
                let cell = self.confinement.cell(&record.group, &record.resource, Part::Main);
                cell.is_frozen().unwrap_or(false)
            }
            AtLeaseEnd::RunOn => self.lease_has_ended(),
        });
        marked.map(|record| (record.group, record.resource)).collect()
    }

    fn lease_has_ended(&self) -> bool {
        self.remembered().is_none_or(|end| end <= clock::now())
    }

    pub(super) fn has_node(&self) -> bool {
        self.node.is_some()
    }

    pub(super) fn node_fd(&self) -> Option<BorrowedFd<'_>> {
        self.node.as_ref().map(|node| node.fd.as_fd())
    }

    pub(super) fn node_socket(&self) -> Option<BorrowedFd<'_>> {
        self.node.as_ref()?.socket.as_ref().map(OwnedFd::as_fd)
    }

    /// The node closed its side, or speaks nonsense: nothing more is heard from it.
    pub(super) fn close_socket(&mut self) {
        if let Some(node) = &mut self.node {
            node.socket = None;
        }
    }

    pub(super) fn start_node(
        &mut self,
        lease_end: Option<Timestamp>,
        watchdog: Option<Duration>,
    ) -> io::Result<i32> {
        let (ours, theirs) = protocol::pair()?;
        let (program, arguments) = self.node_command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(theirs);
        command.env(SOCKET_VARIABLE, "0").env(GUARD_PID_VARIABLE, std::process::id().to_string());
        command.env(CONFINEMENT_VARIABLE, self.confinement.name());
        let child = command.spawn()?;
        let missing = || io::Error::other("the node ended at once");
        let id = i32::try_from(child.id()).ok().and_then(ProcessId::of).ok_or_else(missing)?;
        let fd = id.open().ok_or_else(missing)?;
        let text = serde_json::to_vec(&OfBoot { boot: self.boot.clone(), content: id })?;
        // The kernel kills a node whose guard dies; this is for the moment before it asked for that.
        if let Err(error) = fs::write(self.layout.node_process(), text) {
            tracing::warn!(%error, "the node's process number could not be written down");
        }
        let watchdog_ms = watchdog.and_then(|timeout| u64::try_from(timeout.as_millis()).ok());
        protocol::say(&ours, &ToNode::Welcome { lease_end, watchdog_ms })?;
        self.node = Some(NodeProcess { id, fd, socket: Some(ours) });
        Ok(id.pid)
    }

    /// SIGKILL; waits for the end, so that nothing it was about to send leaves after this. At most
    /// half of what is left until the deadline: a node that waits for a disk must not keep the
    /// resources alive.
    pub(super) fn kill_node(&mut self, deadline: Timestamp) {
        let Some(node) = &mut self.node else { return };
        let _ended_meanwhile = pidfd_send_signal(&node.fd, Signal::KILL);
        node.socket = None;
        let patience = deadline.since(clock::now()) / 2;
        let millis = u16::try_from(patience.as_millis()).unwrap_or(u16::MAX);
        if let Ok(fd) = node.fd.try_clone() {
            process::wait_for_an_end(&[fd], millis);
        }
        self.reap();
    }

    /// Kills what runs, drops the addresses, forgets the records. Whether nothing is left but, where
    /// `spare` says so, what its record asks to be frozen or to run on at a lease's end.
    pub(super) fn stop_all(&mut self, with_node: bool, spare: bool, deadline: Timestamp) -> bool {
        let mut outcomes = Outcomes { all_done: true };
        let cells = self.confinement.cells();
        outcomes.take("find what runs", cells.as_ref().map(|_| ()).map_err(|error| error.kind().into()));
        let mut cells = cells.unwrap_or_default();
        let spared = if spare { self.spare(&mut cells, deadline) } else { BTreeSet::new() };
        for cell in &cells {
            outcomes.take("kill what runs", cell.kill());
        }
        let descendants = with_node && self.confinement.is_marked();
        if descendants {
            outcomes.take("kill what lost its mark", self.kill_descendants().map(|_| ()));
        }
        outcomes.take("drop the addresses", self.drop_addresses());
        for cell in &cells {
            let ended = cell.kill_and_wait(deadline).map_err(io::Error::other);
            outcomes.take("see the end of what was killed", ended);
        }
        if with_node && self.node.is_some() {
            self.kill_node(deadline);
            outcomes.all_done &= self.node.is_none();
        }
        if descendants {
            outcomes.all_done &= self.no_descendants(deadline);
        }
        if outcomes.all_done {
            // Last, because these wait for a file system.
            for cell in &cells {
                outcomes.take("remove an empty place", cell.remove());
            }
            let forgotten =
                self.programs.clear_but(|group, name| spared.contains(&(group.clone(), name.clone())));
            outcomes.take("forget what ran", forgotten);
            outcomes.take("forget addresses", self.addresses.clear());
        }
        outcomes.all_done
    }

    /// Freezes what its record asks to be frozen, and takes it out of `cells`, with what may run on.
    /// What does not stand still in time stays among those to be killed.
    fn spare(&self, cells: &mut Vec<Cell>, deadline: Timestamp) -> BTreeSet<Name> {
        // Killing needs the other half.
        let patience = clock::now() + deadline.since(clock::now()) / 2;
        let mut spared = BTreeSet::new();
        if self.confinement.is_marked() {
            return spared;
        }
        cells.retain(|cell| {
            let record = self.programs.read(&cell.group, &cell.resource).ok().flatten();
            let wish = record.map(|record| record.content.at_lease_end).unwrap_or_default();
            let stays = cell.part == Part::Main
                && match wish {
                    AtLeaseEnd::Stop => false,
                    AtLeaseEnd::Freeze => cell.freeze(patience).unwrap_or(false),
                    AtLeaseEnd::RunOn => true,
                };
            if stays {
                spared.insert((cell.group.clone(), cell.resource.clone()));
            }
            !stays
        });
        spared
    }

    fn drop_addresses(&self) -> io::Result<()> {
        let held: Vec<HeldAddress> = self.addresses.all()?.into_iter().map(|record| record.content).collect();
        if held.is_empty() { Ok(()) } else { address::remove_now(&held).map_err(io::Error::other) }
    }

    /// What was being forked or executed at one look is there at the next one.
    fn no_descendants(&self, deadline: Timestamp) -> bool {
        loop {
            match self.kill_descendants() {
                Ok(0) => return true,
                Ok(_) if clock::now() < deadline => process::wait_for_an_end(&[], 1),
                _ => return false,
            }
        }
    }

    /// Without control groups: the guard is the reaper of everything its node ever started, so
    /// whatever wiped its mark is among its descendants. How many there were.
    fn kill_descendants(&self) -> io::Result<usize> {
        let processes = process::all()?;
        let mut found = vec![i32::try_from(std::process::id()).map_err(io::Error::other)?];
        let mut next = 0;
        while let Some(parent) = found.get(next).copied() {
            next += 1;
            for child in processes.iter().filter(|stat| stat.parent == parent) {
                child.id.signal(Signal::KILL);
                found.push(child.id.pid);
            }
        }
        Ok(found.len() - 1)
    }

    /// Collects what has ended; the node's status if it is among them.
    pub(super) fn reap(&mut self) -> Option<String> {
        let mut status = None;
        loop {
            match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if self.is_node(pid) => {
                    status = Some(format!("exit code {code}"));
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) if self.is_node(pid) => {
                    status = Some(format!("killed by {signal}"));
                }
                Ok(WaitStatus::StillAlive) | Err(_) => break,
                Ok(_) => {}
            }
        }
        if self.node.as_ref().is_some_and(|node| node.id.open().is_none()) {
            self.node = None;
            return Some(status.unwrap_or_else(|| "it was another guard's".to_owned()));
        }
        None
    }

    fn is_node(&self, pid: Pid) -> bool {
        self.node.as_ref().is_some_and(|node| node.id.pid == pid.as_raw())
    }

    pub(super) fn tell(&self, message: &ToNode) {
        if let Some(socket) = self.node_socket()
            && let Err(error) = protocol::say(socket, message)
        {
            tracing::warn!(%error, ?message, "the node was not told");
        }
    }

    /// The guard leaves nothing of its own behind.
    pub(super) fn leave(&self) {
        let _another_boot_ignores_it = fs::remove_file(self.layout.node_process());
        self.confinement.remove();
    }
}

/// Goes on after an error, and remembers that there was one.
struct Outcomes {
    all_done: bool,
}

impl Outcomes {
    fn take(&mut self, what: &str, outcome: io::Result<()>) {
        if let Err(error) = outcome {
            tracing::error!(%error, "could not {what}");
            self.all_done = false;
        }
    }
}

fn read_of_boot<T: for<'de> Deserialize<'de>>(text: &[u8], boot: &BootId) -> Option<T> {
    let file: OfBoot<T> = serde_json::from_slice(text).ok()?;
    (file.boot == *boot).then_some(file.content)
}

/// Resets the machine, without stopping anything and without writing caches back. Returns only when
/// neither the kernel's own key nor its call is permitted.
pub(super) fn reset() -> io::Error {
    let asked = ask_for_reset(Path::new("/proc/sysrq-trigger"));
    match nix::sys::reboot::reboot(nix::sys::reboot::RebootMode::RB_AUTOBOOT) {
        Ok(never) => match never {},
        Err(error) => asked.err().unwrap_or_else(|| error.into()),
    }
}

/// The key `b` of the kernel's emergency keyboard: it waits for nothing, also for no hung disk.
fn ask_for_reset(keyboard: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).open(keyboard)?.write_all(b"b")
}

/// Reboots or powers off through the service manager.
pub(super) fn power(verb: &str) -> io::Result<ExitStatus> {
    Command::new("systemctl").arg(verb).status()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The machine that runs the tests stays as it is: only the word is looked at.
    #[test]
    fn a_reset_is_asked_of_the_kernel_with_the_one_key_that_waits_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let keyboard = folder.path().join("sysrq-trigger");
        assert!(ask_for_reset(&keyboard).is_err(), "a kernel without it is noticed");
        fs::write(&keyboard, "").unwrap();
        ask_for_reset(&keyboard).unwrap();
        assert_eq!(fs::read(&keyboard).unwrap(), b"b");
    }
}
