//! Giving a server power, and taking it away: the guard, the node and all programs of a server end
//! at one moment, without a last word. Its addresses and everything that is of one boot go too.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io,
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use tasuki_system::{
    address::{self, HeldAddress},
    clock,
    confinement::Confinement,
    layout::Layout,
    process::{self, ProcessId},
    records::Records,
};

use super::{
    error::LabError,
    state::{Lab, ServerPower},
};
use crate::{app::wall_now, edge::peer::CUTS_VARIABLE};

/// Killed processes that wait for a disk may take a moment.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks for processes.
const BETWEEN_LOOKS_MS: u16 = 1;
/// What the surroundings say about another cluster is not for the lab.
pub(super) const FOREIGN: [&str; 5] =
    ["TASUKI_DATA", "TASUKI_ADDRESS", "TASUKI_IDENTITY", "TASUKI_RUN", "TASUKI_TOKEN"];

/// This program's file, or the one in its place: it may have been built anew since.
pub(super) fn program() -> Result<PathBuf, LabError> {
    let file = std::env::current_exe().map_err(LabError::io("finding this program's file"))?;
    let replaced = file.to_str().and_then(|file| file.strip_suffix(" (deleted)")).map(PathBuf::from);
    Ok(replaced.filter(|_| !file.exists()).unwrap_or(file))
}

/// Starts a server's guard, and writes down that it did.
pub(super) fn on(lab: &mut Lab, server: &str) -> Result<Child, LabError> {
    if lab.is_on(server) {
        return Err(LabError::Already { server: server.to_owned(), is: "on" });
    }
    let failed = |error| LabError::io(format!("starting {server}"))(error);
    let log = OpenOptions::new().create(true).append(true).open(lab.log(server)).map_err(failed)?;
    let mut command = Command::new(program()?);
    for variable in FOREIGN {
        command.env_remove(variable);
    }
    command.arg("guard").arg("--data").arg(lab.data(server)).arg("--no-power");
    command.env(CUTS_VARIABLE, lab.cuts(server)).env("NO_COLOR", "1");
    command.stdin(Stdio::null()).stdout(log.try_clone().map_err(failed)?).stderr(log);
    // The terminal's Ctrl-C is for the lab's own process.
    command.process_group(0);
    let child = command.spawn().map_err(failed)?;
    let guard = i32::try_from(child.id()).ok().and_then(ProcessId::of);
    lab.state.servers.insert(server.to_owned(), ServerPower { guard, since: wall_now() });
    lab.save()?;
    Ok(child)
}

/// Ends everything of a server at once. That it is off already is no error.
pub(super) fn off(lab: &Lab, server: &str) -> Result<(), LabError> {
    let deadline = clock::now() + PATIENCE;
    let mut doomed = Doomed::default();
    let guard = lab.state.servers.get(server).and_then(|power| power.guard);
    let marker = marker(&lab.cuts(server));
    // Twice nothing new is nothing: between a look and its kill there may be children.
    let mut quiet_looks = 0;
    while quiet_looks < 2 {
        let new = doomed.find(guard, &marker).map_err(LabError::io("looking for processes"))?;
        quiet_looks = if new { 0 } else { quiet_looks + 1 };
        doomed.kill();
        // What is just being executed has no environment, and so no marker, at this moment.
        process::wait_for_an_end(&[], BETWEEN_LOOKS_MS);
    }
    let failed = |error: io::Error| LabError::io(format!("ending {server}"))(error);
    let data = lab.data(server);
    if data.exists() {
        let layout = Layout::open(&data, &data.join("run")).map_err(failed)?;
        // Both: one user may have begun what another one ends.
        for confinement in [Confinement::detect(&layout), Confinement::marked(&layout)] {
            for cell in confinement.cells().map_err(failed)? {
                cell.kill_and_wait(deadline).map_err(io::Error::other).map_err(failed)?;
                cell.remove().map_err(failed)?;
            }
            confinement.remove();
            remove_empty_parent(&confinement);
        }
        drop_addresses(&layout).map_err(failed)?;
    }
    let left = doomed.wait(deadline);
    if !left.is_empty() {
        return Err(LabError::StillThere { server: server.to_owned(), pids: left });
    }
    // As if it were of a boot that has ended.
    match fs::remove_dir_all(data.join("run")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

/// What guard and node of one server, and nobody else, have in their environment.
fn marker(cuts: &Path) -> Vec<u8> {
    [CUTS_VARIABLE.as_bytes(), b"=", cuts.as_os_str().as_bytes()].concat()
}

/// The processes of one server, by number.
#[derive(Debug, Default)]
struct Doomed(BTreeMap<i32, ProcessId>);

impl Doomed {
    /// Adds the guard, what has the marker, and all their children; whether there was a new one.
    fn find(&mut self, guard: Option<ProcessId>, marker: &[u8]) -> io::Result<bool> {
        let processes = process::all()?;
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        let before = self.0.len();
        for stat in &processes {
            if Some(stat.id) == guard || has(stat.id.pid, marker) {
                self.0.insert(stat.id.pid, stat.id);
            }
        }
        loop {
            let found = self.0.len();
            for stat in &processes {
                let parent = self.0.get(&stat.parent);
                // A parent's number may have been given to another process since.
                if parent.is_some_and(|parent| parent.start_time <= stat.id.start_time) {
                    self.0.insert(stat.id.pid, stat.id);
                }
            }
            if self.0.len() == found {
                break;
            }
        }
        self.0.remove(&own);
        Ok(self.0.len() > before)
    }

    fn kill(&self) {
        for process in self.0.values() {
            process.signal(Signal::KILL);
        }
    }

    /// Waits for their end; those that are left.
    fn wait(&self, deadline: tasuki_core::time::Timestamp) -> Vec<i32> {
        loop {
            let open: Vec<_> = self.0.values().filter_map(|id| Some((id.pid, id.open()?))).collect();
            if open.is_empty() || clock::now() >= deadline {
                return open.into_iter().map(|(pid, _)| pid).collect();
            }
            let descriptors: Vec<_> = open.into_iter().map(|(_, fd)| fd).collect();
            process::wait_for_an_end(&descriptors, 50);
        }
    }
}

fn has(pid: i32, marker: &[u8]) -> bool {
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|variable| variable == marker))
}

/// The control group that all servers of this machine share, once it is empty.
fn remove_empty_parent(confinement: &Confinement) {
    if !confinement.is_marked()
        && let Some(parent) = Path::new(&confinement.name()).parent()
    {
        let _another_server_uses_it = fs::remove_dir(parent);
    }
}

/// A machine without power has no addresses.
fn drop_addresses(layout: &Layout) -> io::Result<()> {
    let records: Records<HeldAddress> = Records::new(layout.address_records(), clock::boot_id()?);
    let held: Vec<HeldAddress> = records.all()?.into_iter().map(|record| record.content).collect();
    if held.is_empty() { Ok(()) } else { address::remove_now(&held).map_err(io::Error::other) }
}
