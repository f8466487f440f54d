//! What the registry keeps of mirrored volumes: facts that only commands of the volumes' owners and of
//! operators change (R25, R35).

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use super::State;
use crate::{
    config::{GroupConfig, ResourceKind},
    ids::{Epoch, Generation, GroupName, ResourceName, ServerName, VolumeName},
    time::WallTime,
};

/// The group of a volume among these, and the servers that keep a copy of it.
pub fn configured_volume<'a>(
    groups: impl IntoIterator<Item = (&'a GroupName, &'a GroupConfig)>,
    volume: &VolumeName,
) -> Option<(&'a GroupName, BTreeSet<ServerName>)> {
    let resource = ResourceName::from(volume.as_str());
    groups.into_iter().find_map(|(name, group)| {
        let kind = &group.resources.get(&resource)?.kind;
        let servers = group.servers.iter().cloned().collect();
        matches!(kind, ResourceKind::MirrorDisk(_)).then_some((name, servers))
    })
}

/// The mirrored volumes of a group.
pub fn volumes_of(group: &GroupConfig) -> impl Iterator<Item = VolumeName> {
    let mirrors = group.resources.iter().filter(|(_, one)| matches!(one.kind, ResourceKind::MirrorDisk(_)));
    mirrors.map(|(name, _)| VolumeName::from(name.as_str()))
}

impl State {
    /// Whether whoever opened a volume may still have it open: it owns its group. An owner that crashed
    /// lost the group with its end (R13).
    #[must_use]
    pub fn is_open(&self, volume: &Volume) -> bool {
        let group = self.groups.get(&volume.group);
        let owner = group.and_then(|group| group.ownership.value.owner.as_ref());
        volume.owner.is_some() && volume.owner.as_ref() == owner
    }
}

/// What the servers agree on about one volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The group that it belongs to: whoever owns that group may open it.
    pub group: GroupName,
    /// Its size in bytes, as its first owner found it.
    pub size: u64,
    /// Grows with each opening.
    pub epoch: Epoch,
    /// Who has it open. Stays when that server crashes: it did not close it in order.
    pub owner: Option<ServerName>,
    /// Who had it open last: it recorded what the copies lack that were not good then.
    #[serde(default)]
    pub opened_by: Option<ServerName>,
    /// The copies that have everything that was ever acknowledged. Never empty (R25).
    pub good: BTreeSet<ServerName>,
    /// The lineage of the good copies' data.
    pub generation: Generation,
    /// Copies of which nobody recorded all that they may lack: they are compared as a whole when they
    /// are brought up to date. Only ever with more than two copies.
    #[serde(default)]
    pub compare: BTreeSet<ServerName>,
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
        /// Who.
        server: ServerName,
        /// Under which ownership of the group.
        group_epoch: Epoch,
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
    /// All copies that are connected have grown.
    Resize {
        /// Who says so.
        server: ServerName,
        /// Under which epoch of the volume.
        epoch: Epoch,
        /// The new size in bytes; never smaller than before.
        size: u64,
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
            Self::Resize { size, .. } => write!(f, "grown to {size} bytes"),
            Self::Close { server, epoch } => write!(f, "closed on {server}, epoch {epoch}"),
            Self::Force { server } => write!(f, "the copy on {server} is the good one by an operator's word"),
            Self::Forget => f.write_str("configured no more"),
        }
    }
}
