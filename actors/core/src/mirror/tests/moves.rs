//! Everything that can happen next, as data: walks choose, stories name, and what failed is made shorter.

use super::{
    Side,
    disk::name,
    path::{Copying, Path},
    world::World,
};
use crate::mirror::state::{Event, Wake, Wish};

/// One small step of the world. Flights, streams and commands are named by their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// The client asks for something.
    Write(Side, u64),
    Flush(Side),
    Read(Side),
    /// The data path goes on.
    Begin(Side, usize),
    Local(Side, usize),
    Answer(Side, usize),
    Log(Side),
    Keep(Side),
    Settle(Side),
    Copy(Side, Side),
    Deliver(usize),
    Hear(usize),
    /// The rest of what was sent is lost.
    Drop(usize),
    Dial(Side, Side),
    Notice(Side, Side),
    /// The machine and the orders that it gave.
    Mail(Side),
    Obey(Side),
    Detached(Side),
    Wake(Side, Wake),
    Agent(Side),
    Apply(Side),
    OpenAgain(Side),
    /// A command to the registry.
    Arrive(usize),
    Unclear(usize),
    Vanish(usize),
    /// The cluster.
    Assign(Side),
    Release,
    Gone(Side),
    /// Something goes wrong, or is mended.
    Cut(Side, Side),
    Heal(Side, Side),
    Kill(Side),
    /// What was not flushed is lost, but for what these bits name.
    Power(Side, u32),
    Return(Side),
    Freeze(Side),
    Thaw(Side),
    FailDisk(Side),
    /// Another one: nothing is on it.
    MendDisk {
        side: Side,
        other: bool,
    },
    Slow(Side, Side),
    /// An operator.
    Wish(Side, Wish),
    Force(Side),
    Grow(Side),
}

impl World {
    /// Makes a move; whether it was possible. After it everything that was promised has to hold.
    pub fn make(&mut self, it: &Move) -> bool {
        let made = self.try_to(it);
        if made && self.broken.is_none() {
            self.check_good();
        }
        made
    }

    fn try_to(&mut self, it: &Move) -> bool {
        match *it {
            Move::Write(side, extent) => extent < self.settings.extents && self.request(side, Some(extent)),
            Move::Flush(side) => self.request(side, None),
            Move::Read(side) => self.read(side),
            Move::Begin(side, at) => self.begin(side, at),
            Move::Local(side, at) => self.local(side, at),
            Move::Answer(side, at) => self.answer(side, at),
            Move::Log(side) => self.log(side),
            Move::Keep(side) => self.keep(side),
            Move::Settle(side) => self.settle(side),
            Move::Copy(side, peer) => self.copy(side, peer),
            Move::Deliver(at) => self.deliver(at),
            Move::Hear(at) => self.hear(at),
            Move::Drop(at) => self.drop_frames(at),
            Move::Dial(side, peer) => self.dial(side, peer),
            Move::Notice(side, peer) => self.notice(side, peer),
            Move::Mail(side) => self.read_mail(side),
            Move::Obey(side) => self.obey(side),
            Move::Detached(side) => self.finish_detach(side),
            Move::Wake(side, wake) => self.wake(side, wake),
            Move::Agent(side) => self.agent(side),
            Move::Apply(side) => self.apply_more(side),
            Move::OpenAgain(side) => self.open_again(side),
            Move::Arrive(at) => self.arrive(at),
            Move::Unclear(at) => self.unclear(at),
            Move::Vanish(at) => self.vanish(at),
            Move::Assign(side) => self.assign(side),
            Move::Release => self.release(),
            Move::Gone(side) => self.gone(side),
            ref fault => self.go_wrong(fault),
        }
    }

    fn go_wrong(&mut self, fault: &Move) -> bool {
        if self.telling {
            self.say(format!("-- {fault:?}"));
        }
        match *fault {
            Move::Cut(one, other) => self.cut(one, other),
            Move::Heal(one, other) => self.cut.remove(&(one.min(other), one.max(other))),
            Move::Kill(side) => self.end_process(side, None),
            Move::Power(side, kept) => self.end_process(side, Some(kept)),
            Move::Return(side) => self.come_back(side),
            Move::Freeze(side) => {
                let runs = self.process(side).is_some();
                self.counts.frozen += u64::from(runs);
                self.servers[side].frozen |= runs;
                runs
            }
            Move::Thaw(side) => std::mem::take(&mut self.servers[side].frozen),
            Move::FailDisk(side) => self.process(side).is_some() && self.fail_disk(side),
            Move::MendDisk { side, other } => self.mend_disk(side, other),
            Move::Slow(side, peer) => self.slow(side, peer),
            Move::Wish(side, ref wish) => self.wish(side, wish.clone()),
            Move::Force(side) => self.force(side),
            Move::Grow(side) => self.grow(side),
            _ => false,
        }
    }

    /// The data path gives a peer up that does not answer.
    fn slow(&mut self, side: Side, peer: Side) -> bool {
        let stands = self.stands(side, peer);
        let Some(process) = self.process(side).filter(|_| stands) else { return false };
        let incarnation = process.incarnation;
        self.mail(side, incarnation, Event::PeerSlow { peer: name(peer) });
        true
    }

    /// Makes the next step of machines, orders and registry, none of the data path's. What leads to a
    /// decision is there before time runs out.
    pub fn decide(&mut self) -> Option<Move> {
        let sides = self.sides();
        for side in 0..sides {
            for it in [Move::Mail(side), Move::Obey(side), Move::Apply(side), Move::Agent(side)] {
                if !self.held.is_held(&it) && self.make(&it) {
                    return Some(it);
                }
            }
        }
        let waits = self.asked.iter().position(|asked| !asked.answered);
        let arrives = waits.map(Move::Arrive).filter(|it| !self.held.is_held(it));
        if let Some(it) = arrives.filter(|it| self.make(it)) {
            return Some(it);
        }
        for (side, peer) in pairs(sides) {
            for it in [Move::Notice(side, peer), Move::Dial(side, peer)] {
                let again = matches!(it, Move::Dial(..)) && !self.is_news(side, peer);
                if !again && !self.held.is_held(&it) && self.make(&it) {
                    return Some(it);
                }
            }
        }
        (0..sides).find_map(|side| {
            let wakes = [Wake::Again, Wake::Meet].map(|wake| Move::Wake(side, wake));
            let last = [Move::Detached(side), Move::OpenAgain(side)];
            last.into_iter().chain(wakes).find(|it| !self.held.is_held(it) && self.make(it))
        })
    }

    /// Whether a call would be answered otherwise than the last one.
    fn is_news(&mut self, side: Side, peer: Side) -> bool {
        match self.said_to(side, peer) {
            None => false,
            Some(Ok(_)) => true,
            Some(Err(why)) => {
                self.process(side).is_some_and(|process| process.path.refusals[peer].as_ref() != Some(&why))
            }
        }
    }

    /// Makes the next step of requests and resyncs.
    pub fn carry(&mut self) -> Option<Move> {
        let sides = self.sides();
        let streams = (0..self.streams.len()).flat_map(|at| [Move::Hear(at), Move::Deliver(at)]);
        let mut list: Vec<Move> = streams.collect();
        for side in 0..sides {
            let Some(process) = &self.servers[side].process else { continue };
            let path = &process.path;
            for at in 0..path.flights.len() {
                list.extend([Move::Answer(side, at), Move::Local(side, at), Move::Begin(side, at)]);
            }
            if path.unlogged {
                list.push(Move::Log(side));
            }
            if path.full || path.detaching && path.flights.is_empty() {
                list.extend([Move::Keep(side), Move::Settle(side)]);
            }
            list.extend((0..sides).filter(|peer| copies(path, *peer)).map(|peer| Move::Copy(side, peer)));
        }
        list.into_iter().find(|it| !self.held.is_held(it) && self.make(it))
    }

    /// Goes on until nothing happens any more.
    pub fn run(&mut self) {
        for _ in 0..5000 {
            if self.broken.is_some() || self.decide().or_else(|| self.carry()).is_none() {
                return;
            }
        }
        self.fail("it goes on and on".to_owned());
    }

    /// Decides until nothing is left to decide before the data path goes on.
    pub fn run_decisions(&mut self) {
        for _ in 0..2000 {
            if self.broken.is_some() || self.decide().is_none() {
                return;
            }
        }
        self.fail("it decides and decides".to_owned());
    }
}

fn copies(path: &Path, peer: Side) -> bool {
    matches!(path.resync[peer], Copying::Runs { under_way: None, .. })
}

/// All pairs of different servers.
pub fn pairs(sides: usize) -> Vec<(Side, Side)> {
    let all = (0..sides).flat_map(|one| (0..sides).map(move |other| (one, other)));
    all.filter(|(one, other)| one != other).collect()
}

/// What a story holds back until it lets go of it.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// The registry is not applied on these.
    pub registry: Vec<Side>,
    /// Commands do not reach the log.
    pub proposals: bool,
    /// Frames from the first to the second stay on their way.
    pub frames: bool,
    /// What the peers answer does.
    pub words: bool,
    /// Own disks take nothing.
    pub local: bool,
    /// Broken streams are not noticed.
    pub ends: bool,
    /// Nobody calls.
    pub calls: bool,
    /// Time does not run out.
    pub wakes: bool,
    /// No extent is copied.
    pub copies: bool,
}

impl Held {
    fn is_held(&self, it: &Move) -> bool {
        match it {
            Move::Apply(side) => self.registry.contains(side),
            Move::Arrive(_) => self.proposals,
            Move::Deliver(_) => self.frames,
            Move::Hear(_) => self.words,
            Move::Local(..) => self.local,
            Move::Notice(..) => self.ends,
            Move::Dial(..) => self.calls,
            Move::Wake(..) => self.wakes,
            Move::Copy(..) => self.copies,
            _ => false,
        }
    }
}
