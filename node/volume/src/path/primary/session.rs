//! One stream to a peer, from the moment it let this primary in until it ends.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tasuki_core::{config::Compression, ids::Epoch};
use tokio::sync::{Notify, mpsc, oneshot};

use super::Engine;
use crate::path::{
    VolumeEvent,
    frame::{Body, Frame, decode, encode},
    stream::{Packet, PacketSink, PacketSource, StreamEnded},
};

/// So many bytes are given to the stream at once.
const BATCH: usize = 256 * 1024;

/// What waits for an answer to a frame.
enum Waiter {
    Write(u64),
    Block(oneshot::Sender<()>),
    Flush(u64, Option<oneshot::Sender<()>>),
    Question(mpsc::UnboundedSender<Ask>),
}

/// An answer to a question, or a part of it.
#[derive(Debug, Default)]
pub struct Ask {
    /// Spans of extents.
    pub spans: Vec<(u64, u64)>,
    /// Bytes, or checksums.
    pub data: Bytes,
    /// Nothing follows.
    pub end: bool,
}

/// A flush on its way.
struct Barrier {
    /// The frame's number.
    number: u64,
    since: Instant,
    /// The last write that it covers.
    covers: u64,
    /// Somebody waits for just this one.
    done: Option<oneshot::Sender<()>>,
}

struct Item {
    body: Body,
    data: Bytes,
    waiter: Waiter,
}

#[derive(Default)]
struct Queue {
    /// Writes, flushes, questions.
    first: VecDeque<Item>,
    /// Blocks of a resync: sent when nothing else waits.
    later: VecDeque<Item>,
}

/// The session.
pub struct Session {
    /// Counts sessions with this peer.
    pub id: u64,
    slot: usize,
    epoch: Epoch,
    compression: Compression,
    queue: RefCell<Queue>,
    wake: Notify,
    /// Frames whose doing is awaited, in the order of their numbers.
    doing: RefCell<VecDeque<(u64, Instant, Waiter)>>,
    flushing: RefCell<VecDeque<Barrier>>,
    questions: RefCell<BTreeMap<u64, mpsc::UnboundedSender<Ask>>>,
    used: Cell<bool>,
    over: Cell<bool>,
    asked: Cell<u64>,
    flushed: Cell<u64>,
}

impl Session {
    /// One that nothing is sent on yet.
    pub fn new(id: u64, slot: usize, epoch: Epoch, compression: Compression) -> Rc<Self> {
        Rc::new(Self {
            id,
            slot,
            epoch,
            compression,
            queue: RefCell::default(),
            wake: Notify::new(),
            doing: RefCell::default(),
            flushing: RefCell::default(),
            questions: RefCell::default(),
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

    /// The stream has ended.
    pub fn is_over(&self) -> bool {
        self.over.get()
    }

    /// Writes after this one go there from now on.
    pub fn begin(&self, number: u64) {
        self.used.set(true);
        self.asked.set(number);
        self.flushed.set(number);
    }

    /// Writes go there no more.
    pub fn rest(&self) {
        self.used.set(false);
    }

    /// The stream has ended: nobody waits for it any more.
    pub fn end(&self) {
        self.over.set(true);
        *self.queue.borrow_mut() = Queue::default();
        self.doing.borrow_mut().clear();
        self.flushing.borrow_mut().clear();
        self.questions.borrow_mut().clear();
    }

    fn put(&self, body: Body, data: Bytes, waiter: Waiter) {
        if !self.over.get() {
            self.queue.borrow_mut().first.push_back(Item { body, data, waiter });
            self.wake.notify_one();
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

    /// A block of a resync; `None` when the stream ended first.
    pub async fn block(&self, body: Body, data: Bytes) -> Option<()> {
        if self.over.get() {
            return None;
        }
        let (done, wait) = oneshot::channel();
        self.queue.borrow_mut().later.push_back(Item { body, data, waiter: Waiter::Block(done) });
        self.wake.notify_one();
        wait.await.ok()
    }

    /// Blocks that are not on their way yet are not sent: their resync was stopped, and nobody keeps
    /// newer writes from their places any more (R30).
    pub fn forget_blocks(&self) {
        self.queue.borrow_mut().later.clear();
    }

    /// A question; `None` when the stream ended first.
    pub async fn ask(&self, body: Body, data: Bytes) -> Option<Ask> {
        let (part, mut parts) = mpsc::unbounded_channel();
        self.put(body, data, Waiter::Question(part));
        let mut whole = Ask::default();
        loop {
            let part: Ask = parts.recv().await?;
            whole.spans.extend(part.spans);
            if part.end {
                whole.data = part.data;
                return Some(whole);
            }
        }
    }

    /// How long the peer has owed an answer.
    pub fn owes(&self) -> Duration {
        let oldest = |since: Option<Instant>| since.map_or(Duration::ZERO, |since| since.elapsed());
        let doing = oldest(self.doing.borrow().front().map(|(_, since, _)| *since));
        doing.max(oldest(self.flushing.borrow().front().map(|it| it.since)))
    }

    /// Sends what is queued, until the stream ends.
    pub async fn write_out(&self, sink: &mut dyn PacketSink) -> StreamEnded {
        let mut packets = Vec::new();
        let mut number = 1; // the first was the greeting
        loop {
            let mut bytes = 0;
            while bytes < BATCH
                && let Some(item) = self.next(bytes == 0)
            {
                number += 1;
                bytes += 64 + item.data.len();
                packets.push(self.pack(number, item));
            }
            if packets.is_empty() {
                self.wake.notified().await;
            } else if let Err(ended) = sink.send(&mut packets).await {
                return ended;
            }
        }
    }

    fn next(&self, also_later: bool) -> Option<Item> {
        let mut queue = self.queue.borrow_mut();
        queue.first.pop_front().or_else(|| if also_later { queue.later.pop_front() } else { None })
    }

    fn pack(&self, number: u64, item: Item) -> Packet {
        let now = Instant::now();
        match item.waiter {
            waiter @ (Waiter::Write(_) | Waiter::Block(_)) => {
                self.doing.borrow_mut().push_back((number, now, waiter));
            }
            Waiter::Flush(covers, done) => {
                self.flushing.borrow_mut().push_back(Barrier { number, since: now, covers, done });
            }
            Waiter::Question(to) => {
                self.questions.borrow_mut().insert(number, to);
            }
        }
        let frame = Frame { epoch: self.epoch, number, body: item.body, data: item.data };
        encode(frame, self.compression)
    }

    /// Takes answers, until the stream ends.
    pub async fn read_in(&self, engine: &Engine, source: &mut dyn PacketSource) -> StreamEnded {
        let mut number = 1; // the first was the welcome
        loop {
            let packet = match source.next().await {
                Ok(packet) => packet,
                Err(ended) => return ended,
            };
            number += 1;
            let frame = match decode(packet) {
                Ok(frame) if frame.number == number && frame.epoch == self.epoch => frame,
                Ok(frame) => {
                    return StreamEnded(format!("frame {} came where {number} was due", frame.number));
                }
                Err(why) => return StreamEnded(why.to_string()),
            };
            if let Err(ended) = self.take(engine, frame) {
                return ended;
            }
        }
    }

    fn take(&self, engine: &Engine, frame: Frame) -> Result<(), StreamEnded> {
        match frame.body {
            Body::Done { through } => self.done(engine, through),
            Body::Flushed { through } => self.has_flushed_frames(engine, through),
            Body::Extents { of, spans } => self.answer(of, Ask { spans, ..Ask::default() }),
            Body::Answer { of } => self.answer(of, Ask { data: frame.data, end: true, spans: Vec::new() }),
            Body::Failed(why) => {
                let peer = engine.name_of(self.slot);
                engine.shared.tell(VolumeEvent::PeerDiskFailed { peer, why: why.clone() });
                return Err(StreamEnded(format!("its disk failed: {why}")));
            }
            other => return Err(StreamEnded(format!("a secondary does not say {other:?}"))),
        }
        Ok(())
    }

    fn done(&self, engine: &Engine, through: u64) {
        loop {
            let waiter = {
                let mut doing = self.doing.borrow_mut();
                if doing.front().is_none_or(|(number, ..)| *number > through) {
                    return;
                }
                doing.pop_front()
            };
            match waiter {
                Some((_, _, Waiter::Write(number))) => engine.peer_leg(number, self.slot, self.id),
                Some((_, _, Waiter::Block(done))) => {
                    let _the_resync_was_stopped = done.send(());
                }
                _ => {}
            }
        }
    }

    fn has_flushed_frames(&self, engine: &Engine, through: u64) {
        let mut flushing = self.flushing.borrow_mut();
        let count = flushing.iter().take_while(|it| it.number <= through).count();
        for barrier in flushing.drain(..count) {
            self.flushed.set(self.flushed.get().max(barrier.covers));
            if let Some(done) = barrier.done {
                let _the_resync_was_stopped = done.send(());
            }
        }
        drop(flushing);
        if self.is_used() {
            engine.copy.journal().peer_flushed(self.slot, self.flushed.get());
        }
        engine.look_again();
    }

    fn answer(&self, of: u64, part: Ask) {
        let mut questions = self.questions.borrow_mut();
        let to = if part.end { questions.remove(&of) } else { questions.get(&of).cloned() };
        if let Some(to) = to {
            let _who_asked_is_gone = to.send(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn r30_blocks_of_a_resync_that_was_stopped_do_not_follow_newer_writes() {
        let session = Session::new(1, 0, Epoch(1), Compression::None);
        let block = || session.block(Body::SyncBlock { offset: 0 }, Bytes::new()).now_or_never();
        assert!(block().is_none(), "it waits, and whoever asked has gone");
        assert!(session.next(true).is_some(), "it would be sent all the same");
        assert!(block().is_none());
        session.forget_blocks();
        session.write(Body::Write { offset: 0, record: false }, Bytes::new(), 1);
        assert!(matches!(session.next(true), Some(Item { waiter: Waiter::Write(1), .. })));
        assert!(session.next(true).is_none());
    }
}
