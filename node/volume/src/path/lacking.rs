//! What another server's copy lacks, as far as this one knows.

use tasuki_core::ids::ServerName;

use super::copy::Copy;

/// The spans of extents that the own map for a server names, in order.
pub fn lacking(copy: &Copy, server: &ServerName) -> Vec<(u64, u64)> {
    let journal = copy.journal();
    let mut spans = Vec::new();
    let Some(leg) = journal.slot(server).and_then(|slot| journal.legs.get(slot)) else { return spans };
    let mut from = 0;
    while let Some((first, end)) = leg.map.next_run(from, u64::MAX) {
        spans.push((first, end));
        from = end;
    }
    spans
}
