//! The tie-break record, to the wire and back.

use tasuki_core::{
    ids::{Lineage, RaftId},
    membership::tie_break::{Mode, Record},
};
use tasuki_proto::v1::{self as wire, tie_break_record::Mode as WireMode};

/// To the wire.
#[must_use]
pub fn record_out(record: &Record) -> wire::TieBreakRecord {
    let mode = match record.mode {
        Mode::Majority => WireMode::Majority(wire::TieBreakMajority {}),
        Mode::Pair(first, second) => WireMode::Pair(wire::TieBreakPair { first: first.0, second: second.0 }),
        Mode::Sole(one) => WireMode::Sole(one.0),
    };
    wire::TieBreakRecord { lineage: record.lineage.to_string(), number: record.number, mode: Some(mode) }
}

/// From the wire.
///
/// # Errors
/// A mode that this version does not know: that is not "nobody", and must not be taken for it.
pub fn record_in(record: wire::TieBreakRecord) -> Result<Record, String> {
    let mode = match record.mode {
        Some(WireMode::Majority(_)) => Mode::Majority,
        Some(WireMode::Pair(pair)) => Mode::Pair(RaftId(pair.first), RaftId(pair.second)),
        Some(WireMode::Sole(one)) => Mode::Sole(RaftId(one)),
        None => return Err("the record says nothing of who may go on alone; is one side newer?".into()),
    };
    Ok(Record { lineage: Lineage::new(record.lineage), number: record.number, mode })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_record_comes_back_and_one_of_an_unknown_mode_is_refused() {
        for mode in [Mode::Majority, Mode::Pair(RaftId(1), RaftId(7)), Mode::Sole(RaftId(7))] {
            let record = Record { lineage: Lineage::from("one"), number: 3, mode };
            assert_eq!(record_in(record_out(&record)), Ok(record));
        }
        let unknown = wire::TieBreakRecord { lineage: "one".into(), number: 3, mode: None };
        assert!(record_in(unknown).is_err());
    }
}
