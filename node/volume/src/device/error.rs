//! Why a device could not be made or taken away.

use std::{io, path::PathBuf};

/// With what to do about it on the page of its code.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// No way to a block device on this kernel, or not the one that is configured.
    #[error("TSK-1835: no block device can be made this way here: {0}")]
    Unsupported(String),
    /// A call to the kernel failed.
    #[error("TSK-1836: {what} could not be made: {why}")]
    Failed {
        /// What.
        what: String,
        /// Why.
        #[source]
        why: io::Error,
    },
    /// Somebody uses it.
    #[error("TSK-1837: {} is in use: {}", node.display(), users.join(", "))]
    InUse {
        /// The device.
        node: PathBuf,
        /// Who.
        users: Vec<String>,
    },
    /// There is something else under the name that the device should have.
    #[error("TSK-1838: {} is there already and was not made by Tasuki", .0.display())]
    NotOurs(PathBuf),
}
