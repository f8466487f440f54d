//! What is kept of one volume while its actor restarts: the open data path, what the resource was
//! asked for, and who waits for it. Restarting an actor never closes a volume.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tasuki_core::ids::{Epoch, ServerName};
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc, oneshot};

use super::{
    Configured,
    handle::{MirrorError, Promoted},
    mirror_actor::MirrorMsg,
};
use crate::{
    ports::volumes::{OpenedVolume, VerifyReport, VolumeEvent, VolumePath},
    supervise::Slot,
};

/// What a data path says; held by the task that hands it to the actor.
pub type Events = Arc<AsyncMutex<mpsc::UnboundedReceiver<VolumeEvent>>>;

/// See the module.
#[derive(Default)]
pub struct Desk {
    /// The actor.
    pub slot: Slot<MirrorMsg>,
    inner: Mutex<Inner>,
    /// A try to open the copy has ended, or the volume was closed.
    tried: Notify,
}

#[derive(Default)]
pub struct Inner {
    /// The data path, while the copy is open.
    pub open: Option<(Arc<dyn VolumePath>, Events)>,
    /// What it was opened with.
    pub opened_as: Option<Configured>,
    /// The resource is wanted here under this ownership of its group.
    pub wanted: Option<Epoch>,
    /// The device is up under this ownership.
    pub up: Option<(Epoch, PathBuf)>,
    /// A promotion, or what has to follow one, is under way.
    pub busy: bool,
    /// Who waits for the device.
    pub promoting: Vec<oneshot::Sender<Result<Promoted, MirrorError>>>,
    /// Who waits until a disk that had failed is in use again.
    pub mending: Vec<oneshot::Sender<Result<(), MirrorError>>>,
    /// Who waits until it is away.
    pub demoting: Vec<oneshot::Sender<Result<(), MirrorError>>>,
    /// Who is told when the device is of no use any more.
    pub using: Vec<oneshot::Sender<String>>,
    /// Why the copy is not open.
    pub problem: Option<String>,
    /// Peers whose data and this copy's went apart.
    pub apart: BTreeSet<ServerName>,
    /// What the last check found.
    pub verified: Option<VerifyReport>,
    /// It was closed for good.
    pub closed: bool,
}

impl Desk {
    pub fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The data path, while the copy is open.
    pub fn path(&self) -> Option<Arc<dyn VolumePath>> {
        self.inner().open.as_ref().map(|(path, _)| path.clone())
    }

    /// The resource runs here, or is being started or stopped.
    pub fn is_in_use(&self) -> bool {
        let inner = self.inner();
        inner.wanted.is_some() || inner.up.is_some() || inner.busy
    }

    /// The copy could not be opened; true when that was not known, or for another reason.
    pub fn refuse(&self, why: &str) -> bool {
        let is_new = self.inner().problem.replace(why.to_owned()).as_deref() != Some(why);
        self.tried.notify_waiters();
        is_new
    }

    /// Waits until the copy is open, or it is known why it is not.
    pub async fn settled(&self) {
        let mut tried = pin!(self.tried.notified());
        loop {
            {
                let inner = self.inner();
                if inner.open.is_some() || inner.problem.is_some() || inner.closed {
                    return;
                }
            }
            tried.as_mut().await;
            tried.set(self.tried.notified());
        }
    }

    /// Keeps a copy that was opened; false when the volume was closed meanwhile, and the copy with it.
    pub fn keep(&self, opened: OpenedVolume) -> bool {
        let mut inner = self.inner();
        if inner.closed {
            close(opened.path);
            return false;
        }
        inner.open = Some((opened.path, Arc::new(AsyncMutex::new(opened.events))));
        inner.problem = None;
        drop(inner);
        self.tried.notify_waiters();
        true
    }

    /// The volume has no copy here any more.
    pub fn close(&self) {
        let mut inner = self.inner();
        inner.closed = true;
        if let Some((path, _)) = inner.open.take() {
            close(path);
        }
        inner.answer_promoting(|| Err(MirrorError::Closed));
        inner.answer_demoting();
        inner.answer_mending(|| Err(MirrorError::Closed));
        drop(inner);
        self.tried.notify_waiters();
    }
}

impl Inner {
    /// Answers everybody who waits for the device.
    pub fn answer_promoting(&mut self, mut answer: impl FnMut() -> Result<Promoted, MirrorError>) {
        for waiting in std::mem::take(&mut self.promoting) {
            let _gone = waiting.send(answer());
        }
    }

    /// Answers everybody who waits until a disk that had failed is in use again.
    pub fn answer_mending(&mut self, mut answer: impl FnMut() -> Result<(), MirrorError>) {
        for waiting in std::mem::take(&mut self.mending) {
            let _gone = waiting.send(answer());
        }
    }

    /// The device of this volume: for one more user.
    pub fn hand_out(&mut self, device: PathBuf) -> Promoted {
        let (tell, ended) = oneshot::channel();
        self.using.retain(|user| !user.is_closed());
        self.using.push(tell);
        Promoted { device, ended }
    }

    /// Everybody who waited for the device gets it.
    pub fn hand_out_to_all(&mut self, device: &std::path::Path) {
        for waiting in std::mem::take(&mut self.promoting) {
            let promoted = self.hand_out(device.to_owned());
            let _gone = waiting.send(Ok(promoted));
        }
    }

    /// Everybody who waited until it is away.
    pub fn answer_demoting(&mut self) {
        for waiting in std::mem::take(&mut self.demoting) {
            let _gone = waiting.send(Ok(()));
        }
    }

    /// The device is of no use any more.
    pub fn end_use(&mut self, why: &str) {
        for user in std::mem::take(&mut self.using) {
            let _gone = user.send(why.to_owned());
        }
    }
}

fn close(path: Arc<dyn VolumePath>) {
    tokio::spawn(async move { path.close().await });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whether_the_copy_opens_is_waited_for_and_not_guessed() {
        let desk = Arc::new(Desk::default());
        let waiting = tokio::spawn({
            let desk = desk.clone();
            async move { desk.settled().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        assert!(desk.refuse("no such disk"));
        assert!(!desk.refuse("no such disk"), "it is told once");
        assert!(waiting.await.is_ok());
        desk.settled().await;
    }
}
