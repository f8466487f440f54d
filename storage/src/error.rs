//! What can be wrong with a store. Each has a code that operators can look up.

use std::{io, path::Path, path::PathBuf};

use crate::registry::Identity;

/// Why a store cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process, or an earlier opener in this one, still has it.
    #[error("TSK-1201: the data folder {} is in use by another process", dir.display())]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// A newer version of Tasuki wrote it.
    #[error(
        "TSK-1202: the data folder {} has format {found}, this version of Tasuki knows formats up to {known}",
        dir.display()
    )]
    NewerFormat {
        /// The folder.
        dir: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this program knows.
        known: u32,
    },
    /// It belongs to another server, another registry, or an earlier Raft id of this server.
    #[error("TSK-1203: the data folder {} belongs to {found}, not to {expected}", dir.display())]
    OtherServer {
        /// The folder.
        dir: PathBuf,
        /// Whom it belongs to.
        found: Identity,
        /// Who wanted to open it.
        expected: String,
    },
    /// Something that was acknowledged is missing or unreadable: the store must not vote (R23).
    #[error("TSK-1204: the data folder {} is damaged: {what}", dir.display())]
    Damaged {
        /// The folder.
        dir: PathBuf,
        /// What was found.
        what: String,
    },
    /// A newer version of Tasuki has used it since.
    #[error(
        "TSK-1841: the data folder {} was used by a newer version of Tasuki: {what} cannot be read by this one",
        dir.display()
    )]
    NewerEntries {
        /// The folder.
        dir: PathBuf,
        /// What is whole, and cannot be read.
        what: String,
    },
    /// The operating system refused.
    #[error("TSK-1205: cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No space is left; nothing of what was acknowledged is lost.
    #[error("TSK-1206: the disk of the data folder {} is full", dir.display())]
    DiskFull {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder should hold the votes of this server and holds nothing (R23).
    #[error(
        "TSK-1207: the data folder {} is empty, but {server} has voted before: mount the right disk, or let it join again under a new Raft id: \
         `tasuki server replace NAME` on a member prints how",
        dir.display()
    )]
    Lost {
        /// The folder.
        dir: PathBuf,
        /// Whose it should be.
        server: String,
    },
}

impl StoreError {
    /// The stable code, as in `docs/errors`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "TSK-1201",
            Self::NewerFormat { .. } => "TSK-1202",
            Self::OtherServer { .. } => "TSK-1203",
            Self::Damaged { .. } => "TSK-1204",
            Self::NewerEntries { .. } => "TSK-1841",
            Self::Io { .. } => "TSK-1205",
            Self::DiskFull { .. } => "TSK-1206",
            Self::Lost { .. } => "TSK-1207",
        }
    }

    /// Wraps an error of the operating system; a full disk becomes [`StoreError::DiskFull`], and
    /// what is one of ours already comes out as it was.
    pub(crate) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        let source = match source.downcast::<Self>() {
            Ok(ours) => return ours,
            Err(source) => source,
        };
        if is_full(&source) {
            return Self::DiskFull { dir: path.to_owned() };
        }
        Self::Io { what, path: path.to_owned(), source }
    }

    pub(crate) fn damaged(dir: &Path, what: impl ToString) -> Self {
        Self::Damaged { dir: dir.to_owned(), what: what.to_string() }
    }
}

/// Raft wants [`io::Error`]; the kind tells a full disk from the rest, the text keeps the code.
impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::DiskFull { .. } => io::ErrorKind::StorageFull,
            StoreError::Damaged { .. } => io::ErrorKind::InvalidData,
            StoreError::Io { source, .. } => source.kind(),
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// sled keeps the operating system's error inside; the kind must survive.
pub(crate) fn from_sled(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(inner) => inner,
        sled::Error::Corruption { .. } => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
        other => io::Error::other(other.to_string()),
    }
}

/// An error for several waiters: [`io::Error`] cannot be cloned.
pub(crate) fn copy_of(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}
