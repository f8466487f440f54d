//! Random walks: whatever can happen, in any order, with faults at the worst moments.

use super::{
    Side,
    disk::name,
    moves::{Held, Move},
    random::Random,
    settings::{Gap, Settings},
    world::{Counts, World},
};
use crate::{
    mirror::state::{Wake, Wish},
    registry::mirror::VolumeCommand,
};

/// The steps in which faults happen.
const STEPS: usize = 400;
/// One walk.
pub struct Walk {
    pub world: World,
    pub random: Random,
    /// What was done.
    pub made: Vec<Move>,
    /// Of a hundred steps so many are followed by all decisions that they lead to.
    eager: usize,
    /// What takes its time in this walk.
    slow: Held,
    /// A server that stood still goes on until its guard ends it.
    pub doomed: Option<(Side, usize)>,
}

impl Walk {
    pub fn new(seed: u64, sides: usize, gap: Option<Gap>) -> Self {
        let mut random = Random::of(seed);
        let settings = Settings::random(&mut random, sides, gap);
        let eager = [20, 60, 90, 100][random.below(4)];
        let all = (0..sides).collect();
        let slow = match random.below(5) {
            0 => Held { proposals: true, ..Held::default() },
            1 => Held { registry: all, ..Held::default() },
            2 => Held { proposals: true, registry: all, ..Held::default() },
            _ => Held::default(),
        };
        let world = World::new(settings);
        Self { world, random, made: Vec::new(), eager, slow, doomed: None }
    }

    /// Walks. What went wrong, if anything did.
    pub fn walk(&mut self) -> Result<Counts, String> {
        let faults = 1 + self.random.below(7);
        for _ in 0..STEPS {
            self.step();
            if self.random.below(STEPS) < faults {
                self.fault();
            } else if self.random.below(STEPS) < faults * 2 || self.is_delicate() && self.random.chance(15) {
                self.worst();
            }
            self.follow();
            if let Some(why) = &self.world.broken {
                return Err(why.clone());
            }
        }
        let why = self.rest();
        why.or(self.world.broken.clone()).map_or(Ok(self.world.counts), Err)
    }

    pub fn make(&mut self, it: Move) -> bool {
        let made = self.world.make(&it);
        if made {
            self.made.push(it);
        }
        made
    }

    /// Some things take their time.
    fn hold(&mut self) {
        let held = &mut self.world.held;
        match self.random.below(60) {
            0 => held.proposals = true,
            1 => held.registry = vec![self.random.below(self.world.settings.sides)],
            2 => held.ends = true,
            3 => held.wakes = true,
            4 => held.calls = true,
            5..=14 => *held = self.slow.clone(),
            _ => {}
        }
        if self.slow.proposals && self.random.chance(12) {
            self.make(Move::Arrive(0));
        }
        if !self.slow.registry.is_empty() && self.random.chance(20) {
            let side = self.random.below(self.world.settings.sides);
            self.make(Move::Apply(side));
        }
    }

    /// Nobody knows whether a copy is good again.
    fn is_delicate(&self) -> bool {
        self.world.asked.iter().any(|asked| matches!(asked.command, VolumeCommand::UpToDate { .. }))
    }

    /// What the step before leads to.
    fn follow(&mut self) {
        self.hold();
        if let Some((side, left)) = self.doomed {
            self.doomed = if left == 0 { None } else { Some((side, left - 1)) };
            if left == 0 {
                self.make(Move::Kill(side));
            }
        }
        if self.random.chance(self.eager) {
            for _ in 0..60 {
                match self.world.decide() {
                    Some(it) if self.world.broken.is_none() => self.made.push(it),
                    Some(it) => return self.made.push(it),
                    None => return,
                }
            }
        }
    }

    /// Something goes on.
    fn step(&mut self) {
        for _ in 0..12 {
            let it = self.any();
            if self.make(it) {
                return;
            }
        }
    }

    fn any(&mut self) -> Move {
        let world = &mut self.world;
        let random = &mut self.random;
        let sides = world.sides();
        let owner = world.owner().filter(|_| random.chance(80));
        let side = owner.unwrap_or_else(|| random.below(sides));
        let any = random.below(sides);
        let peer = (side + 1 + random.below(sides - 1)) % sides;
        let extent = random.below(world.settings.extents as usize) as u64;
        let flights = world.servers[side].process.as_ref().map(|it| it.path.flights.len());
        let flight = random.below(flights.unwrap_or_default());
        let stream = random.below(world.streams.len());
        let asked = random.below(world.asked.len());
        match random.below(50) {
            0..=5 => Move::Write(side, extent),
            6 => Move::Flush(side),
            7 => Move::Read(side),
            8..=12 => Move::Begin(side, flight),
            13..=15 => Move::Local(side, flight),
            16..=21 => Move::Deliver(stream),
            22..=26 => Move::Hear(stream),
            27..=30 => Move::Answer(side, flight),
            31 => Move::Log(side),
            32 => Move::Keep(side),
            33 if random.chance(30) => Move::Settle(side),
            34 => Move::Copy(side, peer),
            35..=37 => Move::Obey(any),
            38 => Move::Detached(side),
            39..=41 => Move::Mail(any),
            42 => Move::Wake(
                side,
                random.of_these(&[Wake::Meet, Wake::Again, Wake::Patience]).unwrap_or(Wake::Meet),
            ),
            43 => Move::Agent(any),
            44..=45 => Move::Apply(any),
            46 => Move::Dial(side, peer),
            47 if random.chance(30) => Move::Drop(stream),
            47 => Move::Notice(side, peer),
            48 => match random.below(12) {
                0..=1 => Move::Unclear(asked),
                2 => Move::Vanish(asked),
                _ => Move::Arrive(asked),
            },
            _ => Move::Assign(any),
        }
    }

    /// A fault at one of the worst moments, if there is one now.
    fn worst(&mut self) {
        let windows = self.world.windows(&mut self.random);
        for it in self.random.of_these(&windows).unwrap_or_default() {
            self.make(it);
            if self.random.chance(30) {
                self.step();
            }
        }
        self.afterwards();
    }

    /// A server that is down does not stay so for long, and somebody says that it is gone.
    fn afterwards(&mut self) {
        let sides = self.world.sides();
        for side in 0..sides {
            if self.random.chance(50) {
                self.make(Move::Gone(side));
            }
            if self.random.chance(40) {
                self.make(Move::Return(side));
            }
            if self.world.servers[side].frozen && self.random.chance(40) {
                self.thaw(side);
            }
            if self.world.is_in_trouble(side) && self.random.chance(50) {
                self.make(Move::Release);
            }
        }
        let good: Vec<Side> = (0..sides).filter(|side| self.world.is_good(*side)).collect();
        if let Some(side) = self.random.of_these(&good).filter(|_| self.random.chance(50)) {
            self.make(Move::Assign(side));
        }
    }

    /// It goes on where it stood; what the registry takes for gone is soon killed by its guard.
    fn thaw(&mut self, side: Side) {
        if self.make(Move::Thaw(side)) {
            let up = self.world.state.presence(&name(side)).is_some_and(|presence| presence.up);
            if !up {
                self.doomed = Some((side, self.random.below(40)));
            }
        }
    }

    /// Something goes wrong, is mended, or is wished.
    fn fault(&mut self) {
        let sides = self.world.sides();
        for _ in 0..10 {
            let random = &mut self.random;
            let owner = self.world.owner().unwrap_or_default();
            let side = if random.chance(50) { owner } else { random.below(sides) };
            let (peer, kept) = (random.below(sides), random.next() as u32);
            let fault = match random.below(24) {
                0..=1 => Move::Cut(side, peer),
                2..=4 => Move::Heal(side, peer),
                5..=6 => Move::Kill(side),
                7..=8 => Move::Power(side, kept),
                9 => {
                    for side in 0..sides {
                        self.make(Move::Power(side, kept));
                    }
                    self.afterwards();
                    return;
                }
                10..=11 => Move::Return(side),
                12 => Move::Freeze(side),
                13 => {
                    self.thaw(side);
                    return;
                }
                14 => Move::Gone(side),
                15 => Move::Release,
                16 => Move::FailDisk(owner),
                17 => Move::MendDisk { side, other: random.chance(50) },
                18 => Move::Slow(owner, peer),
                19..=20 => Move::Wish(owner, some_wish(random, peer)),
                21 if random.chance(40) => Move::Force(side),
                22 if random.chance(50) => Move::Grow(owner),
                _ => Move::Assign(side),
            };
            if self.make(fault) {
                return self.afterwards();
            }
        }
    }
}

fn some_wish(random: &mut Random, peer: Side) -> Wish {
    let rebuild = |full, discard| Wish::Rebuild { peer: name(peer), full, discard };
    match random.below(6) {
        0 => Wish::Pause,
        1..=2 => Wish::Resume,
        3 => Wish::Cancel,
        4 => rebuild(random.chance(50), false),
        _ => rebuild(random.chance(50), true),
    }
}
