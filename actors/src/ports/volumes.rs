//! What the mirrors' actors need from outside: the data path of each volume. Bytes never pass through
//! a mailbox; orders and what came of them do.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use tasuki_core::{
    config::MirrorDiskConfig,
    ids::{Epoch, Generation, Lineage, ServerName, VolumeName},
    mirror::{
        DiskState, LinkState, Role,
        handshake::{LocalCopy, Unwelcome, Welcome},
        state::PeerMode,
    },
};
use tokio::sync::mpsc;

/// Which copy to open.
#[derive(Clone, Debug)]
pub struct VolumeOrder {
    /// The volume.
    pub volume: VolumeName,
    /// As configured.
    pub config: MirrorDiskConfig,
    /// This server.
    pub server: ServerName,
    /// The other servers with a copy.
    pub peers: BTreeSet<ServerName>,
    /// Where it answers primaries, on the mirror network.
    pub at: Vec<SocketAddr>,
    /// The registry's lineage: frames and management areas of others are refused (R24).
    pub lineage: Lineage,
    /// The registry has no facts of the volume yet, or does not count on this server's copy: a blank
    /// management area is a new copy. Otherwise it is a lost one.
    pub may_be_new: bool,
    /// Its disk failed, and an operator says that it is in order again: what is on it counts for nothing.
    pub start_over: bool,
}

/// Why a volume's data path did not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VolumeError {
    /// An area is missing, mounted, too small, or not ours: what was found, and what to do.
    #[error("{0}")]
    Area(String),
    /// Somebody has an area open: who, and what to do.
    #[error("{0}")]
    InUse(String),
    /// The management area is blank although this copy was counted on.
    #[error("TSK-1827: the management area {} is blank, although the registry counts on this copy", .0.display())]
    Lost(PathBuf),
    /// The disk failed.
    #[error("{0}")]
    Disk(String),
    /// The device or the export could not be made.
    #[error("{0}")]
    Device(String),
    /// The data path has ended.
    #[error("the data path of this volume has ended")]
    Ended,
}

/// What the data path says by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeEvent {
    /// A peer has let this primary in.
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
    /// The device went away by itself.
    DeviceLost(String),
    /// The data path has ended by a fault of its own; the copy is as after the end of a process.
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
    /// They were marked to be copied.
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
    /// The device, where there is one.
    pub device: Option<PathBuf>,
    /// The NBD export's socket, where there is one.
    pub export: Option<PathBuf>,
    /// Writes wait for a decision.
    pub frozen: bool,
    /// Each peer; on a secondary, the primary.
    pub peers: Vec<PeerView>,
    /// Since it was opened: reads, writes, flushes, and bytes read and written.
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

/// A copy that was opened.
pub struct OpenedVolume {
    /// Its data path.
    pub path: Arc<dyn VolumePath>,
    /// What its management area says.
    pub copy: LocalCopy,
    /// What it will say.
    pub events: mpsc::UnboundedReceiver<VolumeEvent>,
}

/// Opens copies, and answers primaries on the mirror port for all that are open.
#[async_trait]
pub trait Volumes: Send + Sync + 'static {
    /// Opens this server's copy as a secondary: from here on primaries are answered. A volume is open
    /// at most once.
    async fn open(&self, order: VolumeOrder) -> Result<OpenedVolume, VolumeError>;
}

/// The data path of one volume on this server. What begins here ends in a [`VolumeEvent`]; what is
/// awaited is durable when it returns.
#[async_trait]
pub trait VolumePath: Send + Sync + 'static {
    /// Ends every stream of an older epoch, finishes or drops what it had sent, and keeps the epoch
    /// durably (R31).
    async fn store_epoch(&self, epoch: Epoch) -> Result<(), VolumeError>;
    /// The copy is of a new generation, durably.
    async fn store_step(&self, generation: Generation, by: &ServerName) -> Result<(), VolumeError>;
    /// This server is primary under `epoch` from here on: its activity log is kept.
    async fn become_primary(&self, epoch: Epoch) -> Result<(), VolumeError>;
    /// Calls a peer again and again until `disconnect`.
    fn connect(&self, peer: &ServerName, at: &[SocketAddr], epoch: Epoch);
    /// Ends the stream, and calls no more.
    fn disconnect(&self, peer: &ServerName);
    /// Returns when every write that is answered from now on is treated so. False: it is not, because
    /// the stream has ended (`PeerLost` follows); a peer is required only while its stream stands and
    /// nothing is missing there. After each `PeerMet` a peer is sent nothing before this is called.
    async fn set_peer(&self, peer: &ServerName, mode: PeerMode) -> bool;
    /// Begins a resync (R30).
    fn start_resync(&self, peer: &ServerName, full: bool, save: bool);
    /// Lets it rest or go on.
    fn pause_resync(&self, peer: &ServerName, rest: bool);
    /// Ends it; what it did not copy stays in the maps.
    fn stop_resync(&self, peer: &ServerName);
    /// Compares the copies beside running writes; with `repair`, what differs is copied.
    fn verify(&self, peer: &ServerName, repair: bool);
    /// Brings export and device up; the device's path. Reads and writes are answered from here on.
    async fn attach(&self) -> Result<PathBuf, VolumeError>;
    /// Takes the device and the export away; what was in flight is answered, both legs are flushed.
    async fn detach(&self) -> Result<(), VolumeError>;
    /// Goes on without the own disk: reads and writes go through this peer.
    async fn go_diskless(&self, through: &ServerName) -> Result<(), VolumeError>;
    /// What a peer lacks, as far as this copy knows: offsets and lengths in bytes, in order.
    fn lacks(&self, peer: &ServerName) -> Vec<(u64, u64)>;
    /// Ends a check of the copies; `Verified` says so.
    fn stop_verify(&self);
    /// Fails what is in flight and what comes (R34).
    fn fail_io(&self);
    /// Makes the volume as large as the smaller of its data areas now is; the new size in bytes.
    async fn resize(&self) -> Result<u64, VolumeError>;
    /// Whether the data path answers; waits for it as long as it takes.
    async fn answers(&self) -> Result<(), VolumeError>;
    /// How it is.
    fn view(&self) -> VolumeView;
    /// What the management area says now.
    fn copy(&self) -> LocalCopy;
    /// This server is no primary any more: peers are let go, maps are durable, the activity log is
    /// empty where both legs have been flushed.
    async fn become_secondary(&self) -> Result<(), VolumeError>;
    /// Where the own disk has failed: also the next process knows that, until an operator says that it is
    /// in order again.
    async fn remember_failure(&self) -> Result<(), VolumeError>;
    /// Closes the copy: no primary is answered any more.
    async fn close(&self);
}

/// For a node without volumes.
pub struct NoVolumes;

#[async_trait]
impl Volumes for NoVolumes {
    async fn open(&self, order: VolumeOrder) -> Result<OpenedVolume, VolumeError> {
        Err(VolumeError::Area(format!("this node keeps no volumes, and so not {}", order.volume)))
    }
}
