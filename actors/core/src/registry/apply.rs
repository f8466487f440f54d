//! `apply(&mut State, Proposal) -> Reply`: total, and never fails half-way.
//!
//! Whatever a command names, it is checked again here: an entry may have been decided on an older
//! registry (R12), by a leader that has been replaced, or by a server that no longer owns what it
//! speaks of. A refused command changes nothing.

use std::collections::BTreeMap;

use super::{
    Command, Item, Key, Proposal, Refusal, Reply, State,
    command::{Charge, ModeWord, TokenRefusal},
    state::{
        AfterStop, Assigned, ClusterMode, Failures, GroupEntry, GroupState, MonitorEntry, Ownership,
        Presence, ServerEntry, ServerMode, StartEvent, Target, Token, Vacate,
    },
};
use crate::{
    config::{ClusterConfig, FinalAction, Startup, instances},
    ids::{Epoch, GroupName, Incarnation, PoolName, RaftId, Revision, ServerName},
    reason::Reason,
    time::WallTime,
};

/// Applies one committed command. Deterministic: every server gets the same state and reply.
pub fn apply(state: &mut State, proposal: &Proposal) -> Reply {
    match check_and_apply(state, proposal) {
        Ok(applied) => applied,
        Err(refusal) => Reply::Refused(refusal),
    }
}

fn check_and_apply(state: &mut State, proposal: &Proposal) -> Result<Reply, Refusal> {
    if proposal.lineage != state.lineage && !matches!(proposal.command, Command::Initialise { .. }) {
        return Err(Refusal::OtherLineage(proposal.lineage.clone()));
    }
    for (key, then) in &proposal.read {
        let now = state.revision_of(key);
        if now != *then {
            return Err(Refusal::MovedOn { key: key.clone(), then: *then, now });
        }
    }
    let mut change = Change { state, at: proposal.at, keys: Vec::new(), raft_id: None };
    change.perform(proposal)?;
    let Change { keys, raft_id, .. } = change;
    state.revision = state.revision.next();
    let revision = state.revision;
    let reason = proposal.reason.as_ref().map(ToString::to_string);
    state.record(proposal.author.clone(), proposal.at, proposal.command.to_string(), reason, keys);
    Ok(Reply::Applied { revision, raft_id })
}

/// One change under way. Checks come before the first write in every arm, so that a refusal
/// leaves nothing behind.
struct Change<'a> {
    state: &'a mut State,
    at: WallTime,
    keys: Vec<Key>,
    raft_id: Option<RaftId>,
}

impl Change<'_> {
    fn perform(&mut self, proposal: &Proposal) -> Result<(), Refusal> {
        match &proposal.command {
            Command::Initialise { lineage, config, founder } => {
                if self.state.lineage.is_some() {
                    return Err(Refusal::AlreadyInitialised);
                }
                if !config.servers.contains_key(founder) {
                    return Err(Refusal::NoSuchServer(founder.clone()));
                }
                self.state.lineage = Some(lineage.clone());
                self.set_config(config);
                self.admit(founder);
            }
            Command::SetConfig { config } => {
                let in_use = |name: &&ServerName| {
                    self.state.presence(name).is_some() && !config.servers.contains_key(*name)
                };
                if let Some(server) = self.state.servers.keys().find(in_use) {
                    return Err(Refusal::ServerInUse(server.clone()));
                }
                self.set_config(config);
            }
            Command::IssueToken { id, digest, server, expires } => {
                if let Some(server) = server
                    && !self.state.servers.contains_key(server)
                {
                    return Err(Refusal::NoSuchServer(server.clone()));
                }
                // An id that comes again would make a used token fresh.
                if self.state.tokens.contains_key(id) {
                    return Err(Refusal::Token(TokenRefusal::Used));
                }
                let token = Token {
                    digest: digest.clone(),
                    server: server.clone(),
                    expires: *expires,
                    used_by: None,
                };
                let item = self.fresh(token, Key::Token(id.clone()));
                self.state.tokens.insert(id.clone(), item);
            }
            Command::Join { token, digest, server } => self.join(token, digest, server)?,
            Command::ServerStarted { server, incarnation, boot } => {
                let presence = self.presence(server)?;
                if *incarnation <= presence.incarnation {
                    return Err(Refusal::OtherIncarnation {
                        server: server.clone(),
                        named: *incarnation,
                        current: presence.incarnation,
                    });
                }
                // R5: only a new boot proves that what ran before has stopped.
                let rebooted = presence.boot.as_ref().is_some_and(|before| before != boot);
                let now = self.state.revision.next();
                self.change_presence(server, |p| {
                    p.incarnation = *incarnation;
                    p.started = now;
                    p.boot = Some(boot.clone());
                    p.up = true;
                    p.mode = ServerMode::Active;
                    p.down_because = None;
                });
                if rebooted {
                    self.vacate_all_of(server, &Reason::ServerGone { server: server.clone() });
                }
                self.end_cluster_stop();
            }
            Command::ServerGone { server, incarnation } => {
                self.current_incarnation(server, *incarnation)?;
                let why = proposal.reason.clone().unwrap_or(Reason::SaidSo);
                self.take_down(server, why, &Reason::ServerGone { server: server.clone() });
            }
            Command::ServerStopped { server, incarnation } => {
                self.current_incarnation(server, *incarnation)?;
                self.take_down(server, Reason::SaidSo, &Reason::ServerLeaving { server: server.clone() });
            }
            Command::ServerLeave { server, after } => {
                let presence = self.presence(server)?;
                if !presence.up {
                    return Err(Refusal::ServerDown(server.clone()));
                }
                self.change_presence(server, |p| p.mode = ServerMode::Leaving(*after));
            }
            Command::SetMode { mode } => self.set_mode(*mode)?,
            Command::StartGroup { group, on } => self.start_group(group, on.as_ref(), proposal)?,
            Command::FillPools { members } => self.fill_pools(members),
            Command::StopGroup { group, .. } => self.stop_group(group, proposal)?,
            Command::MoveGroup { group, to, .. } => self.move_group(group, to.as_ref(), proposal)?,
            Command::Assign { group, server, epoch, event } => {
                self.assign(group, server, *epoch, *event, proposal)?;
            }
            Command::Release { group, epoch, to, event, charge } => {
                let owner = self.owner_at(group, *epoch)?;
                if self.group(group)?.ownership.value.release.is_some() {
                    return Err(Refusal::Busy(group.clone()));
                }
                if let Some(charge) = charge {
                    self.change_failures(group, |f| match charge {
                        Charge::Resource(resource) => f.of_mut(resource, &owner).failovers += 1,
                        Charge::Monitor(monitor) => f.of_monitor_mut(monitor, &owner).failovers += 1,
                    });
                }
                let reason = proposal.reason.clone().unwrap_or(Reason::StillWanted);
                let release = Vacate { to: to.clone(), reason, event: *event };
                self.change_ownership(group, |o| o.release = Some(release));
            }
            Command::Released { group, epoch, server } => {
                self.owned_by_at(group, server, *epoch)?;
                self.change_ownership(group, |o| {
                    o.previous = o.owner.take();
                    o.assigned = None;
                    o.vacated = o.release.take();
                });
            }
            Command::Report { group, report } => {
                self.owned_by_at(group, &report.server, report.epoch)?;
                let known = self.group(group)?.report.as_ref();
                if known.is_some_and(|known| known.value == *report) {
                    return Ok(());
                }
                let key = Key::Report(group.clone());
                let item = self.renewed(report.clone(), key, |s| s.groups.get(group)?.report.as_ref());
                if let Some(entry) = self.state.groups.get_mut(group) {
                    entry.report = Some(item);
                }
            }
            Command::CountRetry { group, epoch, resource, server, .. } => {
                self.owned_by_at(group, server, *epoch)?;
                self.change_failures(group, |f| f.of_mut(resource, server).retries += 1);
            }
            Command::CountRestart { group, epoch, monitor, server, .. } => {
                self.owned_by_at(group, server, *epoch)?;
                self.change_failures(group, |f| f.of_monitor_mut(monitor, server).retries += 1);
            }
            Command::MonitorReport { monitor, server, report } => {
                let entry = self.state.monitors.get(monitor);
                let entry = entry.ok_or_else(|| Refusal::NoSuchMonitor(monitor.clone()))?;
                self.presence(server)?;
                if entry.reports.get(server).is_some_and(|known| known.value == *report) {
                    return Ok(());
                }
                let key = Key::MonitorReports(monitor.clone());
                let item =
                    self.renewed(report.clone(), key, |s| s.monitors.get(monitor)?.reports.get(server));
                if let Some(entry) = self.state.monitors.get_mut(monitor) {
                    entry.reports.insert(server.clone(), item);
                }
            }
            Command::Steady { group, epoch, resource, monitors } => {
                self.owner_at(group, *epoch)?;
                self.change_failures(group, |f| {
                    f.counts.remove(resource);
                    for monitor in monitors {
                        f.monitors.remove(monitor);
                    }
                });
            }
            Command::Finally { group, epoch, resource, action } => {
                let owner = self.owner_at(group, *epoch)?;
                self.change_failures(group, |f| {
                    f.of_mut(resource, &owner); // shown, even when nothing was counted
                });
                let after = match action {
                    FinalAction::None => None,
                    FinalAction::Stop => Some(AfterStop::Nothing),
                    FinalAction::StopAndReboot => Some(AfterStop::Reboot),
                    FinalAction::Reset => Some(AfterStop::Reset),
                    FinalAction::StopAndPowerOff => Some(AfterStop::PowerOff),
                };
                if let Some(after) = after {
                    self.change_presence(&owner, |p| p.mode = ServerMode::Leaving(after));
                }
            }
            Command::ResetFailures { group } => {
                self.group(group)?;
                self.change_failures(group, |f| *f = Failures::default());
            }
        }
        Ok(())
    }

    // --- operators' intentions -------------------------------------------------------------

    fn start_group(
        &mut self,
        group: &GroupName,
        on: Option<&ServerName>,
        proposal: &Proposal,
    ) -> Result<(), Refusal> {
        let entry = self.group(group)?;
        if let Some(owner) = &entry.ownership.value.owner {
            let failed = entry.report.as_ref().is_some_and(|r| r.value.state == GroupState::Error);
            if entry.ownership.value.release.is_some() {
                return Err(Refusal::Busy(group.clone()));
            }
            if !failed || on.is_some_and(|on| on != owner) {
                return Err(Refusal::AlreadyRuns { group: group.clone(), server: owner.clone() });
            }
        }
        if let Some(server) = on {
            self.may_run(group, server)?;
        }
        if self.state.cluster_mode() != ClusterMode::Running {
            return Err(Refusal::WrongMode(ModeWord(self.state.cluster_mode())));
        }
        let reason = Reason::OperatorStarted { by: proposal.author.to_string() };
        let start = Vacate { to: on.cloned(), reason, event: StartEvent::Start };
        self.change_target(group, Target::Online);
        self.change_failures(group, |f| *f = Failures::default());
        self.change_ownership(group, |o| {
            // A group in Error is released first, so that it starts again from its first resource.
            if o.owner.is_some() { o.release = Some(start) } else { o.vacated = Some(start) }
        });
        Ok(())
    }

    fn stop_group(&mut self, group: &GroupName, proposal: &Proposal) -> Result<(), Refusal> {
        let entry = self.group(group)?;
        if entry.target.value == Target::Offline && entry.ownership.value.owner.is_none() {
            return Err(Refusal::NotRunning(group.clone()));
        }
        let reason = Reason::OperatorStopped { by: proposal.author.to_string() };
        self.change_target(group, Target::Offline);
        self.change_ownership(group, |o| {
            let stop = Vacate { to: None, reason, event: StartEvent::Start };
            if o.owner.is_some() { o.release = Some(stop) } else { o.vacated = Some(stop) }
        });
        Ok(())
    }

    fn move_group(
        &mut self,
        group: &GroupName,
        to: Option<&ServerName>,
        proposal: &Proposal,
    ) -> Result<(), Refusal> {
        let ownership = &self.group(group)?.ownership.value;
        let Some(owner) = ownership.owner.clone() else {
            return Err(Refusal::NotRunning(group.clone()));
        };
        if ownership.release.is_some() {
            return Err(Refusal::Busy(group.clone()));
        }
        let to = match to {
            Some(to) if *to == owner => {
                return Err(Refusal::AlreadyRuns { group: group.clone(), server: owner });
            }
            Some(to) => {
                self.may_run(group, to)?;
                to.clone()
            }
            None => {
                let servers = self.group(group)?.config.as_ref().map(|c| c.value.servers.clone());
                servers
                    .unwrap_or_default()
                    .into_iter()
                    .find(|server| *server != owner && self.may_run(group, server).is_ok())
                    .ok_or_else(|| Refusal::NowhereToGo(group.clone()))?
            }
        };
        if self.state.cluster_mode() != ClusterMode::Running {
            return Err(Refusal::WrongMode(ModeWord(self.state.cluster_mode())));
        }
        let reason = Reason::OperatorMoved { by: proposal.author.to_string() };
        self.change_ownership(group, |o| {
            o.release = Some(Vacate { to: Some(to), reason, event: StartEvent::Start });
        });
        Ok(())
    }

    fn set_mode(&mut self, mode: ClusterMode) -> Result<(), Refusal> {
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
    /// as no server is left of before: each has stopped, is gone, or has started anew.
    fn end_cluster_stop(&mut self) {
        let old = self.state.servers.keys().any(|name| self.state.stops_with_cluster(name).is_some());
        let up = |name| self.state.presence(name).is_some_and(|presence| presence.up);
        let stopping = matches!(self.state.cluster_mode(), ClusterMode::Stopping(_));
        if !stopping || old || !self.state.servers.keys().any(up) {
            return;
        }
        let item = self.renewed(ClusterMode::Running, Key::Mode, |s| s.mode.as_ref());
        self.state.mode = Some(item);
        let idle: Vec<GroupName> = self
            .state
            .groups
            .iter()
            .filter(|(_, g)| g.ownership.value.owner.is_none() && g.target.value == Target::Online)
            .map(|(name, _)| name.clone())
            .collect();
        for group in idle {
            let start = Vacate { to: None, reason: Reason::ClusterStarted, event: StartEvent::Start };
            self.change_ownership(&group, |o| o.vacated = Some(start));
        }
    }

    // --- ownership --------------------------------------------------------------------------

    fn assign(
        &mut self,
        group: &GroupName,
        server: &ServerName,
        epoch: Epoch,
        event: StartEvent,
        proposal: &Proposal,
    ) -> Result<(), Refusal> {
        let ownership = &self.group(group)?.ownership.value;
        // R13: a new owner only after an applied release of the old one, or its end.
        if let Some(owner) = &ownership.owner {
            return Err(Refusal::StillOwned { group: group.clone(), owner: owner.clone() });
        }
        if epoch != ownership.epoch.next() {
            return Err(Refusal::OtherEpoch { group: group.clone(), named: epoch, current: ownership.epoch });
        }
        self.may_run(group, server)?;
        let assigned = Assigned {
            reason: proposal.reason.clone().unwrap_or(Reason::StillWanted),
            event,
            at: proposal.at,
        };
        self.change_ownership(group, |o| {
            o.epoch = epoch;
            o.owner = Some(server.clone());
            o.assigned = Some(assigned);
            o.release = None;
            o.vacated = None;
        });
        Ok(())
    }

    /// The server is down: nobody owns what it owned.
    fn take_down(&mut self, server: &ServerName, why: Reason, vacate: &Reason) {
        self.change_presence(server, |p| {
            p.up = false;
            p.down_because = Some(why);
        });
        self.vacate_all_of(server, vacate);
        self.end_cluster_stop();
    }

    fn vacate_all_of(&mut self, server: &ServerName, reason: &Reason) {
        let groups: Vec<GroupName> = self.state.owned_by(server).map(|(name, _)| name.clone()).collect();
        for group in groups {
            self.change_ownership(&group, |o| {
                o.previous = o.owner.take();
                o.assigned = None;
                // A wish to move that was under way keeps its destination.
                o.vacated = Some(o.release.take().unwrap_or_else(|| Vacate {
                    to: None,
                    reason: reason.clone(),
                    event: StartEvent::Failover,
                }));
            });
        }
    }

    // --- joining and configuration ------------------------------------------------------------

    fn join(&mut self, token: &str, digest: &str, server: &ServerName) -> Result<(), Refusal> {
        if !self.state.servers.contains_key(server) {
            return Err(Refusal::NoSuchServer(server.clone()));
        }
        let known = self.state.tokens.get(token).ok_or(Refusal::Token(TokenRefusal::Unknown))?;
        let known = &known.value;
        if known.digest != digest {
            return Err(Refusal::Token(TokenRefusal::Unknown));
        }
        if known.used_by.is_some() {
            return Err(Refusal::Token(TokenRefusal::Used));
        }
        if self.at > known.expires {
            return Err(Refusal::Token(TokenRefusal::Expired));
        }
        if known.server.as_ref().is_some_and(|only| only != server) {
            return Err(Refusal::Token(TokenRefusal::OtherServer));
        }
        let used = Token { used_by: Some(server.clone()), ..known.clone() };
        let item = self.renewed(used, Key::Token(token.to_owned()), |s| s.tokens.get(token));
        self.state.tokens.insert(token.to_owned(), item);
        self.admit(server);
        Ok(())
    }

    /// Gives a server its place. One that joined before and lost its store gets a new Raft id
    /// (R23); what its old incarnation owned stays owned until that one is gone.
    fn admit(&mut self, server: &ServerName) {
        self.state.last_raft_id = self.state.last_raft_id.next();
        let raft_id = self.state.last_raft_id;
        let before = self.state.presence(server).cloned();
        let presence = before.map_or(
            Presence {
                raft_id,
                incarnation: Incarnation(0),
                started: Revision(0),
                boot: None,
                up: false,
                mode: ServerMode::Active,
                down_because: None,
            },
            |before| Presence { raft_id, ..before },
        );
        let key = Key::Presence(server.clone());
        let item = self.renewed(presence, key, |s| s.servers.get(server)?.presence.as_ref());
        if let Some(entry) = self.state.servers.get_mut(server) {
            entry.presence = Some(item);
        }
        self.raft_id = Some(raft_id);
    }

    /// Replaces the wishes. Only objects that differ get a new revision, so that what is decided
    /// about one group does not depend on edits to another.
    fn set_config(&mut self, config: &ClusterConfig) {
        self.set_catalogue(config);
        if self.state.settings.as_ref().map(|s| &s.value) != Some(&config.settings) {
            let item = self.renewed(config.settings.clone(), Key::Settings, |s| s.settings.as_ref());
            self.state.settings = Some(item);
        }
        let gone: Vec<ServerName> =
            self.state.servers.keys().filter(|name| !config.servers.contains_key(*name)).cloned().collect();
        for name in gone {
            self.state.servers.remove(&name);
            self.touched(Key::ServerConfig(name));
        }
        for (name, server) in &config.servers {
            let known = self.state.servers.get(name);
            if known.is_some_and(|known| known.config.value == *server) {
                continue;
            }
            let key = Key::ServerConfig(name.clone());
            let item = self.renewed(server.clone(), key, |s| s.servers.get(name).map(|s| &s.config));
            match self.state.servers.get_mut(name) {
                Some(known) => known.config = item,
                None => {
                    self.state.servers.insert(name.clone(), ServerEntry { config: item, presence: None });
                }
            }
        }
        self.set_groups(config);
    }

    /// Types, pools, definitions and monitors.
    fn set_catalogue(&mut self, config: &ClusterConfig) {
        let (next, at) = (self.state.revision.next(), self.at);
        let keys = &mut self.keys;
        replace(&mut self.state.types, &config.types, next, at, |name| keys.push(Key::Type(name)));
        replace(&mut self.state.pools, &config.pools, next, at, |name| keys.push(Key::Pool(name)));
        replace(&mut self.state.definitions, &config.resources, next, at, |name| {
            keys.push(Key::Definition(name));
        });
        self.state.monitors.retain(|name, _| {
            let stays = config.monitors.contains_key(name);
            if !stays {
                keys.push(Key::MonitorConfig(name.clone()));
            }
            stays
        });
        for (name, monitor) in &config.monitors {
            let known = self.state.monitors.get(name);
            if known.is_some_and(|known| known.config.value == *monitor) {
                continue;
            }
            let created = known.map_or(next, |known| known.config.created);
            let config = Item { value: monitor.clone(), created, modified: next, at };
            keys.push(Key::MonitorConfig(name.clone()));
            // What was found by other rules says nothing any more.
            self.state.monitors.insert(name.clone(), MonitorEntry { config, reports: BTreeMap::new() });
        }
    }

    fn fill_pools(&mut self, members: &BTreeMap<ServerName, PoolName>) {
        let item = self.renewed(members.clone(), Key::PoolMembers, |s| s.pool_members.as_ref());
        self.state.pool_members = Some(item);
    }

    fn set_groups(&mut self, config: &ClusterConfig) {
        let units = instances::units(config);
        for (name, group) in &units {
            let known = self.state.groups.get(name).and_then(|g| g.config.as_ref());
            if known.is_some_and(|known| known.value == *group) {
                continue;
            }
            let key = Key::GroupConfig(name.clone());
            let item = self.renewed(group.clone(), key, |s| s.groups.get(name)?.config.as_ref());
            let target = match group.startup {
                Startup::Always | Startup::Restore => Target::Online,
                Startup::Never => Target::Offline,
            };
            if let Some(known) = self.state.groups.get_mut(name) {
                let comes_back = known.config.is_none();
                known.config = Some(item);
                if comes_back {
                    // Its release goes on; what it was wanted as ended when it was taken out.
                    self.change_target(name, target);
                }
                continue;
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
        // A group that was taken out is stopped by its owner first; its record goes with the release.
        let taken_out =
            |(name, group): &(&GroupName, &GroupEntry)| group.config.is_some() && !units.contains_key(*name);
        let gone: Vec<GroupName> =
            self.state.groups.iter().filter(taken_out).map(|(name, _)| name.clone()).collect();
        for name in gone {
            self.keys.push(Key::GroupConfig(name.clone()));
            let owned = self.state.groups.get(&name).is_some_and(|g| g.ownership.value.owner.is_some());
            if owned {
                self.change_target(&name, Target::Offline);
                self.change_ownership(&name, |o| {
                    o.release =
                        Some(Vacate { to: None, reason: Reason::NotConfigured, event: StartEvent::Start });
                });
                if let Some(entry) = self.state.groups.get_mut(&name) {
                    entry.config = None;
                }
            } else {
                self.retire(&name);
            }
        }
    }

    /// Forgets a group that is configured no more and that nobody owns, but not how far its epochs
    /// went (R35: a configuration takes no fact back).
    fn retire(&mut self, group: &GroupName) {
        if let Some(entry) = self.state.groups.remove(group) {
            self.state.retired_epoch = self.state.retired_epoch.max(entry.ownership.value.epoch);
        }
    }

    // --- checks -----------------------------------------------------------------------------

    fn group(&self, group: &GroupName) -> Result<&GroupEntry, Refusal> {
        self.state.groups.get(group).ok_or_else(|| Refusal::NoSuchGroup(group.clone()))
    }

    fn presence(&self, server: &ServerName) -> Result<&Presence, Refusal> {
        let entry = self.state.servers.get(server);
        let entry = entry.ok_or_else(|| Refusal::NoSuchServer(server.clone()))?;
        entry.presence.as_ref().map(|p| &p.value).ok_or_else(|| Refusal::NotJoined(server.clone()))
    }

    /// R5: "gone" and "stopped" are refused for any but the current incarnation.
    fn current_incarnation(&self, server: &ServerName, named: Incarnation) -> Result<(), Refusal> {
        let presence = self.presence(server)?;
        if presence.incarnation != named {
            let current = presence.incarnation;
            return Err(Refusal::OtherIncarnation { server: server.clone(), named, current });
        }
        if !presence.up {
            return Err(Refusal::ServerDown(server.clone()));
        }
        Ok(())
    }

    /// Whether a server could be given a group now: configured for it, up, and staying.
    fn may_run(&self, group: &GroupName, server: &ServerName) -> Result<(), Refusal> {
        let not_allowed = || Refusal::NotAllowed { group: group.clone(), server: server.clone() };
        let config = self.group(group)?.config.as_ref().ok_or_else(not_allowed)?;
        if !self.state.servers.contains_key(server) {
            return Err(Refusal::NoSuchServer(server.clone()));
        }
        if !config.value.servers.contains(server) {
            return Err(not_allowed());
        }
        let presence = self.presence(server)?;
        if !presence.up || presence.mode != ServerMode::Active {
            return Err(Refusal::ServerDown(server.clone()));
        }
        Ok(())
    }

    fn owner_at(&self, group: &GroupName, epoch: Epoch) -> Result<ServerName, Refusal> {
        let ownership = &self.group(group)?.ownership.value;
        if ownership.epoch != epoch {
            let current = ownership.epoch;
            return Err(Refusal::OtherEpoch { group: group.clone(), named: epoch, current });
        }
        ownership.owner.clone().ok_or_else(|| Refusal::NotRunning(group.clone()))
    }

    fn owned_by_at(&self, group: &GroupName, server: &ServerName, epoch: Epoch) -> Result<(), Refusal> {
        if self.owner_at(group, epoch)? == *server {
            Ok(())
        } else {
            Err(Refusal::NotOwner { group: group.clone(), server: server.clone() })
        }
    }

    // --- writes -----------------------------------------------------------------------------

    fn fresh<T>(&mut self, value: T, key: Key) -> Item<T> {
        self.renewed(value, key, |_| None)
    }

    fn renewed<T>(&mut self, value: T, key: Key, old: impl FnOnce(&State) -> Option<&Item<T>>) -> Item<T> {
        let revision = self.state.revision.next();
        let created = old(self.state).map_or(revision, |old| old.created);
        self.touched(key);
        Item { value, created, modified: revision, at: self.at }
    }

    fn touched(&mut self, key: Key) {
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
    }

    fn change_presence(&mut self, server: &ServerName, change: impl FnOnce(&mut Presence)) {
        let (revision, at) = (self.state.revision.next(), self.at);
        if let Some(item) = self.state.servers.get_mut(server).and_then(|s| s.presence.as_mut())
            && changed(item, revision, at, change)
        {
            self.touched(Key::Presence(server.clone()));
        }
    }

    fn change_ownership(&mut self, group: &GroupName, change: impl FnOnce(&mut Ownership)) {
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
    }

    fn change_target(&mut self, group: &GroupName, target: Target) {
        let (revision, at) = (self.state.revision.next(), self.at);
        if let Some(entry) = self.state.groups.get_mut(group)
            && changed(&mut entry.target, revision, at, |value| *value = target)
        {
            self.touched(Key::Target(group.clone()));
        }
    }

    fn change_failures(&mut self, group: &GroupName, change: impl FnOnce(&mut Failures)) {
        let (revision, at) = (self.state.revision.next(), self.at);
        if let Some(entry) = self.state.groups.get_mut(group)
            && changed(&mut entry.failures, revision, at, change)
        {
            self.touched(Key::Failures(group.clone()));
        }
    }
}

/// Changes an object; its revision moves only when its value did, so that saying the same thing
/// again does not make other decisions stale (R12).
fn changed<T: Clone + PartialEq>(
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
fn replace<K: Clone + Ord, T: Clone + PartialEq>(
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

#[cfg(test)]
mod tests;
