//! What one server believes of the others at this moment, with its evidence. Never the truth:
//! truth is in the registry.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{NetworkName, ServerName},
    time::millis,
};

/// What this server believes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Every other configured server.
    pub peers: BTreeMap<ServerName, PeerView>,
}

/// What this server believes of one other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// What gossip says.
    pub gossip: GossipState,
    /// Every path to it.
    pub paths: BTreeMap<NetworkName, PathView>,
}

impl PeerView {
    /// Whether no path has been heard on lately.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        !self.paths.values().any(|path| matches!(path.state, PathState::Normal | PathState::Caution))
    }
}

/// One heartbeat path to one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathView {
    /// Its state.
    pub state: PathState,
    /// Round trip of the last answered beat.
    #[serde(with = "millis")]
    pub latency: Duration,
    /// Lost among the last hundred beats.
    pub loss_percent: u8,
}

/// The state of a heartbeat path, in the words that operators read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathState {
    /// Beats arrive.
    Normal,
    /// A beat is late.
    Caution,
    /// No beats arrive.
    Error,
    /// Not configured between these two servers.
    Unused,
    /// Nothing was heard yet.
    Unknown,
}

impl fmt::Display for PathState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Normal => "Normal",
            Self::Caution => "Caution",
            Self::Error => "Error",
            Self::Unused => "Unused",
            Self::Unknown => "Unknown",
        })
    }
}

/// The words of SWIM for a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GossipState {
    /// Not heard of yet.
    Joining,
    /// Somebody hears it.
    Alive,
    /// Somebody misses it.
    Suspect,
    /// Nobody hears it.
    Dead,
    /// It said good-bye.
    Left,
}
