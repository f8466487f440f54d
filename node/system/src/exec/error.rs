//! Why a program was not started or stopped, as operators read it.

use std::{io, path::PathBuf, time::Duration};

use crate::confinement::ConfinementError;

/// Why a program was not started or stopped. Each has a page in `docs/errors`.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The configured program is not there.
    #[error("TSK-1301: {} does not exist on this server", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It is there and cannot be executed.
    #[error("TSK-1302: {} is not an executable file; `chmod +x` makes a script one", path.display())]
    NotExecutable {
        /// Where it is.
        path: PathBuf,
    },
    /// It did not come as far as running: the user, folder or interpreter is wrong.
    #[error("TSK-1303: {what} could not be executed: {why}")]
    NotExecuted {
        /// The command.
        what: String,
        /// The step that failed.
        why: String,
    },
    /// It ran longer than its time-out, and was killed.
    #[error("TSK-1304: {what} ran longer than {limit:?}")]
    Timeout {
        /// The command, the processes in it, and the last of its output.
        what: String,
        /// The limit.
        limit: Duration,
    },
    /// It ended with an error.
    #[error("TSK-1305: {what}: {how}{output}")]
    Failed {
        /// The command.
        what: String,
        /// `exit code 1`, `killed by SIGKILL`.
        how: String,
        /// The last of its output, led in by `; last output: `; or nothing.
        output: String,
    },
    /// What was killed has not ended.
    #[error("TSK-1306: {what}: {source}")]
    NotEnded {
        /// The resource.
        what: String,
        /// Which processes.
        source: ConfinementError,
    },
    /// The kernel or the run folder did not do it.
    #[error("TSK-1307: {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        source: io::Error,
    },
}

impl ExecError {
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
