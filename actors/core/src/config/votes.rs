//! Who may break a tie between two servers, and where votes are kept besides the servers.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{ClusterConfig, ServerConfig};
use crate::{ids::ServerName, time::millis};

/// Votes besides those of the servers (`[votes]`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Votes {
    /// What lets the survivor of two go on alone.
    #[serde(default)]
    pub tie_break: TieBreak,
    /// Voting files on storage that the servers share: none, or an odd number.
    #[serde(default)]
    pub files: Vec<PathBuf>,
    /// A voting file that neither reads nor writes for this long counts as lost. Apart from the
    /// patience with silent servers (`misscount`): shared storage may fail over slowly.
    #[serde(with = "millis", default = "default_disk_timeout")]
    pub disk_timeout: Duration,
}

/// As in the reference system: `disktimeout` 200.
fn default_disk_timeout() -> Duration {
    Duration::from_secs(200)
}

impl Default for Votes {
    fn default() -> Self {
        Self { tie_break: TieBreak::None, files: Vec::new(), disk_timeout: default_disk_timeout() }
    }
}

/// What lets the survivor of two servers go on alone (R14 to R19). Read only while exactly two vote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TieBreak {
    /// Nothing: two servers that lose each other stop rather than guess.
    #[default]
    None,
    /// A record at a witness that is no Raft voter.
    Witness {
        /// Its name among the servers.
        witness: ServerName,
    },
    /// A record in the voting files.
    VotingFiles,
    /// The other server's confirmed power-off.
    Fence,
    /// Whoever still reaches these addresses goes on. Both may: two masters are possible.
    UnsafePing {
        /// All of them must answer.
        addresses: Vec<IpAddr>,
    },
}

/// What a member does (`[[server]]` or `[[witness]]`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Role {
    /// Runs groups.
    #[default]
    Server,
    /// Votes in Raft and runs no groups.
    Voter {
        /// The TCP port of its peer service; one witness serves several clusters.
        port: u16,
    },
    /// Keeps the tie-break record of two servers, and has no vote (compare-and-swap).
    Register {
        /// The TCP port of its service.
        port: u16,
    },
}

impl Role {
    /// Whether groups may run there.
    #[must_use]
    pub fn runs_groups(self) -> bool {
        self == Self::Server
    }

    /// The TCP port at which it answers, where it has one of its own.
    #[must_use]
    pub fn port(self) -> Option<u16> {
        match self {
            Self::Server => None,
            Self::Voter { port } | Self::Register { port } => Some(port),
        }
    }

    /// Whether it can have a Raft vote.
    #[must_use]
    pub fn may_vote(self) -> bool {
        !matches!(self, Self::Register { .. })
    }
}

impl ClusterConfig {
    /// The ports of the members that have one of their own.
    #[must_use]
    pub fn own_ports(&self) -> BTreeMap<ServerName, u16> {
        let servers = self.servers.iter();
        servers.filter_map(|(name, server)| Some((name.clone(), server.role.port()?))).collect()
    }

    /// The members that may run groups, in order of their number: all but witnesses.
    #[must_use]
    pub fn runners(&self) -> Vec<(&ServerName, &ServerConfig)> {
        let mut servers = self.servers_by_number();
        servers.retain(|(_, server)| server.role.runs_groups());
        servers
    }
}

/// What becomes of a running group when its server loses its lease (`on_quorum_loss`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuorumLoss {
    /// It is stopped.
    #[default]
    Stop,
    /// Its processes are frozen and its addresses dropped. They go on when the lease comes back
    /// under the same ownership, and are killed when somebody else owns the group by then.
    Freeze,
    /// Only what is marked `read_only` runs on; addresses are dropped.
    ReadOnly,
}

impl QuorumLoss {
    /// What becomes of one resource of such a group; `read_only`: it is marked so.
    #[must_use]
    pub fn of(self, read_only: bool) -> AtLeaseEnd {
        match self {
            Self::Freeze => AtLeaseEnd::Freeze,
            Self::ReadOnly if read_only => AtLeaseEnd::RunOn,
            Self::Stop | Self::ReadOnly => AtLeaseEnd::Stop,
        }
    }
}

/// What the guard does with one resource when the lease ends. Addresses are dropped in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtLeaseEnd {
    /// It is killed.
    #[default]
    Stop,
    /// It is frozen: nothing of it runs until a lease is held again.
    Freeze,
    /// It runs on.
    RunOn,
}
