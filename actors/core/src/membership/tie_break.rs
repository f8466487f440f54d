//! The tie-break of two servers: one durable record that is changed only by compare-and-swap and
//! never expires (R14 to R17).
//!
//! ```text
//!            {A, B} committed on both (release)
//!  Sole(A) ------------------------------------> Pair(A, B) --claim by B--> Sole(B)
//!     ^  \______ claim by A: Sole(A), n + 1             |
//!     |                                                  | a change of members begins (narrow)
//!     +--------------------------------------------------+
//!  Majority: three or more vote; nobody may claim
//! ```
//!
//! While it says `Pair` at `n`, every commit needs both, so each log has every committed entry. The
//! survivor swaps it to `Sole` at `n + 1`, and from then on is part of every quorum.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{Lineage, RaftId},
    planted::{self, Planted},
};

/// The record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Whose: another lineage's is refused (R17, R24).
    pub lineage: Lineage,
    /// Grows with each change of members; the same number stands in the membership entries.
    pub number: u64,
    /// Who may go on alone.
    pub mode: Mode,
}

/// Who may go on alone. Servers are named by their stores: a new store is a new Raft id (R23).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Nobody: a majority of three or more votes decides.
    Majority,
    /// Either of the two, by claiming.
    Pair(RaftId, RaftId),
    /// This one.
    Sole(RaftId),
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Majority => f.write_str("a majority decides"),
            Self::Pair(a, b) => write!(f, "stores {a} and {b} may claim"),
            Self::Sole(a) => write!(f, "store {a} alone"),
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "number {}: {}", self.number, self.mode)
    }
}

/// What a server knows from its own durable log: its last membership entry, committed or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnLog {
    /// Its registry.
    pub lineage: Lineage,
    /// Its store.
    pub me: RaftId,
    /// The number in the membership entry.
    pub number: u64,
    /// The voters; two sets while a change is under way.
    pub configs: Vec<BTreeSet<RaftId>>,
}

/// Why a server may not go on alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// R17: it was never made, or it is lost. Never "nobody has claimed".
    #[error("there is no tie-break record")]
    Blank,
    /// R24.
    #[error("the tie-break record belongs to another cluster or to another life of it")]
    Foreign,
    /// Three or more vote.
    #[error("a majority of the voters decides, not the tie-break")]
    MajorityDecides,
    /// The other server has claimed.
    #[error("the other server (store {0}) goes on alone")]
    Taken(RaftId),
    /// This server's store has no part in it.
    #[error("this server's store is not named by the tie-break record")]
    NotNamed,
    /// R17: the record is older than the log, or the log older than the record.
    #[error("the tie-break record has number {record}, this server's log {log}")]
    OtherNumber {
        /// The record's.
        record: u64,
        /// The log's.
        log: u64,
    },
    /// R15: nobody claims during a change of members.
    #[error("a change of voters is under way")]
    ChangeUnderWay,
}

/// What to swap the record for, to go on alone. The same record when it is ours already: then only
/// the log has to follow (a crash after the swap, R16).
///
/// # Errors
/// Why not.
pub fn claim(record: Option<&Record>, own: &OwnLog) -> Result<Record, Refusal> {
    if record.is_none() && planted::is(Planted::BlankIsFree) {
        let number = own.number + 1;
        return Ok(Record { lineage: own.lineage.clone(), number, mode: Mode::Sole(own.me) });
    }
    let record = belonging(record, own)?;
    match record.mode {
        Mode::Majority => Err(Refusal::MajorityDecides),
        Mode::Sole(other) if other != own.me && planted::is(Planted::ExpiringRecord) => {
            Ok(Record { number: record.number + 1, mode: Mode::Sole(own.me), ..record.clone() })
        }
        Mode::Sole(other) if other != own.me => Err(Refusal::Taken(other)),
        Mode::Sole(_) if own.number < record.number => Ok(record.clone()),
        Mode::Sole(_) => Ok(Record { number: own.number + 1, ..record.clone() }),
        Mode::Pair(a, b) => {
            if own.me != a && own.me != b {
                return Err(Refusal::NotNamed);
            }
            if own.number != record.number && !planted::is(Planted::AnyNumber) {
                return Err(Refusal::OtherNumber { record: record.number, log: own.number });
            }
            if own.configs != [BTreeSet::from([a, b])] && !planted::is(Planted::ClaimInChange) {
                return Err(Refusal::ChangeUnderWay);
            }
            Ok(Record { number: record.number + 1, mode: Mode::Sole(own.me), ..record.clone() })
        }
    }
}

/// Whether a server that starts may take part in elections: it is in every quorum that the record
/// allows, or a majority decides and its log is not older (R15).
///
/// # Errors
/// Why not: it stays on hold, as one who only listens.
pub fn may_elect(record: Option<&Record>, own: &OwnLog) -> Result<(), Refusal> {
    let record = belonging(record, own)?;
    let other_number = Refusal::OtherNumber { record: record.number, log: own.number };
    match record.mode {
        Mode::Majority if own.number >= record.number => Ok(()),
        Mode::Pair(a, b) if own.me != a && own.me != b => Err(Refusal::NotNamed),
        Mode::Pair(..) if own.number == record.number || planted::is(Planted::AnyNumber) => Ok(()),
        Mode::Majority | Mode::Pair(..) => Err(other_number),
        Mode::Sole(other) if other != own.me => Err(Refusal::Taken(other)),
        Mode::Sole(_) => Ok(()),
    }
}

fn belonging<'a>(record: Option<&'a Record>, own: &OwnLog) -> Result<&'a Record, Refusal> {
    let record = record.ok_or(Refusal::Blank)?;
    let ours = record.lineage == own.lineage || planted::is(Planted::AnyLineage);
    if ours { Ok(record) } else { Err(Refusal::Foreign) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn record(number: u64, mode: Mode) -> Record {
        Record { lineage: Lineage::from("one"), number, mode }
    }

    fn own(me: u64, number: u64, configs: &[&[u64]]) -> OwnLog {
        let set = |ids: &&[u64]| ids.iter().map(|id| RaftId(*id)).collect();
        let configs = configs.iter().map(set).collect();
        OwnLog { lineage: Lineage::from("one"), me: RaftId(me), number, configs }
    }

    const PAIR: Mode = Mode::Pair(RaftId(1), RaftId(2));

    #[test]
    fn r14_of_two_claims_only_the_first_succeeds() {
        let before = record(3, PAIR);
        let after = claim(Some(&before), &own(1, 3, &[&[1, 2]])).unwrap();
        assert_eq!(after, record(4, Mode::Sole(RaftId(1))));
        assert_eq!(claim(Some(&after), &own(2, 3, &[&[1, 2]])), Err(Refusal::Taken(RaftId(1))));
    }

    #[test]
    fn r16_a_crash_after_the_swap_is_finished_and_a_later_claim_is_a_new_one() {
        let mine = record(4, Mode::Sole(RaftId(1)));
        assert_eq!(claim(Some(&mine), &own(1, 3, &[&[1, 2]])), Ok(mine.clone()));
        assert_eq!(claim(Some(&mine), &own(1, 4, &[&[1], &[1, 2]])).unwrap().number, 5);
    }

    #[test]
    fn r17_blank_foreign_and_older_records_are_refusals() {
        let log = own(1, 3, &[&[1, 2]]);
        assert_eq!(claim(None, &log), Err(Refusal::Blank));
        let foreign = Record { lineage: Lineage::from("other"), ..record(3, PAIR) };
        assert_eq!(claim(Some(&foreign), &log), Err(Refusal::Foreign));
        let older = Refusal::OtherNumber { record: 2, log: 3 };
        assert_eq!(claim(Some(&record(2, PAIR)), &log), Err(older));
        assert_eq!(claim(Some(&record(3, PAIR)), &own(7, 3, &[&[1, 2]])), Err(Refusal::NotNamed));
    }

    #[test]
    fn r15_nobody_claims_while_the_voters_change() {
        let refused = claim(Some(&record(3, PAIR)), &own(1, 3, &[&[1, 2], &[1, 2, 3]]));
        assert_eq!(refused, Err(Refusal::ChangeUnderWay));
        assert_eq!(
            claim(Some(&record(3, Mode::Majority)), &own(1, 3, &[&[1, 2, 3]])),
            Err(Refusal::MajorityDecides)
        );
    }

    #[test]
    fn r15_only_whom_the_record_names_takes_part_in_elections() {
        let sole = record(4, Mode::Sole(RaftId(1)));
        assert_eq!(may_elect(Some(&sole), &own(1, 3, &[&[1, 2]])), Ok(()));
        assert_eq!(may_elect(Some(&sole), &own(2, 3, &[&[1, 2]])), Err(Refusal::Taken(RaftId(1))));
        assert_eq!(may_elect(Some(&record(3, PAIR)), &own(2, 3, &[&[1, 2]])), Ok(()));
        assert!(may_elect(Some(&record(5, PAIR)), &own(2, 3, &[&[1, 2]])).is_err());
        assert_eq!(may_elect(None, &own(2, 3, &[&[1, 2]])), Err(Refusal::Blank));
    }
}
