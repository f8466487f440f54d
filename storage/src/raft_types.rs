//! The types that Raft is instantiated with, and short names for what follows from them.
//!
//! The generic Raft is expensive to compile: only one crate should make a [`Raft`], behind a
//! handle that is not generic.

use std::{fmt, net::IpAddr};

use openraft::alias;
use serde::{Deserialize, Serialize};
use tasuki_core::{
    ids::ServerName,
    registry::{Proposal, Reply},
};

use crate::registry::StateMachine;

/// A voter or learner, as the membership entries of the log carry it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Which server.
    pub server: ServerName,
    /// Where it is reached, in order of heartbeat priority.
    pub addresses: Vec<IpAddr>,
    /// The port of its peer service.
    pub port: u16,
    /// The generation of the membership this stands in; a newer one replaces the addresses.
    pub generation: u64,
}

impl Default for Member {
    /// Nobody; Raft needs one where it knows an id only.
    fn default() -> Self {
        Self { server: ServerName::new(""), addresses: Vec::new(), port: 0, generation: 0 }
    }
}

impl fmt::Display for Member {
    /// `kiki@10.0.0.1,10.1.0.1:7946 (generation 3)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@", self.server)?;
        for (n, address) in self.addresses.iter().enumerate() {
            write!(f, "{}{address}", if n == 0 { "" } else { "," })?;
        }
        write!(f, ":{} (generation {})", self.port, self.generation)
    }
}

openraft::declare_raft_types!(
    /// The registry's Raft. One leader a term, so that the term can serve as a fencing token.
    pub Registry:
        D = Proposal,
        R = Reply,
        NodeId = u64,
        Node = Member,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>,
);

/// The Raft of the registry.
pub type Raft = openraft::Raft<Registry, StateMachine>;
/// One log entry.
pub type Entry = alias::EntryOf<Registry>;
/// Term and index of one log entry.
pub type LogId = alias::LogIdOf<Registry>;
/// A vote, or a leader's claim.
pub type Vote = alias::VoteOf<Registry>;
/// The voters and learners, with the entry that made them so.
pub type StoredMembership = alias::StoredMembershipOf<Registry>;
/// What a snapshot covers.
pub type SnapshotMeta = alias::SnapshotMetaOf<Registry>;
/// A snapshot: the state as JSON, and what it covers.
pub type Snapshot = alias::SnapshotOf<Registry, Vec<u8>>;
