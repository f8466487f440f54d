//! The client's requests: begun when the log names them, on every leg, answered.

use super::{
    Side,
    disk::name,
    path::{Copying, Flight, Leg, What},
    settings::Gap,
    streams::Frame,
    world::World,
};
use crate::mirror::state::PeerMode;

impl World {
    /// A request to whoever has the volume open, as far as that server knows; `None`: a flush.
    pub fn request(&mut self, side: Side, extent: Option<u64>) -> bool {
        let sides = self.sides();
        let known: Vec<u64> = self.promise.extents.iter().map(|known| known.acknowledged).collect();
        let id = self.next;
        let Some(process) = self.process(side) else { return false };
        let path = &mut process.path;
        let overlaps =
            |flight: &Flight| matches!((&flight.what, extent), (What::Write(at), Some(to)) if *at == to);
        let busy = path.flights.len() > 3 || path.flights.iter().any(overlaps);
        if !path.attached || path.detaching || path.failing || busy {
            return false;
        }
        let what = extent.map_or(What::Flush(known), What::Write);
        let legs = vec![Leg::None; sides];
        path.flights.push(Flight { id, what, begun: false, local: false, legs });
        self.next += 1;
        true
    }

    /// The request's legs are sent, once its region is in the log (R29); whether anything changed.
    pub fn begin(&mut self, side: Side, at: usize) -> bool {
        let (gap, failed) = (self.settings.gap, self.servers[side].disk.failed);
        let Some(process) = self.process(side) else { return false };
        let path = &mut process.path;
        if path.failing || path.is_frozen() || failed && path.through.is_none() {
            return false;
        }
        let Some(flight) = path.flights.get(at).filter(|flight| !flight.begun).cloned() else { return false };
        let peers = (0..path.modes.len()).filter(|peer| *peer != side);
        let mut frames = Vec::new();
        match flight.what {
            What::Write(extent) => {
                let is =
                    |it: &Copying| matches!(it, Copying::Runs { under_way: Some(now), .. } if *now == extent);
                if path.resync.iter().any(is) && gap != Some(Gap::NoExclusion) {
                    return false;
                }
                let (unlogged, full) = (path.unlogged, path.full);
                if !failed && !path.enter(extent, gap) {
                    return path.unlogged && !unlogged || path.full && !full;
                }
                path.activity.write(extent as u32, extent as u32 + 1, flight.id);
                path.local.insert(extent, flight.id);
                for peer in peers {
                    if path.goes_to(peer) {
                        path.sent[peer].insert(extent, flight.id);
                        let record = path.through == Some(peer);
                        frames.push((peer, Frame::Write { id: flight.id, extent, record }));
                    } else {
                        path.maps[peer].set(extent, extent + 1);
                    }
                }
            }
            What::Flush(_) => {
                let to = peers.filter(|peer| path.goes_to(*peer));
                frames.extend(to.map(|peer| (peer, Frame::Flush(flight.id))));
            }
        }
        path.flights[at].begun = true;
        for (peer, _) in &frames {
            path.flights[at].legs[*peer] = Leg::Sent;
        }
        frames.into_iter().for_each(|(peer, frame)| self.send(side, peer, frame));
        true
    }

    /// The log is written.
    pub fn log(&mut self, side: Side) -> bool {
        let server = &mut self.servers[side];
        if server.frozen || server.disk.failed {
            return false;
        }
        let Some(process) = server.process.as_mut().filter(|process| process.path.primary.is_some()) else {
            return false;
        };
        let table = process.path.activity.table();
        process.path.activity.logged(&table);
        let differs = server.disk.log != table;
        server.disk.log = table;
        std::mem::take(&mut process.path.unlogged) || differs
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
        process.path.full &= !kept;
        kept
    }

    /// The own disk flushes, and the peers are asked to.
    pub fn settle(&mut self, side: Side) -> bool {
        let sides = self.sides();
        let failed = self.servers[side].disk.failed;
        let Some(process) = self.process(side).filter(|process| process.path.primary.is_some()) else {
            return false;
        };
        let mut any = !process.path.local.is_empty() && !failed;
        let to =
            (0..sides).filter(|peer| process.path.carries[*peer] && !process.path.sent[*peer].is_empty());
        let frames: Vec<_> = to.map(|peer| (peer, Frame::Sync(process.path.sent[peer].clone()))).collect();
        any |= !frames.is_empty();
        process.path.full &= !any;
        if any {
            self.flush_here(side);
        }
        frames.into_iter().for_each(|(peer, frame)| self.send(side, peer, frame));
        any
    }

    pub fn flush_here(&mut self, side: Side) {
        if self.servers[side].disk.failed {
            return;
        }
        self.servers[side].disk.flush();
        let Some(process) = self.process(side) else { return };
        let flights = &process.path.flights;
        let under_way: Vec<u64> = flights.iter().filter(|it| !it.local).map(|it| it.id).collect();
        process.path.local.retain(|_, number| under_way.contains(number));
    }

    /// The local leg of a request.
    pub fn local(&mut self, side: Side, at: usize) -> bool {
        let failed = self.servers[side].disk.failed;
        let Some(process) = self.process(side).filter(|_| !failed) else { return false };
        let Some(flight) = process.path.flights.get_mut(at).filter(|it| it.begun && !it.local) else {
            return false;
        };
        flight.local = true;
        let (id, what) = (flight.id, flight.what.clone());
        match what {
            What::Write(extent) => self.servers[side].disk.write(extent, id),
            What::Flush(_) => self.flush_here(side),
        }
        true
    }

    /// A request is answered when every leg that it waits for has it.
    pub fn answer(&mut self, side: Side, at: usize) -> bool {
        let gap = self.settings.gap;
        let Some(process) = self.process(side) else { return false };
        let path = &mut process.path;
        let Some(flight) = path.flights.get(at).filter(|it| it.begun).cloned() else { return false };
        if !path.is_done(side, &flight, gap) {
            return false;
        }
        path.flights.remove(at);
        match flight.what {
            What::Write(extent) => {
                for peer in (0..path.modes.len()).filter(|peer| *peer != side) {
                    if flight.legs[peer] != Leg::Done {
                        path.maps[peer].set(extent, extent + 1);
                    }
                }
                path.activity.leave(extent as u32, extent as u32 + 1);
                let known = &mut self.promise.extents[extent as usize];
                known.acknowledged = known.acknowledged.max(flight.id);
                self.counts.writes += 1;
                if self.telling {
                    self.say(format!("   {} answers write {} of {extent}", name(side), flight.id));
                }
            }
            What::Flush(then) => {
                for (now, then) in self.promise.extents.iter_mut().zip(then) {
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

    pub fn fail_io(&mut self, side: Side) {
        if let Some(process) = &mut self.servers[side].process {
            self.promise.forget(&mut process.path);
            process.path.failing = true;
            process.trouble = true;
        }
    }

    /// Nothing is under way that the device would have to wait for.
    pub fn is_quiet(&mut self, side: Side) -> bool {
        let failed = self.servers[side].disk.failed;
        let Some(process) = self.process(side) else { return false };
        let path = &process.path;
        if path.failing {
            return true;
        }
        let unflushed = |peer: Side| path.carries[peer] && !path.sent[peer].is_empty();
        path.flights.is_empty() && (failed || path.local.is_empty()) && !(0..path.modes.len()).any(unflushed)
    }

    /// How writes treat a peer from now on; whether it took effect.
    pub fn set_peer(&mut self, side: Side, peer: Side, mode: PeerMode) -> bool {
        let open = self.stream_of(side, peer).is_some();
        let stands = self.stands(side, peer);
        let works = !self.servers[peer].disk.failed;
        let Some(process) = self.process(side) else { return false };
        let path = &mut process.path;
        if mode == PeerMode::Required {
            if !stands || !works || !path.maps[peer].is_empty() {
                return false;
            }
            let history = path.history.clone();
            path.modes[peer] = mode;
            path.carries[peer] = true;
            // A flush under way has to wait for this peer too from here on.
            let mut again = Vec::new();
            for flight in &mut path.flights {
                if matches!(flight.what, What::Flush(_)) && flight.begun && flight.legs[peer] == Leg::None {
                    flight.legs[peer] = Leg::Sent;
                    again.push(flight.id);
                }
            }
            self.servers[peer].disk.history = history;
            self.servers[peer].disk.blank = false;
            again.into_iter().for_each(|id| self.send(side, peer, Frame::Flush(id)));
            self.check_in_step(side, peer);
            return true;
        }
        path.modes[peer] = mode;
        path.carries[peer] = open;
        if mode == PeerMode::Absent {
            for flight in path.flights.iter().filter(|it| it.begun && it.legs[peer] != Leg::Done) {
                if let What::Write(extent) = flight.what {
                    path.maps[peer].set(extent, extent + 1);
                }
            }
        }
        true
    }
}
