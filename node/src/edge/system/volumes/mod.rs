//! The port to mirrored volumes, made real: copies on this server's disks, their data paths, devices
//! and exports, and the streams between servers. Translation only; what they do is in `tasuki-volume`.

mod areas;
mod convert;
mod device;
mod path;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    fs, io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use tasuki_actors::ports::{
    Volumes,
    volumes::{OpenedVolume, VolumeError, VolumeEvent, VolumeOrder, VolumePath},
};
use tasuki_core::{config::MirrorDiskConfig, ids::VolumeName, timing::Timing};
use tasuki_system::layout::Layout;
use tasuki_volume::path::{Dialer, Options, Reception, Volume};
use tokio::{sync::mpsc, task::spawn_blocking};
use tokio_rustls::rustls::ServerConfig;

use self::{device::Plan, path::SystemPath, stream::Receptionist};
use crate::{
    edge::{
        grpc::ServeError,
        peer::{Cuts, MirrorDialer, MirrorDoor, StreamSettings},
    },
    identity::Identity,
};

/// The mirror port cannot be listened at.
fn not_heard(error: ServeError) -> VolumeError {
    VolumeError::Area(match error {
        ServeError::InUse(at) => format!("TSK-1861: the mirror port {at} is in use by another program"),
        other => other.to_string(),
    })
}

/// Opens copies, and answers the primaries of those that are open.
pub struct SystemVolumes {
    identity: Identity,
    dialer: MirrorDialer,
    door: MirrorDoor,
    reception: Arc<Reception>,
    open: Arc<Mutex<BTreeSet<VolumeName>>>,
    /// Volumes that were open here, and may not have let go of their areas yet.
    closed: Arc<Mutex<BTreeSet<VolumeName>>>,
    /// Records of devices, and sockets of exports.
    run: PathBuf,
    /// What only an overwritten copy had.
    saved: PathBuf,
}

impl SystemVolumes {
    /// Listens at nothing yet. Devices that an earlier node has left are removed. Waits for the system.
    ///
    /// # Errors
    /// When a folder or the listener's thread cannot be made.
    pub fn start(identity: &Identity, timing: &Timing, cuts: Arc<Cuts>, layout: &Layout) -> io::Result<Self> {
        let run = layout.run_dir().join("volumes");
        fs::create_dir_all(&run)?;
        for left in tasuki_volume::device::clean_up_left(&run, |_| true) {
            let users = left.users.join(", ");
            let node = left.node.display();
            tracing::warn!(volume = %left.name, %node, users, "removed a device that an earlier node had left");
        }
        let settings = StreamSettings::from_timing(timing);
        let reception = Arc::new(Reception::default());
        let open = Arc::new(Mutex::default());
        let receptionist = Arc::new(Receptionist { reception: reception.clone(), open: open.clone() });
        Ok(Self {
            identity: identity.clone(),
            dialer: MirrorDialer::new(identity.clone(), settings, cuts.clone()),
            door: MirrorDoor::start(identity, settings, cuts, receptionist)?,
            reception,
            open,
            closed: Arc::default(),
            run,
            saved: layout.data_dir().join("saved"),
        })
    }

    /// After a change of the cluster's times.
    pub fn set_times(&self, timing: &Timing) {
        self.dialer.set_times(StreamSettings::from_timing(timing));
    }

    /// Where the volume is exported over TCP, if anywhere.
    fn tcp(&self, order: &VolumeOrder) -> Result<Option<(SocketAddr, Arc<ServerConfig>)>, VolumeError> {
        let (Some(port), Some(own)) = (order.config.export_port, order.at.first()) else { return Ok(None) };
        let tls = self.identity.export_tls().map_err(|error| VolumeError::Device(error.to_string()))?;
        Ok(Some((SocketAddr::new(own.ip(), port), tls)))
    }

    fn options(&self, config: &MirrorDiskConfig) -> Options {
        Options {
            peer_timeout: config.peer_timeout,
            resync_floor: config.resync_floor,
            resync_ceiling: config.resync_ceiling,
            compression: config.compression,
            saved: self.saved.clone(),
            ..Options::default()
        }
    }
}

#[async_trait]
impl Volumes for SystemVolumes {
    async fn open(&self, order: VolumeOrder) -> Result<OpenedVolume, VolumeError> {
        let (path, events) = self.open_path(order).await?;
        let copy = path.copy();
        Ok(OpenedVolume { path, copy, events })
    }
}

impl SystemVolumes {
    async fn open_path(
        &self,
        order: VolumeOrder,
    ) -> Result<(Arc<SystemPath>, mpsc::UnboundedReceiver<VolumeEvent>), VolumeError> {
        self.door.listen(&order.at).map_err(not_heard)?;
        let name = order.volume.clone();
        let plan = Plan {
            name: name.to_string(),
            backend: order.config.backend,
            link: order.config.device.clone(),
            run: self.run.clone(),
            tcp: self.tcp(&order)?,
        };
        let options = self.options(&order.config);
        let dialer: Arc<dyn Dialer> = Arc::new(self.dialer.clone());
        let was_open = self.closed.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        let opened = spawn_blocking(move || {
            let open = if was_open { areas::open_again } else { areas::open };
            let (data, management) = open(&order)?;
            Volume::open(Arc::new(data), management, &order.peers, options, dialer).map_err(path::error)
        });
        let (volume, mut said) = opened.await.map_err(|error| VolumeError::Disk(error.to_string()))??;
        self.reception.add(name.clone(), &volume);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
        let (events, receiver) = mpsc::unbounded_channel();
        let tell = events.clone();
        tokio::spawn(async move {
            while let Some(event) = said.recv().await {
                if tell.send(convert::event(event)).is_err() {
                    return;
                }
            }
        });
        let close = Box::new({
            let (reception, open, closed) = (self.reception.clone(), self.open.clone(), self.closed.clone());
            move || {
                closed.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
                open.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
                reception.remove(&name);
            }
        });
        Ok((Arc::new(SystemPath::new(volume, plan, events, close)), receiver))
    }
}
