//! Where a resource's processes live, so that all of them can be found and killed, also those
//! that made themselves daemons.
//!
//! With control groups (version 2) each resource has one of its own, and the kernel keeps count.
//! Without them, or without the permission, processes carry a mark in their environment; those
//! that wiped it are found through their parents and sessions. The guard is the reaper of all of
//! them (child subreaper), so none can leave its tree.

mod cgroup;
mod marked;

use std::{collections::BTreeMap, io, time::Duration};

use tasuki_core::{
    ids::{GroupName, ResourceName},
    time::Timestamp,
};

use crate::{clock, layout::Layout, process::ProcessId, records};

/// The environment variable that names the resource a process belongs to.
pub const MARK: &str = "TASUKI_RESOURCE";
/// The environment variable by which the guard tells its node which confinement it uses.
pub const CONFINEMENT_VARIABLE: &str = "TASUKI_CONFINEMENT";
const PROCESSES: &str = "processes";

/// Whether this machine's kernel can freeze what runs, for who asks before anything does.
#[must_use]
pub fn machine_can_freeze() -> bool {
    cgroup::machine_can_freeze()
}

/// Which of a resource's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// What its start command started.
    Main,
    /// Its stop command: kept apart, so that it is not counted as the resource.
    Stop,
}

/// How resources of one server are confined.
#[derive(Clone, Debug)]
pub struct Confinement {
    instance: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Cgroup(cgroup::Root),
    Marked,
}

impl Confinement {
    /// Control groups where they can be used, marked processes otherwise.
    #[must_use]
    pub fn detect(layout: &Layout) -> Self {
        let kind = cgroup::Root::find(layout.instance()).map_or(Kind::Marked, Kind::Cgroup);
        Self { instance: layout.instance().to_owned(), kind }
    }

    /// Marked processes, whatever the kernel offers.
    #[must_use]
    pub fn marked(layout: &Layout) -> Self {
        Self { instance: layout.instance().to_owned(), kind: Kind::Marked }
    }

    /// The one whose [`name`](Self::name) the guard gave to its node; detected without a guard.
    #[must_use]
    pub fn inherited(layout: &Layout) -> Self {
        match std::env::var(CONFINEMENT_VARIABLE) {
            Ok(name) if name == PROCESSES => Self::marked(layout),
            Ok(path) => Self {
                instance: layout.instance().to_owned(),
                kind: Kind::Cgroup(cgroup::Root::at(path.into())),
            },
            Err(_) => Self::detect(layout),
        }
    }

    /// The control group of this server, or `processes`.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.kind {
            Kind::Cgroup(root) => root.path().display().to_string(),
            Kind::Marked => PROCESSES.to_owned(),
        }
    }

    /// Without control groups.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        matches!(self.kind, Kind::Marked)
    }

    /// Whether what runs can be frozen: control groups of a kernel that has the freezer.
    #[must_use]
    pub fn can_freeze(&self) -> bool {
        match &self.kind {
            Kind::Cgroup(root) => cgroup::can_freeze(root.path()),
            Kind::Marked => false,
        }
    }

    /// The place of one resource.
    #[must_use]
    pub fn cell(&self, group: &GroupName, resource: &ResourceName, part: Part) -> Cell {
        let name = records::file_name(group, resource);
        let mark = format!("{}/{}", self.instance, name.replacen('.', "/", 1));
        let (name, mark) = match part {
            Part::Main => (name, mark),
            Part::Stop => (format!("{name}.stop"), format!("{mark}/stop")),
        };
        let kind = match &self.kind {
            Kind::Cgroup(root) => CellKind::Cgroup(root.path().join(name)),
            Kind::Marked => CellKind::Marked(marked::Tracker::new(mark.clone())),
        };
        Cell { group: group.clone(), resource: resource.clone(), part, mark, kind }
    }

    /// The places in which something may run.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn cells(&self) -> io::Result<Vec<Cell>> {
        let names = match &self.kind {
            Kind::Cgroup(root) => root.names()?,
            Kind::Marked => marked::names(&self.instance)?,
        };
        Ok(names.iter().filter_map(|name| self.cell_named(name)).collect())
    }

    /// The resources of which something runs.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn running(&self) -> io::Result<BTreeMap<(GroupName, ResourceName), Vec<ProcessId>>> {
        let mut running = BTreeMap::new();
        for cell in self.cells()? {
            let members = cell.members()?;
            if !members.is_empty() {
                running.entry((cell.group, cell.resource)).or_insert_with(Vec::new).extend(members);
            }
        }
        Ok(running)
    }

    /// Removes this server's own place, when nothing is left in it.
    pub fn remove(&self) {
        if let Kind::Cgroup(root) = &self.kind {
            let _stays_for_the_next_time = root.remove();
        }
    }

    fn cell_named(&self, name: &str) -> Option<Cell> {
        let (name, part) = match name.strip_suffix(".stop") {
            Some(name) => (name, Part::Stop),
            None => (name, Part::Main),
        };
        let (group, resource) = records::parse_file_name(name)?;
        Some(self.cell(&group, &resource, part))
    }
}

/// The place of one resource's processes.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The group.
    pub group: GroupName,
    /// The resource.
    pub resource: ResourceName,
    /// Which of its processes.
    pub part: Part,
    mark: String,
    kind: CellKind,
}

#[derive(Clone, Debug)]
enum CellKind {
    Cgroup(std::path::PathBuf),
    Marked(marked::Tracker),
}

/// Something did not end although it was killed.
#[derive(Debug, thiserror::Error)]
pub enum ConfinementError {
    /// These are still there: most likely they wait for a disk (state D).
    #[error("processes {pids:?} were killed and have not ended")]
    StillThere {
        /// Their numbers.
        pids: Vec<i32>,
    },
    /// The kernel did not do it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Cell {
    /// Makes the place.
    ///
    /// # Errors
    /// When the kernel does not.
    pub fn prepare(&self) -> io::Result<()> {
        match &self.kind {
            CellKind::Cgroup(path) => cgroup::prepare(path),
            CellKind::Marked(_) => Ok(()),
        }
    }

    /// What a process must have in its environment to belong here.
    #[must_use]
    pub fn mark(&self) -> (&'static str, &str) {
        (MARK, &self.mark)
    }

    /// The control group that a process must enter to belong here.
    #[must_use]
    pub fn cgroup(&self) -> Option<&std::path::Path> {
        match &self.kind {
            CellKind::Cgroup(path) => Some(path),
            CellKind::Marked(_) => None,
        }
    }

    /// What its start command was: where there are only marks, the processes of its session belong
    /// here too. For a cell that is used at once, while that number means nothing else.
    pub fn know_leader(&self, leader: ProcessId) {
        if let CellKind::Marked(tracker) = &self.kind {
            tracker.know_session(leader);
        }
    }

    /// The processes in it that have not ended.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn members(&self) -> io::Result<Vec<ProcessId>> {
        match &self.kind {
            CellKind::Cgroup(path) => cgroup::members(path),
            CellKind::Marked(tracker) => tracker.members(),
        }
    }

    /// Has everything in it stand still; whether it does, at `deadline` at the latest. Where that is
    /// not so, it may run on: kill it.
    ///
    /// # Errors
    /// When the kernel does not.
    pub fn freeze(&self, deadline: Timestamp) -> io::Result<bool> {
        match &self.kind {
            CellKind::Cgroup(path) => {
                cgroup::freeze(path)?;
                cgroup::wait_until_frozen(path, deadline)
            }
            CellKind::Marked(_) => Ok(false),
        }
    }

    /// Lets what is frozen go on.
    ///
    /// # Errors
    /// When the kernel does not.
    pub fn thaw(&self) -> io::Result<()> {
        match &self.kind {
            CellKind::Cgroup(path) => cgroup::thaw(path),
            CellKind::Marked(_) => Ok(()),
        }
    }

    /// Whether it was told to stand still.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn is_frozen(&self) -> io::Result<bool> {
        match &self.kind {
            CellKind::Cgroup(path) => cgroup::is_frozen(path),
            CellKind::Marked(_) => Ok(false),
        }
    }

    /// Sends SIGKILL to all of them, and does not wait.
    ///
    /// # Errors
    /// When the kernel does not.
    pub fn kill(&self) -> io::Result<()> {
        match &self.kind {
            CellKind::Cgroup(path) => cgroup::kill(path),
            CellKind::Marked(tracker) => tracker.kill(),
        }
    }

    /// Waits until nothing is left, at most until `deadline`; whether that is so.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn wait_until_empty(&self, deadline: Timestamp) -> io::Result<bool> {
        match &self.kind {
            CellKind::Cgroup(path) => cgroup::wait_until_empty(path, deadline),
            CellKind::Marked(tracker) => tracker.wait_until_empty(deadline, false),
        }
    }

    /// Kills all of them and waits until nothing is left, at most until `deadline`.
    ///
    /// # Errors
    /// When something is left.
    pub fn kill_and_wait(&self, deadline: Timestamp) -> Result<(), ConfinementError> {
        let empty = match &self.kind {
            CellKind::Cgroup(path) => {
                cgroup::kill(path)?;
                cgroup::wait_until_empty(path, deadline)?
            }
            CellKind::Marked(tracker) => tracker.wait_until_empty(deadline, true)?,
        };
        if empty {
            return Ok(());
        }
        let pids = self.members()?.iter().map(|process| process.pid).collect();
        Err(ConfinementError::StillThere { pids })
    }

    /// Removes the empty place; it need not be there.
    ///
    /// # Errors
    /// When something is in it.
    pub fn remove(&self) -> io::Result<()> {
        match &self.kind {
            CellKind::Cgroup(path) => cgroup::remove(path),
            CellKind::Marked(_) => Ok(()),
        }
    }
}

/// What is left until `deadline`, as whole milliseconds that [`nix::poll`] takes; at least one, so
/// that a deadline is never missed by polling without waiting.
pub(crate) fn millis_left(deadline: Timestamp) -> Option<u16> {
    let left = deadline.since(clock::now());
    (left > Duration::ZERO).then(|| u16::try_from(left.as_millis()).unwrap_or(u16::MAX).max(1))
}
