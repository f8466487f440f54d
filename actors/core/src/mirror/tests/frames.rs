//! What the two ends of a stream do with what arrives, and the steps of a resync.

use std::collections::{BTreeSet, VecDeque};

use super::{
    Side,
    disk::name,
    path::{Copying, Leg, Path},
    settings::Gap,
    streams::{Frame, Word},
    world::World,
};
use crate::mirror::{DiskState, state::Event};

impl World {
    /// A secondary takes the next frame of a stream.
    pub fn deliver(&mut self, at: usize) -> bool {
        let Some(it) = self.streams.get(at) else { return false };
        let (from, to, epoch) = (it.from, it.to, it.epoch);
        if !it.open_to || self.process(to).is_none() {
            return false;
        }
        if self.streams[at].broken && self.streams[at].down.is_empty() {
            self.streams[at].open_to = false;
            return true;
        }
        let own = self.servers[to].disk.epoch;
        let Some(frame) = self.streams[at].down.pop_front() else { return false };
        let failed = self.servers[to].disk.failed;
        if failed || own > epoch && self.settings.gap != Some(Gap::OlderFrames) {
            let it = &mut self.streams[at];
            (it.broken, it.open_to, it.down) = (true, false, VecDeque::new());
            return true;
        }
        if self.telling {
            self.say(format!("  {} takes {} of {}", name(to), frame.brief(), name(from)));
        }
        let Some(word) = self.take(from, to, frame) else { return true };
        let it = &mut self.streams[at];
        if !it.broken && it.open_from {
            it.up.push_back(word);
        }
        true
    }

    fn take(&mut self, from: Side, to: Side, frame: Frame) -> Option<Word> {
        let extents = self.settings.extents;
        Some(match frame {
            Frame::Write { id, extent, record } => {
                self.servers[to].disk.write(extent, id);
                if record && self.settings.gap != Some(Gap::NotRecorded) {
                    self.record(to, from, &[extent]);
                }
                Word::Written(id)
            }
            Frame::Flush(id) => {
                self.servers[to].disk.flush();
                Word::Flushed(id)
            }
            Frame::Sync(sent) => {
                self.servers[to].disk.flush();
                Word::Synced(sent)
            }
            Frame::Begin(run) => {
                self.servers[to].disk.state = DiskState::Inconsistent;
                self.servers[to].disk.blank = false;
                let log = self.servers[to].disk.log.clone();
                let maps = &self.process(to)?.path.maps;
                let named = (0..extents).filter(|extent| maps[from].contains(*extent));
                Word::Ready(run, named.chain(log.into_iter().map(u64::from)).collect())
            }
            Frame::Block { run, extent, number } => {
                self.servers[to].disk.write(extent, number);
                Word::Copied(run, extent)
            }
            Frame::ResyncFlush(run) => {
                self.servers[to].disk.flush();
                Word::ResyncFlushed(run)
            }
            Frame::End(run, history) => {
                let server = &mut self.servers[to];
                server.disk.state = DiskState::Consistent;
                server.disk.history = history;
                server.disk.log.clear();
                let process = server.process.as_mut()?;
                process.path.maps[from].clear(0, extents);
                server.disk.keep(from, &mut process.path.maps[from]);
                Word::Ended(run)
            }
        })
    }

    /// A primary takes the next word of a stream.
    pub fn hear(&mut self, at: usize) -> bool {
        let Some(it) = self.streams.get(at) else { return false };
        let (from, to) = (it.from, it.to);
        if !it.open_from || self.process(from).is_none() {
            return false;
        }
        let Some(word) = self.streams[at].up.pop_front() else { return false };
        if let Some(process) = self.process(from) {
            let path = &mut process.path;
            match word {
                Word::Written(id) | Word::Flushed(id) => {
                    if let Some(flight) = path.flights.iter_mut().find(|flight| flight.id == id) {
                        flight.legs[to] = Leg::Done;
                    }
                    if matches!(word, Word::Flushed(_)) {
                        // What was sent before the flush is on the peer's disk.
                        path.sent[to].retain(|_, number| *number > id);
                    }
                }
                Word::Synced(sent) => {
                    let older = |extent: &u64, number: &u64| sent.get(extent).is_none_or(|at| at < number);
                    path.sent[to].retain(|extent, number| older(extent, number));
                }
                Word::Ready(run, named) if run == path.run[to] => self.ready(from, to, &named),
                Word::Copied(run, extent) if run == path.run[to] => self.copied(from, to, extent),
                Word::ResyncFlushed(run) if run == path.run[to] => self.resync_flushed(from, to),
                Word::Ended(run) if run == path.run[to] && path.resync[to] == Copying::Ending => {
                    path.resync[to] = Copying::No;
                    let incarnation = process.incarnation;
                    self.mail(from, incarnation, Event::Synced { peer: name(to) });
                }
                _ => {}
            }
        }
        true
    }

    pub fn start_resync(&mut self, side: Side, peer: Side, full: bool) {
        let (stands, extents) = (self.stands(side, peer), self.settings.extents);
        let Some(process) = self.process(side).filter(|_| stands) else { return };
        let path = &mut process.path;
        path.resync[peer] = Copying::Asked;
        path.resting[peer] = false;
        path.run[peer] += 1;
        let run = path.run[peer];
        if full {
            path.maps[peer].set(0, extents);
        }
        if self.settings.gap != Some(Gap::SourceUnflushed) {
            self.flush_here(side);
        }
        self.keep(side);
        self.counts.resyncs += 1;
        self.counts.full += u64::from(full);
        self.send(side, peer, Frame::Begin(run));
    }

    /// R30: what either side's maps and logs name.
    fn ready(&mut self, side: Side, peer: Side, named: &[u64]) {
        let union = self.settings.gap != Some(Gap::NoUnion);
        let Some(process) = self.process(side) else { return };
        let path = &mut process.path;
        if path.resync[peer] != Copying::Asked {
            return;
        }
        for extent in named.iter().filter(|_| union) {
            path.maps[peer].set(*extent, extent + 1);
        }
        for region in path.activity.table() {
            path.maps[peer].set(u64::from(region), u64::from(region) + 1);
        }
        path.resync[peer] = Copying::Runs { under_way: None, copied: BTreeSet::new() };
    }

    fn copied(&mut self, side: Side, peer: Side, extent: u64) {
        let early = self.settings.gap == Some(Gap::ClearedEarly);
        let Some(process) = self.process(side) else { return };
        let Copying::Runs { under_way, copied } = &mut process.path.resync[peer] else { return };
        *under_way = None;
        copied.insert(extent);
        if early {
            process.path.maps[peer].clear(extent, extent + 1);
            self.keep(side);
        }
    }

    fn resync_flushed(&mut self, side: Side, peer: Side) {
        let Some(process) = self.process(side) else { return };
        let path = &mut process.path;
        let Copying::Flushing(copied) = path.resync[peer].clone() else { return };
        for extent in copied {
            path.maps[peer].clear(extent, extent + 1);
        }
        path.resync[peer] = Copying::Ending;
        let (history, run) = (path.history.clone(), path.run[peer]);
        self.keep(side);
        self.send(side, peer, Frame::End(run, history));
    }

    /// The next extent of a resync.
    pub fn copy(&mut self, side: Side, peer: Side) -> bool {
        let (gap, extents) = (self.settings.gap, self.settings.extents);
        let stands = self.stands(side, peer);
        let failed = self.servers[side].disk.failed;
        let Some(process) = self.process(side).filter(|_| stands && !failed) else { return false };
        let path = &mut process.path;
        let Copying::Runs { under_way: None, copied } = &path.resync[peer] else { return false };
        if path.resting[peer] {
            return false;
        }
        let copied = copied.clone();
        let run = path.run[peer];
        let waits = |path: &Path, extent: u64| path.maps[peer].contains(extent) && !copied.contains(&extent);
        let free = |path: &Path, extent: u64| !path.is_written(extent) || gap == Some(Gap::NoExclusion);
        let next = (0..extents).find(|extent| waits(path, *extent) && free(path, *extent));
        if let Some(extent) = next {
            if let Copying::Runs { under_way, .. } = &mut path.resync[peer] {
                *under_way = Some(extent);
            }
            let number = self.servers[side].disk.holds(extent);
            self.send(side, peer, Frame::Block { run, extent, number });
            return true;
        }
        if (0..extents).any(|extent| waits(path, extent)) {
            return false;
        }
        path.resync[peer] = Copying::Flushing(copied);
        self.send(side, peer, Frame::ResyncFlush(run));
        true
    }
}
