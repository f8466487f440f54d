//! What goes into the machine, and what comes out.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    ids::{Epoch, Generation, GroupName, Revision, ServerName, VolumeName},
    mirror::handshake::{Unwelcome, Welcome},
    registry::mirror::{Volume, VolumeCommand},
};

/// What the data path does about one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerMode {
    /// The peer's copy is out of the good ones: writes are answered without it, and recorded in its
    /// dirty map.
    #[default]
    Absent,
    /// As `Absent`, but while the stream stands writes go there too and are answered when both have
    /// them: a resync is under way.
    Syncing,
    /// Writes and flushes are answered only when the peer has them too; without a stream they wait.
    Required,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The registry as applied here: the volume's facts with their revision (`None`: there are none
    /// yet), and who owns its group under which epoch.
    Registry {
        /// The facts.
        volume: Option<(Volume, Revision)>,
        /// The group's owner and epoch.
        owner: Option<(ServerName, Epoch)>,
    },
    /// The resource is being started here, under this ownership of its group.
    Promote {
        /// The group's epoch.
        group_epoch: Epoch,
    },
    /// The resource is being stopped here: nothing uses the device any more.
    Demote,
    /// `StoreEpoch` is done: from here on nothing of an older epoch is accepted (R31).
    EpochStored,
    /// A peer has let this primary in. Nothing is sent on the new stream until `SetPeer` says how, also
    /// to a peer whose mode does not change. `PeerLost` follows some day, also after `Disconnect`.
    PeerMet {
        /// Its answer.
        welcome: Welcome,
        /// The extents that the own dirty map for it and the own activity log name.
        differing: u64,
    },
    /// A peer has refused this primary.
    PeerRefused {
        /// Who.
        peer: ServerName,
        /// Why.
        why: Unwelcome,
    },
    /// The stream to a peer has ended, or could not be opened.
    PeerLost {
        /// Who.
        peer: ServerName,
        /// Why.
        why: String,
    },
    /// What became of a command.
    Outcome {
        /// Which.
        command: VolumeCommand,
        /// What.
        outcome: Outcome,
    },
    /// `SetPeer` has taken effect for every write that will be answered from now on. Of `Required` it
    /// is said only if the stream stands, the peer has taken over the history, and its dirty map is
    /// empty; otherwise `PeerLost` is on its way.
    PeerSet {
        /// Which peer.
        peer: ServerName,
        /// How.
        mode: PeerMode,
    },
    /// `StoreCopy` is done.
    CopyStored,
    /// Everything that a resync had to copy is on the peer's disk, flushed, and both sides' maps are
    /// empty for it.
    Synced {
        /// Which peer.
        peer: ServerName,
    },
    /// The own disk has failed.
    DiskFailed {
        /// How.
        why: String,
    },
    /// A peer says that its disk has failed. Its stream ends with it.
    PeerDiskFailed {
        /// Which peer.
        peer: ServerName,
        /// How.
        why: String,
    },
    /// A peer is slower than the policy allows.
    PeerSlow {
        /// Which peer.
        peer: ServerName,
    },
    /// `Attach` is done: the device is there.
    Attached,
    /// `Attach` has failed.
    AttachFailed {
        /// Why.
        why: String,
    },
    /// `Detach` is done: device and export are away, what was in flight is answered, and flushed on
    /// every copy that has it.
    Detached,
    /// The volume has grown on all copies that are connected.
    Resized {
        /// To so many bytes.
        size: u64,
    },
    /// An operator's word.
    Wish(Wish),
    /// The time that was asked for with `Wake` has come.
    Woken(Wake),
}

/// What an operator asks a primary for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// Copy to this peer again: what differs, or all of it. `discard`: also where the peer's data
    /// diverged; what only it has is saved aside on it first.
    Rebuild {
        /// Which.
        peer: ServerName,
        /// All of it.
        full: bool,
        /// Also over data that this copy lacks.
        discard: bool,
    },
    /// Let the resync rest.
    Pause,
    /// Let it go on.
    Resume,
    /// End the resync; the peer stays out.
    Cancel,
}

/// What becomes of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was accepted, with this revision.
    Accepted(Revision),
    /// It was refused: nothing changed by it.
    Refused,
    /// Not known: it may be applied later (R13). The registry, read again, tells.
    Unclear,
}

/// What the machine waits for with a time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    /// The peers have had their time to answer an opening.
    Meet,
    /// Propose again what had no clear outcome.
    Again,
    /// A peer that was put out because it was slow is called again.
    Patience,
}

/// What to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// End every stream of an older epoch, then keep this epoch durably; `EpochStored` follows (R31).
    StoreEpoch(Epoch),
    /// Keep this durably: the copy is of a new generation. `CopyStored` follows. Where the own disk has
    /// failed it is only remembered; the peers in step take it over with their next `SetPeer`.
    StoreStep {
        /// The generation.
        generation: Generation,
        /// Who goes on alone with it.
        by: ServerName,
    },
    /// Call a peer, again and again, until `Disconnect`; each try ends in `PeerMet`, `PeerRefused` or
    /// `PeerLost`.
    Connect {
        /// Which peer.
        peer: ServerName,
        /// Under which epoch.
        epoch: Epoch,
    },
    /// End the stream, and call no more.
    Disconnect {
        /// Which peer.
        peer: ServerName,
    },
    /// How writes treat a peer from now on; `PeerSet` follows.
    SetPeer {
        /// Which peer.
        peer: ServerName,
        /// How.
        mode: PeerMode,
    },
    /// Propose this. The proposal reads the volume at `read` (R12). `Outcome` follows.
    Propose {
        /// What.
        command: VolumeCommand,
        /// The revision of the facts that it was decided on; `None` where there are none.
        read: Option<Revision>,
    },
    /// Copy to a peer what either side's maps and logs name, or all; the target notes `Inconsistent`
    /// durably before the first block (R30), and takes over the source's history with the last.
    /// `Synced` follows, unless it is stopped.
    StartResync {
        /// Which peer.
        peer: ServerName,
        /// All of it: the whole dirty map is marked, durably, before it begins.
        full: bool,
        /// The target saves what it has in those extents aside first.
        save: bool,
    },
    /// Let the resync rest, or go on.
    PauseResync {
        /// Which peer.
        peer: ServerName,
        /// Rest.
        rest: bool,
    },
    /// End the resync; its maps stay.
    StopResync {
        /// Which peer.
        peer: ServerName,
    },
    /// Reads and writes may begin: bring export and device up. `Attached` follows.
    Attach,
    /// Take device and export away; `Detached` follows.
    Detach,
    /// Go on without the own disk, through this peer, which records what the own copy lacks (R27). If
    /// that fails, `PeerLost` follows.
    GoDiskless {
        /// Which peer.
        through: ServerName,
    },
    /// Fail what is in flight and what comes, with an error (R34).
    FailIo,
    /// The promotion has ended: with the device, or why not.
    Promoted(Result<(), NotPromoted>),
    /// The demotion has ended.
    Demoted,
    /// Come back with `Woken` after so long a time as the settings say.
    Wake(Wake),
    /// Something for the alert log.
    Tell(Note),
}

/// Why a volume was not opened here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum NotPromoted {
    /// The copy is not among the good ones (T2, C20).
    #[error("the copy of {volume} on this server is not up to date; good copies are on {}", list(good))]
    NotGood {
        /// Which volume.
        volume: VolumeName,
        /// Where it is good.
        good: BTreeSet<ServerName>,
    },
    /// A resync into it has begun and not ended.
    #[error("the copy of {0} on this server is half written: a resync into it did not end")]
    Inconsistent(VolumeName),
    /// The copy's own record says that it is older than the registry knows.
    #[error("the copy of {volume} on this server is of generation {own}, but generation {known} is known")]
    Older {
        /// Which volume.
        volume: VolumeName,
        /// The copy's.
        own: Generation,
        /// The registry's.
        known: Generation,
    },
    /// The disk has failed or is away.
    #[error("the disk of {0} on this server cannot be used: {1}")]
    NoDisk(VolumeName, String),
    /// The size of the data area changed.
    #[error("the data area of {volume} has {found} bytes here, but the volume has {size}")]
    OtherSize {
        /// Which volume.
        volume: VolumeName,
        /// What was found.
        found: u64,
        /// The volume's.
        size: u64,
    },
    /// The group's ownership has moved on.
    #[error("the group {0} is no longer owned under that epoch")]
    NotOwner(GroupName),
    /// A peer that is among the good copies has newer data than this one, or data that it lacks.
    #[error("the copy of {volume} on {peer} has data that this one lacks")]
    PeerIsNewer {
        /// Which volume.
        volume: VolumeName,
        /// Whose.
        peer: ServerName,
    },
    /// The device could not be made.
    #[error("the device of {0} could not be made: {1}")]
    NoDevice(VolumeName, String),
    /// It was demoted before it was open.
    #[error("it was stopped before it was open")]
    Stopped,
}

fn list(servers: &BTreeSet<ServerName>) -> String {
    let names: Vec<&str> = servers.iter().map(ServerName::as_str).collect();
    if names.is_empty() { "no server".to_owned() } else { names.join(", ") }
}

/// Something that operators want to know of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// Writes wait: a peer is away and not yet put out.
    Frozen(ServerName),
    /// They go on without it.
    Alone(ServerName),
    /// A peer is in step again.
    InStep(ServerName),
    /// A resync begins.
    Resync {
        /// To whom.
        peer: ServerName,
        /// All of it.
        full: bool,
    },
    /// Both have data that the other lacks.
    Diverged(ServerName),
    /// A peer refuses.
    Refused(ServerName, Unwelcome),
    /// The own disk has failed.
    DiskFailed(String),
    /// A peer's disk has failed.
    PeerDiskFailed(ServerName, String),
    /// A peer was put out because it was slow.
    TooSlow(ServerName),
}

/// How a volume's settings bear on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The volume.
    pub volume: VolumeName,
    /// The group it belongs to.
    pub group: GroupName,
    /// This server.
    pub me: ServerName,
    /// The other servers with a copy.
    pub peers: BTreeSet<ServerName>,
    /// At the first opening, all copies are known to be equal.
    pub known_equal: bool,
    /// A copy that comes back is resynced by itself; otherwise an operator says so.
    pub automatic: bool,
    /// Without the own disk it goes on through a peer; otherwise its I/O fails and the group moves.
    pub diskless: bool,
}
