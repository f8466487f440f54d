//! Streams between servers: called, answered, cut. What was sent arrives in order, or the rest of it
//! never does.

use std::collections::{BTreeMap, VecDeque};

use super::{
    Side,
    disk::name,
    path::{Copying, Leg},
    settings::Gap,
    world::{World, volume},
};
use crate::{
    ids::{Epoch, Lineage},
    mirror::{
        handshake::{Hello, Unwelcome, Welcome, answer},
        history::History,
        state::Event,
        wire::Wires,
    },
};

#[derive(Clone, Debug)]
pub enum Frame {
    Write {
        id: u64,
        extent: u64,
        record: bool,
    },
    Flush(u64),
    /// A flush that nobody waits for: these extents are on the disk then.
    Sync(BTreeMap<u64, u64>),
    /// A resync begins, with this number.
    Begin(u32),
    Block {
        run: u32,
        extent: u64,
        number: u64,
    },
    ResyncFlush(u32),
    End(u32, History),
}

impl Frame {
    /// In few words.
    pub fn brief(&self) -> String {
        match self {
            Self::Write { id, extent, record } => {
                format!("write {id} of extent {extent}{}", if *record { ", recording it" } else { "" })
            }
            Self::Flush(_) | Self::Sync(_) => "a flush".to_owned(),
            Self::Begin(_) => "the beginning of a resync".to_owned(),
            Self::Block { extent, number, .. } => format!("a block: {number} in extent {extent}"),
            Self::ResyncFlush(_) => "the flush of a resync".to_owned(),
            Self::End(..) => "the end of a resync".to_owned(),
        }
    }
}

#[derive(Clone, Debug)]
pub enum Word {
    Written(u64),
    Flushed(u64),
    Synced(BTreeMap<u64, u64>),
    Ready(u32, Vec<u64>),
    Copied(u32, u64),
    ResyncFlushed(u32),
    Ended(u32),
}

/// A stream from a primary to a secondary. What has arrived may be read after it broke.
#[derive(Clone, Debug)]
pub struct Stream {
    pub from: Side,
    pub to: Side,
    pub epoch: Epoch,
    pub down: VecDeque<Frame>,
    pub up: VecDeque<Word>,
    /// The primary has not noticed an end.
    pub open_from: bool,
    pub open_to: bool,
    pub broken: bool,
}

impl Stream {
    pub fn stands(&self) -> bool {
        self.open_from && self.open_to && !self.broken
    }
}

impl World {
    pub fn stream_of(&self, from: Side, to: Side) -> Option<usize> {
        self.streams.iter().position(|it| it.from == from && it.to == to && it.open_from)
    }

    /// Whether the stream of a primary to this peer stands.
    pub fn stands(&self, from: Side, to: Side) -> bool {
        self.stream_of(from, to).is_some_and(|at| self.streams[at].stands())
    }

    pub fn linked(&self, one: Side, other: Side) -> bool {
        !self.cut.contains(&(one.min(other), one.max(other)))
    }

    pub fn cut(&mut self, one: Side, other: Side) -> bool {
        if one == other || !self.cut.insert((one.min(other), one.max(other))) {
            return false;
        }
        for it in &mut self.streams {
            if [it.from, it.to] == [one, other] || [it.from, it.to] == [other, one] {
                it.broken = true;
            }
        }
        true
    }

    /// Of what was sent, the rest is lost.
    pub fn drop_frames(&mut self, at: usize) -> bool {
        match self.streams.get_mut(at) {
            Some(it) if it.broken && it.open_to && !it.down.is_empty() => {
                (it.open_to, it.down) = (false, VecDeque::new());
                true
            }
            _ => false,
        }
    }

    pub fn end_streams_of(&mut self, side: Side) {
        for it in &mut self.streams {
            if it.to == side {
                (it.broken, it.open_to, it.down) = (true, false, VecDeque::new());
            }
            if it.from == side {
                (it.broken, it.open_from, it.up) = (true, false, VecDeque::new());
            }
        }
        self.forget_streams();
    }

    fn forget_streams(&mut self) {
        self.streams.retain(|it| it.open_from || it.open_to && !it.down.is_empty());
    }

    /// R31: sessions of older epochs end, and so do the own streams of an older one.
    pub fn end_older(&mut self, side: Side, epoch: Epoch) {
        for it in &mut self.streams {
            if it.epoch < epoch && it.to == side && self.settings.gap != Some(Gap::OlderFrames) {
                (it.broken, it.open_to, it.down) = (true, false, VecDeque::new());
            }
        }
        for peer in 0..self.sides() {
            let older = self.stream_of(side, peer).is_some_and(|at| self.streams[at].epoch < epoch);
            if older {
                self.drop_stream(side, peer);
            }
        }
        self.forget_streams();
    }

    /// What a peer would say to a primary that calls; `None`: nothing.
    pub fn said_to(&mut self, side: Side, peer: Side) -> Option<Result<Hello, Unwelcome>> {
        let own = self.servers[side].disk.size;
        let path = &self.process(side)?.path;
        let (epoch, history) = (path.calling[peer]?, path.history.clone());
        if side == peer || self.stream_of(side, peer).is_some() || !self.linked(side, peer) {
            return None;
        }
        let process = self.process(peer)?;
        let (open, primary) = (!process.lost, process.path.primary);
        let copy = self.servers[peer].disk.local();
        let geometry = crate::mirror::geometry::Geometry::of(own);
        let lineage = Lineage::new("history-1");
        let primary_name = name(side);
        let (volume, wire) = (volume(), Wires::OURS);
        let hello =
            Hello { lineage: lineage.clone(), volume, primary: primary_name, epoch, geometry, history, wire };
        if !open {
            return Some(Err(Unwelcome::NoVolume(super::world::volume())));
        }
        Some(answer(&copy, &lineage, primary, Wires::OURS, &hello).map(|_| hello))
    }

    /// A primary calls a peer.
    pub fn dial(&mut self, side: Side, peer: Side) -> bool {
        let hello = match self.said_to(side, peer) {
            None => return false,
            Some(Err(why)) => {
                let Some(process) = self.process(side) else { return false };
                process.path.refusals[peer] = Some(why.clone());
                let incarnation = process.incarnation;
                self.mail(side, incarnation, Event::PeerRefused { peer: name(peer), why });
                return true;
            }
            Some(Ok(hello)) => hello,
        };
        let (epoch, wire) = (hello.epoch, hello.wire.newest);
        if self.process(peer).is_some_and(|process| process.path.primary.is_some()) {
            self.fail_io(peer); // a newer one has begun
            if let Some(process) = self.process(peer) {
                process.path.primary = None;
            }
        }
        self.end_older(peer, epoch);
        let disk = &mut self.servers[peer].disk;
        disk.epoch = disk.epoch.max(epoch);
        let copy = disk.local();
        let log = disk.log.clone();
        let differing = self.process(peer).map(|it| it.path.differing(side, &log)).unwrap_or_default();
        let welcome = Welcome { server: name(peer), copy, differing, wire };
        let log = self.servers[side].disk.log.clone();
        let gap = self.settings.gap;
        let Some(process) = self.process(side) else { return false };
        let incarnation = process.incarnation;
        let table = process.path.activity.table();
        let own = if gap == Some(Gap::SentBeforeLog) { log } else { [log, table].concat() };
        let differing = process.path.differing(peer, &own);
        process.path.carries[peer] = false;
        process.path.refusals[peer] = None;
        self.forget_streams();
        let (down, up) = (VecDeque::new(), VecDeque::new());
        let (from, to, open_from, open_to, broken) = (side, peer, true, true, false);
        self.streams.push(Stream { from, to, epoch, down, up, open_from, open_to, broken });
        self.mail(side, incarnation, Event::PeerMet { welcome, differing });
        true
    }

    /// A primary notices that a stream has ended; words that it had not read are lost.
    pub fn notice(&mut self, side: Side, peer: Side) -> bool {
        if self.process(side).is_none() {
            return false;
        }
        let ended = self.stream_of(side, peer).is_some_and(|at| !self.streams[at].stands());
        if ended {
            self.drop_stream(side, peer);
        }
        ended
    }

    /// The stream ends here: what the peer may not have on its disk joins its dirty map (R29).
    pub fn drop_stream(&mut self, side: Side, peer: Side) {
        let Some(at) = self.stream_of(side, peer) else { return };
        let it = &mut self.streams[at];
        (it.broken, it.open_from, it.up) = (true, false, VecDeque::new());
        let gap = self.settings.gap;
        let Some(process) = &mut self.servers[side].process else { return };
        let path = &mut process.path;
        path.carries[peer] = false;
        path.resync[peer] = Copying::No;
        let sent = std::mem::take(&mut path.sent[peer]);
        for extent in sent.keys().filter(|_| gap != Some(Gap::UnflushedForgotten)) {
            path.maps[peer].set(*extent, extent + 1);
        }
        for flight in &mut path.flights {
            if flight.legs[peer] == Leg::Sent {
                flight.legs[peer] = Leg::None;
            }
        }
        process.mailbox.push_back(Event::PeerLost { peer: name(peer), why: "ended".into() });
        self.forget_streams();
    }

    pub fn send(&mut self, side: Side, peer: Side, frame: Frame) {
        if let Some(at) = self.stream_of(side, peer)
            && self.streams[at].stands()
        {
            self.streams[at].down.push_back(frame);
        }
    }
}
