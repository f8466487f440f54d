//! What can be wrong with an area. Each has a code that operators can look up.

use std::{io, path::PathBuf};

use super::superblock::Owner;

/// Why an area is not used.
#[derive(Debug, thiserror::Error)]
pub enum AreaError {
    /// The system refused, or the disk failed.
    #[error("TSK-1820: cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which area.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else has it.
    #[error("TSK-1821: {} is in use: {by}", path.display())]
    InUse {
        /// Which area.
        path: PathBuf,
        /// By whom.
        by: String,
    },
    /// It is a management area, but another's.
    #[error("TSK-1822: the management area {} belongs to {found}, not to {expected}", path.display())]
    NotOurs {
        /// Which area.
        path: PathBuf,
        /// Whose it is.
        found: Owner,
        /// Who wanted to open it.
        expected: Owner,
    },
    /// It holds something else.
    #[error("TSK-1823: the management area {} holds something else: {what}", path.display())]
    Foreign {
        /// Which area.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// What was durable is missing or unreadable.
    #[error("TSK-1824: the management area {} is damaged: {what}", path.display())]
    Damaged {
        /// Which area.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// A newer version of Tasuki wrote it.
    #[error(
        "TSK-1825: the management area {} has format {found}, this version of Tasuki knows formats up to {known}",
        path.display()
    )]
    NewerFormat {
        /// Which area.
        path: PathBuf,
        /// Its format.
        found: u16,
        /// The newest that this program knows.
        known: u16,
    },
    /// It has not the size that it should have.
    #[error("TSK-1826: {} has {found} bytes: {expected}", path.display())]
    Size {
        /// Which area.
        path: PathBuf,
        /// Its size.
        found: u64,
        /// What it should be.
        expected: String,
    },
    /// Nothing was ever written there.
    #[error("TSK-1827: the management area {} is blank", .0.display())]
    Blank(PathBuf),
    /// There is no space for the file, or under it.
    #[error("TSK-1828: there is no space left for {}", .0.display())]
    Full(PathBuf),
    /// It must not be given to a volume (C5).
    #[error("TSK-1829: {} cannot be an area of a volume: {why}", path.display())]
    Refused {
        /// Which area.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

impl AreaError {
    /// The stable code, as in `docs/errors`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "TSK-1820",
            Self::InUse { .. } => "TSK-1821",
            Self::NotOurs { .. } => "TSK-1822",
            Self::Foreign { .. } => "TSK-1823",
            Self::Damaged { .. } => "TSK-1824",
            Self::NewerFormat { .. } => "TSK-1825",
            Self::Size { .. } => "TSK-1826",
            Self::Blank(_) => "TSK-1827",
            Self::Full(_) => "TSK-1828",
            Self::Refused { .. } => "TSK-1829",
        }
    }

    /// Whether the disk failed or is full, and not what stands on it is wrong.
    #[must_use]
    pub fn is_disk(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Full(_))
    }

    pub(super) fn io(what: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        if crate::error::is_full(&source) { Self::Full(path) } else { Self::Io { what, path, source } }
    }
}
