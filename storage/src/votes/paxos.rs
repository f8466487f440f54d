//! The register in the voting files, as Disk Paxos (Gafni and Lamport): no server talks to another,
//! each writes its own block in every file and reads the others' (R14, R18).
//!
//! A register is a row of decisions, one for each *version*. For the next version each proposer runs
//!
//! ```text
//! look     read all blocks; a majority of the files answers: the newest decided version, and
//!          whether somebody has already put something forward for the next one
//! prepare  write the own block with a higher ballot, read all others; anybody higher: begin again
//! accept   write the own block with the value (the one put forward with the highest ballot that was
//!          read, else the own), read all others; anybody higher: begin again
//! tell     write the own block with the decided value, for readers
//! ```
//!
//! each over a majority of the files. A value that a crashed proposer left half-way is finished by
//! whoever comes next, reader or proposer. What was decided stays: a block names the last decided
//! version, and speaks of the next one only.
//!
//! [`Round`] is one operation as a machine: no I/O, no clock, no randomness.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Blocks in a voting file: as many servers may take part.
pub const SLOTS: u32 = 64;

/// A value that was put forward. The nonce tells equal values of two proposers apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal<V> {
    /// Whose: the slot of the proposer.
    pub by: u32,
    /// Any number that the proposer has not used before.
    pub nonce: u64,
    /// What.
    pub value: V,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided<V> {
    /// The how-manieth decision, from 1.
    pub version: u64,
    /// What.
    pub proposal: Proposal<V>,
}

/// One server's block in one file: what it knows to be decided, and its part in the next version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block<V> {
    /// The newest decided version that it knows.
    pub decided: Option<Decided<V>>,
    /// The ballot it takes part in, for the version after `decided`; 0 for none.
    pub ballot: u64,
    /// The ballot in which it put `value` forward; 0 for never.
    pub accepted: u64,
    /// What it put forward.
    pub value: Option<Proposal<V>>,
}

impl<V> Default for Block<V> {
    fn default() -> Self {
        Self { decided: None, ballot: 0, accepted: 0, value: None }
    }
}

impl<V> Block<V> {
    /// The version that this block takes part in.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.decided.as_ref().map_or(0, |decided| decided.version) + 1
    }

    fn age(&self) -> (u64, u64, u64) {
        (self.version(), self.ballot, self.accepted)
    }
}

/// All blocks of one file, by slot. Never written ones are left out.
pub type Blocks<V> = BTreeMap<u32, Block<V>>;

/// What an operation wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task<V> {
    /// The value.
    Read,
    /// `to` in the place of `from`.
    Swap {
        /// What is expected to be there.
        from: Option<V>,
        /// What shall be there.
        to: V,
        /// See [`Proposal::nonce`].
        nonce: u64,
    },
}

/// What the driver should do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<V> {
    /// On this file: write the own block if there is one to write, durably; then read all blocks.
    Access {
        /// Which file.
        file: usize,
        /// Names the step, for the answer.
        step: u64,
        /// The own block.
        write: Option<Block<V>>,
    },
    /// Somebody else is at it: wait a random little time, longer for a higher attempt, then say
    /// [`Event::Again`].
    Wait {
        /// The how-manieth time, from 1.
        attempt: u32,
    },
    /// The operation is over.
    Done(Outcome<V>),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<V> {
    /// A file was written and read.
    Answered {
        /// Which file.
        file: usize,
        /// Which step.
        step: u64,
        /// What was read.
        blocks: Blocks<V>,
    },
    /// It was not, or that is not known.
    Failed {
        /// Which file.
        file: usize,
        /// Which step.
        step: u64,
    },
    /// The wait is over.
    Again,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<V> {
    /// Read, or not swapped because this was there instead.
    Is(Option<Decided<V>>),
    /// Swapped: this version is the proposer's.
    Swapped(Decided<V>),
    /// The own value was put forward, and a later version is decided already: whether it was there in
    /// between is not known. Read it.
    Unclear,
    /// No majority of the files answered. After a swap nothing is known: read it.
    NoMajority,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Look,
    Prepare,
    Accept,
    Tell,
    Waiting,
    Over,
}

/// One operation of one server on the register.
#[derive(Clone, Debug)]
pub struct Round<V> {
    slot: u32,
    files: usize,
    need: usize,
    task: Task<V>,
    own: Block<V>,
    phase: Phase,
    step: u64,
    attempt: u32,
    highest: u64,
    /// The version for which the own value was put forward, until that version's outcome is known.
    hopes: Option<u64>,
    answers: BTreeMap<usize, Blocks<V>>,
    failed: BTreeSet<usize>,
}

impl<V: Clone + PartialEq> Round<V> {
    /// An operation over so many files.
    #[must_use]
    pub fn new(slot: u32, files: usize, task: Task<V>) -> Self {
        Self {
            slot,
            files,
            need: files / 2 + 1,
            task,
            own: Block::default(),
            phase: Phase::Over,
            step: 0,
            attempt: 0,
            highest: 0,
            hopes: None,
            answers: BTreeMap::new(),
            failed: BTreeSet::new(),
        }
    }

    /// The first actions.
    pub fn start(&mut self) -> Vec<Action<V>> {
        if self.files == 0 {
            return self.done(Outcome::NoMajority);
        }
        self.enter(Phase::Look)
    }

    /// The next actions.
    pub fn on(&mut self, event: Event<V>) -> Vec<Action<V>> {
        match event {
            Event::Again if self.phase == Phase::Waiting => self.enter(Phase::Look),
            Event::Answered { file, step, blocks } if self.current(step) => self.answered(file, blocks),
            Event::Failed { file, step } if self.current(step) => {
                self.failed.insert(file);
                self.settle()
            }
            Event::Again | Event::Answered { .. } | Event::Failed { .. } => Vec::new(),
        }
    }

    fn current(&self, step: u64) -> bool {
        step == self.step && !matches!(self.phase, Phase::Over | Phase::Waiting)
    }

    fn enter(&mut self, phase: Phase) -> Vec<Action<V>> {
        self.phase = phase;
        self.step += 1;
        self.answers.clear();
        self.failed.clear();
        let write = (phase != Phase::Look).then(|| self.own.clone());
        let access = |file| Action::Access { file, step: self.step, write: write.clone() };
        (0..self.files).map(access).collect()
    }

    fn done(&mut self, outcome: Outcome<V>) -> Vec<Action<V>> {
        self.phase = Phase::Over;
        vec![Action::Done(outcome)]
    }

    fn answered(&mut self, file: usize, blocks: Blocks<V>) -> Vec<Action<V>> {
        if matches!(self.phase, Phase::Prepare | Phase::Accept) {
            let others = blocks.iter().filter(|(slot, _)| **slot != self.slot).map(|(_, block)| block);
            let mut overtaken = false;
            for other in others {
                overtaken |= other.version() > self.own.version()
                    || other.version() == self.own.version() && other.ballot > self.own.ballot;
            }
            if overtaken {
                self.phase = Phase::Waiting;
                self.attempt += 1;
                return vec![Action::Wait { attempt: self.attempt }];
            }
        }
        self.answers.insert(file, blocks);
        self.settle()
    }

    /// Goes on when a majority has answered, or cannot any more.
    fn settle(&mut self) -> Vec<Action<V>> {
        let hopeless = self.files - self.failed.len() < self.need;
        if self.answers.len() < self.need && !hopeless {
            return Vec::new();
        }
        match self.phase {
            // What was decided is decided, whether or not it could be told.
            Phase::Tell => self.told(),
            _ if hopeless => self.done(Outcome::NoMajority),
            Phase::Look => self.looked(),
            Phase::Prepare => self.prepared(),
            Phase::Accept => {
                let Some(proposal) = self.own.value.clone() else { return self.done(Outcome::NoMajority) };
                let decided = Decided { version: self.own.version(), proposal };
                self.own = Block { decided: Some(decided), ..Block::default() };
                self.enter(Phase::Tell)
            }
            Phase::Waiting | Phase::Over => Vec::new(),
        }
    }

    fn looked(&mut self) -> Vec<Action<V>> {
        // A block that reached only some of the files before a crash: the newest one counts.
        for block in self.answers.values().filter_map(|blocks| blocks.get(&self.slot)) {
            if block.age() > self.own.age() {
                self.own = block.clone();
            }
        }
        let all = || self.answers.values().flat_map(BTreeMap::values);
        let newest = all().max_by_key(|block| block.version());
        if let Some(newest) = newest.filter(|block| block.version() > self.own.version()) {
            self.own = Block { decided: newest.decided.clone(), ..Block::default() };
        }
        let version = self.own.version();
        let here = || all().filter(|block| block.version() == version).chain([&self.own]);
        let pending = here().any(|block| block.accepted > 0);
        self.highest = here().map(|block| block.ballot.max(block.accepted)).max().unwrap_or(0);
        let decided = self.own.decided.clone();
        if let Some(decided) = decided.clone().filter(|decided| self.is_mine(&decided.proposal)) {
            return self.done(Outcome::Swapped(decided));
        }
        if self.hopes.is_some_and(|hoped| hoped < version - 1) {
            return self.done(Outcome::Unclear);
        }
        if self.hopes == Some(version - 1) {
            self.hopes = None; // that version is somebody else's
        }
        if !pending && self.wish().is_none() {
            return self.done(Outcome::Is(decided));
        }
        let slots = u64::from(SLOTS);
        self.own.ballot = (self.highest / slots + 1) * slots + u64::from(self.slot);
        self.enter(Phase::Prepare)
    }

    fn prepared(&mut self) -> Vec<Action<V>> {
        let version = self.own.version();
        let read = self.answers.values().flat_map(BTreeMap::iter);
        let others = read.filter(|(slot, _)| **slot != self.slot).map(|(_, block)| block);
        let put_forward = others
            .filter(|block| block.version() == version)
            .chain([&self.own])
            .filter(|block| block.accepted > 0)
            .max_by_key(|block| block.accepted)
            .and_then(|block| block.value.clone());
        let Some(value) = put_forward.or_else(|| self.wish()) else {
            // What was pending reached no majority, and nothing of it was found now.
            return self.done(Outcome::Is(self.own.decided.clone()));
        };
        if self.is_mine(&value) {
            self.hopes = Some(version);
        }
        self.own.accepted = self.own.ballot;
        self.own.value = Some(value);
        self.enter(Phase::Accept)
    }

    fn told(&mut self) -> Vec<Action<V>> {
        let Some(decided) = self.own.decided.clone() else { return self.done(Outcome::NoMajority) };
        match &self.task {
            Task::Read => self.done(Outcome::Is(Some(decided))),
            Task::Swap { .. } if self.is_mine(&decided.proposal) => self.done(Outcome::Swapped(decided)),
            // Somebody else's was finished; now see whether the own one still fits.
            Task::Swap { .. } => self.enter(Phase::Look),
        }
    }

    fn is_mine(&self, proposal: &Proposal<V>) -> bool {
        matches!(&self.task, Task::Swap { to, nonce, .. }
            if proposal.by == self.slot && proposal.nonce == *nonce && proposal.value == *to)
    }

    /// The own proposal, if what is decided is what it wants to replace.
    fn wish(&self) -> Option<Proposal<V>> {
        let Task::Swap { from, to, nonce } = &self.task else { return None };
        let now = self.own.decided.as_ref().map(|decided| &decided.proposal.value);
        (now == from.as_ref()).then(|| Proposal { by: self.slot, nonce: *nonce, value: to.clone() })
    }
}

#[cfg(test)]
mod tests;
