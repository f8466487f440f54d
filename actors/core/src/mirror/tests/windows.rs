//! The moments in which a fault tells most, and the fault that goes with each.

use super::{
    Side,
    disk::name,
    moves::Move,
    path::{Copying, Leg, What},
    random::Random,
    world::World,
};
use crate::{mirror::state::PeerMode, registry::mirror::VolumeCommand};

impl World {
    /// Faults that would come at the worst moment now.
    pub fn windows(&self, random: &mut Random) -> Vec<Vec<Move>> {
        let mut found = Vec::new();
        for side in 0..self.sides() {
            self.windows_of(side, random, &mut found);
        }
        for (at, asked) in self.asked.iter().enumerate() {
            let from = asked.from;
            let peer = (from + 1 + random.below(self.sides() - 1)) % self.sides();
            match &asked.command {
                // R26: the peer goes while nobody knows whether it is good again.
                VolumeCommand::UpToDate { .. } => {
                    let write = Move::Write(from, random.below(self.settings.extents as usize) as u64);
                    let lost = [Move::Cut(from, peer), Move::Notice(from, peer), Move::Mail(from), write];
                    found.push(lost.to_vec());
                    found.push(lost.iter().cloned().chain([Move::Arrive(at)]).collect());
                    found.push([Move::Arrive(at)].into_iter().chain(lost.clone()).collect());
                    found.push([Move::Unclear(at), Move::Mail(from)].into_iter().chain(lost).collect());
                    found.push(vec![Move::Kill(peer)]);
                }
                // R25: what is decided meanwhile is decided on older facts.
                VolumeCommand::Outdate { .. } | VolumeCommand::Open { .. } => {
                    found.push(vec![Move::Unclear(at), Move::Heal(from, peer)]);
                    found.push(vec![Move::Unclear(at), Move::Kill(from), Move::Gone(from)]);
                    found.push(vec![Move::Freeze(from), Move::Gone(from), Move::Assign(peer)]);
                }
                _ => {}
            }
        }
        // R31: frames of a primary that stands still, or is cut off.
        for it in self.streams.iter().filter(|it| !it.down.is_empty()) {
            let writes = it.down.iter().any(|frame| matches!(frame, super::streams::Frame::Write { .. }));
            if writes {
                found.push(vec![Move::Freeze(it.from), Move::Gone(it.from), Move::Assign(it.to)]);
            }
        }
        found
    }

    fn windows_of(&self, side: Side, random: &mut Random, found: &mut Vec<Vec<Move>>) {
        let Some(process) = &self.servers[side].process else { return };
        let path = &process.path;
        if path.primary.is_none() {
            return;
        }
        let kept = random.next() as u32 & random.next() as u32;
        let all = |kept: u32| (0..self.sides()).map(move |side| Move::Power(side, kept));
        for peer in (0..self.sides()).filter(|peer| *peer != side) {
            let ends = [Move::Kill(side), Move::Power(side, kept)];
            for flight in path.flights.iter().filter(|flight| flight.begun) {
                // R29: one copy has a write, and the other has not.
                if flight.local != (flight.legs[peer] == Leg::Done) {
                    found.extend(
                        ends.iter().map(|end| vec![end.clone(), Move::Gone(side), Move::Assign(peer)]),
                    );
                }
                // R32: one copy has flushed, and the other has not.
                if matches!(flight.what, What::Flush(_)) {
                    found.push(all(kept).collect());
                }
            }
            if path.modes[peer] == PeerMode::Required && !path.sent[peer].is_empty() {
                // R29: answered, and not flushed by one of them.
                found.push(vec![Move::Power(peer, 0), Move::Return(peer)]);
                found.push(vec![
                    Move::Power(side, 0),
                    Move::Gone(side),
                    Move::Assign(peer),
                    Move::Return(side),
                ]);
                found.push(vec![Move::Cut(side, peer), Move::Power(peer, kept), Move::Return(peer)]);
            }
            if let Copying::Runs { copied, .. } | Copying::Flushing(copied) = &path.resync[peer] {
                // R30: in the middle of a resync.
                found.push(vec![Move::Cut(side, peer)]);
                if !copied.is_empty() {
                    found.push(vec![Move::Power(peer, 0), Move::Return(peer)]);
                    found.push(vec![Move::Kill(side), Move::Gone(side), Move::Assign(peer)]);
                }
            }
            if path.through == Some(peer) {
                // R27: what the own disk lacks is known to the peer alone.
                let mended = Move::MendDisk { side, other: false };
                found.push(vec![
                    Move::Kill(side),
                    Move::Gone(side),
                    mended,
                    Move::Return(side),
                    Move::Assign(peer),
                ]);
            } else if path.is_required(peer) && self.is_good(side) && random.chance(5) {
                found.push(vec![Move::FailDisk(side)]);
            }
            let met = self.stands(side, peer) && !path.carries[peer];
            if met && random.chance(20) {
                found.push(vec![Move::Cut(side, peer)]);
            }
            if !self.is_good(peer) && self.facts().is_some_and(|facts| facts.good.contains(&name(side))) {
                found.push(vec![Move::Heal(side, peer), Move::Return(peer)]);
            }
        }
    }
}
