//! Clients of the registry, on every server: what they asked, when, and what they were told.

use std::fmt;

use tasuki_core::registry::Key;

/// An operation of a client, as its history has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Its number.
    pub id: u64,
    /// What.
    pub kind: Kind,
    /// What a write has read before, and at which revision it was: it is refused when that has moved.
    pub named: Option<(Key, u64)>,
    /// What came of it; none when it has just begun.
    pub outcome: Option<Outcome>,
}

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Writes a value that is written only once: its own number.
    Write,
    /// Reads everything as of now.
    Read,
}

/// What it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A write was accepted as this revision.
    Written(u64),
    /// The registry was at this revision, and these values were in it.
    Read(u64, Vec<u64>),
    /// It was not done, and will not be.
    NotDone(String),
    /// It is not known.
    Unclear(String),
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Write => "write",
            Kind::Read => "read",
        };
        match &self.outcome {
            None => write!(f, "client: {kind} {} begins", self.id),
            Some(Outcome::Read(revision, values)) => {
                write!(f, "client: {kind} {} found revision {revision}, {} values", self.id, values.len())
            }
            Some(outcome) => write!(f, "client: {kind} {}: {outcome:?}", self.id),
        }
    }
}

/// The name of the key that a write makes.
#[must_use]
pub fn key(id: u64) -> String {
    format!("value-{id}")
}

/// The write that made a key.
#[must_use]
pub fn of_key(key: &str) -> Option<u64> {
    key.strip_prefix("value-")?.parse().ok()
}
