//! An object of the registry, with who changed it when.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Key;
use crate::{
    ids::{Revision, ServerName},
    time::WallTime,
};

/// A value and its last change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item<T> {
    /// The value.
    pub value: T,
    /// The revision that made it.
    pub created: Revision,
    /// The revision that changed it last: what a decision names (R12).
    pub modified: Revision,
    /// When that was.
    pub at: WallTime,
}

/// Who proposed a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Author {
    /// The placement or membership decision of the leader on this server.
    Leader(ServerName),
    /// A server about itself or about a group that it owns.
    Server(ServerName),
    /// A person, by the name in their certificate or local account.
    Operator(String),
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader(server) => write!(f, "leader {server}"),
            Self::Server(server) => write!(f, "server {server}"),
            Self::Operator(name) => write!(f, "operator {name}"),
        }
    }
}

/// One accepted change, as `registry history` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its number.
    pub revision: Revision,
    /// Who.
    pub author: Author,
    /// When, by the clock of who proposed it.
    pub at: WallTime,
    /// The command in a few words.
    pub what: String,
    /// Why, when it came from a decision.
    pub reason: Option<String>,
    /// The objects it touched.
    pub keys: Vec<Key>,
}
