//! What an export or a device asks of a volume: requests in, answers out, in any order.

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

/// A request. Offsets and lengths are in bytes and inside the volume; they need not be aligned.
#[derive(Debug)]
pub enum Request {
    /// Read so much from there.
    Read {
        /// From where.
        offset: u64,
        /// How much.
        length: u32,
        /// The bytes.
        answer: oneshot::Sender<Result<Bytes, BlockError>>,
    },
    /// Write this there. With `durable` it is flushed before it is answered (FUA).
    Write {
        /// Where.
        offset: u64,
        /// What.
        data: Bytes,
        /// Flushed before it is answered.
        durable: bool,
        /// Done.
        answer: oneshot::Sender<Result<(), BlockError>>,
    },
    /// What was answered before this is on the disks when this is answered.
    Flush {
        /// Done.
        answer: oneshot::Sender<Result<(), BlockError>>,
    },
    /// Nobody needs what is there any more; it reads as zeroes afterwards.
    Trim {
        /// From where.
        offset: u64,
        /// How much.
        length: u64,
        /// Flushed before it is answered.
        durable: bool,
        /// Done.
        answer: oneshot::Sender<Result<(), BlockError>>,
    },
    /// Make it zeroes. Without `may_trim` its space stays allocated.
    Zero {
        /// From where.
        offset: u64,
        /// How much.
        length: u64,
        /// Its space may be given up.
        may_trim: bool,
        /// Flushed before it is answered.
        durable: bool,
        /// Done.
        answer: oneshot::Sender<Result<(), BlockError>>,
    },
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The disk failed, or the volume was frozen when its server stood down.
    #[error("input/output error")]
    Io,
    /// There is no space under the data area.
    #[error("no space left")]
    NoSpace,
    /// Outside the volume.
    #[error("outside the volume")]
    Invalid,
    /// The volume is being closed.
    #[error("the volume is closing")]
    Closing,
}

/// The door to a volume, for as many exports and devices as there are. Cheap to clone. Requests wait
/// here while too many bytes are under way.
#[derive(Clone, Debug)]
pub struct Door {
    /// Size of the volume in bytes.
    pub size: u64,
    /// The unit that is written whole or not at all, in bytes; what clients should align to.
    pub block: u32,
    /// Requests.
    pub requests: mpsc::Sender<Request>,
}
