//! Whether two copies may talk, and what has to be copied. Only a primary connects; a secondary
//! answers.

use serde::{Deserialize, Serialize};

use super::{
    DiskState,
    geometry::Geometry,
    history::{Compared, History},
    wire::{self, Apart, Wires},
};
use crate::ids::{Epoch, Lineage, ServerName, VolumeName};

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

/// What a primary says first. Its form never changes; what is new comes last.
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
    pub wire: Wires,
}

/// What a secondary answers, after it has stored the epoch durably. Its form never changes; what is new
/// comes last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Who.
    pub server: ServerName,
    /// Its copy, with the new epoch.
    pub copy: LocalCopy,
    /// The extents that its dirty map and its activity log name. The names themselves follow when a
    /// resync begins (R30).
    pub differing: u64,
    /// The version of all frames that follow.
    #[serde(deserialize_with = "wire::chosen")]
    pub wire: u32,
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
    #[error("{0}")]
    OtherWire(Apart),
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

/// Whether the copy `own`, whose program `speaks` these versions of the frames, lets a primary in that
/// says `hello`; the version that both then speak. `primary` is the epoch under which this server is
/// primary itself.
///
/// # Errors
/// Why not.
pub fn answer(
    own: &LocalCopy,
    lineage: &Lineage,
    primary: Option<Epoch>,
    speaks: Wires,
    hello: &Hello,
) -> Result<u32, Unwelcome> {
    if hello.lineage != *lineage {
        return Err(Unwelcome::OtherLineage(lineage.clone()));
    }
    let Some(wire) = speaks.common(hello.wire) else {
        return Err(Unwelcome::OtherWire(Apart { own: speaks, theirs: hello.wire }));
    };
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
    Ok(wire)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Generation;

    fn copy() -> LocalCopy {
        let mut history = History::default();
        history.step(Generation(1), &ServerName::from("kiki"));
        let (geometry, epoch) = (Geometry::of(1 << 20), Epoch(3));
        LocalCopy { geometry, epoch, disk: DiskState::Consistent, history, crashed: false }
    }

    fn hello(wire: Wires) -> Hello {
        let LocalCopy { geometry, history, .. } = copy();
        Hello {
            lineage: Lineage::from("line"),
            volume: VolumeName::from("data"),
            primary: ServerName::from("kiki"),
            epoch: Epoch(4),
            geometry,
            history,
            wire,
        }
    }

    fn answered(speaks: Wires, theirs: Wires) -> Result<u32, Unwelcome> {
        answer(&copy(), &Lineage::from("line"), None, speaks, &hello(theirs))
    }

    #[test]
    fn programs_of_two_versions_speak_the_newest_that_both_know() {
        let (old, both, new) = (Wires::only(1), Wires { oldest: 1, newest: 2 }, Wires::only(2));
        assert_eq!(answered(old, both), Ok(1));
        assert_eq!(answered(both, old), Ok(1));
        assert_eq!(answered(both, both), Ok(2));
        assert_eq!(answered(both, new), Ok(2));
    }

    #[test]
    fn a_primary_without_a_common_version_is_not_let_in_and_told_both() {
        let (old, new) = (Wires::only(1), Wires { oldest: 2, newest: 3 });
        let refused = answered(old, new);
        assert_eq!(refused, Err(Unwelcome::OtherWire(Apart { own: old, theirs: new })));
        let text = refused.map_err(|why| why.to_string());
        assert!(text.is_err_and(|text| text.contains("versions 2 to 3") && text.ends_with("version 1")));
        assert_eq!(answered(new, old), Err(Unwelcome::OtherWire(Apart { own: new, theirs: old })));
    }
}
