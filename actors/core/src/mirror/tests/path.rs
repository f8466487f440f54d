//! The data path: writes on every leg, the activity log, dirty maps, streams and resyncs, one small step
//! at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    Side,
    disk::{Disk, name},
    world::{EXTENTS, Gap, World, volume},
};
use crate::{
    ids::{Epoch, Lineage},
    mirror::{
        DiskState,
        activity::{Activity, Entry},
        dirty_map::DirtyMap,
        handshake::{Hello, Unwelcome, WIRE, Welcome, answer},
        history::History,
        state::{Event, PeerMode},
    },
};

/// What one primary does.
#[derive(Debug)]
pub struct Path {
    pub primary: Option<Epoch>,
    pub attached: bool,
    pub detaching: bool,
    pub failing: bool,
    /// The own disk has failed, and the machine was told.
    pub told_failed: bool,
    pub through: Option<Side>,
    pub history: History,
    pub calling: Vec<Option<Epoch>>,
    pub modes: Vec<PeerMode>,
    /// `SetPeer` came since the stream was met.
    pub carries: Vec<bool>,
    pub maps: Vec<DirtyMap>,
    activity: Activity,
    /// Extents that are not flushed here, and the last write in each.
    local: BTreeMap<u64, u64>,
    /// The same for each peer that was sent them.
    sent: Vec<BTreeMap<u64, u64>>,
    pub flights: Vec<Flight>,
    pub resync: Vec<Copying>,
}

/// A request of the client under way.
#[derive(Clone, Debug)]
pub struct Flight {
    pub id: u64,
    pub what: What,
    begun: bool,
    local: bool,
    legs: Vec<Leg>,
    /// Who lost its power since it began.
    pub lost: Vec<Side>,
}

#[derive(Clone, Debug)]
pub enum What {
    Write(u64),
    /// What the client knew when it began.
    Flush(Vec<u64>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leg {
    None,
    Sent,
    Done,
}

/// How far a resync is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Copying {
    No,
    /// The target is marking itself, and names what its maps name.
    Asked,
    /// Extents are copied: the one that is under way, and those that wait for a flush.
    Runs {
        under_way: Option<u64>,
        copied: BTreeSet<u64>,
    },
    /// Everything was copied: the target flushes.
    Flushing(BTreeSet<u64>),
    /// The target takes over the history.
    Ending,
}

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
    Begin,
    Block {
        extent: u64,
        number: u64,
    },
    ResyncFlush,
    End(History),
}

#[derive(Clone, Debug)]
pub enum Word {
    Written(u64),
    Flushed(u64),
    Synced(BTreeMap<u64, u64>),
    Ready(Vec<u64>),
    Copied(u64),
    ResyncFlushed,
    Ended,
}

/// A stream from a primary to a secondary. What has arrived may be read after it broke.
pub struct Stream {
    pub from: Side,
    pub to: Side,
    epoch: Epoch,
    down: VecDeque<Frame>,
    up: VecDeque<Word>,
    /// The primary has not noticed an end.
    open_from: bool,
    open_to: bool,
    broken: bool,
}

impl Stream {
    pub fn stands(&self) -> bool {
        self.open_from && self.open_to && !self.broken
    }
}

impl Path {
    pub fn new(sides: usize, disk: &Disk) -> Self {
        Self {
            primary: None,
            attached: false,
            detaching: false,
            failing: false,
            told_failed: false,
            through: None,
            history: disk.history.clone(),
            calling: vec![None; sides],
            modes: vec![PeerMode::Absent; sides],
            carries: vec![false; sides],
            maps: (0..sides).map(|peer| disk.map(peer)).collect(),
            activity: Activity::new(2),
            local: BTreeMap::new(),
            sent: vec![BTreeMap::new(); sides],
            flights: Vec::new(),
            resync: vec![Copying::No; sides],
        }
    }

    pub fn is_required(&self, peer: Side) -> bool {
        self.modes[peer] == PeerMode::Required && self.carries[peer] && self.through.is_none()
    }

    fn frozen(&self) -> bool {
        self.modes.iter().zip(&self.carries).any(|(mode, carries)| *mode == PeerMode::Required && !carries)
    }

    /// The own copy does not have them, or not surely.
    pub fn lacks_locally(&self) -> Vec<u64> {
        let flights = self.flights.iter().filter_map(|flight| match flight.what {
            What::Write(extent) if flight.begun => Some(extent),
            _ => None,
        });
        self.local.keys().copied().chain(flights).collect()
    }

    fn differing(&self, peer: Side, log: &[u32]) -> u64 {
        let mut all = self.maps[peer].clone();
        for region in log.iter().map(|region| u64::from(*region)) {
            all.set(region, region + 1);
        }
        all.count()
    }
}

impl World {
    pub fn stream_of(&self, from: Side, to: Side) -> Option<usize> {
        self.streams.iter().position(|it| it.from == from && it.to == to && it.open_from)
    }

    // --- streams ----------------------------------------------------------------------------------

    pub fn linked(&self, one: Side, other: Side) -> bool {
        !self.cut.contains(&(one.min(other), one.max(other)))
    }

    pub fn cut(&mut self, one: Side, other: Side) -> bool {
        if one == other || !self.cut.insert((one.min(other), one.max(other))) {
            return false;
        }
        for at in 0..self.streams.len() {
            let it = &self.streams[at];
            if [it.from, it.to] == [one, other] || [it.from, it.to] == [other, one] {
                self.break_stream(at);
            }
        }
        true
    }

    /// Some of what was sent has arrived, the rest is lost.
    fn break_stream(&mut self, at: usize) {
        let it = &mut self.streams[at];
        if !it.broken {
            it.broken = true;
            let keep = self.random.below(it.down.len() + 1);
            it.down.truncate(keep);
            let keep = self.random.below(it.up.len() + 1);
            it.up.truncate(keep);
        }
    }

    pub fn end_streams_of(&mut self, side: Side) {
        for at in 0..self.streams.len() {
            if [self.streams[at].from, self.streams[at].to].contains(&side) {
                self.break_stream(at);
                let it = &mut self.streams[at];
                if it.to == side {
                    (it.open_to, it.down) = (false, VecDeque::new());
                }
                if it.from == side {
                    (it.open_from, it.up) = (false, VecDeque::new());
                }
            }
        }
    }

    /// R31: sessions of older epochs end, and so do the own streams of an older one.
    pub fn end_older(&mut self, side: Side, epoch: Epoch) {
        for at in 0..self.streams.len() {
            let older = self.streams[at].epoch < epoch;
            if older && self.streams[at].to == side && self.gap != Some(Gap::OlderFrames) {
                self.break_stream(at);
                let it = &mut self.streams[at];
                (it.open_to, it.down) = (false, VecDeque::new());
            }
        }
        for peer in 0..self.sides() {
            let older = self.stream_of(side, peer).is_some_and(|at| self.streams[at].epoch < epoch);
            if older {
                self.drop_stream(side, peer);
            }
        }
    }

    /// A primary calls a peer.
    pub fn dial(&mut self, side: Side, peer: Side) -> bool {
        let Some(process) = self.process(side) else { return false };
        let incarnation = process.incarnation;
        let (Some(epoch), history) = (process.path.calling[peer], process.path.history.clone()) else {
            return false;
        };
        if self.stream_of(side, peer).is_some() {
            return false;
        }
        let lost = |why: &str| Event::PeerLost { peer: name(peer), why: why.into() };
        let there = self.linked(side, peer) && self.process(peer).is_some();
        if !there {
            self.mail(side, incarnation, lost("no answer"));
            return true;
        }
        let copy = self.servers[peer].disk.local();
        let lineage = Lineage::new("history-1");
        let hello = Hello {
            lineage: lineage.clone(),
            volume: volume(),
            primary: name(side),
            epoch,
            geometry: copy.geometry,
            history,
            wire: WIRE,
        };
        let open = self.process(peer).is_some_and(|process| !process.lost);
        let primary = self.process(peer).and_then(|process| process.path.primary);
        let said =
            if open { answer(&copy, &lineage, primary, &hello) } else { Err(Unwelcome::NoVolume(volume())) };
        if let Err(why) = said {
            self.mail(side, incarnation, Event::PeerRefused { peer: name(peer), why });
            return true;
        }
        if primary.is_some() {
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
        let welcome = Welcome { server: name(peer), copy, differing };
        let log = self.servers[side].disk.log.clone();
        let Some(process) = self.process(side) else { return false };
        let own: Vec<u32> = process.path.activity.table();
        let own = if self.gap == Some(Gap::SentBeforeLog) { log } else { [log, own].concat() };
        let Some(process) = self.process(side) else { return false };
        let differing = process.path.differing(peer, &own);
        process.path.carries[peer] = false;
        self.streams.retain(|it| it.open_from || it.open_to && !it.down.is_empty());
        let (down, up) = (VecDeque::new(), VecDeque::new());
        let (from, to) = (side, peer);
        self.streams.push(Stream {
            from,
            to,
            epoch,
            down,
            up,
            open_from: true,
            open_to: true,
            broken: false,
        });
        self.mail(side, incarnation, Event::PeerMet { welcome, differing });
        true
    }

    /// A primary notices that a stream has ended.
    pub fn notice(&mut self, side: Side, peer: Side) -> bool {
        if self.process(side).is_none() {
            return false;
        }
        let Some(at) = self.stream_of(side, peer) else { return false };
        if self.streams[at].stands() || !self.streams[at].up.is_empty() {
            return false;
        }
        self.drop_stream(side, peer);
        true
    }

    /// The stream ends here: what the peer may not have on its disk joins its dirty map (R29).
    pub fn drop_stream(&mut self, side: Side, peer: Side) {
        let Some(at) = self.stream_of(side, peer) else { return };
        self.break_stream(at);
        self.streams[at].open_from = false;
        let gap = self.gap;
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
    }

    pub fn set_peer(&mut self, side: Side, peer: Side, mode: PeerMode) -> bool {
        let at = self.stream_of(side, peer);
        let stands = at.is_some_and(|at| self.streams[at].stands());
        let there = self.process(peer).is_some() && !self.servers[peer].disk.failed;
        let Some(process) = self.process(side) else { return false };
        let path = &mut process.path;
        if mode == PeerMode::Required {
            if !stands || !there || !path.maps[peer].is_empty() {
                return false;
            }
            let history = path.history.clone();
            path.modes[peer] = mode;
            path.carries[peer] = true;
            // A flush under way has to wait for this peer too from here on.
            let again = |flight: &&mut Flight| matches!(flight.what, What::Flush(_)) && flight.begun;
            let waiting = path.flights.iter_mut().filter(again).filter(|it| it.legs[peer] == Leg::None);
            let waiting: Vec<u64> = waiting
                .map(|flight| {
                    flight.legs[peer] = Leg::Sent;
                    flight.id
                })
                .collect();
            self.servers[peer].disk.history = history;
            self.servers[peer].disk.blank = false;
            waiting.into_iter().for_each(|id| self.send(side, peer, Frame::Flush(id)));
            return true;
        }
        path.modes[peer] = mode;
        path.carries[peer] = at.is_some();
        if mode == PeerMode::Absent {
            for flight in path.flights.iter().filter(|flight| flight.begun && flight.legs[peer] != Leg::Done)
            {
                if let What::Write(extent) = flight.what {
                    path.maps[peer].set(extent, extent + 1);
                }
            }
        }
        true
    }

    fn send(&mut self, side: Side, peer: Side, frame: Frame) {
        if let Some(at) = self.stream_of(side, peer)
            && !self.streams[at].broken
            && self.streams[at].open_to
        {
            self.streams[at].down.push_back(frame);
        }
    }

    // --- the client -------------------------------------------------------------------------------

    /// A request to whoever has the volume open, as far as that server knows.
    pub fn request(&mut self, side: Side, extent: u64, flush: bool) -> bool {
        let sides = self.sides();
        let known: Vec<u64> = self.known.iter().map(|known| known.acknowledged).collect();
        let id = self.next;
        let Some(process) = self.process(side) else { return false };
        let path = &mut process.path;
        let overlaps = |flight: &Flight| matches!(flight.what, What::Write(other) if other == extent);
        if !path.attached
            || path.detaching
            || path.failing
            || path.flights.len() > 3
            || path.flights.iter().any(overlaps)
        {
            return false;
        }
        let what = if flush { What::Flush(known) } else { What::Write(extent) };
        let legs = vec![Leg::None; sides];
        path.flights.push(Flight { id, what, begun: false, local: false, legs, lost: Vec::new() });
        self.next += 1;
        true
    }

    /// The request's legs are sent, once its region is in the log (R29).
    pub fn begin(&mut self, side: Side, at: usize) -> bool {
        let (gap, failed) = (self.gap, self.servers[side].disk.failed);
        let Some(process) = self.process(side) else { return false };
        let path = &mut process.path;
        if path.failing || path.frozen() || failed && path.through.is_none() {
            return false;
        }
        let Some(flight) = path.flights.get(at).filter(|flight| !flight.begun).cloned() else { return false };
        let mut frames = Vec::new();
        match flight.what {
            What::Write(extent) => {
                let copied = path
                    .resync
                    .iter()
                    .any(|it| matches!(it, Copying::Runs { under_way: Some(now), .. } if *now == extent));
                if copied && gap != Some(Gap::NoExclusion) {
                    return false;
                }
                if !failed && !enter(path, extent, gap) {
                    return false;
                }
                path.activity.write(extent as u32, extent as u32 + 1, flight.id);
                path.local.insert(extent, flight.id);
                for peer in (0..path.modes.len()).filter(|peer| *peer != side) {
                    let goes = path.carries[peer] && path.modes[peer] != PeerMode::Absent;
                    if goes {
                        path.sent[peer].insert(extent, flight.id);
                        let record = path.through == Some(peer);
                        frames.push((peer, Frame::Write { id: flight.id, extent, record }));
                    } else {
                        path.maps[peer].set(extent, extent + 1);
                    }
                }
            }
            What::Flush(_) => {
                for peer in (0..path.modes.len()).filter(|peer| *peer != side) {
                    if path.carries[peer] && path.modes[peer] != PeerMode::Absent {
                        frames.push((peer, Frame::Flush(flight.id)));
                    }
                }
            }
        }
        path.flights[at].begun = true;
        for (peer, frame) in frames {
            if let Some(process) = self.process(side) {
                process.path.flights[at].legs[peer] = Leg::Sent;
            }
            self.send(side, peer, frame);
        }
        true
    }

    /// The log is written.
    pub fn log(&mut self, side: Side) -> bool {
        let server = &mut self.servers[side];
        if server.frozen || server.disk.failed {
            return false;
        }
        let Some(process) = &mut server.process else { return false };
        let table = process.path.activity.table();
        if process.path.primary.is_none() {
            return false;
        }
        process.path.activity.logged(&table);
        server.disk.log = table;
        true
    }

    /// Dirty maps are kept.
    pub fn keep(&mut self, side: Side) -> bool {
        let sides = self.sides();
        let server = &mut self.servers[side];
        if server.frozen || server.disk.failed {
            return false;
        }
        let Some(process) = &mut server.process else { return false };
        let mut kept = false;
        for peer in 0..sides {
            kept |= !process.path.maps[peer].pages_changed().is_empty();
            server.disk.keep(peer, &mut process.path.maps[peer]);
        }
        kept
    }

    /// The own disk flushes, and the peers are asked to.
    pub fn settle(&mut self, side: Side) -> bool {
        let sides = self.sides();
        let failed = self.servers[side].disk.failed;
        let Some(process) = self.process(side) else { return false };
        if process.path.primary.is_none() {
            return false;
        }
        self.flush_here(side, failed);
        for peer in (0..sides).filter(|peer| *peer != side) {
            let Some(process) = self.process(side) else { return false };
            if process.path.carries[peer] && !process.path.sent[peer].is_empty() {
                let sent = process.path.sent[peer].clone();
                self.send(side, peer, Frame::Sync(sent));
            }
        }
        true
    }

    fn flush_here(&mut self, side: Side, failed: bool) {
        if failed {
            return;
        }
        self.servers[side].disk.flush();
        let Some(process) = self.process(side) else { return };
        let under_way: Vec<u64> =
            process.path.flights.iter().filter(|it| !it.local).map(|it| it.id).collect();
        process.path.local.retain(|_, number| under_way.contains(number));
    }

    /// The local leg of a request.
    pub fn local(&mut self, side: Side, at: usize) -> bool {
        let failed = self.servers[side].disk.failed;
        let Some(process) = self.process(side) else { return false };
        let Some(flight) = process.path.flights.get(at).filter(|it| it.begun && !it.local).cloned() else {
            return false;
        };
        if failed {
            return false;
        }
        if let Some(process) = self.process(side) {
            process.path.flights[at].local = true;
        }
        match flight.what {
            What::Write(extent) => self.servers[side].disk.write(extent, flight.id),
            What::Flush(_) => self.flush_here(side, false),
        }
        true
    }

    /// A request is answered when every leg that it waits for has it.
    pub fn answer(&mut self, side: Side, at: usize) -> bool {
        let gap = self.gap;
        let Some(process) = self.process(side) else { return false };
        let path = &mut process.path;
        let Some(flight) = path.flights.get(at).filter(|it| it.begun).cloned() else { return false };
        let is_flush = matches!(flight.what, What::Flush(_));
        let alone = is_flush && gap == Some(Gap::FlushAlone) && flight.local;
        let by_peer = path.through.is_some_and(|peer| flight.legs[peer] == Leg::Done);
        if path.failing || !(flight.local || by_peer) {
            return false;
        }
        for peer in (0..path.modes.len()).filter(|peer| *peer != side && !alone) {
            let done = flight.legs[peer] == Leg::Done;
            let waits = match path.modes[peer] {
                PeerMode::Required => true,
                PeerMode::Syncing => path.carries[peer] && flight.legs[peer] == Leg::Sent,
                PeerMode::Absent => false,
            };
            if waits && !done {
                return false;
            }
        }
        for peer in (0..path.modes.len()).filter(|peer| *peer != side) {
            if let What::Write(extent) = flight.what
                && flight.legs[peer] != Leg::Done
            {
                path.maps[peer].set(extent, extent + 1);
            }
        }
        path.flights.remove(at);
        match flight.what {
            What::Write(extent) => {
                path.activity.leave(extent as u32, extent as u32 + 1);
                let known = &mut self.known[extent as usize];
                known.acknowledged = known.acknowledged.max(flight.id);
                let done = |peer: &Side| flight.legs[*peer] == Leg::Done && !flight.lost.contains(peer);
                let there = (0..flight.legs.len()).filter(done);
                known.holders = there.chain(flight.local.then_some(side)).collect();
                self.counts.writes += 1;
                if self.telling {
                    self.say(format!("   {} answers write {} of {extent}", name(side), flight.id));
                }
            }
            What::Flush(known) => {
                for (now, then) in self.known.iter_mut().zip(known) {
                    now.flushed = now.flushed.max(then.min(now.acknowledged));
                }
                self.counts.flushes += 1;
                if self.telling {
                    self.say(format!("   {} answers flush {}", name(side), flight.id));
                }
            }
        }
        true
    }

    /// The client reads from the server that the registry says has the volume open.
    pub fn read(&mut self, side: Side, extent: u64) -> bool {
        let is_owner = self.owner() == Some(side);
        let epoch = self.facts().filter(|facts| facts.owner == Some(name(side))).map(|facts| facts.epoch);
        let disk = &self.servers[side].disk;
        let (failed, own) = (disk.failed, disk.holds(extent));
        let Some(process) = self.process(side) else { return false };
        let path = &process.path;
        if !is_owner || !path.attached || path.failing || path.primary.is_none() || path.primary != epoch {
            return false;
        }
        let through = path.through;
        let under_way: Vec<u64> = path.flights.iter().map(|flight| flight.id).collect();
        let seen = match (failed, through) {
            (false, _) => own,
            (true, Some(peer)) if self.stream_of(side, peer).is_some_and(|at| self.streams[at].stands()) => {
                self.servers[peer].disk.holds(extent)
            }
            _ => return false,
        };
        self.counts.reads += 1;
        let known = &mut self.known[extent as usize];
        let acknowledged = known.acknowledged;
        if under_way.contains(&seen) {
            return true;
        }
        if seen < acknowledged {
            self.fail(format!(
                "{} reads write {seen} of extent {extent}, but {acknowledged} was answered",
                name(side)
            ));
        } else if known.dead.contains(&seen) {
            self.fail(format!("write {seen} of extent {extent} came back after a read without it"));
        } else {
            let unseen: Vec<u64> = known.pending.iter().copied().filter(|number| *number > seen).collect();
            known.dead.extend(unseen);
            known.pending.clear();
        }
        true
    }

    /// What was under way may be there or not.
    fn forget_flights(&mut self, side: Side) {
        let Some(process) = &mut self.servers[side].process else { return };
        for flight in std::mem::take(&mut process.path.flights) {
            if let What::Write(extent) = flight.what
                && flight.begun
            {
                self.known[extent as usize].pending.insert(flight.id);
            }
        }
    }

    pub fn fail_io(&mut self, side: Side) {
        self.forget_flights(side);
        if let Some(process) = &mut self.servers[side].process {
            process.path.failing = true;
            process.trouble = true;
        }
    }

    pub fn end_process(&mut self, side: Side, power: bool) -> bool {
        self.forget_flights(side);
        self.crash(side, power)
    }

    /// Nothing is under way that the device would have to wait for.
    pub fn quiet(&mut self, side: Side) -> bool {
        let failed = self.servers[side].disk.failed;
        let Some(process) = self.process(side) else { return false };
        let path = &process.path;
        if path.failing {
            return true;
        }
        let unflushed = |peer: Side| path.carries[peer] && !path.sent[peer].is_empty();
        path.flights.is_empty() && (failed || path.local.is_empty()) && !(0..path.modes.len()).any(unflushed)
    }

    /// A secondary again.
    pub fn let_go(&mut self, side: Side) {
        let sides = self.sides();
        for peer in 0..sides {
            if let Some(process) = self.process(side) {
                process.path.calling[peer] = None;
            }
            self.drop_stream(side, peer);
        }
        self.forget_flights(side);
        self.keep(side);
        let failed = self.servers[side].disk.failed;
        self.flush_here(side, failed);
        let server = &mut self.servers[side];
        let Some(process) = &mut server.process else { return };
        let path = &mut process.path;
        path.primary = None;
        path.attached = false;
        let clean = !path.failing && !failed;
        if clean {
            server.disk.log.clear();
        } else if !failed {
            let gap = self.gap;
            server.disk.recover(sides, gap);
        }
        process.path = Path::new(sides, &server.disk);
        process.path.told_failed = failed;
    }

    /// The own disk fails under a primary.
    pub fn fail_disk(&mut self, side: Side) -> bool {
        // One at a time: two lost disks are lost data.
        let all = self.facts().is_some_and(|facts| facts.good.len() == self.sides());
        let sound = self.servers.iter().all(|server| !server.disk.failed && !server.disk.blank);
        let server = &mut self.servers[side];
        let Some(process) = &mut server.process else { return false };
        if process.path.told_failed || !(server.disk.failed || all && sound) {
            return false;
        }
        server.disk.failed = true;
        process.path.told_failed = true;
        let event = if process.path.primary.is_some() || process.phase != super::node::Phase::Closed {
            Event::DiskFailed { why: "test".into() }
        } else {
            return true; // a secondary says so to whoever calls
        };
        process.mailbox.push_back(event);
        true
    }

    /// A peer records what a primary without a disk lacks (R27).
    pub fn record(&mut self, peer: Side, primary: Side, extents: &[u64]) {
        let server = &mut self.servers[peer];
        let Some(process) = &mut server.process else { return };
        for extent in extents {
            process.path.maps[primary].set(*extent, extent + 1);
        }
        server.disk.keep(primary, &mut process.path.maps[primary]);
    }

    // --- frames -----------------------------------------------------------------------------------

    /// A secondary takes the next frame of a stream.
    pub fn deliver(&mut self, at: usize) -> bool {
        let Some(it) = self.streams.get(at) else { return false };
        let (from, to, epoch) = (it.from, it.to, it.epoch);
        let stale = self.servers[from].frozen;
        if !it.open_to || self.process(to).is_none() || stale && self.random.chance(97) {
            return false;
        }
        if self.streams[at].broken && self.streams[at].down.is_empty() {
            self.streams[at].open_to = false;
            return true;
        }
        let own = self.servers[to].disk.epoch;
        let Some(frame) = self.streams[at].down.pop_front() else { return false };
        let failed = self.servers[to].disk.failed;
        if failed || own > epoch && self.gap != Some(Gap::OlderFrames) {
            self.break_stream(at);
            let it = &mut self.streams[at];
            (it.open_to, it.down) = (false, VecDeque::new());
            return true;
        }
        if self.telling {
            self.say(format!("      {} takes {frame:?} of {}", name(to), name(from)));
        }
        let word = match frame {
            Frame::Write { id, extent, record } => {
                self.servers[to].disk.write(extent, id);
                if record && self.gap != Some(Gap::NotRecorded) {
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
            Frame::Begin => {
                self.servers[to].disk.state = DiskState::Inconsistent;
                self.servers[to].disk.blank = false;
                let log = self.servers[to].disk.log.clone();
                let Some(process) = self.process(to) else { return false };
                let named = (0..EXTENTS).filter(|extent| process.path.maps[from].contains(*extent));
                Word::Ready(named.chain(log.into_iter().map(u64::from)).collect())
            }
            Frame::Block { extent, number } => {
                self.servers[to].disk.write(extent, number);
                Word::Copied(extent)
            }
            Frame::ResyncFlush => {
                self.servers[to].disk.flush();
                Word::ResyncFlushed
            }
            Frame::End(history) => {
                let server = &mut self.servers[to];
                server.disk.state = DiskState::Consistent;
                server.disk.history = history;
                server.disk.log.clear();
                if let Some(process) = &mut server.process {
                    process.path.maps[from].clear(0, EXTENTS);
                    server.disk.keep(from, &mut process.path.maps[from]);
                }
                Word::Ended
            }
        };
        let it = &mut self.streams[at];
        if !it.broken && it.open_from {
            it.up.push_back(word);
        }
        true
    }

    /// A primary takes the next word of a stream.
    pub fn hear(&mut self, at: usize) -> bool {
        let Some(it) = self.streams.get(at) else { return false };
        let (from, to) = (it.from, it.to);
        if !it.open_from || self.process(from).is_none() {
            return false;
        }
        let Some(word) = self.streams[at].up.pop_front() else { return false };
        let Some(process) = self.process(from) else { return false };
        let incarnation = process.incarnation;
        let path = &mut process.path;
        let flight = |path: &mut Path, id: u64| path.flights.iter().position(|flight| flight.id == id);
        match word {
            Word::Written(id) | Word::Flushed(id) => {
                if let Some(flight) = flight(path, id) {
                    path.flights[flight].legs[to] = Leg::Done;
                }
                if matches!(word, Word::Flushed(_)) {
                    // What was sent before the flush is on the peer's disk.
                    path.sent[to].retain(|_, number| *number > id);
                }
            }
            Word::Synced(sent) => {
                path.sent[to].retain(|extent, number| sent.get(extent).is_none_or(|synced| synced < number));
            }
            Word::Ready(named) => {
                if path.resync[to] == Copying::Asked {
                    if self.gap != Some(Gap::NoUnion) {
                        let Some(process) = self.process(from) else { return false };
                        named.iter().for_each(|extent| {
                            process.path.maps[to].set(*extent, extent + 1);
                        });
                    }
                    let Some(process) = self.process(from) else { return false };
                    for region in process.path.activity.table() {
                        process.path.maps[to].set(u64::from(region), u64::from(region) + 1);
                    }
                    process.path.resync[to] = Copying::Runs { under_way: None, copied: BTreeSet::new() };
                }
            }
            Word::Copied(extent) => {
                if let Copying::Runs { under_way, copied } = &mut path.resync[to] {
                    *under_way = None;
                    copied.insert(extent);
                    if self.gap == Some(Gap::ClearedEarly) {
                        let Some(process) = self.process(from) else { return false };
                        process.path.maps[to].clear(extent, extent + 1);
                        self.keep(from);
                    }
                }
            }
            Word::ResyncFlushed => {
                if let Copying::Flushing(copied) = path.resync[to].clone() {
                    for extent in copied {
                        path.maps[to].clear(extent, extent + 1);
                    }
                    path.resync[to] = Copying::Ending;
                    let history = path.history.clone();
                    self.keep(from);
                    self.send(from, to, Frame::End(history));
                }
            }
            Word::Ended => {
                if path.resync[to] == Copying::Ending {
                    path.resync[to] = Copying::No;
                    self.mail(from, incarnation, Event::Synced { peer: name(to) });
                }
            }
        }
        true
    }

    pub fn start_resync(&mut self, side: Side, peer: Side, full: bool) {
        let stands = self.stream_of(side, peer).is_some_and(|at| self.streams[at].stands());
        let Some(process) = self.process(side).filter(|_| stands) else { return };
        process.path.resync[peer] = Copying::Asked;
        if full {
            process.path.maps[peer].set(0, EXTENTS);
        }
        self.keep(side);
        self.counts.resyncs += 1;
        self.counts.full += u64::from(full);
        self.send(side, peer, Frame::Begin);
    }

    /// The next extent of a resync.
    pub fn copy(&mut self, side: Side, peer: Side) -> bool {
        let gap = self.gap;
        let stands = self.stream_of(side, peer).is_some_and(|at| self.streams[at].stands());
        let failed = self.servers[side].disk.failed;
        let Some(process) = self.process(side).filter(|_| stands && !failed) else { return false };
        let path = &mut process.path;
        let Copying::Runs { under_way: None, copied } = &path.resync[peer] else { return false };
        let written: BTreeSet<u64> = path
            .flights
            .iter()
            .filter_map(|flight| match flight.what {
                What::Write(extent) if flight.begun => Some(extent),
                _ => None,
            })
            .collect();
        let map = &path.maps[peer];
        let next = (0..EXTENTS).find(|extent| {
            let free = !written.contains(extent) || gap == Some(Gap::NoExclusion);
            map.contains(*extent) && !copied.contains(extent) && free
        });
        match next {
            Some(extent) => {
                if let Copying::Runs { under_way, .. } = &mut path.resync[peer] {
                    *under_way = Some(extent);
                }
                let number = self.servers[side].disk.holds(extent);
                self.send(side, peer, Frame::Block { extent, number });
            }
            None if (0..EXTENTS).any(|extent| map.contains(extent) && !copied.contains(&extent)) => {
                return false;
            }
            None => {
                path.resync[peer] = Copying::Flushing(copied.clone());
                self.send(side, peer, Frame::ResyncFlush);
            }
        }
        true
    }
}

/// Whether a write may begin: its region is in the log on the disk.
fn enter(path: &mut Path, extent: u64, gap: Option<Gap>) -> bool {
    let (local, sent, maps) = (path.local.clone(), path.sent.clone(), path.maps.clone());
    let settled = |region: u32, _| {
        let extent = u64::from(region);
        let flushed = !local.contains_key(&extent) && !sent.iter().any(|sent| sent.contains_key(&extent));
        let kept = maps.iter().all(|map| map.is_kept(extent, extent + 1));
        flushed && kept || gap == Some(Gap::LeavesEarly)
    };
    let region = extent as u32;
    match path.activity.enter(region, region + 1, settled) {
        Entry::In => true,
        Entry::Full => false,
        Entry::Log => {
            if gap == Some(Gap::SentBeforeLog) {
                let table = path.activity.table();
                path.activity.logged(&table); // as if it were
                return path.activity.enter(region, region + 1, settled) == Entry::In;
            }
            false
        }
    }
}
