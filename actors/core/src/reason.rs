//! Why a decision came out: an enum with one sentence each, kept in the log with the decision.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{GroupName, MonitorName, PoolName, ResourceName, ServerName},
    time::millis,
};

/// Why a group starts, moves, stops or stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Reason {
    /// The cluster has started and the group starts with it.
    ClusterStarted,
    /// An operator asked for the group to start.
    OperatorStarted {
        /// Who.
        by: String,
    },
    /// An operator asked for the group to stop.
    OperatorStopped {
        /// Who.
        by: String,
    },
    /// An operator asked for the group to move.
    OperatorMoved {
        /// Who.
        by: String,
    },
    /// Its server is gone.
    ServerGone {
        /// Which.
        server: ServerName,
    },
    /// Its server is being shut down.
    ServerLeaving {
        /// Which.
        server: ServerName,
    },
    /// The cluster is being shut down.
    ClusterStopping,
    /// A resource did not start there.
    StartFailed {
        /// Which.
        resource: ResourceName,
        /// Where.
        server: ServerName,
    },
    /// A resource ended there and could not be kept running.
    ResourceFailed {
        /// Which.
        resource: ResourceName,
        /// Where.
        server: ServerName,
    },
    /// Its home server is back.
    HomeIsBack {
        /// Which.
        server: ServerName,
    },
    /// Its owner released it and it is still wanted.
    StillWanted,
    /// The configuration no longer has it, or no longer allows that server.
    NotConfigured,
    /// A monitor found it bad there, and restarts did not mend it.
    MonitorFound {
        /// Which monitor.
        monitor: MonitorName,
        /// Where.
        server: ServerName,
    },
    /// A resource failed too often within its interval.
    FailedTooOften {
        /// Which.
        resource: ResourceName,
        /// Where.
        server: ServerName,
    },
    /// What it depends on stops or has stopped.
    DependencyStopped {
        /// What it depends on.
        on: GroupName,
    },
    /// It comes back with what it depends on.
    PulledUp {
        /// What has started.
        by: GroupName,
    },
    /// Something that depends on it starts.
    NeededBy {
        /// What.
        group: GroupName,
    },
    /// Its server is in none of its pools any more.
    PoolChanged {
        /// Which server.
        server: ServerName,
    },
    /// Server pools are filled by importance.
    PoolsFilled {
        /// The pools that change.
        pools: Vec<PoolName>,
    },
    /// A server joined, and it shares its present one with what it should avoid.
    ServerJoined {
        /// Which server.
        server: ServerName,
        /// What it avoids.
        avoids: GroupName,
    },
    /// The server that it is bound to has started.
    ServerStarted {
        /// Which.
        server: ServerName,
    },
    /// A server sent no lease request for the whole takeover wait.
    LeaseRanOut {
        /// How long it has been silent.
        #[serde(with = "millis")]
        silent: Duration,
    },
    /// The server itself said that it has stopped.
    SaidSo,
    /// A server was fenced.
    Fenced {
        /// Which.
        server: ServerName,
        /// By which devices; empty when an operator confirmed it.
        by: String,
    },
    /// What an operator said of their own command. Needs level 2 of the registry.
    #[cfg(not(feature = "level-1"))]
    Said {
        /// In their words.
        text: String,
    },
}

impl Reason {
    /// An operator's own words; `None` where this program's level has none.
    #[must_use]
    #[cfg(not(feature = "level-1"))]
    pub fn said(text: String) -> Option<Self> {
        Some(Self::Said { text })
    }

    /// An operator's own words, of which this program's level has none.
    #[must_use]
    #[cfg(feature = "level-1")]
    pub fn said(_: String) -> Option<Self> {
        None
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClusterStarted => f.write_str("the group starts with the cluster"),
            Self::OperatorStarted { by } => write!(f, "{by} started it"),
            Self::OperatorStopped { by } => write!(f, "{by} stopped it"),
            Self::OperatorMoved { by } => write!(f, "{by} moved it"),
            Self::ServerGone { server } => write!(f, "its server {server} is gone"),
            Self::ServerLeaving { server } => write!(f, "its server {server} is shutting down"),
            Self::ClusterStopping => f.write_str("the cluster is shutting down"),
            Self::StartFailed { resource, server } => {
                write!(f, "resource {resource} did not start on {server}")
            }
            Self::ResourceFailed { resource, server } => {
                write!(f, "resource {resource} failed on {server}")
            }
            Self::HomeIsBack { server } => write!(f, "its home server {server} is back"),
            Self::StillWanted => f.write_str("it is wanted online and nobody runs it"),
            Self::NotConfigured => f.write_str("the configuration no longer places it there"),
            Self::MonitorFound { monitor, server } => {
                write!(f, "monitor {monitor} found it failed on {server}")
            }
            Self::FailedTooOften { resource, server } => {
                write!(f, "resource {resource} failed too often on {server}")
            }
            Self::DependencyStopped { on } => write!(f, "{on}, which it depends on, is not up there"),
            Self::PulledUp { by } => write!(f, "{by}, which it depends on, has started"),
            Self::NeededBy { group } => write!(f, "{group} needs it"),
            Self::PoolChanged { server } => write!(f, "{server} is in none of its server pools any more"),
            Self::PoolsFilled { pools } => {
                let pools: Vec<&str> = pools.iter().map(PoolName::as_str).collect();
                write!(f, "server pools {} are filled by importance", pools.join(", "))
            }
            Self::ServerJoined { server, avoids } => {
                write!(f, "{server} has joined, and it need not share a server with {avoids}")
            }
            Self::ServerStarted { server } => write!(f, "it starts with its server {server}"),
            Self::LeaseRanOut { silent } => {
                write!(f, "no lease request for {} ms", silent.as_millis())
            }
            Self::SaidSo => f.write_str("it said that it has stopped"),
            Self::Fenced { server, by } if by.is_empty() => {
                write!(f, "an operator confirmed that {server} is off")
            }
            Self::Fenced { server, by } => write!(f, "{server} was fenced by {by}"),
            #[cfg(not(feature = "level-1"))]
            Self::Said { text } => f.write_str(text),
        }
    }
}
