//! What waits to be sent on one stream of a session, and who waits for answers there.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tasuki_core::ids::Epoch;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::path::{
    frame::{Body, Frame, Speech, decode, encode},
    ranges::Held,
    stream::{Packet, PacketSink, PacketSource, StreamEnded},
};

/// So many bytes are given to the stream at once.
const BATCH: usize = 256 * 1024;

/// What waits for an answer to a frame.
pub enum Waiter {
    /// A write, by its number.
    Write(u64),
    /// A block of a resync. Its place is held until it is done, also when its resync was stopped: a
    /// newer write could overtake it on another stream (R30).
    Block(oneshot::Sender<()>, Option<Rc<Held>>),
    /// A flush that covers writes up to this one.
    Flush(u64, Option<oneshot::Sender<()>>),
    /// A question.
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
pub struct Barrier {
    /// The frame's number.
    number: u64,
    since: Instant,
    /// The last write that it covers.
    pub covers: u64,
    /// Somebody waits for just this one.
    pub done: Option<oneshot::Sender<()>>,
}

/// A frame to be.
pub struct Item {
    pub body: Body,
    pub data: Bytes,
    pub waiter: Waiter,
}

#[derive(Default)]
struct Queue {
    /// Writes, flushes, questions.
    first: VecDeque<Item>,
    /// Sent when nothing else waits.
    later: VecDeque<Item>,
}

/// The lane.
pub struct Lane {
    epoch: Epoch,
    speech: Speech,
    queue: RefCell<Queue>,
    wake: Notify,
    /// Frames whose doing is awaited, in the order of their numbers.
    doing: RefCell<VecDeque<(u64, Instant, Waiter)>>,
    flushing: RefCell<VecDeque<Barrier>>,
    questions: RefCell<BTreeMap<u64, mpsc::UnboundedSender<Ask>>>,
}

impl Lane {
    /// One that nothing is sent on yet.
    pub fn new(epoch: Epoch, speech: Speech) -> Self {
        Self {
            epoch,
            speech,
            queue: RefCell::default(),
            wake: Notify::new(),
            doing: RefCell::default(),
            flushing: RefCell::default(),
            questions: RefCell::default(),
        }
    }

    /// Sends this in its turn.
    pub fn put(&self, item: Item) {
        self.queue.borrow_mut().first.push_back(item);
        self.wake.notify_one();
    }

    /// Sends this when nothing else waits.
    pub fn put_later(&self, item: Item) {
        self.queue.borrow_mut().later.push_back(item);
        self.wake.notify_one();
    }

    /// What waits for its turn after everything else is not sent.
    pub fn forget_later(&self) {
        self.queue.borrow_mut().later.clear();
    }

    /// What is not on its way is not sent.
    pub fn forget(&self) {
        *self.queue.borrow_mut() = Queue::default();
    }

    /// Nobody waits for an answer any more.
    pub fn end(&self) {
        self.forget();
        self.doing.borrow_mut().clear();
        self.flushing.borrow_mut().clear();
        self.questions.borrow_mut().clear();
    }

    /// Blocks on their way hold their places no more.
    pub fn release(&self) {
        for (_, _, waiter) in self.doing.borrow_mut().iter_mut() {
            if let Waiter::Block(_, held) = waiter {
                held.take();
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

    /// What is sent next; with `also_later` also what waits for everything else.
    pub fn next(&self, also_later: bool) -> Option<Item> {
        let mut queue = self.queue.borrow_mut();
        queue.first.pop_front().or_else(|| if also_later { queue.later.pop_front() } else { None })
    }

    /// An item as it goes out, under its number.
    pub fn pack(&self, number: u64, item: Item) -> Packet {
        let now = Instant::now();
        match item.waiter {
            waiter @ (Waiter::Write(_) | Waiter::Block(..)) => {
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
        encode(frame, self.speech)
    }

    /// Hands over what comes, until the stream ends or it is refused.
    pub async fn read_in(
        &self,
        source: &mut dyn PacketSource,
        mut take: impl FnMut(Frame) -> Result<(), StreamEnded>,
    ) -> StreamEnded {
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
            if let Err(ended) = take(frame) {
                return ended;
            }
        }
    }

    /// Who waited for the oldest frame, if the peer has done everything up to this number.
    pub fn done(&self, through: u64) -> Option<Waiter> {
        let mut doing = self.doing.borrow_mut();
        if doing.front().is_none_or(|(number, ..)| *number > through) {
            return None;
        }
        doing.pop_front().map(|(_, _, waiter)| waiter)
    }

    /// Flushes that the peer has made.
    pub fn flushed(&self, through: u64) -> Vec<Barrier> {
        let mut flushing = self.flushing.borrow_mut();
        let count = flushing.iter().take_while(|it| it.number <= through).count();
        flushing.drain(..count).collect()
    }

    /// An answer to a question, or a part of it.
    pub fn answer(&self, of: u64, part: Ask) {
        let mut questions = self.questions.borrow_mut();
        let to = if part.end { questions.remove(&of) } else { questions.get(&of).cloned() };
        if let Some(to) = to {
            let _who_asked_is_gone = to.send(part);
        }
    }
}
