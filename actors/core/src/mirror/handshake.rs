//! Whether two copies may talk, and what has to be copied. Only a primary connects; a secondary
//! answers.

use serde::{Deserialize, Serialize};

use super::{
    DiskState,
    geometry::Geometry,
    history::{Compared, History},
};
use crate::ids::{Epoch, Lineage, ServerName, VolumeName};

/// The version of the frames that this program speaks, and the oldest that it understands.
pub const WIRE: u32 = 1;

/// What one server's management area says of its copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalCopy {
    /// How the volume is divided.
    pub geometry: Geometry,
    /// The newest epoch that this copy has heard of, durably: older frames are refused (R31).
    pub epoch: Epoch,
    /// `Inconsistent`, `Consistent`, `Failed` or `Diskless`: what the copy knows of itself.
    pub disk: DiskState,
    /// The lineage of its data; empty for a copy that was never used.
    pub history: History,
    /// It was the primary when it was closed last, and was not closed in order: its activity log
    /// names extents that may differ.
    pub crashed: bool,
}

/// What a primary says first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The registry's lineage (R24).
    pub lineage: Lineage,
    /// Which volume.
    pub volume: VolumeName,
    /// Who is the primary.
    pub primary: ServerName,
    /// Under which epoch of the volume.
    pub epoch: Epoch,
    /// How it divides the volume.
    pub geometry: Geometry,
    /// The lineage of its data.
    pub history: History,
    /// The frames that it speaks.
    pub wire: u32,
}

/// What a secondary answers, after it has stored the epoch durably.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Who.
    pub server: ServerName,
    /// Its copy, with the new epoch.
    pub copy: LocalCopy,
    /// The extents that its dirty map and its activity log name. The names themselves follow when a
    /// resync begins (R30).
    pub differing: u64,
}

/// Why a secondary does not talk to a primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Unwelcome {
    /// R24.
    #[error("it belongs to another registry: {0}")]
    OtherLineage(Lineage),
    /// Not configured here, or not open.
    #[error("there is no volume {0} here")]
    NoVolume(VolumeName),
    /// R31: somebody was primary after the one that calls.
    #[error("epoch {named} is over: {known} has begun")]
    OlderEpoch {
        /// What the caller named.
        named: Epoch,
        /// What this copy knows.
        known: Epoch,
    },
    /// The data areas differ.
    #[error("the data area here has {own} bytes, that of the primary {theirs}")]
    OtherSize {
        /// Here.
        own: u64,
        /// The primary's.
        theirs: u64,
    },
    /// The peer's program is too old or too new.
    #[error("the primary speaks version {theirs} of the mirror's frames, this server {own}")]
    OtherWire {
        /// Here.
        own: u32,
        /// The primary's.
        theirs: u32,
    },
    /// This server is primary itself, under a newer or the same epoch.
    #[error("it is primary itself, under epoch {0}")]
    PrimaryHere(Epoch),
    /// The own disk cannot be used.
    #[error("its disk cannot be used: {0}")]
    NoDisk(String),
}

/// What follows from two copies having met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// They are equal: writes go to both from now on.
    InStep,
    /// The peer lacks something: a resync.
    Resync {
        /// All of it; otherwise what either side's maps and logs name (R30).
        full: bool,
    },
    /// Each has data that the other lacks: an operator decides whose is lost.
    Diverged,
    /// The peer's data is newer than the primary's: never copied over.
    PeerIsNewer,
}

/// Whether the copy `own` lets a primary in that says `hello`. `primary` is the epoch under which
/// this server is primary itself.
///
/// # Errors
/// Why not.
pub fn answer(
    own: &LocalCopy,
    lineage: &Lineage,
    primary: Option<Epoch>,
    hello: &Hello,
) -> Result<(), Unwelcome> {
    if hello.lineage != *lineage {
        return Err(Unwelcome::OtherLineage(lineage.clone()));
    }
    if hello.wire != WIRE {
        return Err(Unwelcome::OtherWire { own: WIRE, theirs: hello.wire });
    }
    if let Some(epoch) = primary.filter(|epoch| *epoch >= hello.epoch) {
        return Err(Unwelcome::PrimaryHere(epoch));
    }
    if own.epoch > hello.epoch {
        return Err(Unwelcome::OlderEpoch { named: hello.epoch, known: own.epoch });
    }
    if own.geometry != hello.geometry {
        return Err(Unwelcome::OtherSize { own: own.geometry.size, theirs: hello.geometry.size });
    }
    if matches!(own.disk, DiskState::Failed | DiskState::Diskless) {
        return Err(Unwelcome::NoDisk(own.disk.to_string()));
    }
    Ok(())
}

/// A peer has let a primary in.
#[derive(Clone, Copy, Debug)]
pub struct Meeting<'a> {
    /// The primary's copy.
    pub own: &'a LocalCopy,
    /// The extents that the primary's own dirty map for this peer and its activity log name.
    pub differing: u64,
    /// The registry has the peer among the good copies.
    pub good: bool,
    /// The registry says that nobody recorded all that the peer may lack.
    pub compare: bool,
    /// What the peer answered.
    pub welcome: &'a Welcome,
}

/// What a primary does with a peer that has let it in.
#[must_use]
pub fn course(meeting: &Meeting<'_>) -> Course {
    let Meeting { own, differing, good, compare, welcome } = *meeting;
    let peer = &welcome.copy;
    match own.history.compare(&peer.history) {
        Compared::Diverged => return Course::Diverged,
        Compared::Behind => return Course::PeerIsNewer,
        Compared::Same | Compared::Ahead => {}
    }
    // A copy that is in step hears of each generation before the next one begins. One that is further
    // behind, and good all the same, is not the one that was in step.
    let near = peer.history.generation().next() >= own.history.generation();
    let equal = good && near && !compare && peer.disk != DiskState::Inconsistent;
    if equal && differing == 0 && welcome.differing == 0 {
        return Course::InStep;
    }
    let full = compare || peer.history.0.is_empty() || good && !near;
    Course::Resync { full }
}
