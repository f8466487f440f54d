//! The registry, read-only.

use std::{collections::BTreeMap, sync::Arc};

use futures::{Stream, StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tasuki_core::{
    ids::Revision,
    registry::{Change, Item, Key, State},
    time::WallTime,
};

use super::{App, AppError, Caller, Role, error::Kind};

/// The changes that `history` shows when nobody says how many.
pub const HISTORY_SHOWN: usize = 50;

/// One object of the registry, as faces show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemView {
    /// Its path.
    pub key: String,
    /// Its value.
    pub value: serde_json::Value,
    /// The revision that made it.
    pub created: Revision,
    /// The revision that changed it last.
    pub modified: Revision,
    /// When that was.
    pub at: WallTime,
}

/// A change as it is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The change.
    pub change: Change,
    /// Changes before this one are no longer kept.
    pub gap: bool,
}

impl App {
    /// One object, confirmed by a quorum.
    ///
    /// # Errors
    /// Not allowed, no such key, no quorum.
    pub async fn registry_get(&self, by: &Caller, path: &str) -> Result<ItemView, AppError> {
        by.must_be(Role::Viewer)?;
        let key: Key = path.parse().map_err(|error| AppError::Invalid(format!("{error}")))?;
        let state = self.node.read().await?;
        shown(&state, &key).ok_or_else(|| AppError::NotFound { kind: Kind::Key, name: key.to_string() })
    }

    /// The objects under a prefix, confirmed by a quorum, with the revision that was read.
    ///
    /// # Errors
    /// Not allowed, no quorum.
    pub async fn registry_list(
        &self,
        by: &Caller,
        prefix: &str,
    ) -> Result<(Vec<ItemView>, Revision), AppError> {
        by.must_be(Role::Viewer)?;
        let state = self.node.read().await?;
        let keys = state.keys();
        let under = keys.iter().filter(|key| is_under(key, prefix));
        Ok((under.filter_map(|key| shown(&state, key)).collect(), state.revision))
    }

    /// The newest changes that touched keys under a prefix, oldest first.
    ///
    /// # Errors
    /// Only when the caller may not.
    pub fn registry_history(
        &self,
        by: &Caller,
        prefix: &str,
        limit: Option<usize>,
    ) -> Result<Vec<Change>, AppError> {
        by.must_be(Role::Viewer)?;
        let state = self.applied();
        let mut changes: Vec<Change> = state
            .history
            .iter()
            .rev()
            .filter(|change| touches(change, prefix))
            .take(limit.unwrap_or(HISTORY_SHOWN))
            .map(|change| Change::clone(change))
            .collect();
        changes.reverse();
        Ok(changes)
    }

    /// Every change after a revision, as this server applies it.
    ///
    /// # Errors
    /// Only when the caller may not.
    pub fn registry_watch(
        &self,
        by: &Caller,
        after: Option<Revision>,
        prefix: String,
    ) -> Result<impl Stream<Item = Watched> + Send + 'static, AppError> {
        by.must_be(Role::Viewer)?;
        let mut states = self.node.watch();
        states.mark_changed();
        let after = after.unwrap_or_else(|| states.borrow().revision);
        let batches = stream::unfold((states, after), |(mut states, after)| async move {
            states.changed().await.ok()?;
            let state = states.borrow_and_update().clone();
            let news = news(&state, after);
            Some((stream::iter(news), (states, state.revision.max(after))))
        });
        Ok(batches.flatten().filter(move |watched| {
            let wanted = watched.gap || touches(&watched.change, &prefix);
            async move { wanted }
        }))
    }
}

/// The changes after a revision that are still kept.
fn news(state: &Arc<State>, after: Revision) -> Vec<Watched> {
    let mut gap =
        state.history.front().is_some_and(|oldest| oldest.revision > after.next() && state.revision > after);
    state
        .history
        .iter()
        .filter(|change| change.revision > after)
        .map(|change| Watched { change: Change::clone(change), gap: std::mem::take(&mut gap) })
        .collect()
}

fn touches(change: &Change, prefix: &str) -> bool {
    prefix.is_empty() || change.keys.iter().any(|key| is_under(key, prefix))
}

/// Whether a key is under a prefix, by whole words: `groups/web` does not find `groups/web2`.
fn is_under(key: &Key, prefix: &str) -> bool {
    let prefix = prefix.trim_matches('/');
    let path = key.to_string();
    prefix.is_empty()
        || path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Without secrets, whoever asks: an administrator reads them with `config show`.
fn shown(state: &State, key: &Key) -> Option<ItemView> {
    let mut view = item(state, key)?;
    super::secrets::hide(&mut view.value);
    Some(view)
}

fn item(state: &State, key: &Key) -> Option<ItemView> {
    fn view<T: Serialize>(key: &Key, item: &Item<T>) -> ItemView {
        ItemView {
            key: key.to_string(),
            // The registry's types have string keys only, so this cannot fail.
            value: serde_json::to_value(&item.value).unwrap_or_default(),
            created: item.created,
            modified: item.modified,
            at: item.at,
        }
    }
    /// Several objects under one key: shown as one, with the first and the last change of them all.
    fn several<N: Ord + Serialize, T: Serialize>(
        key: &Key,
        items: &BTreeMap<N, Item<T>>,
    ) -> Option<ItemView> {
        let values: BTreeMap<&N, &T> = items.iter().map(|(name, item)| (name, &item.value)).collect();
        let last = items.values().max_by_key(|item| item.modified)?;
        Some(ItemView {
            key: key.to_string(),
            value: serde_json::to_value(&values).unwrap_or_default(),
            created: items.values().map(|item| item.created).min()?,
            modified: last.modified,
            at: last.at,
        })
    }
    fn configuration(key: &Key, state: &State) -> Option<ItemView> {
        let settings = state.settings.as_ref()?;
        let (modified, at) =
            state.versions.back().map_or((settings.modified, settings.at), |last| (last.revision, last.at));
        Some(ItemView {
            key: key.to_string(),
            value: serde_json::to_value(state.config()?).unwrap_or_default(),
            created: settings.created,
            modified: modified.max(state.config_revision()),
            at,
        })
    }
    let group = |name| state.groups.get(name);
    Some(match key {
        Key::Settings => view(key, state.settings.as_ref()?),
        Key::Mode => view(key, state.mode.as_ref()?),
        Key::Configuration => configuration(key, state)?,
        Key::TieBreak => view(key, state.tie_break.as_ref()?),
        Key::Level => view(key, state.level.as_ref()?),
        Key::Volume(name) => view(key, state.volumes.get(name)?),
        Key::Fencing(name) => view(key, state.servers.get(name)?.fencing.as_ref()?),
        Key::ServerConfig(name) => view(key, &state.servers.get(name)?.config),
        Key::Presence(name) => view(key, state.servers.get(name)?.presence.as_ref()?),
        Key::GroupConfig(name) => view(key, group(name)?.config.as_ref()?),
        Key::Target(name) => view(key, &group(name)?.target),
        Key::Ownership(name) => view(key, &group(name)?.ownership),
        Key::Report(name) => view(key, group(name)?.report.as_ref()?),
        Key::Failures(name) => view(key, &group(name)?.failures),
        Key::Token(id) => view(key, state.tokens.get(id)?),
        Key::Type(name) => view(key, state.types.get(name)?),
        Key::Pool(name) => view(key, state.pools.get(name)?),
        Key::PoolMembers => view(key, state.pool_members.as_ref()?),
        Key::Definition(name) => view(key, state.definitions.get(name)?),
        Key::MonitorConfig(name) => view(key, &state.monitors.get(name)?.config),
        Key::Facts(name) => several(key, &group(name)?.facts)?,
        Key::MonitorReports(name) => several(key, &state.monitors.get(name)?.reports)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_match_whole_words() {
        let key = Key::Ownership("web".into());
        for prefix in ["", "/", "groups", "groups/", "groups/web", "/groups/web/ownership"] {
            assert!(is_under(&key, prefix), "{prefix}");
        }
        for prefix in ["groups/we", "groups/web/own", "servers", "groups/web/ownership/x"] {
            assert!(!is_under(&key, prefix), "{prefix}");
        }
    }
}
