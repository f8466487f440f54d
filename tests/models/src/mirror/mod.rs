//! A volume mirrored on two servers, with its registry entry: crashes, cut links, promotions and a
//! frozen old primary, for one extent or two. Values are the numbers of writes.

mod step;

use stateright::{Model, Property};

pub use self::step::Step;

/// A copy's number: 0 or 1. The same as its server's.
pub type Side = usize;
/// At most so many extents.
pub const EXTENTS: usize = 2;

/// What an extent holds while a resync copies it: some of the old, some of the new.
pub const TORN: u8 = 7;

/// The rules. All of them hold in [`Rules::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// R25: an entry that names an older revision of the volume is refused.
    pub r25_names_the_revision: bool,
    /// R25: "Outdated" only takes away from the good copies, and never the last one.
    pub r25_never_empty: bool,
    /// R26: from the proposal of "UpToDate" on, the primary acts as if it were committed.
    pub r26_acts_as_if_committed: bool,
    /// R26: after a proposal it waits for the outcome.
    pub r26_waits_for_the_outcome: bool,
    /// R27: losing the own disk is losing a copy: committed before the next answer.
    pub r27_own_disk_committed: bool,
    /// R27: the side that has the data records what the other lacks.
    pub r27_recorded_by_the_peer: bool,
    /// R28: opening without the peer commits it out first.
    pub r28_peer_out_first: bool,
    /// R29: an extent is in the activity log before either leg is sent.
    pub r29_log_first: bool,
    /// R30: a resync copies what either side's maps and logs name.
    pub r30_union: bool,
    /// R30: a resync's target is out of the good copies before the first block.
    pub r30_target_out: bool,
    /// R31: a receiver refuses frames of an older epoch.
    pub r31_older_frames: bool,
}

impl Rules {
    /// Every rule.
    pub const ALL: Self = Self {
        r25_names_the_revision: true,
        r25_never_empty: true,
        r26_acts_as_if_committed: true,
        r26_waits_for_the_outcome: true,
        r27_own_disk_committed: true,
        r27_recorded_by_the_peer: true,
        r28_peer_out_first: true,
        r29_log_first: true,
        r30_union: true,
        r30_target_out: true,
        r31_older_frames: true,
    };
}

/// How much happens at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// One or two.
    pub extents: usize,
    pub writes: u8,
    pub crashes: u8,
    pub cuts: u8,
    pub promotions: u8,
    /// Disks that fail under a primary.
    pub disks: u8,
    /// An old primary may be frozen, and go on after another one was promoted.
    pub thaw: bool,
}

/// One copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Copy {
    pub up: bool,
    /// Its disk works.
    pub disk: bool,
    /// What each extent holds: the number of a write.
    pub holds: [u8; EXTENTS],
    /// Extents in its activity log, one bit each.
    pub log: u8,
    /// Extents in its dirty map.
    pub dirty: u8,
    /// It is the primary, as far as it knows.
    pub active: bool,
    /// Writes are held back.
    pub held: bool,
    /// The epoch it knows.
    pub epoch: u8,
}

/// A write under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flight {
    pub number: u8,
    pub extent: usize,
    pub from: Side,
    pub local: bool,
    pub remote: bool,
}

/// An entry that was proposed and not committed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Proposal {
    /// The copies that are good by it.
    pub good: u8,
    pub epoch: u8,
    pub revision: u8,
}

/// What must never be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    Nothing,
    LostWrite,
    ResurrectedWrite,
    SilentDivergence,
}

/// Everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub copies: [Copy; 2],
    /// The cable.
    pub link: bool,
    pub connected: bool,
    pub resync: bool,
    /// Registry: epoch, owner, good copies, revision.
    pub epoch: u8,
    pub owner: u8,
    pub good: u8,
    pub revision: u8,
    pub flight: Option<Flight>,
    /// A frame that a frozen old primary had begun to send when another one was promoted.
    pub stale: Option<Flight>,
    pub proposals: [Option<Proposal>; 2],
    /// The last write of each extent that a client was told is done.
    pub acknowledged: [u8; EXTENTS],
    /// Writes to each extent that a read has not seen, and that must not come back; one bit each.
    pub dead: [u8; EXTENTS],
    /// Writes to each extent that were never answered, because their side crashed.
    pub pending: [u8; EXTENTS],
    pub next: u8,
    pub crashes: u8,
    pub cuts: u8,
    pub promotions: u8,
    pub disks: u8,
    pub broken: Broken,
    /// A write was answered with one good copy.
    pub alone: bool,
}

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct Mirror {
    pub rules: Rules,
    pub bounds: Bounds,
}

impl Model for Mirror {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let copy = Copy {
            up: true,
            disk: true,
            holds: [0; EXTENTS],
            log: 0,
            dirty: 0,
            active: false,
            held: false,
            epoch: 1,
        };
        vec![World {
            copies: [Copy { active: true, ..copy }, copy],
            link: true,
            connected: true,
            resync: false,
            epoch: 1,
            owner: 0,
            good: 3,
            revision: 0,
            flight: None,
            stale: None,
            proposals: [None; 2],
            acknowledged: [0; EXTENTS],
            dead: [0; EXTENTS],
            pending: [0; EXTENTS],
            next: 1,
            crashes: 0,
            cuts: 0,
            promotions: 0,
            disks: 0,
            broken: Broken::Nothing,
            alone: false,
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if world.broken == Broken::Nothing {
            self.possible(world, steps);
        }
    }

    fn next_state(&self, before: &World, step: Step) -> Option<World> {
        let mut world = *before;
        self.perform(&mut world, step)?;
        world.compare();
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no answered write is lost", |_, world: &World| {
                world.broken != Broken::LostWrite
            }),
            Property::always("no write comes back after a read without it", |_, world: &World| {
                world.broken != Broken::ResurrectedWrite
            }),
            Property::always("good copies that are in step are equal", |_, world: &World| {
                world.broken != Broken::SilentDivergence
            }),
            Property::sometimes("alone, and both good again", |_, world: &World| {
                world.alone && world.good == 3
            }),
        ]
    }
}

impl World {
    /// Both good, in step and idle: then they are equal.
    fn compare(&mut self) {
        let [one, other] = &self.copies;
        let works = |copy: &Copy| copy.up && copy.disk;
        let in_step = self.connected
            && !self.resync
            && self.good == 3
            && self.flight.is_none()
            && works(one)
            && works(other);
        if in_step && self.broken == Broken::Nothing && one.holds != other.holds {
            self.broken = Broken::SilentDivergence;
        }
    }
}
