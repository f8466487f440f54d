//! Who votes: all servers up to two, then an odd number, five at most (R20), spread over failure
//! domains.
//!
//! In this order: as few dead voters as possible, so that a dead one gives its vote to a live
//! learner where there is one; then no domain whose loss costs the quorum; then as few moves of
//! votes as possible, so that a server that returns does not get its vote back for nothing; then
//! the lowest numbers.

use std::collections::{BTreeMap, BTreeSet};

use crate::{ids::RaftId, registry::state::ServerEntry, time::Timestamp};

/// Voters at most.
const MOST: usize = 5;

/// A member of Raft, as a voter to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its number in the configuration.
    pub number: u32,
    /// Its place in Raft.
    pub raft_id: RaftId,
    /// What it may be lost together with; by itself when there is none.
    pub domain: Option<String>,
    /// It is up, or has not been down for long enough to lose its vote. One that is leaving is up
    /// until it has stopped.
    pub up: bool,
    /// Its role allows a vote, and it votes now or lacks nothing that would hold commits up.
    pub may_vote: bool,
}

impl Candidate {
    /// A server that has joined, taken as up and as caught up with the others.
    #[must_use]
    pub fn of(server: &ServerEntry) -> Option<Self> {
        let config = &server.config.value;
        Some(Self {
            number: config.number,
            raft_id: server.presence.as_ref()?.value.raft_id,
            domain: config.domain.clone(),
            up: true,
            may_vote: config.role.may_vote(),
        })
    }
}

/// Chooses the voters. Those that vote now stay where they can, so that no vote moves without
/// need. Nobody who is down gets a vote; who is down and has one keeps it until a live server can
/// take it.
#[must_use]
pub fn choose(candidates: &[Candidate], voting: &BTreeSet<RaftId>) -> BTreeSet<RaftId> {
    let mut able: Vec<&Candidate> = candidates.iter().filter(|one| one.may_vote).collect();
    able.sort_by_key(|one| (!voting.contains(&one.raft_id), one.number));
    let (live, down): (Vec<&Candidate>, Vec<&Candidate>) = able.into_iter().partition(|one| one.up);
    let down: Vec<&Candidate> = down.into_iter().filter(|one| voting.contains(&one.raft_id)).collect();
    let size = match live.len() + down.len() {
        few @ 0..=2 => few,
        many if many >= MOST => MOST,
        some => some - (some + 1) % 2, // 3 of 3 and 3 of 4
    };
    let chosen = spread(&live, size);
    let rest = size - chosen.len();
    chosen.into_iter().chain(down.into_iter().take(rest)).map(|one| one.raft_id).collect()
}

/// Of live candidates, best first, as many as there are up to `size`, and no more from one domain
/// than must be: what is outside of it should still be a quorum of `size`.
fn spread<'a>(live: &[&'a Candidate], size: usize) -> Vec<&'a Candidate> {
    let count = live.len().min(size);
    let mut there: BTreeMap<Domain<'_>, usize> = BTreeMap::new();
    for one in live {
        *there.entry(domain(one)).or_default() += 1;
    }
    let quorum = size / 2 + 1;
    let enough = |most: &usize| there.values().map(|servers| servers.min(most)).sum::<usize>() >= count;
    let most = (count.saturating_sub(quorum).max(1)..=count).find(enough).unwrap_or(count);
    let mut taken: BTreeMap<Domain<'_>, usize> = BTreeMap::new();
    let mut chosen = Vec::new();
    for one in live {
        let of_domain = taken.entry(domain(one)).or_default();
        if chosen.len() < count && *of_domain < most {
            *of_domain += 1;
            chosen.push(*one);
        }
    }
    chosen
}

/// A named domain, or a server by itself.
type Domain<'a> = (Option<&'a str>, Option<RaftId>);

fn domain(one: &Candidate) -> Domain<'_> {
    match &one.domain {
        Some(name) => (Some(name), None),
        None => (None, Some(one.raft_id)),
    }
}

/// So many times `detect`, and a voter that is down has been so for long.
pub const LONG_DOWN: u32 = 10;

/// Since when servers are down, as their leader has seen it. A new leader counts anew: a vote that
/// moves later harms less than one that moves for a short restart.
#[derive(Clone, Debug, Default)]
pub struct Absences(BTreeMap<RaftId, Timestamp>);

impl Absences {
    /// Notes who is down now.
    pub fn note(&mut self, down: &BTreeSet<RaftId>, now: Timestamp) {
        self.0.retain(|id, _| down.contains(id));
        for id in down {
            self.0.entry(*id).or_insert(now);
        }
    }

    /// Whether it has been down for as long as `patience`.
    #[must_use]
    pub fn long(&self, id: RaftId, now: Timestamp, patience: std::time::Duration) -> bool {
        self.0.get(&id).is_some_and(|since| now >= *since + patience)
    }
}

#[cfg(test)]
mod tests;
