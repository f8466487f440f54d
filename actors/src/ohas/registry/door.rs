//! The door between this server's Raft and the others': every call carries the caller's standing,
//! and passes the core's [`Gate`] on both sides.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use openraft::{alias::WatchReceiverOf, async_runtime::WatchReceiver, metrics::RaftMetrics};
use serde::{Deserialize, Serialize};
use tasuki_core::{
    ids::RaftId,
    membership::gate::{Call, Gate, Refused, Standing},
};
use tasuki_storage::raft_types::{Member, Registry, StoredMembership};
use tokio::sync::watch;

type Metrics = WatchReceiverOf<Registry, RaftMetrics<Registry>>;

/// A call as it travels.
#[derive(Serialize, Deserialize)]
pub(super) struct Envelope<T> {
    /// For which store. Another one of the same server may answer at its place since: it must not
    /// acknowledge or vote as the one that was lost (R23).
    pub to: RaftId,
    /// What the caller says of its log.
    pub(super) from: Standing,
    /// The call.
    pub(super) body: T,
}

/// An answer as it travels.
pub(super) type Answer<T> = Result<T, Refused>;

/// The voters as this server's log has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voters {
    /// Two sets while they change.
    pub configs: Vec<BTreeSet<RaftId>>,
    /// The number of the entry.
    pub number: u64,
    /// It is committed, as far as this server knows.
    pub committed: bool,
}

/// See the module.
pub(super) struct Door {
    gate: Mutex<Gate>,
    metrics: OnceLock<Metrics>,
    held: watch::Sender<bool>,
    contacts: Mutex<BTreeMap<RaftId, Contact>>,
}

/// What was exchanged with another server since the start.
#[derive(Clone, Copy, Default)]
struct Contact {
    count: u64,
    /// The number of the membership that whoever leads had in its log the last time.
    under: u64,
}

/// The number of a membership.
pub(super) fn number_of(membership: &StoredMembership) -> u64 {
    membership.membership().nodes().map(|(_, member): (_, &Member)| member.generation).max().unwrap_or(0)
}

/// Its voters.
pub(super) fn configs_of(membership: &StoredMembership) -> Vec<BTreeSet<RaftId>> {
    let sets = membership.membership().get_joint_config().iter();
    sets.map(|set| set.iter().map(|id| RaftId(*id)).collect()).collect()
}

impl Door {
    pub(super) fn new(me: RaftId) -> Self {
        Self {
            gate: Mutex::new(Gate::new(me)),
            metrics: OnceLock::new(),
            held: watch::Sender::new(false),
            contacts: Mutex::default(),
        }
    }

    /// Where it reads this server's log from.
    pub(super) fn follow(&self, metrics: Metrics) {
        let _ = self.metrics.set(metrics); // once, at the start
    }

    fn contacts(&self) -> MutexGuard<'_, BTreeMap<RaftId, Contact>> {
        self.contacts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses the gate as of now, and tells when the hold begins or ends.
    fn with<R>(&self, use_it: impl FnOnce(&mut Gate) -> R) -> R {
        let voters = self.voters();
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(voters) = voters {
            let known = gate.standing().committed;
            let committed = if voters.committed { voters.number } else { known.min(voters.number) };
            gate.log(voters.number, committed, voters.configs.into_iter().flatten().collect());
        }
        let result = use_it(&mut gate);
        let held = gate.on_hold();
        drop(gate);
        self.held.send_if_modified(|before| std::mem::replace(before, held) != held);
        result
    }

    /// The last membership in this server's log; `None` before Raft runs.
    pub(super) fn voters(&self) -> Option<Voters> {
        let metrics = self.metrics.get()?.borrow_watched().clone();
        let membership = metrics.membership_config;
        let written = membership.log_id().map(|id| id.index());
        let applied = metrics.last_applied.map(|id| id.index());
        let committed = written.is_none() || applied >= written;
        Some(Voters { configs: configs_of(&membership), number: number_of(&membership), committed })
    }

    pub(super) fn standing(&self) -> Standing {
        self.with(|gate| gate.standing())
    }

    pub(super) fn heard(&self, other: Standing) {
        self.with(|gate| gate.heard(other));
    }

    pub(super) fn hold(&self) {
        self.with(Gate::hold);
    }

    pub(super) fn lift(&self) {
        self.with(Gate::lift);
    }

    pub(super) fn on_hold(&self) -> bool {
        self.with(|gate| gate.on_hold())
    }

    /// Changes of the hold.
    pub(super) fn holds(&self) -> watch::Receiver<bool> {
        self.held.subscribe()
    }

    /// Before a call to another server: what is said of this one, or that it may not speak.
    pub(super) fn speak(&self) -> Result<Standing, Refused> {
        self.with(|gate| if gate.on_hold() { Err(Refused::OnHold) } else { Ok(gate.standing()) })
    }

    /// Before a call from another server is answered.
    pub(super) fn admit(&self, call: Call, from: Standing) -> Answer<()> {
        self.with(|gate| gate.admit(call, from))
    }

    /// Another server has refused a call.
    pub(super) fn was_refused(&self, by: RaftId, refused: Refused) {
        if let Refused::Stale { committed } = refused {
            self.heard(Standing { me: by, number: committed, committed });
        }
    }

    /// Entries went from one to the other, and were acknowledged. Whoever led had a membership of this
    /// number: a server that is behind must not take that for its own (R19).
    pub(super) fn exchanged(&self, with: RaftId, under: u64) {
        let mut contacts = self.contacts();
        let contact = contacts.entry(with).or_default();
        *contact = Contact { count: contact.count + 1, under };
    }

    /// Under which membership that was so the last time.
    pub(super) fn exchanged_under(&self, with: RaftId) -> Option<u64> {
        self.contacts().get(&with).map(|contact| contact.under)
    }

    /// How often that was so since the start.
    pub(super) fn exchanges(&self, with: RaftId) -> u64 {
        self.contacts().get(&with).map_or(0, |contact| contact.count)
    }
}
