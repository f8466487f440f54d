//! Moves everything on, a millisecond at a time: what is due happens, what has arrived is handed
//! over, every machine takes its step, and the invariants look.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tasuki_actors::{NodeHandle, NodeOptions, StorePlace, ports::Ports};
use tasuki_core::{
    config::{ClusterConfig, Role},
    ids::{Lineage, RaftId, ServerName},
    registry::{State as Registry, state::AfterStop},
    time::Timestamp,
};

use super::{
    disk::DiskPace,
    fact::What,
    guard::Order,
    host::Host,
    machine::{self, Freeze, MachineState, next_incarnation},
    network::{self, Broken, NetworkState, Parcel},
    votes,
    world::{STEP, World},
};
use crate::invariants::{Invariants, Violation};

/// Something that the schedule does at its time.
pub type Deed = Box<dyn FnOnce(&mut Driver)>;

/// Everything of one run.
pub struct Driver {
    /// All outside of the nodes.
    pub world: World,
    /// The node processes, by machine.
    pub hosts: Vec<Option<Host>>,
    /// As the cluster was founded.
    pub config: ClusterConfig,
    /// The disks' behaviour, by machine.
    pub paces: Vec<DiskPace>,
    /// What must always hold.
    pub invariants: Invariants,
    /// The first that did not.
    pub violation: Option<Violation>,
    /// What happens later.
    deeds: BTreeMap<(u64, u64), Deed>,
    number: u64,
    /// The newest registry that any node has shown.
    pub newest: Arc<Registry>,
    /// Machines whose node starts with what the tests planted there.
    pub founder: usize,
    /// The machine that no client talks to at this moment.
    pub quiet: Option<usize>,
}

impl Driver {
    /// Machines as configured, all off.
    #[must_use]
    pub fn new(seed: u64, config: ClusterConfig, aloud: bool) -> Self {
        // A witness that keeps a record is none of the machines: see `votes`.
        let all = config.servers_by_number();
        let all = all.iter().filter(|(_, server)| server.role.may_vote());
        let servers: Vec<ServerName> = all.map(|(name, _)| (*name).clone()).collect();
        let paces: Vec<DiskPace> = servers.iter().map(|_| DiskPace::default()).collect();
        let mut dice = super::dice::Dice::new(seed ^ 0x5eed);
        let machines = servers.iter().zip(&paces).zip(1..).map(|((name, pace), number)| {
            let disk = tasuki_storage::MemoryDisk::paced(Arc::new(pace.clone()));
            let clock = dice.between(1, 1_000_000) * 1_000_000;
            let rate = i64::try_from(dice.between(0, 2000)).unwrap_or(0) - 1000;
            let wall = i64::try_from(dice.between(0, 4000)).unwrap_or(0) - 2000;
            let machine = MachineState::new(name.clone(), disk, clock, rate, wall);
            MachineState { raft_id: RaftId(number), ..machine }
        });
        let networks = config
            .settings
            .heartbeats
            .iter()
            .filter_map(|path| match path {
                tasuki_core::config::HeartbeatPath::Lan { network } => Some(network.clone()),
                _ => None,
            })
            .collect();
        let network = NetworkState::new(networks, config.settings.timing.beat / 2);
        let world = World::new(seed, machines.collect(), network, aloud);
        let hosts = servers.iter().map(|_| None).collect();
        Self {
            world,
            hosts,
            invariants: Invariants::new(&config),
            config,
            paces,
            violation: None,
            deeds: BTreeMap::new(),
            number: 0,
            newest: Arc::default(),
            founder: 0,
            quiet: None,
        }
    }

    /// True time.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.world.state().now
    }

    /// Does something after so many milliseconds.
    pub fn later(&mut self, millis: u64, deed: impl FnOnce(&mut Driver) + 'static) {
        self.number += 1;
        let at = self.now() + millis * 1_000_000;
        self.deeds.insert((at, self.number), Box::new(deed));
    }

    /// What was to happen later happens no more.
    pub fn forget_deeds(&mut self) {
        self.deeds.clear();
    }

    /// The node of a machine, if it runs and can be reached.
    #[must_use]
    pub fn node(&self, at: usize) -> Option<NodeHandle> {
        self.hosts[at].as_ref()?.node()
    }

    /// One step. False once an invariant was broken.
    pub fn step(&mut self) -> bool {
        let now = {
            let mut state = self.world.state();
            state.now += STEP;
            state.now
        };
        while let Some((key, _)) = self.deeds.first_key_value() {
            if key.0 > now {
                break;
            }
            if let Some((_, deed)) = self.deeds.pop_first() {
                deed(self);
            }
        }
        self.world.state().disks_turn();
        let parcels = self.world.state().network.arrived(now);
        for parcel in parcels {
            self.deliver(parcel);
        }
        self.votes_turn();
        for at in 0..self.hosts.len() {
            self.step_machine(at);
        }
        self.observe();
        self.violation.is_none()
    }

    /// What was asked of the votes. Who was fenced is switched on again after a while.
    fn votes_turn(&mut self) {
        let off = {
            let mut state = self.world.state();
            state.votes_turn();
            let off = std::mem::take(&mut state.votes.switched_off);
            let pauses = off.into_iter().map(|at| (at, state.dice.between(1500, 5000)));
            pauses.collect::<Vec<_>>()
        };
        for (at, pause) in off {
            self.later(pause, move |driver| driver.boot(at));
        }
    }

    /// Steps until something is so, for so many milliseconds at most; whether it was.
    pub fn until(&mut self, millis: u64, mut so: impl FnMut(&mut Driver) -> bool) -> bool {
        let end = self.now() + millis * 1_000_000;
        while self.now() < end {
            if !self.step() {
                return false;
            }
            if so(self) {
                return true;
            }
        }
        false
    }

    fn step_machine(&mut self, at: usize) {
        let (moves, node_moves, clock) = {
            let mut state = self.world.state();
            let machine = &mut state.machines[at];
            if machine.frozen != Some(Freeze::Clock) {
                let extra = i64::try_from(STEP).unwrap_or(0) / 1000 * machine.rate / 1000;
                machine.clock = machine.clock.saturating_add(STEP).saturating_add_signed(extra);
            }
            (machine.moves(), machine.moves() && machine.frozen.is_none(), machine.clock)
        };
        if !self.world.state().machines[at].power && self.hosts[at].is_some() {
            self.drop_node(at, "the power is gone");
        }
        if !moves {
            return;
        }
        let orders = self.world.state().guard_turn(at);
        for order in orders {
            self.obey(at, order);
        }
        if node_moves && let Some(host) = &mut self.hosts[at] {
            host.live(clock);
            if let Some(why) = host.ended() {
                self.end_node(at, &why);
            }
        }
    }

    fn obey(&mut self, at: usize, order: Order) {
        match order {
            Order::KillNode => {
                if self.hosts[at].is_some() {
                    self.drop_node(at, "killed by its guard");
                }
                self.world.state().guard_forgets_node(at);
            }
            Order::StartNode => self.start_node(at),
            Order::Reset => self.power_off(at, 0, Some(700)),
            Order::End(after) => {
                self.drop_node(at, "its guard has ended");
                match after {
                    AfterStop::Nothing => {}
                    AfterStop::Reboot | AfterStop::Reset => self.power_off(at, usize::MAX, Some(700)),
                    AfterStop::PowerOff => self.power_off(at, usize::MAX, None),
                }
            }
        }
    }

    /// A machine loses its power, and gets it back after so many milliseconds.
    pub fn power_off(&mut self, at: usize, survive: usize, back: Option<u64>) {
        self.drop_node(at, "the power is gone");
        self.world.state().lose_power(at, survive);
        if let Some(millis) = back {
            self.later(millis, move |driver| driver.boot(at));
        }
    }

    /// A machine gets power.
    pub fn boot(&mut self, at: usize) {
        let timing = &self.config.settings.timing;
        self.world.state().boot(at, timing);
    }

    /// The node process is killed; its guard sees it.
    pub fn kill_node(&mut self, at: usize) {
        self.end_node(at, "killed");
    }

    fn end_node(&mut self, at: usize, why: &str) {
        if self.hosts[at].is_some() {
            self.drop_node(at, why);
            self.world.state().guard_sees_node_end(at);
        }
    }

    fn drop_node(&mut self, at: usize, why: &str) {
        let Some(host) = self.hosts[at].take() else { return };
        drop(host);
        let mut state = self.world.state();
        let now = state.now;
        if state.machines[at].frozen == Some(Freeze::Node) {
            state.machines[at].frozen = None; // what was frozen is no more
            state.network.release(at);
        }
        state.network.process_gone(at, now);
        state.machines[at].groups_hang = None;
        state.happened(at, What::NodeEnds(why.into()));
    }

    fn start_node(&mut self, at: usize) {
        let role = self.role(at);
        let (options, clock) = {
            let mut state = self.world.state();
            let machine = &mut state.machines[at];
            if !machine.joined {
                return;
            }
            let incarnation = next_incarnation(machine);
            let options = NodeOptions {
                server: machine.name.clone(),
                raft_id: machine.raft_id,
                lineage: Lineage::new("sim"),
                incarnation,
                store: StorePlace::Memory(machine.disk.clone()),
                journal: None,
                config: self.config.clone(),
                role,
                // A store that was lost is not founded again.
                founder: at == self.founder && machine.raft_id == RaftId(at as u64 + 1),
                store_exists: incarnation.0 > 1 && machine.disk.vote().is_some(),
                speaks: tasuki_core::registry::level::Spoken::here("sim"),
            };
            let clock = machine.clock;
            state.happened(at, What::NodeStarts);
            (options, clock)
        };
        let machine = Arc::new(machine::Ports::new(self.world.clone(), at));
        let network = Arc::new(network::Ports::new(self.world.clone(), at));
        let votes = Arc::new(votes::Ports::new(self.world.clone(), at));
        let ports = Ports {
            clock: machine.clone(),
            peers: network.clone(),
            links: network,
            guard: machine.clone(),
            agent: machine.clone(),
            prober: machine,
            tie_break: votes.clone(),
            voting_files: votes.clone(),
            fencer: votes,
            profile: Arc::new(tasuki_actors::ports::NoProfile),
            volumes: Arc::new(tasuki_actors::ports::NoVolumes),
        };
        match Host::start(options, ports, clock) {
            Ok(host) => self.hosts[at] = Some(host),
            Err(error) => panic!("a runtime for a simulated node: {error}"),
        }
    }

    fn role(&self, at: usize) -> Role {
        let name = self.world.state().machines[at].name.clone();
        self.config.servers.get(&name).map_or_else(Role::default, |server| server.role)
    }

    fn deliver(&mut self, parcel: Parcel) {
        let to = match &parcel {
            Parcel::Datagram { to, .. } | Parcel::Request { to, .. } => Some(*to),
            Parcel::Reply { .. } => None,
        };
        if let Some(to) = to {
            let mut state = self.world.state();
            let machine = &state.machines[to];
            if !machine.power {
                return;
            }
            if machine.frozen.is_some() {
                state.network.hold(to, parcel);
                return;
            }
        }
        match parcel {
            Parcel::Datagram { to, datagram, .. } => self.world.state().network.hand_over(to, datagram),
            Parcel::Reply { call, answer, .. } => self.world.state().network.answered(call, answer),
            Parcel::Request { from, to, over, call, attempt, method, body } => {
                let Some(host) = &self.hosts[to] else {
                    self.world.state().refuse(from, to, &over, call, attempt);
                    return;
                };
                let Some(node) = host.node() else {
                    self.world.state().refuse(from, to, &over, call, attempt);
                    return;
                };
                let (world, from_name) = {
                    let mut state = self.world.state();
                    state.network.serves(call, attempt, from, to, over);
                    (self.world.clone(), state.machines[from].name.clone())
                };
                host.spawn(async move {
                    let answer = node.serve_peer(&from_name, method, body).await;
                    let answer = answer.map_err(|error| Broken::Refused(error.to_string()));
                    world.state().send_reply(call, attempt, answer);
                });
            }
        }
    }

    /// The group actors of a machine's node answer no more, until another node runs there.
    pub fn hang_groups(&mut self, at: usize) {
        let Some(node) = self.node(at) else { return };
        node.context().groups_actor.clear();
        let mut state = self.world.state();
        state.machines[at].groups_hang = Some(state.now);
    }

    /// The store of a machine that is off is lost. Its server joins anew, with an empty one (R23).
    pub fn lose_store(&mut self, at: usize) {
        let mut state = self.world.state();
        let machine = &mut state.machines[at];
        machine.disk = tasuki_storage::MemoryDisk::paced(Arc::new(self.paces[at].clone()));
        machine.joined = false;
    }

    /// A machine does not move for a while.
    pub fn freeze(&mut self, at: usize, how: Freeze, millis: u64) {
        {
            let mut state = self.world.state();
            let machine = &mut state.machines[at];
            if !machine.power || machine.frozen.is_some() {
                return;
            }
            machine.frozen = Some(how);
            state.happened(at, What::Frozen);
            state.say(&format!("    {how:?} for {millis} ms"));
        }
        self.later(millis, move |driver| driver.thaw(at));
    }

    /// It moves again: the node first or the guard first, and what has arrived meanwhile is there.
    pub fn thaw(&mut self, at: usize) {
        let (held, node_first, clock) = {
            let mut state = self.world.state();
            let now = state.now;
            let blind = state.blind_guards;
            let machine = &mut state.machines[at];
            let Some(how) = machine.frozen.take() else { return };
            if how != Freeze::Node {
                machine.thawed = Some((now, how)); // while only the node was frozen, its guard was awake
            }
            // Whoever slept could not see it.
            machine.groups_hang = machine.groups_hang.map(|_| now);
            let clock = machine.clock;
            if how == Freeze::Clock
                && !blind
                && let Some(guard) = &mut machine.guard
            {
                guard.inbox.push_front(tasuki_system::guard::decide::Event::ClockJumped);
            }
            state.happened(at, What::Thawed);
            let held = state.network.release(at);
            (held, state.dice.permille(500), clock)
        };
        for parcel in held {
            self.deliver(parcel);
        }
        if node_first && let Some(host) = &mut self.hosts[at] {
            host.live(clock);
        }
    }

    fn observe(&mut self) {
        for at in 0..self.hosts.len() {
            self.observe_node(at);
        }
        let facts = std::mem::take(&mut self.world.state().facts);
        let state = self.world.state();
        for fact in &facts {
            if let Err(violation) = self.invariants.look(fact, &state) {
                drop(state);
                self.world.state().say(&format!("VIOLATION {violation}"));
                self.violation = Some(violation);
                return;
            }
        }
        if let Err(violation) = self.invariants.tick(&state) {
            drop(state);
            self.world.state().say(&format!("VIOLATION {violation}"));
            self.violation = Some(violation);
        }
    }

    fn observe_node(&mut self, at: usize) {
        let Some(host) = &mut self.hosts[at] else { return };
        if host.states.is_none() {
            host.states = host.node().map(|node| node.watch());
        }
        let Some(node) = host.node() else { return };
        let context = node.context();
        let applied = *context.applied.borrow();
        let shown = match &mut host.states {
            Some(states) if states.has_changed().unwrap_or(false) => Some(states.borrow_and_update().clone()),
            _ => None,
        };
        let leads = context.leading.borrow().as_ref().map_or(0, |leading| leading.term.0);
        let presented = context.incarnation.borrow().0;
        let mut world = self.world.state();
        if applied > host.applied {
            for index in host.applied + 1..=applied {
                if let Some(id) = world.machines[at].disk.log_id(index) {
                    world.happened(at, What::Committed { index, term: id.committed_leader_id().term });
                }
            }
            host.applied = applied;
        }
        if leads > 0 && leads != host.leads {
            world.happened(at, What::Leads { term: leads });
        }
        host.leads = leads;
        if presented != host.presented {
            host.presented = presented;
            world.happened(at, What::Presented(tasuki_core::ids::Incarnation(presented)));
        }
        if let Some(shown) = shown {
            if shown.revision > self.newest.revision {
                self.newest = shown.clone();
            }
            world.happened(at, What::Applied(shown));
        }
    }

    /// What is left of the time until then, by a machine's own clock.
    #[must_use]
    pub fn left(&self, at: usize, end: Timestamp) -> Duration {
        end.since(self.world.state().machines[at].now())
    }
}
