//! One monitor on this server.
//!
//! Started by the monitors' supervisor; owns the core's [`Watch`] and the look under way. Lost at a
//! restart: failed looks so far, and what was left of a delay. What it watches runs on.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::{
    config::MonitorConfig,
    ids::{MonitorName, ResourceName, Revision},
    monitor::{Action, Event, Watch, concerns},
    registry::{
        Author, Command, State as Registry,
        state::{ClusterMode, MonitorReport, MonitorState},
    },
    time::Timestamp,
};
use tokio::task::JoinHandle;

use super::{
    look::{Seen, look},
    mirror,
};
use crate::{
    context::Context,
    follow::Follow,
    handle::RegistryError,
    ohas::crs::groups::{Live, group_actor::GroupMsg},
    propose::propose,
    supervise::Slot,
};

/// What a monitor's actor is told.
#[derive(Debug)]
pub enum WatchMsg {
    /// The registry has changed.
    Registry,
    /// What runs on this server has changed.
    Live,
    /// The time has come that the machine waits for.
    Tick,
    /// What came of a look, and of which.
    Answer(u64, Seen),
    /// A report was committed, or not.
    Reported(Result<(), RegistryError>),
    /// Time to repeat a report that did not get through.
    Again,
}

/// After a report that did not get through.
const AGAIN: Duration = Duration::from_millis(500);

/// The actor.
pub struct MonitorActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    me: ActorRef<WatchMsg>,
    name: MonitorName,
    config: MonitorConfig,
    modified: Revision,
    watch: Watch,
    /// What of its target runs here: each run with its number, and whether its end was told.
    target: BTreeMap<u64, bool>,
    suspended: bool,
    /// The facts of the mirrored disk that it looks at, as of when.
    facts: Option<Revision>,
    /// The number of the last look.
    looks: u64,
    looking: Option<JoinHandle<()>>,
    wake: Option<(Timestamp, JoinHandle<()>)>,
    reporting: Reporting,
    _live: Follow,
}

#[derive(Default)]
struct Reporting {
    due: Option<MonitorReport>,
    under_way: Option<MonitorReport>,
    /// The last one; once there is one, the registry as this server sees it is behind.
    said: Option<MonitorReport>,
}

impl Drop for State {
    fn drop(&mut self) {
        self.stop_looking();
        if let Some((_, wake)) = &self.wake {
            wake.abort();
        }
    }
}

impl Actor for MonitorActor {
    type Msg = WatchMsg;
    type State = State;
    type Arguments = (Arc<Context>, MonitorName, Slot<WatchMsg>);

    async fn pre_start(
        &self,
        me: ActorRef<WatchMsg>,
        (context, name, slot): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let registry = context.state();
        let entry = registry.monitors.get(&name).ok_or("the monitor is gone")?;
        let (config, modified) = (entry.config.value.clone(), entry.config.modified);
        let live = Follow::changes(context.groups.live(), me.clone(), || WatchMsg::Live);
        slot.set(me.clone());
        let mut state = State {
            watch: Watch::new(&config, context.me(), context.ports.clock.now()),
            context,
            me,
            name,
            config,
            modified,
            target: BTreeMap::new(),
            suspended: false,
            facts: None,
            looks: 0,
            looking: None,
            wake: None,
            reporting: Reporting::default(),
            _live: live,
        };
        state.begin(&registry);
        Ok(state)
    }

    async fn handle(
        &self,
        _me: ActorRef<WatchMsg>,
        message: WatchMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            WatchMsg::Registry => state.registry(),
            WatchMsg::Live => state.live(),
            WatchMsg::Tick => {
                state.wake = None;
                state.on(Event::Tick);
            }
            WatchMsg::Answer(number, seen) if number == state.looks => state.on(match seen {
                Seen::Judged(answer) => Event::Answer(answer),
                Seen::Doubtful(detail) => Event::Doubtful(detail),
            }),
            WatchMsg::Answer(..) => {} // of a look that was given up
            WatchMsg::Reported(outcome) => state.reported(outcome),
            WatchMsg::Again => state.report_if_due(),
        }
        Ok(())
    }
}

impl State {
    /// With this configuration, from the beginning.
    fn begin(&mut self, registry: &Registry) {
        self.suspended = registry.cluster_mode() == ClusterMode::Suspended;
        self.target.clear();
        self.facts = mirror::facts_of(registry, &self.config);
        self.on(Event::Suspended(self.suspended));
        self.live();
    }

    fn registry(&mut self) {
        let registry = self.context.state();
        let Some(entry) = registry.monitors.get(&self.name) else { return }; // the keeper ends this actor
        if entry.config.modified != self.modified {
            self.stop_looking();
            (self.config, self.modified) = (entry.config.value.clone(), entry.config.modified);
            self.watch = Watch::new(&self.config, self.context.me(), self.context.ports.clock.now());
            self.begin(&registry);
        }
        let suspended = registry.cluster_mode() == ClusterMode::Suspended;
        if suspended != self.suspended {
            self.suspended = suspended;
            self.on(Event::Suspended(suspended));
        }
        let facts = mirror::facts_of(&registry, &self.config);
        if std::mem::replace(&mut self.facts, facts) != facts {
            self.on(Event::Changed);
        }
        self.report_if_missing();
    }

    /// What runs of its target has changed: a new run is a new target.
    fn live(&mut self) {
        let Some(target) = self.config.target.clone() else { return };
        let live = self.context.groups.live().borrow().clone();
        let runs: Vec<&Live> =
            live.iter().filter(|((_, resource), _)| *resource == target).map(|(_, live)| live).collect();
        let new = runs.iter().any(|live| !self.target.contains_key(&live.run));
        if !self.target.is_empty() && (new || runs.is_empty()) {
            self.on(Event::TargetOnline(false));
        }
        if new {
            self.on(Event::TargetOnline(true));
        }
        self.target.retain(|run, _| runs.iter().any(|live| live.run == *run));
        for live in runs {
            let told = self.target.entry(live.run).or_default();
            if let Some(how) = &live.ended
                && !std::mem::replace(told, true)
            {
                self.on(Event::Ended(how.clone()));
            }
        }
    }

    fn on(&mut self, event: Event) {
        let now = self.context.ports.clock.now();
        for action in self.watch.on(event, now) {
            self.perform(action);
        }
        let wakes = self.watch.wakes();
        if self.wake.as_ref().map(|(at, _)| *at) != wakes {
            if let Some((_, before)) = self.wake.take() {
                before.abort();
            }
            self.wake = wakes.map(|at| {
                let (me, left) = (self.me.clone(), at.since(now));
                let asleep = async move {
                    tokio::time::sleep(left).await;
                    let _ = me.cast(WatchMsg::Tick); // it may have ended meanwhile
                };
                (at, tokio::spawn(asleep))
            });
        }
    }

    // --- effects, and no decisions ------------------------------------------------------------

    fn perform(&mut self, action: Action) {
        match action {
            Action::Look => {
                self.looks += 1;
                let (context, me, number) = (self.context.clone(), self.me.clone(), self.looks);
                let (name, config) = (self.name.clone(), self.config.clone());
                self.looking = Some(tokio::spawn(async move {
                    let answer = look(&context, &name, &config).await;
                    let _ = me.cast(WatchMsg::Answer(number, answer)); // it may have ended meanwhile
                }));
            }
            Action::Report(report) => {
                self.tell(&report);
                self.reporting.due = Some(report);
                self.report_if_due();
            }
            Action::Found { detail } => self.tell_groups(|resources, config, monitor| GroupMsg::Found {
                monitor,
                resources,
                why: detail.clone(),
                restarts: config.recovery.restarts,
            }),
            Action::Mended => self.tell_groups(|_, _, monitor| GroupMsg::Mended { monitor }),
        }
    }

    /// Those whose recovery this monitor asks for, on this server.
    fn tell_groups(&self, make: impl Fn(Vec<ResourceName>, &MonitorConfig, MonitorName) -> GroupMsg) {
        let registry = self.context.state();
        for (group, resources) in concerns(&registry, &self.config, self.context.me()) {
            let epoch = registry.groups.get(&group).map(|entry| entry.ownership.value.epoch);
            let actor = epoch.and_then(|epoch| self.context.groups.actor(&group, epoch));
            if let Some(actor) = actor {
                let _ = actor.cast(make(resources, &self.config, self.name.clone())); // found again later
            }
        }
    }

    fn tell(&self, report: &MonitorReport) {
        let (kind, text) = match report.state {
            MonitorState::Normal => ("monitor-normal", "finds nothing wrong"),
            MonitorState::Caution | MonitorState::Error => ("monitor-error", "has found something wrong"),
            MonitorState::Unused | MonitorState::Unknown => return,
        };
        let detail = if report.detail.is_empty() { String::new() } else { format!(": {}", report.detail) };
        self.context.tell(kind, format!("monitor/{}", self.name), format!("{} {text}{detail}", self.name));
    }

    fn report_if_due(&mut self) {
        if self.reporting.under_way.is_some() {
            return;
        }
        let Some(report) = self.reporting.due.take() else { return };
        if self.reporting.said.replace(report.clone()).is_none() {
            let registry = self.context.state();
            let known = registry.monitors.get(&self.name);
            let known = known.and_then(|entry| entry.reports.get(self.context.me()));
            if known.is_some_and(|known| known.value == report) {
                return; // as before a restart
            }
        }
        self.reporting.under_way = Some(report.clone());
        let (context, me, monitor) = (self.context.clone(), self.me.clone(), self.name.clone());
        tokio::spawn(async move {
            let server = context.me().clone();
            let author = Author::Server(server.clone());
            let command = Command::MonitorReport { monitor, server, report };
            let outcome = propose(&context, author, command, None, Vec::new()).await;
            let _ = me.cast(WatchMsg::Reported(outcome.map(|_| ())));
        });
    }

    /// A server's reports are refused before it is counted as up, and forgotten when it is counted
    /// as down: once it is up they are said again.
    fn report_if_missing(&mut self) {
        if self.reporting.under_way.is_some() || self.reporting.due.is_some() {
            return;
        }
        let (registry, me) = (self.context.state(), self.context.me());
        let up = registry.servers.get(me).and_then(|server| server.presence.as_ref());
        let up = up.is_some_and(|presence| presence.value.up);
        let known = registry.monitors.get(&self.name).is_some_and(|entry| entry.reports.contains_key(me));
        if up && !known {
            self.reporting.due = self.reporting.said.clone();
            self.report_if_due();
        }
    }

    fn reported(&mut self, outcome: Result<(), RegistryError>) {
        let report = self.reporting.under_way.take();
        match outcome {
            Ok(()) => self.report_if_due(),
            Err(RegistryError::Refused(refusal)) => {
                tracing::info!(monitor = %self.name, %refusal, "a monitor's report was refused");
                self.report_if_due();
                self.report_if_missing();
            }
            Err(error) => {
                tracing::debug!(monitor = %self.name, %error, "a monitor's report did not get through; again");
                self.reporting.due = self.reporting.due.take().or(report);
                drop(self.me.send_after(AGAIN, || WatchMsg::Again));
            }
        }
    }

    fn stop_looking(&mut self) {
        self.looks += 1; // what it had to say counts no more
        if let Some(looking) = self.looking.take() {
            looking.abort();
        }
    }
}
