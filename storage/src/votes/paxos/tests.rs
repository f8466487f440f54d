//! The register under random interleavings: two or three proposers, one or three files, writes and
//! reads of single blocks in any order, failures, time-outs whose write lands later, dead files,
//! crashes between any two steps.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, VecDeque};

use super::*;

/// A small random generator: the seed is the whole story.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(sides).unwrap()).unwrap()
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }
}

/// What is wrong on purpose.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// One file of three is enough.
    NoMajority,
    /// The blocks are read before the own one is written.
    ReadFirst,
}

/// An access under way, one small step after the other.
struct Access {
    /// Of which operation: what comes back after its end is nobody's.
    operation: u64,
    step: u64,
    write: Option<Block<u64>>,
    written: bool,
    read: Blocks<u64>,
    next: u32,
    abandoned: bool,
}

struct Operation {
    id: u64,
    round: Round<u64>,
    task: Task<u64>,
    floor: u64,
    waits: bool,
}

#[derive(Default)]
struct Proposer {
    operation: Option<Operation>,
    files: BTreeMap<usize, VecDeque<Access>>,
    known: Option<u64>,
}

struct World {
    dice: Dice,
    fault: Fault,
    disks: Vec<Blocks<u64>>,
    dead: Option<usize>,
    proposers: Vec<Proposer>,
    nonce: u64,
    begun: u64,
    decided: BTreeMap<u64, Proposal<u64>>,
    lost: Vec<(u32, u64)>,
    newest: u64,
    swapped: usize,
}

impl World {
    fn new(seed: u64, fault: Fault) -> Self {
        let mut dice = Dice(seed);
        let files = [1, 3, 3][dice.roll(3)];
        let files = if fault == Fault::None { files } else { 3 };
        let dead = (files == 3 && dice.one_in(3)).then(|| dice.roll(3));
        let proposers = (0..2 + dice.roll(2)).map(|_| Proposer::default()).collect();
        let disks = vec![Blocks::new(); files];
        let (decided, lost) = (BTreeMap::new(), Vec::new());
        Self { dice, fault, disks, dead, proposers, nonce: 0, begun: 0, decided, lost, newest: 0, swapped: 0 }
    }

    fn begin(&mut self, who: usize) -> Result<(), String> {
        let task = if self.dice.one_in(3) {
            Task::Read
        } else {
            self.nonce += 1;
            Task::Swap { from: self.proposers[who].known, to: self.nonce * 10, nonce: self.nonce }
        };
        self.run(who, task)
    }

    fn run(&mut self, who: usize, task: Task<u64>) -> Result<(), String> {
        let mut round = Round::new(slot(who), self.disks.len(), task.clone());
        if self.fault == Fault::NoMajority {
            round.need = 1;
        }
        let actions = round.start();
        self.begun += 1;
        let (id, floor) = (self.begun, self.newest);
        self.proposers[who].operation = Some(Operation { id, round, task, floor, waits: false });
        self.perform(who, actions)
    }

    fn tell(&mut self, who: usize, event: Event<u64>) -> Result<(), String> {
        let Some(operation) = &mut self.proposers[who].operation else { return Ok(()) };
        let actions = operation.round.on(event);
        self.perform(who, actions)
    }

    fn perform(&mut self, who: usize, actions: Vec<Action<u64>>) -> Result<(), String> {
        let operation = self.proposers[who].operation.as_ref().map_or(0, |operation| operation.id);
        for action in actions {
            match action {
                Action::Access { file, step, write } => {
                    let queue = self.proposers[who].files.entry(file).or_default();
                    let stuck = queue.iter().any(|access| access.abandoned);
                    if stuck || self.dead == Some(file) {
                        self.tell(who, Event::Failed { file, step })?;
                        continue;
                    }
                    let (read, written) = (Blocks::new(), write.is_none());
                    let (next, abandoned) = (0, false);
                    queue.push_back(Access { operation, step, write, written, read, next, abandoned });
                }
                Action::Wait { .. } => {
                    if let Some(operation) = &mut self.proposers[who].operation {
                        operation.waits = true;
                    }
                }
                Action::Done(outcome) => self.judge(who, outcome)?,
            }
        }
        Ok(())
    }

    /// The properties, at the end of each operation.
    fn judge(&mut self, who: usize, outcome: Outcome<u64>) -> Result<(), String> {
        let Some(operation) = self.proposers[who].operation.take() else { return Ok(()) };
        let known = match &outcome {
            Outcome::NoMajority | Outcome::Unclear => return Ok(()),
            Outcome::Is(decided) => decided.clone(),
            Outcome::Swapped(decided) => Some(decided.clone()),
        };
        let version = known.as_ref().map_or(0, |decided| decided.version);
        if version < operation.floor {
            return Err(format!("version {version} after {} was known", operation.floor));
        }
        if let Some(decided) = &known {
            let first = self.decided.entry(version).or_insert_with(|| decided.proposal.clone());
            if *first != decided.proposal {
                return Err(format!("two winners of {version}: {first:?}, {:?}", decided.proposal));
            }
            self.newest = self.newest.max(version);
        }
        match (&operation.task, &outcome) {
            (Task::Swap { from, .. }, Outcome::Swapped(_)) => {
                self.swapped += 1;
                let before = self.decided.get(&(version - 1)).map(|proposal| proposal.value);
                if version > 1 && before.is_some() && before != *from || version == 1 && from.is_some() {
                    return Err(format!("swapped {before:?}, expected {from:?}"));
                }
            }
            (Task::Swap { from, nonce, .. }, Outcome::Is(_)) => {
                if known.as_ref().map(|decided| decided.proposal.value) == *from {
                    return Err("refused though it was as expected".into());
                }
                self.lost.push((slot(who), *nonce));
            }
            _ => {}
        }
        self.proposers[who].known = known.map(|decided| decided.proposal.value);
        Ok(())
    }

    fn crash(&mut self, who: usize) {
        let files = std::mem::take(&mut self.proposers[who].files);
        for (file, queue) in files {
            // What is under way may still reach the disk, or not; what waits does not.
            if let Some(access) = queue.into_iter().next()
                && let Some(write) = access.write.filter(|_| !access.written && self.dice.one_in(2))
            {
                self.disks[file].insert(slot(who), write);
            }
        }
        self.proposers[who] = Proposer::default();
    }

    fn step(&mut self, calm: bool) -> Result<(), String> {
        let who = self.dice.roll(self.proposers.len());
        if !calm && self.dice.one_in(150) {
            self.crash(who);
            return Ok(());
        }
        if self.proposers[who].operation.as_ref().is_some_and(|operation| operation.waits)
            && self.dice.one_in(12)
        {
            if let Some(operation) = &mut self.proposers[who].operation {
                operation.waits = false;
            }
            return self.tell(who, Event::Again);
        }
        if self.proposers[who].operation.is_none() && !calm {
            return self.begin(who);
        }
        let busy: Vec<usize> = self.proposers[who]
            .files
            .iter()
            .filter(|(_, queue)| !queue.is_empty())
            .map(|(f, _)| *f)
            .collect();
        if busy.is_empty() {
            return Ok(());
        }
        let file = busy[self.dice.roll(busy.len())];
        let trouble = !calm && self.dice.one_in(60);
        let servers = u32::try_from(self.proposers.len()).unwrap();
        let proposer = &mut self.proposers[who];
        let now = proposer.operation.as_ref().map(|operation| operation.id);
        let Some(access) = proposer.files.get_mut(&file).and_then(VecDeque::front_mut) else {
            return Ok(());
        };
        let (step, current) = (access.step, now == Some(access.operation));
        if trouble && !access.abandoned {
            if self.dice.one_in(2) {
                access.abandoned = true; // a time-out: it goes on by itself
            } else {
                self.proposers[who].files.entry(file).or_default().pop_front();
            }
            return if current { self.tell(who, Event::Failed { file, step }) } else { Ok(()) };
        }
        let reads = access.next < servers;
        if !access.written && (self.fault != Fault::ReadFirst || !reads) {
            access.written = true;
            if let Some(write) = &access.write {
                self.disks[file].insert(slot(who), write.clone());
            }
            return Ok(());
        }
        if reads {
            access.next += 1;
            if let Some(block) = self.disks[file].get(&access.next) {
                access.read.insert(access.next, block.clone());
            }
            return Ok(());
        }
        let queue = self.proposers[who].files.entry(file).or_default();
        let Some(access) = queue.pop_front() else { return Ok(()) };
        if access.abandoned || !current {
            return Ok(());
        }
        self.tell(who, Event::Answered { file, step, blocks: access.read })
    }

    fn story(seed: u64, fault: Fault) -> Result<usize, String> {
        let mut world = Self::new(seed, fault);
        for _ in 0..600 {
            world.step(false)?;
        }
        // The faults end; one of the proposers finds out what holds.
        for who in 0..world.proposers.len() {
            world.crash(who);
        }
        let floor = world.newest;
        world.run(0, Task::Read)?;
        for _ in 0..20_000 {
            if world.proposers[0].operation.is_none() {
                break;
            }
            world.step(true)?;
        }
        if world.proposers[0].operation.is_some() {
            return Err("the last reading does not end".into());
        }
        if world.newest < floor {
            return Err(format!("{floor} was known, {} is read", world.newest));
        }
        for (by, nonce) in &world.lost {
            if world.decided.values().any(|proposal| (proposal.by, proposal.nonce) == (*by, *nonce)) {
                return Err(format!("{nonce} of {by} was refused and decided"));
            }
        }
        Ok(world.swapped)
    }
}

fn slot(who: usize) -> u32 {
    u32::try_from(who).unwrap() + 1
}

#[test]
fn r14_r18_no_interleaving_makes_two_winners_or_loses_what_was_read() {
    let mut swapped = 0;
    for seed in 0..6_000 {
        swapped += World::story(seed, Fault::None).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
    assert!(swapped > 6_000, "too little happens: {swapped} swaps");
}

#[test]
fn r18_one_file_of_three_is_not_enough_and_the_order_of_writing_and_reading_matters() {
    for fault in [Fault::NoMajority, Fault::ReadFirst] {
        let found = (0..6_000).find(|seed| World::story(*seed, fault).is_err());
        assert!(found.is_some(), "the planted fault goes unnoticed");
    }
}

/// Runs a round against files that answer at once, in order; `refuse` never answers.
fn alone(disks: &mut [Blocks<u64>], slot: u32, task: Task<u64>, refuse: &[usize]) -> Outcome<u64> {
    let mut round = Round::new(slot, disks.len(), task);
    let mut actions: VecDeque<_> = round.start().into();
    while let Some(action) = actions.pop_front() {
        match action {
            Action::Done(outcome) => return outcome,
            Action::Wait { .. } => actions.extend(round.on(Event::Again)),
            Action::Access { file, step, .. } if refuse.contains(&file) => {
                actions.extend(round.on(Event::Failed { file, step }));
            }
            Action::Access { file, step, write } => {
                if let Some(block) = write {
                    disks[file].insert(slot, block);
                }
                let blocks = disks[file].clone();
                actions.extend(round.on(Event::Answered { file, step, blocks }));
            }
        }
    }
    panic!("the round stands still")
}

fn swap(from: Option<u64>, to: u64) -> Task<u64> {
    Task::Swap { from, to, nonce: to }
}

#[test]
fn r14_of_two_swaps_from_the_same_value_the_first_wins() {
    let mut disks = vec![Blocks::new(); 3];
    assert_eq!(alone(&mut disks, 1, Task::Read, &[]), Outcome::Is(None));
    assert!(matches!(alone(&mut disks, 1, swap(None, 7), &[]), Outcome::Swapped(_)));
    let Outcome::Is(Some(decided)) = alone(&mut disks, 2, swap(None, 8), &[]) else { panic!() };
    assert_eq!((decided.version, decided.proposal.value), (1, 7));
    assert!(matches!(alone(&mut disks, 2, swap(Some(7), 8), &[2]), Outcome::Swapped(_)));
    // Whoever reads another majority finds it.
    let Outcome::Is(Some(decided)) = alone(&mut disks, 1, Task::Read, &[0]) else { panic!() };
    assert_eq!((decided.version, decided.proposal.value), (2, 8));
}

#[test]
fn a_minority_of_the_files_decides_nothing() {
    let mut disks = vec![Blocks::new(); 3];
    assert_eq!(alone(&mut disks, 1, swap(None, 7), &[0, 1]), Outcome::NoMajority);
    assert_eq!(alone(&mut disks, 1, Task::Read, &[1, 2]), Outcome::NoMajority);
    assert_eq!(alone(&mut Vec::new(), 1, Task::Read, &[]), Outcome::NoMajority);
}

#[test]
fn r16_what_a_crashed_proposer_put_forward_is_finished_by_the_next_reader() {
    let mut disks = vec![Blocks::new(); 3];
    let proposal = Proposal { by: 1, nonce: 7, value: 7 };
    let block = Block { decided: None, ballot: 65, accepted: 65, value: Some(proposal) };
    disks[0].insert(1, block);
    let Outcome::Is(Some(decided)) = alone(&mut disks, 2, Task::Read, &[2]) else { panic!() };
    assert_eq!(decided.proposal.value, 7);
    // And its proposer learns that it won.
    assert!(matches!(alone(&mut disks, 1, swap(None, 7), &[0]), Outcome::Swapped(_)));
}
