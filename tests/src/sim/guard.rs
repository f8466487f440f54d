//! The guard of a machine: the real one's decider, with hands that work on the simulated machine
//! and take a while.

use std::{collections::BTreeMap, time::Duration};

use tasuki_core::{registry::state::AfterStop, time::Timestamp};
use tasuki_system::guard::decide::{Action, Decider, Event};
use tokio::sync::oneshot;

use super::{
    fact::{StopCause, What},
    machine::Inbox,
    world::{STEP, State},
};

/// See the module.
pub struct GuardTwin {
    /// What decides.
    pub decider: Decider,
    /// What it is told and has not read: the pipe from its node, and signals.
    pub inbox: Inbox,
    /// The lease's end as the node has told it.
    pub told: Option<Timestamp>,
    /// Who waits for the lease's end.
    ending: BTreeMap<u64, oneshot::Sender<()>>,
    next_id: u64,
    /// It is busy stopping everything until then, with the node or without.
    busy: Option<Busy>,
    /// It held no lease when it started this node.
    pub held_nothing: bool,
    /// A node starts then.
    pub node_at: Option<Timestamp>,
}

#[derive(Clone, Debug)]
struct Busy {
    until: Timestamp,
    why: String,
}

/// What the driver does for a guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// The node process is killed.
    KillNode,
    /// A node process begins.
    StartNode,
    /// The machine is reset.
    Reset,
    /// The guard has ended.
    End(AfterStop),
}

impl GuardTwin {
    /// A guard that has just started.
    #[must_use]
    pub fn new(decider: Decider) -> Self {
        Self {
            decider,
            inbox: Inbox::new(),
            told: None,
            ending: BTreeMap::new(),
            next_id: 0,
            busy: None,
            held_nothing: false,
            node_at: None,
        }
    }

    /// The node's side: as the real guard's client does it.
    pub fn renew(&mut self, end: Timestamp) {
        if self.ending.is_empty() {
            self.inbox.push_back(Event::Renewed { end });
            self.told = self.told.max(Some(end));
        }
    }

    /// The node gives the lease back; resolves when nothing runs.
    pub fn end_lease(&mut self) -> oneshot::Receiver<()> {
        let (tell, ended) = oneshot::channel();
        self.next_id += 1;
        self.told = None;
        self.ending.insert(self.next_id, tell);
        self.inbox.push_back(Event::GivenBack { id: self.next_id });
        ended
    }
}

impl State {
    /// One turn of a machine's guard, in the order of the real one's loop.
    pub fn guard_turn(&mut self, at: usize) -> Vec<Order> {
        let mut orders = Vec::new();
        let now = self.machines[at].now();
        let Some(guard) = &mut self.machines[at].guard else { return orders };
        if let Some(busy) = &guard.busy {
            if now < busy.until {
                return orders;
            }
            let why = busy.why.clone();
            self.stop_all(at, &StopCause::Guard(why));
            if let Some(guard) = &mut self.machines[at].guard {
                guard.busy = None;
            }
            self.guard_takes(at, Event::AllStopped, &mut orders);
        }
        while let Some(event) = self.next_event(at) {
            self.guard_takes(at, event, &mut orders);
        }
        self.guard_takes(at, Event::AllHeard, &mut orders);
        let machine = &mut self.machines[at];
        let Some(guard) = &mut machine.guard else { return orders };
        if guard.busy.is_some() {
            return orders;
        }
        if guard.node_at.is_some_and(|start| start.0 <= machine.clock) {
            guard.node_at = None;
            guard.told = guard.decider.lease_end();
            guard.held_nothing = guard.told.is_none();
            orders.push(Order::StartNode);
        }
        self.guard_takes(at, Event::Tick, &mut orders);
        orders
    }

    /// What the guard reads next; nothing while it is busy.
    fn next_event(&mut self, at: usize) -> Option<Event> {
        let guard = self.machines[at].guard.as_mut()?;
        if guard.busy.is_some() { None } else { guard.inbox.pop_front() }
    }

    fn guard_takes(&mut self, at: usize, event: Event, orders: &mut Vec<Order>) {
        let machine = &mut self.machines[at];
        let now = machine.now();
        let Some(guard) = &mut machine.guard else { return };
        let actions = guard.decider.on(event, now);
        let stops = actions.iter().any(|action| matches!(action, Action::StopAll { .. }));
        for action in actions {
            self.guard_does(at, action, stops, now, orders);
        }
    }

    fn guard_does(
        &mut self,
        at: usize,
        action: Action,
        stops: bool,
        now: Timestamp,
        orders: &mut Vec<Order>,
    ) {
        match action {
            Action::KillNode => {
                orders.push(Order::KillNode);
                if let Some(guard) = &mut self.machines[at].guard {
                    guard.node_at = None;
                    guard.ending.clear();
                    if !stops {
                        guard.inbox.push_back(Event::NodeEnded);
                    }
                }
            }
            Action::StartNode => {
                let takes = self.dice.between(5, 80);
                if let Some(guard) = &mut self.machines[at].guard {
                    guard.node_at = Some(now + Duration::from_millis(takes));
                }
            }
            Action::StopAll { cause, deadline } => {
                let why = cause.to_string();
                self.happened(at, What::StandsDown(why.clone()));
                // At most what is left of the budget, less the step that the simulation is coarse by.
                let left = deadline.since(now).saturating_sub(Duration::from_nanos(3 * STEP));
                let idle = self.machines[at].running.is_empty();
                let most = if idle { 1 } else { u64::try_from(left.as_millis()).unwrap_or(1).max(1) };
                let slow = if self.slow_guards { 20 } else { 1 };
                let least = if self.machines[at].whole_budget { most } else { 1 };
                let takes = Duration::from_millis(self.dice.between(least, most) * slow);
                if let Some(guard) = &mut self.machines[at].guard {
                    guard.busy = Some(Busy { until: now + takes, why });
                }
            }
            Action::Acknowledge { id } => {
                if let Some(guard) = &mut self.machines[at].guard
                    && let Some(waiting) = guard.ending.remove(&id)
                {
                    let _ = waiting.send(());
                }
            }
            Action::Reset { .. } => orders.push(Order::Reset),
            Action::End { after } => {
                self.machines[at].guard = None;
                orders.push(Order::End(after));
            }
            Action::Overdue => self.say("a guard is overdue"),
            Action::Remember(_) | Action::TellNodeToStop => {}
        }
    }

    /// The node was killed by the guard: what it said and nobody read is gone with its pipe.
    pub fn guard_forgets_node(&mut self, at: usize) {
        if let Some(guard) = &mut self.machines[at].guard {
            guard.inbox.retain(|event| {
                matches!(event, Event::NodeEnded | Event::AskedToEnd | Event::ClockJumped | Event::AllStopped)
            });
            guard.ending.clear();
            guard.told = None;
        }
    }

    /// The node has ended by itself: what it said before is still read.
    pub fn guard_sees_node_end(&mut self, at: usize) {
        if let Some(guard) = &mut self.machines[at].guard {
            guard.ending.clear();
            guard.inbox.push_back(Event::NodeEnded);
        }
    }
}
