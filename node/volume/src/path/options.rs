//! The settings of a volume's data path, and what its parts share.

use std::{
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tasuki_core::{
    config::Compression,
    ids::{Epoch, ServerName},
    mirror::wire::Wires,
};
use tokio::sync::mpsc;

use super::events::{PeerView, VolumeCounters, VolumeEvent};

/// The settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// A peer that does not answer for so long is reported as slow; zero: never.
    pub peer_timeout: Duration,
    /// Where it is zero, a peer that does not answer for so long is reported as one that is waited for.
    pub awaited: Duration,
    /// A resync copies at least so many bytes a second.
    pub resync_floor: u64,
    /// And at most so many; zero for no limit.
    pub resync_ceiling: u64,
    /// How frames are made smaller.
    pub compression: Compression,
    /// The versions of the frames that are spoken.
    pub wires: Wires,
    /// Where what only a loser has is saved before it is overwritten.
    pub saved: PathBuf,
    /// Bytes of requests under way, at most.
    pub in_flight: usize,
    /// Between two calls to a peer.
    pub redial: Duration,
    /// A rule that a test takes out.
    #[cfg(feature = "planted")]
    pub planted: Option<Planted>,
    /// So many regions are in the activity log at most: fewer, where a test fills it.
    #[cfg(feature = "planted")]
    pub slots: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            peer_timeout: Duration::from_secs(10),
            awaited: Duration::from_secs(10),
            resync_floor: 10 * 1024 * 1024,
            resync_ceiling: 0,
            compression: Compression::None,
            wires: Wires::OURS,
            saved: PathBuf::from("/var/lib/tasuki/saved"),
            in_flight: 64 * 1024 * 1024,
            redial: Duration::from_millis(500),
            #[cfg(feature = "planted")]
            planted: None,
            #[cfg(feature = "planted")]
            slots: tasuki_core::mirror::geometry::LOG_SLOTS,
        }
    }
}

/// A rule that a test takes out, to see whether anybody notices.
#[cfg(feature = "planted")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// R26: a peer counts as in step although its stream has ended.
    R26Blind,
    /// R27: what a primary without a disk lacks is not recorded.
    R27NoRecord,
    /// R29: legs are sent before the log names the region.
    R29NoLog,
    /// R29: a region leaves a full log before what was written in it is on every disk.
    R29LeavesEarly,
    /// R29: what a lost peer had not flushed is forgotten.
    R29ForgetUnflushed,
    /// R30: only the source's map is copied.
    R30NoUnion,
    /// R30: a block of a resync and a write to the same place do not exclude each other.
    R30NoExclusion,
    /// R31: an older primary's stream is not ended.
    R31OlderFrames,
    /// R32: a flush is answered when the own disk has it.
    R32OwnOnly,
    /// R33: a write is answered when it was sent to the peer.
    R33Early,
    /// R34: what waits stays waiting when the volume stands down.
    R34Waits,
}

impl Options {
    /// Whether a rule is taken out.
    #[cfg(feature = "planted")]
    #[must_use]
    pub fn lacks(&self, rule: Planted) -> bool {
        self.planted == Some(rule)
    }
}

/// Whether a rule is taken out by a test: `lacks!(options, R29NoLog)`.
macro_rules! lacks {
    ($options:expr, $rule:ident) => {{
        #[cfg(feature = "planted")]
        let lacks = $options.lacks($crate::path::Planted::$rule);
        #[cfg(not(feature = "planted"))]
        let lacks = false;
        lacks
    }};
}
pub(super) use lacks;

/// What all parts of one volume share.
pub struct Shared {
    /// The settings.
    pub options: Options,
    /// What it says.
    pub events: mpsc::UnboundedSender<VolumeEvent>,
    /// What went through it.
    pub counters: Counters,
    status: Mutex<Status>,
}

/// How the volume is, for tables.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// It is primary under this epoch.
    pub primary: Option<Epoch>,
    /// Its disk has failed.
    pub disk_failed: Option<String>,
    /// Peers, as a primary sees them.
    pub peers: Vec<PeerView>,
    /// As a secondary: who is let in, and whether it copies to here.
    pub source: Option<(ServerName, bool)>,
    /// Writes wait for a decision.
    pub frozen: bool,
}

impl Shared {
    /// With these settings.
    pub fn new(options: Options, events: mpsc::UnboundedSender<VolumeEvent>) -> Self {
        Self { options, events, counters: Counters::default(), status: Mutex::default() }
    }

    /// Says something; nobody need listen.
    pub fn tell(&self, event: VolumeEvent) {
        tracing::debug!(?event, "volume");
        let _nobody_listens_any_more = self.events.send(event);
    }

    /// How it is.
    pub fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counters.
#[derive(Debug, Default)]
pub struct Counters {
    pub reads: AtomicU64,
    pub writes: AtomicU64,
    pub flushes: AtomicU64,
    pub read_bytes: AtomicU64,
    pub written_bytes: AtomicU64,
    pub in_flight: AtomicU64,
}

impl Counters {
    /// Adds.
    pub fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }

    /// As they are.
    pub fn read(&self) -> VolumeCounters {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        VolumeCounters {
            reads: get(&self.reads),
            writes: get(&self.writes),
            flushes: get(&self.flushes),
            read_bytes: get(&self.read_bytes),
            written_bytes: get(&self.written_bytes),
            in_flight: get(&self.in_flight),
        }
    }
}
