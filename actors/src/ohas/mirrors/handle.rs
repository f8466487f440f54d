//! The mirrored volumes from outside: for the resource agent and the service layer.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Weak},
};

use tasuki_core::{
    ids::{Epoch, GroupName, ServerName, VolumeName},
    mirror::{
        DiskState, LinkState, Role,
        state::{Event, NotPromoted, Wish},
    },
    registry::mirror::Volume,
};
use tokio::sync::oneshot;

use super::{configured, desk::Desk, mirror_actor::MirrorMsg};
use crate::{
    context::Context,
    ports::volumes::{VerifyReport, VolumeError, VolumePath, VolumeView},
};

/// Why something was not done with a volume here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MirrorError {
    /// No volume of that name has a copy here.
    #[error("this server keeps no copy of a volume {0}")]
    NoSuchVolume(VolumeName),
    /// The copy cannot be opened.
    #[error("the copy of {volume} on this server is not open: {why}")]
    NotOpen {
        /// Which volume.
        volume: VolumeName,
        /// Why.
        why: String,
    },
    /// The core refused it.
    #[error(transparent)]
    NotPromoted(#[from] NotPromoted),
    /// Neither a resync nor a check runs.
    #[error("nothing is under way on {0}")]
    Idle(VolumeName),
    /// The copy on a disk that failed is put to use again when the volume is open elsewhere.
    #[error("{0} is open on this server, whose own disk has failed")]
    OpenHere(VolumeName),
    /// It is the last good copy: there is nothing to copy from.
    #[error("the copy of {0} on this server counts as good: there is none to copy from")]
    CountedOn(VolumeName),
    /// Only the server that has the volume open can do it.
    #[error("{0} is not open on this server")]
    NotPrimary(VolumeName),
    /// The data path did not do it.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The volume is no longer configured, or the node ends.
    #[error("the volume has been closed here")]
    Closed,
}

/// A volume that was opened here.
#[derive(Debug)]
pub struct Promoted {
    /// Its device.
    pub device: PathBuf,
    /// Resolves, with why, when the device is of no use any more.
    pub ended: oneshot::Receiver<String>,
}

/// One volume, as this server sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorView {
    /// Which.
    pub volume: VolumeName,
    /// Its group, where it is configured here.
    pub group: Option<GroupName>,
    /// What the registry, as applied here, knows of it.
    pub facts: Option<Volume>,
    /// How this server's copy is.
    pub disk: DiskState,
    /// The data path, while the copy is open.
    pub path: Option<VolumeView>,
    /// Why the copy is not open, or cannot be used.
    pub problem: Option<String>,
    /// What the last check here found.
    pub verified: Option<VerifyReport>,
}

/// The mirrored volumes of this server. Cheap to clone; does not keep the node alive.
#[derive(Clone)]
pub struct MirrorsHandle {
    context: Weak<Context>,
}

impl MirrorsHandle {
    pub(crate) fn new(context: &Arc<Context>) -> Self {
        Self { context: Arc::downgrade(context) }
    }

    fn desk(&self, volume: &VolumeName) -> Result<Arc<Desk>, MirrorError> {
        let context = self.context.upgrade().ok_or(MirrorError::Closed)?;
        context.mirrors.desk(volume).ok_or_else(|| MirrorError::NoSuchVolume(volume.clone()))
    }

    fn path(&self, volume: &VolumeName) -> Result<Arc<dyn VolumePath>, MirrorError> {
        let desk = self.desk(volume)?;
        let inner = desk.inner();
        inner.open.as_ref().map(|(path, _)| path.clone()).ok_or_else(|| MirrorError::NotOpen {
            volume: volume.clone(),
            why: inner.problem.clone().unwrap_or_else(|| "it is being opened".into()),
        })
    }

    fn primary(&self, volume: &VolumeName) -> Result<Arc<dyn VolumePath>, MirrorError> {
        let path = self.path(volume)?;
        let is_primary = path.view().role == Role::Primary;
        is_primary.then_some(path).ok_or_else(|| MirrorError::NotPrimary(volume.clone()))
    }

    /// Opens a volume here, under this ownership of its group, and brings its device up. A volume that
    /// is open already under that ownership answers at once.
    ///
    /// # Errors
    /// Why it is not opened: no good copy, no disk, no longer the owner.
    pub async fn promote(&self, volume: &VolumeName, group_epoch: Epoch) -> Result<Promoted, MirrorError> {
        let desk = self.desk(volume)?;
        let answer = {
            let mut inner = desk.inner();
            if inner.closed {
                return Err(MirrorError::Closed);
            }
            inner.wanted = Some(group_epoch);
            let (send, answer) = oneshot::channel();
            inner.promoting.push(send);
            answer
        };
        desk.slot.cast(MirrorMsg::Wanted);
        answer.await.map_err(|_| MirrorError::Closed)?
    }

    /// Takes the device away, and closes the volume in order. Nothing uses the device any more. A
    /// volume that is not open answers at once.
    ///
    /// # Errors
    /// When there is no such volume here.
    pub async fn demote(&self, volume: &VolumeName) -> Result<(), MirrorError> {
        let desk = match self.desk(volume) {
            Ok(desk) => desk,
            Err(MirrorError::NoSuchVolume(_)) => return Ok(()), // then nothing of it is open either
            Err(error) => return Err(error),
        };
        let answer = {
            let mut inner = desk.inner();
            if inner.closed {
                return Ok(());
            }
            inner.wanted = None;
            inner.answer_promoting(|| Err(NotPromoted::Stopped.into()));
            let (send, answer) = oneshot::channel();
            inner.demoting.push(send);
            answer
        };
        desk.slot.cast(MirrorMsg::Wanted);
        answer.await.map_err(|_| MirrorError::Closed)?
    }

    /// The device of a volume that is open here, under which ownership of its group.
    #[must_use]
    pub fn device(&self, volume: &VolumeName) -> Option<(Epoch, PathBuf)> {
        self.desk(volume).ok()?.inner().up.clone()
    }

    /// Resolves, with why, when the device of a volume that is open here is of no use any more.
    #[must_use]
    pub fn watch(&self, volume: &VolumeName) -> Option<oneshot::Receiver<String>> {
        let desk = self.desk(volume).ok()?;
        let mut inner = desk.inner();
        let (_, device) = inner.up.clone()?;
        Some(inner.hand_out(device).ended)
    }

    /// Waits until the copy of a volume here is open, or it is known why it is not; not at all where
    /// this server keeps none.
    pub async fn settled(&self, volume: &VolumeName) {
        if let Ok(desk) = self.desk(volume) {
            desk.settled().await;
        }
    }

    /// One volume, as this server sees it.
    #[must_use]
    pub fn view(&self, volume: &VolumeName) -> Option<MirrorView> {
        let context = self.context.upgrade()?;
        let desk = context.mirrors.desk(volume)?;
        Some(view(&context, volume, &desk))
    }

    /// All volumes with a copy here.
    #[must_use]
    pub fn list(&self) -> Vec<MirrorView> {
        let Some(context) = self.context.upgrade() else { return Vec::new() };
        context.mirrors.all().iter().map(|(name, desk)| view(&context, name, desk)).collect()
    }

    /// An operator's word to the server that has the volume open.
    ///
    /// # Errors
    /// When that is not this server.
    pub fn wish(&self, volume: &VolumeName, wish: Wish) -> Result<(), MirrorError> {
        self.primary(volume)?;
        self.desk(volume)?.slot.cast(MirrorMsg::Wish(wish));
        Ok(())
    }

    /// Ends what is under way: a resync, or a check of the copies.
    ///
    /// # Errors
    /// When nothing is under way, or the volume is not open here.
    pub fn stop(&self, volume: &VolumeName) -> Result<(), MirrorError> {
        let path = self.primary(volume)?;
        if !is_busy(&path.view()) {
            return Err(MirrorError::Idle(volume.clone()));
        }
        path.stop_verify();
        self.desk(volume)?.slot.cast(MirrorMsg::Wish(Wish::Cancel));
        Ok(())
    }

    /// What the copy of each other server lacks, as far as this one knows: offsets and lengths in bytes.
    ///
    /// # Errors
    /// When the copy here is not open.
    pub fn lacks(&self, volume: &VolumeName) -> Result<BTreeMap<ServerName, Vec<(u64, u64)>>, MirrorError> {
        let path = self.path(volume)?;
        let inner = self.desk(volume)?;
        let peers = inner.inner().opened_as.as_ref().map(|opened| opened.rules.peers.clone());
        let lacks = |peer: ServerName| {
            let spans = path.lacks(&peer);
            (peer, spans)
        };
        Ok(peers.into_iter().flatten().map(lacks).collect())
    }

    /// Begins to compare the copies; what was found is in the view when it has ended.
    ///
    /// # Errors
    /// When the volume is not open here.
    pub fn verify(&self, volume: &VolumeName, peer: &ServerName, repair: bool) -> Result<(), MirrorError> {
        let path = self.primary(volume)?;
        self.desk(volume)?.inner().verified = None;
        path.verify(peer, repair);
        Ok(())
    }

    /// The disk under the copy here had failed and is in order again, an operator says: what is on it
    /// counts for nothing, and all of it is compared with a good copy. Nothing, where it has not failed.
    ///
    /// # Errors
    /// When the volume is open here, the registry counts on this copy, or it cannot be opened.
    pub async fn mend(&self, volume: &VolumeName) -> Result<(), MirrorError> {
        let desk = self.desk(volume)?;
        let (send, answer) = oneshot::channel();
        {
            let mut inner = desk.inner();
            if inner.closed {
                return Err(MirrorError::Closed);
            }
            inner.mending.push(send);
        }
        desk.slot.cast(MirrorMsg::Mend);
        answer.await.map_err(|_| MirrorError::Closed)?
    }

    /// Makes the volume as large as its data areas allow now; the new size in bytes.
    ///
    /// # Errors
    /// When the volume is not open here, or the data path refuses.
    pub async fn resize(&self, volume: &VolumeName) -> Result<u64, MirrorError> {
        let size = self.primary(volume)?.resize().await?;
        self.desk(volume)?.slot.cast(MirrorMsg::Event(Event::Resized { size }));
        Ok(size)
    }
}

/// A resync or a check is under way.
fn is_busy(view: &VolumeView) -> bool {
    view.peers.iter().any(|peer| peer.progress.is_some())
}

fn view(context: &Context, volume: &VolumeName, desk: &Desk) -> MirrorView {
    let registry = context.state();
    let facts = registry.volumes.get(volume).map(|item| item.value.clone());
    let group = configured(&registry, context.me()).remove(volume).map(|it| it.rules.group);
    let mut path = desk.path().map(|path| path.view());
    let inner = desk.inner();
    let seen = path.iter_mut().flat_map(|path| &mut path.peers);
    for peer in seen.filter(|peer| inner.apart.contains(&peer.server)) {
        peer.link = LinkState::Diverged;
    }
    let good = facts.as_ref().map(|facts| facts.good.contains(context.me()));
    let failed = path.as_ref().and_then(|path| path.failed.as_ref());
    let failed = failed.map(|why| format!("TSK-1807: its disk has failed: {why}"));
    MirrorView {
        volume: volume.clone(),
        group: group.or_else(|| facts.as_ref().map(|facts| facts.group.clone())),
        disk: path.as_ref().map_or(DiskState::Diskless, |path| DiskState::of(path.disk, good)),
        facts,
        path,
        problem: inner.problem.clone().or(failed),
        verified: inner.verified.clone(),
    }
}
