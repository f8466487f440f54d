//! Why something in the lab was not done.

use std::{io, path::PathBuf};

use crate::app::{AppError, error::Exit};

/// Why something in the lab was not done.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Nothing runs there.
    #[error("there is no lab in {}", .0.display())]
    None(PathBuf),
    /// One runs there, or was left or kept there.
    #[error("{what} in {}", place.display())]
    Taken {
        /// What is there.
        what: &'static str,
        /// Where.
        place: PathBuf,
    },
    /// Everything that a lab would listen on is in use.
    #[error("no loopback addresses and ports are free for a lab: {0}")]
    NoPlace(String),
    /// A folder that a lab must not, or cannot, use.
    #[error("{} cannot be a lab's folder: {why}", place.display())]
    Folder {
        /// Which.
        place: PathBuf,
        /// Why not.
        why: String,
    },
    /// A step of the formation failed.
    #[error("{step}: {why}")]
    Step {
        /// Which step.
        step: String,
        /// What was said.
        why: String,
        /// Where the rest of it stands.
        log: PathBuf,
    },
    /// A server or a network that the lab does not have.
    #[error("the lab has no {kind} {name:?}; {hint}")]
    Unknown {
        /// Server or network.
        kind: &'static str,
        /// As it was asked for.
        name: String,
        /// What was meant, or what there is.
        hint: String,
    },
    /// On already, or off already.
    #[error("{server} is {is} already")]
    Already {
        /// Which server.
        server: String,
        /// On or off.
        is: &'static str,
    },
    /// Processes that were killed are still there.
    #[error("of {server}, processes {pids:?} were killed and have not ended")]
    StillThere {
        /// Whose.
        server: String,
        /// Their numbers.
        pids: Vec<i32>,
    },
    /// The lab's own process does not answer.
    #[error("the lab's own process ({pid}) does not answer: {why}")]
    Silent {
        /// Its number.
        pid: i32,
        /// What was seen instead.
        why: String,
    },
    /// The system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was to be done.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// An error that already has its code, from the lab's own process.
    #[error("{message}")]
    Told {
        /// Its code.
        code: String,
        /// What happened.
        message: String,
        /// What to do.
        remedy: String,
        /// The exit code.
        exit: u8,
    },
}

impl LabError {
    /// For `map_err`: the system refused to do `what`.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what: what.into(), source }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::None(_) => "TSK-1690",
            Self::Taken { .. } => "TSK-1691",
            Self::NoPlace(_) => "TSK-1692",
            Self::Folder { .. } => "TSK-1693",
            Self::Step { .. } => "TSK-1694",
            Self::Unknown { .. } => "TSK-1695",
            Self::Already { .. } => "TSK-1696",
            Self::StillThere { .. } => "TSK-1697",
            Self::Silent { .. } => "TSK-1698",
            Self::Io { .. } => "TSK-1670",
            Self::Told { code, .. } => code,
        }
    }

    /// What to do.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::None(_) => "`tasuki lab` starts one; --dir names another folder".to_owned(),
            Self::Taken { .. } => {
                "`tasuki lab down` takes it away; `tasuki lab --dir DIR` starts another one".to_owned()
            }
            Self::NoPlace(_) => "stop what listens there; `tasuki lab down` ends a lab".to_owned(),
            Self::Folder { .. } => "name a folder that is not there yet: `tasuki lab --dir DIR`".to_owned(),
            Self::Step { log, .. } => {
                format!("try it again; with `tasuki lab --keep` its log stays: {}", log.display())
            }
            Self::Unknown { .. } => "`tasuki lab status` shows servers and networks".to_owned(),
            Self::Already { is: "on", .. } => "`tasuki lab kill` takes its power away".to_owned(),
            Self::Already { .. } => "`tasuki lab start` gives it power again".to_owned(),
            Self::StillThere { .. } => {
                "they wait for a disk, most likely; repeat `tasuki lab down` later".to_owned()
            }
            Self::Silent { .. } => {
                "if it was suspended (Ctrl-Z), `fg` continues it; `tasuki lab down` ends it".to_owned()
            }
            Self::Io { .. } => "check the path, its permissions and the free space".to_owned(),
            Self::Told { remedy, .. } => remedy.clone(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::None(_) | Self::Unknown { .. } => Exit::NotFound,
            Self::Taken { .. } | Self::Already { .. } => Exit::Refused,
            Self::Silent { .. } => Exit::Unreachable,
            Self::Told { exit: 3, .. } => Exit::NotFound,
            Self::Told { exit: 4, .. } => Exit::Refused,
            _ => Exit::Failed,
        }
    }
}

impl From<LabError> for AppError {
    fn from(error: LabError) -> Self {
        Self::Coded {
            code: error.code().to_owned(),
            message: error.to_string(),
            remedy: error.remedy(),
            exit: error.exit(),
        }
    }
}
