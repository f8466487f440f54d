//! Why a guard does not start, or a node does not find its guard.

use std::{io, path::PathBuf};

/// Each has a page in `docs/errors`.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// One guard a data folder.
    #[error("TSK-1501: another guard ({holder}) runs for the data folder {}", data_dir.display())]
    AlreadyRuns {
        /// The folder.
        data_dir: PathBuf,
        /// Its process, as far as known.
        holder: String,
    },
    /// A node without a guard could not be stopped at its lease's end.
    #[error("TSK-1502: a node runs only under a guard: start `tasuki guard`, which starts the node")]
    NoGuard,
    /// The watchdog device is configured and cannot be used.
    #[error("TSK-1503: watchdog {}: {source}", device.display())]
    Watchdog {
        /// The device.
        device: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel or a folder did not do it.
    #[error("TSK-1504: {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        source: io::Error,
    },
}

impl GuardError {
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
