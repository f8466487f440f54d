//! The copy of the registry in which a forecast happens, its clock, and its owners.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::Duration,
};

use super::{
    Change, Ended, Forecast, Impossible, Picture, Step, What,
    outage::{Outage, phase},
};
use crate::{
    config::{FinalAction, TieBreak, instances},
    group::lifecycle::{Action, Event, Lifecycle},
    ids::{BootId, Epoch, GroupName, NetworkName, ResourceName, Revision, ServerName},
    placement::{
        dependency::waits_for,
        plan::{Decision, Input, decide},
    },
    reason::Reason,
    registry::{
        Author, Command, Key, Proposal, Refusal, Reply, State, apply,
        state::{
            Facts, FailureKind, GroupReport, GroupState, ResourceReport, ResourceState, ServerMode, Target,
        },
    },
    time::{Timestamp, WallTime},
};

mod cable;

/// Rounds of deciding after which a forecast gives up.
const ROUNDS: u32 = 3000;
/// From so many groups on, what ends within [`BLUR`] of another is looked at together with it.
const MANY: usize = 300;
/// Milliseconds.
const BLUR: u64 = 250;

/// What is to come at a time.
enum Due {
    Gone(ServerName),
    Ends { group: GroupName, epoch: Epoch, resource: ResourceName, start: bool },
}

/// A group on its owner: the owner's own machine.
struct Owner {
    epoch: Epoch,
    server: ServerName,
    life: Lifecycle,
    releasing: bool,
}

pub(super) struct Play<'a> {
    picture: &'a Picture,
    by: Author,
    state: State,
    fit: BTreeSet<ServerName>,
    silent: BTreeSet<ServerName>,
    /// Cables that are cut.
    dark: BTreeSet<(ServerName, NetworkName)>,
    base: WallTime,
    now: u64,
    agenda: BTreeMap<(u64, u64), Due>,
    sequence: u64,
    owners: BTreeMap<GroupName, Owner>,
    /// Groups whose owners have something to look at.
    touched: BTreeSet<GroupName>,
    /// Groups that may not obey their release yet.
    held: BTreeSet<GroupName>,
    /// Some unit has a stop dependency: only then the order of stops has to be asked for.
    stops: bool,
    steps: Vec<Step>,
    outages: BTreeMap<GroupName, Outage>,
}

impl<'a> Play<'a> {
    pub(super) fn new(picture: &'a Picture, by: &str) -> Self {
        let state = picture.state.clone();
        let none = BTreeSet::new();
        let outages = state.groups.iter().map(|(name, entry)| (name.clone(), Outage::new(entry, &none)));
        let outages = outages.collect();
        let last = state.groups.values().map(|g| g.ownership.at.max(g.target.at)).max();
        Self {
            picture,
            by: Author::Operator(by.to_owned()),
            base: state.history.back().map(|change| change.at).max(last).unwrap_or_default().max(picture.at),
            fit: picture.fit.clone(),
            silent: BTreeSet::new(),
            dark: BTreeSet::new(),
            now: 0,
            agenda: BTreeMap::new(),
            sequence: 0,
            owners: BTreeMap::new(),
            touched: state.groups.keys().cloned().collect(),
            held: BTreeSet::new(),
            steps: Vec::new(),
            stops: false,
            outages,
            state,
        }
    }

    pub(super) fn run(mut self, what_if: &[Change]) -> Result<Forecast, Impossible> {
        for change in what_if {
            self.suppose(change)?;
        }
        let mut configs = self.state.groups.values().filter_map(|entry| entry.config.as_ref());
        self.stops = configs.any(|config| !config.value.stop.is_empty());
        let ended = match self.quorum() {
            Some(none) => {
                self.stand_down();
                none
            }
            None => self.play(),
        };
        Ok(self.close(ended))
    }

    // --- what is supposed -----------------------------------------------------------------------

    fn suppose(&mut self, change: &Change) -> Result<(), Impossible> {
        match change {
            Change::ServerDown { server } => self.lose(server),
            Change::ServerUp { server } => self.join(server),
            Change::CableCut { server, network } => self.cut(server, network),
            Change::Move { group, to } => {
                let command = |force| Command::MoveGroup { group: group.clone(), to: to.clone(), force };
                self.ask(&command)
            }
            Change::Start { group, on } => {
                self.ask(&|_| Command::StartGroup { group: group.clone(), on: on.clone() })
            }
            Change::Stop { group } => self.ask(&|force| Command::StopGroup { group: group.clone(), force }),
            Change::Configure { config } => {
                self.ask(&|_| Command::SetConfig { config: config.as_ref().clone() })
            }
        }
    }

    fn lose(&mut self, server: &ServerName) -> Result<(), Impossible> {
        let refused = |refusal| Impossible::Refused { change: format!("losing server {server}"), refusal };
        let entry = self.state.servers.get(server);
        let entry = entry.ok_or_else(|| refused(Refusal::NoSuchServer(server.clone())))?;
        let presence = entry.presence.as_ref().map(|presence| &presence.value);
        let presence = presence.ok_or_else(|| refused(Refusal::NotJoined(server.clone())))?;
        let witness = !entry.config.value.role.runs_groups();
        if !(presence.up || witness) || !self.silent.insert(server.clone()) {
            return Err(refused(Refusal::ServerDown(server.clone())));
        }
        self.fit.remove(server);
        self.say(What::Lost { server: server.clone() }, None);
        if witness {
            return Ok(()); // it held no lease that would have to end
        }
        let theirs: Vec<GroupName> = self.state.owned_by(server).map(|(name, _)| name.clone()).collect();
        for group in theirs {
            self.clock(&group);
        }
        // R9: nothing of it may be started elsewhere before its lease has ended for certain.
        let wait = self.state.settings.as_ref().map(|settings| settings.value.timing.takeover_wait());
        self.plan(wait.map_or(0, millis), Due::Gone(server.clone()));
        Ok(())
    }

    fn join(&mut self, server: &ServerName) -> Result<(), Impossible> {
        let refused = |refusal| Impossible::Refused { change: format!("starting server {server}"), refusal };
        let entry = self.state.servers.get(server);
        let entry = entry.ok_or_else(|| refused(Refusal::NoSuchServer(server.clone())))?;
        let presence = entry.presence.as_ref().map(|presence| &presence.value);
        let presence = presence.ok_or_else(|| refused(Refusal::NotJoined(server.clone())))?;
        if presence.up {
            return Err(Impossible::AlreadyUp(server.clone()));
        }
        let command = Command::ServerStarted {
            server: server.clone(),
            incarnation: presence.incarnation.next(),
            boot: BootId::new("supposed"),
        };
        self.say(What::Joined { server: server.clone() }, None);
        self.apply(Author::Server(server.clone()), None, Vec::new(), command).map_err(refused)?;
        self.fit.insert(server.clone());
        Ok(())
    }

    /// An operator's command. Where it would stop others it is supposed to be said with `--force`.
    fn ask(&mut self, command: &dyn Fn(bool) -> Command) -> Result<(), Impossible> {
        let what = format!("{} asks: {}", self.by, command(false));
        let (by, none) = (self.by.clone(), Vec::new);
        match self.apply(by.clone(), None, none(), command(false)) {
            Ok(()) => self.say(What::Asked { what }, None),
            Err(Refusal::StopsOthers { dependents, .. }) => {
                let others: Vec<&str> = dependents.iter().map(GroupName::as_str).collect();
                let what = format!("{what} --force (it stops {} too)", others.join(", "));
                self.apply(by, None, none(), command(true))
                    .map_err(|refusal| Impossible::Refused { change: what.clone(), refusal })?;
                self.say(What::Asked { what }, None);
            }
            Err(refusal) => return Err(Impossible::Refused { change: command(false).to_string(), refusal }),
        }
        Ok(())
    }

    // --- quorum -----------------------------------------------------------------------------------

    fn quorum(&self) -> Option<Ended> {
        let voting = self.picture.voting();
        let lives = |server: &&ServerName| {
            // A witness is not up or down to the registry: one that nobody supposes lost is there.
            let entry = self.state.servers.get(*server);
            let witness = entry.is_some_and(|entry| !entry.config.value.role.runs_groups());
            let up = witness || self.state.presence(server).is_some_and(|p| p.up);
            !self.silent.contains(*server) && up
        };
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let (voters, left) = (count(voting.len()), count(voting.iter().filter(lives).count()));
        // Of two voters, the one that is left asks the tie-break, which is taken to answer.
        let settings = self.state.settings.as_ref().map(|settings| &settings.value);
        let tie_break = settings.is_some_and(|settings| settings.votes.tie_break != TieBreak::None);
        let needed = if voters == 2 && tie_break { 1 } else { voters / 2 + 1 };
        (left < needed).then_some(Ended::NoQuorum { voters, left, needed })
    }

    fn stand_down(&mut self) {
        let lease = self.state.settings.as_ref().map(|settings| settings.value.timing.lease);
        self.now += lease.map_or(0, millis);
        self.say(What::StandDown, None);
        self.silent.extend(self.state.servers.keys().cloned());
        let all: Vec<GroupName> = self.state.groups.keys().cloned().collect();
        for group in all {
            self.clock(&group);
        }
    }

    // --- rounds -----------------------------------------------------------------------------------

    fn play(&mut self) -> Ended {
        for _ in 0..ROUNDS {
            self.look();
            let lost = self.silent.len();
            let (decided, refusal) = self.decide();
            if self.silent.len() > lost
                && let Some(none) = self.quorum()
            {
                self.stand_down();
                return none;
            }
            self.look();
            if decided || self.servers_end() || self.next() {
                continue;
            }
            return match refusal {
                Some(refusal) => Ended::Stuck { refusal },
                None if self.held.is_empty() => Ended::Settled,
                None => Ended::Waiting { groups: self.held.iter().cloned().collect() },
            };
        }
        Ended::Unfinished { rounds: ROUNDS }
    }

    /// One round of the leader. Whether anything was accepted, and the last refusal otherwise.
    fn decide(&mut self) -> (bool, Option<Refusal>) {
        // A cold start waits for home servers; a forecast is about a cluster that is under way.
        let since_start = Duration::MAX;
        let decisions = decide(&Input { state: &self.state, fit: &self.fit, since_start });
        let Some(leader) = self.fit.iter().next().cloned() else { return (false, None) };
        let (mut any, mut refused) = (false, None);
        for Decision { command, reason, read } in decisions {
            let what = self.named(&command);
            let author = Author::Leader(leader.clone());
            let at = self.steps.len();
            let resets = self.resets(&command);
            match self.apply(author, Some(reason.clone()), read, command) {
                Ok(()) => {
                    any = true;
                    if let Some(what) = what {
                        self.steps.insert(at, Step { after_ms: self.now, what, reason: Some(reason) });
                    }
                    if let Some(server) = resets {
                        // It stops nothing first. One that is lost already cannot be lost again.
                        let _ = self.lose(&server);
                    }
                }
                Err(refusal) => refused = Some(refusal),
            }
        }
        (any, refused)
    }

    /// The server that a final action resets.
    fn resets(&self, command: &Command) -> Option<ServerName> {
        let Command::Finally { group, action: FinalAction::Reset, .. } = command else { return None };
        self.state.groups.get(group)?.ownership.value.owner.clone()
    }

    fn named(&self, command: &Command) -> Option<What> {
        let owner = |group: &GroupName| {
            let owner = &self.state.groups.get(group)?.ownership.value.owner;
            owner.clone()
        };
        Some(match command {
            Command::Assign { group, server, .. } => {
                What::Assign { group: group.clone(), server: server.clone() }
            }
            Command::Release { group, to, .. } => {
                What::Release { group: group.clone(), server: owner(group)?, to: to.clone() }
            }
            Command::StartGroup { group, .. } => What::Want { group: group.clone() },
            Command::FillPools { members } => What::Pools { members: members.clone() },
            Command::Finally { group, resource, action, .. } => {
                What::Finally { group: group.clone(), resource: resource.clone(), action: *action }
            }
            other => What::Asked { what: other.to_string() },
        })
    }

    /// Servers that were told to stop and own nothing any more stop.
    fn servers_end(&mut self) -> bool {
        let ends = |name: &&ServerName| {
            let leaving = self.state.presence(name).is_some_and(|p| p.up && p.mode != ServerMode::Active);
            let stops = leaving || self.state.stops_with_cluster(name).is_some();
            stops && !self.silent.contains(*name) && self.state.owned_by(name).next().is_none()
        };
        let Some(server) = self.state.servers.keys().find(ends).cloned() else { return false };
        let Some(presence) = self.state.presence(&server) else { return false };
        let command = Command::ServerStopped { server: server.clone(), incarnation: presence.incarnation };
        let done = self.apply(Author::Server(server.clone()), Some(Reason::SaidSo), Vec::new(), command);
        self.fit.remove(&server);
        self.say(What::Stopped { server }, None);
        done.is_ok()
    }

    /// Goes on to the next time at which something ends.
    fn next(&mut self) -> bool {
        let Some((&(at, _), _)) = self.agenda.first_key_value() else { return false };
        let until = if self.state.groups.len() > MANY { at + BLUR } else { at };
        while let Some(entry) = self.agenda.first_entry().filter(|entry| entry.key().0 <= until) {
            let ((at, _), due) = entry.remove_entry();
            self.now = self.now.max(at);
            match due {
                Due::Gone(server) => self.gone(&server),
                Due::Ends { group, epoch, resource, start } => {
                    let Some(owner) = self.owners.get(&group).filter(|owner| owner.epoch == epoch) else {
                        continue;
                    };
                    let event = match self.dark(owner.life.config(), &resource, &owner.server) {
                        _ if !start => Event::Stopped(resource),
                        None => Event::Started(resource),
                        Some(network) => Event::StartFailed(resource, cable::no_carrier(&network)),
                    };
                    self.tell(&group, event);
                }
            }
        }
        true
    }

    fn gone(&mut self, server: &ServerName) {
        let Some(presence) = self.state.presence(server) else { return };
        let (name, incarnation) = (server.clone(), presence.incarnation);
        // One with fencing devices is fenced; what would follow is the same (R36).
        let levels = self.state.servers.get(server).map(|entry| &entry.config.value.fencing);
        let command = match levels.and_then(|levels| levels.first()) {
            Some(by) => Command::ServerFenced { server: name, incarnation, by: by.clone() },
            None => Command::ServerGone { server: name, incarnation },
        };
        let silent = Duration::from_millis(self.now);
        let Some(leader) = self.fit.iter().next().cloned() else { return };
        self.say(What::Gone { server: server.clone() }, None);
        // A server that has left in the meantime is not gone once more: refused, rightly.
        let _ = self.apply(Author::Leader(leader), Some(Reason::LeaseRanOut { silent }), Vec::new(), command);
    }

    // --- owners -----------------------------------------------------------------------------------

    /// Lets every owner look at what has changed for its groups.
    fn look(&mut self) {
        let mut groups = mem::take(&mut self.touched);
        groups.append(&mut self.held);
        for group in groups {
            self.attend(&group);
        }
    }

    fn attend(&mut self, group: &GroupName) {
        let Some(entry) = self.state.groups.get(group) else {
            self.owners.remove(group);
            return;
        };
        let ownership = &entry.ownership.value;
        let here = ownership.owner.clone().filter(|owner| {
            !self.silent.contains(owner) && self.state.presence(owner).is_some_and(|presence| presence.up)
        });
        let Some(server) = here else {
            self.owners.remove(group);
            return;
        };
        let (epoch, released) = (ownership.epoch, ownership.release.is_some());
        if self.owners.get(group).is_some_and(|owner| owner.epoch != epoch) {
            self.owners.remove(group);
        }
        if released && self.must_wait(group) {
            self.held.insert(group.clone());
            return;
        }
        let report = entry.report.as_ref().map(|report| &report.value).filter(|r| r.epoch == epoch);
        let settled = report.is_some_and(|r| r.state == GroupState::Online || r.failed.is_some());
        if !self.owners.contains_key(group) {
            let config = entry.config.as_ref().map(|config| &config.value);
            // What has been given up on fails no further.
            let failed = report.and_then(|report| report.failed.as_ref());
            let stuck = failed.is_some_and(|failed| failed.kind != FailureKind::Found);
            let ends = !stuck && config.is_some_and(|config| self.is_dark(config, &server));
            if settled && !released && !ends {
                return;
            }
            // What a check could not tell about runs as well where all of the group does.
            let all = report.is_some_and(|report| report.state == GroupState::Online);
            let up = |report: &ResourceReport| {
                all || matches!(report.state, ResourceState::Online | ResourceState::Intermediate)
            };
            let resources = report.into_iter().flat_map(|report| &report.resources);
            let running = resources.filter(|(_, report)| up(report)).map(|(name, _)| name.clone()).collect();
            let (failures, now) = (&entry.failures.value, self.clock_now());
            let life = Lifecycle::new(config.cloned().unwrap_or_default(), &server, failures, now);
            let life = life.remembering(failures, &server, self.wall(), now);
            let owner = Owner { epoch, server, life, releasing: false };
            self.owners.insert(group.clone(), owner);
            if !released {
                self.tell(group, Event::Begin { running });
            }
        }
        if released
            && let Some(owner) = self.owners.get_mut(group)
            && !mem::replace(&mut owner.releasing, true)
        {
            self.tell(group, Event::Release);
        }
        if !released {
            self.end_dark(group);
        }
    }

    /// Others that need it running have to stop first.
    fn must_wait(&self, group: &GroupName) -> bool {
        self.stops && !waits_for(&self.state, group).is_empty()
    }

    fn tell(&mut self, group: &GroupName, event: Event) {
        let now = self.clock_now();
        let Some(owner) = self.owners.get_mut(group) else { return };
        for action in owner.life.on(event, now) {
            self.perform(group, action);
        }
    }

    fn perform(&mut self, group: &GroupName, action: Action) {
        let Some(owner) = self.owners.get(group) else { return };
        let (server, epoch) = (owner.server.clone(), owner.epoch);
        match action {
            Action::Start(resource) => self.begin(group, &resource, server, epoch, true),
            Action::Stop(resource) => self.begin(group, &resource, server, epoch, false),
            Action::Report => self.report(group),
            Action::Released => {
                let command = Command::Released { group: group.clone(), epoch, server: server.clone() };
                let done = self.apply(Author::Server(server.clone()), None, Vec::new(), command);
                if done.is_ok() {
                    self.say(What::Released { group: group.clone(), server }, None);
                }
            }
            Action::CountRetry(resource, kind) => {
                let command = Command::CountRetry {
                    group: group.clone(),
                    epoch,
                    resource,
                    server: server.clone(),
                    kind,
                };
                // No longer its owner: nothing to count, as for the owner itself.
                let _ = self.apply(Author::Server(server), None, Vec::new(), command);
            }
            // No monitor finds anything here, and nothing has the time to become steady.
            _ => {}
        }
    }

    fn begin(
        &mut self,
        group: &GroupName,
        resource: &ResourceName,
        server: ServerName,
        epoch: Epoch,
        start: bool,
    ) {
        let due = Due::Ends { group: group.clone(), epoch, resource: resource.clone(), start };
        let config = self.owners.get(group).map(|owner| owner.life.config()).filter(|_| start);
        if let Some(network) = config.and_then(|config| self.dark(config, resource, &server)) {
            let (group, resource) = (group.clone(), resource.clone());
            self.say(What::Fails { group, resource, server, network, start }, None);
            self.plan(0, due);
            return;
        }
        let facts = self.facts(group, resource);
        let takes_ms = facts.and_then(|facts| if start { facts.start_took } else { facts.stop_took });
        if takes_ms.is_none()
            && let Some(outage) = self.outages.get_mut(group)
        {
            outage.not_measured(resource);
        }
        let (g, r) = (group.clone(), resource.clone());
        self.say(
            if start {
                What::Start { group: g, resource: r, server, takes_ms }
            } else {
                What::Stop { group: g, resource: r, server, takes_ms }
            },
            None,
        );
        self.plan(takes_ms.unwrap_or(0), due);
    }

    /// What is remembered of a resource; of another instance where this one never ran.
    fn facts(&self, group: &GroupName, resource: &ResourceName) -> Option<&'a Facts> {
        let known = &self.picture.state.groups;
        let of = |name: &GroupName| known.get(name)?.facts.get(resource).map(|item| &item.value);
        of(group).or_else(|| {
            let definition = instances::resource_of(group)?;
            let first = GroupName::new(format!("{definition}#"));
            let siblings = known.range(first.clone()..).map(|(name, _)| name);
            siblings.take_while(|name| name.as_str().starts_with(first.as_str())).find_map(of)
        })
    }

    fn report(&mut self, group: &GroupName) {
        let Some(owner) = self.owners.get(group) else { return };
        let since = self.wall();
        let resources = owner.life.resources().map(|(name, state, detail)| {
            (name.clone(), ResourceReport { state, detail: detail.to_owned(), since })
        });
        let report = GroupReport {
            epoch: owner.epoch,
            server: owner.server.clone(),
            state: owner.life.state(),
            resources: resources.collect(),
            failed: owner.life.failed().cloned(),
        };
        let (server, online) = (owner.server.clone(), report.state == GroupState::Online);
        let command = Command::Report { group: group.clone(), report };
        let was_down = self.outages.get(group).is_some_and(Outage::is_down);
        let done = self.apply(Author::Server(server.clone()), None, Vec::new(), command);
        if done.is_ok() && online && was_down {
            self.say(What::Online { group: group.clone(), server }, None);
        }
    }

    // --- the copy of the registry -------------------------------------------------------------------

    fn apply(
        &mut self,
        author: Author,
        reason: Option<Reason>,
        read: Vec<(Key, Revision)>,
        command: Command,
    ) -> Result<(), Refusal> {
        let at = self.wall();
        let lineage = self.state.lineage.clone();
        match apply(&mut self.state, &Proposal { id: None, author, at, lineage, read, reason, command }) {
            Reply::Refused(refusal) => Err(refusal),
            Reply::Applied { .. } => {
                let keys = self.state.history.back().map(|change| change.keys.clone());
                for key in keys.into_iter().flatten() {
                    if let Some(group) = group_of(key) {
                        self.clock(&group);
                        self.touched.insert(group);
                    }
                }
                Ok(())
            }
        }
    }

    /// Keeps a group's clock in step with the registry.
    fn clock(&mut self, group: &GroupName) {
        let Some(entry) = self.state.groups.get(group) else { return };
        let silent = &self.silent;
        let outage = self.outages.entry(group.clone()).or_insert_with(|| Outage::new(entry, silent));
        outage.enter(phase(entry, silent), self.now);
    }

    fn wall(&self) -> WallTime {
        WallTime(self.base.0.saturating_add(self.now))
    }

    /// Far enough from zero for what has failed before.
    fn clock_now(&self) -> Timestamp {
        Timestamp(self.wall().0.saturating_mul(1_000_000))
    }

    fn plan(&mut self, after: u64, due: Due) {
        self.sequence += 1;
        self.agenda.insert((self.now.saturating_add(after), self.sequence), due);
    }

    fn say(&mut self, what: What, reason: Option<Reason>) {
        self.steps.push(Step { after_ms: self.now, what, reason });
    }

    fn close(self, ended: Ended) -> Forecast {
        let Self { state, outages, silent, steps, .. } = self;
        let wanted_and_not_up = state
            .groups
            .iter()
            .filter(|(_, entry)| entry.target.value == Target::Online && entry.config.is_some())
            .filter(|(_, entry)| phase(entry, &silent) != super::outage::Phase::Up);
        let down = wanted_and_not_up.map(|(name, _)| name.clone()).collect();
        let interruptions = outages
            .into_iter()
            .filter_map(|(name, outage)| outage.close(&name, state.groups.get(&name)))
            .collect();
        Forecast { steps, interruptions, down, ended }
    }
}

fn group_of(key: Key) -> Option<GroupName> {
    match key {
        Key::GroupConfig(group)
        | Key::Target(group)
        | Key::Ownership(group)
        | Key::Report(group)
        | Key::Failures(group)
        | Key::Facts(group) => Some(group),
        _ => None,
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
