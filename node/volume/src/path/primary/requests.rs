//! Requests of exports and devices.

use std::{rc::Rc, sync::atomic::Ordering, time::Instant};

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot};

use super::{
    Engine, FRAME_PERMITS, PERMIT, Through,
    flight::{Flight, OwnLeg, PeerLeg},
};
use crate::path::work::work;
use crate::{
    block::{BlockError, Request},
    path::{
        copy::{Change, Copy, NotEntered},
        frame::{Body, FRAME_LIMIT},
        options::Counters,
    },
};

/// What follows on a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Barrier {
    /// Nothing that is known of.
    None,
    /// A flush that the client will ask for: it is answered before that.
    Foreseen,
    /// It is answered when it is durable.
    Awaited,
}

/// A trim or zeroing is made in pieces: each holds its range and its regions of the activity log.
const PIECE: u64 = 64 * 1024 * 1024;

impl Engine {
    /// Takes requests until nobody can send any more. They wait here while too many bytes are under way.
    pub async fn serve(self: Rc<Self>, mut requests: mpsc::Receiver<Request>) {
        while let Some(request) = requests.recv().await {
            let bytes = match &request {
                Request::Read { length, .. } => *length as usize,
                Request::Write { data, .. } => data.len(),
                Request::Flush { .. } | Request::Trim { .. } | Request::Zero { .. } => PERMIT,
            };
            // A request larger than all permits waits for all, and then is alone.
            let permits = u32::try_from(bytes.div_ceil(PERMIT)).unwrap_or(u32::MAX).max(1);
            let all = (self.shared.options.in_flight / PERMIT).max(FRAME_PERMITS as usize);
            let permits = permits.min(u32::try_from(all).unwrap_or(u32::MAX));
            let Ok(permit) = self.permits.clone().acquire_many_owned(permits).await else { return };
            self.under_way.set(self.under_way.get() + 1);
            let engine = self.clone();
            work(async move {
                engine.request(request).await;
                drop(permit);
                engine.under_way.set(engine.under_way.get() - 1);
                if engine.under_way.get() == 0 {
                    engine.changed.notify_waiters();
                }
            });
        }
    }

    async fn request(self: &Rc<Self>, request: Request) {
        let counters = &self.shared.counters;
        match request {
            Request::Read { offset, length, answer } => {
                let result = self.read(offset, length).await;
                Counters::add(&counters.reads, 1);
                Counters::add(&counters.read_bytes, u64::from(length));
                let _who_asked_is_gone = answer.send(result);
            }
            Request::Write { offset, data, durable, answer } => {
                let length = data.len() as u64;
                counters.in_flight.fetch_add(length, Ordering::Relaxed);
                let barrier = if durable { Barrier::Awaited } else { self.foreseen() };
                let result = self.write(offset, data, barrier).await;
                counters.in_flight.fetch_sub(length, Ordering::Relaxed);
                Counters::add(&counters.writes, 1);
                Counters::add(&counters.written_bytes, length);
                let is_written = result.is_ok();
                let _who_asked_is_gone = answer.send(result);
                // Nothing is left of it where it was begun beside the peer's.
                if is_written && barrier == Barrier::Foreseen {
                    self.flush_ahead().await;
                }
            }
            Request::Flush { answer } => {
                self.habit.set(self.habit.get().flushed());
                let result = self.flush().await;
                Counters::add(&counters.flushes, 1);
                let _who_asked_is_gone = answer.send(result);
            }
            Request::Trim { offset, length, durable, answer } => {
                let result = self.pieces(offset, length, Change::Trim).await;
                let _who_asked_is_gone = answer.send(self.durably(result, durable).await);
            }
            Request::Zero { offset, length, may_trim, durable, answer } => {
                let zero = |length| Change::Zero { length, may_trim };
                let result = self.pieces(offset, length, zero).await;
                let _who_asked_is_gone = answer.send(self.durably(result, durable).await);
            }
        }
    }

    /// A write comes that need not be durable: whether a flush will follow.
    fn foreseen(&self) -> Barrier {
        let (habit, follows) = self.habit.get().wrote();
        self.habit.set(habit);
        if follows { Barrier::Foreseen } else { Barrier::None }
    }

    async fn durably(
        self: &Rc<Self>,
        result: Result<(), BlockError>,
        durable: bool,
    ) -> Result<(), BlockError> {
        match result {
            Ok(()) if durable => self.flush().await,
            other => other,
        }
    }

    fn is_inside(&self, offset: u64, length: u64) -> bool {
        offset.checked_add(length).is_some_and(|end| end <= self.geometry.get().size)
    }

    async fn read(&self, offset: u64, length: u32) -> Result<Bytes, BlockError> {
        if !self.is_inside(offset, u64::from(length)) {
            return Err(BlockError::Invalid);
        }
        loop {
            if self.failing.get() {
                return Err(BlockError::Io);
            }
            match self.through.get() {
                Through::Own if self.primary.get().is_some() => match self.copy.read(offset, length).await {
                    Ok(bytes) => return Ok(bytes),
                    Err(why) => self.disk_failed(&why),
                },
                Through::Peer(slot) if self.session(slot).is_some_and(|session| session.is_used()) => {
                    if let Some(bytes) = self.read_from(slot, offset, length).await {
                        return Ok(bytes);
                    }
                }
                Through::Own | Through::Nowhere | Through::Peer(_) => {
                    self.until(|| self.failing.get() || self.is_open()).await;
                }
            }
        }
    }

    async fn read_from(&self, slot: usize, offset: u64, length: u32) -> Option<Bytes> {
        let mut whole = BytesMut::new();
        let mut done = 0;
        while done < length {
            let part = (length - done).min(FRAME_LIMIT as u32);
            let session = self.session(slot)?;
            let asked = Body::Read { offset: offset + u64::from(done), length: part };
            let bytes = session.ask(asked, Bytes::new()).await?.data;
            if bytes.len() != part as usize {
                return None;
            }
            if part == length {
                return Some(bytes);
            }
            whole.extend_from_slice(&bytes);
            done += part;
        }
        Some(whole.freeze())
    }

    async fn write(
        self: &Rc<Self>,
        offset: u64,
        mut data: Bytes,
        barrier: Barrier,
    ) -> Result<(), BlockError> {
        if !self.is_inside(offset, data.len() as u64) {
            return Err(BlockError::Invalid);
        }
        if data.len() <= FRAME_LIMIT {
            return self.change(offset, Change::Bytes(data), barrier).await;
        }
        let mut pieces = Vec::new();
        let mut at = offset;
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(FRAME_LIMIT));
            let length = piece.len() as u64;
            pieces.push(self.change(at, Change::Bytes(piece), Barrier::None));
            at += length;
        }
        let written = futures::future::try_join_all(pieces).await.map(drop);
        self.durably(written, barrier == Barrier::Awaited).await
    }

    async fn pieces(
        self: &Rc<Self>,
        offset: u64,
        length: u64,
        change: impl Fn(u64) -> Change,
    ) -> Result<(), BlockError> {
        if !self.is_inside(offset, length) {
            return Err(BlockError::Invalid);
        }
        let mut done = 0;
        while done < length {
            let part = (length - done).min(PIECE);
            self.change(offset + done, change(part), Barrier::None).await?;
            done += part;
        }
        Ok(())
    }

    /// One write, trim or zeroing: of at most one frame, or one piece.
    async fn change(
        self: &Rc<Self>,
        offset: u64,
        change: Change,
        barrier: Barrier,
    ) -> Result<(), BlockError> {
        let length = change.length();
        if length == 0 {
            return self.opened().await;
        }
        let _nobody_else_there = self.ranges.hold(offset, offset + length).await;
        let geometry = self.geometry.get();
        let (extents, regions) = (geometry.extents_of(offset, length), geometry.regions_of(offset, length));
        let entered = self.enter(regions).await?;
        if self.failing.get() || self.primary.get().is_none() {
            // It stood down while the log was written: nothing of it reaches a disk any more (R31, R34).
            if entered {
                self.copy.journal().activity.leave(regions.0, regions.1);
            }
            return Err(BlockError::Io);
        }
        // From here to the flight, nothing is awaited: what goes to whom is of one moment.
        let number = self.copy.journal().begin(extents, regions);
        let (through, began) = (self.through.get(), Instant::now());
        let peers = self.send(number, offset, &change);
        if barrier != Barrier::None {
            // Right behind the write: one question to the peer instead of two.
            self.flush_peers(number);
        }
        let (answer, answered) = oneshot::channel();
        let own = if entered { OwnLeg::Waiting } else { OwnLeg::Failed };
        self.fly(number, Flight { own, peers, regions: entered.then_some(regions), answer });
        let is_inline = Copy::is_inline(&change);
        match through {
            Through::Own if entered && is_inline => {
                self.own_leg(number, self.copy.change_now(offset, &change));
            }
            Through::Own if entered => {
                let engine = self.clone();
                self.changing.set(self.changing.get() + 1);
                work(async move {
                    let result = engine.copy.change(offset, change).await;
                    engine.changing.set(engine.changing.get() - 1);
                    engine.own_leg(number, result);
                    if engine.changing.get() == 0 {
                        engine.changed.notify_waiters();
                    }
                });
            }
            Through::Own | Through::Nowhere | Through::Peer(_) => {
                self.copy.journal().local_done(number);
                if let Some(flight) = self.flights.borrow_mut().get_mut(&number) {
                    flight.own = OwnLeg::Failed;
                }
            }
        }
        if self.copy.journal().needs_flush() {
            self.flush_soon();
        }
        let written = async {
            let result = answered.await.unwrap_or(Err(BlockError::Closing));
            let (count, nanos) = self.timed.get();
            let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.timed.set((count + 1, nanos.saturating_add(took)));
            result
        };
        if barrier == Barrier::Foreseen && is_inline && self.has_peers() {
            // Beside the peer's; without a peer the answer comes first.
            let engine = self.clone();
            work(async move { engine.flush_ahead().await });
        }
        match barrier {
            Barrier::None | Barrier::Foreseen => written.await,
            // The own disk has it, so that a flush covers it; the peer's flush is behind the write.
            Barrier::Awaited if is_inline => {
                let (written, flushed) = futures::future::join(written, self.flush()).await;
                written.and(flushed)
            }
            Barrier::Awaited => {
                let written = written.await;
                self.durably(written, true).await
            }
        }
    }

    /// Waits until a write may begin: nothing has to be decided, and the log names its regions (R29).
    /// `false`: there is no own disk, and so no log.
    async fn enter(self: &Rc<Self>, regions: (u32, u32)) -> Result<bool, BlockError> {
        loop {
            self.opened().await?;
            if self.through.get() != Through::Own {
                return Ok(false);
            }
            match self.copy.enter(regions.0, regions.1).await {
                Ok(()) => return Ok(true),
                Err(NotEntered::Disk(why)) => self.disk_failed(&why),
                Err(NotEntered::Full) => {
                    self.flush().await?;
                    if let Err(why) = self.copy.keep_maps(false).await {
                        self.disk_failed(&why);
                    }
                }
            }
        }
    }

    /// Sends a write to every peer that takes part.
    fn send(&self, number: u64, offset: u64, change: &Change) -> Vec<PeerLeg> {
        let mut legs = Vec::new();
        for (slot, peer) in self.peers.borrow().iter().enumerate() {
            let Some(session) = peer.session.as_ref().filter(|_| peer.in_use()) else {
                legs.push(PeerLeg::Recorded);
                continue;
            };
            let record = self.through.get() == Through::Peer(slot);
            let (body, data) = match change {
                Change::Bytes(bytes) => (Body::Write { offset, record }, bytes.clone()),
                Change::Trim(length) => (Body::Trim { offset, length: *length, record }, Bytes::new()),
                Change::Zero { length, may_trim } => {
                    let (length, may_trim) = (*length, *may_trim);
                    (Body::Zero { offset, length, may_trim, record }, Bytes::new())
                }
            };
            session.write(body, data, number);
            legs.push(PeerLeg::Waiting(session.id));
        }
        legs
    }
}
