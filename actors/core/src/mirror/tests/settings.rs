//! What differs from walk to walk, and the rules that the data path of this world may leave out.

use super::random::Random;

/// A rule that the data path may leave out. The others are in [`crate::mirror::lapse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// R27: nobody records what a primary without a disk lacks.
    NotRecorded,
    /// R29: a write is sent before a log that names it is on the disk.
    SentBeforeLog,
    /// R29: a region leaves the log while a leg is not flushed.
    LeavesEarly,
    /// R29: what the peer has not flushed does not join the dirty map when the stream ends.
    UnflushedForgotten,
    /// R29, R30: what the log of a crashed primary names is not copied.
    LogForgotten,
    /// R30: only the source's maps are looked at.
    NoUnion,
    /// R30: bits are cleared before the target has flushed.
    ClearedEarly,
    /// R30: a resync begins with what the source itself has not flushed.
    SourceUnflushed,
    /// R30: an extent is copied and written at the same time.
    NoExclusion,
    /// R31: a receiver takes frames of an older epoch.
    OlderFrames,
    /// R32: a flush is answered without the peer.
    FlushAlone,
}

impl Gap {
    /// By the names that stories use.
    pub const ALL: [Self; 11] = [
        Self::NotRecorded,
        Self::SentBeforeLog,
        Self::LeavesEarly,
        Self::UnflushedForgotten,
        Self::LogForgotten,
        Self::NoUnion,
        Self::ClearedEarly,
        Self::SourceUnflushed,
        Self::NoExclusion,
        Self::OlderFrames,
        Self::FlushAlone,
    ];
}

/// The world of one walk.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many copies there are.
    pub sides: usize,
    /// A region of the activity log is one extent here.
    pub extents: u64,
    /// Regions in the activity log at most.
    pub slots: usize,
    pub known_equal: bool,
    pub automatic: bool,
    /// Without its own disk a primary goes on through a peer.
    pub diskless: bool,
    pub gap: Option<Gap>,
}

impl Settings {
    pub fn of(sides: usize) -> Self {
        let (extents, slots, known_equal, automatic) = (2, 2, false, true);
        Self { sides, extents, slots, known_equal, automatic, diskless: true, gap: None }
    }

    pub fn random(random: &mut Random, sides: usize, gap: Option<Gap>) -> Self {
        Self {
            sides,
            extents: 1 + random.below(4) as u64,
            slots: 2 + random.below(2),
            known_equal: random.chance(50),
            automatic: random.chance(90),
            diskless: random.chance(70),
            gap,
        }
    }
}
