//! The lease: a server runs groups only while it holds one, and nobody takes over before it has
//! provably ended (safety rules R1 to R8).
//!
//! ```text
//!  holder (every server)                         grantor (the Raft leader)
//!    | -- Request{seq} ------ at r (its clock) -->  |  last quorum round sent at c
//!    | <-- Grant{left = lease - (now - c)} -------- |  remembers until = now + lease
//!  lease ends at r + left                          judges at until + guard budget + margin
//! ```
//!
//! The holder counts from its own sending and the grantor from its own granting, so the holder
//! always ends first, whatever the network does to the messages in between.

mod grantor;
mod holder;

pub use grantor::{Grantor, GrantorAction, GrantorEvent};
pub use holder::{Holder, HolderAction, HolderEvent};
use serde::{Deserialize, Serialize};

use crate::{ids::Incarnation, time::millis};

/// A server asks for its lease to be renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Which life of the server asks.
    pub incarnation: Incarnation,
    /// Counts requests; answers name it.
    pub seq: u64,
    /// The last log entry that it has applied and obeyed (R8).
    pub applied: u64,
    /// What the second monitor of the synchronisation service says (R8).
    pub healthy: bool,
}

/// The leader renews a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Whose lease: which life.
    pub incarnation: Incarnation,
    /// The request that this answers.
    pub seq: u64,
    /// How long the lease lasts, counted from the sending of that request.
    #[serde(with = "millis")]
    pub left: std::time::Duration,
    /// The leader's last log entry: the grant counts once the holder has applied it (R4).
    pub barrier: u64,
}

#[cfg(test)]
mod tests;
