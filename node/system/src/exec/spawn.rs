//! Running one command in a resource's place, through the trampoline.

use std::{
    collections::BTreeMap,
    fs, io,
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt, process::ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use nix::sys::signal::Signal;
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe,
    process::{Child, Command},
};

use super::{ExecError, TRAMPOLINE_COMMAND};
use crate::{confinement::Cell, process::ProcessId};

/// Where programs without a folder in their name are looked for.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One command, ready to run.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) command: &'a [String],
    /// Relative programs are meant from here.
    pub(super) base: &'a Path,
    pub(super) directory: Option<&'a Path>,
    pub(super) user: Option<&'a str>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) place: Place<'a>,
}

/// Where a command runs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    /// In its resource's place, which outlives the node.
    Cell(&'a Cell),
    /// Beside the node, and no longer than it.
    WithNode {
        /// Its nice value.
        nice: i8,
    },
}

/// A process that has been made and may not be the program yet.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) child: Child,
    pub(super) id: Option<ProcessId>,
    report: pipe::Receiver,
    what: String,
}

impl Run<'_> {
    /// The command as people know it.
    pub(super) fn what(&self) -> String {
        self.command.join(" ")
    }

    /// Makes the process, in its place.
    pub(super) fn begin(&self, output: fs::File) -> Result<Begun, ExecError> {
        self.begin_as(&self.find_program()?, output)
    }

    /// The same, with the program that was found.
    pub(super) fn begin_as(&self, program: &Path, output: fs::File) -> Result<Begun, ExecError> {
        let what = self.what();
        let failed = |source| ExecError::Io { what: what.clone(), source };
        if let Place::Cell(cell) = self.place {
            cell.prepare().map_err(failed)?;
        }
        let (report, report_writer) = io::pipe().map_err(failed)?;

        // The very file this process runs, also while it is being replaced by another version.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("tasuki").arg(TRAMPOLINE_COMMAND);
        command.arg("--parent").arg(std::process::id().to_string());
        match self.place {
            Place::Cell(cell) => {
                if let Some(cgroup) = cell.cgroup() {
                    command.arg("--cgroup").arg(cgroup);
                }
            }
            Place::WithNode { nice } => {
                command.arg("--nice").arg(nice.to_string()).arg("--end").arg("with-node");
            }
        }
        if let Some(user) = self.user {
            command.arg("--user").arg(user);
        }
        command.arg("--dir").arg(self.directory.unwrap_or(Path::new("/")));
        command.arg("--").arg(program).args(self.command.iter().skip(1));
        command.env_clear().env("PATH", self.path());
        command.envs(&self.environment);
        if let Place::Cell(cell) = self.place {
            let (mark, value) = cell.mark();
            command.env(mark, value);
        }
        command.stdin(report_writer);
        command.stdout(output.try_clone().map_err(failed)?).stderr(Stdio::from(output));

        let child = command.spawn().map_err(failed)?;
        let id = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(ProcessId::of);
        let report = pipe::Receiver::from_owned_fd(OwnedFd::from(report)).map_err(failed)?;
        Ok(Begun { child, id, report, what })
    }

    fn path(&self) -> String {
        let given = self.environment.get("PATH").cloned();
        given.or_else(|| std::env::var("PATH").ok()).unwrap_or_else(|| DEFAULT_PATH.to_owned())
    }

    /// Where the program is. May wait for a disk.
    pub(super) fn find_program(&self) -> Result<PathBuf, ExecError> {
        let name = Path::new(self.command.first().map_or("", String::as_str));
        if name.components().count() == 1 && name.is_relative() && !name.starts_with(".") {
            let path = self.path();
            let found = path.split(':').map(|folder| Path::new(folder).join(name)).find(|p| executable(p));
            return found.ok_or_else(|| ExecError::Missing { path: name.into() });
        }
        let path = self.base.join(name);
        if executable(&path) {
            Ok(path)
        } else if path.exists() {
            Err(ExecError::NotExecutable { path })
        } else {
            Err(ExecError::Missing { path })
        }
    }
}

impl Begun {
    /// Waits until the process has turned into the program.
    pub(super) async fn executed(mut self) -> Result<Child, ExecError> {
        let mut why = String::new();
        let read = self.report.read_to_string(&mut why).await;
        read.map_err(ExecError::io(self.what.clone()))?;
        if why.is_empty() {
            return Ok(self.child);
        }
        let _its_exit_code_says_less = self.child.wait().await;
        Err(ExecError::NotExecuted { what: self.what, why })
    }
}

fn executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// `exit code 1`, `killed by SIGKILL`.
pub(super) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("killed by {signal}"),
            Err(_) => format!("killed by signal {number}"),
        },
        (None, None) => status.to_string(),
    }
}
