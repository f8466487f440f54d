//! Whose a copy is, and what it knows of itself.

use std::fmt;

use serde::{Deserialize, Serialize};
use tasuki_core::{
    ids::{Epoch, Lineage, ServerName, VolumeName},
    mirror::{DiskState, geometry::Geometry, handshake::LocalCopy, history::History},
};

use super::layout::PEERS;

/// Letters of a reason that are kept.
const WHY: usize = 200;

/// Whose a management area is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The registry's lineage (R24).
    pub lineage: Lineage,
    /// Of which volume it is a copy.
    pub volume: VolumeName,
    /// On which server.
    pub server: ServerName,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "volume {} on {} (lineage {})", self.volume, self.server, self.lineage)
    }
}

/// A peer that a dirty map is kept for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerPlace {
    /// Who.
    pub server: ServerName,
    /// Pages of an earlier holder of the place are not its own.
    pub tenure: u32,
}

/// What stands in the superblock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superblock {
    /// Whose it is.
    pub owner: Owner,
    /// How the volume is divided.
    pub geometry: Geometry,
    /// The newest epoch that this copy has heard of: older frames are refused (R31).
    pub epoch: Epoch,
    /// `Inconsistent`, `Consistent`, `Failed` or `Diskless`.
    pub disk: DiskState,
    /// Why its disk counts as failed, until an operator says that it is in order again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// The lineage of its data; empty for a copy that was never used.
    pub history: History,
    /// The copy is, or was when it was left, open for writing under this epoch: the activity log
    /// counts. Set before the first write, and taken away only when the log is empty or its regions
    /// are in the dirty maps.
    pub primary: Option<Epoch>,
    /// Which place of the dirty maps is whose.
    pub(super) peers: [Option<PeerPlace>; PEERS],
    /// The tenures given out.
    pub(super) tenures: u32,
    /// The maps are being written for other extents: until that has ended, everything is dirty.
    pub(super) maps_unsure: bool,
}

impl Superblock {
    /// That of a copy that was never used: whole, as whatever was there before; its empty history says
    /// that it is no copy of anything yet.
    #[must_use]
    pub fn new(owner: Owner, geometry: Geometry) -> Self {
        Self {
            owner,
            geometry,
            epoch: Epoch::default(),
            disk: DiskState::Consistent,
            failed: None,
            history: History::default(),
            primary: None,
            peers: [const { None }; PEERS],
            tenures: 0,
            maps_unsure: false,
        }
    }

    /// Its disk has failed, and the registry counts on it no more.
    pub fn fail(&mut self, why: &str) {
        self.disk = DiskState::Failed;
        self.failed = Some(why.chars().take(WHY).collect());
    }

    /// What is there counts for nothing any more, as on a disk that failed and is in order again: it is a
    /// copy of nothing yet, and all of it is compared before it is used.
    pub fn start_over(&mut self) {
        self.disk = DiskState::Inconsistent;
        self.failed = None;
        self.history = History::default();
        self.primary = None;
    }

    /// The same, as two copies tell each other of it.
    #[must_use]
    pub fn copy(&self) -> LocalCopy {
        LocalCopy {
            geometry: self.geometry,
            epoch: self.epoch,
            disk: self.disk,
            history: self.history.clone(),
            crashed: self.primary.is_some(),
        }
    }

    pub(super) fn place_of(&self, server: &ServerName) -> Option<(usize, u32)> {
        self.peers.iter().enumerate().find_map(|(place, peer)| {
            let peer = peer.as_ref().filter(|peer| peer.server == *server)?;
            Some((place, peer.tenure))
        })
    }
}
