//! What the guard decides: when to stop everything, and when to start a node. It has no clock and
//! does nothing by itself.
//!
//! ```text
//!            lease end, jump, asked            nothing runs
//!  Serving ───────────────────────► Stopping ──────────────► Serving (with a new node)
//!     │  ▲                             ▲  │
//!     │  └──── nothing runs, ack ──────┼──┘  (the lease given back: the node lives on)
//!     │ Leave, SIGTERM and no node     │
//!     ├────────────────────────────────┤       nothing runs, node ended
//!     └──► Leaving ────────────────────┘  Stopping ─────────────► Done
//! ```

use std::{fmt, time::Duration};

use tasuki_core::{
    config::OnHang,
    membership::hang::{SignsOfLife, Watched},
    registry::state::AfterStop,
    time::Timestamp,
};

/// Something that happened to the guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The guard has started.
    Started {
        /// The lease's end as a guard before this one wrote it down, in this boot.
        remembered: Option<Timestamp>,
        /// Something of this server runs.
        runs: bool,
        /// A node of a guard before this one still lives.
        old_node: bool,
    },
    /// The node has the lease until then.
    Renewed {
        /// Boot clock.
        end: Timestamp,
    },
    /// The node gives the lease back (R7).
    GivenBack {
        /// To be acknowledged with.
        id: u64,
    },
    /// The node asks for everything to be stopped, itself included.
    AskedToStandDown {
        /// Why.
        why: String,
    },
    /// The node asks for the machine to be reset.
    AskedToReset {
        /// Why.
        why: String,
    },
    /// A part of the node moved (O9).
    Alive {
        /// Which.
        part: Watched,
        /// When it said so, which may be a while before it was heard.
        at: Timestamp,
    },
    /// A watcher has found that a part of the node hangs.
    Hangs {
        /// What and how.
        why: String,
    },
    /// Everything that the node has said so far was heard.
    AllHeard,
    /// The node has stopped cleanly.
    Left {
        /// What becomes of the machine.
        after: AfterStop,
    },
    /// The node has ended, for whatever reason, or could not be started.
    NodeEnded,
    /// Time passed that the boot clock did not count, or the other way round (R38).
    ClockJumped,
    /// An operator or init asks the guard to end.
    AskedToEnd,
    /// Everything that was to be stopped has stopped.
    AllStopped,
    /// Something has not stopped yet.
    StillRunning,
    /// Time has passed.
    Tick,
}

/// Why everything is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The lease ended without having been renewed.
    LeaseEnded,
    /// The clock jumped.
    ClockJumped,
    /// The node asked.
    Asked(String),
    /// A part of the node hangs, or did.
    Hung(String),
    /// The guard was asked twice to end.
    EndedAtOnce,
    /// The guard started, something runs, and there is no lease for it.
    NoLeaseAtStart,
    /// The node gave the lease back.
    GivenBack,
    /// The node left.
    Leaving,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeaseEnded => f.write_str("the lease ended without having been renewed"),
            Self::ClockJumped => f.write_str("the clock jumped"),
            Self::Asked(why) => write!(f, "the node asked: {why}"),
            Self::Hung(why) => write!(f, "the node hangs: {why}"),
            Self::EndedAtOnce => f.write_str("the guard was told twice to end"),
            Self::NoLeaseAtStart => f.write_str("something runs and there is no lease for it"),
            Self::GivenBack => f.write_str("the node gave the lease back"),
            Self::Leaving => f.write_str("this server leaves"),
        }
    }
}

/// Something the guard is to do. In order, each before the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Reset the machine: what follows is for when that is not permitted.
    Reset {
        /// Why.
        why: String,
    },
    /// Start a node.
    StartNode,
    /// SIGKILL to the node: it sends nothing any more (R10).
    KillNode,
    /// Kill what runs and drop the addresses; answered with [`Event::AllStopped`] (which, after
    /// `KillNode`, includes the node) or [`Event::StillRunning`], at the deadline at the latest.
    StopAll {
        /// Why.
        cause: Cause,
        /// Until when it should be done.
        deadline: Timestamp,
    },
    /// Say loudly that the budget is used up and something still runs.
    Overdue,
    /// Write the lease's end down for a guard after this one.
    Remember(Option<Timestamp>),
    /// Tell the node that its lease has ended.
    Acknowledge {
        /// As asked.
        id: u64,
    },
    /// Ask the node to stop cleanly.
    TellNodeToStop,
    /// Close the watchdog, do to the machine what was asked, and end.
    End {
        /// What becomes of the machine.
        after: AfterStop,
    },
}

/// The guard's state.
#[derive(Clone, Debug)]
pub struct Decider {
    budget: Duration,
    /// How long a part of the node may be silent (`misscount`).
    patience: Duration,
    on_hang: OnHang,
    signs: SignsOfLife,
    lease_end: Option<Timestamp>,
    phase: Phase,
    node: Node,
    /// The guard was asked to end.
    ending: bool,
    /// How many nodes in a row have ended soon after their start.
    early_ends: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// The node has said its last word; it has until then to end.
    Leaving {
        after: AfterStop,
        until: Timestamp,
    },
    Stopping {
        cause: Cause,
        deadline: Timestamp,
        overdue: bool,
        then: Then,
    },
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Then {
    Serve,
    Acknowledge { id: u64 },
    End { after: AfterStop },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Runs { since: Timestamp },
    Ended { start_at: Timestamp },
}

/// A node that ends sooner than this after its start ended early.
const EARLY: Duration = Duration::from_secs(2);
/// So many early ends are answered with a start at once.
const STARTS_AT_ONCE: u32 = 3;
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a node that left may take to end.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks at what should have stopped.
const RETRY: Duration = Duration::from_millis(5);

impl Decider {
    /// Before [`Event::Started`].
    #[must_use]
    pub fn new(budget: Duration, lease: Duration) -> Self {
        Self {
            budget,
            patience: lease,
            on_hang: OnHang::default(),
            signs: SignsOfLife::default(),
            lease_end: None,
            phase: Phase::Serving,
            node: Node::Ended { start_at: Timestamp(u64::MAX) },
            ending: false,
            early_ends: 0,
        }
    }

    /// These may change with the cluster's configuration.
    pub fn set_times(&mut self, budget: Duration, lease: Duration, on_hang: OnHang) {
        self.budget = budget;
        self.patience = lease;
        self.on_hang = on_hang;
    }

    /// The lease's end; none once everything has stopped.
    #[must_use]
    pub fn lease_end(&self) -> Option<Timestamp> {
        self.lease_end
    }

    /// The guard is to end.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// When [`Event::Tick`] is due at the latest.
    #[must_use]
    pub fn next_tick(&self, now: Timestamp) -> Option<Timestamp> {
        let start = match self.node {
            Node::Ended { start_at } if self.phase == Phase::Serving => Some(start_at),
            _ => None,
        };
        let phase = match &self.phase {
            Phase::Serving | Phase::Done => None,
            Phase::Leaving { until, .. } => Some(*until),
            Phase::Stopping { .. } => Some(now + RETRY),
        };
        let hang = match self.phase {
            Phase::Serving => self.signs.next_overdue(self.patience),
            _ => None,
        };
        [self.lease_end, start, phase, hang].into_iter().flatten().min()
    }

    /// Takes one event.
    pub fn on(&mut self, event: Event, now: Timestamp) -> Vec<Action> {
        match event {
            Event::Started { remembered, runs, old_node } => self.started(remembered, runs, old_node, now),
            Event::Renewed { end } => self.renewed(end, now),
            Event::GivenBack { id } => self.given_back(id, now),
            Event::AskedToStandDown { why } => self.stand_down(Cause::Asked(why), now + self.budget),
            Event::AskedToReset { why } => {
                let mut actions = vec![Action::Reset { why: why.clone() }];
                actions.extend(self.stand_down(Cause::Asked(why), now + self.budget));
                actions
            }
            Event::Alive { part, at } => self.alive(part, at.min(now), now),
            Event::Hangs { why } => self.hung(why, now),
            Event::AllHeard => match self.signs.overdue(now, self.patience) {
                Some(hang) => self.hung(hang.to_string(), now),
                None => Vec::new(),
            },
            Event::ClockJumped if self.lease_end.is_some() => {
                self.stand_down(Cause::ClockJumped, now + self.budget)
            }
            Event::ClockJumped => Vec::new(),
            Event::Left { after } => self.left(after, now),
            Event::NodeEnded => self.node_ended(now),
            Event::AskedToEnd => self.asked_to_end(now),
            Event::AllStopped => self.all_stopped(now),
            Event::StillRunning => self.still_running(now),
            Event::Tick => self.tick(now),
        }
    }

    fn alive(&mut self, part: Watched, at: Timestamp, now: Timestamp) -> Vec<Action> {
        match self.signs.heard(part, at, self.patience) {
            Some(hang) => self.hung(hang.to_string(), now),
            None => Vec::new(),
        }
    }

    /// What could not move could not watch either: what ran meanwhile cannot be trusted (O9).
    fn hung(&mut self, why: String, now: Timestamp) -> Vec<Action> {
        if self.phase != Phase::Serving || !matches!(self.node, Node::Runs { .. }) {
            return Vec::new();
        }
        let mut actions = Vec::new();
        if self.on_hang == OnHang::Reset {
            actions.push(Action::Reset { why: why.clone() });
        }
        actions.extend(self.stand_down(Cause::Hung(why), now + self.budget));
        actions
    }

    fn started(
        &mut self,
        remembered: Option<Timestamp>,
        runs: bool,
        old_node: bool,
        now: Timestamp,
    ) -> Vec<Action> {
        self.lease_end = remembered.filter(|end| *end > now);
        if old_node {
            self.node = Node::Runs { since: now };
        } else {
            self.node = Node::Ended { start_at: now };
        }
        if self.lease_end.is_none() && runs {
            return self.stand_down(Cause::NoLeaseAtStart, now + self.budget);
        }
        // Two nodes at once would both act: the old one, which no guard watches, goes first.
        if old_node { vec![Action::KillNode] } else { self.tick(now) }
    }

    fn renewed(&mut self, end: Timestamp, now: Timestamp) -> Vec<Action> {
        // While something is being stopped, requests that were under way are void (R7). A renewal
        // that was late itself renews nothing.
        if matches!(self.phase, Phase::Stopping { .. } | Phase::Done) || end <= now {
            return Vec::new();
        }
        if self.lease_end.is_some_and(|current| current >= end) {
            return Vec::new();
        }
        self.lease_end = Some(end);
        vec![Action::Remember(Some(end))]
    }

    fn given_back(&mut self, id: u64, now: Timestamp) -> Vec<Action> {
        if self.phase != Phase::Serving {
            return Vec::new();
        }
        self.stop_all(Cause::GivenBack, now + self.budget, Then::Acknowledge { id })
    }

    fn left(&mut self, after: AfterStop, now: Timestamp) -> Vec<Action> {
        match &mut self.phase {
            Phase::Stopping { then, .. } => {
                *then = Then::End { after };
                Vec::new()
            }
            Phase::Done => Vec::new(),
            Phase::Serving | Phase::Leaving { .. } => {
                self.phase = Phase::Leaving { after, until: now + LEAVE_PATIENCE };
                Vec::new()
            }
        }
    }

    fn node_ended(&mut self, now: Timestamp) -> Vec<Action> {
        let early = matches!(self.node, Node::Runs { since } if now.since(since) < EARLY);
        self.early_ends = if early { self.early_ends + 1 } else { 0 };
        let leased = self.lease_end.is_some_and(|end| end > now);
        let pause = match self.early_ends.checked_sub(STARTS_AT_ONCE + 1) {
            // While a lease lasts, what runs depends on a node that renews it; its end bounds the haste.
            _ if leased => Duration::ZERO,
            None => Duration::ZERO,
            Some(more) => (Duration::from_millis(100) * 2_u32.pow(more.min(6))).min(LONGEST_PAUSE),
        };
        self.node = Node::Ended { start_at: now + pause };
        self.signs.forget();
        match self.phase {
            Phase::Leaving { after, .. } => {
                self.stop_all(Cause::Leaving, now + self.budget, Then::End { after })
            }
            _ => self.tick(now),
        }
    }

    fn asked_to_end(&mut self, now: Timestamp) -> Vec<Action> {
        let second = std::mem::replace(&mut self.ending, true);
        match &mut self.phase {
            Phase::Stopping { then: then @ Then::Serve, .. } => {
                *then = Then::End { after: AfterStop::Nothing };
                Vec::new()
            }
            Phase::Done => Vec::new(),
            _ if second => self.stand_down(Cause::EndedAtOnce, now + self.budget),
            _ if matches!(self.node, Node::Runs { .. }) => vec![Action::TellNodeToStop],
            _ => self.tick(now),
        }
    }

    fn all_stopped(&mut self, now: Timestamp) -> Vec<Action> {
        let Phase::Stopping { then, .. } = std::mem::replace(&mut self.phase, Phase::Serving) else {
            return Vec::new();
        };
        self.lease_end = None;
        let mut actions = vec![Action::Remember(None)];
        match then {
            Then::Acknowledge { id } => {
                actions.push(Action::Acknowledge { id });
                // The node may have ended meanwhile, or the guard been asked to end.
                actions.extend(self.tick(now));
            }
            Then::Serve => {
                // It was killed on purpose: that is no early end.
                self.early_ends = 0;
                self.node = Node::Ended { start_at: now };
                actions.extend(self.tick(now));
            }
            Then::End { after } => {
                self.phase = Phase::Done;
                actions.push(Action::End { after });
            }
        }
        actions
    }

    fn still_running(&mut self, now: Timestamp) -> Vec<Action> {
        match &mut self.phase {
            Phase::Stopping { deadline, overdue, .. } if now >= *deadline && !*overdue => {
                *overdue = true;
                vec![Action::Overdue]
            }
            _ => Vec::new(),
        }
    }

    fn tick(&mut self, now: Timestamp) -> Vec<Action> {
        let over = self.lease_end.is_some_and(|end| end <= now);
        match &self.phase {
            Phase::Stopping { cause: Cause::GivenBack | Cause::Leaving, .. }
            | Phase::Serving
            | Phase::Leaving { .. }
                if over =>
            {
                let end = self.lease_end.unwrap_or(now);
                self.stand_down(Cause::LeaseEnded, end + self.budget)
            }
            Phase::Stopping { cause, deadline, .. } => {
                // Once the budget is used up, each look may take one more of it.
                let deadline = if now < *deadline { *deadline } else { now + self.budget };
                let mut actions = vec![Action::StopAll { cause: cause.clone(), deadline }];
                if *cause != Cause::GivenBack {
                    actions.insert(0, Action::KillNode);
                }
                actions
            }
            Phase::Leaving { after, until } if *until <= now => {
                let then = Then::End { after: *after };
                self.stop_all(Cause::Leaving, now + self.budget, then)
            }
            Phase::Serving => match self.node {
                Node::Ended { start_at } if start_at <= now && !self.ending => {
                    self.node = Node::Runs { since: now };
                    self.signs.forget();
                    vec![Action::StartNode]
                }
                Node::Ended { .. } if self.ending => {
                    let then = Then::End { after: AfterStop::Nothing };
                    self.stop_all(Cause::Leaving, now + self.budget, then)
                }
                Node::Ended { .. } | Node::Runs { .. } => Vec::new(),
            },
            Phase::Leaving { .. } | Phase::Done => Vec::new(),
        }
    }

    /// Everything stops, the node first; then a new node starts, unless the guard is to end.
    fn stand_down(&mut self, cause: Cause, deadline: Timestamp) -> Vec<Action> {
        let then = match &self.phase {
            Phase::Done => return Vec::new(),
            Phase::Leaving { after, .. } | Phase::Stopping { then: Then::End { after }, .. } => {
                Then::End { after: *after }
            }
            _ if self.ending => Then::End { after: AfterStop::Nothing },
            _ => Then::Serve,
        };
        self.stop_all(cause, deadline, then)
    }

    fn stop_all(&mut self, cause: Cause, deadline: Timestamp, then: Then) -> Vec<Action> {
        let mut actions = Vec::new();
        if cause != Cause::GivenBack {
            self.signs.forget();
            actions.push(Action::KillNode);
        }
        if self.lease_end.is_some() && cause != Cause::GivenBack {
            // A guard that has to go on from here must not believe in this lease any more.
            actions.push(Action::Remember(None));
        }
        actions.push(Action::StopAll { cause: cause.clone(), deadline });
        self.phase = Phase::Stopping { cause, deadline, overdue: false, then };
        actions
    }
}

/// The watchdog's part of the promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchdogRule {
    /// The machine is reset when the watchdog was not petted for this long.
    pub timeout: Duration,
    /// What the guard has, after a lease's end, to stop everything.
    pub budget: Duration,
    /// What a slow watchdog adds to the takeover wait: see [`watchdog_cost`].
    pub cost: Duration,
}

impl WatchdogRule {
    /// Whether the watchdog may be petted (R9, R10).
    ///
    /// With a lease: only while the reset that this petting puts off still comes by the time
    /// everything must have stopped. Without a lease: only when nothing runs, because then there
    /// is nothing that a reset would have to stop.
    #[must_use]
    pub fn may_pet(&self, now: Timestamp, lease_end: Option<Timestamp>, runs: bool) -> bool {
        match lease_end {
            Some(end) => now + self.timeout <= end + self.budget + self.cost,
            None => !runs,
        }
    }
}

/// How much a watchdog adds to the takeover wait: what its time-out is longer than three quarters
/// of the lease and the budget. (Petting must be allowed for some time after each renewal, here
/// for a quarter of the lease.) `config check` says so to the operator.
#[must_use]
pub fn watchdog_cost(timeout: Duration, lease: Duration, budget: Duration) -> Duration {
    timeout.saturating_sub(lease * 3 / 4 + budget)
}

#[cfg(test)]
mod tests;
