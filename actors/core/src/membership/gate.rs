//! Who may speak for the cluster: the standing that every call of Raft carries, and the hold of a
//! server that may be behind (R15, R24).
//!
//! ```text
//!  free <----------------------------------------------- on hold
//!    |   the log follows to a higher number, and it        ^ ^
//!    |   votes again; or every other voter of its last     | |
//!    |   membership is heard, and none knows of more       | |
//!    +--- somebody has committed a higher number ----------+ |
//!  start: two vote, and a tie-break is configured -----------+
//! ```
//!
//! On hold it stands for no election, sends no call of Raft, and votes for nobody that knows no
//! more than itself: the other one may have gone on alone, and what is left is to listen.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::RaftId;

/// What a server says of its own log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Who.
    pub me: RaftId,
    /// The number of its last membership entry, committed or not; zero before the first.
    pub number: u64,
    /// The number of the last one that it knows to be committed.
    pub committed: u64,
}

/// The calls of Raft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Entries, or a sign of life, or a snapshot: from one who leads.
    Append,
    /// A vote, or the question whether there would be one, or leadership handed over.
    Vote,
}

/// Why a call of Raft is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// The caller lacks a committed change of members: it can lead nobody.
    #[error("the caller's log is older than membership {committed}, which is committed")]
    Stale {
        /// The number of that change.
        committed: u64,
    },
    /// This server may itself be behind.
    #[error("this server is on hold: the other one may have gone on alone")]
    OnHold,
    /// This server is the only voter: whoever else leads, leads another cluster.
    #[error("two servers have gone on alone: this one takes no entries from the other")]
    Split,
}

/// One server's gate.
#[derive(Clone, Debug)]
pub struct Gate {
    own: Standing,
    voters: BTreeSet<RaftId>,
    /// On hold since its log had this number.
    hold: Option<u64>,
    /// While on hold: the voters that were heard and know of nothing more.
    heard: BTreeSet<RaftId>,
    /// While on hold: one who leads has spoken, so votes may be given again.
    told: bool,
}

impl Gate {
    /// A server whose log was not read yet.
    #[must_use]
    pub fn new(me: RaftId) -> Self {
        let own = Standing { me, ..Standing::default() };
        Self { own, voters: BTreeSet::new(), hold: None, heard: BTreeSet::new(), told: false }
    }

    /// What this server says of itself.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.own
    }

    /// Whether it only listens.
    #[must_use]
    pub fn on_hold(&self) -> bool {
        self.hold.is_some()
    }

    /// From now on it only listens, until its log or the others say more.
    pub fn hold(&mut self) {
        if self.hold.is_none() {
            (self.hold, self.told) = (Some(self.own.number), false);
            self.heard.clear();
        }
    }

    /// The record says that it may take part: it is in every quorum that there can be.
    pub fn lift(&mut self) {
        self.hold = None;
    }

    /// The last membership in its own log.
    pub fn log(&mut self, number: u64, committed: u64, voters: BTreeSet<RaftId>) {
        if number != self.own.number {
            self.heard.clear();
        }
        self.own = Standing { number, committed, ..self.own };
        self.voters = voters;
        if self.hold.is_some_and(|since| number > since) && self.voters.contains(&self.own.me) {
            self.hold = None;
        }
    }

    /// Another server has said what its log has.
    pub fn heard(&mut self, other: Standing) {
        if other.me == self.own.me || self.own.number == 0 {
            return; // one that never was a member cannot be behind
        }
        if other.committed > self.own.number {
            self.hold();
        } else if self.hold.is_some() && other.number > 0 && other.number <= self.own.number {
            self.heard.insert(other.me);
            let all = self.voters.iter().all(|voter| *voter == self.own.me || self.heard.contains(voter));
            if all && self.voters.contains(&self.own.me) {
                self.hold = None;
            }
        }
    }

    /// Whether a call is answered.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&mut self, call: Call, from: Standing) -> Result<(), Refused> {
        let alone = self.voters.len() == 1 && self.voters.contains(&self.own.me);
        if alone && call == Call::Append {
            return Err(Refused::Split);
        }
        if from.number < self.own.committed {
            return Err(Refused::Stale { committed: self.own.committed });
        }
        self.heard(from);
        match call {
            Call::Append => self.told = true,
            Call::Vote if self.hold.is_some() && !self.told && from.number <= self.own.number => {
                return Err(Refused::OnHold);
            }
            Call::Vote => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: RaftId = RaftId(1);
    const B: RaftId = RaftId(2);
    const C: RaftId = RaftId(3);

    fn says(me: RaftId, number: u64, committed: u64) -> Standing {
        Standing { me, number, committed }
    }

    fn gate(me: RaftId, number: u64, voters: &[RaftId]) -> Gate {
        let mut gate = Gate::new(me);
        gate.log(number, number, voters.iter().copied().collect());
        gate
    }

    #[test]
    fn r24_one_that_lacks_a_committed_change_leads_nobody() {
        let mut a = gate(A, 4, &[A, C]);
        assert_eq!(a.admit(Call::Vote, says(B, 3, 3)), Err(Refused::Stale { committed: 4 }));
        assert_eq!(a.admit(Call::Append, says(B, 3, 3)), Err(Refused::Stale { committed: 4 }));
        assert_eq!(a.admit(Call::Append, says(C, 4, 4)), Ok(()));
    }

    #[test]
    fn an_uncommitted_change_refuses_nobody() {
        // The leader of five that wrote it is gone, and the others have elected without it.
        let mut a = Gate::new(A);
        a.log(4, 3, BTreeSet::from([A, B, C]));
        assert_eq!(a.admit(Call::Append, says(B, 3, 3)), Ok(()));
        assert!(!a.on_hold());
    }

    #[test]
    fn r15_one_that_hears_of_a_committed_number_above_its_own_only_listens() {
        let mut b = gate(B, 3, &[A, B]);
        b.heard(says(A, 4, 3));
        assert!(!b.on_hold(), "what is not committed says nothing");
        b.heard(says(A, 4, 4));
        assert!(b.on_hold());
        assert_eq!(b.admit(Call::Vote, says(C, 3, 3)), Err(Refused::OnHold));
        assert_eq!(b.admit(Call::Append, says(A, 4, 4)), Ok(()));
        assert_eq!(b.admit(Call::Vote, says(A, 4, 4)), Ok(()), "it votes again once it is led");
        b.log(4, 4, BTreeSet::from([A]));
        assert!(b.on_hold(), "a learner is still not asked");
        b.log(5, 4, BTreeSet::from([A, B]));
        assert!(!b.on_hold());
    }

    #[test]
    fn r15_a_server_that_starts_as_one_of_two_waits_until_the_other_is_heard() {
        let mut a = gate(A, 3, &[A, B]);
        a.hold();
        a.heard(says(C, 3, 3));
        assert!(a.on_hold(), "one that does not vote has nothing to say");
        a.heard(says(B, 0, 0));
        assert!(a.on_hold(), "an empty log has nothing to say either");
        a.heard(says(B, 3, 3));
        assert!(!a.on_hold());
    }

    #[test]
    fn of_three_all_must_be_heard() {
        let mut a = gate(A, 3, &[A, B, C]);
        a.hold();
        a.heard(says(B, 3, 3));
        assert!(a.on_hold());
        a.heard(says(C, 2, 2));
        assert!(!a.on_hold());
    }

    #[test]
    fn the_only_voter_takes_nothing_from_anybody() {
        let mut a = gate(A, 4, &[A]);
        assert_eq!(a.admit(Call::Append, says(B, 4, 4)), Err(Refused::Split));
        assert_eq!(a.admit(Call::Append, says(B, 9, 9)), Err(Refused::Split));
    }

    #[test]
    fn a_new_store_is_never_behind() {
        let mut c = Gate::new(C);
        assert_eq!(c.admit(Call::Append, says(A, 7, 7)), Ok(()));
        assert!(!c.on_hold());
    }
}
