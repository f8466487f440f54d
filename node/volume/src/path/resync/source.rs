//! The source's side of a resync.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Instant,
};

use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use tasuki_core::mirror::{LinkState, resync::RUN, state::PeerMode};

use super::{Course, RUNS, sums};
use crate::path::{
    copy::DiskError,
    events::VolumeEvent,
    frame::Body,
    lacking::lacking,
    options::lacks,
    primary::{Engine, Session},
    ranges::Held,
    secondary::saved,
    work::work,
};

/// The target flushes after so many bytes, and the map is cleared of them.
const FLUSH_EVERY: u64 = 64 * 1024 * 1024;
/// One sum for so many bytes.
const CHUNK: u32 = 64 * 1024;
/// Where fewer than one in so many runs turned out equal, asking is a waste.
const WORTH: u32 = 8;

/// Why a resync stops.
enum Stopped {
    /// The stream has ended, which says so itself.
    Stream,
    Disk(DiskError),
}

impl From<DiskError> for Stopped {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

/// Whether it is worth asking the target for checksums, learned from the last answers.
#[derive(Default)]
struct Worth {
    asked: Cell<u32>,
    equal: Cell<u32>,
    turns: Cell<u32>,
}

impl Worth {
    fn ask(&self) -> bool {
        self.turns.set(self.turns.get().wrapping_add(1));
        let (asked, equal) = (self.asked.get(), self.equal.get());
        asked < 16 || equal * WORTH >= asked || self.turns.get().is_multiple_of(16)
    }

    fn learn(&self, equal: bool) {
        if self.asked.get() >= 64 {
            self.asked.set(self.asked.get() / 2);
            self.equal.set(self.equal.get() / 2);
        }
        self.asked.set(self.asked.get() + 1);
        self.equal.set(self.equal.get() + u32::from(equal));
    }
}

impl Engine {
    /// Begins a resync (R30); it ends with `Synced`, or with its stream.
    pub fn start_resync(self: &Rc<Self>, slot: usize, full: bool, save: bool) {
        let engine = self.clone();
        let work = work(async move {
            let Some(session) = engine.session(slot) else { return };
            match engine.resync(slot, &session, full, save).await {
                Ok(()) => {
                    let peer = engine.name_of(slot);
                    engine.set_progress(slot, None, None);
                    engine.shared.tell(VolumeEvent::Synced { peer });
                }
                Err(Stopped::Stream) => {}
                Err(Stopped::Disk(why)) => engine.disk_failed(&why),
            }
        });
        if let Some(peer) = self.peers.borrow_mut().get_mut(slot) {
            peer.stop_work();
            peer.work = Some(work.abort_handle());
        }
    }

    /// Lets it rest, or go on.
    pub fn pause_resync(&self, slot: usize, rest: bool) {
        if let Some(peer) = self.peers.borrow_mut().get_mut(slot) {
            peer.resting.rests.set(rest);
            peer.resting.changed.notify_waiters();
            if peer.sync_link.is_some() {
                peer.sync_link = Some(if rest { LinkState::Paused } else { LinkState::SyncSource });
            }
        }
        self.publish();
    }

    /// Ends it; its maps stay. Writes are recorded from here on until the mode says otherwise.
    pub fn stop_work(&self, slot: usize) {
        if let Some(peer) = self.peers.borrow_mut().get_mut(slot) {
            peer.stop_work();
        }
        self.changed();
    }

    async fn resync(
        self: &Rc<Self>,
        slot: usize,
        session: &Rc<Session>,
        full: bool,
        save: bool,
    ) -> Result<(), Stopped> {
        let extents = self.copy.geometry().extents();
        if let Some(leg) = self.copy.journal().legs.get_mut(slot) {
            let marked = self.peers.borrow_mut().get_mut(slot).map(|peer| std::mem::take(&mut peer.marked));
            for (first, end) in marked.unwrap_or_default() {
                leg.map.set(first, end);
            }
            if full {
                leg.map.set(0, extents);
            }
        }
        // What an earlier primary, or this server before its process ended, wrote here and nobody flushed
        // is named by nothing any more once the target has it: a lost power would undo it here alone.
        self.copy.flush().await?;
        // Whoever goes on after a crash has to know how much there was to do.
        self.copy.keep_maps(false).await?;
        // Of what is overwritten, a loser saves what it has.
        let named = || saved::places_of(&lacking(&self.copy, &self.name_of(slot)));
        let named = if save { named() } else { Bytes::new() };
        let begin = session.ask(Body::SyncBegin { full, save }, named).await.ok_or(Stopped::Stream)?;
        {
            let mut journal = self.copy.journal();
            if let Some(leg) = journal.legs.get_mut(slot) {
                for (first, end) in begin.spans {
                    leg.map.set(first, end);
                }
            }
        }
        // What an earlier resync had on its way when it was stopped has arrived before newer writes go there.
        session.fence().await.ok_or(Stopped::Stream)?;
        session.open_beside(begin.data).await;
        // The target counts as half written by now: writes may go there too.
        self.use_session(slot, session);
        let geometry = self.copy.geometry();
        let total = self.copy.differing(&self.name_of(slot)) * geometry.extent;
        let course = Course::new(self, slot, LinkState::SyncSource, total);
        course.show(self);
        let worth = Worth::default();
        loop {
            self.copy_all(slot, session, &course, &worth).await?;
            let number = self.copy.journal().number();
            session.barrier(number).await.ok_or(Stopped::Stream)?;
            if !session.is_used() {
                // It was taken out of use meanwhile: what is written now is recorded again.
                return Err(Stopped::Stream);
            }
            if self.copy.journal().legs.get(slot).is_none_or(|leg| leg.map.is_empty()) {
                break;
            }
        }
        session.ask(Body::SyncEnd(self.history()), Bytes::new()).await.ok_or(Stopped::Stream)?;
        self.copy.keep_maps(true).await?;
        Ok(())
    }

    /// Writes go to this session from here on, unless the peer was put aside meanwhile.
    fn use_session(&self, slot: usize, session: &Rc<Session>) {
        let wanted = self.peers.borrow().get(slot).is_some_and(|peer| {
            peer.mode != PeerMode::Absent && peer.session.as_ref().is_some_and(|it| Rc::ptr_eq(it, session))
        });
        if wanted && !session.is_used() {
            self.join(slot, session);
            self.land_all();
            self.changed();
        }
    }

    /// Copies every run that the map names now.
    async fn copy_all(
        self: &Rc<Self>,
        slot: usize,
        session: &Rc<Session>,
        course: &Rc<Course>,
        worth: &Worth,
    ) -> Result<(), Stopped> {
        let geometry = self.copy.geometry();
        let most = (RUN / geometry.extent).max(1);
        let mut from = 0;
        let mut copied: Vec<(u64, u64)> = Vec::new();
        let mut bytes = 0;
        let mut under_way = FuturesUnordered::new();
        let mut began = Instant::now();
        loop {
            if self.rests(slot) {
                // Nothing is held while it rests: writes go on everywhere.
                while let Some(run) = under_way.next().await {
                    copied.push(run?);
                }
                self.rest(slot).await;
            }
            let next = self.next_run(slot, from, most);
            if let Some((first, end)) = next {
                from = end;
                under_way.push(async move { self.copy_run(session, course, worth, first, end).await });
            }
            if under_way.len() >= RUNS || next.is_none() {
                let Some(run) = under_way.next().await else { break };
                let (first, end) = run?;
                copied.push((first, end));
                let length = (end * geometry.extent).min(geometry.size) - first * geometry.extent;
                bytes += length;
                course.keep_pace(length, began).await;
                began = Instant::now();
            }
            if bytes >= FLUSH_EVERY {
                self.clear(slot, session, &mut copied).await?;
                bytes = 0;
            }
        }
        self.clear(slot, session, &mut copied).await
    }

    fn next_run(&self, slot: usize, from: u64, most: u64) -> Option<(u64, u64)> {
        let journal = self.copy.journal();
        journal.legs.get(slot).and_then(|leg| leg.map.next_run(from, most))
    }

    /// Bits are cleared after the target's flush. A session that is not used any more clears nothing:
    /// writes may have set the same bits anew.
    async fn clear(
        &self,
        slot: usize,
        session: &Rc<Session>,
        copied: &mut Vec<(u64, u64)>,
    ) -> Result<(), Stopped> {
        if copied.is_empty() {
            return Ok(());
        }
        let number = self.copy.journal().number();
        session.barrier(number).await.ok_or(Stopped::Stream)?;
        if !session.is_used() {
            return Err(Stopped::Stream);
        }
        let mut journal = self.copy.journal();
        if let Some(leg) = journal.legs.get_mut(slot) {
            for (first, end) in copied.drain(..) {
                leg.map.clear(first, end);
            }
        }
        Ok(())
    }

    fn rests(&self, slot: usize) -> bool {
        self.peers.borrow().get(slot).is_some_and(|peer| peer.resting.rests.get())
    }

    async fn rest(&self, slot: usize) {
        let resting = self.peers.borrow().get(slot).map(|peer| peer.resting.clone());
        let Some(resting) = resting else { return };
        while resting.rests.get() {
            let changed = resting.changed.notified();
            if resting.rests.get() {
                changed.await;
            }
        }
    }

    /// One run: nobody writes there meanwhile (R30).
    async fn copy_run(
        &self,
        session: &Rc<Session>,
        course: &Course,
        worth: &Worth,
        first: u64,
        end: u64,
    ) -> Result<(u64, u64), Stopped> {
        let geometry = self.copy.geometry();
        let (start, stop) = (first * geometry.extent, (end * geometry.extent).min(geometry.size));
        let held = Rc::new(self.ranges.hold(start, stop).await);
        let held = (!lacks!(self.shared.options, R30NoExclusion)).then_some(held);
        let mut sent = 0;
        let mut at = start;
        while at < stop {
            let length = (stop - at).min(RUN);
            sent += self.copy_part(session, worth, at, length, held.as_ref()).await?;
            at += length;
        }
        drop(held);
        course.went(self, stop - start, sent);
        Ok((first, end))
    }

    /// At most one frame; how many bytes had to be sent.
    async fn copy_part(
        &self,
        session: &Rc<Session>,
        worth: &Worth,
        offset: u64,
        length: u64,
        held: Option<&Rc<Held>>,
    ) -> Result<u64, Stopped> {
        let length32 = u32::try_from(length).unwrap_or(u32::MAX);
        let bytes = self.copy.read(offset, length32).await?;
        let send = async |body, data| session.block(body, data, held.cloned()).await.ok_or(Stopped::Stream);
        if sums::is_zero(&bytes) {
            send(Body::SyncZero { offset, length }, Bytes::new()).await?;
            return Ok(0);
        }
        if !worth.ask() {
            send(Body::SyncBlock { offset }, bytes).await?;
            return Ok(length);
        }
        let asked = Body::Sums { offset, length: length32, chunk: CHUNK };
        let own = sums::of(bytes.clone(), CHUNK);
        let (own, theirs) = tokio::join!(own, session.ask_beside(asked, Bytes::new()));
        let own = own.map_err(DiskError::from)?;
        let theirs = theirs.ok_or(Stopped::Stream)?.data;
        worth.learn(own == theirs);
        let differ = differing(&own, &theirs, bytes.len());
        let sent = RefCell::new(0);
        let parts = differ.into_iter().map(|(from, to)| {
            *sent.borrow_mut() += (to - from) as u64;
            send(Body::SyncBlock { offset: offset + from as u64 }, bytes.slice(from..to))
        });
        futures::future::try_join_all(parts).await?;
        Ok(sent.into_inner())
    }
}

/// The spans of bytes whose sums differ; neighbours as one.
pub fn differing(own: &[u8], theirs: &[u8], length: usize) -> Vec<(usize, usize)> {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for (at, sum) in own.chunks(sums::SUM).enumerate() {
        if theirs.get(at * sums::SUM..(at + 1) * sums::SUM) == Some(sum) {
            continue;
        }
        let from = at * CHUNK as usize;
        let to = (from + CHUNK as usize).min(length);
        match spans.last_mut().filter(|last| last.1 == from) {
            Some(last) => last.1 = to,
            None => spans.push((from, to)),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_sent() {
        let chunk = CHUNK as usize;
        let own: Vec<u8> = (0..4 * chunk).map(|at| (at / 1000) as u8).collect();
        let mut theirs = own.clone();
        theirs[chunk + 5] ^= 1;
        theirs[2 * chunk] ^= 1;
        let (a, b) = (sums::of_now(&own, CHUNK), sums::of_now(&theirs, CHUNK));
        assert_eq!(differing(&a, &b, own.len()), [(chunk, 3 * chunk)]);
        assert_eq!(differing(&a, &a, own.len()), []);
        assert_eq!(differing(&a, &[], own.len()), [(0, own.len())], "no answer is no equality");
    }

    #[test]
    fn asking_stops_where_nothing_is_equal_and_is_tried_again_now_and_then() {
        let worth = Worth::default();
        let asked = (0..200).filter(|_| worth.ask().then(|| worth.learn(false)).is_some()).count();
        assert!((16..40).contains(&asked), "{asked}");
    }
}
