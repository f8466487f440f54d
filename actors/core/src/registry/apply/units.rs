//! What there is to run: the groups of the file and the instances that definitions make.

use std::collections::BTreeMap;

use super::Change;
use crate::{
    config::{ClusterConfig, GroupConfig, Startup, instances},
    ids::GroupName,
    reason::Reason,
    registry::{
        Key,
        state::{Failures, GroupEntry, Ownership, StartEvent, Target, Vacate},
    },
};

impl Change<'_> {
    pub(super) fn set_units(&mut self, config: &ClusterConfig) {
        let units = instances::units(config);
        for (name, unit) in &units {
            self.set_unit(name, unit);
        }
        // A group that was taken out is stopped by its owner first; its record goes with the release.
        let taken_out =
            |(name, group): &(&GroupName, &GroupEntry)| group.config.is_some() && !units.contains_key(*name);
        let gone: Vec<GroupName> =
            self.state.groups.iter().filter(taken_out).map(|(name, _)| name.clone()).collect();
        for name in gone {
            self.take_out(&name);
        }
    }

    fn set_unit(&mut self, name: &GroupName, unit: &GroupConfig) {
        let known = self.state.groups.get(name).and_then(|g| g.config.as_ref());
        if known.is_some_and(|known| known.value == *unit) {
            return;
        }
        let key = Key::GroupConfig(name.clone());
        let item = self.renewed(unit.clone(), key, |s| s.groups.get(name)?.config.as_ref());
        let target = first_target(unit);
        if let Some(known) = self.state.groups.get_mut(name) {
            let comes_back = known.config.is_none();
            known.config = Some(item);
            if comes_back {
                // Its release goes on; what it was wanted as ended when it was taken out.
                self.change_target(name, target);
            }
            return;
        }
        let vacated = Vacate { to: None, reason: Reason::ClusterStarted, event: StartEvent::Start };
        // A group of the same name may have been here before: its epochs do not come again.
        let epoch = self.state.retired_epoch;
        let ownership = Ownership { epoch, vacated: Some(vacated), ..Ownership::default() };
        let entry = GroupEntry {
            config: Some(item),
            target: self.fresh(target, Key::Target(name.clone())),
            ownership: self.fresh(ownership, Key::Ownership(name.clone())),
            report: None,
            failures: self.fresh(Failures::default(), Key::Failures(name.clone())),
            facts: BTreeMap::new(),
        };
        self.state.groups.insert(name.clone(), entry);
    }

    fn take_out(&mut self, name: &GroupName) {
        self.touched(Key::GroupConfig(name.clone()));
        let owned = self.state.groups.get(name).is_some_and(|g| g.ownership.value.owner.is_some());
        if !owned {
            self.retire(name);
            return;
        }
        self.change_target(name, Target::Offline);
        self.change_ownership(name, |o| {
            o.release = Some(Vacate { to: None, reason: Reason::NotConfigured, event: StartEvent::Start });
        });
        if let Some(entry) = self.state.groups.get_mut(name) {
            entry.config = None;
        }
    }

    /// Forgets a group that is configured no more and that nobody owns, but not how far its epochs
    /// went (R35: a configuration takes no fact back).
    pub(super) fn retire(&mut self, group: &GroupName) {
        if let Some(entry) = self.state.groups.remove(group) {
            self.state.retired_epoch = self.state.retired_epoch.max(entry.ownership.value.epoch);
        }
    }
}

/// What a group is wanted as when it is new. A disabled one waits until somebody starts it.
fn first_target(unit: &GroupConfig) -> Target {
    match unit.startup {
        Startup::Always | Startup::Restore if unit.enabled => Target::Online,
        Startup::Always | Startup::Restore | Startup::Never => Target::Offline,
    }
}
