//! What changed, for one name: a server, a group, an instance, a resource, a pool, a type, a monitor.

use std::collections::BTreeSet;

use tasuki_core::{
    config::instances,
    ids::{GroupName, ResourceName},
    registry::{Change, Key, State},
};

use super::{App, AppError, Caller, Role, error::Exit, registry::HISTORY_SHOWN};

/// The groups and instances that a name speaks of: a group, an instance, a resource with all its
/// instances, or a resource of groups.
#[must_use]
pub fn units_named(state: &State, name: &str) -> Vec<GroupName> {
    let group = GroupName::from(name);
    if state.groups.contains_key(&group) {
        return vec![group];
    }
    let resource = ResourceName::from(name);
    let instance = |group: &&GroupName| instances::resource_of(group).as_ref() == Some(&resource);
    let found: Vec<GroupName> = state.groups.keys().filter(instance).cloned().collect();
    if !found.is_empty() || state.definitions.contains_key(&resource) {
        return found;
    }
    let has = |(_, entry): &(&GroupName, &tasuki_core::registry::state::GroupEntry)| {
        entry.config.as_ref().is_some_and(|config| config.value.resources.contains_key(&resource))
    };
    state.groups.iter().filter(has).map(|(name, _)| name.clone()).collect()
}

/// Nothing has that name.
pub(super) fn unknown(name: &str) -> AppError {
    AppError::Coded {
        code: "TSK-1726".to_owned(),
        message: format!("nothing is called {name}"),
        remedy: "`tasuki registry list` shows everything that has a name; names are case-sensitive"
            .to_owned(),
        exit: Exit::NotFound,
    }
}

/// The name in a key: what stands after the kind of object.
fn name_in(key: &Key) -> Option<String> {
    let path = key.to_string();
    let mut parts = path.split('/');
    let kind = parts.next()?;
    (kind != "cluster").then(|| parts.next().map(str::to_owned))?
}

impl App {
    /// The newest changes about what has a name, oldest first; all changes without one.
    ///
    /// # Errors
    /// Not allowed, or nothing has that name, now or in what is kept.
    pub fn history(&self, by: &Caller, name: &str, limit: Option<usize>) -> Result<Vec<Change>, AppError> {
        by.must_be(Role::Viewer)?;
        if name.is_empty() {
            return self.registry_history(by, "", limit);
        }
        let state = self.applied();
        let mut names: BTreeSet<String> = units_named(&state, name).iter().map(ToString::to_string).collect();
        names.insert(name.to_owned());
        let of_name = |key: &Key| {
            name_in(key).is_some_and(|found| {
                names.contains(&found)
                    // Instances that are no more.
                    || instances::resource_of(&GroupName::new(found)).is_some_and(|r| r.as_str() == name)
            })
        };
        let about = |change: &&std::sync::Arc<Change>| change.keys.iter().any(of_name);
        let newest = state.history.iter().rev().filter(about).take(limit.unwrap_or(HISTORY_SHOWN));
        let mut changes: Vec<Change> = newest.map(|change| Change::clone(change)).collect();
        if changes.is_empty() && !state.keys().iter().any(of_name) {
            return Err(unknown(name));
        }
        changes.reverse();
        Ok(changes)
    }
}
