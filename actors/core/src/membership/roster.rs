//! The next step of a leader that keeps the voters and the tie-break record in step (R15, R17,
//! R20).
//!
//! The record names only servers that are in every quorum. So it is narrowed to the leader, or
//! closed, before the voters change away from two; and it is widened to both only after both have
//! the entry that makes them the two. A leader commits what it means to write between reading and
//! writing: one that leads no more cannot.
//!
//! Every write has a higher number than what it replaces, and a note in the registry that is not
//! older. While the last note has a higher number than the record, the write of an earlier leader
//! may still be under way, and the voters stay as they are.

use std::collections::BTreeSet;

use super::tie_break::{Mode, Record};
use crate::{
    ids::{Lineage, RaftId},
    planted::{self, Planted},
    registry::fencing::TieBreakNote,
};

/// What is known of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing: it was not read since this server leads.
    NotRead,
    /// It cannot be reached, or used; why.
    Unknown(String),
    /// What was read.
    Read(Option<Record>),
}

/// What the step is chosen from.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// This server, which leads.
    pub me: RaftId,
    /// The registry's.
    pub lineage: &'a Lineage,
    /// The voters in the last membership entry; two sets while they change.
    pub configs: &'a [BTreeSet<RaftId>],
    /// The number of that entry.
    pub number: u64,
    /// It is committed.
    pub committed: bool,
    /// Who should vote.
    pub wanted: &'a BTreeSet<RaftId>,
    /// Where the record is kept; `None` where there is no register.
    pub place: Option<&'a str>,
    /// What is there.
    pub found: &'a Found,
    /// What was committed of it.
    pub note: Option<&'a TieBreakNote>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Change the voters, with this number. The same voters again only get the number.
    Vote {
        /// Who votes.
        voters: BTreeSet<RaftId>,
        /// The number of the new membership.
        number: u64,
    },
    /// Read the record.
    Read,
    /// Commit the note, then put the record in the place of what was read.
    Write {
        /// What was read.
        from: Option<Record>,
        /// What it shall be.
        to: Record,
    },
    /// Commit what the record is.
    Note {
        /// The record.
        record: Record,
        /// It is there.
        made: bool,
    },
    /// The record names another voter: only that one may change it.
    HandOver(RaftId),
}

/// What an operator has to mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// R17: it was there once. It is not made anew by itself.
    #[error("the tie-break record is gone from its place ({0}); it is not made again by itself")]
    Lost(String),
    /// R24.
    #[error("the tie-break record at {0} belongs to another cluster, or to another life of it")]
    Foreign(String),
    /// Somebody else goes on alone by it.
    #[error("the tie-break record names store {0}, which does not vote here")]
    Taken(RaftId),
    /// It cannot be read.
    #[error("{0}")]
    Unknown(String),
}

/// Chooses the next step; `None` when nothing is to be done now.
///
/// # Errors
/// What keeps it from doing what is due.
pub fn next_step(input: &Input<'_>) -> Result<Option<Step>, Trouble> {
    let Some(last) = input.configs.last() else { return Ok(None) };
    // The leader of a change that it is not part of hands over first, as one that leaves does.
    if !input.committed || !last.contains(&input.me) {
        return Ok(None);
    }
    let changing = input.configs.len() > 1;
    let due = input.wanted.contains(&input.me) && (changing || input.wanted != last);
    match input.place {
        None => Ok(without_record(input, last, due)),
        Some(place) => with_record(input, place, last, due, changing),
    }
}

/// A higher number than any that was ever written.
fn next_number(input: &Input<'_>, record: Option<&Record>) -> u64 {
    let noted = input.note.map_or(0, |note| note.record.number);
    input.number.max(noted).max(record.map_or(0, |record| record.number)) + 1
}

fn vote(input: &Input<'_>, voters: &BTreeSet<RaftId>, record: Option<&Record>) -> Step {
    Step::Vote { voters: voters.clone(), number: next_number(input, record) }
}

/// Whether a record that was made elsewhere still lets one of these two claim: it does no more once
/// both logs have a higher number.
fn claimable_elsewhere(input: &Input<'_>) -> bool {
    let pair = |note: &&TieBreakNote| matches!(note.record.mode, Mode::Pair(..));
    input.note.filter(pair).is_some_and(|note| note.record.number >= input.number)
}

fn without_record(input: &Input<'_>, last: &BTreeSet<RaftId>, due: bool) -> Option<Step> {
    if let Some(note) = input.note.filter(|note| !note.place.is_empty()) {
        if claimable_elsewhere(input) {
            return Some(vote(input, last, None));
        }
        let number = input.number.max(note.record.number);
        let record = Record { lineage: input.lineage.clone(), number, mode: Mode::Majority };
        return Some(Step::Note { record, made: false });
    }
    due.then(|| vote(input, input.wanted, None))
}

fn with_record(
    input: &Input<'_>,
    place: &str,
    last: &BTreeSet<RaftId>,
    due: bool,
    changing: bool,
) -> Result<Option<Step>, Trouble> {
    let here = input.note.filter(|note| note.place == place);
    let record = match input.found {
        Found::NotRead => return Ok(Some(Step::Read)),
        Found::Unknown(why) => return Err(Trouble::Unknown(why.clone())),
        Found::Read(record) => record.as_ref(),
    };
    let Some(record) = record else {
        if here.is_some_and(|note| note.made) {
            return Err(Trouble::Lost(place.to_owned()));
        }
        return Ok(Some(found(input, last, here.is_none(), due, changing)));
    };
    if record.lineage != *input.lineage {
        return Err(Trouble::Foreign(place.to_owned()));
    }
    if let Mode::Sole(other) = record.mode
        && other != input.me
    {
        // R15: an owner may go on alone at any moment, so nobody else may change its record.
        let votes = input.configs.iter().all(|config| config.contains(&other));
        return if votes { Ok(Some(Step::HandOver(other))) } else { Err(Trouble::Taken(other)) };
    }
    if here.is_none() && claimable_elsewhere(input) {
        return Ok(Some(vote(input, last, Some(record))));
    }
    let settled = input.note.is_none_or(|note| record.number >= note.record.number);
    if due {
        let three = input.configs.iter().any(|config| config.len() > 2) || input.wanted.len() > 2;
        let mode = if three { Mode::Majority } else { Mode::Sole(input.me) };
        if planted::is(Planted::ClaimInChange) {
            return Ok(Some(vote(input, input.wanted, Some(record))));
        }
        if settled && record.mode == mode {
            return Ok(Some(vote(input, input.wanted, Some(record))));
        }
        let number = next_number(&Input { number: 0, ..input.clone() }, Some(record));
        return Ok(Some(write(input, Some(record), number, mode)));
    }
    if settled && fits(record, last, input.number) {
        let note = TieBreakNote { record: record.clone(), made: true, place: place.to_owned() };
        let known = here == Some(&note);
        return Ok((!known).then(|| Step::Note { record: record.clone(), made: true }));
    }
    Ok(Some(bring_in_step(input, last, record)))
}

/// A record that was never made at this place.
fn found(input: &Input<'_>, last: &BTreeSet<RaftId>, moved: bool, due: bool, changing: bool) -> Step {
    let noted = input.note.map_or(0, |note| note.record.number);
    if changing && due {
        return vote(input, input.wanted, None);
    }
    if changing || input.number == 0 || input.number < noted || moved && claimable_elsewhere(input) {
        return vote(input, last, None);
    }
    write(input, None, input.number, mode_of(last))
}

/// The record after a claim, or after the voters have changed.
fn bring_in_step(input: &Input<'_>, last: &BTreeSet<RaftId>, record: &Record) -> Step {
    let noted = input.note.map_or(0, |note| note.record.number);
    let mode = mode_of(last);
    match mode {
        // R15: only with the number of the entry that both have.
        Mode::Pair(..) if input.number > record.number && input.number >= noted => {
            write(input, Some(record), input.number, mode)
        }
        Mode::Pair(..) => vote(input, last, Some(record)),
        Mode::Sole(_) | Mode::Majority => {
            write(input, Some(record), input.number.max(noted).max(record.number + 1), mode)
        }
    }
}

fn write(input: &Input<'_>, from: Option<&Record>, number: u64, mode: Mode) -> Step {
    let to = Record { lineage: input.lineage.clone(), number, mode };
    Step::Write { from: from.cloned(), to }
}

/// What the record says while these vote, and nothing changes.
fn mode_of(voters: &BTreeSet<RaftId>) -> Mode {
    let mut ids = voters.iter();
    match (ids.next(), ids.next(), ids.next()) {
        (Some(only), None, None) => Mode::Sole(*only),
        (Some(a), Some(b), None) => Mode::Pair(*a, *b),
        _ => Mode::Majority,
    }
}

fn fits(record: &Record, voters: &BTreeSet<RaftId>, number: u64) -> bool {
    let wanted = mode_of(voters);
    match (record.mode, wanted) {
        (Mode::Pair(a, b), Mode::Pair(..)) => BTreeSet::from([a, b]) == *voters && record.number == number,
        (mode, wanted) => mode == wanted,
    }
}

#[cfg(test)]
#[path = "roster/tests.rs"]
mod tests;
