//! One session with a peer, from the moment it let this primary in until one of its streams ends: writes
//! and flushes on one, blocks of a resync on another beside it, so that they do not delay the writes.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use tasuki_core::ids::Epoch;
use tokio::sync::{Notify, mpsc, oneshot};

use super::{
    Engine,
    lane::{Ask, Item, Lane, Waiter},
};
use crate::path::{
    VolumeEvent,
    frame::{Body, Frame, Speech},
    ranges::Held,
    stream::StreamEnded,
};

/// That a stream is wanted beside the first one.
pub struct Wish {
    /// What the peer knows it by.
    pub token: Bytes,
    /// Dropped when it stands, or cannot be had.
    _settled: oneshot::Sender<()>,
}

/// The session.
pub struct Session {
    /// Counts sessions with this peer.
    pub id: u64,
    slot: usize,
    pub epoch: Epoch,
    speech: Speech,
    /// Writes, flushes, questions. Blocks too, where nothing stands beside it.
    pub lane: Lane,
    /// Blocks of resyncs, once one has begun.
    beside: RefCell<Option<Rc<Lane>>>,
    wish: RefCell<Option<Wish>>,
    wished: Notify,
    used: Cell<bool>,
    over: Cell<bool>,
    asked: Cell<u64>,
    flushed: Cell<u64>,
}

impl Session {
    /// One that nothing is sent on yet.
    pub fn new(id: u64, slot: usize, epoch: Epoch, speech: Speech) -> Rc<Self> {
        Rc::new(Self {
            id,
            slot,
            epoch,
            speech,
            lane: Lane::new(epoch, speech),
            beside: RefCell::default(),
            wish: RefCell::default(),
            wished: Notify::new(),
            used: Cell::new(false),
            over: Cell::new(false),
            asked: Cell::new(0),
            flushed: Cell::new(0),
        })
    }

    /// Writes go there.
    pub fn is_used(&self) -> bool {
        self.used.get() && !self.over.get()
    }

    /// A stream has ended.
    pub fn is_over(&self) -> bool {
        self.over.get()
    }

    /// Writes after this one go there from now on.
    pub fn begin(&self, number: u64) {
        self.used.set(true);
        self.asked.set(number);
        self.flushed.set(number);
    }

    /// Writes go there no more, so that blocks on their way need not keep any from their places. Before
    /// writes go there again, these are done: see [`Self::fence`].
    pub fn rest(&self) {
        self.used.set(false);
        self.lane.release();
        if let Some(beside) = self.beside() {
            beside.release();
        }
    }

    /// A stream has ended: nobody waits for it any more.
    pub fn end(&self) {
        self.over.set(true);
        self.lane.end();
        if let Some(beside) = self.beside.take() {
            beside.end();
        }
        self.wish.take();
    }

    fn put(&self, body: Body, data: Bytes, waiter: Waiter) {
        if !self.over.get() {
            self.lane.put(Item { body, data, waiter });
        }
    }

    /// A client's write.
    pub fn write(&self, body: Body, data: Bytes, number: u64) {
        self.put(body, data, Waiter::Write(number));
    }

    /// A barrier for everything up to this write, unless one was sent.
    pub fn flush(&self, number: u64) {
        if self.asked.get() < number {
            self.asked.set(number);
            self.put(Body::Flush, Bytes::new(), Waiter::Flush(number, None));
        }
    }

    /// A barrier for blocks of a resync that are done; it covers the writes up to this one too. `None`
    /// when the stream ended first.
    pub async fn barrier(&self, number: u64) -> Option<()> {
        let (done, wait) = oneshot::channel();
        self.put(Body::Flush, Bytes::new(), Waiter::Flush(number, Some(done)));
        wait.await.ok()
    }

    /// The peer has everything up to this write on its disk.
    pub fn has_flushed(&self, number: u64) -> bool {
        self.flushed.get() >= number
    }

    /// The stream beside, if it stands.
    fn beside(&self) -> Option<Rc<Lane>> {
        self.beside.borrow().clone()
    }

    /// A stream beside is wanted; returns when it stands, or cannot be had. Then blocks go behind the
    /// writes on the first one.
    pub async fn open_beside(&self, token: Bytes) {
        if token.is_empty() || self.over.get() || self.beside().is_some() {
            return;
        }
        let (settled, wait) = oneshot::channel();
        self.wish.replace(Some(Wish { token, _settled: settled }));
        self.wished.notify_one();
        let _it_stands_or_not = wait.await;
    }

    /// Waits until a stream beside is wanted.
    pub async fn wished(&self) -> Wish {
        loop {
            if let Some(wish) = self.wish.take() {
                return wish;
            }
            self.wished.notified().await;
        }
    }

    /// It stands: blocks go there from here on, until it ends, and the session with it.
    pub fn begin_beside(&self) -> Rc<Lane> {
        let lane = Rc::new(Lane::new(self.epoch, self.speech));
        self.beside.replace(Some(lane.clone()));
        lane
    }

    /// A block of a resync, with what it holds; `None` when a stream ended first.
    pub async fn block(&self, body: Body, data: Bytes, held: Option<Rc<Held>>) -> Option<()> {
        if self.over.get() {
            return None;
        }
        let (done, wait) = oneshot::channel();
        let item = Item { body, data, waiter: Waiter::Block(done, held) };
        match self.beside() {
            Some(beside) => beside.put(item),
            None => self.lane.put_later(item),
        }
        wait.await.ok()
    }

    /// Blocks that are not on their way yet are not sent: their resync was stopped.
    pub fn forget_blocks(&self) {
        self.lane.forget_later();
        if let Some(beside) = self.beside() {
            beside.forget();
        }
    }

    /// Blocks of an earlier resync that are on their way have arrived: newer writes to their places can
    /// follow on the other stream (R30). `None` when a stream ended first.
    pub async fn fence(&self) -> Option<()> {
        if self.beside().is_some() {
            let nothing = Body::Sums { offset: 0, length: 0, chunk: 1 };
            self.ask_beside(nothing, Bytes::new()).await?;
        }
        Some(())
    }

    /// A question; `None` when the stream ended first.
    pub async fn ask(&self, body: Body, data: Bytes) -> Option<Ask> {
        let (part, parts) = mpsc::unbounded_channel();
        self.put(body, data, Waiter::Question(part));
        whole(parts).await
    }

    /// The same of a resync, which does not delay writes.
    pub async fn ask_beside(&self, body: Body, data: Bytes) -> Option<Ask> {
        match self.beside().filter(|_| !self.over.get()) {
            Some(beside) => {
                let (part, parts) = mpsc::unbounded_channel();
                beside.put(Item { body, data, waiter: Waiter::Question(part) });
                drop(beside);
                whole(parts).await
            }
            None => self.ask(body, data).await,
        }
    }

    /// How long the peer has owed an answer.
    pub fn owes(&self) -> Duration {
        let beside = self.beside().map_or(Duration::ZERO, |beside| beside.owes());
        self.lane.owes().max(beside)
    }

    /// What the peer says on a stream.
    pub fn take(&self, engine: &Engine, lane: &Lane, frame: Frame) -> Result<(), StreamEnded> {
        match frame.body {
            Body::Done { through } => self.done(engine, lane, through),
            Body::Flushed { through } => self.has_flushed_frames(engine, lane, through),
            Body::Extents { of, spans } => lane.answer(of, Ask { spans, ..Ask::default() }),
            Body::Answer { of } => lane.answer(of, Ask { data: frame.data, end: true, spans: Vec::new() }),
            Body::Failed(why) => {
                let peer = engine.name_of(self.slot);
                engine.shared.tell(VolumeEvent::PeerDiskFailed { peer, why: why.clone() });
                return Err(StreamEnded(format!("its disk failed: {why}")));
            }
            other => return Err(StreamEnded(format!("a secondary does not say {other:?}"))),
        }
        Ok(())
    }

    fn done(&self, engine: &Engine, lane: &Lane, through: u64) {
        while let Some(waiter) = lane.done(through) {
            match waiter {
                Waiter::Write(number) => engine.peer_leg(number, self.slot, self.id),
                Waiter::Block(done, held) => {
                    drop(held);
                    let _the_resync_was_stopped = done.send(());
                }
                Waiter::Flush(..) | Waiter::Question(_) => {}
            }
        }
    }

    fn has_flushed_frames(&self, engine: &Engine, lane: &Lane, through: u64) {
        for barrier in lane.flushed(through) {
            self.flushed.set(self.flushed.get().max(barrier.covers));
            if let Some(done) = barrier.done {
                let _the_resync_was_stopped = done.send(());
            }
        }
        if self.is_used() {
            engine.copy.journal().peer_flushed(self.slot, self.flushed.get());
        }
        engine.look_again();
    }
}

/// All parts of an answer.
async fn whole(mut parts: mpsc::UnboundedReceiver<Ask>) -> Option<Ask> {
    let mut whole = Ask::default();
    loop {
        let part = parts.recv().await?;
        whole.spans.extend(part.spans);
        if part.end {
            whole.data = part.data;
            return Some(whole);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::ranges::Ranges;
    use futures::FutureExt;

    #[test]
    fn r30_blocks_of_a_resync_that_was_stopped_do_not_follow_newer_writes() {
        let session = Session::new(1, 0, Epoch(1), Speech::GREETING);
        let block = || session.block(Body::SyncBlock { offset: 0 }, Bytes::new(), None).now_or_never();
        assert!(block().is_none(), "it waits, and whoever asked has gone");
        assert!(session.lane.next(true).is_some(), "it would be sent all the same");
        assert!(block().is_none());
        session.forget_blocks();
        session.write(Body::Write { offset: 0, record: false }, Bytes::new(), 1);
        assert!(matches!(session.lane.next(true), Some(Item { waiter: Waiter::Write(1), .. })));
        assert!(session.lane.next(true).is_none());
    }

    #[test]
    fn r30_a_block_on_its_way_holds_its_place_until_it_is_done_or_writes_do_not_go_there() {
        let (session, ranges) = (Session::new(1, 0, Epoch(1), Speech::GREETING), Ranges::default());
        let beside = session.begin_beside();
        let send = |number| {
            let held = ranges.try_hold(0, 4096).map(Rc::new);
            assert!(held.is_some());
            let body = Body::SyncBlock { offset: 0 };
            let stopped = session.block(body, Bytes::new(), held).now_or_never();
            assert!(stopped.is_none(), "whoever asked has gone");
            if let Some(item) = beside.next(true) {
                beside.pack(number, item);
            }
            session.forget_blocks();
            assert!(ranges.try_hold(0, 4096).is_none(), "it is on its way");
        };
        send(2);
        drop(beside.done(2));
        send(3);
        session.rest();
        assert!(ranges.try_hold(0, 4096).is_some());
        send(4);
        session.end();
        assert!(ranges.try_hold(0, 4096).is_some());
        assert!(session.lane.next(true).is_none(), "nothing of it went to the first stream");
    }
}
