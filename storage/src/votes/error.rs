//! What can be wrong with a voting file.

use std::path::PathBuf;

use super::sealed::PAYLOAD;

/// Why a voting file is not used.
#[derive(Debug, thiserror::Error)]
pub enum VoteError {
    /// The system refused.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is no file and no block device.
    #[error("{} is neither a file nor a block device", .0.display())]
    NoFile(PathBuf),
    /// It has no room for all blocks.
    #[error("{} has {size} bytes; a voting file needs {least}", path.display())]
    TooSmall {
        /// Which file.
        path: PathBuf,
        /// Its size.
        size: u64,
        /// What it needs.
        least: u64,
    },
    /// Zeros: nobody made it a voting file yet.
    #[error("{} is blank: it was not made a voting file yet", .0.display())]
    Blank(PathBuf),
    /// Another cluster's, or of another life of this one.
    #[error("{} is a voting file of cluster {cluster} (lineage {lineage})", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// Whose.
        cluster: String,
        /// Its lineage.
        lineage: String,
    },
    /// It holds something else.
    #[error("{} holds something that is no voting file", .0.display())]
    Unknown(PathBuf),
    /// A newer version of Tasuki wrote it.
    #[error("{} has format {found}; this version of Tasuki knows formats up to {known}", path.display())]
    NewerFormat {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u16,
        /// The newest that this program knows.
        known: u16,
    },
    /// It was taken out of the configuration.
    #[error("{} was taken out of the configuration, and is no voting file any more", .0.display())]
    Retired(PathBuf),
    /// It was initialised again while it was in use.
    #[error("{} was initialised again since it was first read here", .0.display())]
    Replaced(PathBuf),
    /// It is one half of a mirror: the halves can differ (R18).
    #[error("{} lies on a mirrored volume ({what})", path.display())]
    Mirrored {
        /// Which file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// Blocks of the register cannot be read: what stood there is not known.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// It holds less than was read or written before: restored from a copy, or a lost write.
    #[error("{} went back: {what}", path.display())]
    WentBack {
        /// Which file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// The content does not fit in a block.
    #[error("{length} bytes do not fit in a block ({most} do)")]
    TooLong {
        /// How long.
        length: usize,
        /// The most.
        most: usize,
    },
    /// An operation does not return, and nothing is done before it has (R18).
    #[error("{} does not answer: an operation has been under way for {seconds} s", path.display())]
    Stuck {
        /// Which file.
        path: PathBuf,
        /// Since when.
        seconds: u64,
    },
}

impl VoteError {
    /// Whether it answers, but is not what it should be: waiting does not help.
    #[must_use]
    pub fn is_unusable(&self) -> bool {
        !matches!(self, Self::Io { .. } | Self::Stuck { .. })
    }

    /// Why not, for a payload of this length.
    #[must_use]
    pub fn too_long(length: usize) -> Self {
        Self::TooLong { length, most: PAYLOAD }
    }
}
