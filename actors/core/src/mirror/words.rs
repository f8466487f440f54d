//! The words for how a volume is on one server.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a server does with a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It may be written here.
    Primary,
    /// It receives.
    #[default]
    Secondary,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Primary => "Primary",
            Self::Secondary => "Secondary",
        })
    }
}

/// The quality of one copy, in DRBD's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskState {
    /// There is no disk here, or it was put aside.
    #[default]
    Diskless,
    /// It has failed.
    Failed,
    /// Some of it is old and some new: a resync into it has begun and not ended.
    Inconsistent,
    /// It is whole, as of some moment in the past.
    Outdated,
    /// It is whole; whether it is the newest only the registry knows, and that is not open.
    Consistent,
    /// It is whole and has all that was ever acknowledged.
    UpToDate,
}

impl DiskState {
    /// How a copy is, from what its own management area says of it and from whether the registry has
    /// it among the good ones (`None`: the registry is not known).
    #[must_use]
    pub fn of(own: Self, good: Option<bool>) -> Self {
        match (own, good) {
            (Self::Diskless | Self::Failed | Self::Inconsistent, _) => own,
            (_, None) => Self::Consistent,
            (_, Some(true)) => Self::UpToDate,
            (_, Some(false)) => Self::Outdated,
        }
    }
}

impl fmt::Display for DiskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Diskless => "Diskless",
            Self::Failed => "Failed",
            Self::Inconsistent => "Inconsistent",
            Self::Outdated => "Outdated",
            Self::Consistent => "Consistent",
            Self::UpToDate => "UpToDate",
        })
    }
}

/// A volume's relation to one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// No stream.
    #[default]
    Disconnected,
    /// The two sides find out about each other.
    Handshaking,
    /// Writes go to both.
    Connected,
    /// Writes go to both, and what the peer lacks is copied to it.
    SyncSource,
    /// What this copy lacks is copied from the peer.
    SyncTarget,
    /// A resync waits until an operator lets it go on.
    Paused,
    /// No stream: each side has data that the other lacks, and an operator decides whose is lost.
    Diverged,
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Disconnected => "Disconnected",
            Self::Handshaking => "Handshaking",
            Self::Connected => "Connected",
            Self::SyncSource => "SyncSource",
            Self::SyncTarget => "SyncTarget",
            Self::Paused => "Paused",
            Self::Diverged => "Diverged",
        })
    }
}

/// The colour of a copy in the mirror helper (C21).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// In step.
    Green,
    /// Being copied.
    Yellow,
    /// Not usable: outdated, failed, or with nobody in step with it.
    Red,
    /// Not known: no server there, no volume yet.
    Grey,
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Green => "green",
            Self::Yellow => "yellow",
            Self::Red => "red",
            Self::Grey => "grey",
        })
    }
}

impl Colour {
    /// The colour of a copy.
    #[must_use]
    pub fn of(disk: DiskState, link: LinkState) -> Self {
        match (disk, link) {
            (_, LinkState::SyncTarget | LinkState::Paused) => Self::Yellow,
            (DiskState::UpToDate, _) => Self::Green,
            (_, LinkState::Diverged) => Self::Red,
            (DiskState::Consistent | DiskState::Diskless, _) => Self::Grey,
            (DiskState::Failed | DiskState::Inconsistent | DiskState::Outdated, _) => Self::Red,
        }
    }
}
