//! The tie-break of two in a small model of Raft: three servers, of which any may vote, the record,
//! swaps that arrive late or never, crashes, cuts, claims at any moment, and leaders that change the
//! voters as they like. The decisions are the real ones: `claim`, `roster`, `gate`, `alone`.
//!
//! Always: what is committed is never undone (R14 to R17, R19). `PROPTEST_CASES=100000` looks longer.
//! With one of the rules taken out, the same walk finds the loss.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::*, strategy::ValueTree};
use tasuki_core::{
    ids::{Lineage, RaftId},
    membership::{
        alone::{in_every_quorum, other_of_two},
        fencing::may_break_tie,
        gate::{Call, Gate, Standing},
        roster::{Found, Input, Step as Roster, next_step},
        tie_break::{Mode, OwnLog, Record, claim},
    },
    registry::fencing::TieBreakNote,
};

type Ids = BTreeSet<RaftId>;

#[derive(Clone, Debug, PartialEq)]
enum What {
    Data(u32),
    Members(Vec<Ids>, u64),
    Note(Record, bool),
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    term: u64,
    what: What,
}

/// A rule that is taken out.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// R16: without the freeze, entries of the old leader are still acknowledged.
    NoFreeze,
    /// R15: the voters change without a look at the record.
    ChangeAtOnce,
    /// R15: any leader changes a record that names another one.
    AnyoneChanges,
    /// R19: a fence also for one that has exchanged nothing since it started.
    ColdFence,
    /// R19: one that orders a fence goes on exchanging entries with its target.
    FenceWhileTalking,
}

#[derive(Clone, Debug)]
struct Server {
    me: RaftId,
    up: bool,
    life: u32,
    term: u64,
    leads: bool,
    log: Vec<Entry>,
    commit: usize,
    matched: BTreeMap<RaftId, usize>,
    gate: Gate,
    reading: Option<(Found, u64)>,
    /// A record to write once the note at this index is committed.
    write: Option<(usize, Option<Record>, Record)>,
    /// It may go on alone from this number on.
    won: Option<u64>,
    replicated: Option<u64>,
}

/// A swap that is on its way.
#[derive(Clone, Debug)]
struct Swap {
    from: Option<Record>,
    to: Record,
    /// Whose claim it is, in which life.
    claim: Option<(usize, u32)>,
}

struct World {
    servers: Vec<Server>,
    record: Option<Record>,
    swaps: Vec<Swap>,
    cut: BTreeSet<(usize, usize)>,
    committed: Vec<Entry>,
    next: u32,
    has_record: bool,
    fault: Fault,
    claims: u32,
}

fn ids(set: u8) -> Ids {
    (0..3).filter(|n| set >> n & 1 == 1).map(|n| RaftId(n + 1)).collect()
}

fn quorum(configs: &[Ids], have: &Ids) -> bool {
    configs.iter().all(|set| set.intersection(have).count() * 2 > set.len())
}

fn lineage() -> Lineage {
    Lineage::from("one")
}

impl Server {
    fn new(n: usize) -> Self {
        let me = RaftId(n as u64 + 1);
        Self {
            me,
            up: n < 2,
            life: 0,
            term: 0,
            leads: false,
            log: Vec::new(),
            commit: 0,
            matched: BTreeMap::new(),
            gate: Gate::new(me),
            reading: None,
            write: None,
            won: None,
            replicated: None,
        }
    }

    /// Its last voters, their number, and where they stand in the log.
    fn members(&self) -> (Vec<Ids>, u64, usize) {
        for (at, entry) in self.log.iter().enumerate().rev() {
            if let What::Members(configs, number) = &entry.what {
                return (configs.clone(), *number, at + 1);
            }
        }
        (Vec::new(), 0, 0)
    }

    fn own(&self) -> OwnLog {
        let (configs, number, _) = self.members();
        OwnLog { lineage: lineage(), me: self.me, number, configs }
    }

    fn standing(&mut self) -> Standing {
        let (configs, number, at) = self.members();
        let known = self.gate.standing().committed;
        let committed = if self.commit >= at { number } else { known.min(number) };
        self.gate.log(number, committed, configs.into_iter().flatten().collect());
        self.gate.standing()
    }

    fn last(&self) -> (u64, usize) {
        (self.log.last().map_or(0, |entry| entry.term), self.log.len())
    }

    fn append(&mut self, what: What) {
        self.log.push(Entry { term: self.term, what });
    }

    fn note(&self) -> Option<TieBreakNote> {
        let mut note: Option<TieBreakNote> = None;
        for entry in &self.log[..self.commit] {
            if let What::Note(record, made) = &entry.what
                && note.as_ref().is_none_or(|known| known.record.number <= record.number)
            {
                let made = *made || note.is_some_and(|known| known.made);
                note = Some(TieBreakNote { record: record.clone(), made, place: "there".into() });
            }
        }
        note
    }

    fn steps_down(&mut self) {
        (self.leads, self.write, self.reading) = (false, None, None);
        self.matched.clear();
    }
}

impl World {
    fn new(has_record: bool, fault: Fault) -> Self {
        let mut servers: Vec<Server> = (0..3).map(Server::new).collect();
        let first = Entry { term: 1, what: What::Members(vec![ids(3)], 1) };
        let record = Record { lineage: lineage(), number: 1, mode: Mode::Pair(RaftId(1), RaftId(2)) };
        let note = Entry { term: 1, what: What::Note(record.clone(), true) };
        let log = if has_record { vec![first, note] } else { vec![first] };
        for server in &mut servers[..2] {
            (server.term, server.log, server.commit) = (1, log.clone(), log.len());
            server.replicated = Some(1);
        }
        servers[0].leads = true;
        Self {
            servers,
            record: has_record.then_some(record),
            swaps: Vec::new(),
            cut: BTreeSet::new(),
            committed: log,
            next: 0,
            has_record,
            fault,
            claims: 0,
        }
    }

    fn reaches(&self, a: usize, b: usize) -> bool {
        self.servers[a].up && self.servers[b].up && !self.cut.contains(&(a.min(b), a.max(b)))
    }

    /// Commits what a quorum has, and compares it with what was committed before.
    fn advance(&mut self, i: usize) -> Result<(), String> {
        let server = &mut self.servers[i];
        let (configs, ..) = server.members();
        for length in (server.commit + 1..=server.log.len()).rev() {
            let mut have: Ids =
                server.matched.iter().filter(|(_, len)| **len >= length).map(|(id, _)| *id).collect();
            have.insert(server.me);
            if server.log[length - 1].term == server.term && quorum(&configs, &have) {
                server.commit = length;
                break;
            }
        }
        let prefix = &server.log[..server.commit];
        let both = prefix.len().min(self.committed.len());
        if prefix[..both] != self.committed[..both] {
            return Err(format!(
                "{:?} commits {prefix:?}, but committed was {:?}",
                server.me, self.committed
            ));
        }
        if prefix.len() > both {
            self.committed = prefix.to_vec();
        }
        // What follows from a commit: the second half of a change, and a write that was announced.
        let (configs, number, at) = server.members();
        if server.leads && configs.len() > 1 && server.commit >= at {
            server.append(What::Members(vec![configs[1].clone()], number));
            return self.advance(i);
        }
        if let Some((at, from, to)) = server.write.clone()
            && server.leads
            && server.commit >= at
        {
            server.write = None;
            server.reading = None;
            if server.won.is_none() {
                self.swaps.push(Swap { from, to, claim: None });
            }
        }
        Ok(())
    }

    fn elect(&mut self, i: usize) -> Result<(), String> {
        let from = self.servers[i].standing();
        let (configs, ..) = self.servers[i].members();
        let votes = configs.iter().flatten().any(|id| *id == from.me);
        if !self.servers[i].up || self.servers[i].leads || self.servers[i].gate.on_hold() || !votes {
            return Ok(());
        }
        let (term, last) = (self.servers[i].term + 1, self.servers[i].last());
        let mut have = BTreeSet::from([from.me]);
        for j in (0..3).filter(|j| *j != i) {
            if !self.reaches(i, j) {
                continue;
            }
            let other = &mut self.servers[j];
            other.standing();
            if other.gate.admit(Call::Vote, from).is_ok() && other.term < term && last >= other.last() {
                other.term = term;
                other.steps_down();
                have.insert(other.me);
            }
        }
        let server = &mut self.servers[i];
        server.term = term;
        server.steps_down();
        if quorum(&configs, &have) {
            server.leads = true;
            server.append(What::Data(u32::MAX));
        }
        self.advance(i)
    }

    fn replicate(&mut self, i: usize, j: usize, acknowledged: bool) -> Result<(), String> {
        if i == j || !self.reaches(i, j) || !self.servers[i].leads {
            return Ok(());
        }
        let from = self.servers[i].standing();
        if self.servers[i].gate.on_hold() {
            return Ok(());
        }
        self.servers[j].standing();
        if self.servers[j].gate.admit(Call::Append, from).is_err() {
            return Ok(());
        }
        let (term, log, commit) = (self.servers[i].term, self.servers[i].log.clone(), self.servers[i].commit);
        let other = &mut self.servers[j];
        if other.term > term {
            let newer = other.term;
            if acknowledged {
                self.servers[i].term = newer;
                self.servers[i].steps_down();
            }
            return Ok(());
        }
        if other.term < term {
            other.steps_down();
        }
        (other.term, other.leads) = (term, false);
        if other.log[..other.commit] != log[..other.commit.min(log.len())] {
            return Err(format!("{:?} would undo what is committed", other.me));
        }
        let length = log.len();
        (other.log, other.commit) = (log, other.commit.max(commit));
        let (own, met) = (other.own(), other.commit);
        if other.members().2 <= met && own.configs.len() == 1 {
            other.replicated = Some(own.number);
        }
        if acknowledged {
            let id = other.me;
            self.servers[i].matched.insert(id, length);
            self.advance(i)?;
            let server = &mut self.servers[i];
            let own = server.own();
            if server.members().2 <= server.commit && own.configs.iter().flatten().any(|v| *v == id) {
                server.replicated = Some(own.number);
            }
        }
        Ok(())
    }

    /// The leader keeps voters and record in step.
    fn look(&mut self, i: usize, wanted: u8) -> Result<(), String> {
        let record = self.record.clone();
        let server = &mut self.servers[i];
        let settled = server.commit > 0 && server.log[server.commit - 1].term == server.term;
        if !server.up || !server.leads || !settled || server.write.is_some() {
            return Ok(());
        }
        let (configs, number, at) = server.members();
        let known = server.reading.clone().filter(|(_, term)| *term == server.term);
        let found = known.map_or(Found::NotRead, |(found, _)| found);
        let note = server.note();
        let input = Input {
            me: server.me,
            lineage: &lineage(),
            configs: &configs,
            number,
            committed: server.commit >= at,
            wanted: &ids(wanted),
            place: self.has_record.then_some("there"),
            found: &found,
            note: note.as_ref(),
        };
        let step = match (self.fault, &found) {
            (Fault::ChangeAtOnce, _) => next_step(&Input { place: None, note: None, ..input.clone() }),
            (Fault::AnyoneChanges, Found::Read(Some(Record { mode: Mode::Sole(owner), .. }))) => {
                next_step(&Input { me: *owner, ..input.clone() })
            }
            _ => next_step(&input),
        };
        match step {
            Ok(Some(Roster::Vote { voters, number })) => {
                let last = configs.last().cloned().unwrap_or_default();
                let sets = if voters == last { vec![voters] } else { vec![last, voters] };
                server.append(What::Members(sets, number));
            }
            Ok(Some(Roster::Read)) => server.reading = Some((Found::Read(record), server.term)),
            Ok(Some(Roster::Note { record, made })) => server.append(What::Note(record, made)),
            Ok(Some(Roster::Write { from, to })) => {
                server.append(What::Note(to.clone(), from.is_some()));
                server.write = Some((server.log.len(), from, to));
            }
            Ok(Some(Roster::HandOver(_)) | None) | Err(_) => {}
        }
        self.advance(i)
    }

    /// A claim at any moment: whether the other one is lost is nothing that safety may rest on.
    fn claim(&mut self, i: usize) {
        let record = self.record.clone();
        let server = &mut self.servers[i];
        if !server.up || server.won.is_some() || self.claims >= 4 {
            return;
        }
        let own = server.own();
        if other_of_two(&own).is_none() {
            return;
        }
        if let Ok(next) = claim(record.as_ref(), &own) {
            self.claims += 1;
            // As the members' actor sees it: what this leader read before counts for nothing.
            (server.reading, server.write) = (None, None);
            if record.as_ref() == Some(&next) {
                server.won = Some(next.number);
            } else {
                self.swaps.push(Swap { from: record, to: next, claim: Some((i, server.life)) });
            }
        }
    }

    /// The other one's power is cut: that breaks the tie.
    fn fence(&mut self, i: usize) {
        let own = self.servers[i].own();
        let Some(other) = other_of_two(&own) else { return };
        let server = &self.servers[i];
        let warm = server.replicated == Some(own.number) || self.fault == Fault::ColdFence;
        if self.has_record || !server.up || self.claims >= 4 || may_break_tie(&own, other, warm).is_err() {
            return;
        }
        self.claims += 1;
        if self.fault != Fault::FenceWhileTalking {
            self.servers[i].standing();
            self.servers[i].gate.hold();
            self.servers[i].steps_down();
        }
        self.crash(other.0 as usize - 1);
        self.servers[i].won = Some(own.number + 1);
    }

    fn deliver(&mut self, n: usize) {
        if self.swaps.is_empty() {
            return;
        }
        let swap = self.swaps.remove(n % self.swaps.len());
        if self.record != swap.from {
            return;
        }
        self.record = Some(swap.to.clone());
        if let Some((i, life)) = swap.claim
            && self.servers[i].up
            && self.servers[i].life == life
        {
            self.servers[i].won = Some(swap.to.number);
        }
    }

    fn go_on_alone(&mut self, i: usize) -> Result<(), String> {
        let freeze = self.fault != Fault::NoFreeze;
        let server = &mut self.servers[i];
        let Some(least) = server.won.take().filter(|_| server.up) else { return Ok(()) };
        let (configs, number, _) = server.members();
        server.standing(); // the gate as of now
        let heard_again = !self.has_record && (!server.gate.on_hold() || number + 1 != least);
        if !in_every_quorum(server.me, &configs) || heard_again && self.fault != Fault::FenceWhileTalking {
            return Ok(());
        }
        server.gate.lift();
        server.steps_down();
        if freeze {
            server.term += 2; // the frozen one, and the one in which it is elected
        }
        server.append(What::Members(vec![BTreeSet::from([server.me])], least.max(number + 1)));
        server.leads = true;
        self.advance(i)
    }

    fn crash(&mut self, i: usize) {
        let server = &mut self.servers[i];
        server.steps_down();
        (server.up, server.commit, server.won, server.replicated) = (false, 0, None, None);
        server.life += 1;
        server.gate = Gate::new(server.me);
    }

    fn boot(&mut self, i: usize) {
        let server = &mut self.servers[i];
        if server.up {
            return;
        }
        server.up = true;
        server.standing();
        if other_of_two(&server.own()).is_some() {
            server.gate.hold();
        }
    }

    fn take(&mut self, step: &Step) -> Result<(), String> {
        match *step {
            Step::Elect(i) => self.elect(i)?,
            Step::Propose(i) => {
                self.next += 1;
                let next = self.next;
                if self.servers[i].up && self.servers[i].leads {
                    self.servers[i].append(What::Data(next));
                    self.advance(i)?;
                }
            }
            Step::Replicate(i, j, acknowledged) => self.replicate(i, j, acknowledged)?,
            Step::Look(i, wanted) => self.look(i, wanted)?,
            Step::Beat(i, j) => {
                let from = self.servers[i].standing();
                if self.reaches(i, j) {
                    self.servers[j].standing();
                    self.servers[j].gate.heard(from);
                }
            }
            Step::Claim(i) => self.claim(i),
            Step::Fence(i) => self.fence(i),
            Step::Deliver(n) => self.deliver(n),
            Step::GoOn(i) => self.go_on_alone(i)?,
            Step::Crash(i) => self.crash(i),
            Step::Boot(i) => self.boot(i),
            Step::Cut(a, b) => {
                self.cut.insert((a.min(b), a.max(b)));
            }
            Step::Heal => self.cut.clear(),
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Step {
    Elect(usize),
    Propose(usize),
    Replicate(usize, usize, bool),
    Look(usize, u8),
    Beat(usize, usize),
    Claim(usize),
    Fence(usize),
    Deliver(usize),
    GoOn(usize),
    Crash(usize),
    Boot(usize),
    Cut(usize, usize),
    Heal,
}

fn step() -> impl Strategy<Value = Step> {
    let one = || 0..3_usize;
    // Mostly the two that vote at first, so that claims are not rare.
    let wanted =
        prop_oneof![4 => Just(3_u8), 1 => Just(1_u8), 1 => Just(2_u8), 1 => Just(7_u8), 1 => Just(5_u8)];
    prop_oneof![
        4 => one().prop_map(Step::Elect),
        3 => one().prop_map(Step::Propose),
        12 => (one(), one(), prop::bool::weighted(0.8)).prop_map(|(a, b, ack)| Step::Replicate(a, b, ack)),
        8 => (one(), wanted).prop_map(|(i, wanted)| Step::Look(i, wanted)),
        2 => (one(), one()).prop_map(|(a, b)| Step::Beat(a, b)),
        3 => (0..2_usize).prop_map(Step::Claim),
        2 => (0..2_usize).prop_map(Step::Fence),
        4 => (0..4_usize).prop_map(Step::Deliver),
        3 => one().prop_map(Step::GoOn),
        1 => one().prop_map(Step::Crash),
        3 => one().prop_map(Step::Boot),
        1 => (one(), one()).prop_map(|(a, b)| Step::Cut(a, b)),
        1 => Just(Step::Heal),
    ]
}

fn walk(steps: &[Step], has_record: bool, fault: Fault) -> Result<World, String> {
    let mut world = World::new(has_record, fault);
    for step in steps {
        world.take(step)?;
    }
    Ok(world)
}

fn longer() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases.max(2000), max_shrink_iters: 20_000, ..config }
}

proptest! {
    #![proptest_config(longer())]

    #[test]
    fn r14_with_a_record_nothing_committed_is_undone(steps in prop::collection::vec(step(), 20..160)) {
        walk(&steps, true, Fault::None).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn r19_with_a_fence_nothing_committed_is_undone(steps in prop::collection::vec(step(), 20..160)) {
        walk(&steps, false, Fault::None).map_err(TestCaseError::fail)?;
    }
}

/// How many walks it takes until the loss is seen.
fn walks_until_loss(has_record: bool, fault: Fault, most: u32) -> Option<u32> {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let steps = prop::collection::vec(step(), 20..160);
    (1..=most).find(|_| {
        let steps = steps.new_tree(&mut runner).unwrap().current();
        walk(&steps, has_record, fault).is_err()
    })
}

#[test]
#[ignore = "minutes: the loss is seen in one of some 26,000 walks; the quick removals below are in the gate"]
fn the_walk_sees_what_happens_when_anyone_changes_the_record() {
    let walks = walks_until_loss(true, Fault::AnyoneChanges, 60_000);
    println!("{walks:?} walks");
    assert!(walks.is_some());
}

#[test]
fn the_walk_sees_what_happens_without_a_rule() {
    for (fault, has_record) in [
        (Fault::NoFreeze, true),
        (Fault::ChangeAtOnce, true),
        (Fault::ColdFence, false),
        (Fault::FenceWhileTalking, false),
    ] {
        let walks = walks_until_loss(has_record, fault, 60_000);
        println!("{fault:?}: {walks:?} walks");
        assert!(walks.is_some(), "{fault:?} is not noticed");
    }
}

#[test]
fn the_walk_goes_through_claims_and_back() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let steps = prop::collection::vec(step(), 20..160);
    let (mut alone, mut back) = (0, 0);
    for _ in 0..2000 {
        let steps = steps.new_tree(&mut runner).unwrap().current();
        let world = walk(&steps, true, Fault::None).unwrap();
        let sole = world.committed.iter().position(
            |entry| matches!(&entry.what, What::Members(sets, _) if sets.len() == 1 && sets[0].len() == 1),
        );
        let Some(sole) = sole else { continue };
        alone += 1;
        let pair = |entry: &Entry| matches!(&entry.what, What::Members(sets, _) if sets.len() == 1 && sets[0].len() == 2);
        back += usize::from(world.committed[sole..].iter().any(pair));
    }
    println!("{alone} walks had a sole voter, {back} of them two again");
    assert!(alone > 100 && back > 20, "{alone} {back}");
}
