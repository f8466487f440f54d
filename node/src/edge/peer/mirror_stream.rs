//! The stream between two copies of a volume: frames both ways over gRPC with mutual TLS, on the mirror
//! port. What the frames say is the data path's matter.
//!
//! | module | what |
//! |---|---|
//! | [`door`] | who is called: a thread for every connection |
//! | [`dialer`] | who calls, on the volume's own thread |
//! | [`socket`] | the connection below TLS |
//! | [`cut_watch`] | cables that are cut on purpose |

mod cut_watch;
mod dialer;
mod door;
mod socket;

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use tasuki_core::timing::Timing;
use tasuki_proto::v1::MirrorFrame;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use self::cut_watch::CutWatch;
pub use self::{
    dialer::MirrorDialer,
    door::{Acceptor, Arrived, MirrorDoor},
};
use super::path::words;

/// The largest frame with its wrapping, in bytes: the data path's are at most 1 MiB.
const FRAME_LIMIT: usize = 4 << 20;
/// What may be under way on one stream and on one connection before the other side has read it, in
/// bytes: more than a fast link holds.
const WINDOW: u32 = 32 << 20;
/// What either side takes in one frame of HTTP/2, in bytes.
const HTTP2_FRAME: u32 = 1 << 20;
/// Frames that wait for the connection; beyond, the sender waits.
const QUEUE: usize = 32;
/// How patient streams are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// For a connection, and again for its TLS handshake.
    pub connect: Duration,
    /// Between two signs of life.
    pub beat: Duration,
    /// How long the answer to one may take; after both together a cut cable is noticed.
    pub silence: Duration,
}

impl StreamSettings {
    /// What fits to the cluster's times: a cut cable is noticed as fast as a lost server.
    #[must_use]
    pub fn from_timing(timing: &Timing) -> Self {
        Self {
            connect: timing.path_lost.max(Duration::from_millis(500)),
            beat: (timing.detect / 4).max(Duration::from_millis(100)),
            silence: (timing.detect * 3 / 4).max(Duration::from_millis(500)),
        }
    }
}

/// The sending half of a stream.
pub struct FrameSink {
    way: Way,
    watch: Arc<CutWatch>,
}

enum Way {
    /// From the caller.
    There(mpsc::Sender<MirrorFrame>),
    /// From the one that was called.
    Back(mpsc::Sender<Result<MirrorFrame, Status>>),
}

impl FrameSink {
    /// Hands a frame to the connection; waits while too many are under way.
    ///
    /// # Errors
    /// When the stream has ended.
    pub async fn send(&self, header: Bytes, data: Bytes) -> io::Result<()> {
        if self.watch.is_cut() {
            // A cut cable swallows what is sent; the receiving half ends the stream when it notices.
            return Ok(());
        }
        let frame = MirrorFrame { header, data, ..MirrorFrame::default() };
        let sent = match &self.way {
            Way::There(queue) => queue.send(frame).await.is_ok(),
            Way::Back(queue) => queue.send(Ok(frame)).await.is_ok(),
        };
        sent.then_some(()).ok_or_else(ended)
    }
}

/// The receiving half of a stream.
pub struct FrameSource {
    frames: Streaming<MirrorFrame>,
    watch: Arc<CutWatch>,
}

impl FrameSource {
    /// The next frame: header and data. `None` when the other side has ended the stream in order.
    /// May be given up and called again.
    ///
    /// # Errors
    /// When the connection broke, or was silent for too long.
    pub async fn next(&mut self) -> io::Result<Option<(Bytes, Bytes)>> {
        let frame = tokio::select! { biased;
            () = self.watch.noticed() => return Err(io::Error::new(io::ErrorKind::TimedOut, "no sign of life")),
            frame = self.frames.message() => frame,
        };
        match frame {
            // Sent before the cable was cut and not read before: it is lost in the cable.
            Ok(Some(_)) if self.watch.is_cut() => {
                self.watch.noticed().await;
                Err(io::Error::new(io::ErrorKind::TimedOut, "no sign of life"))
            }
            Ok(Some(frame)) => Ok(Some((frame.header, frame.data))),
            Ok(None) => Ok(None),
            Err(status) => Err(io::Error::new(io::ErrorKind::BrokenPipe, said(&status))),
        }
    }
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the stream has ended")
}

fn said(status: &Status) -> String {
    if std::error::Error::source(status).is_some() { words(status) } else { status.message().to_owned() }
}
