//! Everything outside of the nodes, in one place: machines, cables, disks, votes. Ports and driver
//! share it; there is one thread, so its lock is never waited for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tasuki_core::ids::ServerName;

use super::{
    dice::Dice,
    fact::{Fact, What},
    machine::MachineState,
    network::NetworkState,
    trace::Trace,
    votes::VotesState,
};

/// Nanoseconds of a step of the simulation.
pub const STEP: u64 = 1_000_000;

/// The world, as ports hold it.
#[derive(Clone)]
pub struct World(Arc<Mutex<State>>);

/// What is in it.
pub struct State {
    /// True time, which no machine knows.
    pub now: u64,
    /// Chance.
    pub dice: Dice,
    /// What happened.
    pub trace: Trace,
    /// Cables, and what is on them.
    pub network: NetworkState,
    /// Machines, by number from zero.
    pub machines: Vec<MachineState>,
    /// Tie-break records, voting files and fencing devices.
    pub votes: VotesState,
    /// Guards take far longer than their budget (a planted fault).
    pub slow_guards: bool,
    /// Guards do not notice that the clock stood still (a planted fault).
    pub blind_guards: bool,
    /// What the invariants have not looked at yet.
    pub facts: Vec<Fact>,
}

impl World {
    /// A world with these machines, all off.
    #[must_use]
    pub fn new(seed: u64, machines: Vec<MachineState>, network: NetworkState, aloud: bool) -> Self {
        let dice = Dice::new(seed);
        Self(Arc::new(Mutex::new(State {
            now: 0,
            dice,
            trace: Trace::new(aloud),
            network,
            machines,
            votes: VotesState::default(),
            slow_guards: false,
            blind_guards: false,
            facts: Vec::new(),
        })))
    }

    /// The world, for a moment.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Notes that something happened on a machine.
    pub fn happened(&mut self, machine: usize, what: What) {
        let fact = Fact { at: self.now, machine, what };
        if let Some(line) = fact.line(&self.machines) {
            self.trace.say(self.now, &line);
        }
        self.facts.push(fact);
    }

    /// Notes what the simulation itself does.
    pub fn say(&mut self, line: &str) {
        let now = self.now;
        self.trace.say(now, line);
    }

    /// The number of a server.
    #[must_use]
    pub fn number(&self, server: &ServerName) -> Option<usize> {
        self.machines.iter().position(|machine| machine.name == *server)
    }
}
