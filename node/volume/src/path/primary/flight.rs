//! Writes under way, and when they may be answered (R26, R27, R32).

use tasuki_core::mirror::state::PeerMode;
use tokio::sync::oneshot;

use super::{Engine, Through};
use crate::{
    block::BlockError,
    path::{copy::DiskError, options::lacks},
};

/// The own disk's part of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnLeg {
    /// Under way.
    Waiting,
    /// The disk has it.
    Done,
    /// The disk has failed, or there was none: a peer must have it.
    Failed,
}

/// A peer's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerLeg {
    /// Under way in this session.
    Waiting(u64),
    /// It has it.
    Done,
    /// It lacks it, and that is in its dirty map.
    Recorded,
}

/// One write.
#[derive(Debug)]
pub struct Flight {
    pub own: OwnLeg,
    pub peers: Vec<PeerLeg>,
    /// The regions of the activity log that it uses, if it entered any.
    pub regions: Option<(u32, u32)>,
    pub answer: oneshot::Sender<Result<(), BlockError>>,
}

impl Engine {
    /// A write is under way. It may be answered already.
    pub fn fly(&self, number: u64, flight: Flight) {
        self.flights.borrow_mut().insert(number, flight);
        self.land(number);
    }

    /// What became of the own leg.
    pub fn own_leg(&self, number: u64, result: Result<(), DiskError>) {
        self.copy.journal().local_done(number);
        let own = if result.is_ok() { OwnLeg::Done } else { OwnLeg::Failed };
        if let Some(flight) = self.flights.borrow_mut().get_mut(&number) {
            flight.own = own;
        }
        if let Err(why) = result {
            if why.full && self.is_alone(number) {
                // Nobody else has it either: who asked is told, and the copy is as good as before. What
                // there is now he does not know; peers that come back get it as it is.
                let flight = self.flights.borrow_mut().remove(&number);
                if let Some(flight) = flight {
                    self.landed(flight, Err(BlockError::NoSpace));
                }
                return;
            }
            self.disk_failed(&why);
        }
        self.land(number);
    }

    /// No peer has a write, or will.
    fn is_alone(&self, number: u64) -> bool {
        let flights = self.flights.borrow();
        let alone = |flight: &Flight| flight.peers.iter().all(|leg| *leg == PeerLeg::Recorded);
        flights.get(&number).is_some_and(alone)
    }

    /// A peer has a write.
    pub fn peer_leg(&self, number: u64, slot: usize, session: u64) {
        if let Some(flight) = self.flights.borrow_mut().get_mut(&number)
            && let Some(leg) = flight.peers.get_mut(slot)
            && *leg == PeerLeg::Waiting(session)
        {
            *leg = PeerLeg::Done;
        }
        self.land(number);
    }

    /// A session is over, or not used any more: what it had under way is in the peer's dirty map.
    pub fn legs_recorded(&self, slot: usize) {
        for flight in self.flights.borrow_mut().values_mut() {
            if let Some(leg) = flight.peers.get_mut(slot)
                && matches!(leg, PeerLeg::Waiting(_))
            {
                *leg = PeerLeg::Recorded;
            }
        }
        self.land_all();
    }

    /// Answers every write that may be answered now.
    pub fn land_all(&self) {
        let numbers: Vec<u64> = self.flights.borrow().keys().copied().collect();
        for number in numbers {
            self.land(number);
        }
    }

    /// Answers a write if everybody who has to has it.
    fn land(&self, number: u64) {
        let ready = self.flights.borrow().get(&number).is_some_and(|flight| self.is_done(flight));
        if ready && let Some(flight) = self.flights.borrow_mut().remove(&number) {
            self.landed(flight, Ok(()));
        }
    }

    fn landed(&self, flight: Flight, result: Result<(), BlockError>) {
        if let Some((first, end)) = flight.regions {
            self.copy.journal().activity.leave(first, end);
        }
        let _who_asked_is_gone = flight.answer.send(result);
    }

    fn is_done(&self, flight: &Flight) -> bool {
        let somewhere = match (flight.own, self.through.get()) {
            (OwnLeg::Done, Through::Own) => true,
            // The own disk is gone: what it has does not count (R27).
            (_, Through::Peer(slot)) => flight.peers.get(slot) == Some(&PeerLeg::Done),
            (_, Through::Own | Through::Nowhere) => false,
        };
        let peers = self.peers.borrow();
        let everywhere = flight.peers.iter().zip(peers.iter()).all(|(leg, peer)| match leg {
            PeerLeg::Done => true,
            PeerLeg::Waiting(_) => lacks!(self.shared.options, R33Early),
            PeerLeg::Recorded => peer.mode != PeerMode::Required,
        });
        somewhere && everywhere
    }

    /// Answers everything with an error. What is under way to the own disk still ends.
    pub fn fail_flights(&self, error: BlockError) {
        let flights = std::mem::take(&mut *self.flights.borrow_mut());
        for flight in flights.into_values() {
            self.landed(flight, Err(error));
        }
    }
}
