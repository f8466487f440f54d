//! What is remembered of each resource's starts and stops.
//!
//! A resource is **up** from the report that first says ONLINE or INTERMEDIATE until the one that
//! says neither, or until its owner is gone. UNKNOWN is neither: it says that nobody knows, so what
//! a restarted node finds running has not risen anew.

use super::Change;
use crate::{
    ids::{GroupName, ResourceName, Revision},
    registry::{
        Item, Key,
        state::{Facts, Fall, GroupReport, ResourceReport, ResourceState},
    },
    time::WallTime,
};

impl Change<'_> {
    pub(super) fn note_facts(
        &mut self,
        group: &GroupName,
        before: Option<&GroupReport>,
        report: &GroupReport,
    ) {
        let revision = self.state.revision.next();
        for (name, now) in &report.resources {
            let then = before.and_then(|before| before.resources.get(name));
            self.change_facts(group, name, |facts| match now.state {
                ResourceState::Online | ResourceState::Intermediate => {
                    facts.comes_up(then, now, report, revision);
                }
                ResourceState::Unknown => {}
                _ => facts.goes_down(then, Some(now), revision),
            });
        }
        // What the owner speaks of no more it does not run.
        let unnamed: Vec<ResourceName> = self.state.groups.get(group).map_or_else(Vec::new, |entry| {
            entry.facts.keys().filter(|name| !report.resources.contains_key(*name)).cloned().collect()
        });
        for name in unnamed {
            let then = before.and_then(|before| before.resources.get(&name));
            self.change_facts(group, &name, |facts| facts.goes_down(then, None, revision));
        }
    }

    /// The owner has stopped everything and released the group.
    pub(super) fn note_released(&mut self, group: &GroupName) {
        self.note_vacated(group, Some(self.at));
    }

    /// The owner is gone, and everything that ran with it.
    pub(super) fn note_lost(&mut self, group: &GroupName) {
        self.note_vacated(group, None);
    }

    fn note_vacated(&mut self, group: &GroupName, stopped: Option<WallTime>) {
        let revision = self.state.revision.next();
        let Some(entry) = self.state.groups.get(group) else { return };
        let epoch = entry.ownership.value.epoch;
        let last = entry.report.as_ref().map(|report| &report.value).filter(|report| report.epoch == epoch);
        let states: Vec<(ResourceName, Option<ResourceReport>)> = entry
            .facts
            .keys()
            .map(|name| (name.clone(), last.and_then(|last| last.resources.get(name)).cloned()))
            .collect();
        for (name, then) in states {
            let offline = stopped.map(|since| ResourceReport {
                state: ResourceState::Offline,
                detail: String::new(),
                since,
            });
            self.change_facts(group, &name, |facts| {
                facts.goes_down(then.as_ref(), offline.as_ref(), revision)
            });
        }
    }

    fn change_facts(&mut self, group: &GroupName, resource: &ResourceName, change: impl FnOnce(&mut Facts)) {
        let (modified, at) = (self.state.revision.next(), self.at);
        let Some(entry) = self.state.groups.get_mut(group) else { return };
        let known = entry.facts.get(resource);
        let mut facts = known.map(|item| item.value.clone()).unwrap_or_default();
        change(&mut facts);
        if known.map_or(facts == Facts::default(), |known| known.value == facts) {
            return;
        }
        let created = known.map_or(modified, |known| known.created);
        entry.facts.insert(resource.clone(), Item { value: facts, created, modified, at });
        self.touched(Key::Facts(group.clone()));
    }
}

impl Facts {
    fn is_up(&self) -> bool {
        self.rose > self.fell
    }

    fn comes_up(
        &mut self,
        then: Option<&ResourceReport>,
        now: &ResourceReport,
        report: &GroupReport,
        revision: Revision,
    ) {
        let was_intermediate = then.is_some_and(|then| then.state == ResourceState::Intermediate);
        let online = now.state == ResourceState::Online;
        if !self.is_up() {
            self.starts += 1;
            self.rose = revision;
            self.last_restart = now.since;
            self.last_server = Some(report.server.clone());
            self.start_took = took(then, now, ResourceState::OnlinePending);
        } else if online && (was_intermediate || self.left_online > self.rose) {
            self.rose = revision; // online again, though it never stopped
        } else if !online && !was_intermediate && self.left_online < self.rose {
            self.left_online = revision;
            self.note_fall();
        }
    }

    /// Where it is up, or was until now.
    fn note_fall(&mut self) {
        if let Some(server) = self.last_server.clone() {
            let fall = Fall { left_online: self.left_online, fell: self.fell };
            self.falls.insert(server, fall);
        }
    }

    /// It is neither ONLINE nor INTERMEDIATE; `now` says what it is, when anybody does.
    fn goes_down(&mut self, then: Option<&ResourceReport>, now: Option<&ResourceReport>, revision: Revision) {
        if let Some(now) = now.filter(|now| now.state == ResourceState::Offline) {
            self.stop_took = took(then, now, ResourceState::OfflinePending).or(self.stop_took);
        }
        if !self.is_up() {
            return;
        }
        self.fell = revision;
        if self.left_online < self.rose && then.is_none_or(|then| then.state != ResourceState::Intermediate) {
            self.left_online = revision;
        }
        self.note_fall();
    }
}

/// How long it was in a pending state, when that was reported.
fn took(then: Option<&ResourceReport>, now: &ResourceReport, pending: ResourceState) -> Option<u64> {
    then.filter(|then| then.state == pending).map(|then| now.since.0.saturating_sub(then.since.0))
}
