//! Fencing devices: what makes sure that another server runs nothing, or writes nothing, any more.
//!
//! | module | device |
//! |---|---|
//! | [`agent`] | a fence agent: `name=value` on its standard input |
//! | [`script`] | a script: `off NAME`, `on NAME`, `status NAME` |
//! | [`switch`] | what is common to these two: off, on, and reading back |
//! | [`reservation`] | SCSI-3 persistent reservations on shared disks |
//!
//! A device has confirmed only what was read back. Every try ends within its time-out, with all that
//! it started.

pub mod agent;
pub mod reservation;
mod run;
pub mod script;
mod scsi;
pub mod switch;

use std::{io, path::PathBuf, time::Duration};

pub use self::run::find_program;

/// Why a device confirmed nothing.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// The program is not there.
    #[error("{} is not found, or cannot be executed", .0.display())]
    NoProgram(PathBuf),
    /// It could not be run.
    #[error("{what} could not be run: {source}")]
    NotRun {
        /// What.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// It took too long, and was killed with all that it had started.
    #[error("{what} took longer than {limit:?} and was killed{output}")]
    Timeout {
        /// What.
        what: String,
        /// The limit.
        limit: Duration,
        /// Its last output, led in by `; `.
        output: String,
    },
    /// It answered that it failed.
    #[error("{what} {how}{output}")]
    Failed {
        /// What.
        what: String,
        /// `ended with exit code 1`, or by which signal.
        how: String,
        /// Its last output, led in by `; `.
        output: String,
    },
    /// The device said yes, and then did not report what it should have become.
    #[error("{what} said that it is done, but its status does not confirm that within {limit:?}: {last}")]
    NotReadBack {
        /// What.
        what: String,
        /// The limit.
        limit: Duration,
        /// What the last status said.
        last: String,
    },
    /// A disk did not do it.
    #[error("{}: {why}", disk.display())]
    Disk {
        /// Which disk.
        disk: PathBuf,
        /// What, and why not.
        why: String,
    },
}
