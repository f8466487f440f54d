//! Is everything there? Asked once, when the store is opened.
//!
//! Raft examines only the last entry of a log. A hole further up would become a hole in the
//! registry, silently; so every entry is looked at here, and a store that lost something is
//! refused (R23).

use super::{
    engine::Engine,
    keys,
    log_store::{EntryBytes, entries},
    snapshot::StoredSnapshot,
};
use crate::{
    StoreError,
    raft_types::{Entry, LogId},
};

/// Checks the log, and that the snapshot reaches as far as the log was purged. Returns what is
/// purged.
pub(crate) fn log(engine: &Engine, snapshot: Option<&StoredSnapshot>) -> Result<Option<LogId>, StoreError> {
    let damaged = |what: String| StoreError::damaged(engine.dir(), what);
    let purged = engine.read::<Option<LogId>>(keys::PURGED_KEY);
    let purged = purged.map_err(|e| damaged(format!("the purge record: {e}")))?.flatten();
    let covered = snapshot.and_then(|snapshot| snapshot.meta.last_log_id);
    let base = match purged {
        Some(purged) if covered.is_none_or(|covered| covered.index < purged.index) => {
            fall_back(engine, purged, covered)?
        }
        other => other,
    };

    let first = base.map_or(0, |base| base.index + 1);
    for (next, entry) in (first..).zip(entries(engine, first..u64::MAX)) {
        let EntryBytes { index, json } = entry.map_err(|e| damaged(e.to_string()))?;
        if index != next {
            return Err(damaged(format!(
                "the log has a hole: entry {next} is missing, entry {index} is there"
            )));
        }
        // Its checksum is right: who wrote it knew more words.
        if let Err(error) = serde_json::from_slice::<Entry>(&json) {
            let what = format!("entry {index} of the log ({error})");
            return Err(StoreError::NewerEntries { dir: engine.dir().to_owned(), what });
        }
    }
    Ok(base)
}

/// The newest snapshot could not be read and an older one serves. That is sound only when every
/// entry from there to what was purged is still in the log (see `LogStore::purge`).
fn fall_back(engine: &Engine, purged: LogId, covered: Option<LogId>) -> Result<Option<LogId>, StoreError> {
    let lost = |what: String| StoreError::damaged(engine.dir(), what);
    let from = covered.map_or(0, |covered| covered.index + 1);
    let mut last: Option<LogId> = None;
    for (next, entry) in (from..).zip(entries(engine, from..purged.index + 1)) {
        let entry = entry.map_err(|e| lost(e.to_string()))?;
        if entry.index != next {
            break;
        }
        last = Some(serde_json::from_slice::<Entry>(&entry.json).map_err(|e| lost(e.to_string()))?.log_id);
    }
    if last != Some(purged) {
        return Err(lost(format!(
            "no readable snapshot reaches entry {}, up to which the log was shortened",
            purged.index
        )));
    }
    engine.write(keys::PURGED_KEY, &covered).map_err(|e| StoreError::io("write", engine.dir(), e))?;
    engine.sync()?;
    tracing::warn!(from, to = purged.index, "an older snapshot serves; the log since then is applied again");
    Ok(covered)
}
