//! Group commit: one thread syncs for everybody who waits.
//!
//! Whoever has written hands its completion over. The thread takes all that wait, flushes once,
//! syncs once, completes them all; what comes meanwhile is the next group. Votes and truncations
//! go the same way, so completions keep the order of the writes.

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
};

use openraft::storage::IOFlushed;
use tokio::sync::oneshot;

use super::{Flush, engine::Engine};
use crate::{StoreError, error::copy_of, raft_types::Registry};

/// The flusher's nice value: no entry is acknowledged, and no vote given, before it has been scheduled.
const NICE: i32 = -15;

/// Somebody whose writes wait for the disk.
pub(crate) enum Waiter {
    Append(IOFlushed<Registry>),
    Barrier(oneshot::Sender<io::Result<()>>),
}

impl Waiter {
    fn complete(self, result: io::Result<()>) {
        match self {
            Self::Append(flushed) => flushed.io_completed(result),
            // Whoever dropped the receiver no longer wants to know.
            Self::Barrier(done) => drop(done.send(result)),
        }
    }
}

/// The way to the disk. Cheap to clone; the thread ends with the last clone.
#[derive(Clone)]
pub(crate) enum Flusher {
    Grouped(mpsc::Sender<Waiter>),
    Inline(Arc<Engine>),
}

impl Flusher {
    pub(crate) fn start(engine: &Arc<Engine>, flush: Flush) -> Result<Self, StoreError> {
        if flush == Flush::Inline {
            return Ok(Self::Inline(Arc::clone(engine)));
        }
        let (queue, waiting) = mpsc::channel();
        let syncing = Arc::clone(engine);
        thread::Builder::new()
            .name("registry-flush".to_owned())
            .spawn(move || {
                // As the threads that wait for it.
                let _may_be_forbidden = rustix::process::setpriority_process(None, NICE);
                flush_groups(&syncing, &waiting);
            })
            .map_err(|e| StoreError::io("start the flusher of", engine.dir(), e))?;
        Ok(Self::Grouped(queue))
    }

    /// Completes `flushed` once everything written so far is on the disk.
    pub(crate) fn complete(&self, flushed: IOFlushed<Registry>) -> io::Result<()> {
        self.hand_over(Waiter::Append(flushed))
    }

    /// Returns once everything written so far is on the disk.
    pub(crate) async fn barrier(&self) -> io::Result<()> {
        let (done, waiting) = oneshot::channel();
        self.hand_over(Waiter::Barrier(done))?;
        waiting.await.map_err(|_| gone())?
    }

    fn hand_over(&self, waiter: Waiter) -> io::Result<()> {
        match self {
            Self::Grouped(queue) => queue.send(waiter).map_err(|_| gone()),
            Self::Inline(engine) => {
                waiter.complete(engine.sync().map_err(io::Error::from));
                Ok(())
            }
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the registry's flusher has ended")
}

fn flush_groups(engine: &Engine, waiting: &mpsc::Receiver<Waiter>) {
    // After a failed sync the kernel may call the same pages clean: a later success would prove
    // nothing. So the first failure is the answer to all that follow, until the store is reopened.
    let mut failed: Option<io::Error> = None;
    while let Ok(first) = waiting.recv() {
        let group: Vec<Waiter> = std::iter::once(first).chain(waiting.try_iter()).collect();
        if failed.is_none()
            && let Err(error) = engine.sync()
        {
            tracing::error!(%error, "the registry acknowledges nothing more until it is opened again");
            failed = Some(error.into());
        }
        for waiter in group {
            waiter.complete(failed.as_ref().map_or(Ok(()), |error| Err(copy_of(error))));
        }
    }
}
