//! The port `VolumePath` over a volume's data path, and its device.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use futures::FutureExt;
use tasuki_actors::ports::volumes::{VolumeError, VolumeEvent, VolumePath, VolumeView};
use tasuki_core::{
    ids::{Epoch, Generation, ServerName},
    mirror::{handshake::LocalCopy, state::PeerMode},
};
use tasuki_volume::{
    device::clean_up_left,
    path::{PathError, Volume},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
};

use super::{
    convert,
    device::{self, Held, Plan},
};

/// Forgets that the volume is open.
type Close = Box<dyn Fn() + Send + Sync>;

/// See the module.
pub(super) struct SystemPath {
    pub(super) volume: Arc<Volume>,
    plan: Plan,
    events: mpsc::UnboundedSender<VolumeEvent>,
    held: Mutex<Option<Held>>,
    /// One attaches or detaches at a time.
    changing: tokio::sync::Mutex<()>,
    close: Close,
}

pub(super) fn error(error: PathError) -> VolumeError {
    match error {
        PathError::Ended => VolumeError::Ended,
        other => VolumeError::Disk(other.to_string()),
    }
}

impl SystemPath {
    pub fn new(
        volume: Arc<Volume>,
        plan: Plan,
        events: mpsc::UnboundedSender<VolumeEvent>,
        close: Close,
    ) -> Self {
        Self { volume, plan, events, held: Mutex::default(), changing: tokio::sync::Mutex::default(), close }
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl VolumePath for SystemPath {
    async fn store_epoch(&self, epoch: Epoch) -> Result<(), VolumeError> {
        self.volume.store_epoch(epoch).await.map_err(error)
    }

    async fn store_step(&self, generation: Generation, by: &ServerName) -> Result<(), VolumeError> {
        self.volume.store_step(generation, by).await.map_err(error)
    }

    async fn become_primary(&self, epoch: Epoch) -> Result<(), VolumeError> {
        self.volume.become_primary(epoch).await.map_err(error)
    }

    fn connect(&self, peer: &ServerName, at: &[SocketAddr], epoch: Epoch) {
        self.volume.connect(peer, at, epoch);
    }

    fn disconnect(&self, peer: &ServerName) {
        self.volume.disconnect(peer);
    }

    async fn set_peer(&self, peer: &ServerName, mode: PeerMode) -> bool {
        self.volume.set_peer(peer, mode).await
    }

    fn start_resync(&self, peer: &ServerName, full: bool, save: bool) {
        self.volume.start_resync(peer, full, save);
    }

    fn pause_resync(&self, peer: &ServerName, rest: bool) {
        self.volume.pause_resync(peer, rest);
    }

    fn stop_resync(&self, peer: &ServerName) {
        self.volume.stop_resync(peer);
    }

    fn verify(&self, peer: &ServerName, repair: bool) {
        self.volume.verify(peer, repair);
    }

    async fn attach(&self) -> Result<PathBuf, VolumeError> {
        let _alone = self.changing.lock().await;
        if let Some(held) = &*self.held() {
            return Ok(held.device.clone());
        }
        let (door, plan, events) = (self.volume.door(), self.plan.clone(), self.events.clone());
        let (ready, up) = oneshot::channel();
        self.volume.spawn(move || device::keep(plan, door, events, ready).boxed_local());
        let held = up.await.map_err(|_| VolumeError::Ended)??;
        let device = held.device.clone();
        *self.held() = Some(held);
        Ok(device)
    }

    async fn detach(&self) -> Result<(), VolumeError> {
        let _alone = self.changing.lock().await;
        let held = self.held().clone();
        let Some(held) = held else { return Ok(()) };
        held.detach().await?;
        *self.held() = None;
        // A disk that failed has been told of; there is nothing more to wait for then.
        if let Err(error) = self.volume.quiet().await {
            tracing::warn!(volume = %self.plan.name, %error, "not all was flushed when the device went away");
        }
        Ok(())
    }

    async fn go_diskless(&self, through: &ServerName) -> Result<(), VolumeError> {
        self.volume.go_diskless(through).await.map_err(error)
    }

    fn lacks(&self, peer: &ServerName) -> Vec<(u64, u64)> {
        self.volume.lacks(peer)
    }

    fn stop_verify(&self) {
        self.volume.stop_verify();
    }

    fn fail_io(&self) {
        self.volume.fail_io();
    }

    async fn resize(&self) -> Result<u64, VolumeError> {
        let _alone = self.changing.lock().await;
        let size = self.volume.resize().await.map_err(error)?;
        let held = self.held().clone();
        if let Some(held) = held {
            held.resize(size).await?;
        }
        Ok(size)
    }

    async fn answers(&self) -> Result<(), VolumeError> {
        self.volume.answers().await.map_err(error)
    }

    fn view(&self) -> VolumeView {
        let held = self.held().clone();
        let (device, export) = held.map(|held| (held.device, held.socket)).unzip();
        VolumeView { device, export, ..convert::view(self.volume.view()) }
    }

    fn copy(&self) -> LocalCopy {
        self.volume.copy()
    }

    async fn become_secondary(&self) -> Result<(), VolumeError> {
        self.volume.become_secondary().await.map_err(error)
    }

    async fn remember_failure(&self) -> Result<(), VolumeError> {
        self.volume.remember_failure().await.map_err(error)
    }

    async fn close(&self) {
        (self.close)();
        self.volume.close().await;
        let held = self.held().take();
        if held.is_some_and(|held| held.is_lost()) {
            // Its thread has ended with the device up.
            let (run, name) = (self.plan.run.clone(), self.plan.name.clone());
            let removed = spawn_blocking(move || clean_up_left(&run, |volume| volume == name)).await;
            for left in removed.unwrap_or_default() {
                let (node, users) = (left.node.display(), left.users.join(", "));
                tracing::warn!(volume = %left.name, %node, users, "removed the device of a data path that has ended");
            }
        }
    }
}
