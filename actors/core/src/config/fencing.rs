//! Fencing devices: what makes sure that another server cannot write any more.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{ids::ServerName, time::millis};

/// One fencing device (`[[fence]]`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceConfig {
    /// For people.
    pub comment: String,
    /// What it is.
    pub kind: FenceKind,
    /// The name of each server at this device: a plug, a domain; the server's own name otherwise.
    pub ports: BTreeMap<ServerName, String>,
    /// One try may take this long.
    #[serde(with = "millis")]
    pub timeout: Duration,
    /// Tries after the first.
    pub retries: u32,
    /// Before it acts for the side with the lower weight, so that two do not fence each other.
    #[serde(with = "millis")]
    pub delay: Duration,
}

/// The kinds of fencing devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FenceKind {
    /// A fence agent of the ClusterLabs contract: `key=value` on its standard input.
    Agent {
        /// Its program: a name such as `fence_ipmilan`, or a path.
        program: PathBuf,
        /// What it is told, beside `action` and the port. May hold secrets: never shown.
        parameters: BTreeMap<String, String>,
    },
    /// A script: called with `off NAME`, `on NAME` or `status NAME`; exit code 0 is success.
    Script {
        /// The program.
        program: PathBuf,
    },
    /// SCSI-3 persistent reservations: the target's key is taken off the disks.
    Reservation {
        /// The shared disks.
        devices: Vec<PathBuf>,
    },
    /// The target's own watchdog: it has reset the machine once its time has passed. Confirms
    /// only that time has passed, on a server whose guard told that it has one.
    Watchdog,
}

impl FenceKind {
    /// Whether a confirmed `off` is proof that the target neither runs nor writes to anything: what
    /// breaks a tie of two (R19). A reservation protects only its disks.
    #[must_use]
    pub fn proves_off(&self) -> bool {
        matches!(self, Self::Agent { .. } | Self::Script { .. })
    }
}
