//! Performs what a leader does to the tie-break record (R15, R17).

use std::sync::Arc;

use tasuki_core::{
    ids::Term,
    membership::{roster::Found, tie_break::Record},
    registry::{Author, Command},
};

use super::{raft_node::RaftNode, register};
use crate::{
    context::Context,
    ports::{RegisterPlace, Swap},
    propose::propose,
};

/// What a leader knows of the record.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Where it is, in words.
    pub place: String,
    /// What is there.
    pub found: Found,
    /// The claims of this server before the reading: after another one it counts for nothing.
    pub claims: u64,
    /// The term in which this server led when it read.
    pub term: Term,
}

/// Reads the record.
pub async fn read(context: &Context, (name, place): (String, RegisterPlace), term: Term) -> Reading {
    let claims = *context.tie_break.turn.lock().await;
    let found = match register::read(context, &place).await {
        Ok(record) => Found::Read(record),
        Err(error) => Found::Unknown(error.to_string()),
    };
    Reading { place: name, found, claims, term }
}

/// Commits what the record is, or shall be.
///
/// # Errors
/// When that is not certain.
pub async fn note(context: &Arc<Context>, record: &Record, made: bool, place: &str) -> Result<(), String> {
    let author = Author::Leader(context.me().clone());
    let command = Command::NoteTieBreak { record: record.clone(), made, place: place.to_owned() };
    let noted = propose(context, author, command, None, Vec::new()).await;
    noted.map(|_| ()).map_err(|error| error.to_string())
}

/// Puts `to` in the place of what was read: commits the note first, and makes sure that this server
/// still leads in the term of the reading, so that whoever led after the reading has seen the note.
///
/// # Errors
/// Why it was not written, or may not have been: it is read again.
pub async fn write(
    context: &Arc<Context>,
    raft: &RaftNode,
    place: &RegisterPlace,
    reading: &Reading,
    to: &Record,
) -> Result<(), String> {
    let Found::Read(from) = &reading.found else { return Err("the record was not read".into()) };
    let number = raft.voters().map(|last| last.number);
    note(context, to, from.is_some(), &reading.place).await?;
    if raft.confirm_leadership().await? != reading.term {
        return Err("another server has led meanwhile".into());
    }
    let turn = context.tie_break.turn.lock().await;
    if *turn != reading.claims || raft.voters().map(|last| last.number) != number {
        return Err("this server has claimed meanwhile".into());
    }
    match register::swap(context, place, from.as_ref(), to).await {
        Ok(Swap::Done) => {
            context.tell("tie-break-record", "cluster", format!("the record at {} says {to}", reading.place));
            Ok(())
        }
        Ok(Swap::Other(_)) => Err("the record was changed by another server".into()),
        Err(error) => Err(error.to_string()),
    }
}
