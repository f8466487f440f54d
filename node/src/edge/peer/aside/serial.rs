//! A heartbeat path over a serial cross cable (`kind = "com"`).
//!
//! The line is raw, 115200 baud, 8 data bits, no flow control: nothing on it can hold a writer up. A
//! line that is missing, unplugged or in use is normal: it is tried again until it works. What does
//! not fit is lost: an old beat is worth nothing.

use std::{
    fs::OpenOptions,
    io,
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nix::{
    fcntl::OFlag,
    sys::termios::{
        BaudRate, ControlFlags, FlushArg, SetArg, cfmakeraw, cfsetspeed, tcflush, tcgetattr, tcsetattr,
    },
};
use tasuki_core::ids::NetworkName;
use tasuki_system::readable;
use tokio::{io::unix::AsyncFd, sync::mpsc, task::AbortHandle};

use super::{
    Aside,
    frames::{Frames, frame},
};
use crate::edge::peer::link_socket::add;

/// How long to wait before the line is opened again.
const OPEN_AGAIN: Duration = Duration::from_millis(500);
/// Frames that wait for the line. More would be old news.
const WAITING: usize = 2;

/// One line. Closed when dropped.
pub(in crate::edge::peer) struct SerialLink {
    outgoing: mpsc::Sender<Vec<u8>>,
    task: AbortHandle,
}

impl SerialLink {
    pub(in crate::edge::peer) fn start(device: PathBuf, path: NetworkName, aside: Arc<Aside>) -> Self {
        let (outgoing, frames) = mpsc::channel(WAITING);
        let task = tokio::spawn(run(device, path, aside, frames)).abort_handle();
        Self { outgoing, task }
    }

    /// Whether there was room.
    pub(super) fn send(&self, datagram: &[u8]) -> bool {
        frame(datagram).is_some_and(|frame| self.outgoing.try_send(frame).is_ok())
    }
}

impl Drop for SerialLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(device: PathBuf, path: NetworkName, aside: Arc<Aside>, mut outgoing: mpsc::Receiver<Vec<u8>>) {
    let mut told = false;
    loop {
        let error = match open(&device).and_then(readable::both_ways) {
            Ok(line) => {
                tracing::info!(%path, "heartbeats on this serial line");
                told = false;
                carry(&line, &path, &aside, &mut outgoing).await
            }
            Err(error) => error,
        };
        if told {
            tracing::debug!(%path, %error, "the serial line still cannot be used");
        } else {
            tracing::warn!(%path, %error, "the serial line cannot be used now; trying until it can (TSK-1117)");
            told = true;
        }
        // What was to be sent meanwhile is old by then.
        while outgoing.try_recv().is_ok() {}
        tokio::time::sleep(OPEN_AGAIN).await;
    }
}

/// Opens the line and sets it up.
fn open(device: &Path) -> io::Result<OwnedFd> {
    // Not waiting for a carrier, and not becoming anybody's terminal.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let line = OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open(device)?;
    let mut settings = tcgetattr(&line)?;
    cfmakeraw(&mut settings);
    cfsetspeed(&mut settings, BaudRate::B115200)?;
    settings.control_flags |= ControlFlags::CLOCAL | ControlFlags::CREAD | ControlFlags::CS8;
    settings.control_flags &= !(ControlFlags::CRTSCTS | ControlFlags::HUPCL | ControlFlags::CSTOPB);
    tcsetattr(&line, SetArg::TCSANOW, &settings)?;
    // What stood in the kernel is from before.
    tcflush(&line, FlushArg::TCIOFLUSH)?;
    Ok(line.into())
}

/// Sends and receives until the line fails.
async fn carry(
    line: &AsyncFd<OwnedFd>,
    path: &NetworkName,
    aside: &Aside,
    outgoing: &mut mpsc::Receiver<Vec<u8>>,
) -> io::Error {
    let mut frames = Frames::default();
    let mut buffer = [0; 1024];
    let mut pending: Vec<u8> = Vec::new();
    loop {
        let step = tokio::select! {
            biased;
            ready = line.readable() => {
                match ready {
                    Ok(mut ready) => match ready.try_io(|line| Ok(rustix::io::read(line, &mut buffer[..])?)) {
                        Ok(Ok(0)) => Err(io::ErrorKind::UnexpectedEof.into()),
                        Ok(Ok(length)) => {
                            let broken = frames.broken;
                            for datagram in frames.take(buffer.get(..length).unwrap_or_default()) {
                                aside.take(path, &datagram);
                            }
                            (broken..frames.broken).for_each(|_| add(&aside.counters.malformed));
                            Ok(())
                        }
                        Ok(Err(error)) => Err(error),
                        Err(_would_block) => Ok(()),
                    },
                    Err(error) => Err(error),
                }
            }
            ready = line.writable(), if !pending.is_empty() => {
                match ready {
                    Ok(mut ready) => match ready.try_io(|line| Ok(rustix::io::write(line, &pending)?)) {
                        Ok(Ok(length)) => {
                            pending.drain(..length.min(pending.len()));
                            Ok(())
                        }
                        Ok(Err(error)) => Err(error),
                        Err(_would_block) => Ok(()),
                    },
                    Err(error) => Err(error),
                }
            }
            frame = outgoing.recv(), if pending.is_empty() => match frame {
                Some(frame) => {
                    pending = frame;
                    Ok(())
                }
                None => Err(io::ErrorKind::BrokenPipe.into()),
            },
        };
        if let Err(error) = step {
            return error;
        }
    }
}
