//! What a copy remembers of writes: which regions may be written, which extents each peer lacks, what is
//! not on the disks yet. No I/O: [`super::copy`] writes it down.

use std::collections::{BTreeSet, VecDeque};

use tasuki_core::{
    ids::ServerName,
    mirror::{
        activity::{Activity, Entry},
        dirty_map::DirtyMap,
        geometry::{Geometry, LOG_SLOTS},
    },
};

/// So many unflushed writes are remembered one by one; older ones only as the extents that they touched.
const ONE_BY_ONE: usize = 32 * 1024;
/// When that are so many extents, a flush is made: a lost peer gets all of them again.
const UNFLUSHED_LIMIT: u64 = 1024 * 1024;

/// A write, as long as it may be missing on a disk after a loss of power.
#[derive(Clone, Copy, Debug)]
struct Recent {
    number: u64,
    first: u64,
    end: u64,
}

/// Writes that a disk, or a peer's, has perhaps only in its memory.
#[derive(Debug, Default)]
struct Unflushed {
    recent: VecDeque<Recent>,
    /// What was too much for the list: the extents of all those writes.
    old: Option<Old>,
}

/// Extents of older writes, and the number of the last of these.
#[derive(Debug)]
struct Old {
    map: DirtyMap,
    through: u64,
}

impl Unflushed {
    fn push(&mut self, number: u64, (first, end): (u64, u64), extents: u64) {
        if let Some(last) = self.recent.back_mut().filter(|last| last.first <= first && first <= last.end) {
            // One after the other, or the same again: as one, with the later number.
            last.end = last.end.max(end);
            last.number = number;
            return;
        }
        self.recent.push_back(Recent { number, first, end });
        if self.recent.len() > ONE_BY_ONE
            && let Some(oldest) = self.recent.pop_front()
        {
            let old = self.old.get_or_insert_with(|| Old { map: DirtyMap::new(extents), through: 0 });
            old.map.set(oldest.first, oldest.end);
            old.through = oldest.number;
        }
    }

    fn flushed(&mut self, through: u64) {
        // One flush of them all, or they stay: which extent was touched last by which is not known.
        self.old.take_if(|old| old.through <= through);
        while self.recent.front().is_some_and(|it| it.number <= through) {
            self.recent.pop_front();
        }
    }

    fn spans(&self) -> Vec<(u64, u64)> {
        let mut spans = Vec::with_capacity(self.recent.len());
        if let Some(old) = &self.old {
            let mut from = 0;
            while let Some((first, end)) = old.map.next_run(from, u64::MAX) {
                spans.push((first, end));
                from = end;
            }
        }
        spans.extend(self.recent.iter().map(|it| (it.first, it.end)));
        spans
    }

    fn is_much(&self) -> bool {
        self.old.as_ref().is_some_and(|old| old.map.count() > UNFLUSHED_LIMIT)
    }
}

/// What is remembered for one peer.
#[derive(Debug)]
pub struct Leg {
    /// Who.
    pub server: ServerName,
    /// What it lacks.
    pub map: DirtyMap,
    /// Writes go there.
    sent: bool,
    /// Every write up to this one is on its disk, or was recorded.
    flushed: u64,
    unflushed: Unflushed,
}

/// All of it.
#[derive(Debug)]
pub struct Journal {
    /// How the volume is divided.
    pub geometry: Geometry,
    /// The regions that may be written.
    pub activity: Activity,
    /// Each peer.
    pub legs: Vec<Leg>,
    /// The last write's number.
    number: u64,
    /// Writes that the own disk has not finished.
    pending: BTreeSet<u64>,
    /// Every write up to this one is on the own disk.
    flushed: u64,
    local: Unflushed,
    /// A rule that a test has taken out.
    #[cfg(feature = "planted")]
    pub planted: Option<super::Planted>,
}

impl Journal {
    /// For these peers, with the maps as they were kept.
    pub fn new(geometry: Geometry, peers: Vec<(ServerName, DirtyMap)>) -> Self {
        let leg =
            |(server, map)| Leg { server, map, sent: false, flushed: 0, unflushed: Unflushed::default() };
        Self {
            geometry,
            activity: Activity::new(LOG_SLOTS),
            legs: peers.into_iter().map(leg).collect(),
            number: 0,
            pending: BTreeSet::new(),
            flushed: 0,
            local: Unflushed::default(),
            #[cfg(feature = "planted")]
            planted: None,
        }
    }

    /// Which leg is whose.
    pub fn slot(&self, server: &ServerName) -> Option<usize> {
        self.legs.iter().position(|leg| leg.server == *server)
    }

    /// Regions that an activity log named: what is in them may differ everywhere.
    pub fn fold(&mut self, regions: impl IntoIterator<Item = u32>) {
        for region in regions {
            let (first, end) = self.geometry.extents_in(region);
            for leg in &mut self.legs {
                leg.map.set(first, end);
            }
        }
    }

    /// May a write begin in these regions? See [`Activity::enter`].
    pub fn enter(&mut self, first: u32, end: u32) -> Entry {
        #[cfg(feature = "planted")]
        if self.planted == Some(super::Planted::R29NoLog) {
            return Entry::In;
        }
        #[cfg(feature = "planted")]
        if self.planted == Some(super::Planted::R29LeavesEarly) {
            return self.activity.enter(first, end, |_, _| true);
        }
        let Self { activity, legs, geometry, flushed, .. } = self;
        activity.enter(first, end, |region, last| is_settled(legs, geometry, *flushed, region, last))
    }

    /// Lets go what has settled; whether no region is left.
    pub fn settle(&mut self) -> bool {
        let Self { activity, legs, geometry, flushed, .. } = self;
        activity.settle(|region, last| is_settled(legs, geometry, *flushed, region, last))
    }

    /// A write begins in regions that it has entered: its number. Whoever it is not sent to lacks these
    /// extents from here on.
    pub fn begin(&mut self, extents: (u64, u64), regions: (u32, u32)) -> u64 {
        self.number += 1;
        self.activity.write(regions.0, regions.1, self.number);
        self.pending.insert(self.number);
        let all = self.geometry.extents();
        self.local.push(self.number, extents, all);
        for leg in &mut self.legs {
            if leg.sent {
                leg.unflushed.push(self.number, extents, all);
            } else {
                leg.map.set(extents.0, extents.1);
                leg.flushed = self.number;
            }
        }
        self.number
    }

    /// A write by a primary without a disk: only the primary lacks it (R27).
    pub fn begin_for(&mut self, slot: usize, extents: (u64, u64), regions: (u32, u32)) -> u64 {
        self.number += 1;
        self.activity.write(regions.0, regions.1, self.number);
        self.pending.insert(self.number);
        if let Some(leg) = self.legs.get_mut(slot) {
            leg.map.set(extents.0, extents.1);
        }
        for leg in self.legs.iter_mut().filter(|leg| !leg.sent) {
            leg.flushed = self.number;
        }
        self.number
    }

    /// The own disk has it, or never will.
    pub fn local_done(&mut self, number: u64) {
        self.pending.remove(&number);
    }

    /// The last write's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Every write up to this one has been finished by the own disk: what a flush that begins now
    /// covers.
    pub fn finished(&self) -> u64 {
        self.pending.first().map_or(self.number, |first| first - 1)
    }

    /// Everything that was written up to this one is on the own disk.
    pub fn is_flushed(&self, number: u64) -> bool {
        self.flushed >= number
    }

    /// A flush of the own disk has ended.
    pub fn local_flushed(&mut self, through: u64) {
        self.flushed = self.flushed.max(through);
        self.local.flushed(through);
    }

    /// Extents that the own disk may lose when it fails.
    pub fn local_unflushed(&self) -> Vec<(u64, u64)> {
        self.local.spans()
    }

    /// From the next write on they go to this peer.
    pub fn join(&mut self, slot: usize) {
        if let Some(leg) = self.legs.get_mut(slot) {
            leg.sent = true;
            leg.flushed = self.number;
        }
    }

    /// Writes go there no more. What it has perhaps not on its disk it lacks (R29).
    pub fn part(&mut self, slot: usize) {
        #[cfg(feature = "planted")]
        let forget = self.planted == Some(super::Planted::R29ForgetUnflushed);
        #[cfg(not(feature = "planted"))]
        let forget = false;
        let number = self.number;
        if let Some(leg) = self.legs.get_mut(slot) {
            leg.sent = false;
            for (first, end) in std::mem::take(&mut leg.unflushed).spans() {
                if !forget {
                    leg.map.set(first, end);
                }
            }
            leg.flushed = number;
        }
    }

    /// It has everything up to this write on its disk.
    pub fn peer_flushed(&mut self, slot: usize, through: u64) {
        if let Some(leg) = self.legs.get_mut(slot) {
            leg.flushed = leg.flushed.max(through);
            leg.unflushed.flushed(through);
        }
    }

    /// Too much is unflushed to be remembered for long.
    pub fn needs_flush(&self) -> bool {
        self.local.is_much() || self.legs.iter().any(|leg| leg.unflushed.is_much())
    }
}

/// Everything written in a region up to that write is on every disk, or recorded durably (R29).
fn is_settled(legs: &[Leg], geometry: &Geometry, flushed: u64, region: u32, last: u64) -> bool {
    let (first, end) = geometry.extents_in(region);
    flushed >= last && legs.iter().all(|leg| leg.flushed >= last && leg.map.is_kept(first, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> Journal {
        let geometry = Geometry::of(64 << 20);
        Journal::new(geometry, vec![(ServerName::from("lala"), DirtyMap::new(geometry.extents()))])
    }

    fn write(it: &mut Journal, extent: u64) -> u64 {
        while it.enter(0, 1) != Entry::In {
            let table = it.activity.table();
            it.activity.logged(&table);
        }
        let number = it.begin((extent, extent + 1), (0, 1));
        it.local_done(number);
        it.activity.leave(0, 1);
        number
    }

    #[test]
    fn r29_what_the_peer_has_not_flushed_it_lacks_when_the_stream_ends() {
        let mut it = journal();
        it.join(0);
        let one = write(&mut it, 1);
        it.peer_flushed(0, one);
        write(&mut it, 5);
        assert!(it.legs[0].map.is_empty());
        it.part(0);
        assert!(it.legs[0].map.contains(5) && !it.legs[0].map.contains(1));
        write(&mut it, 7);
        assert!(it.legs[0].map.contains(7));
    }

    #[test]
    fn r29_more_writes_than_are_remembered_one_by_one_are_remembered_as_extents_until_they_are_flushed() {
        let mut it = journal();
        it.join(0);
        let (mut early, last) = (0, ONE_BY_ONE as u64 + 100);
        // Not next to each other, so that each is remembered for itself.
        for count in 0..last {
            let number = write(&mut it, count % 500 * 2);
            if count == 50 {
                early = number;
            }
        }
        assert!(!it.needs_flush());
        it.peer_flushed(0, early);
        it.local_flushed(early);
        let spans: BTreeSet<u64> = it.local_unflushed().into_iter().map(|(first, _)| first).collect();
        assert_eq!(spans.len(), 500, "a flush of some of the old ones forgets none");
        let number = it.number();
        it.local_flushed(number);
        assert!(it.local_unflushed().is_empty());
        it.part(0);
        assert_eq!(it.legs[0].map.count(), 500);
    }

    #[test]
    fn r29_a_region_stays_in_the_log_until_both_legs_are_flushed_or_its_bits_are_kept() {
        let mut it = journal();
        it.join(0);
        let one = write(&mut it, 1);
        assert!(!it.settle());
        it.local_flushed(one);
        assert!(!it.settle(), "the peer has not flushed it");
        it.part(0);
        assert!(!it.settle(), "it is recorded, but not durably");
        it.legs[0].map.keep(0);
        assert!(!it.settle(), "it is being written");
        it.legs[0].map.kept(0);
        assert!(it.settle());
    }

    #[test]
    fn a_flush_covers_what_the_own_disk_has_finished() {
        let mut it = journal();
        it.join(0);
        it.enter(0, 1);
        let table = it.activity.table();
        it.activity.logged(&table);
        it.enter(0, 1);
        let one = it.begin((1, 2), (0, 1));
        let two = it.begin((2, 3), (0, 1));
        it.local_done(two);
        assert_eq!(it.finished(), one - 1);
        it.local_done(one);
        assert_eq!(it.finished(), two);
    }
}
