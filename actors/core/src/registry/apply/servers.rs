//! Servers come and go, and the cluster as a whole changes its mode.

use std::time::Duration;

use super::Change;
use crate::{
    ids::{BootId, Incarnation, MonitorName, ServerName},
    membership::fencing::is_guarded,
    reason::Reason,
    registry::{
        Key, Refusal,
        command::ModeWord,
        state::{AfterStop, ClusterMode, MonitorReport, MonitorState, ServerMode},
    },
};

impl Change<'_> {
    pub(super) fn server_started(
        &mut self,
        server: &ServerName,
        incarnation: Incarnation,
        boot: &BootId,
    ) -> Result<(), Refusal> {
        let presence = self.presence(server)?;
        if self.state.servers.get(server).is_some_and(|entry| !entry.config.value.role.runs_groups()) {
            return Err(Refusal::RunsNoGroups(server.clone()));
        }
        if incarnation <= presence.incarnation {
            return Err(Refusal::OtherIncarnation {
                server: server.clone(),
                named: incarnation,
                current: presence.incarnation,
            });
        }
        // R5: only a new boot proves that what ran before has stopped.
        let rebooted = presence.boot.as_ref().is_some_and(|before| before != boot);
        let anew = rebooted || !presence.up;
        let alone = !self.state.servers.keys().any(|other| other != server && self.is_up(other));
        let now = self.state.revision.next();
        self.change_presence(server, |p| {
            p.incarnation = incarnation;
            p.started = now;
            p.boot = Some(boot.clone());
            p.up = true;
            p.mode = ServerMode::Active;
            p.down_because = None;
            p.watchdog = None; // until this one's guard has told of it
            p.speaks = None; // it may be another version
        });
        self.fencing_of_returned(server, rebooted);
        if rebooted {
            self.vacate_all_of(server, &Reason::ServerGone { server: server.clone() });
        }
        let starts_cluster = self.end_cluster_stop() || (anew && alone);
        if starts_cluster {
            self.start_with_cluster();
        } else if anew {
            self.start_with_server(server);
        }
        Ok(())
    }

    /// R5, R10: of this incarnation's guard, and of no other.
    pub(super) fn watchdog_armed(
        &mut self,
        server: &ServerName,
        incarnation: Incarnation,
        timeout: Duration,
    ) -> Result<(), Refusal> {
        self.current_incarnation(server, incarnation)?;
        self.change_presence(server, |p| p.watchdog = Some(timeout));
        Ok(())
    }

    pub(super) fn server_gone(
        &mut self,
        server: &ServerName,
        incarnation: Incarnation,
        reason: Option<&Reason>,
    ) -> Result<(), Refusal> {
        self.current_incarnation(server, incarnation)?;
        if is_guarded(self.state, server) {
            return Err(Refusal::FenceFirst(server.clone())); // R36
        }
        let why = reason.cloned().unwrap_or(Reason::SaidSo);
        self.take_down(server, why, &Reason::ServerGone { server: server.clone() });
        Ok(())
    }

    pub(super) fn server_stopped(
        &mut self,
        server: &ServerName,
        incarnation: Incarnation,
    ) -> Result<(), Refusal> {
        self.current_incarnation(server, incarnation)?;
        self.take_down(server, Reason::SaidSo, &Reason::ServerLeaving { server: server.clone() });
        Ok(())
    }

    pub(super) fn server_leave(&mut self, server: &ServerName, after: AfterStop) -> Result<(), Refusal> {
        let presence = self.presence(server)?;
        if !presence.up {
            return Err(Refusal::ServerDown(server.clone()));
        }
        self.change_presence(server, |p| p.mode = ServerMode::Leaving(after));
        Ok(())
    }

    /// The server is down: nobody owns what it owned, and nobody looks there.
    pub(super) fn take_down(&mut self, server: &ServerName, why: Reason, vacate: &Reason) {
        self.change_presence(server, |p| {
            p.up = false;
            p.down_because = Some(why);
        });
        self.fencing_is_moot(server);
        self.vacate_all_of(server, vacate);
        self.forget_findings_of(server);
        if self.end_cluster_stop() {
            self.start_with_cluster();
        }
    }

    fn forget_findings_of(&mut self, server: &ServerName) {
        let found =
            |state| matches!(state, MonitorState::Normal | MonitorState::Caution | MonitorState::Error);
        let stale: Vec<MonitorName> = self
            .state
            .monitors
            .iter()
            .filter(|(_, monitor)| monitor.reports.get(server).is_some_and(|item| found(item.value.state)))
            .map(|(name, _)| name.clone())
            .collect();
        for monitor in stale {
            let report = MonitorReport { state: MonitorState::Unknown, detail: format!("{server} is down") };
            self.set_monitor_report(&monitor, server, report);
        }
    }

    fn is_up(&self, server: &ServerName) -> bool {
        self.state.presence(server).is_some_and(|presence| presence.up)
    }

    pub(super) fn set_mode(&mut self, mode: ClusterMode) -> Result<(), Refusal> {
        let now = self.state.cluster_mode();
        let allowed = match mode {
            ClusterMode::Running => now != ClusterMode::Running,
            ClusterMode::Suspended => now == ClusterMode::Running,
            ClusterMode::Stopping(_) => !matches!(now, ClusterMode::Stopping(_)),
        };
        if !allowed {
            return Err(Refusal::WrongMode(ModeWord(now)));
        }
        let item = self.renewed(mode, Key::Mode, |s| s.mode.as_ref());
        self.state.mode = Some(item);
        Ok(())
    }

    /// The first server to start after the cluster was shut down starts the cluster again, as soon
    /// as no server is left of before: each has stopped, is gone, or has started anew. Says whether
    /// that is now.
    fn end_cluster_stop(&mut self) -> bool {
        let old = self.state.servers.keys().any(|name| self.state.stops_with_cluster(name).is_some());
        let stopping = matches!(self.state.cluster_mode(), ClusterMode::Stopping(_));
        if !stopping || old || !self.state.servers.keys().any(|name| self.is_up(name)) {
            return false;
        }
        let item = self.renewed(ClusterMode::Running, Key::Mode, |s| s.mode.as_ref());
        self.state.mode = Some(item);
        true
    }
}
