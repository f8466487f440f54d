//! The holder's side of the lease.

use std::collections::BTreeMap;

use super::{Grant, Request};
use crate::{
    ids::Incarnation,
    planted::{self, Planted},
    time::Timestamp,
};

/// Requests whose answer may still come. Older ones would end in the past anyway.
const OUTSTANDING: usize = 64;

/// What happens to a holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HolderEvent {
    /// The registry knows this incarnation: it may ask (R5).
    Registered(Incarnation),
    /// Time to ask for a renewal.
    Beat {
        /// What the second monitor says.
        healthy: bool,
    },
    /// The leader answered.
    Granted(Grant),
    /// The log was applied up to here.
    Applied(u64),
    /// Everything has stopped and the lease is to be given back (R7).
    HandBack,
}

/// What a holder does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HolderAction {
    /// Send this request to the leader.
    Ask(Request),
    /// The lease now ends then: tell the guard.
    Renew(Timestamp),
}

/// One server's own lease.
///
/// ```text
/// Unregistered --Registered--> Asking <--Granted, Applied--> Held(end)
///                                 \________ HandBack ________/ --> Returned (no more requests)
/// ```
#[derive(Clone, Debug, Default)]
pub struct Holder {
    incarnation: Option<Incarnation>,
    next_seq: u64,
    sent: BTreeMap<u64, Timestamp>,
    applied: u64,
    end: Option<Timestamp>,
    /// Grants that wait for their barrier: (barrier, end).
    waiting: Vec<(u64, Timestamp)>,
    returned: bool,
}

impl Holder {
    /// When the lease ends, if one was ever granted and not given back.
    #[must_use]
    pub fn end(&self) -> Option<Timestamp> {
        self.end
    }

    /// Whether the lease is held at `now`.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.end.is_some_and(|end| now < end)
    }

    /// Takes one event.
    pub fn on(&mut self, event: HolderEvent, now: Timestamp) -> Vec<HolderAction> {
        match event {
            HolderEvent::Registered(incarnation) => {
                if self.incarnation != Some(incarnation) {
                    // A lease of another life is not ours, and neither are its answers.
                    *self = Self {
                        incarnation: Some(incarnation),
                        applied: self.applied,
                        next_seq: self.next_seq,
                        ..Self::default()
                    };
                }
                Vec::new()
            }
            HolderEvent::Beat { healthy } => self.ask(healthy, now),
            HolderEvent::Granted(grant) => self.granted(&grant),
            HolderEvent::Applied(index) => {
                self.applied = self.applied.max(index);
                self.count_in()
            }
            HolderEvent::HandBack => {
                // R7: outstanding requests are void, and no grant may bring the lease back.
                self.returned = true;
                self.sent.clear();
                self.waiting.clear();
                self.end = None;
                Vec::new()
            }
        }
    }

    fn ask(&mut self, healthy: bool, now: Timestamp) -> Vec<HolderAction> {
        let Some(incarnation) = self.incarnation else { return Vec::new() };
        if self.returned {
            return Vec::new();
        }
        self.next_seq += 1;
        self.sent.insert(self.next_seq, now);
        while self.sent.len() > OUTSTANDING {
            self.sent.pop_first();
        }
        let request = Request { incarnation, seq: self.next_seq, applied: self.applied, healthy };
        vec![HolderAction::Ask(request)]
    }

    fn granted(&mut self, grant: &Grant) -> Vec<HolderAction> {
        if self.returned || self.incarnation != Some(grant.incarnation) {
            return Vec::new();
        }
        // R1: counted from our own sending. An answer to a request that we do not remember, or
        // have had an answer to, counts for nothing.
        let Some(sent) = self.sent.remove(&grant.seq) else { return Vec::new() };
        self.waiting.push((grant.barrier, sent + grant.left));
        self.count_in()
    }

    /// R4: a grant counts once everything that the leader had in its log has been applied here.
    fn count_in(&mut self) -> Vec<HolderAction> {
        let applied = if planted::is(Planted::NoBarrier) { u64::MAX } else { self.applied };
        let reached =
            self.waiting.iter().filter(|(barrier, _)| *barrier <= applied).map(|(_, end)| *end).max();
        self.waiting.retain(|(barrier, _)| *barrier > applied);
        match reached {
            Some(end) if self.end.is_none_or(|now_ends| end > now_ends) => {
                self.end = Some(end);
                vec![HolderAction::Renew(end)]
            }
            _ => Vec::new(),
        }
    }
}
