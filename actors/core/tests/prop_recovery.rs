//! What always holds of a group on its owner, through random failures, ends, checks, findings of
//! monitors, steady times, resets and a release:
//!
//! - no rung of the ladder is skipped: it is given up only when retries or restarts are used up, or
//!   when it failed too often; and none is climbed twice;
//! - counters start again only after the set time, or by an operator;
//! - one thing at a time is asked of a resource; what it needs runs before it starts, and nothing
//!   that depends on it runs when it is stopped;
//! - a monitor's restart stops what depends on its target, and nothing else;
//! - at the end, when nothing fails any more, everything runs, or everything has stopped.
//!
//! `PROPTEST_CASES=100000` looks longer.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use tasuki_core::{
    config::*,
    group::lifecycle::{Action, CheckedState, Event, Lifecycle},
    ids::*,
    registry::state::{FailureKind, Failures, GroupState},
    time::Timestamp,
};

/// The rules of one resource.
#[derive(Clone, Debug)]
struct Rules {
    /// Which of the resources before it it depends on, as bits.
    needs: u8,
    retries: u32,
    stop_retries: u32,
    uptime: u64,
    threshold: u32,
    interval: u64,
}

#[derive(Clone, Debug)]
enum Step {
    /// An operation under way ends: well, or not.
    Finish(usize, bool),
    /// A resource that runs ends by itself.
    End(usize),
    /// A check of one that runs answers.
    Check(usize, u8),
    /// A monitor finds resources bad, or is well again.
    Find(usize, u8),
    Mend(usize),
    /// Time passes.
    Pass(u64),
    Reset,
    Release,
}

fn rules() -> impl Strategy<Value = Rules> {
    (any::<u8>(), 0..3u32, 0..2u32, 1..100u64, 0..4u32, 0..200u64).prop_map(
        |(needs, retries, stop_retries, uptime, threshold, interval)| Rules {
            needs,
            retries,
            stop_retries,
            uptime,
            threshold,
            interval,
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (any::<usize>(), prop::bool::weighted(0.85)).prop_map(|(n, ok)| Step::Finish(n, ok)),
        2 => any::<usize>().prop_map(Step::End),
        2 => (any::<usize>(), 0..4u8).prop_map(|(n, state)| Step::Check(n, state)),
        3 => (0..2usize, any::<u8>()).prop_map(|(monitor, which)| Step::Find(monitor, which)),
        2 => (0..2usize).prop_map(Step::Mend),
        3 => (1..60u64).prop_map(Step::Pass),
        1 => Just(Step::Reset),
    ];
    let released = prop::option::of(Just(Step::Release));
    (prop::collection::vec(step.clone(), 1..120), released, prop::collection::vec(step, 0..20)).prop_map(
        |(mut before, release, after)| {
            before.extend(release);
            before.extend(after);
            before
        },
    )
}

const RESTARTS: [u32; 2] = [0, 2];

fn resource(index: usize) -> ResourceName {
    ResourceName::new(format!("r{index}"))
}

fn monitor(index: usize) -> MonitorName {
    MonitorName::new(format!("m{index}"))
}

/// The group, and what a witness knows of it by itself.
struct World {
    rules: BTreeMap<ResourceName, Rules>,
    needs: BTreeMap<ResourceName, BTreeSet<ResourceName>>,
    life: Lifecycle,
    now: Timestamp,
    /// What is under way: a start, or a stop.
    operations: BTreeMap<ResourceName, bool>,
    running: BTreeMap<ResourceName, Timestamp>,
    retries: BTreeMap<ResourceName, u32>,
    restarts: BTreeMap<MonitorName, u32>,
    failures: BTreeMap<ResourceName, Vec<Timestamp>>,
    /// What the last finding concerned, and what the last restart may stop.
    concerned: BTreeSet<ResourceName>,
    may_stop: BTreeSet<ResourceName>,
    releasing: bool,
    released: bool,
}

impl World {
    fn new(rules: &[Rules]) -> Self {
        let mut config = GroupConfig::default();
        let (mut named, mut needs) = (BTreeMap::new(), BTreeMap::new());
        for (index, rules) in rules.iter().enumerate() {
            let before: BTreeSet<ResourceName> =
                (0..index).filter(|bit| rules.needs & (1 << bit) != 0).map(resource).collect();
            let mut one = ResourceConfig::of(ResourceKind::Exec(ExecConfig::of(Vec::new())));
            one.depends_on = Some(before.iter().cloned().collect());
            one.on_start_failure.retries = rules.retries;
            one.on_stop_failure.retries = rules.stop_retries;
            one.uptime_threshold = Duration::from_secs(rules.uptime);
            one.failure_threshold = rules.threshold;
            one.failure_interval = Duration::from_secs(rules.interval);
            config.resources.insert(resource(index), one);
            named.insert(resource(index), rules.clone());
            needs.insert(resource(index), before);
        }
        let now = Timestamp(1_000_000_000_000);
        let mut world = Self {
            rules: named,
            needs,
            life: Lifecycle::new(config, &"kiki".into(), &Failures::default(), now),
            now,
            operations: BTreeMap::new(),
            running: BTreeMap::new(),
            retries: BTreeMap::new(),
            restarts: BTreeMap::new(),
            failures: BTreeMap::new(),
            concerned: BTreeSet::new(),
            may_stop: BTreeSet::new(),
            releasing: false,
            released: false,
        };
        world.event(Event::Begin { running: BTreeSet::new() });
        world
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Finish(which, well) if !self.operations.is_empty() => {
                let which = self.operations.keys().nth(which % self.operations.len()).unwrap().clone();
                self.finish(&which, well);
            }
            Step::End(which) => {
                if let Some(name) = self.one_that_runs(which) {
                    self.running.remove(&name);
                    self.fails(&name, FailureKind::Ended, Event::Ended(name.clone(), "ended".into()));
                }
            }
            Step::Check(which, state) => {
                if let Some(name) = self.one_that_runs(which) {
                    let state = match state {
                        0 => CheckedState::Online,
                        1 => CheckedState::Intermediate,
                        2 => CheckedState::Unknown,
                        _ => CheckedState::Failed("check".into()),
                    };
                    if let CheckedState::Failed(_) = state {
                        self.running.remove(&name);
                        let event = Event::Checked(name.clone(), state, String::new());
                        self.fails(&name, FailureKind::Ended, event);
                    } else {
                        self.event(Event::Checked(name, state, String::new()));
                    }
                }
            }
            Step::Find(which, bits) => {
                let names = self.rules.keys().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0);
                let resources: Vec<ResourceName> = names.map(|(_, name)| name.clone()).collect();
                let (monitor, why, restarts) = (monitor(which), "bad".to_owned(), RESTARTS[which]);
                self.concerned = self.with_dependents(&resources);
                self.event(Event::Found { monitor, resources, why, restarts });
            }
            Step::Mend(which) => self.event(Event::Mended { monitor: monitor(which) }),
            Step::Pass(seconds) => {
                self.now = self.now + Duration::from_secs(seconds);
                self.event(Event::Tick);
            }
            Step::Reset => {
                self.retries.clear();
                self.restarts.clear();
                self.failures.clear();
                self.event(Event::Reset);
            }
            Step::Release => {
                self.releasing = true;
                self.event(Event::Release);
            }
            Step::Finish(..) => {}
        }
    }

    fn one_that_runs(&self, which: usize) -> Option<ResourceName> {
        let idle: Vec<_> = self.running.keys().filter(|name| !self.operations.contains_key(*name)).collect();
        (!idle.is_empty()).then(|| idle[which % idle.len()].clone())
    }

    fn with_dependents(&self, names: &[ResourceName]) -> BTreeSet<ResourceName> {
        let mut all: BTreeSet<ResourceName> = names.iter().cloned().collect();
        for (name, needs) in &self.needs {
            // Names are in the order of their dependencies.
            if needs.iter().any(|need| all.contains(need)) {
                all.insert(name.clone());
            }
        }
        all
    }

    fn finish(&mut self, name: &ResourceName, well: bool) {
        let start = self.operations.remove(name).unwrap();
        match (start, well) {
            (true, true) => {
                self.running.insert(name.clone(), self.now);
                self.event(Event::Started(name.clone()));
            }
            (true, false) => {
                self.fails(name, FailureKind::Start, Event::StartFailed(name.clone(), "start".into()));
            }
            (false, true) => {
                self.running.remove(name);
                self.event(Event::Stopped(name.clone()));
            }
            (false, false) => self.event(Event::StopFailed(name.clone(), "stop".into())),
        }
    }

    /// A failure of a resource: exactly the rung that is due follows.
    fn fails(&mut self, name: &ResourceName, kind: FailureKind, event: Event) {
        let rules = self.rules[name].clone();
        let before = self.life.failed().cloned();
        let used = self.retries.get(name).copied().unwrap_or_default();
        let ignored = self.releasing || self.life.is_restarting(name);
        let failures = self.failures.entry(name.clone()).or_default();
        if !ignored {
            failures.push(self.now);
            failures.retain(|at| self.now.since(*at) < Duration::from_secs(rules.interval));
        }
        let too_often = rules.threshold > 0 && rules.interval > 0 && failures.len() as u32 >= rules.threshold;
        self.event(event);
        if ignored {
            return;
        }
        let stuck = before.as_ref().is_some_and(|failed| failed.kind != FailureKind::Found);
        let retried = self.retries.get(name).copied().unwrap_or_default() == used + 1;
        assert_eq!(retried, !stuck && !too_often && used < rules.retries, "{name}: {used} of {rules:?}");
        let failed = self.life.failed();
        if stuck {
            assert_eq!(failed, before.as_ref(), "the first failure stands");
        } else if !retried {
            let kind = if too_often { FailureKind::TooOften } else { kind };
            assert_eq!(failed.map(|f| (&f.resource, f.kind)), Some((name, kind)));
        }
    }

    fn event(&mut self, event: Event) {
        let found = match &event {
            Event::Found { monitor, restarts, .. } => Some((monitor.clone(), *restarts)),
            _ => None,
        };
        let before = self.life.failed().cloned();
        let text = format!("{event:?}");
        for action in self.life.on(event, self.now) {
            self.perform(action, &text);
        }
        if let Some((monitor, restarts)) = found
            && self.life.failed() != before.as_ref()
        {
            let used = self.restarts.get(&monitor).copied().unwrap_or_default();
            assert_eq!(used, restarts, "{monitor} gives up before its restarts are used up");
        }
    }

    fn perform(&mut self, action: Action, after: &str) {
        match action {
            Action::Start(name) => {
                assert!(!self.releasing, "{name} is started while the group is released");
                assert_eq!(self.operations.insert(name.clone(), true), None, "{name}, after {after}");
            }
            Action::Stop(name) => {
                let users = |user: &&ResourceName| self.needs[*user].contains(&name);
                let user = self.running.keys().find(users);
                assert_eq!(user, None, "it needs {name}, which is stopped after {after}");
                let allowed = self.releasing || self.may_stop.contains(&name);
                // A retry of a failed stop concerns what was allowed before.
                assert!(allowed || after.starts_with("StopFailed"), "{name} is stopped after {after}");
                assert_ne!(self.operations.insert(name.clone(), false), Some(false), "{name}, after {after}");
            }
            Action::CountRetry(_, FailureKind::Stop) | Action::Report => {}
            Action::CountRetry(name, _) => {
                let used = self.retries.entry(name.clone()).or_default();
                *used += 1;
                assert!(*used <= self.rules[&name].retries, "{name} is retried too often");
            }
            Action::CountRestart { monitor, .. } => {
                self.may_stop = self.concerned.clone();
                let used = self.restarts.entry(monitor.clone()).or_default();
                *used += 1;
                let allowed = RESTARTS[usize::from(monitor.as_str() == "m1")];
                assert!(*used <= allowed, "{monitor} restarts too often");
            }
            Action::Steady { resource, monitors } => {
                let uptime = Duration::from_secs(self.rules[&resource].uptime);
                let up = self.running.get(&resource).map(|since| self.now.since(*since));
                assert!(up.is_some_and(|up| up >= uptime), "{resource}, up for {up:?}, is not steady yet");
                self.retries.remove(&resource);
                monitors.iter().for_each(|monitor| {
                    self.restarts.remove(monitor);
                });
            }
            Action::Released => {
                assert!(self.running.is_empty() && self.operations.is_empty(), "released while it runs");
                self.released = true;
            }
        }
    }

    /// Nothing fails any more: what is under way ends well, and checks find everything online.
    fn heal(&mut self) {
        for _ in 0..100 {
            for name in self.running.keys().cloned().collect::<Vec<_>>() {
                self.event(Event::Checked(name, CheckedState::Online, String::new()));
            }
            let Some(name) = self.operations.keys().next().cloned() else { return };
            self.finish(&name, true);
        }
        unreachable!("it never comes to rest");
    }
}

proptest! {
    #[test]
    fn no_rung_is_skipped_and_everything_comes_to_rest(
        rules in prop::collection::vec(rules(), 1..5),
        steps in steps(),
    ) {
        let mut world = World::new(&rules);
        for step in &steps {
            world.step(step);
        }
        world.heal();
        let failed = world.life.failed().map(|failed| failed.kind);
        let everything = world.rules.keys().all(|name| world.running.contains_key(name));
        match failed {
            None if world.releasing => prop_assert!(world.released),
            None => prop_assert!(everything && world.life.state() == GroupState::Online),
            // What a monitor gave up on runs on.
            Some(FailureKind::Found) => prop_assert!(everything && world.life.state() == GroupState::Error),
            Some(_) => prop_assert!(!world.released && world.life.state() == GroupState::Error),
        }
    }
}
