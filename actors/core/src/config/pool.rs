//! Server pools: which servers serve which work, and how many of them at least and at most.

use serde::{Deserialize, Serialize};

use crate::ids::ServerName;

/// The pool that holds the servers which no other pool has.
pub const FREE: &str = "Free";

/// The pool that holds the servers which resources bound to servers by name keep for themselves.
pub const GENERIC: &str = "Generic";

/// One server pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolConfig {
    /// For people.
    pub comment: String,
    /// It is filled up to this many servers before more important needs of others end.
    pub min: u32,
    /// It never has more than this; `None` is no limit.
    pub max: Option<u32>,
    /// The more important pool is filled first.
    pub importance: u32,
    /// Only these may be in it; empty means any.
    pub servers: Vec<ServerName>,
}
