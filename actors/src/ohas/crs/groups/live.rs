//! What runs on this server at this moment, for those who look at it: earlier than the registry
//! knows, and of this server only.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use tasuki_core::ids::{GroupName, ResourceName};
use tokio::sync::watch;

use crate::ohas::crs::agents::ResourceKey;

/// A resource that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// The number of this run: every start, and every adoption, is another one.
    pub run: u64,
    /// How its process ended, when a monitor decides what follows.
    pub ended: Option<String>,
}

/// All resources that are up.
pub type LiveMap = BTreeMap<ResourceKey, Live>;

/// What the group actors have said.
#[derive(Default)]
pub(super) struct LiveResources {
    all: watch::Sender<LiveMap>,
    /// The last number given out.
    runs: AtomicU64,
}

impl LiveResources {
    pub(super) fn subscribe(&self) -> watch::Receiver<LiveMap> {
        self.all.subscribe()
    }

    /// These resources of a group are up, and no others. Those that were up before go on. Followers
    /// are told only of what has changed.
    pub(super) fn set<'a>(&self, group: &GroupName, up: impl Iterator<Item = &'a ResourceName>) {
        let up: Vec<&ResourceName> = up.collect();
        self.all.send_if_modified(|all| {
            let gone: Vec<ResourceKey> =
                of(all, group).filter(|(_, resource)| !up.contains(&resource)).cloned().collect();
            for key in &gone {
                all.remove(key);
            }
            let mut changed = !gone.is_empty();
            for resource in up {
                all.entry((group.clone(), resource.clone())).or_insert_with(|| {
                    changed = true;
                    Live { run: self.runs.fetch_add(1, Ordering::Relaxed) + 1, ended: None }
                });
            }
            changed
        });
    }

    /// The process of a resource that is up has ended.
    pub(super) fn ended(&self, key: &ResourceKey, how: String) {
        self.all.send_if_modified(|all| {
            let live = all.get_mut(key).filter(|live| live.ended.is_none());
            live.map(|live| live.ended = Some(how)).is_some()
        });
    }

    /// The group is no longer this server's.
    pub(super) fn forget(&self, group: &GroupName) {
        self.set(group, std::iter::empty());
    }
}

/// The resources of one group.
fn of<'a>(all: &'a LiveMap, group: &'a GroupName) -> impl Iterator<Item = &'a ResourceKey> {
    let from = (group.clone(), ResourceName::from(""));
    all.range(from..).map(|(key, _)| key).take_while(move |(other, _)| other == group)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_restart_is_another_run_and_others_go_on() {
        let live = LiveResources::default();
        let (group, a, b) = (GroupName::from("g"), ResourceName::from("a"), ResourceName::from("b"));
        let mut seen = live.subscribe();
        let run = |resource: &ResourceName| {
            live.subscribe().borrow().get(&(group.clone(), resource.clone())).map(|live| live.run)
        };
        live.set(&group, [&a, &b].into_iter());
        let (first_a, first_b) = (run(&a).unwrap(), run(&b).unwrap());
        assert!(seen.has_changed().unwrap());
        seen.mark_unchanged();
        live.set(&group, [&a, &b].into_iter());
        assert!(!seen.has_changed().unwrap(), "nothing new is not told");
        live.ended(&(group.clone(), a.clone()), "killed".into());
        assert_eq!(seen.borrow()[&(group.clone(), a.clone())].ended.as_deref(), Some("killed"));
        live.set(&group, [&b].into_iter());
        assert_eq!(run(&a), None);
        live.set(&group, [&a, &b].into_iter());
        assert!(run(&a).unwrap() > first_a && run(&b) == Some(first_b));
        assert_eq!(live.subscribe().borrow()[&(group.clone(), a.clone())].ended, None);
        live.forget(&group);
        assert!(live.subscribe().borrow().is_empty());
    }
}
