//! How objects are written: a revision moves only with its object's value, so that saying the same
//! thing again does not make other decisions stale (R12).

use std::collections::BTreeMap;

use super::Change;
use crate::{
    ids::{GroupName, Revision, ServerName},
    registry::{
        Item, Key, State,
        state::{Failures, Ownership, Presence, Target},
    },
    time::WallTime,
};

impl Change<'_> {
    pub(super) fn fresh<T>(&mut self, value: T, key: Key) -> Item<T> {
        self.renewed(value, key, |_| None)
    }

    pub(super) fn renewed<T>(
        &mut self,
        value: T,
        key: Key,
        old: impl FnOnce(&State) -> Option<&Item<T>>,
    ) -> Item<T> {
        let revision = self.state.revision.next();
        let created = old(self.state).map_or(revision, |old| old.created);
        self.touched(key);
        Item { value, created, modified: revision, at: self.at }
    }

    pub(super) fn touched(&mut self, key: Key) {
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
    }

    pub(super) fn change_presence(&mut self, server: &ServerName, change: impl FnOnce(&mut Presence)) {
        let (revision, at) = (self.state.revision.next(), self.at);
        if let Some(item) = self.state.servers.get_mut(server).and_then(|s| s.presence.as_mut())
            && changed(item, revision, at, change)
        {
            self.touched(Key::Presence(server.clone()));
        }
    }

    pub(super) fn change_ownership(&mut self, group: &GroupName, change: impl FnOnce(&mut Ownership)) {
        let (revision, at) = (self.state.revision.next(), self.at);
        let Some(entry) = self.state.groups.get_mut(group) else { return };
        if !changed(&mut entry.ownership, revision, at, change) {
            return;
        }
        let finished = entry.config.is_none() && entry.ownership.value.owner.is_none();
        if finished {
            self.retire(group);
        }
        self.touched(Key::Ownership(group.clone()));
        self.follow_configuration();
    }

    pub(super) fn change_target(&mut self, group: &GroupName, target: Target) {
        let (revision, at) = (self.state.revision.next(), self.at);
        if let Some(entry) = self.state.groups.get_mut(group)
            && changed(&mut entry.target, revision, at, |value| *value = target)
        {
            self.touched(Key::Target(group.clone()));
        }
    }

    pub(super) fn change_failures(&mut self, group: &GroupName, change: impl FnOnce(&mut Failures)) {
        let (revision, at) = (self.state.revision.next(), self.at);
        if let Some(entry) = self.state.groups.get_mut(group)
            && changed(&mut entry.failures, revision, at, change)
        {
            self.touched(Key::Failures(group.clone()));
        }
    }
}

/// Changes an object; its revision moves only when its value did.
pub(super) fn changed<T: Clone + PartialEq>(
    item: &mut Item<T>,
    revision: Revision,
    at: WallTime,
    change: impl FnOnce(&mut T),
) -> bool {
    let before = item.value.clone();
    change(&mut item.value);
    if item.value == before {
        return false;
    }
    (item.modified, item.at) = (revision, at);
    true
}

/// Makes `kept` hold what `wanted` says; only what differs gets a new revision.
pub(super) fn replace<K: Clone + Ord, T: Clone + PartialEq>(
    kept: &mut BTreeMap<K, Item<T>>,
    wanted: &BTreeMap<K, T>,
    modified: Revision,
    at: WallTime,
    mut touched: impl FnMut(K),
) {
    kept.retain(|name, _| {
        let stays = wanted.contains_key(name);
        if !stays {
            touched(name.clone());
        }
        stays
    });
    for (name, value) in wanted {
        let known = kept.get(name);
        if known.is_some_and(|known| known.value == *value) {
            continue;
        }
        let created = known.map_or(modified, |known| known.created);
        touched(name.clone());
        kept.insert(name.clone(), Item { value: value.clone(), created, modified, at });
    }
}
