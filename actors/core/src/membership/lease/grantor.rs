//! The grantor's side of the lease: the table on the Raft leader.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::{Grant, Request};
use crate::{
    ids::{Incarnation, ServerName, Term},
    membership::fencing::Fences,
    planted::{self, Planted},
    time::Timestamp,
    timing::Timing,
};

/// What happens to a grantor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantorEvent {
    /// This server leads, and an entry of its own term has been applied (R3).
    Elected(Term),
    /// It leads no more.
    Deposed,
    /// A quorum answered the round that was sent then (R1).
    Confirmed {
        /// When the round was sent.
        sent: Timestamp,
    },
    /// The incarnations that the registry has as up (R5).
    Members(BTreeMap<ServerName, Incarnation>),
    /// What the registry says of fencing.
    Fences(Fences),
    /// The servers that were heard before and are heard on no path now.
    Silent(BTreeSet<ServerName>),
    /// The log is committed up to here.
    Committed(u64),
    /// A server asks.
    Asked {
        /// Who.
        server: ServerName,
        /// What.
        request: Request,
        /// The leader's last log entry at this moment (R4).
        last_log: u64,
    },
    /// A server says, over a path that carries no lease, that nothing runs any more of what its
    /// incarnations before this one had started, and that its guard holds no lease (R21).
    Stopped {
        /// Who.
        server: ServerName,
        /// Its present incarnation.
        before: Incarnation,
    },
    /// Time to look for servers whose lease has ended.
    Tick,
    /// A judgement was refused by the registry: it has no effect.
    JudgementRefused(ServerName),
    /// It is not known what became of a judgement: it is repeated.
    JudgementUnclear(ServerName),
}

/// What a grantor does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantorAction {
    /// Send this grant.
    Grant {
        /// To whom.
        to: ServerName,
        /// What.
        grant: Grant,
    },
    /// Propose that this incarnation is gone. From here on it is granted nothing (R4).
    Judge {
        /// Which server.
        server: ServerName,
        /// Which incarnation.
        incarnation: Incarnation,
        /// How long it has sent no request that could be granted.
        silent: Duration,
    },
    /// Ask for this incarnation to be fenced. From here on it is granted nothing (R4), and nobody
    /// takes over from it before that is confirmed (R36).
    Fence {
        /// Which server.
        server: ServerName,
        /// Which incarnation.
        incarnation: Incarnation,
        /// How long it has sent no request that could be granted.
        silent: Duration,
    },
}

/// The leases that a leader has given out.
///
/// ```text
/// Idle --Elected--> Leading{table: every server holds a full lease, heard or not (R2)} --Deposed--> Idle
/// ```
#[derive(Clone, Debug)]
pub struct Grantor {
    timing: Timing,
    members: BTreeMap<ServerName, Incarnation>,
    fences: Fences,
    silent: BTreeSet<ServerName>,
    committed: VecDeque<(Timestamp, u64)>,
    leading: Option<Leading>,
}

#[derive(Clone, Debug)]
struct Leading {
    term: Term,
    born: Timestamp,
    confirmed: Option<Timestamp>,
    table: BTreeMap<ServerName, Slot>,
}

#[derive(Clone, Debug)]
struct Slot {
    incarnation: Incarnation,
    /// Its lease may last until then.
    until: Timestamp,
    /// When it entered the table.
    entered: Timestamp,
    /// Its last request that was granted.
    heard: Option<Timestamp>,
    /// It has been judged: granted nothing more.
    judged: Option<Judged>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    /// The judgement is on its way.
    Proposed,
    /// It is not known what became of it: propose it again.
    Unclear,
}

impl Grantor {
    /// A grantor that does not lead yet.
    #[must_use]
    pub fn new(timing: Timing) -> Self {
        Self {
            timing,
            members: BTreeMap::new(),
            fences: Fences::default(),
            silent: BTreeSet::new(),
            committed: VecDeque::new(),
            leading: None,
        }
    }

    /// New times, from a new configuration.
    pub fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// The term in which this server leads and may decide (R3).
    #[must_use]
    pub fn term(&self) -> Option<Term> {
        self.leading.as_ref().map(|leading| leading.term)
    }

    /// Servers whose lease is being renewed now: fit to be given a group. A server that has
    /// missed `patience` is not.
    #[must_use]
    pub fn fit(&self, now: Timestamp, patience: Duration) -> Vec<ServerName> {
        let Some(leading) = &self.leading else { return Vec::new() };
        leading
            .table
            .iter()
            .filter(|(server, slot)| {
                let may = slot.judged.is_none() && !self.fences.withheld.contains(*server);
                may && slot.heard.is_some_and(|heard| now.since(heard) <= patience)
            })
            .map(|(server, _)| server.clone())
            .collect()
    }

    /// The last moment of a lease that a server may hold which is granted nothing more; `None` where it
    /// is, or where this server does not lead.
    #[must_use]
    pub fn withheld_until(&self, server: &ServerName) -> Option<Timestamp> {
        let slot = self.leading.as_ref()?.table.get(server)?;
        self.fences.withheld.contains(server).then_some(slot.until)
    }

    /// Takes one event.
    pub fn on(&mut self, event: GrantorEvent, now: Timestamp) -> Vec<GrantorAction> {
        match event {
            GrantorEvent::Elected(term) => {
                if self.term() != Some(term) {
                    self.leading = Some(Leading { term, born: now, confirmed: None, table: BTreeMap::new() });
                    self.fill_table(now);
                }
            }
            GrantorEvent::Deposed => self.leading = None,
            GrantorEvent::Confirmed { sent } => {
                if let Some(leading) = &mut self.leading
                    // A round of an earlier leadership says nothing about this one.
                    && sent >= leading.born
                {
                    leading.confirmed = leading.confirmed.max(Some(sent));
                }
            }
            GrantorEvent::Members(members) => {
                self.members = members;
                self.fill_table(now);
            }
            GrantorEvent::Fences(fences) => self.set_fences(fences),
            GrantorEvent::Silent(silent) => self.silent = silent,
            GrantorEvent::Committed(index) => self.remember_commit(index, now),
            GrantorEvent::Asked { server, request, last_log } => {
                return self.asked(server, &request, last_log, now).into_iter().collect();
            }
            GrantorEvent::Stopped { server, before } => return self.stopped(server, before, now),
            GrantorEvent::Tick => return self.judge(now),
            GrantorEvent::JudgementRefused(server) => self.set_judged(&server, None),
            // It may still be committed, so the grants stay withheld.
            GrantorEvent::JudgementUnclear(server) => self.set_judged(&server, Some(Judged::Unclear)),
        }
        Vec::new()
    }

    /// R2: a server that enters the table, heard or not, may hold a full lease from this moment.
    fn fill_table(&mut self, now: Timestamp) {
        let lease = self.timing.lease;
        let Some(leading) = &mut self.leading else { return };
        leading.table.retain(|server, _| self.members.contains_key(server));
        for (server, incarnation) in &self.members {
            let known = leading.table.get(server).is_some_and(|slot| slot.incarnation == *incarnation);
            if !known {
                // A new life of a server that was in the table: the old one's lease still counts.
                let old = leading.table.get(server).map_or(now, |slot| slot.until);
                let until = if planted::is(Planted::EmptyTable) { old } else { old.max(now + lease) };
                let slot = Slot { incarnation: *incarnation, until, entered: now, heard: None, judged: None };
                leading.table.insert(server.clone(), slot);
            }
        }
    }

    fn asked(
        &mut self,
        server: ServerName,
        request: &Request,
        last_log: u64,
        now: Timestamp,
    ) -> Option<GrantorAction> {
        let lease = self.timing.lease;
        let behind = self.is_behind(request.applied, now);
        let leading = self.leading.as_mut()?;
        let slot = leading.table.get_mut(&server)?;
        // R5: only the incarnation that the registry knows. R4: not once it has been judged.
        let other = slot.incarnation != request.incarnation && !planted::is(Planted::AnyIncarnation);
        if other || slot.judged.is_some() && !planted::is(Planted::NotWithheld) {
            return None;
        }
        // The same while the registry says that it shall be fenced, whoever asked for that.
        if self.fences.withheld.contains(&server) {
            return None;
        }
        // R8: a half-hung node must not keep its lease.
        let half_hung = !request.healthy && !planted::is(Planted::Unhealthy);
        if half_hung || behind && !planted::is(Planted::Behind) {
            return None;
        }
        // R1: what is left of the round that a quorum answered last.
        let age = match leading.confirmed? {
            _ if planted::is(Planted::LeaseFromGrant) => Duration::ZERO,
            confirmed => now.since(confirmed),
        };
        let left = lease.checked_sub(age).filter(|left| !left.is_zero())?;
        slot.until = slot.until.max(now + lease);
        slot.heard = Some(now);
        let grant = Grant { incarnation: request.incarnation, seq: request.seq, left, barrier: last_log };
        Some(GrantorAction::Grant { to: server, grant })
    }

    /// R4, R9: who was granted nothing for the whole takeover wait has stopped by itself. One that has
    /// fencing devices is fenced instead (R36), as soon as its lease has run out and it is silent: a
    /// node that restarts within its lease is not shot.
    fn judge(&mut self, now: Timestamp) -> Vec<GrantorAction> {
        let mut grace = self.timing.takeover_wait() - self.timing.lease;
        if planted::is(Planted::NoBudget) {
            grace -= self.timing.guard_budget;
        }
        if planted::is(Planted::NoMargin) {
            grace -= self.timing.clock_margin;
        }
        let (fences, silent) = (&self.fences, &self.silent);
        let Some(leading) = &mut self.leading else { return Vec::new() };
        let mut judged = Vec::new();
        for (server, slot) in &mut leading.table {
            let guarded = fences.guarded.contains(server);
            let due = if !guarded {
                slot.until + grace
            } else if fences.suspended || fences.withheld.contains(server) {
                continue;
            } else if silent.contains(server) && fences.taking_part.contains(server) {
                slot.until
            } else if slot.heard.is_none() {
                // It may still be booting, with all others, after a power failure.
                (slot.until + grace).max(slot.entered + fences.patience)
            } else {
                slot.until + grace
            };
            if slot.judged == Some(Judged::Proposed) || now < due {
                continue;
            }
            slot.judged = Some(Judged::Proposed); // in the same step: withheld before it is proposed
            let (server, incarnation) = (server.clone(), slot.incarnation);
            let silent = now.since(slot.heard.unwrap_or(slot.entered));
            judged.push(if guarded {
                GrantorAction::Fence { server, incarnation, silent }
            } else {
                GrantorAction::Judge { server, incarnation, silent }
            });
        }
        judged
    }

    /// R21: a later life of the server says that nothing runs any more of this one. Judged once.
    fn stopped(&mut self, server: ServerName, before: Incarnation, now: Timestamp) -> Vec<GrantorAction> {
        let leading = self.leading.as_mut();
        let slot = leading.and_then(|leading| leading.table.get_mut(&server));
        let Some(slot) = slot.filter(|slot| slot.incarnation < before && slot.judged.is_none()) else {
            return Vec::new();
        };
        slot.judged = Some(Judged::Proposed); // R4: withheld before it is proposed
        let incarnation = slot.incarnation;
        let silent = now.since(slot.heard.unwrap_or(slot.entered));
        vec![GrantorAction::Judge { server, incarnation, silent }]
    }

    /// A fencing that was given up, or of another life, withholds nothing any more.
    fn set_fences(&mut self, fences: Fences) {
        let before = std::mem::replace(&mut self.fences, fences);
        let freed: Vec<_> = before.withheld.difference(&self.fences.withheld).cloned().collect();
        for server in freed {
            self.set_judged(&server, None);
        }
    }

    fn set_judged(&mut self, server: &ServerName, judged: Option<Judged>) {
        if let Some(slot) = self.leading.as_mut().and_then(|leading| leading.table.get_mut(server)) {
            slot.judged = judged;
        }
    }

    fn remember_commit(&mut self, index: u64, now: Timestamp) {
        if self.committed.back().is_none_or(|(_, last)| index > *last) {
            self.committed.push_back((now, index));
        }
        // The newest entry older than a lease is what everybody must have applied.
        while self.committed.get(1).is_some_and(|(at, _)| now.since(*at) > self.timing.lease) {
            self.committed.pop_front();
        }
    }

    fn is_behind(&self, applied: u64, now: Timestamp) -> bool {
        self.committed
            .iter()
            .take_while(|(at, _)| now.since(*at) > self.timing.lease)
            .last()
            .is_some_and(|(_, index)| applied < *index)
    }
}
