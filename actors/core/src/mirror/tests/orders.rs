//! The orders that a machine gives its data path: done one after the other, beside the actor.

use super::{
    Side,
    disk::name,
    path::{Copying, Path},
    process::Phase,
    settings::Gap,
    world::World,
};
use crate::{
    ids::{Epoch, Generation, ServerName},
    mirror::{
        DiskState,
        state::{Event, PeerMode},
    },
};

/// See the module.
#[derive(Clone, Debug)]
pub enum Order {
    StoreEpoch(Epoch),
    StoreStep(Generation, ServerName),
    SetPeer(Side, PeerMode),
    StartResync { peer: Side, full: bool },
    StopResync(Side),
    PauseResync(Side, bool),
    Attach,
    Detach,
    GoDiskless(Side),
    LetGo { released: bool },
}

impl World {
    /// The next order is done; some have to wait.
    pub fn obey(&mut self, side: Side) -> bool {
        let Some(process) = self.process(side) else { return false };
        let Some(order) = process.orders.pop_front() else { return false };
        let incarnation = process.incarnation;
        let failed = self.servers[side].disk.failed;
        match order.clone() {
            Order::StoreEpoch(_) if failed => {
                self.mail(side, incarnation, Event::DiskFailed { why: "test".into() });
            }
            Order::StoreEpoch(epoch) => {
                self.end_older(side, epoch);
                let disk = &mut self.servers[side].disk;
                disk.epoch = disk.epoch.max(epoch);
                disk.blank = false;
                let history = disk.history.clone();
                if let Some(process) = self.process(side) {
                    process.path.history = history;
                }
                self.mail(side, incarnation, Event::EpochStored);
            }
            Order::StoreStep(generation, by) => self.store_step(side, generation, &by),
            _ if self.waits(side, &order) => {
                if let Some(process) = self.process(side) {
                    process.orders.push_front(order);
                }
                return false;
            }
            Order::SetPeer(peer, mode) => {
                if self.set_peer(side, peer, mode) {
                    self.mail(side, incarnation, Event::PeerSet { peer: name(peer), mode });
                }
            }
            Order::StartResync { peer, full } => self.start_resync(side, peer, full),
            Order::StopResync(peer) => {
                if let Some(process) = self.process(side) {
                    process.path.resync[peer] = Copying::No;
                }
            }
            Order::PauseResync(peer, rest) => {
                if let Some(process) = self.process(side) {
                    process.path.resting[peer] = rest;
                }
            }
            Order::Attach => {
                self.attach(side);
                self.mail(side, incarnation, Event::Attached);
            }
            Order::Detach => {
                if let Some(process) = self.process(side) {
                    process.path.detaching = true;
                }
            }
            Order::GoDiskless(peer) => self.go_diskless(side, peer),
            Order::LetGo { released } => {
                self.let_go(side);
                if let Some(process) = self.process(side) {
                    process.phase = Phase::Closed;
                }
                if released {
                    self.released(side);
                }
            }
        }
        true
    }

    /// What needs an answer of a peer that stands still.
    fn waits(&self, side: Side, order: &Order) -> bool {
        let (Order::SetPeer(peer, PeerMode::Required) | Order::GoDiskless(peer)) = *order else {
            return false;
        };
        self.servers[peer].frozen && self.stands(side, peer)
    }

    fn store_step(&mut self, side: Side, generation: Generation, by: &ServerName) {
        let server = &mut self.servers[side];
        let Some(process) = &mut server.process else { return };
        let (failed, incarnation) = (server.disk.failed, process.incarnation);
        if failed && !process.path.told_failed {
            self.fail_disk(side);
            return;
        }
        if !failed {
            process.path.history = server.disk.history.clone();
        }
        process.path.history.step(generation, by);
        if !failed {
            server.disk.history = process.path.history.clone();
            server.disk.blank = false;
            server.disk.state = DiskState::Consistent;
        }
        self.mail(side, incarnation, Event::CopyStored);
    }

    /// The device goes when nothing is under way any more; orders that come later do not wait for that.
    pub fn finish_detach(&mut self, side: Side) -> bool {
        if !self.process(side).is_some_and(|process| process.path.detaching) || !self.is_quiet(side) {
            return false;
        }
        let Some(process) = self.process(side) else { return false };
        (process.path.detaching, process.path.attached) = (false, false);
        let incarnation = process.incarnation;
        self.mail(side, incarnation, Event::Detached);
        true
    }

    /// Becoming primary: from here on the client may use the device.
    fn attach(&mut self, side: Side) {
        let Some(process) = self.process(side) else { return };
        let epoch = process.epoch;
        process.path.primary = Some(epoch);
        process.path.attached = true;
        let twice = (0..self.sides()).filter(|other| *other != side).any(|other| {
            let path = self.servers[other].process.as_ref().map(|process| &process.path);
            path.is_some_and(|path| path.attached && path.primary == Some(epoch))
        });
        if twice {
            self.fail(format!("two writable copies in epoch {epoch}"));
        }
        self.begin_epoch(side);
    }

    fn go_diskless(&mut self, side: Side, peer: Side) {
        if !self.stands(side, peer) {
            return; // `PeerLost` is on its way
        }
        self.counts.diskless += 1;
        let gap = self.settings.gap;
        let Some(process) = self.process(side) else { return };
        process.path.through = Some(peer);
        let lacks: Vec<u64> = process.path.lacks_locally();
        if gap != Some(Gap::NotRecorded) {
            self.record(peer, side, &lacks);
        }
    }

    /// A secondary again.
    fn let_go(&mut self, side: Side) {
        let sides = self.sides();
        for peer in 0..sides {
            if let Some(process) = self.process(side) {
                process.path.calling[peer] = None;
            }
            self.drop_stream(side, peer);
        }
        if let Some(process) = &mut self.servers[side].process {
            self.promise.forget(&mut process.path);
        }
        self.keep(side);
        self.flush_here(side);
        let settings = self.settings.clone();
        let server = &mut self.servers[side];
        let failed = server.disk.failed;
        let Some(process) = &mut server.process else { return };
        let path = &mut process.path;
        let clean = !path.failing && !failed;
        if clean {
            server.disk.log.clear();
        } else if !failed {
            server.disk.recover(sides, settings.gap);
        }
        process.path = Path::new(&settings, &server.disk);
        process.path.told_failed = failed;
    }

    /// The own disk fails under a primary; a secondary says so to whoever calls.
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
        if process.path.primary.is_some() || process.phase != Phase::Closed {
            process.mailbox.push_back(Event::DiskFailed { why: "test".into() });
        }
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
}
