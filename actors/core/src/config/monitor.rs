//! Monitors: what is looked at, how often, and what follows when it is found bad.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::FinalAction;
use crate::{
    ids::{GroupName, ResourceName, ServerName},
    time::millis,
};

/// One monitor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonitorConfig {
    /// For people.
    pub comment: String,
    /// What it looks at.
    pub kind: MonitorKind,
    /// Between the end of one look and the next.
    #[serde(with = "millis")]
    pub interval: Duration,
    /// How long one look may take.
    #[serde(with = "millis")]
    pub timeout: Duration,
    /// Looks that may fail in a row before that is a finding.
    pub retries: u32,
    /// From the start of what it watches to the first look.
    #[serde(with = "millis")]
    pub start_delay: Duration,
    /// Whether it looks always or only while its target runs.
    pub timing: MonitorTiming,
    /// The resource that it watches: needed by `pid`, and for `while_active`.
    pub target: Option<ResourceName>,
    /// The nice value of its programs.
    pub nice: i8,
    /// The servers that look; empty means all.
    pub servers: Vec<ServerName>,
    /// What follows a finding.
    pub recovery: RecoveryConfig,
}

/// What a monitor looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum MonitorKind {
    /// The process of an asynchronous exec resource.
    Pid,
    /// Whether addresses answer an ICMP echo.
    Ip {
        /// All of them must answer.
        addresses: Vec<IpAddr>,
    },
    /// A program's exit code.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
        /// Runs as this user; as Tasuki's own otherwise.
        user: Option<String>,
        /// Working directory.
        directory: Option<PathBuf>,
    },
    /// This server's copy of a mirrored disk (mdw).
    Mirror,
    /// The link between the copies of a mirrored disk (mdnw).
    MirrorLink,
}

impl MonitorKind {
    /// Whether it watches a mirrored disk.
    #[must_use]
    pub fn is_of_mirror(&self) -> bool {
        matches!(self, Self::Mirror | Self::MirrorLink)
    }
}

/// When a monitor looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MonitorTiming {
    /// From the node's start on.
    Always,
    /// While its target is online on this server.
    WhileActive,
}

/// What follows a finding: restarts, then failovers, then the final action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryConfig {
    /// What is mended.
    pub target: RecoveryTarget,
    /// How often it is restarted on the same server.
    pub restarts: u32,
    /// How often a server may hand it on because of this monitor.
    pub failovers: u32,
    /// When both are used up.
    pub last: FinalAction,
}

impl RecoveryConfig {
    /// Whether nothing at all follows a finding.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.restarts == 0 && self.failovers == 0 && self.last == FinalAction::None
    }
}

/// What a monitor's recovery mends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryTarget {
    /// A resource, and what depends on it.
    Resource(ResourceName),
    /// A group.
    Group(GroupName),
    /// Every group on the server that found it.
    Cluster,
}
