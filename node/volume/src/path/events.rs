//! What the data path says, and how it is: the same words as the port that the actors have for it.

use std::{path::PathBuf, time::Duration};

use tasuki_core::{
    ids::{Epoch, Generation, ServerName},
    mirror::{
        DiskState, LinkState, Role,
        handshake::{Unwelcome, Welcome},
        state::PeerMode,
    },
};

/// What the data path says by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeEvent {
    /// A peer has let this primary in. Nothing is sent to it before `set_peer`.
    PeerMet {
        /// Its answer.
        welcome: Welcome,
        /// The extents that the own dirty map for it names; the activity log of an earlier incarnation
        /// is in it.
        differing: u64,
    },
    /// A peer has refused this primary.
    PeerRefused {
        /// Who.
        peer: ServerName,
        /// Why.
        why: Unwelcome,
    },
    /// A stream has ended, or could not be opened. What was answered and perhaps not flushed there is
    /// in the peer's dirty map by now (R29).
    PeerLost {
        /// Who.
        peer: ServerName,
        /// Why.
        why: String,
    },
    /// A peer was not answering a write for longer than the configured time.
    PeerSlow {
        /// Who.
        peer: ServerName,
    },
    /// A peer is waited for without an end, as configured, and does not answer for long; or it answers
    /// again, or is gone.
    PeerAwaited {
        /// Who.
        peer: ServerName,
        /// It is over.
        over: bool,
    },
    /// A resync has ended well: flushed there, and both sides' maps are empty.
    Synced {
        /// Whose copy.
        peer: ServerName,
    },
    /// The own disk has failed; reads and writes wait for what is decided.
    DiskFailed {
        /// How.
        why: String,
    },
    /// A peer's disk has failed.
    PeerDiskFailed {
        /// Who.
        peer: ServerName,
        /// How.
        why: String,
    },
    /// As a secondary: a primary was let in, or is gone.
    Primary {
        /// Who; `None` when it is gone.
        server: Option<ServerName>,
        /// Under which epoch.
        epoch: Epoch,
    },
    /// A check of the copies against each other has ended.
    Verified(VerifyReport),
    /// As a secondary: what only this copy has was saved before it is overwritten, or why it could not
    /// be; then nothing is overwritten.
    Saved(Result<PathBuf, String>),
    /// The data path has ended by a fault of its own; what was under way is not answered. The copy is as
    /// after the end of a process.
    Ended {
        /// What happened.
        why: String,
    },
}

/// What a check of the copies found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Against whom.
    pub peer: Option<ServerName>,
    /// Bytes compared.
    pub compared: u64,
    /// Spans that differ: offset and length in bytes.
    pub different: Vec<(u64, u64)>,
    /// They were marked to be copied: a resync will do it.
    pub repaired: bool,
    /// Why it ended early.
    pub problem: Option<String>,
}

/// How far a resync or a check is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes to go through in all.
    pub total: u64,
    /// Bytes gone through.
    pub done: u64,
    /// Of these, bytes that had to be sent; the others were equal or zero.
    pub sent: u64,
    /// Bytes a second, lately.
    pub rate: u64,
    /// What remains at that rate, where it is known.
    pub remaining: Option<Duration>,
}

/// One peer, as the data path sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// Who.
    pub server: ServerName,
    /// The relation.
    pub link: LinkState,
    /// How writes treat it.
    pub mode: PeerMode,
    /// Bytes in extents that its dirty map names.
    pub dirty: u64,
    /// A resync or check under way.
    pub progress: Option<Progress>,
}

/// A volume's data path, for tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeView {
    /// What this server does with it.
    pub role: Role,
    /// The own copy's state, by its management area.
    pub disk: DiskState,
    /// Why the own disk has failed, if it has.
    pub failed: Option<String>,
    /// Size in bytes.
    pub size: u64,
    /// The epoch that it knows.
    pub epoch: Epoch,
    /// The lineage of its data.
    pub generation: Generation,
    /// Writes wait for a decision.
    pub frozen: bool,
    /// Each peer; on a secondary, the primary.
    pub peers: Vec<PeerView>,
    /// What went through it.
    pub counters: VolumeCounters,
}

/// What went through a volume since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VolumeCounters {
    /// Reads answered.
    pub reads: u64,
    /// Writes answered.
    pub writes: u64,
    /// Flushes answered.
    pub flushes: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Bytes of writes under way.
    pub in_flight: u64,
}
