//! What the client was promised, and what therefore every good copy has to hold (T2).

use std::collections::BTreeSet;

use super::{
    Side,
    disk::name,
    path::{Path, What},
    world::World,
};

/// One extent, as the client knows it. Writes are numbers that only grow.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The last write that was answered or seen.
    pub acknowledged: u64,
    /// The last write that a flush covered.
    pub flushed: u64,
    /// Writes of primaries that are over: they may be there or not.
    pub pending: BTreeSet<u64>,
    /// Writes that a read did not see: they may not come back.
    pub dead: BTreeSet<u64>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Promise {
    pub extents: Vec<Known>,
    /// Copies that lost their power since they were in step: they owe only what was flushed.
    pub weak: Vec<bool>,
}

impl Promise {
    pub fn new(sides: usize, extents: u64) -> Self {
        Self { extents: vec![Known::default(); extents as usize], weak: vec![false; sides] }
    }

    /// What was under way may be there or not.
    pub fn forget(&mut self, path: &mut Path) {
        for flight in std::mem::take(&mut path.flights) {
            if let What::Write(extent) = flight.what
                && flight.begun
            {
                self.extents[extent as usize].pending.insert(flight.id);
            }
        }
    }
}

impl World {
    /// T2: every good copy has everything that was answered; what was flushed is on its disk; and
    /// nothing of it is a write that a reader was told does not exist.
    pub fn check_good(&mut self) {
        let Some(facts) = self.facts() else { return };
        let good: Vec<Side> = (0..self.sides()).filter(|side| facts.good.contains(&name(*side))).collect();
        if good.is_empty() {
            self.fail("no copy is good".to_owned());
        }
        for side in good {
            let disk = &self.servers[side].disk;
            if disk.failed || disk.blank && self.opened() {
                continue;
            }
            for (at, known) in self.promise.extents.iter().enumerate() {
                let extent = at as u64;
                let (holds, keeps) = (disk.holds(extent), disk.keeps(extent));
                let owed = if self.promise.weak[side] { known.flushed } else { known.acknowledged };
                let why = if known.dead.contains(&holds) {
                    format!("write {holds} of extent {at} is back on {}, which is good", name(side))
                } else if holds < owed {
                    format!("{} is good and has {holds} in extent {at}, but {owed} was answered", name(side))
                } else if keeps < known.flushed {
                    let flushed = known.flushed;
                    format!(
                        "{} is good and keeps {keeps} in extent {at}, but {flushed} was flushed",
                        name(side)
                    )
                } else {
                    continue;
                };
                self.fail(why);
                return;
            }
        }
    }

    fn opened(&self) -> bool {
        self.counts.opened > 0
    }

    /// A peer is counted on from here: it has to be equal, but for what is under way.
    pub fn check_in_step(&mut self, side: Side, peer: Side) {
        self.promise.weak[peer] = self.promise.weak[side];
        let Some(process) = &self.servers[side].process else { return };
        let (own, theirs) = (&self.servers[side].disk, &self.servers[peer].disk);
        if own.failed || process.path.failing {
            return;
        }
        let differs = (0..own.extents())
            .find(|extent| own.holds(*extent) != theirs.holds(*extent) && !process.path.is_written(*extent));
        if let Some(extent) = differs {
            let (one, other) = (own.holds(extent), theirs.holds(extent));
            let text = format!(
                "extent {extent} is {one} on {}, and {other} on {}, which is in step",
                name(side),
                name(peer)
            );
            self.fail(text);
        }
    }

    /// Somebody opened the volume: whoever was primary before is over. The client reads everything.
    pub fn begin_epoch(&mut self, side: Side) {
        for (other, server) in self.servers.iter().enumerate() {
            let Some(process) = server.process.as_ref().filter(|_| other != side) else { continue };
            for flight in &process.path.flights {
                if let What::Write(extent) = flight.what {
                    self.promise.extents[extent as usize].pending.insert(flight.id);
                }
            }
        }
        if self.promise.weak[side] {
            // What only others had, and nobody flushed, went with the power of this server.
            let disk = &self.servers[side].disk;
            for (extent, known) in self.promise.extents.iter_mut().enumerate() {
                if disk.holds(extent as u64) < known.acknowledged {
                    known.pending.insert(known.acknowledged);
                    known.acknowledged = known.flushed;
                }
            }
            let path = self.servers[side].process.as_ref().map(|process| &process.path);
            let in_step: Vec<Side> = path.map(Path::in_step).unwrap_or_default();
            in_step.into_iter().chain([side]).for_each(|side| self.promise.weak[side] = false);
        }
        self.read(side);
    }

    /// The client reads everything from the server that the registry says has the volume open.
    pub fn read(&mut self, side: Side) -> bool {
        let is_owner = self.owner() == Some(side);
        let epoch = self.facts().filter(|facts| facts.owner == Some(name(side))).map(|facts| facts.epoch);
        let failed = self.servers[side].disk.failed;
        let Some(process) = self.process(side) else { return false };
        let path = &process.path;
        if !is_owner || !path.attached || path.failing || path.primary.is_none() || path.primary != epoch {
            return false;
        }
        let under_way: Vec<u64> = path.flights.iter().map(|flight| flight.id).collect();
        let from = match (failed, path.through) {
            (false, _) => side,
            (true, Some(peer)) if self.stream_of(side, peer).is_some_and(|at| self.streams[at].stands()) => {
                peer
            }
            _ => return false,
        };
        self.counts.reads += 1;
        for extent in 0..self.settings.extents {
            let seen = self.servers[from].disk.holds(extent);
            let known = &mut self.promise.extents[extent as usize];
            let acknowledged = known.acknowledged;
            if under_way.contains(&seen) {
                continue;
            }
            if seen < acknowledged {
                let who = name(side);
                self.fail(format!("{who} reads {seen} in extent {extent}, but {acknowledged} was answered"));
            } else if known.dead.contains(&seen) {
                self.fail(format!("write {seen} of extent {extent} came back after a read without it"));
            } else {
                let unseen = known.pending.iter().copied().filter(|number| *number > seen);
                known.dead.extend(unseen);
                known.pending.clear();
                known.acknowledged = seen; // R28: what was read is there after the next failover
            }
        }
        true
    }

    /// An operator's word: what this copy has is what there is, also what it has not flushed.
    pub fn forced(&mut self, side: Side) {
        let disk = &self.servers[side].disk;
        for (extent, known) in self.promise.extents.iter_mut().enumerate() {
            let (holds, keeps) = (disk.holds(extent as u64), disk.keeps(extent as u64));
            known.dead.clear();
            (known.acknowledged, known.flushed) = (holds, keeps.min(known.flushed));
        }
        self.promise.weak[side] = false;
    }
}
