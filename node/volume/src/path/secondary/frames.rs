//! What is done with the frames of a primary that was let in: in their order, each under its epoch.

use std::{ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use futures::FutureExt;
use tasuki_core::{
    ids::{Epoch, ServerName},
    mirror::DiskState,
};
use tokio::sync::{Notify, mpsc};

use super::{Gate, beside::Beside, saved};
use crate::path::{
    copy::{Change, Copy, DiskError, NotEntered},
    events::VolumeEvent,
    frame::{Body, FRAME_LIMIT, Frame, Speech, decode, encode},
    lacking::lacking,
    options::lacks,
    resync::sums,
    stream::{Duplex, Packet, PacketSink, StreamEnded},
};

/// Frames that have arrived are done together before they are answered, at most so many.
const TOGETHER: usize = 128;
/// Spans in one frame.
const SPANS: usize = 4096;
/// Why a session ends that is ended.
const OVER: &str = "a newer stream has begun, or the volume is closed";

/// What other tasks have done for the session.
enum Job {
    Flushed(u64, Result<(), DiskError>),
    Answered(u64, Result<Bytes, DiskError>),
}

/// Why a session ends.
enum Ending {
    Stream(StreamEnded),
    Disk(DiskError),
}

impl From<StreamEnded> for Ending {
    fn from(ended: StreamEnded) -> Self {
        Self::Stream(ended)
    }
}

impl From<DiskError> for Ending {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl From<NotEntered> for Ending {
    fn from(error: NotEntered) -> Self {
        match error {
            NotEntered::Disk(why) => Self::Disk(why),
            NotEntered::Full => Self::Stream(StreamEnded("the activity log is full".to_owned())),
        }
    }
}

struct Session<'a> {
    gate: &'a Gate,
    primary: ServerName,
    epoch: Epoch,
    speech: Speech,
    /// The door for a stream beside this one; none for that stream itself.
    beside: Option<&'a Beside>,
    sink: Box<dyn PacketSink>,
    packets: Vec<Packet>,
    /// The last number sent, and the last that came.
    sent: u64,
    came: u64,
    /// The last frame that was done, and the last that the primary was told of.
    done: u64,
    told: u64,
    flush_wanted: Option<u64>,
    flushing: bool,
    jobs: mpsc::UnboundedSender<Job>,
}

impl Gate {
    /// Serves a primary until its stream ends, or it is ended. It is told `first`, and may open a stream
    /// beside this one where there is a door for it.
    pub(super) async fn serve(
        &self,
        primary: &ServerName,
        (epoch, speech): (Epoch, Speech),
        (first, beside): (Body, Option<&Beside>),
        duplex: Duplex,
        stop: &Notify,
    ) -> StreamEnded {
        let Duplex { sink, mut source } = duplex;
        let (jobs, mut done) = mpsc::unbounded_channel();
        let mut session = Session {
            gate: self,
            primary: primary.clone(),
            epoch,
            speech,
            beside,
            sink,
            packets: Vec::new(),
            sent: 0,
            came: 1,
            done: 1,
            told: 1,
            flush_wanted: None,
            flushing: false,
            jobs,
        };
        session.say(first, Bytes::new());
        let ending = loop {
            // A primary that stands still takes no answers: a newer one must not wait for it.
            let sent = tokio::select! {
                biased;
                () = stop.notified() => Err(StreamEnded(OVER.to_owned())),
                sent = session.send() => sent,
            };
            if let Err(ended) = sent {
                break Ending::Stream(ended);
            }
            let step = if session.flush_wanted.is_some() && !session.flushing {
                session.flush(&mut *source).await
            } else {
                tokio::select! {
                    biased;
                    () = stop.notified() => break Ending::Stream(StreamEnded(OVER.to_owned())),
                    Some(job) = done.recv() => session.job(job),
                    packet = source.next() => match packet {
                        Ok(packet) => session.take(packet, &mut *source).await,
                        Err(ended) => Err(ended.into()),
                    },
                }
            };
            if let Err(ending) = step {
                break ending;
            }
        };
        match ending {
            Ending::Stream(ended) => ended,
            Ending::Disk(why) => {
                self.shared.status().disk_failed = Some(why.why.clone());
                session.say(Body::Failed(why.why.clone()), Bytes::new());
                tokio::select! {
                    () = stop.notified() => {}
                    _it_may_be_gone = session.send() => {}
                }
                StreamEnded(format!("the disk failed: {}", why.why))
            }
        }
    }
}

impl Session<'_> {
    fn copy(&self) -> &Arc<Copy> {
        &self.gate.copy
    }

    fn say(&mut self, body: Body, data: Bytes) {
        self.sent += 1;
        let frame = Frame { epoch: self.epoch, number: self.sent, body, data };
        self.packets.push(encode(frame, self.speech));
    }

    async fn send(&mut self) -> Result<(), StreamEnded> {
        if self.done > self.told {
            self.told = self.done;
            self.say(Body::Done { through: self.done }, Bytes::new());
        }
        if self.packets.is_empty() {
            return Ok(());
        }
        self.sink.send(&mut self.packets).await
    }

    /// Does a frame, and all that have arrived behind it.
    async fn take(
        &mut self,
        packet: Packet,
        source: &mut dyn crate::path::PacketSource,
    ) -> Result<(), Ending> {
        let mut next = Some(packet);
        let mut count = 0;
        while let Some(packet) = next.take() {
            if self.frame(packet).await?.is_break() {
                break;
            }
            count += 1;
            if count < TOGETHER
                && let Some(arrived) = source.next().now_or_never()
            {
                next = Some(arrived?);
            }
        }
        Ok(())
    }

    /// One frame. `Break`: its answer should go out before the next is looked at.
    async fn frame(&mut self, packet: Packet) -> Result<ControlFlow<()>, Ending> {
        let frame = decode(packet).map_err(|why| StreamEnded(why.to_string()))?;
        self.came += 1;
        if frame.number != self.came {
            let why = format!("frame {} came where {} was due", frame.number, self.came);
            return Err(StreamEnded(why).into());
        }
        let over = frame.epoch != self.epoch || self.gate.epoch() > self.epoch;
        if over && !lacks!(self.gate.shared.options, R31OlderFrames) {
            return Err(StreamEnded(format!("epoch {} is over", frame.epoch)).into());
        }
        let number = frame.number;
        let of_resync =
            matches!(frame.body, Body::SyncBlock { .. } | Body::SyncZero { .. } | Body::Sums { .. });
        if self.beside.is_none() && !of_resync {
            return Err(StreamEnded(format!("{:?} came beside the writes", frame.body)).into());
        }
        match frame.body {
            Body::Write { offset, record } => {
                self.change(number, offset, Change::Bytes(frame.data), record).await?;
                return Ok(ControlFlow::Continue(()));
            }
            Body::SyncBlock { offset } => {
                self.change(number, offset, Change::Bytes(frame.data), false).await?;
                let long = self.beside.is_none();
                return Ok(if long { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
            }
            Body::Trim { offset, length, record } => {
                self.change(number, offset, Change::Trim(length), record).await?;
            }
            Body::Zero { offset, length, may_trim, record } => {
                self.change(number, offset, Change::Zero { length, may_trim }, record).await?;
            }
            Body::SyncZero { offset, length } => {
                self.change(number, offset, Change::Zero { length, may_trim: true }, false).await?;
            }
            Body::Flush => self.flush_wanted = Some(number),
            Body::Adopt(history) => {
                self.copy().store_state(DiskState::Consistent, Some(history)).await?;
                self.say(Body::Answer { of: number }, Bytes::new());
            }
            Body::Record(spans) => {
                self.record(&spans).await?;
                self.say(Body::Answer { of: number }, Bytes::new());
            }
            Body::Read { offset, length } => {
                self.inside(offset, u64::from(length))?;
                if length as usize > FRAME_LIMIT {
                    return Err(StreamEnded(format!("{length} bytes are asked for")).into());
                }
                let copy = self.copy().clone();
                self.answer(number, async move { copy.read(offset, length).await });
            }
            Body::Sums { offset, length, chunk } => {
                self.inside(offset, u64::from(length))?;
                if length as usize > FRAME_LIMIT || chunk == 0 {
                    return Err(StreamEnded(format!("sums of {length} bytes are asked for")).into());
                }
                let copy = self.copy().clone();
                self.answer(
                    number,
                    async move { Ok(sums::of(copy.read(offset, length).await?, chunk).await?) },
                );
            }
            Body::SyncBegin { full, save } => {
                let theirs = save.then(|| saved::places_in(&frame.data)).flatten();
                self.begin_sync(number, full, save, theirs).await?;
            }
            Body::SyncEnd(history) => {
                self.copy().in_step(&self.primary, history).await?;
                self.gate.shared.status().source = Some((self.primary.clone(), false));
                self.say(Body::Answer { of: number }, Bytes::new());
            }
            Body::Measure => {
                let room = self.copy().measure().await?;
                self.say(Body::Answer { of: number }, Bytes::copy_from_slice(&room.to_le_bytes()));
            }
            Body::Resize(geometry) => {
                self.copy().resize(geometry).await?;
                self.say(Body::Answer { of: number }, Bytes::new());
            }
            other => return Err(StreamEnded(format!("a primary does not say {other:?}")).into()),
        }
        Ok(ControlFlow::Break(()))
    }

    fn inside(&self, offset: u64, length: u64) -> Result<(), StreamEnded> {
        match offset.checked_add(length) {
            Some(end) if end <= self.copy().geometry().size => Ok(()),
            _ => Err(StreamEnded(format!("{length} bytes at {offset} are outside the volume"))),
        }
    }

    async fn change(&mut self, number: u64, offset: u64, change: Change, record: bool) -> Result<(), Ending> {
        self.inside(offset, change.length())?;
        let recorded = record && !lacks!(self.gate.shared.options, R27NoRecord);
        let entered = if recorded { Some(self.enter(offset, change.length()).await?) } else { None };
        let result = match &change {
            // In the order of the frames, to the page cache; long blocks beside writes do not stop those.
            Change::Bytes(_) if self.beside.is_some() || Copy::is_inline(&change) => {
                self.copy().change_now(offset, &change)
            }
            Change::Bytes(_) | Change::Trim(_) | Change::Zero { .. } => {
                self.copy().change(offset, change).await
            }
        };
        if let Some((number, regions)) = entered {
            let mut journal = self.copy().journal();
            journal.local_done(number);
            journal.activity.leave(regions.0, regions.1);
        }
        result?;
        self.done = number;
        Ok(())
    }

    /// The primary lacks what it writes now: that is in the map, and until the map is on the disk in the
    /// activity log (R27, R29).
    async fn enter(&mut self, offset: u64, length: u64) -> Result<(u64, (u32, u32)), Ending> {
        let copy = self.copy().clone();
        let geometry = copy.geometry();
        let (extents, regions) = (geometry.extents_of(offset, length), geometry.regions_of(offset, length));
        if copy.enter(regions.0, regions.1).await == Err(NotEntered::Full) {
            copy.flush().await?;
            copy.keep_maps(false).await?;
            copy.enter(regions.0, regions.1).await?;
        }
        let mut journal = copy.journal();
        let slot = journal.slot(&self.primary).ok_or_else(|| self.stranger())?;
        Ok((journal.begin_for(slot, extents, regions), regions))
    }

    fn stranger(&self) -> StreamEnded {
        StreamEnded(format!("{} keeps no copy of this volume", self.primary))
    }

    /// The primary has lost its disk: these extents of it may be older than here. The log that names
    /// what comes is this copy's own from here on.
    async fn record(&mut self, spans: &[(u64, u64)]) -> Result<(), Ending> {
        if lacks!(self.gate.shared.options, R27NoRecord) {
            return Ok(());
        }
        let copy = self.copy().clone();
        {
            let mut journal = copy.journal();
            let slot = journal.slot(&self.primary).ok_or_else(|| self.stranger())?;
            if let Some(leg) = journal.legs.get_mut(slot) {
                for (first, end) in spans {
                    leg.map.set(*first, *end);
                }
            }
        }
        copy.keep_maps(false).await?;
        copy.begin_primary(self.epoch).await?;
        Ok(())
    }

    /// `theirs`: what the primary's map names, where a loser's copy is saved; `None`: not known.
    async fn begin_sync(
        &mut self,
        number: u64,
        full: bool,
        save: bool,
        theirs: Option<Vec<(u64, u64)>>,
    ) -> Result<(), Ending> {
        let copy = self.copy().clone();
        self.gate.shared.status().source = Some((self.primary.clone(), true));
        let spans = lacking(&copy, &self.primary);
        if save {
            let all = vec![(0, copy.geometry().extents())];
            let wanted = theirs.filter(|_| !full).map_or(all, |theirs| saved::union(&theirs, &spans));
            self.save(&wanted).await?;
        }
        // R30: before the first block the copy is half written by its own word.
        copy.store_state(DiskState::Inconsistent, None).await?;
        if !lacks!(self.gate.shared.options, R30NoUnion) {
            for part in spans.chunks(SPANS) {
                self.say(Body::Extents { of: number, spans: part.to_vec() }, Bytes::new());
            }
        }
        // What it sends can come beside the writes of who knows this.
        let token = self.beside.map(Beside::token).unwrap_or_default();
        self.say(Body::Answer { of: number }, token);
        Ok(())
    }

    /// What cannot be saved is not overwritten: the stream ends, and the copy is as it was.
    async fn save(&mut self, wanted: &[(u64, u64)]) -> Result<(), Ending> {
        let shared = self.gate.shared.clone();
        let copy = self.copy().clone();
        let saved = saved::save(&copy, &shared.options.saved, &self.primary, wanted).await;
        let told = saved.clone().map_err(|error| error.why).transpose();
        if let Some(told) = told {
            shared.tell(VolumeEvent::Saved(told));
        }
        match saved {
            Ok(_) => Ok(()),
            Err(error) => {
                let why = format!("what only this copy has cannot be saved: {}", error.why);
                Err(StreamEnded(why).into())
            }
        }
    }

    fn answer(&self, number: u64, work: impl Future<Output = Result<Bytes, DiskError>> + Send + 'static) {
        let jobs = self.jobs.clone();
        tokio::spawn(async move {
            let _the_session_has_ended = jobs.send(Job::Answered(number, work.await));
        });
    }

    /// Flushes; the next one covers everything that waits for it. Here, if nothing else has arrived
    /// and the disk is quick; else in a task, and what arrives is done meanwhile.
    async fn flush(&mut self, source: &mut dyn crate::path::PacketSource) -> Result<(), Ending> {
        let Some(number) = self.flush_wanted.take() else { return Ok(()) };
        let next = source.next().now_or_never();
        let copy = self.copy().clone();
        if next.is_none() && copy.is_quick() {
            copy.flush_here().await?;
            self.say(Body::Flushed { through: number }, Bytes::new());
            return Ok(());
        }
        self.flushing = true;
        let jobs = self.jobs.clone();
        // It covers what has been done before it is polled first, which is more than it has to.
        tokio::spawn(async move {
            let _the_session_has_ended = jobs.send(Job::Flushed(number, copy.flush().await));
        });
        match next {
            Some(packet) => self.take(packet?, source).await,
            None => Ok(()),
        }
    }

    fn job(&mut self, job: Job) -> Result<(), Ending> {
        match job {
            Job::Flushed(through, result) => {
                result?;
                self.flushing = false;
                self.say(Body::Flushed { through }, Bytes::new());
            }
            Job::Answered(of, data) => self.say(Body::Answer { of }, data?),
        }
        Ok(())
    }
}
