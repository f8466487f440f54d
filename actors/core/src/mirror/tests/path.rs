//! What the data path of one primary remembers: modes, maps, the activity log's table, and requests
//! under way.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Side,
    disk::Disk,
    settings::{Gap, Settings},
};
use crate::{
    ids::Epoch,
    mirror::{
        activity::{Activity, Entry},
        dirty_map::DirtyMap,
        handshake::Unwelcome,
        history::History,
        state::PeerMode,
    },
};

/// See the module.
#[derive(Clone, Debug)]
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
    /// What a peer refused with last.
    pub refusals: Vec<Option<Unwelcome>>,
    pub modes: Vec<PeerMode>,
    /// `SetPeer` came since the stream was met.
    pub carries: Vec<bool>,
    pub maps: Vec<DirtyMap>,
    pub activity: Activity,
    /// A write waits for a place in the log.
    pub full: bool,
    /// A write waits for the log to be written.
    pub unlogged: bool,
    /// Extents that are not flushed here, and the last write in each.
    pub local: BTreeMap<u64, u64>,
    /// The same for each peer that was sent them.
    pub sent: Vec<BTreeMap<u64, u64>>,
    pub flights: Vec<Flight>,
    pub resync: Vec<Copying>,
    /// The resyncs that rest.
    pub resting: Vec<bool>,
    /// Resyncs are numbered: words for an earlier one say nothing.
    pub run: Vec<u32>,
}

/// A request of the client under way.
#[derive(Clone, Debug)]
pub struct Flight {
    pub id: u64,
    pub what: What,
    pub begun: bool,
    pub local: bool,
    pub legs: Vec<Leg>,
}

#[derive(Clone, Debug)]
pub enum What {
    Write(u64),
    /// What the client knew when it began.
    Flush(Vec<u64>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
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

impl Path {
    pub fn new(settings: &Settings, disk: &Disk) -> Self {
        let sides = settings.sides;
        Self {
            primary: None,
            attached: false,
            detaching: false,
            failing: false,
            told_failed: false,
            through: None,
            history: disk.history.clone(),
            calling: vec![None; sides],
            refusals: vec![None; sides],
            modes: vec![PeerMode::Absent; sides],
            carries: vec![false; sides],
            maps: (0..sides).map(|peer| disk.map(peer)).collect(),
            activity: Activity::new(settings.slots),
            full: false,
            unlogged: false,
            local: BTreeMap::new(),
            sent: vec![BTreeMap::new(); sides],
            flights: Vec::new(),
            resync: vec![Copying::No; sides],
            resting: vec![false; sides],
            run: vec![0; sides],
        }
    }

    pub fn is_required(&self, peer: Side) -> bool {
        self.modes[peer] == PeerMode::Required && self.carries[peer]
    }

    /// The peers that every write waits for.
    pub fn in_step(&self) -> Vec<Side> {
        (0..self.modes.len()).filter(|peer| self.is_required(*peer)).collect()
    }

    pub fn is_frozen(&self) -> bool {
        self.modes.iter().zip(&self.carries).any(|(mode, carries)| *mode == PeerMode::Required && !carries)
    }

    /// A write to it has begun and is not answered.
    pub fn is_written(&self, extent: u64) -> bool {
        let is = |flight: &Flight| matches!(flight.what, What::Write(at) if at == extent) && flight.begun;
        self.flights.iter().any(is)
    }

    /// The own copy does not have them, or not surely.
    pub fn lacks_locally(&self) -> Vec<u64> {
        let flights = self.flights.iter().filter_map(|flight| match flight.what {
            What::Write(extent) if flight.begun => Some(extent),
            _ => None,
        });
        self.local.keys().copied().chain(flights).collect()
    }

    pub fn differing(&self, peer: Side, log: &[u32]) -> u64 {
        let mut all = self.maps[peer].clone();
        for region in log.iter().map(|region| u64::from(*region)) {
            all.set(region, region + 1);
        }
        all.count()
    }

    /// Whether writes go to a peer now.
    pub fn goes_to(&self, peer: Side) -> bool {
        self.carries[peer] && self.modes[peer] != PeerMode::Absent
    }

    /// Whether a request may be answered.
    pub fn is_done(&self, side: Side, flight: &Flight, gap: Option<Gap>) -> bool {
        let is_flush = matches!(flight.what, What::Flush(_));
        let alone = is_flush && gap == Some(Gap::FlushAlone) && flight.local;
        let by_peer = self.through.is_some_and(|peer| flight.legs[peer] == Leg::Done);
        let waits = |peer: Side| match self.modes[peer] {
            PeerMode::Required => flight.legs[peer] != Leg::Done,
            PeerMode::Syncing => self.carries[peer] && flight.legs[peer] == Leg::Sent,
            PeerMode::Absent => false,
        };
        let others = (0..self.modes.len()).filter(|peer| *peer != side && !alone);
        !self.failing && (flight.local || by_peer) && !others.into_iter().any(waits)
    }

    /// Whether a write may begin: its region is in the log on the disk.
    pub fn enter(&mut self, extent: u64, gap: Option<Gap>) -> bool {
        let (local, sent, maps) = (&self.local, &self.sent, &self.maps);
        let settled = |region: u32, _| {
            let extent = u64::from(region);
            let flushed = !local.contains_key(&extent) && !sent.iter().any(|sent| sent.contains_key(&extent));
            let kept = maps.iter().all(|map| map.is_kept(extent, extent + 1));
            flushed && kept || gap == Some(Gap::LeavesEarly)
        };
        let region = extent as u32;
        let entry = self.activity.enter(region, region + 1, settled);
        self.full |= entry == Entry::Full;
        self.unlogged |= entry == Entry::Log;
        match entry {
            Entry::In => true,
            Entry::Full => false,
            Entry::Log => {
                if gap == Some(Gap::SentBeforeLog) {
                    let table = self.activity.table();
                    self.activity.logged(&table); // as if it were
                    self.unlogged = false;
                    return self.activity.enter(region, region + 1, settled) == Entry::In;
                }
                false
            }
        }
    }
}
