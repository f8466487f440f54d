//! Older formats become the current one when the store is opened; newer ones are refused.

use super::{engine::Engine, keys};
use crate::StoreError;

/// Upgrades step by step. A crash in the middle leaves the old format in force; the next opening
/// starts over.
pub(crate) fn to_current_format(engine: &Engine) -> Result<(), StoreError> {
    match found(engine)? {
        Found::Nothing => set_format(engine),
        Found::Format(0) => from_v0(engine),
        Found::Format(keys::FORMAT) => drop_v0(engine),
        Found::Format(found) => {
            Err(StoreError::NewerFormat { dir: engine.dir().to_owned(), found, known: keys::FORMAT })
        }
    }
}

enum Found {
    Nothing,
    Format(u32),
}

fn found(engine: &Engine) -> Result<Found, StoreError> {
    let format = engine.meta.get(keys::FORMAT_KEY).map_err(|e| fail(engine, e))?;
    match format {
        Some(bytes) => {
            let bytes = bytes.as_ref().try_into();
            let bytes = bytes.map_err(|_| StoreError::damaged(engine.dir(), "its format is not a number"))?;
            Ok(Found::Format(u32::from_be_bytes(bytes)))
        }
        None if has_tree(engine, keys::V0_META_TREE) || has_tree(engine, keys::V0_LOG_TREE) => {
            Ok(Found::Format(0))
        }
        None if engine.log.is_empty() && engine.meta.is_empty() => Ok(Found::Nothing),
        None => Err(StoreError::damaged(engine.dir(), "it does not say its format")),
    }
}

fn set_format(engine: &Engine) -> Result<(), StoreError> {
    engine.meta.insert(keys::FORMAT_KEY, &keys::FORMAT.to_be_bytes()).map_err(|e| fail(engine, e))?;
    engine.sync()
}

/// Format 0 kept each entry whole; format 1 keeps it in parts with a checksum.
fn from_v0(engine: &Engine) -> Result<(), StoreError> {
    let open = |name: &str| engine.db.open_tree(name).map_err(|e| fail(engine, e));
    let (old_log, old_meta) = (open(keys::V0_LOG_TREE)?, open(keys::V0_META_TREE)?);
    tracing::info!(entries = old_log.len(), dir = %engine.dir().display(), "upgrading the registry's format 0 to 1");
    // What an upgrade that did not finish left behind.
    engine.log.clear().map_err(|e| fail(engine, e))?;

    for entry in old_log.iter() {
        let (key, json) = entry.map_err(|e| fail(engine, e))?;
        let index = key.as_ref().try_into().map(u64::from_be_bytes);
        let index = index.map_err(|_| StoreError::damaged(engine.dir(), "an entry without an index"))?;
        let parts = keys::split(index, &json)
            .ok_or_else(|| StoreError::damaged(engine.dir(), format!("entry {index} is too large")))?;
        let mut batch = sled::Batch::default();
        for (key, bytes) in parts {
            batch.insert(&key, bytes);
        }
        engine.log.apply_batch(batch).map_err(|e| fail(engine, e))?;
    }
    for key in [keys::VOTE_KEY, keys::COMMITTED_KEY, keys::PURGED_KEY] {
        if let Some(json) = old_meta.get(key).map_err(|e| fail(engine, e))? {
            engine.meta.insert(key, json).map_err(|e| fail(engine, e))?;
        }
    }
    // All of the new before the new format is in force, and that before the old goes.
    engine.sync()?;
    set_format(engine)?;
    drop((old_log, old_meta));
    drop_v0(engine)
}

/// Also finishes an upgrade that stopped between its last two steps.
fn drop_v0(engine: &Engine) -> Result<(), StoreError> {
    for name in [keys::V0_LOG_TREE, keys::V0_META_TREE] {
        if has_tree(engine, name) {
            engine.db.drop_tree(name).map_err(|e| fail(engine, e))?;
        }
    }
    Ok(())
}

fn has_tree(engine: &Engine, name: &str) -> bool {
    engine.db.tree_names().iter().any(|found| found.as_ref() == name.as_bytes())
}

fn fail(engine: &Engine, error: sled::Error) -> StoreError {
    engine.failed("read or upgrade", error)
}
