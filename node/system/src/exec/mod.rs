//! Programs as resources: start, stop, and finding again what a node before left running.
//!
//! What makes it safe to restart the node at any moment: a record is written before the program is
//! begun, the program is in its confinement before it runs, and its output goes to a file.

mod error;
mod look;
mod output;
mod spawn;
mod trampoline;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::fd::OwnedFd,
    path::PathBuf,
    time::Duration,
};

use rustix::process::Signal;
use tasuki_core::{
    config::{AtLeaseEnd, ExecConfig},
    ids::{BootId, Epoch, GroupName, ResourceName},
    time::Timestamp,
};
use tokio::{process::Child, sync::oneshot, task::spawn_blocking, time::timeout};

pub use self::{
    error::ExecError,
    look::{Look, Seen},
    output::tend as tend_output,
    trampoline::{TRAMPOLINE_COMMAND, trampoline},
};
use self::{
    output::Output,
    spawn::{Place, Run, describe},
};
use crate::{
    clock,
    confinement::{Cell, Confinement, ConfinementError, Part},
    layout::Layout,
    process::ProcessId,
    readable::readable,
    records::{ExecRecord, Phase, Records},
};

/// How long what was killed may take to be gone. More means a disk that does not answer.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
/// What a stop command leaves behind gets a SIGTERM after this.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);

/// Resolves when a program ends by itself, with what there is to say about it.
pub type Ended = oneshot::Receiver<String>;

/// One program, as an order speaks of it.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// The group.
    pub group: &'a GroupName,
    /// The resource.
    pub resource: &'a ResourceName,
    /// The ownership it runs under.
    pub epoch: Epoch,
    /// What it is.
    pub config: &'a ExecConfig,
    /// The `CLP_*` variables.
    pub environment: &'a BTreeMap<String, String>,
    /// What the guard is to do with it when the lease ends.
    pub at_lease_end: AtLeaseEnd,
}

/// Whether a program runs here.
#[derive(Debug)]
pub enum Found {
    /// It runs; the receiver is there if it is asynchronous.
    Running(Option<Ended>),
    /// Nothing of it runs.
    Stopped,
}

/// Starts and stops programs.
#[derive(Clone, Debug)]
pub struct Launcher {
    layout: Layout,
    confinement: Confinement,
    records: Records<ExecRecord>,
}

impl Launcher {
    /// A launcher for the server that `layout` describes.
    #[must_use]
    pub fn new(layout: Layout, confinement: Confinement, boot: BootId) -> Self {
        let records = Records::new(layout.resource_records(), boot);
        Self { layout, confinement, records }
    }

    /// Starts a program; returns when it is up: synchronous, when its command has ended with 0;
    /// asynchronous, as soon as it is executed; its end is told. What is up already stays as it is;
    /// what the guard froze under this ownership goes on, and under another one is killed.
    ///
    /// # Errors
    /// When it is not up; nothing of it runs then, unless the error says so.
    pub async fn start(&self, program: Program<'_>) -> Result<Option<Ended>, ExecError> {
        let cell = self.cell(&program, Part::Main);
        if let Some(Adoptable::Up(process)) = self.look(&program)? {
            if cell.is_frozen().map_err(ExecError::io(cell_name(&cell)))? {
                tracing::info!(group = %program.group, resource = %program.resource, "thawed: goes on");
                cell.thaw().map_err(ExecError::io(cell_name(&cell)))?;
            }
            return Ok(self.watch_adopted(&program, process));
        }
        // What an interrupted start left.
        self.kill(&cell).await?;
        let started = self.start_in(&program, &cell).await;
        if started.is_err() {
            self.kill(&cell).await?;
            self.forget(&program)?;
        }
        started
    }

    async fn start_in(&self, program: &Program<'_>, cell: &Cell) -> Result<Option<Ended>, ExecError> {
        let run = self.run(program, &program.config.start, cell);
        self.record(program, Phase::Starting, None)?;
        let (output, file) = self.output(program)?;
        let begun = run.begin(file)?;
        let process = begun.id;
        self.record(program, Phase::Starting, process)?;
        if let Some(leader) = process {
            cell.know_leader(leader);
        }
        let limit = program.config.start_timeout;
        let deadline = tokio::time::Instant::now() + limit;
        let too_long = |_| ExecError::Timeout { what: told(&run.what(), cell, &output), limit };

        let mut child = tokio::time::timeout_at(deadline, begun.executed()).await.map_err(too_long)??;
        if program.config.wait {
            let ended = tokio::time::timeout_at(deadline, child.wait()).await.map_err(too_long)?;
            let status = ended.map_err(ExecError::io(run.what()))?;
            if !status.success() {
                return Err(failed(&run, status, &output));
            }
            self.record(program, Phase::Up, process)?;
            return Ok(None);
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(failed(&run, status, &output));
        }
        self.record(program, Phase::Up, process)?;
        Ok(Some(watch_child(child, output)))
    }

    /// Stops a program; returns when nothing of it runs.
    ///
    /// The stop command, if there is one, or SIGTERM; then until the stop time-out for what runs
    /// to end; then SIGKILL.
    ///
    /// # Errors
    /// When the stop command failed, or something did not end although it was killed.
    pub async fn stop(&self, program: Program<'_>) -> Result<(), ExecError> {
        let cell = self.cell(&program, Part::Main);
        // What stands still cannot end by itself.
        if cell.is_frozen().map_err(ExecError::io(cell_name(&cell)))? {
            self.kill(&cell).await?;
        }
        let record = self.records.read(program.group, program.resource);
        let process = record.ok().flatten().and_then(|record| record.content.process);
        // Only while it lives: its number may be another's since.
        if let Some(leader) = process.filter(|process| process.open().is_some()) {
            cell.know_leader(leader);
        }
        let deadline = clock::now() + program.config.stop_timeout;
        let stop_command = match &program.config.stop {
            Some(command) => self.run_stop(&program, command).await,
            None => Ok(()),
        };
        let grace = if program.config.stop.is_some() { LEFTOVER_GRACE } else { Duration::ZERO };
        self.end(&cell, grace, deadline).await?;
        stop_command?;
        self.forget(&program)
    }

    /// Whether a program runs here; what runs is adopted. Starts and stops nothing. What stands still
    /// does not run: a start has it go on, once there is a lease for it.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn probe(&self, program: Program<'_>) -> Result<Found, ExecError> {
        let cell = self.cell(&program, Part::Main);
        if cell.is_frozen().map_err(ExecError::io(cell_name(&cell)))? {
            return Ok(Found::Stopped);
        }
        Ok(match self.look(&program)? {
            None | Some(Adoptable::Left) => Found::Stopped,
            Some(Adoptable::Up(process)) => Found::Running(self.watch_adopted(&program, process)),
            Some(Adoptable::Broken(why)) => {
                let (tell, ended) = oneshot::channel();
                let _received = tell.send(why.to_owned());
                Found::Running(Some(ended))
            }
        })
    }

    /// The programs of which something runs here, or that count as running.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn running(&self) -> Result<BTreeSet<(GroupName, ResourceName)>, ExecError> {
        let failed = || ExecError::io("looking for what runs");
        let recorded = self.records.all().map_err(failed())?;
        let confined = self.confinement.running().map_err(failed())?;
        let recorded = recorded.into_iter().map(|record| (record.group, record.resource));
        Ok(recorded.chain(confined.into_keys()).collect())
    }

    /// What a lease's end has left here: frozen, or running on. With the ownership it is of. To be
    /// asked by a node that has just started, before it starts anything.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn left_at_lease_end(&self) -> Result<Vec<(GroupName, ResourceName, Epoch)>, ExecError> {
        let records = self.records.all().map_err(ExecError::io("looking for what was left"))?;
        let left = records.into_iter().filter(|record| record.content.at_lease_end != AtLeaseEnd::Stop);
        Ok(left.map(|record| (record.group, record.resource, record.epoch)).collect())
    }

    /// Ends what a lease's end has left of this ownership; what is of another one stays.
    ///
    /// # Errors
    /// When something did not end although it was killed.
    pub async fn end_left(
        &self,
        group: &GroupName,
        resource: &ResourceName,
        epoch: Epoch,
    ) -> Result<(), ExecError> {
        let record = self.records.read(group, resource).map_err(ExecError::io("record"))?;
        if record.is_none_or(|record| record.epoch != epoch) {
            return Ok(());
        }
        self.kill(&self.confinement.cell(group, resource, Part::Main)).await?;
        self.records.remove(group, resource).map_err(ExecError::io("record"))
    }

    /// Ends whatever runs of a resource that no configuration speaks of any more.
    ///
    /// # Errors
    /// When something did not end although it was killed.
    pub async fn clean(&self, group: &GroupName, resource: &ResourceName) -> Result<(), ExecError> {
        let cell = self.confinement.cell(group, resource, Part::Main);
        self.end(&cell, Duration::ZERO, clock::now() + KILL_PATIENCE).await?;
        self.kill(&self.confinement.cell(group, resource, Part::Stop)).await?;
        self.records.remove(group, resource).map_err(ExecError::io("record"))
    }

    /// Keeps the captured output bounded; to be spawned once.
    pub fn tend(&self) -> impl Future<Output = ()> + Send + 'static {
        tend_output(self.layout.logs())
    }

    async fn run_stop(&self, program: &Program<'_>, command: &[String]) -> Result<(), ExecError> {
        let cell = self.cell(program, Part::Stop);
        let run = self.run(program, command, &cell);
        let (output, file) = self.output(program)?;
        let limit = program.config.stop_timeout;
        let waited = timeout(limit, async {
            let mut child = run.begin(file)?.executed().await?;
            child.wait().await.map_err(ExecError::io(run.what()))
        });
        let result = match waited.await {
            Err(_) => Err(ExecError::Timeout { what: told(&run.what(), &cell, &output), limit }),
            Ok(Ok(status)) if !status.success() => Err(failed(&run, status, &output)),
            Ok(other) => other.map(|_| ()),
        };
        self.kill(&cell).await?;
        result
    }

    /// SIGTERM after `grace`, SIGKILL after `deadline`; returns when nothing is left.
    async fn end(&self, cell: &Cell, grace: Duration, deadline: Timestamp) -> Result<(), ExecError> {
        let patient = cell.clone();
        let ended = blocking(move || {
            let polite = (clock::now() + grace).min(deadline);
            if patient.wait_until_empty(polite)? {
                return Ok(true);
            }
            for member in patient.members()? {
                member.signal(Signal::TERM);
                member.signal(Signal::CONT);
            }
            patient.wait_until_empty(deadline)
        });
        ended.await.map_err(ExecError::io(cell_name(cell)))?;
        self.kill(cell).await
    }

    async fn kill(&self, cell: &Cell) -> Result<(), ExecError> {
        let killed = cell.clone();
        let result = spawn_blocking(move || {
            killed.kill_and_wait(clock::now() + KILL_PATIENCE)?;
            killed.remove().map_err(ConfinementError::Io)
        });
        let result = result.await.map_err(|error| ConfinementError::Io(io::Error::other(error)));
        result
            .and_then(|result| result)
            .map_err(|source| ExecError::NotEnded { what: cell_name(cell), source })
    }

    fn look(&self, program: &Program<'_>) -> Result<Option<Adoptable>, ExecError> {
        let name = || format!("{}/{}", program.group, program.resource);
        let record = self.records.read(program.group, program.resource).map_err(ExecError::io(name()))?;
        let members = self.cell(program, Part::Main).members().map_err(ExecError::io(name()))?;
        let Some(record) = record else {
            let left = "something of it runs that no record speaks of";
            return Ok((!members.is_empty()).then_some(Adoptable::Broken(left)));
        };
        // Without a lease somebody else may have owned it meanwhile.
        if record.content.at_lease_end != AtLeaseEnd::Stop && record.epoch != program.epoch {
            return Ok(Some(Adoptable::Left));
        }
        let record = record.content;
        let process = record.process.filter(|process| process.open().is_some());
        Ok(match record.phase {
            Phase::Starting => Some(Adoptable::Broken("its start was interrupted")),
            Phase::Up if record.wait => Some(Adoptable::Up(None)),
            Phase::Up if process.is_some() => Some(Adoptable::Up(process)),
            Phase::Up if members.is_empty() => None,
            Phase::Up => Some(Adoptable::Broken("its program has ended; children of it still run")),
        })
    }

    fn watch_adopted(&self, program: &Program<'_>, process: Option<ProcessId>) -> Option<Ended> {
        let watched = process.filter(|_| !program.config.wait)?;
        let (tell, ended) = oneshot::channel();
        match watched.open() {
            Some(fd) => drop(tokio::spawn(async move {
                match wait_for_end(fd).await {
                    Ok(()) => drop(tell.send("it ended (adopted: its exit code is unknown)".to_owned())),
                    Err(error) => drop(tell.send(format!("it could not be watched: {error}"))),
                }
            })),
            None => drop(tell.send("it ended".to_owned())),
        }
        Some(ended)
    }

    fn run<'a>(&'a self, program: &Program<'a>, command: &'a [String], cell: &'a Cell) -> Run<'a> {
        let config = program.config;
        let mut environment = program.environment.clone();
        environment.extend(config.environment.clone());
        Run {
            command,
            base: config.directory.as_deref().unwrap_or(self.layout.data_dir()),
            directory: config.directory.as_deref(),
            user: config.user.as_deref(),
            environment,
            place: Place::Cell(cell),
        }
    }

    fn cell(&self, program: &Program<'_>, part: Part) -> Cell {
        self.confinement.cell(program.group, program.resource, part)
    }

    fn output(&self, program: &Program<'_>) -> Result<(Output, fs::File), ExecError> {
        let folder: PathBuf = self.layout.logs();
        Output::open(&folder, program.group, program.resource).map_err(ExecError::io("captured output"))
    }

    fn record(
        &self,
        program: &Program<'_>,
        phase: Phase,
        process: Option<ProcessId>,
    ) -> Result<(), ExecError> {
        let at_lease_end = match program.at_lease_end {
            AtLeaseEnd::Freeze if !self.confinement.can_freeze() => {
                let (group, resource) = (program.group, program.resource);
                tracing::error!(%group, %resource, "TSK-1073: nothing can be frozen here; stopped instead");
                AtLeaseEnd::Stop
            }
            AtLeaseEnd::RunOn if self.confinement.is_marked() => AtLeaseEnd::Stop,
            wish => wish,
        };
        let content = ExecRecord { phase, wait: program.config.wait, process, at_lease_end };
        let written = self.records.write(program.group, program.resource, program.epoch, content);
        written.map_err(ExecError::io("record of what runs"))
    }

    fn forget(&self, program: &Program<'_>) -> Result<(), ExecError> {
        let removed = self.records.remove(program.group, program.resource);
        removed.map_err(ExecError::io("record of what runs"))
    }
}

/// What a look at the records and the kernel found.
enum Adoptable {
    /// It is up; with its process, if that is what runs.
    Up(Option<ProcessId>),
    /// Something of it is there, but it is not up.
    Broken(&'static str),
    /// A lease's end left it, of another ownership.
    Left,
}

fn watch_child(mut child: Child, output: Output) -> Ended {
    let (tell, ended) = oneshot::channel();
    tokio::spawn(async move {
        let how = match child.wait().await {
            Ok(status) => describe(status),
            Err(error) => format!("it could not be waited for: {error}"),
        };
        let _nobody_may_care = tell.send(format!("{how}{}", output.last()));
    });
    ended
}

async fn wait_for_end(process: OwnedFd) -> io::Result<()> {
    let process = readable(process)?;
    process.readable().await.map(|_| ())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

fn failed(run: &Run<'_>, status: std::process::ExitStatus, output: &Output) -> ExecError {
    ExecError::Failed { what: run.what(), how: describe(status), output: output.last() }
}

/// A command that takes too long, with the processes in it and the last of its output.
fn told(what: &str, cell: &Cell, output: &Output) -> String {
    let members = cell.members().unwrap_or_default();
    let commands: Vec<String> = members
        .iter()
        .filter_map(|member| {
            let line = fs::read(format!("/proc/{}/cmdline", member.pid)).ok()?;
            let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
            Some(format!("{} {}", member.pid, words.join(" ").trim()))
        })
        .collect();
    format!("{what} (running: {}{})", commands.join(", "), output.last())
}

fn cell_name(cell: &Cell) -> String {
    format!("{}/{}", cell.group, cell.resource)
}
