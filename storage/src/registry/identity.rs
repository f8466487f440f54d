//! Whose store it is: a data folder must not be used by another server, for another registry, or
//! under another Raft id (R23, R24).

use std::fmt;

use serde::{Deserialize, Serialize};
use tasuki_core::ids::{Lineage, RaftId, ServerName};

use super::{OpenOptions, engine::Engine, keys};
use crate::StoreError;

/// Whose store it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Which server.
    pub server: ServerName,
    /// Of which registry.
    pub lineage: Lineage,
    /// Under which Raft id its votes count.
    pub raft_id: RaftId,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server {}, lineage {}, Raft id {}", self.server, self.lineage, self.raft_id)
    }
}

/// Whose store is wanted, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Which server.
    pub server: ServerName,
    /// Of which registry, once it has joined one.
    pub lineage: Option<Lineage>,
    /// Under which Raft id, once it has one.
    pub raft_id: Option<RaftId>,
}

impl Expected {
    fn agrees_with(&self, found: &Identity) -> bool {
        self.server == found.server
            && self.lineage.as_ref().is_none_or(|lineage| *lineage == found.lineage)
            && self.raft_id.is_none_or(|id| id == found.raft_id)
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server {}", self.server)?;
        if let Some(lineage) = &self.lineage {
            write!(f, ", lineage {lineage}")?;
        }
        if let Some(id) = self.raft_id {
            write!(f, ", Raft id {id}")?;
        }
        Ok(())
    }
}

pub(crate) fn read(engine: &Engine) -> Result<Option<Identity>, StoreError> {
    engine.read(keys::IDENTITY_KEY).map_err(|e| StoreError::damaged(engine.dir(), format!("identity: {e}")))
}

pub(crate) fn check(engine: &Engine, options: &OpenOptions) -> Result<(), StoreError> {
    let dir = engine.dir().to_owned();
    let found = read(engine)?;
    if options.must_exist && found.is_none() && engine.log.is_empty() {
        let server = options.expected.as_ref().map_or("this server".to_owned(), |e| e.server.to_string());
        return Err(StoreError::Lost { dir, server });
    }
    match (found, &options.expected) {
        (Some(found), Some(expected)) if !expected.agrees_with(&found) => {
            Err(StoreError::OtherServer { dir, found, expected: expected.to_string() })
        }
        _ => Ok(()),
    }
}

pub(crate) fn bind(engine: &Engine, identity: &Identity) -> Result<(), StoreError> {
    match read(engine)? {
        Some(found) if found == *identity => Ok(()),
        Some(found) => Err(StoreError::OtherServer {
            dir: engine.dir().to_owned(),
            found,
            expected: identity.to_string(),
        }),
        None => {
            let written = engine.check_space().and_then(|()| engine.write(keys::IDENTITY_KEY, identity));
            written.map_err(|e| StoreError::io("write", engine.dir(), e))?;
            engine.sync()
        }
    }
}
