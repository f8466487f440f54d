//! A walk over the real data path, step by step, and what a client knows of the blocks that it wrote.
#![allow(dead_code, clippy::unwrap_used)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tasuki_volume::block::{BlockError, Door};
use tokio::sync::oneshot;

use super::path_common::{self, EXTENT, Pair, begin_durable, begin_write, block, flush, read, run, write};

#[derive(Clone, Copy, Debug)]
pub enum Step {
    Write(usize),
    /// Written, not waited for.
    Begin(usize),
    /// Written so that it is durable when it is answered.
    Durable(usize),
    Flush,
    /// Written and flushed so often that the next write's flush begins with it; and written once more.
    Row(usize),
    Cut,
    Mend,
    /// The node of the primary is killed, and the other server opens the volume if its copy is good;
    /// otherwise the same one does again.
    KillPrimary,
    KillPeer,
    PeerPower(u8),
    /// Both lose their power; whoever is good opens again.
    AllPower(u8),
    Move,
    BothGood,
}

/// So often is enough, also where a write was under way as the first one came.
const ROW: usize = 9;

/// What a block may hold.
#[derive(Clone, Debug, Default)]
struct Known {
    /// The last write that was flushed after it was answered.
    flushed: u8,
    /// Every write since, answered or not, oldest first, with whether it was answered.
    since: Vec<(u8, bool)>,
}

struct Walk {
    pair: Pair,
    /// The blocks that are written.
    blocks: Vec<u64>,
    primary: usize,
    door: Option<Door>,
    known: BTreeMap<usize, Known>,
    /// The peer lost its power, and perhaps nobody noticed: when the primary fails too, only what was
    /// flushed is promised.
    doubt: bool,
    /// Writes that were begun and not waited for.
    begun: Vec<oneshot::Receiver<Result<(), BlockError>>>,
    next: u8,
}

impl Walk {
    async fn new(mut pair: Pair, blocks: &[u64]) -> Self {
        let door = pair.promote(0).await;
        let known = (0..blocks.len()).map(|at| (at, Known::default())).collect();
        let blocks = blocks.to_vec();
        Self { pair, blocks, primary: 0, door: Some(door), known, doubt: false, begun: Vec::new(), next: 0 }
    }

    fn door(&self) -> &Door {
        self.door.as_ref().unwrap()
    }

    fn doing(&self, what: &str) {
        let said = |number: usize| {
            let up = self.pair.hosts[number].up.as_ref();
            up.map(|up| up.said.borrow().iter().rev().take(4).cloned().collect::<Vec<_>>())
        };
        let facts = self.pair.facts.lock().unwrap();
        let text = format!("{what} with {} primary; {facts:?}; {:?}; {:?}", self.primary, said(0), said(1));
        *path_common::DOING.lock().unwrap() = text;
    }

    /// Long after a write has begun, that it still waits is strange.
    fn look_later(&self) {
        let volumes: Vec<_> = self
            .pair
            .hosts
            .iter()
            .filter_map(|host| host.up.as_ref().map(|up| Arc::downgrade(&up.volume)))
            .collect();
        let said = self.pair.up(self.primary).said.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(30)).await;
            let views: Vec<_> =
                volumes.iter().filter_map(|volume| volume.upgrade()).map(|volume| volume.view()).collect();
            let said: Vec<_> = said.borrow().iter().rev().take(3).cloned().collect();
            path_common::doing(&format!("{views:?} {said:?}"));
        });
    }

    fn fresh(&mut self) -> u8 {
        self.next = self.next.checked_add(1).unwrap_or(1);
        self.next
    }

    async fn step(&mut self, step: Step) {
        self.doing(&format!("{step:?}"));
        match step {
            Step::Write(at) => {
                let value = self.fresh();
                self.look_later();
                write(self.door(), self.blocks[at] * EXTENT, block(value)).await.unwrap();
                self.known.get_mut(&at).unwrap().since.push((value, true));
            }
            Step::Begin(at) => {
                let value = self.fresh();
                let begun = begin_write(self.door(), self.blocks[at] * EXTENT, block(value)).await;
                self.begun.push(begun);
                self.known.get_mut(&at).unwrap().since.push((value, false));
            }
            Step::Durable(at) => {
                let value = self.fresh();
                self.look_later();
                let written = begin_durable(self.door(), self.blocks[at] * EXTENT, block(value)).await;
                written.await.unwrap().unwrap();
                // Whatever was begun there before is over: writes to one place follow each other.
                *self.known.get_mut(&at).unwrap() = Known { flushed: value, since: Vec::new() };
            }
            Step::Flush => {
                flush(self.door()).await.unwrap();
                for known in self.known.values_mut() {
                    if let Some(last) = known.since.iter().rposition(|(_, answered)| *answered) {
                        known.flushed = known.since[last].0;
                        // Those before it are over; later ones were begun and not answered.
                        known.since.drain(..=last);
                    }
                }
            }
            Step::Row(at) => {
                for step in [Step::Write(at), Step::Flush].repeat(ROW) {
                    Box::pin(self.step(step)).await;
                }
                Box::pin(self.step(Step::Write(at))).await;
            }
            Step::Cut => self.pair.cable.cut(),
            Step::Mend => self.pair.cable.mend(),
            Step::KillPrimary => {
                self.door = None;
                self.pair.kill(self.primary).await;
                let other = 1 - self.primary;
                let good = self.pair.facts.lock().unwrap().good.contains(&other);
                if good && self.pair.hosts[other].up.is_some() {
                    self.boot(self.primary);
                    self.open(other, false).await;
                } else {
                    self.boot(self.primary);
                    self.open(self.primary, false).await;
                }
            }
            Step::KillPeer => {
                let peer = 1 - self.primary;
                self.pair.kill(peer).await;
                self.boot(peer);
            }
            Step::PeerPower(seed) => {
                let peer = 1 - self.primary;
                self.pair.power(peer, chance(seed)).await;
                if seed % 2 == 0 {
                    // The primary notices before anything else happens.
                    self.pair.facts_are(|facts| !facts.good.contains(&peer)).await;
                } else {
                    self.doubt = true;
                }
                self.boot(peer);
            }
            Step::AllPower(seed) => {
                self.door = None;
                self.pair.still(self.primary).await;
                self.pair.cable.cut();
                for number in [0, 1] {
                    self.pair.power(number, chance(seed.wrapping_add(number as u8 * 31))).await;
                }
                self.boot(0);
                self.boot(1);
                if seed % 2 == 0 {
                    self.pair.cable.mend();
                }
                let good = self.pair.facts.lock().unwrap().good.clone();
                let first = if good.contains(&usize::from(seed % 3 == 0)) {
                    usize::from(seed % 3 == 0)
                } else {
                    *good.iter().next().unwrap()
                };
                self.open(first, true).await;
            }
            Step::Move => {
                let other = 1 - self.primary;
                // A peer that is good is required: closing waits for it or for its being put out.
                self.door = None;
                self.pair.demote(self.primary).await;
                let good = self.pair.facts.lock().unwrap().good.contains(&other);
                let to = if good { other } else { self.primary };
                self.open(to, false).await;
            }
            Step::BothGood => {
                self.pair.cable.mend();
                self.pair.both_good().await;
            }
        }
    }

    fn boot(&mut self, number: usize) {
        if self.pair.hosts[number].up.is_none() {
            self.pair.boot(number);
        }
    }

    /// Opens, reads every block, and remembers what was seen: it must not change by itself.
    async fn open(&mut self, number: usize, power: bool) {
        let power = std::mem::take(&mut self.doubt) || power;
        self.door = Some(self.pair.promote(number).await);
        self.primary = number;
        for (at, place) in self.blocks.clone().into_iter().enumerate() {
            let bytes = read(self.door(), place * EXTENT, EXTENT as u32).await.unwrap();
            let seen = bytes[0];
            // In memory, a sector of the lost power may be torn; a client that never flushed may see that.
            let torn = bytes.iter().any(|byte| *byte != seen);
            let known = self.known.get_mut(&at).unwrap();
            let answered = known.since.iter().rposition(|(_, answered)| *answered);
            let oldest = if power { None } else { answered };
            let mut allowed: Vec<u8> =
                known.since[oldest.unwrap_or(0)..].iter().map(|(value, _)| *value).collect();
            if oldest.is_none() {
                allowed.push(known.flushed);
            }
            if torn {
                assert!(power && bytes.iter().all(|byte| allowed.contains(byte)), "torn block {at}");
                // Written again, as a client does with what it cannot read.
                let value = self.fresh();
                write(self.door(), self.blocks[at] * EXTENT, block(value)).await.unwrap();
                self.known.insert(at, Known { flushed: value, since: Vec::new() });
                flush(self.door()).await.unwrap();
                continue;
            }
            assert!(allowed.contains(&seen), "block {at} holds {seen}, allowed are {allowed:?}, {known:?}");
            *known = Known { flushed: seen, since: Vec::new() };
        }
        // What was seen is durable from here on only when it is flushed; walks go on from there.
        flush(self.door()).await.unwrap();
    }
}

/// Which sectors a lost power leaves.
fn chance(seed: u8) -> impl FnMut(u64) -> bool {
    let mut state = u64::from(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move |sector| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_add(sector).count_ones() % 2 == 0
    }
}

/// Walks between these two servers, over these blocks.
pub fn walk(pair: impl FnOnce() -> Pair, blocks: &[u64], steps: &[Step]) {
    run(async {
        let mut walk = Walk::new(pair(), blocks).await;
        for step in steps {
            walk.step(*step).await;
        }
        // While a write is under way, one copy may have it and the other not yet.
        path_common::doing("writes that were not waited for");
        for begun in walk.begun.drain(..) {
            let _answered_or_its_primary_was_killed = begun.await;
        }
        // A flush is answered by a good peer, or after it was put out: then it has to come back first.
        loop {
            walk.step(Step::BothGood).await;
            walk.step(Step::Flush).await;
            if walk.pair.facts.lock().unwrap().good.len() == 2 {
                break;
            }
        }
        let differs = walk.pair.hosts[0].data.differs(&walk.pair.hosts[1].data);
        walk.door = None;
        walk.pair.kill(0).await;
        walk.pair.kill(1).await;
        assert!(differs.is_none(), "the copies differ at {differs:?}");
    });
}
