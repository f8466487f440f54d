//! A machine: its clock, its guard, and what runs on it. It outlives its node.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    time::Duration,
};

use async_trait::async_trait;
use tasuki_actors::ports::{
    AgentError, Clock, Guard, LookError, Probe, Prober, ProgramAnswer, ProgramLook, ResourceAgent,
    ResourceOrder,
};
use tasuki_core::{
    ids::{BootId, Epoch, GroupName, Incarnation, RaftId, ResourceName, ServerName},
    membership::hang::Watched,
    registry::state::AfterStop,
    time::{Timestamp, WallTime},
    timing::Timing,
};
use tasuki_storage::MemoryDisk;
use tasuki_system::guard::decide::{Decider, Event as GuardEvent};
use tokio::sync::oneshot;

use super::{
    fact::{StopCause, What, Which},
    guard::GuardTwin,
    world::{State, World},
};

/// How a machine does not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freeze {
    /// Only the node process: the guard goes on.
    Node,
    /// All processes, while the clocks go on.
    Machine,
    /// All processes and the boot clock, as under some pauses of virtual machines (R38).
    Clock,
}

/// A resource that runs.
pub struct Run {
    /// Under which epoch it was started.
    pub epoch: Epoch,
    /// Who waits for its end.
    pub watchers: Vec<oneshot::Sender<String>>,
}

/// One machine.
pub struct MachineState {
    /// Its server.
    pub name: ServerName,
    /// It has power.
    pub power: bool,
    /// Times it was booted.
    pub boots: u64,
    /// Its boot clock, in nanoseconds.
    pub clock: u64,
    /// How much faster its clock runs, in millionths.
    pub rate: i64,
    /// What its wall clock shows more than the true time, in milliseconds.
    pub wall: i64,
    /// It does not move.
    pub frozen: Option<Freeze>,
    /// When it moved again last, in true time, and how it had been frozen.
    pub thawed: Option<(u64, Freeze)>,
    /// The guard; none while the machine is off, or Tasuki is stopped on it.
    pub guard: Option<GuardTwin>,
    /// What runs.
    pub running: BTreeMap<Which, Run>,
    /// What its store keeps.
    pub disk: MemoryDisk,
    /// The number of the node's last start.
    pub incarnation: u64,
    /// It has a store of this cluster.
    pub joined: bool,
    /// The next starts fail.
    pub fail_starts: u32,
    /// The next stops fail.
    pub fail_stops: u32,
    /// Its place in Raft: another one for each store that it has had (R23).
    pub raft_id: RaftId,
    /// Nothing answers its echoes: its cable to the rest of the world is out.
    pub no_echo: bool,
    /// Milliseconds that a start or a stop takes at most.
    pub agent_pace: u64,
    /// Until when an operator waits for what came of its joining, in true time.
    pub joining: u64,
    /// Its store went back to an older copy.
    pub restored: bool,
    /// Since when the group actors of its node do not answer, in true time.
    pub groups_hang: Option<u64>,
    /// What runs needs the guard's whole budget to be stopped.
    pub whole_budget: bool,
}

impl MachineState {
    /// A machine that is off.
    #[must_use]
    pub fn new(name: ServerName, disk: MemoryDisk, clock: u64, rate: i64, wall: i64) -> Self {
        Self {
            name,
            power: false,
            boots: 0,
            clock,
            rate,
            wall,
            frozen: None,
            thawed: None,
            guard: None,
            running: BTreeMap::new(),
            disk,
            incarnation: 0,
            joined: false,
            fail_starts: 0,
            fail_stops: 0,
            raft_id: RaftId(0),
            no_echo: false,
            agent_pace: 40,
            joining: 0,
            restored: false,
            groups_hang: None,
            whole_budget: false,
        }
    }

    /// The machine's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp(self.clock)
    }

    /// The lease that the guard counts, if it has not ended by this machine's clock.
    #[must_use]
    pub fn lease(&self) -> Option<Timestamp> {
        self.guard.as_ref()?.decider.lease_end().filter(|end| *end > self.now())
    }

    /// Processes run here.
    #[must_use]
    pub fn moves(&self) -> bool {
        self.power && !matches!(self.frozen, Some(Freeze::Machine | Freeze::Clock))
    }
}

impl State {
    /// A machine gets power, and init starts the guard.
    pub fn boot(&mut self, at: usize, timing: &Timing) {
        let machine = &mut self.machines[at];
        if machine.power {
            return;
        }
        machine.power = true;
        machine.boots += 1;
        machine.frozen = None;
        self.happened(at, What::Booted);
        self.start_guard(at, timing);
    }

    /// init starts the guard, if none runs.
    pub fn start_guard(&mut self, at: usize, timing: &Timing) {
        let machine = &mut self.machines[at];
        if !machine.power || machine.guard.is_some() {
            return;
        }
        let mut guard = GuardTwin::new(Decider::new(timing.guard_budget, timing.lease));
        let runs = !machine.running.is_empty();
        guard.inbox.push_back(GuardEvent::Started { remembered: None, runs, old_node: false });
        machine.guard = Some(guard);
    }

    /// A machine loses its power. The driver drops its node.
    pub fn lose_power(&mut self, at: usize, survive: usize) {
        let machine = &mut self.machines[at];
        if !machine.power {
            return;
        }
        machine.power = false;
        machine.frozen = None;
        machine.guard = None;
        machine.disk.lose_power(survive);
        self.stop_all(at, &StopCause::Power);
        self.network.forget(at);
    }

    /// Everything that runs on a machine has ended.
    pub fn stop_all(&mut self, at: usize, cause: &StopCause) {
        for which in std::mem::take(&mut self.machines[at].running).into_keys() {
            self.happened(at, What::Stopped { which, cause: cause.clone() });
        }
    }

    /// A service dies by itself.
    pub fn kill_service(&mut self, at: usize, which: &Which) {
        if let Some(run) = self.machines[at].running.remove(which) {
            self.happened(at, What::Stopped { which: which.clone(), cause: StopCause::Itself });
            for watcher in run.watchers {
                let _ = watcher.send("killed by SIGKILL".into());
            }
        }
    }
}

/// A machine as its node's ports.
pub struct Ports {
    world: World,
    at: usize,
}

impl Ports {
    /// The ports of a machine.
    #[must_use]
    pub fn new(world: World, at: usize) -> Self {
        Self { world, at }
    }

    /// Waits as long as a program takes: up to the machine's pace, half of it before its effect.
    async fn work(&self) {
        let takes = {
            let mut state = self.world.state();
            let pace = state.machines[self.at].agent_pace;
            state.dice.between(1, pace.max(1))
        };
        tokio::time::sleep(Duration::from_millis(takes)).await;
    }

    fn watch(&self, which: &Which) -> Option<oneshot::Receiver<String>> {
        let mut state = self.world.state();
        let run = state.machines[self.at].running.get_mut(which)?;
        let (tell, ended) = oneshot::channel();
        run.watchers.push(tell);
        Some(ended)
    }
}

impl Clock for Ports {
    fn now(&self) -> Timestamp {
        self.world.state().machines[self.at].now()
    }

    fn wall(&self) -> WallTime {
        let state = self.world.state();
        let millis = 1_700_000_000_000 + i64::try_from(state.now / 1_000_000).unwrap_or(0);
        WallTime(u64::try_from(millis + state.machines[self.at].wall).unwrap_or(0))
    }

    fn boot_id(&self) -> BootId {
        let state = self.world.state();
        let machine = &state.machines[self.at];
        BootId::new(format!("{}-{}", machine.name, machine.boots))
    }
}

#[async_trait]
impl Guard for Ports {
    fn renew(&self, end: Timestamp) {
        if let Some(guard) = &mut self.world.state().machines[self.at].guard {
            guard.renew(end);
        }
    }

    fn lease_end(&self) -> Option<Timestamp> {
        let state = self.world.state();
        let machine = &state.machines[self.at];
        machine.guard.as_ref()?.told.filter(|end| *end > machine.now())
    }

    fn held_nothing(&self) -> bool {
        let state = self.world.state();
        state.machines[self.at].guard.as_ref().is_some_and(|guard| guard.held_nothing)
    }

    fn alive(&self, part: Watched) {
        let at = self.now();
        self.tell(GuardEvent::Alive { part, at });
    }

    fn hangs(&self, part: Watched, why: &str) {
        self.tell(GuardEvent::Hangs { why: format!("{part} {why}") });
    }

    async fn end_lease(&self) -> Result<(), String> {
        let ended = {
            let mut state = self.world.state();
            state.machines[self.at].guard.as_mut().map(GuardTwin::end_lease)
        };
        match ended {
            Some(ended) => ended.await.map_err(|_| "the guard is gone".into()),
            None => Err("the guard is gone".into()),
        }
    }

    fn stand_down(&self, why: &str) {
        self.tell(GuardEvent::AskedToStandDown { why: why.into() });
    }

    fn reset(&self, why: &str) {
        self.tell(GuardEvent::AskedToReset { why: why.into() });
    }

    fn leave(&self, after: AfterStop) {
        self.tell(GuardEvent::Left { after });
    }
}

impl Ports {
    fn tell(&self, event: GuardEvent) {
        if let Some(guard) = &mut self.world.state().machines[self.at].guard {
            guard.inbox.push_back(event);
        }
    }
}

#[async_trait]
impl ResourceAgent for Ports {
    async fn start(&self, order: &ResourceOrder) -> Result<Option<oneshot::Receiver<String>>, AgentError> {
        let which = (order.group.clone(), order.resource.clone());
        self.work().await;
        {
            let mut state = self.world.state();
            let machine = &mut state.machines[self.at];
            if machine.fail_starts > 0 {
                machine.fail_starts -= 1;
                return Err(AgentError::Failed("exit code 1".into()));
            }
            // What is up already is adopted.
            if !machine.running.contains_key(&which) {
                let leased = machine.lease().is_some();
                let run = Run { epoch: order.epoch, watchers: Vec::new() };
                machine.running.insert(which.clone(), run);
                state.happened(self.at, What::Started { which: which.clone(), epoch: order.epoch, leased });
            }
        }
        let ended = self.watch(&which);
        self.work().await;
        Ok(ended)
    }

    async fn stop(&self, order: &ResourceOrder) -> Result<(), AgentError> {
        self.work().await;
        {
            let machine = &mut self.world.state().machines[self.at];
            if machine.fail_stops > 0 {
                machine.fail_stops -= 1;
                return Err(AgentError::Failed("exit code 1".into()));
            }
        }
        self.end(&(order.group.clone(), order.resource.clone()), Some(order.epoch));
        Ok(())
    }

    async fn probe(&self, order: &ResourceOrder) -> Result<Probe, AgentError> {
        let ended = self.watch(&(order.group.clone(), order.resource.clone()));
        Ok(ended.map_or(Probe::Stopped, |ended| Probe::Running(Some(ended))))
    }

    async fn running(&self) -> Result<BTreeSet<(GroupName, ResourceName)>, AgentError> {
        Ok(self.world.state().machines[self.at].running.keys().cloned().collect())
    }

    async fn clean(&self, group: &GroupName, resource: &ResourceName) -> Result<(), AgentError> {
        self.work().await;
        self.end(&(group.clone(), resource.clone()), None);
        Ok(())
    }
}

impl Ports {
    fn end(&self, which: &Which, epoch: Option<Epoch>) {
        let mut state = self.world.state();
        if state.machines[self.at].running.remove(which).is_some() {
            let what = What::Stopped { which: which.clone(), cause: StopCause::Asked(epoch) };
            state.happened(self.at, what);
        }
    }
}

#[async_trait]
impl Prober for Ports {
    async fn echo(&self, _: IpAddr, limit: Duration) -> Result<(), String> {
        if self.world.state().machines[self.at].no_echo {
            tokio::time::sleep(limit).await;
            return Err("no answer".into());
        }
        Ok(())
    }

    async fn run(&self, _: &ProgramLook) -> Result<ProgramAnswer, LookError> {
        Ok(ProgramAnswer { code: 0, first_line: String::new() })
    }
}

/// The incarnation that a machine's next node starts as: durable, and above all before.
#[must_use]
pub fn next_incarnation(machine: &mut MachineState) -> Incarnation {
    machine.incarnation += 1;
    Incarnation(machine.incarnation)
}

/// Events that wait for the guard.
pub type Inbox = VecDeque<GuardEvent>;
