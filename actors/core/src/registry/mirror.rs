//! What the registry keeps of mirrored volumes: facts that only commands of the volumes' owners and of
//! operators change (R25, R35).

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{Epoch, Generation, GroupName, ServerName},
    time::WallTime,
};

/// What the servers agree on about one volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The group that it belongs to: whoever owns that group may open it.
    pub group: GroupName,
    /// Its size in bytes, as its first owner found it.
    pub size: u64,
    /// Grows with each opening.
    pub epoch: Epoch,
    /// Who has it open.
    pub owner: Option<ServerName>,
    /// The copies that have everything that was ever acknowledged. Never empty (R25).
    pub good: BTreeSet<ServerName>,
    /// The lineage of the good copies' data.
    pub generation: Generation,
    /// The last time that it went on from a copy that was not good: an operator's word (C20).
    pub forced: Option<Forced>,
}

/// An operator let a volume go on from a copy that was not known to be good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forced {
    /// From whose copy.
    pub server: ServerName,
    /// The copies that were good then: they may have what this one lacks.
    pub instead_of: BTreeSet<ServerName>,
    /// The generation that began with it.
    pub generation: Generation,
    /// When.
    pub at: WallTime,
}

/// What can happen to a volume's facts. Each names the epoch, and the proposal reads the volume's
/// revision (R12, R25).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeCommand {
    /// The first facts, by the owner of its group.
    Form {
        /// Its group.
        group: GroupName,
        /// Its size in bytes.
        size: u64,
        /// The copies that are good from the start: the proposer's, or all, where they are known to
        /// be equal.
        good: BTreeSet<ServerName>,
    },
    /// The owner of its group opens it: the epoch that follows, for a server whose copy is good.
    Open {
        /// Who.
        server: ServerName,
        /// Under which ownership of the group.
        group_epoch: Epoch,
        /// The epoch of the volume that begins.
        epoch: Epoch,
        /// Copies that cannot be reached: out of the good ones with the same entry (R28).
        without: BTreeSet<ServerName>,
    },
    /// The owner goes on without these copies: they are good no more, and a new generation begins.
    Outdate {
        /// Who.
        server: ServerName,
        /// Under which epoch of the volume.
        epoch: Epoch,
        /// Which copies; the own one when its disk is lost (R27). Never the last one.
        copies: BTreeSet<ServerName>,
    },
    /// The resync into this copy has ended: it is good again.
    UpToDate {
        /// Who says so.
        server: ServerName,
        /// Under which epoch of the volume.
        epoch: Epoch,
        /// Whose copy.
        copy: ServerName,
    },
    /// The owner has closed it in order.
    Close {
        /// Who.
        server: ServerName,
        /// Under which epoch of the volume.
        epoch: Epoch,
    },
    /// An operator lets this copy be the good one, whatever the others have.
    Force {
        /// Whose.
        server: ServerName,
    },
    /// It is configured no more, and nobody has it open.
    Forget,
}

impl fmt::Display for VolumeCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |servers: &BTreeSet<ServerName>| {
            servers.iter().map(ServerName::as_str).collect::<Vec<_>>().join(", ")
        };
        match self {
            Self::Form { good, .. } => write!(f, "formed; good copies: {}", list(good)),
            Self::Open { server, epoch, without, .. } if without.is_empty() => {
                write!(f, "opened on {server}, epoch {epoch}")
            }
            Self::Open { server, epoch, without, .. } => {
                write!(f, "opened on {server}, epoch {epoch}, without {}", list(without))
            }
            Self::Outdate { server, copies, .. } => {
                write!(f, "{server} goes on without the copy on {}", list(copies))
            }
            Self::UpToDate { copy, .. } => write!(f, "the copy on {copy} is up to date"),
            Self::Close { server, epoch } => write!(f, "closed on {server}, epoch {epoch}"),
            Self::Force { server } => write!(f, "the copy on {server} is the good one by an operator's word"),
            Self::Forget => f.write_str("configured no more"),
        }
    }
}
