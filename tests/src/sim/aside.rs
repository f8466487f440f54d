//! Heartbeat paths beside the networks (R21): serial lines, and blocks on a shared disk. A line is slow,
//! loses what garbage falls into, and may carry one direction only. A disk keeps the last datagram for
//! each reader, who looks a few times a second; a block that is read while it is written is torn, and an
//! operation may hang, on the side of who writes or of who reads.
//!
//! What the sealing of the real paths refuses (garbage, torn blocks) does not arrive at all.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tasuki_actors::ports::Datagram;
use tasuki_core::{
    config::{ClusterConfig, HeartbeatPath},
    ids::NetworkName,
};

use super::{
    dice::Dice,
    network::{Parcel, Wire},
    world::{STEP, State},
};

/// Milliseconds between two looks at a disk.
const LOOK: u64 = 250;
/// Milliseconds that a heartbeat takes on a serial line.
const LINE: (u64, u64) = (8, 25);

/// See the module.
#[derive(Default)]
pub struct Aside {
    /// The last datagram on a disk for each reader, with the sender's path.
    blocks: BTreeMap<Wire, Bytes>,
    /// Of a thousand datagrams on a line so many are hit by garbage, and the next with them.
    pub garbage: BTreeMap<Wire, u64>,
    /// Lines that were hit by garbage just now.
    hit: BTreeSet<Wire>,
    /// Of a thousand looks so many find a torn block.
    pub torn: u64,
    /// Machines whose disk answers no write, or no read.
    pub hangs: BTreeMap<usize, Hangs>,
}

/// What of a machine's disk operations does not return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangs {
    /// It is not heard there.
    Writes,
    /// It hears nobody there.
    Reads,
}

/// Whether a path of this name is none of the networks.
#[must_use]
pub fn is_aside(path: &NetworkName) -> bool {
    HeartbeatPath::is_evidence_only(path)
}

/// Gives a configuration such paths, for some seeds: two servers may have a cable, and any number a disk.
pub fn add(config: &mut ClusterConfig, seed: u64) {
    let mut dice = Dice::new(seed ^ 0xa51d);
    if config.servers.len() == 2 && dice.permille(400) {
        config.settings.heartbeats.push(HeartbeatPath::Com { device: "/dev/ttyS0".into() });
    }
    if dice.permille(400) {
        config.settings.heartbeats.push(HeartbeatPath::Disk { device: "/dev/beats".into() });
    }
    // The kill block also where files break no tie.
    if config.servers.len() > 2 && dice.permille(400) {
        config.settings.votes.files = vec!["/votes/1".into()];
    }
}

impl State {
    /// A datagram goes over a line, or is put on a disk.
    pub fn send_aside(&mut self, from: usize, to: usize, path: &NetworkName, body: &[u8]) {
        let wire = (from, to, path.clone());
        if path.as_str().starts_with("disk:") {
            if self.network.aside.hangs.get(&from) != Some(&Hangs::Writes) {
                self.network.aside.blocks.insert(wire, Bytes::copy_from_slice(body));
            }
            return;
        }
        if self.network.quality(from, to, path).cut {
            return;
        }
        let garbage = self.network.aside.garbage.get(&wire).copied().unwrap_or(0);
        let after = self.network.aside.hit.remove(&wire);
        if garbage > 0 && self.dice.permille(garbage) {
            self.network.aside.hit.insert(wire);
            return;
        }
        if after {
            return;
        }
        let takes = self.dice.between(LINE.0, LINE.1);
        let datagram = self.datagram(&wire, Bytes::copy_from_slice(body));
        let at = self.now + STEP + takes * 1_000_000;
        self.network.push(at, Parcel::Datagram { from, to, datagram });
    }

    /// Everybody looks at the disks, when it is time: a machine that is off has no blocks to read for.
    pub fn disks_turn(&mut self) {
        if !(self.now / STEP).is_multiple_of(LOOK) || self.network.aside.blocks.is_empty() {
            return;
        }
        let torn = self.network.aside.torn;
        for (wire, body) in std::mem::take(&mut self.network.aside.blocks) {
            let hangs = self.network.aside.hangs.get(&wire.1) == Some(&Hangs::Reads);
            if hangs || !self.machines[wire.1].moves() || torn > 0 && self.dice.permille(torn) {
                // It stands there still, until something newer does.
                self.network.aside.blocks.insert(wire, body);
                continue;
            }
            let (from, to) = (wire.0, wire.1);
            let datagram = self.datagram(&wire, body);
            self.network.push(self.now + STEP, Parcel::Datagram { from, to, datagram });
        }
    }

    fn datagram(&self, (from, _, path): &Wire, body: Bytes) -> Datagram {
        Datagram { from: self.machines[*from].name.clone(), path: path.clone(), body }
    }
}
