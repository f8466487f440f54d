//! What one server believes of the others at this moment, with its evidence. Never the truth:
//! truth is in the registry.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::punctuality::TooTight;
use crate::{
    config::HeartbeatPath,
    ids::{NetworkName, ServerName},
    time::{Timestamp, millis},
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
        !self.paths.values().any(PathView::is_heard)
    }

    /// Whether beats are late on some path, or do not come.
    #[must_use]
    pub fn has_bad_path(&self) -> bool {
        self.paths.values().any(|path| matches!(path.state, PathState::Caution | PathState::Error))
    }

    /// The paths on which it is heard although every network to it is silent: it lives, and can
    /// neither vote nor hold a lease from here (R21). Empty when a network works.
    #[must_use]
    pub fn heard_only_on(&self) -> Vec<&NetworkName> {
        let heard = || self.paths.iter().filter(|(_, path)| path.is_heard()).map(|(name, _)| name);
        if heard().any(|name| !HeartbeatPath::is_evidence_only(name)) {
            Vec::new()
        } else {
            heard().collect()
        }
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
    /// Since when it is in this state, on this server's boot clock.
    #[serde(default)]
    pub since: Timestamp,
    /// How irregularly beats come: the mean deviation of the gaps between them.
    #[serde(default)]
    pub jitter: Duration,
    /// They come so late, so often, that `detect` is too tight for it.
    #[serde(default)]
    pub tight: Option<TooTight>,
}

impl Default for PathView {
    /// On which nothing was heard yet.
    fn default() -> Self {
        Self {
            state: PathState::Unknown,
            latency: Duration::ZERO,
            loss_percent: 0,
            since: Timestamp(0),
            jitter: Duration::ZERO,
            tight: None,
        }
    }
}

impl PathView {
    /// Whether beats arrive on it, if late.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        matches!(self.state, PathState::Normal | PathState::Caution)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r21_a_server_that_is_heard_on_a_serial_line_only_is_not_silent_but_cut_off() {
        let path = |state| PathView { state, ..PathView::default() };
        let peer = |lan, com| PeerView {
            gossip: GossipState::Alive,
            paths: BTreeMap::from([("public".into(), path(lan)), ("com:/dev/ttyS0".into(), path(com))]),
        };
        let cut = peer(PathState::Error, PathState::Caution);
        assert!(!cut.is_silent());
        assert_eq!(cut.heard_only_on(), [&NetworkName::from("com:/dev/ttyS0")]);
        assert!(peer(PathState::Normal, PathState::Normal).heard_only_on().is_empty());
        assert!(peer(PathState::Error, PathState::Error).is_silent());
        assert!(peer(PathState::Error, PathState::Error).heard_only_on().is_empty());
    }
}
