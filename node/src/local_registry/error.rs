//! What can be wrong with a local registry.

use std::{io, path::PathBuf};

use crate::app::{AppError, error::Exit};

/// Why a local registry cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// It is not what was written.
    #[error("the local registry {} is damaged: {why}", place.display())]
    Damaged {
        /// Where it is.
        place: PathBuf,
        /// What is wrong.
        why: String,
        /// The newest backup, where there is one.
        newest: Option<PathBuf>,
    },
    /// Something that there is exactly one of.
    #[error(
        "a local registry cannot be {0}: each server has exactly one, made when it founds or joins a cluster"
    )]
    ExactlyOne(&'static str),
    /// Not under a running node.
    #[error("the node of {} runs", .0.display())]
    NodeRuns(PathBuf),
    /// Nothing to restore.
    #[error("{} is no backup of this server's local registry: {why}", place.display())]
    NoBackup {
        /// The file.
        place: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file that cannot be read or written.
    #[error("{}: {source}", place.display())]
    Files {
        /// Which.
        place: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl LocalError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "TSK-1765",
            Self::ExactlyOne(_) => "TSK-1766",
            Self::NodeRuns(_) => "TSK-1767",
            Self::NoBackup { .. } => "TSK-1768",
            Self::Files { .. } => "TSK-1769",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Damaged { newest: Some(newest), .. } => {
                format!("`tasuki registry local restore {}` puts the newest backup back", newest.display())
            }
            Self::Damaged { newest: None, .. } => {
                "`tasuki registry local restore FILE` puts a backup back; there is none in its folder".into()
            }
            Self::ExactlyOne(_) => {
                "nothing to do; `tasuki registry local backup` guards against its loss".into()
            }
            Self::NodeRuns(_) => "stop it (`systemctl stop tasuki`), restore, and start it again".into(),
            Self::NoBackup { .. } => "`tasuki registry local list` shows this server's backups".into(),
            Self::Files { .. } => "check the permissions of the data folder and the free space".into(),
        }
    }
}

impl From<LocalError> for AppError {
    fn from(error: LocalError) -> Self {
        let exit = match error {
            LocalError::ExactlyOne(_) | LocalError::NodeRuns(_) => Exit::Refused,
            LocalError::NoBackup { .. } => Exit::NotFound,
            LocalError::Damaged { .. } | LocalError::Files { .. } => Exit::Failed,
        };
        Self::Coded {
            code: error.code().to_owned(),
            message: error.to_string(),
            remedy: error.remedy(),
            exit,
        }
    }
}
