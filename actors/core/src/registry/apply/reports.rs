//! What servers tell of groups and monitors, and what is counted.

use std::collections::BTreeMap;

use super::Change;
use crate::{
    ids::{Epoch, GroupName, MonitorName, ResourceName, ServerName},
    registry::{
        Key, Refusal,
        state::{
            FAILURES_LIMIT, FailureKind, FailureRecord, Failures, GroupReport, MonitorReport, ResourceReport,
            ResourceState,
        },
    },
};

impl Change<'_> {
    pub(super) fn report(&mut self, group: &GroupName, report: &GroupReport) -> Result<(), Refusal> {
        self.owned_by_at(group, &report.server, report.epoch)?;
        let known = self.group(group)?.report.as_ref();
        if known.is_some_and(|known| known.value == *report) {
            return Ok(());
        }
        // What an earlier owner said of its resources is over.
        let before = known.map(|known| &known.value).filter(|known| known.epoch == report.epoch).cloned();
        self.note_failures(group, before.as_ref(), report);
        self.note_facts(group, before.as_ref(), report);
        let item = self
            .renewed(report.clone(), Key::Report(group.clone()), |s| s.groups.get(group)?.report.as_ref());
        if let Some(entry) = self.state.groups.get_mut(group) {
            entry.report = Some(item);
        }
        Ok(())
    }

    /// Each resource that has newly failed goes into its history. What was retried or restarted was
    /// counted there already, and is not reported as failed.
    fn note_failures(&mut self, group: &GroupName, before: Option<&GroupReport>, report: &GroupReport) {
        for (name, now) in &report.resources {
            let then = before.and_then(|before| before.resources.get(name));
            if then.is_some_and(|then| then.state == now.state) {
                continue;
            }
            let Some(kind) = failed_by(then, now, report.failed_kind(name)) else { continue };
            let record = FailureRecord { at: now.since, server: report.server.clone(), kind };
            self.change_failures(group, |f| remember(f, name, record));
        }
    }

    pub(super) fn count_retry(
        &mut self,
        group: &GroupName,
        epoch: Epoch,
        resource: &ResourceName,
        server: &ServerName,
        kind: FailureKind,
    ) -> Result<(), Refusal> {
        self.owned_by_at(group, server, epoch)?;
        let record = FailureRecord { at: self.at, server: server.clone(), kind };
        self.change_failures(group, |f| {
            // A stop's tries are its owner's own; they use up none of a start's.
            if kind != FailureKind::Stop {
                f.of_mut(resource, server).retries += 1;
            }
            remember(f, resource, record);
        });
        Ok(())
    }

    pub(super) fn count_restart(
        &mut self,
        group: &GroupName,
        epoch: Epoch,
        monitor: &MonitorName,
        resource: &ResourceName,
        server: &ServerName,
    ) -> Result<(), Refusal> {
        self.owned_by_at(group, server, epoch)?;
        if !self.state.monitors.contains_key(monitor) {
            return Err(Refusal::NoSuchMonitor(monitor.clone()));
        }
        let record = FailureRecord { at: self.at, server: server.clone(), kind: FailureKind::Found };
        self.change_failures(group, |f| {
            f.of_monitor_mut(monitor, server).retries += 1;
            remember(f, resource, record);
        });
        Ok(())
    }

    /// The counters start again; what happened stays in the history.
    pub(super) fn steady(
        &mut self,
        group: &GroupName,
        epoch: Epoch,
        resource: &ResourceName,
        monitors: &[MonitorName],
    ) -> Result<(), Refusal> {
        let owner = self.owner_at(group, epoch)?;
        self.change_failures(group, |f| {
            // That it runs well here says nothing of the servers that could not run it.
            forget(&mut f.counts, resource, &owner);
            for monitor in monitors {
                forget(&mut f.monitors, monitor, &owner);
            }
        });
        Ok(())
    }

    pub(super) fn monitor_report(
        &mut self,
        monitor: &MonitorName,
        server: &ServerName,
        report: &MonitorReport,
    ) -> Result<(), Refusal> {
        let entry = self.state.monitors.get(monitor);
        let entry = entry.ok_or_else(|| Refusal::NoSuchMonitor(monitor.clone()))?;
        // A late word of a server that is down would never be taken back.
        if !self.presence(server)?.up {
            return Err(Refusal::ServerDown(server.clone()));
        }
        if entry.reports.get(server).is_none_or(|known| known.value != *report) {
            self.set_monitor_report(monitor, server, report.clone());
        }
        Ok(())
    }

    pub(super) fn set_monitor_report(
        &mut self,
        monitor: &MonitorName,
        server: &ServerName,
        report: MonitorReport,
    ) {
        let key = Key::MonitorReports(monitor.clone());
        let item = self.renewed(report, key, |s| s.monitors.get(monitor)?.reports.get(server));
        if let Some(entry) = self.state.monitors.get_mut(monitor) {
            entry.reports.insert(server.clone(), item);
        }
    }
}

impl GroupReport {
    /// What failed of a resource, when it is the one that the owner gave up on.
    fn failed_kind(&self, resource: &ResourceName) -> Option<FailureKind> {
        self.failed.as_ref().filter(|failed| failed.resource == *resource).map(|failed| failed.kind)
    }
}

/// What failed when a resource came into this state; `None` when it did not fail.
fn failed_by(
    then: Option<&ResourceReport>,
    now: &ResourceReport,
    given_up: Option<FailureKind>,
) -> Option<FailureKind> {
    match now.state {
        ResourceState::OfflineFailure => Some(FailureKind::Stop),
        ResourceState::OnlineFailure => Some(match given_up {
            // "Too often" is a judgement on the failure, which itself was a start or an end.
            Some(kind @ (FailureKind::Start | FailureKind::Ended | FailureKind::Found)) => kind,
            Some(FailureKind::Stop | FailureKind::TooOften) | None => match then.map(|then| then.state) {
                Some(ResourceState::Online | ResourceState::Intermediate | ResourceState::Unknown) => {
                    FailureKind::Ended
                }
                _ => FailureKind::Start,
            },
        }),
        _ => None,
    }
}

/// Keeps the last failures of each resource.
fn remember(failures: &mut Failures, resource: &ResourceName, record: FailureRecord) {
    let history = failures.history.entry(resource.clone()).or_default();
    if history.len() >= FAILURES_LIMIT {
        history.pop_front();
    }
    history.push_back(record);
}

/// Takes the counters of one thing on one server out.
fn forget<K: Ord, T>(counts: &mut BTreeMap<K, BTreeMap<ServerName, T>>, which: &K, server: &ServerName) {
    if let Some(by) = counts.get_mut(which) {
        by.remove(server);
        if by.is_empty() {
            counts.remove(which);
        }
    }
}
