//! One ownership of one group on this server.
//!
//! Started by the groups' supervisor; owns the core's [`Lifecycle`]. Lost at a restart: nothing
//! that runs. The new actor probes, adopts what it finds, and goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::{
    config::{Automatic, GroupConfig, MonitorConfig, MonitorKind, ResourceKind, Startup},
    group::{
        environment::{Situation, variables},
        lifecycle::{Action, CheckedState, Event, Lifecycle},
    },
    ids::{Epoch, GroupName, MonitorName, ResourceName},
    monitor::concerns,
    placement::dependency::waits_for,
    planted::{self, Planted},
    reason::Reason,
    registry::{
        Author, Command, Item,
        state::{ClusterMode, Failures, GroupReport, GroupState, ResourceReport, ResourceState, StartEvent},
    },
};

use crate::{
    context::Context,
    follow::Follow,
    handle::RegistryError,
    ohas::crs::agents::{
        Role,
        check::Checked,
        resource_actor::{Outcome, ResourceMsg},
    },
    ports::{AgentError, ResourceOrder, ResourceSpec},
    propose::propose,
    supervise::Slot,
};

/// What a group actor is told.
#[derive(Debug)]
pub enum GroupMsg {
    /// The registry or the lease has changed.
    Registry,
    /// A resource's actor has (re)started: what was asked of it is asked again.
    AgentReady(ResourceName),
    /// What came of an operation, under which epoch it was asked for.
    Outcome(ResourceName, Epoch, Outcome),
    /// A report was committed, or not.
    Reported(Result<(), RegistryError>),
    /// The release was committed, or not.
    ReleaseDone(Result<(), RegistryError>),
    /// A monitor has found something bad, and its recovery is to mend these.
    Found {
        /// Which monitor.
        monitor: MonitorName,
        /// What its recovery mends.
        resources: Vec<ResourceName>,
        /// What it found.
        why: String,
        /// How often it may have them restarted here.
        restarts: u32,
    },
    /// What that monitor looks at is well again.
    Mended {
        /// Which monitor.
        monitor: MonitorName,
    },
    /// Time to look for what has become steady, and to repeat what did not get through.
    Tick,
}

/// The actor.
pub struct GroupActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    me: ActorRef<GroupMsg>,
    slot: Slot<GroupMsg>,
    group: GroupName,
    epoch: Epoch,
    life: Lifecycle,
    event: StartEvent,
    /// What has been asked of each resource and not been answered.
    asked: BTreeMap<ResourceName, Ask>,
    /// What the probes have found; complete means that the group may begin.
    found: BTreeMap<ResourceName, bool>,
    begun: bool,
    releasing: Option<Reason>,
    reporting: Reporting,
    release: Release,
    /// Ends noticed while the cluster was suspended.
    unwatched: Vec<(ResourceName, String)>,
    /// The recovery ladder's counters as last seen.
    counters: Item<Failures>,
    _follow: [Follow; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Probe,
    Start,
    Stop,
}

#[derive(Default)]
struct Reporting {
    last: Option<GroupReport>,
    /// It is not known whether `last` got through.
    unclear: bool,
    under_way: bool,
    due: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Release {
    NotYet,
    Due,
    UnderWay,
    Done,
}

impl Actor for GroupActor {
    type Msg = GroupMsg;
    type State = State;
    type Arguments = (Arc<Context>, GroupName, Epoch, Slot<GroupMsg>);

    async fn pre_start(
        &self,
        me: ActorRef<GroupMsg>,
        (context, group, epoch, slot): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let registry = context.state();
        let entry = registry.groups.get(&group).ok_or("the group is gone")?;
        // A group that was taken out of the configuration is stopped as it was started, from memory.
        // An actor that starts after that knows only what runs, and cleans it up before the release.
        let config = entry.config.as_ref().map_or_else(nothing, |config| config.value.clone());
        let ownership = &entry.ownership.value;
        let event = ownership.assigned.as_ref().map_or(StartEvent::Start, |assigned| assigned.event);
        let now = context.ports.clock.now();
        // What an earlier life of this node reported under the same ownership still stands.
        let before = entry.report.as_ref().map(|report| report.value.clone());
        let last = before.filter(|report| report.epoch == epoch && report.server == *context.me());
        let failures = &entry.failures.value;
        let life = Lifecycle::new(config, context.me(), failures, now).remembering(
            failures,
            context.me(),
            context.ports.clock.wall(),
            now,
        );
        let counters = entry.failures.clone();
        context.groups.live.set(&group, std::iter::empty());
        slot.set(me.clone());
        let follow = [
            Follow::changes(context.lease.subscribe(), me.clone(), || GroupMsg::Registry),
            Follow::beats(Duration::from_secs(1), me.clone(), || GroupMsg::Tick),
        ];
        let mut state = State {
            context,
            me,
            slot,
            group,
            epoch,
            life,
            event,
            asked: BTreeMap::new(),
            found: BTreeMap::new(),
            begun: false,
            releasing: None,
            reporting: Reporting { last, ..Reporting::default() },
            release: Release::NotYet,
            unwatched: Vec::new(),
            counters,
            _follow: follow,
        };
        let resources: Vec<ResourceName> = state.life.resources().map(|(name, ..)| name.clone()).collect();
        for resource in resources {
            state.ask(&resource, Ask::Probe);
        }
        Ok(state)
    }

    async fn handle(
        &self,
        _me: ActorRef<GroupMsg>,
        message: GroupMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            GroupMsg::Registry => state.look(),
            GroupMsg::AgentReady(resource) => {
                if let Some(ask) = state.asked.get(&resource).copied() {
                    state.ask(&resource, ask);
                } else if state.begun {
                    state.ask(&resource, Ask::Probe); // to watch again what runs
                }
            }
            GroupMsg::Outcome(resource, epoch, outcome) if epoch == state.epoch => {
                state.outcome(resource, outcome);
            }
            GroupMsg::Outcome(..) => {}
            GroupMsg::Reported(outcome) => state.reported(outcome),
            GroupMsg::ReleaseDone(outcome) => {
                // Unclear is a question to the log: the registry says whether we still own it.
                state.release = match outcome {
                    Ok(()) => Release::Done,
                    Err(error) => {
                        tracing::warn!(group = %state.group, %error, "the release did not get through; again");
                        Release::Due
                    }
                };
            }
            GroupMsg::Found { monitor, resources, why, restarts } => {
                if !state.is_suspended() {
                    state.on(Event::Found { monitor, resources, why, restarts });
                }
            }
            GroupMsg::Mended { monitor } => state.on(Event::Mended { monitor }),
            GroupMsg::Tick => {
                state.on(Event::Tick);
                state.look();
                state.report_if_due();
                state.release_if_due();
            }
        }
        Ok(())
    }

    async fn post_stop(&self, _me: ActorRef<GroupMsg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        for (resource, ..) in state.life.resources() {
            state.context.agents.forget(&(state.group.clone(), resource.clone()));
        }
        Ok(())
    }
}

impl State {
    /// The registry or the lease has changed: begin, release, or hear what was missed.
    fn look(&mut self) {
        let registry = self.context.state();
        let Some(entry) = registry.groups.get(&self.group) else { return };
        let ownership = &entry.ownership.value;
        if ownership.epoch != self.epoch || ownership.owner.as_ref() != Some(self.context.me()) {
            return; // the keeper ends this actor
        }
        if let Some(release) = &ownership.release
            && self.releasing.is_none()
            // What relies on this group stops before it does; looked at again when that is so.
            && waits_for(&registry, &self.group).is_empty()
        {
            self.releasing = Some(release.reason.clone());
            self.on(Event::Release);
        }
        if entry.failures.modified != self.counters.modified {
            // Counters alone go with steady work too; an operator's reset takes the history with them.
            let none = |failures: &Failures| *failures == Failures::default();
            let reset = none(&entry.failures.value) && !none(&self.counters.value);
            self.counters = entry.failures.clone();
            if reset {
                self.on(Event::Reset);
            }
        }
        self.begin();
        if !self.is_suspended() {
            for (resource, how) in std::mem::take(&mut self.unwatched) {
                self.ended(resource, how);
            }
        }
    }

    /// R6: what runs is adopted, and nothing is started before a grant of our own.
    fn begin(&mut self) {
        let complete = self.life.resources().all(|(name, ..)| self.found.contains_key(name));
        if self.begun
            || !complete
            || !(self.context.holds_lease() || planted::is(Planted::NoLease))
            || self.releasing.is_some()
        {
            return;
        }
        self.begun = true;
        let running: BTreeSet<ResourceName> =
            self.found.iter().filter(|(_, runs)| **runs).map(|(name, _)| name.clone()).collect();
        if !running.is_empty() {
            let names: Vec<String> = running.iter().map(ToString::to_string).collect();
            self.tell("group-adopted", format!("found running: {}", names.join(", ")));
        }
        self.on(Event::Begin { running });
    }

    fn outcome(&mut self, resource: ResourceName, outcome: Outcome) {
        let answers = match outcome {
            Outcome::Probed(_) => Some(Ask::Probe),
            Outcome::Started(_) => Some(Ask::Start),
            Outcome::Stopped(_) => Some(Ask::Stop),
            Outcome::Ended(_) | Outcome::Checked(_) => None,
        };
        if let Some(ask) = answers {
            if self.asked.get(&resource) != Some(&ask) {
                return; // overtaken
            }
            self.asked.remove(&resource);
        }
        match outcome {
            Outcome::Probed(Err(error)) => {
                // Unknown is not stopped: asked again, and nothing begins before it is known.
                tracing::warn!(%resource, error, "the probe failed; probing again");
                self.asked.insert(resource, Ask::Probe);
            }
            Outcome::Probed(Ok(true)) if self.begun => {}
            Outcome::Probed(Ok(false)) if self.begun => {
                self.ended(resource, "it was found ended".into());
            }
            Outcome::Probed(Ok(runs)) => {
                self.found.insert(resource, runs);
                self.begin();
            }
            Outcome::Started(Ok(())) => self.on(Event::Started(resource)),
            Outcome::Started(Err(why)) => self.on(Event::StartFailed(resource, why)),
            Outcome::Stopped(Ok(())) => self.on(Event::Stopped(resource)),
            Outcome::Stopped(Err(why)) => self.on(Event::StopFailed(resource, why)),
            // Found running, and ended before the group could begin: begun as what does not run.
            Outcome::Ended(_) if !self.begun => {
                self.found.entry(resource).and_modify(|runs| *runs = false);
            }
            Outcome::Ended(how) if self.is_suspended() => self.unwatched.push((resource, how)),
            Outcome::Ended(how) => {
                self.tell("resource-ended", format!("{resource} ended: {how}"));
                self.ended(resource, how);
            }
            // Before the group has begun, or after it was to stop, nobody acts on a check.
            Outcome::Checked(_) if !self.begun || self.releasing.is_some() || self.is_suspended() => {}
            Outcome::Checked(Checked::Is(state, detail)) => self.on(Event::Checked(resource, state, detail)),
            Outcome::Checked(Checked::StoppedOnPurpose(why)) => self.stopped_on_purpose(resource, why),
        }
    }

    fn is_suspended(&self) -> bool {
        self.context.state().cluster_mode() == ClusterMode::Suspended
    }

    /// What follows the end of a process: the recovery of the monitors that watch it here, or the
    /// resource's own, unless nobody is to watch it.
    fn ended(&mut self, resource: ResourceName, how: String) {
        let registry = self.context.state();
        let me = self.context.me();
        let watches = |config: &MonitorConfig| {
            config.kind == MonitorKind::Pid
                && config.target.as_ref() == Some(&resource)
                && (config.servers.is_empty() || config.servers.contains(me))
        };
        let mut monitors = registry.monitors.values().map(|entry| &entry.config.value).filter(|c| watches(c));
        let mends = |config| concerns(&registry, config, me).iter().any(|(group, _)| *group == self.group);
        let by_a_monitor = monitors.any(mends);
        self.context.groups.live.ended(&(self.group.clone(), resource.clone()), how.clone());
        let kind = self.life.config().resources.get(&resource).map(|config| &config.kind);
        let unwatched = matches!(kind, Some(ResourceKind::Exec(exec)) if !exec.wait && !exec.watch);
        if !by_a_monitor && !unwatched {
            self.on(Event::Ended(resource, how));
        }
    }

    /// A resource that stands for itself is not wanted any more when somebody stopped it past the
    /// cluster. A group has others to keep up, so there it is a failure like any other.
    fn stopped_on_purpose(&mut self, resource: ResourceName, why: String) {
        if self.life.config().instance.is_none() {
            self.on(Event::Checked(resource, CheckedState::Failed(why.clone()), why));
            return;
        }
        self.tell("resource-stopped", format!("{resource}: {why}"));
        self.tell_registry(Command::StopGroup { group: self.group.clone(), force: true });
    }

    fn on(&mut self, event: Event) {
        let now = self.context.ports.clock.now();
        for action in self.life.on(event, now) {
            self.perform(action);
        }
        let up = |state| match state {
            ResourceState::Online | ResourceState::Intermediate => true,
            // A check could not tell; before the group has begun, nobody could.
            ResourceState::Unknown => self.begun,
            _ => false,
        };
        let resources = self.life.resources().filter(|(_, state, _)| up(*state));
        self.context.groups.live.set(&self.group, resources.map(|(name, ..)| name));
    }

    fn ask(&mut self, resource: &ResourceName, ask: Ask) {
        let Some(order) = self.order(resource) else { return };
        self.asked.insert(resource.clone(), ask);
        let key = (self.group.clone(), resource.clone());
        let agent = self.context.agents.ensure(&self.context, &key, Role::of(&order.kind), &self.slot);
        // When nobody is there yet, `AgentReady` makes us ask again.
        agent.cast(match ask {
            Ask::Probe => ResourceMsg::Probe(order),
            Ask::Start => ResourceMsg::Start(order),
            Ask::Stop => ResourceMsg::Stop(order),
        });
    }

    fn order(&self, resource: &ResourceName) -> Option<ResourceOrder> {
        let config = self.life.config();
        let kind = match &config.resources.get(resource)?.kind {
            ResourceKind::Exec(exec) => ResourceSpec::Exec(exec.clone()),
            ResourceKind::MirrorDisk(disk) => ResourceSpec::MirrorDisk(disk.clone()),
            ResourceKind::FloatingIp(address) => {
                let mut address = address.clone();
                if let Some(here) = address.per_server.get(self.context.me()) {
                    address.address = *here;
                }
                ResourceSpec::FloatingIp(address)
            }
        };
        let registry = self.context.state();
        let previous = registry.groups.get(&self.group).and_then(|g| g.ownership.value.previous.clone());
        let environment = variables(&Situation {
            group: &self.group,
            config,
            resource,
            server: self.context.me(),
            epoch: self.epoch,
            event: self.event,
            previous: previous.as_ref(),
            stopping: self.releasing.as_ref(),
            restarting: self.life.is_restarting(resource),
        });
        let read_only = matches!(&kind, ResourceSpec::Exec(exec) if exec.read_only);
        let at_lease_end = config.on_quorum_loss.of(read_only);
        let after_loss = registry.is_after_loss(self.event);
        let (group, resource) = (self.group.clone(), resource.clone());
        Some(ResourceOrder {
            group,
            resource,
            epoch: self.epoch,
            kind,
            environment,
            at_lease_end,
            after_loss,
        })
    }

    fn tell(&self, kind: &str, text: String) {
        self.context.tell(kind, format!("group/{}", self.group), text);
    }

    // --- effects, and no decisions ------------------------------------------------------------

    fn perform(&mut self, action: Action) {
        match action {
            Action::Start(resource) => {
                self.tell("resource-starting", format!("{resource} is starting"));
                self.ask(&resource, Ask::Start);
            }
            Action::Stop(resource) => {
                self.tell("resource-stopping", format!("{resource} is stopping"));
                self.ask(&resource, Ask::Stop);
            }
            Action::Report => {
                self.reporting.due = true;
                self.report_if_due();
            }
            Action::CountRetry(resource, kind) => {
                let server = self.context.me().clone();
                self.tell_registry(Command::CountRetry {
                    group: self.group.clone(),
                    epoch: self.epoch,
                    resource,
                    server,
                    kind,
                });
            }
            Action::CountRestart { monitor, resource } => {
                let server = self.context.me().clone();
                self.tell_registry(Command::CountRestart {
                    group: self.group.clone(),
                    epoch: self.epoch,
                    monitor,
                    resource,
                    server,
                });
            }
            Action::Steady { resource, monitors } => {
                self.tell_registry(Command::Steady {
                    group: self.group.clone(),
                    epoch: self.epoch,
                    resource,
                    monitors,
                });
            }
            Action::Released => {
                self.release = Release::Due;
                self.release_if_due();
            }
        }
    }

    /// Counters: proposed beside the work, so that counting does not delay a restart.
    fn tell_registry(&self, command: Command) {
        let context = self.context.clone();
        tokio::spawn(async move {
            let author = Author::Server(context.me().clone());
            if let Err(error) = propose(&context, author, command, None, Vec::new()).await {
                tracing::warn!(%error, "a counter was not counted");
            }
        });
    }

    fn report_if_due(&mut self) {
        if !self.reporting.due || self.reporting.under_way {
            return;
        }
        self.reporting.due = false;
        let report = self.make_report();
        if self.reporting.last.as_ref() == Some(&report) && !self.reporting.unclear {
            return;
        }
        if self.reporting.last.as_ref().map(|last| last.state) != Some(report.state) {
            let text = match report.state {
                GroupState::Online => "is online",
                GroupState::OnlinePending => "is starting",
                GroupState::OfflinePending => "is stopping",
                GroupState::Offline => "is offline",
                GroupState::Error => "has failed",
                GroupState::Unknown => "is being looked at",
            };
            self.tell(kind_of(report.state), format!("{} {text}", self.group));
        }
        self.reporting.last = Some(report.clone());
        self.reporting.under_way = true;
        let (context, me) = (self.context.clone(), self.me.clone());
        let command = Command::Report { group: self.group.clone(), report };
        tokio::spawn(async move {
            let author = Author::Server(context.me().clone());
            let outcome = propose(&context, author, command, None, Vec::new()).await;
            let _ = me.cast(GroupMsg::Reported(outcome.map(|_| ())));
        });
    }

    fn reported(&mut self, outcome: Result<(), RegistryError>) {
        self.reporting.under_way = false;
        match outcome {
            Ok(()) => {
                self.reporting.unclear = false;
                self.report_if_due();
            }
            Err(RegistryError::Refused(_)) => {} // no longer ours to report
            Err(_) => {
                (self.reporting.unclear, self.reporting.due) = (true, true); // repeated at the next tick
            }
        }
    }

    fn make_report(&self) -> GroupReport {
        let wall = self.context.ports.clock.wall();
        let before = self.reporting.last.as_ref();
        let resources = self.life.resources().map(|(name, state, detail)| {
            let same = before.and_then(|b| b.resources.get(name)).filter(|r| r.state == state);
            let since = same.map_or(wall, |r| r.since);
            (name.clone(), ResourceReport { state, detail: detail.to_owned(), since })
        });
        GroupReport {
            epoch: self.epoch,
            server: self.context.me().clone(),
            state: self.life.state(),
            resources: resources.collect(),
            failed: self.life.failed().cloned(),
        }
    }

    /// R13: the entry that lets somebody else start, only after everything has stopped.
    fn release_if_due(&mut self) {
        if self.release != Release::Due {
            return;
        }
        debug_assert!(self.life.resources().all(|(_, state, _)| state == ResourceState::Offline));
        self.release = Release::UnderWay;
        let (context, me, group) = (self.context.clone(), self.me.clone(), self.group.clone());
        let command =
            Command::Released { group: group.clone(), epoch: self.epoch, server: context.me().clone() };
        tokio::spawn(async move {
            let author = Author::Server(context.me().clone());
            let outcome = match clean_up(&context, &group).await {
                Ok(()) => propose(&context, author, command, None, Vec::new()).await.map(|_| ()),
                Err(error) => Err(RegistryError::Unclear(error.to_string())),
            };
            let _ = me.cast(GroupMsg::ReleaseDone(outcome));
        });
    }
}

/// Stops what runs of a group though no configuration speaks of it any more.
async fn clean_up(context: &Context, group: &GroupName) -> Result<(), AgentError> {
    let agent = &context.ports.agent;
    for (of, resource) in agent.running().await?.iter().filter(|(of, _)| of == group) {
        tracing::warn!(group = %of, %resource, "stopping what no configuration speaks of");
        agent.clean(of, resource).await?;
    }
    Ok(())
}

fn nothing() -> GroupConfig {
    GroupConfig { startup: Startup::Never, failover: Automatic::Manual, ..GroupConfig::default() }
}

fn kind_of(state: GroupState) -> &'static str {
    match state {
        GroupState::Online => "group-online",
        GroupState::OnlinePending => "group-starting",
        GroupState::OfflinePending => "group-stopping",
        GroupState::Offline => "group-offline",
        GroupState::Error => "group-failed",
        GroupState::Unknown => "group-unknown",
    }
}
