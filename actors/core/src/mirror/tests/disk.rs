//! One copy: its data and its management area, with a cache that a lost power empties.

use std::collections::BTreeMap;

use super::{Side, settings::Gap};
use crate::{
    ids::{Epoch, ServerName},
    mirror::{DiskState, dirty_map::DirtyMap, geometry::Geometry, handshake::LocalCopy, history::History},
};

/// See the module. What is in the management area is durable when it is written.
#[derive(Clone, Debug)]
pub struct Disk {
    cells: Vec<u64>,
    /// Written and not flushed, in order.
    cache: Vec<(u64, u64)>,
    pub failed: bool,
    /// Another disk was put in: nothing is on it.
    pub blank: bool,
    /// As the superblock has it, in bytes.
    pub size: u64,
    pub epoch: Epoch,
    pub history: History,
    pub state: DiskState,
    pub log: Vec<u32>,
    pub maps: BTreeMap<Side, Vec<u64>>,
}

impl Disk {
    pub fn new(extents: u64) -> Self {
        Self {
            cells: vec![0; extents as usize],
            cache: Vec::new(),
            failed: false,
            blank: true,
            size: extents * 4096,
            epoch: Epoch(0),
            history: History::default(),
            state: DiskState::Consistent,
            log: Vec::new(),
            maps: BTreeMap::new(),
        }
    }

    pub fn extents(&self) -> u64 {
        self.cells.len() as u64
    }

    /// The number of the write that an extent holds.
    pub fn holds(&self, extent: u64) -> u64 {
        let cached = self.cache.iter().rev().find(|(at, _)| *at == extent);
        cached.map_or(self.cells[extent as usize], |(_, number)| *number)
    }

    /// What it would hold after the power went.
    pub fn keeps(&self, extent: u64) -> u64 {
        self.cells[extent as usize]
    }

    pub fn write(&mut self, extent: u64, number: u64) {
        self.cache.push((extent, number));
    }

    pub fn flush(&mut self) {
        for (extent, number) in std::mem::take(&mut self.cache) {
            self.cells[extent as usize] = number;
        }
    }

    /// Of what was not flushed only what these bits name is on the disk.
    pub fn lose_power(&mut self, kept: u32) {
        let mut at = 0;
        self.cache.retain(|_| {
            at += 1;
            kept >> ((at - 1) % 32) & 1 == 1
        });
        self.flush();
    }

    pub fn map(&self, peer: Side) -> DirtyMap {
        let none = Vec::new();
        DirtyMap::from_words(self.extents(), self.maps.get(&peer).unwrap_or(&none))
    }

    pub fn keep(&mut self, peer: Side, map: &mut DirtyMap) {
        for page in map.pages_changed() {
            map.keep(page);
            self.maps.insert(peer, map.page(page).to_vec());
            map.kept(page);
        }
    }

    /// What a process that opens the copy does first: what the log of a crashed primary names joins
    /// every map.
    pub fn recover(&mut self, sides: usize, gap: Option<Gap>) {
        for peer in 0..sides {
            let mut map = self.map(peer);
            if gap != Some(Gap::LogForgotten) {
                for region in self.log.iter().map(|region| u64::from(*region)) {
                    map.set(region, region + 1);
                }
            }
            self.keep(peer, &mut map);
        }
        self.log.clear();
    }

    pub fn local(&self) -> LocalCopy {
        LocalCopy {
            geometry: Geometry::of(self.size),
            epoch: self.epoch,
            disk: if self.failed { DiskState::Failed } else { self.state },
            history: self.history.clone(),
            crashed: false,
        }
    }
}

/// The name of a server.
pub fn name(side: Side) -> ServerName {
    ["kiki", "lala", "mimi"][side].into()
}
