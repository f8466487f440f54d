//! What can happen to a mirrored volume, and what comes of it.

use super::{Broken, Flight, Mirror, Proposal, Side, TORN, World};

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A client writes to an extent, through this side.
    Write(Side, usize),
    /// The own disk has the write under way.
    Local,
    /// The peer's disk has it.
    Remote,
    /// A frame of an old primary that goes on arrives.
    Stale,
    /// Both have it: the client is told.
    Answer,
    /// One has it, and the other is no good copy.
    AnswerAlone,
    Cut,
    Mend,
    Connect,
    Resynced,
    /// The primary proposes that the peer is outdated.
    ProposeOut(Side),
    /// A proposal is committed, or refused.
    Commit(usize),
    /// Held writes go on.
    GoOn(Side),
    Crash(Side),
    Restart(Side),
    Promote(Side),
    Demote(Side),
    /// A client reads an extent.
    Read(Side, usize),
    /// An idle extent leaves the activity log.
    Evict(Side, usize),
    DiskFails(Side),
    DiskBack(Side),
}

fn bit(number: usize) -> u8 {
    1 << number
}

impl Mirror {
    pub(super) fn possible(&self, world: &World, steps: &mut Vec<Step>) {
        use Step::*;
        let bounds = &self.bounds;
        steps.extend([Local, Remote, Stale, Answer, AnswerAlone, Mend, Connect, Resynced]);
        if world.cuts < bounds.cuts {
            steps.push(Cut);
        }
        steps.extend((0..2).filter(|at| world.proposals[*at].is_some()).map(Commit));
        for side in 0..2 {
            steps.extend([ProposeOut(side), GoOn(side), Restart(side), Demote(side)]);
            for extent in 0..bounds.extents {
                steps.extend([Write(side, extent), Read(side, extent), Evict(side, extent)]);
            }
            if world.crashes < bounds.crashes {
                steps.push(Crash(side));
            }
            if world.promotions < bounds.promotions {
                steps.push(Promote(side));
            }
            if bounds.disks > 0 {
                steps.push(DiskBack(side));
                if world.disks < bounds.disks {
                    steps.push(DiskFails(side));
                }
            }
        }
    }

    pub(super) fn perform(&self, world: &mut World, step: Step) -> Option<()> {
        match step {
            Step::Write(side, extent) => self.write(world, side, extent),
            Step::Local => self.local(world),
            Step::Remote => self.remote(world),
            Step::Stale => {
                let frame = world.stale.take().filter(|_| world.link)?;
                let from = world.copies[frame.from];
                let to = &mut world.copies[1 - frame.from];
                (from.active && to.up).then_some(())?;
                (!self.rules.r31_older_frames || to.epoch <= from.epoch).then_some(())?;
                to.holds[frame.extent] = frame.number;
                Some(())
            }
            Step::Answer => {
                let flight = world.flight.filter(|flight| flight.local && flight.remote)?;
                (!world.copies[flight.from].held).then_some(())?;
                world.answer(flight);
                Some(())
            }
            Step::AnswerAlone => self.answer_alone(world),
            Step::Cut => {
                world.link.then_some(())?;
                world.link = false;
                world.cuts += 1;
                self.lose_the_peer(world, [0, 1]);
                Some(())
            }
            Step::Mend => {
                (!world.link).then_some(())?;
                world.link = true;
                Some(())
            }
            Step::Connect => self.connect(world),
            Step::Resynced => self.resynced(world),
            Step::ProposeOut(side) => self.propose_out(world, side),
            Step::Commit(at) => self.commit(world, at),
            Step::GoOn(side) => self.go_on(world, side),
            Step::Crash(side) => self.crash(world, side),
            Step::Restart(side) => {
                (!world.copies[side].up).then_some(())?;
                world.copies[side].up = true;
                Some(())
            }
            Step::Promote(side) => self.promote(world, side),
            Step::Demote(side) => {
                let it = &mut world.copies[side];
                let idle = world.flight.is_none() && !world.resync;
                (it.active && !it.held && idle).then_some(())?;
                it.active = false;
                Some(())
            }
            Step::Read(side, extent) => world.read(side, extent),
            Step::Evict(side, extent) => {
                let flushed = world.flight.is_none() && world.connected && !world.resync;
                let it = &mut world.copies[side];
                (it.active && it.log & bit(extent) != 0 && flushed).then_some(())?;
                it.log &= !bit(extent);
                Some(())
            }
            Step::DiskFails(side) => {
                (world.copies[side].active && world.connected && !world.resync).then_some(())?;
                world.disks += 1;
                world.copies[side].disk = false;
                if self.rules.r27_own_disk_committed {
                    // The write waits for this.
                    world.good = bit(1 - side);
                    world.revision += 1;
                }
                Some(())
            }
            Step::DiskBack(side) => {
                let it = &mut world.copies[side];
                (!it.disk && !it.up).then_some(())?;
                it.disk = true;
                Some(())
            }
        }
    }

    fn write(&self, world: &mut World, side: Side, extent: usize) -> Option<()> {
        let it = &mut world.copies[side];
        let may = it.active && !it.held && world.flight.is_none() && world.next <= self.bounds.writes;
        may.then_some(())?;
        let number = world.next;
        world.flight = Some(Flight { number, extent, from: side, local: false, remote: false });
        world.next += 1;
        if self.rules.r29_log_first {
            it.log |= bit(extent);
        }
        Some(())
    }

    fn local(&self, world: &mut World) -> Option<()> {
        let flight = world.flight.as_mut().filter(|flight| !flight.local)?;
        let it = &mut world.copies[flight.from];
        it.disk.then_some(())?;
        it.log |= bit(flight.extent);
        it.holds[flight.extent] = flight.number;
        if !world.connected {
            it.dirty |= bit(flight.extent);
        }
        flight.local = true;
        Some(())
    }

    fn remote(&self, world: &mut World) -> Option<()> {
        let flight = world.flight.as_mut().filter(|flight| !flight.remote)?;
        let from = world.copies[flight.from];
        let to = &mut world.copies[1 - flight.from];
        (world.connected && to.up && !from.held).then_some(())?;
        (!self.rules.r31_older_frames || to.epoch <= from.epoch).then_some(())?;
        to.holds[flight.extent] = flight.number;
        flight.remote = true;
        Some(())
    }

    fn answer_alone(&self, world: &mut World) -> Option<()> {
        let flight = world.flight?;
        let (me, peer) = (bit(flight.from), bit(1 - flight.from));
        let it = &mut world.copies[flight.from];
        (!it.held).then_some(())?;
        let own = flight.local && !world.connected && world.good == me;
        let only_the_peer =
            flight.remote && !it.disk && (!self.rules.r27_own_disk_committed || world.good == peer);
        (own || only_the_peer).then_some(())?;
        if own {
            it.dirty |= bit(flight.extent);
        } else if self.rules.r27_recorded_by_the_peer {
            world.copies[1 - flight.from].dirty |= bit(flight.extent);
        }
        world.alone = true;
        world.answer(flight);
        Some(())
    }

    /// "UpToDate" has been proposed, and nobody knows yet what came of it.
    fn is_unclear(&self, world: &World) -> bool {
        let now = |it: &Proposal| it.epoch == world.epoch && it.revision == world.revision;
        world.proposals.iter().flatten().any(now)
    }

    fn lose_the_peer(&self, world: &mut World, sides: impl IntoIterator<Item = Side>) {
        (world.connected, world.resync) = (false, false);
        let unclear = self.rules.r26_acts_as_if_committed && self.is_unclear(world);
        for side in sides {
            if world.copies[side].active && (unclear || world.good != bit(side)) {
                world.copies[side].held = true;
            }
        }
    }

    fn connect(&self, world: &mut World) -> Option<()> {
        let possible = !world.connected
            && world.link
            && world.copies.iter().all(|copy| copy.up && copy.disk)
            && !(self.rules.r26_waits_for_the_outcome && self.is_unclear(world));
        possible.then_some(())?;
        let primary = usize::from(world.owner);
        let target = 1 - primary;
        (world.copies[primary].active && !world.copies[target].active).then_some(())?;
        let target_is_good = world.good & bit(target) != 0;
        if self.differ(world, primary) != 0 || !target_is_good {
            if target_is_good && self.rules.r30_target_out {
                world.good = bit(primary);
                world.revision += 1;
            }
            world.resync = true;
            for extent in self.extents_of(self.differ(world, primary)) {
                world.copies[target].holds[extent] = TORN;
            }
        }
        world.connected = true;
        world.copies[target].epoch = world.epoch;
        world.copies[primary].held = false;
        if let Some(flight) = world.flight.as_mut().filter(|flight| flight.from == primary) {
            flight.remote = false;
        }
        Some(())
    }

    /// The extents that a resync has to copy.
    fn differ(&self, world: &World, primary: Side) -> u8 {
        let maps = |side: Side| world.copies[side].dirty | world.copies[side].log;
        maps(primary) | if self.rules.r30_union { maps(1 - primary) } else { 0 }
    }

    fn extents_of(&self, map: u8) -> impl Iterator<Item = usize> + use<> {
        (0..self.bounds.extents).filter(move |extent| map & bit(*extent) != 0)
    }

    fn resynced(&self, world: &mut World) -> Option<()> {
        (world.resync && world.connected && world.flight.is_none()).then_some(())?;
        let primary = usize::from(world.owner);
        let copied = self.differ(world, primary);
        for extent in self.extents_of(copied) {
            world.copies[1 - primary].holds[extent] = world.copies[primary].holds[extent];
        }
        for copy in &mut world.copies {
            (copy.dirty, copy.log) = (0, 0);
        }
        world.resync = false;
        if world.good != 3 {
            let proposal = Proposal { good: 3, epoch: world.epoch, revision: world.revision };
            world.propose(proposal)?;
        }
        Some(())
    }

    fn propose_out(&self, world: &mut World, side: Side) -> Option<()> {
        let it = world.copies[side];
        let takes_back =
            |it: &Proposal| it.good == 3 && it.epoch == world.epoch && it.revision == world.revision;
        let unclear = self.rules.r26_acts_as_if_committed && world.proposals.iter().flatten().any(takes_back);
        let needed = it.active && it.held && !world.connected && (world.good != bit(side) || unclear);
        needed.then_some(())?;
        world.propose(Proposal { good: bit(side), epoch: it.epoch, revision: world.revision })
    }

    fn commit(&self, world: &mut World, at: usize) -> Option<()> {
        let proposal = world.proposals[at].take()?;
        world.proposals.sort();
        let current = !self.rules.r25_names_the_revision || proposal.revision == world.revision;
        if proposal.epoch != world.epoch || !current {
            return Some(()); // refused
        }
        if proposal.good != 3 && self.rules.r25_never_empty {
            if world.good & proposal.good == 0 {
                return Some(()); // refused
            }
            world.good &= proposal.good;
        } else {
            world.good = proposal.good;
        }
        world.revision += 1;
        Some(())
    }

    fn go_on(&self, world: &mut World, side: Side) -> Option<()> {
        let it = world.copies[side];
        let both_good =
            |it: &Proposal| it.good == 3 && it.epoch == world.epoch && it.revision == world.revision;
        let unclear = self.rules.r26_acts_as_if_committed && world.proposals.iter().flatten().any(both_good);
        let may = it.active && it.held && world.good == bit(side) && it.epoch == world.epoch && !unclear;
        may.then_some(())?;
        let it = &mut world.copies[side];
        it.held = false;
        if let Some(flight) = world.flight.filter(|flight| flight.from == side) {
            it.dirty |= bit(flight.extent);
        }
        Some(())
    }

    fn crash(&self, world: &mut World, side: Side) -> Option<()> {
        world.copies[side].up.then_some(())?;
        world.crashes += 1;
        let it = &mut world.copies[side];
        (it.up, it.active, it.held) = (false, false, false);
        if let Some(flight) = world.flight.filter(|flight| flight.from == side) {
            // Its client was told nothing: it may be there or not, but not come and go.
            world.pending[flight.extent] |= bit(usize::from(flight.number));
            world.flight = None;
        }
        self.lose_the_peer(world, [1 - side]);
        Some(())
    }

    fn promote(&self, world: &mut World, side: Side) -> Option<()> {
        let other = 1 - side;
        let it = world.copies[side];
        let may = it.up && it.disk && !it.active && world.good & bit(side) != 0;
        (may && !(world.connected && world.resync)).then_some(())?;
        (!world.copies[other].active || self.bounds.thaw).then_some(())?;
        world.promotions += 1;
        world.epoch += 1;
        world.revision += 1;
        world.owner = side as u8;
        if world.copies[other].active {
            world.connected = false; // the old primary stands still
            if let Some(flight) = world.flight.take_if(|flight| flight.from == other) {
                world.pending[flight.extent] |= bit(usize::from(flight.number));
                world.stale = Some(flight);
            }
        }
        let it = &mut world.copies[side];
        (it.epoch, it.active, it.held) = (world.epoch, true, false);
        if !world.connected {
            if self.rules.r28_peer_out_first {
                world.good = bit(side);
            } else if world.good != bit(side) {
                it.held = true;
            }
        }
        Some(())
    }
}

impl World {
    fn answer(&mut self, flight: Flight) {
        self.acknowledged[flight.extent] = flight.number;
        self.flight = None;
    }

    fn propose(&mut self, proposal: Proposal) -> Option<()> {
        let full = self.proposals.iter().all(Option::is_some);
        (!full && !self.proposals.contains(&Some(proposal))).then_some(())?;
        let free = self.proposals.iter_mut().find(|it| it.is_none())?;
        *free = Some(proposal);
        self.proposals.sort();
        Some(())
    }

    /// A read sees the last answered write or a later one, and what it did not see stays unseen.
    fn read(&mut self, side: Side, extent: usize) -> Option<()> {
        let it = &self.copies[side];
        (it.active && it.disk && usize::from(self.owner) == side).then_some(())?;
        let seen = it.holds[extent];
        let under_way = self.flight.filter(|flight| flight.extent == extent).map(|flight| flight.number);
        if seen == TORN || seen < self.acknowledged[extent] && under_way != Some(seen) {
            self.broken = Broken::LostWrite;
            return Some(());
        }
        if self.dead[extent] & bit(usize::from(seen)) != 0 {
            self.broken = Broken::ResurrectedWrite;
            return Some(());
        }
        // Numbers above what was seen: their bits are above its own.
        let unseen = self.pending[extent] & !((bit(usize::from(seen)) << 1) - 1);
        self.dead[extent] |= unseen;
        self.pending[extent] &= !unseen;
        (unseen != 0).then_some(())
    }
}
