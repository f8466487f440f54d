//! Answers the kernel's requests for the one file.
//!
//! Runs on the thread that moves the volume's bytes: from the kernel to the door and back a request
//! changes no thread. What it reads for a write goes to the door without being copied again, unless it
//! is short.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use rustix::{buffer::spare_capacity, io::Errno};
use tokio::{io::unix::AsyncFd, sync::watch, task::JoinSet};

use super::protocol::{self, Asked, IN_HEADER, LONGEST, WRITE_HEADER};
use crate::{
    block::{BlockError, Door},
    device::{flusher, polled},
    export::ask::{Ask, ask},
};

/// Room for the longest request, and to put its data at a page's beginning.
const BUFFER: usize = LONGEST + 4 * PAGE;
/// Disks like their data at a page's beginning.
const PAGE: usize = 4096;
/// Writes up to here are copied into memory of their own; longer ones keep the buffer they came in.
const SHORT: usize = 32 * 1024;
/// Buffers kept for later.
const KEPT: usize = 16;
/// After so many requests others on this thread have their turn.
const TURN: usize = 32;

/// How it stands with the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Served.
    Serving,
    /// Nobody has it open any more.
    Released,
    /// Not served any more: why.
    Ended(String),
}

/// The one file.
#[derive(Debug)]
pub(crate) struct OneFile {
    /// Its size in bytes.
    pub(crate) size: AtomicU64,
    opened: AtomicU64,
    released: AtomicU64,
}

impl OneFile {
    pub(crate) fn of(size: u64) -> Self {
        Self { size: AtomicU64::new(size), opened: AtomicU64::new(0), released: AtomicU64::new(0) }
    }
}

/// Answers until the file system is gone or this is dropped. The kernel's end is closed then, and what
/// still waits for an answer fails.
pub(crate) async fn serve(kernel: OwnedFd, door: Door, file: Arc<OneFile>, stage: watch::Sender<Stage>) {
    flusher::this_thread_writes_back();
    let why = match polled::readable(kernel) {
        Ok(kernel) => answer_all(Arc::new(kernel), &door, &file, &stage).await,
        Err(error) => error.to_string(),
    };
    stage.send_replace(Stage::Ended(why));
}

async fn answer_all(
    kernel: Arc<AsyncFd<OwnedFd>>,
    door: &Door,
    file: &OneFile,
    stage: &watch::Sender<Stage>,
) -> String {
    let buffers = Arc::new(Buffers::default());
    let mut buffer = buffers.take();
    let mut tasks = JoinSet::new();
    loop {
        let mut ready = match kernel.ready(polled::NEWS).await {
            Ok(ready) => ready,
            Err(error) => return error.to_string(),
        };
        for _ in 0..TURN {
            let start = begin(&mut buffer);
            match rustix::io::read(kernel.get_ref(), spare_capacity(&mut buffer)) {
                Ok(_) => {}
                Err(Errno::AGAIN) => {
                    ready.clear_ready();
                    break;
                }
                // A request was taken back before we read it.
                Err(Errno::INTR | Errno::NOENT) => continue,
                Err(Errno::NODEV) => return "its file system was ended".to_owned(),
                Err(error) => return io::Error::from(error).to_string(),
            }
            let Some((number, asked)) = protocol::read(&buffer[start..]) else {
                return "the kernel's request makes no sense".to_owned();
            };
            if let Some(ask) = translate(asked, &mut buffer, start, &buffers, file) {
                let (kernel, door) = (kernel.clone(), door.clone());
                tasks.spawn(async move { perform(&kernel, &door, number, asked, ask).await });
            } else {
                answer_at_once(kernel.get_ref(), number, asked, file, stage);
            }
        }
        while tasks.try_join_next().is_some() {}
        tokio::task::yield_now().await;
    }
}

/// Empties the buffer so that the data of a write will begin with a page; where the request begins.
fn begin(buffer: &mut Vec<u8>) -> usize {
    let head = IN_HEADER + WRITE_HEADER;
    let start = (PAGE - (buffer.as_ptr() as usize + head) % PAGE) % PAGE;
    buffer.clear();
    buffer.resize(start, 0);
    start
}

/// What goes to the door; `None` for what is answered at once.
fn translate(
    asked: Asked,
    buffer: &mut Vec<u8>,
    start: usize,
    buffers: &Arc<Buffers>,
    file: &OneFile,
) -> Option<Ask> {
    let inside = |offset: u64, length: u64| {
        offset.checked_add(length).is_some_and(|end| end <= file.size.load(Ordering::Relaxed))
    };
    match asked {
        Asked::Read { offset, length } => {
            (inside(offset, u64::from(length)) && length > 0).then_some(Ask::Read { offset, length })
        }
        Asked::Write { offset, length } if inside(offset, u64::from(length)) && length > 0 => {
            let at = start + IN_HEADER + WRITE_HEADER;
            let data = if length as usize <= SHORT {
                Bytes::copy_from_slice(&buffer[at..])
            } else {
                let full = std::mem::replace(buffer, buffers.take());
                Bytes::from_owner(Lent { full, home: buffers.clone() }).slice(at..)
            };
            Some(Ask::Write { offset, data, durable: false })
        }
        Asked::Sync => Some(Ask::Flush),
        Asked::Allocate { offset, length, mode } if inside(offset, length) && length > 0 => {
            match mode & !protocol::KEEP_SIZE {
                protocol::PUNCH_HOLE => Some(Ask::Trim { offset, length, durable: false }),
                protocol::ZERO_RANGE => Some(Ask::Zero { offset, length, may_trim: false, durable: false }),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Asks the volume, and answers the kernel.
async fn perform(kernel: &AsyncFd<OwnedFd>, door: &Door, number: u64, asked: Asked, what: Ask) {
    match ask(door, what).await {
        Ok(data) => {
            let behind = match asked {
                Asked::Write { length, .. } => Bytes::from(protocol::written(length)),
                _ => data,
            };
            answer(kernel.get_ref(), number, 0, &behind);
        }
        Err(error) => {
            let errno = match error {
                BlockError::NoSpace => Errno::NOSPC,
                BlockError::Invalid => Errno::INVAL,
                BlockError::Io | BlockError::Closing => Errno::IO,
            };
            answer(kernel.get_ref(), number, errno.raw_os_error(), &[]);
        }
    }
}

fn answer_at_once(kernel: &OwnedFd, number: u64, asked: Asked, file: &OneFile, stage: &watch::Sender<Stage>) {
    let size = file.size.load(Ordering::Relaxed);
    let good = |behind: &[u8]| answer(kernel, number, 0, behind);
    match asked {
        Asked::Init { major: 7, minor, flags } if minor >= 31 => good(&protocol::init(flags)),
        Asked::Init { .. } => answer(kernel, number, Errno::PROTO.raw_os_error(), &[]),
        Asked::Attributes => good(&protocol::attributes(size)),
        Asked::Open => {
            file.opened.fetch_add(1, Ordering::Relaxed);
            good(&protocol::opened());
        }
        Asked::FileSystem => good(&protocol::file_system(size)),
        Asked::Release => {
            good(&[]);
            let released = file.released.fetch_add(1, Ordering::Relaxed) + 1;
            // The first to open it only tries: the loop device comes after that.
            if released > 1 && released == file.opened.load(Ordering::Relaxed) {
                stage.send_replace(Stage::Released);
            }
        }
        Asked::Destroy => good(&[]),
        Asked::Nothing => {}
        Asked::Read { offset, .. } if offset >= size => good(&[]),
        Asked::Read { .. } | Asked::Write { .. } => {
            answer(kernel, number, Errno::INVAL.raw_os_error(), &[]);
        }
        Asked::Allocate { .. } => answer(kernel, number, Errno::OPNOTSUPP.raw_os_error(), &[]),
        Asked::Sync | Asked::Unknown => answer(kernel, number, Errno::NOSYS.raw_os_error(), &[]),
    }
}

/// Answering never waits: the kernel takes an answer whole.
fn answer(kernel: &OwnedFd, number: u64, error: i32, behind: &[u8]) {
    let head = protocol::head(number, error, behind.len());
    match rustix::io::writev(kernel.as_fd(), &[IoSlice::new(&head), IoSlice::new(behind)]) {
        // The request was taken back meanwhile, or the file system has gone.
        Ok(_) | Err(Errno::NOENT | Errno::NODEV | Errno::PERM) => {}
        Err(error) => tracing::warn!(%error, "an answer was not taken by the kernel"),
    }
}

/// Memory for requests, used again and again: its pages are there already.
#[derive(Default)]
struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    fn take(&self) -> Vec<u8> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| Vec::with_capacity(BUFFER))
    }

    fn give_back(&self, buffer: Vec<u8>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(buffer);
        }
    }
}

/// A buffer that goes home when nobody needs its data any more.
struct Lent {
    full: Vec<u8>,
    home: Arc<Buffers>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.full
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.give_back(std::mem::take(&mut self.full));
    }
}
