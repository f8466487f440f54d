//! The export and the device of a volume that is open: kept by a task on the volume's own thread, so
//! that requests change no thread.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tasuki_actors::ports::volumes::{VolumeError, VolumeEvent};
use tasuki_core::config::DeviceBackend;
use tasuki_volume::{
    block::Door,
    device::{self, Device},
    export::{Export, Offer},
};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::rustls::ServerConfig;

/// What to bring up.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub name: String,
    pub backend: Option<DeviceBackend>,
    pub link: Option<PathBuf>,
    /// Where records of devices are, and the exports' sockets.
    pub run: PathBuf,
    /// Exported over TCP too: where, and how clients are known.
    pub tcp: Option<(SocketAddr, Arc<ServerConfig>)>,
}

impl Plan {
    fn socket(&self) -> PathBuf {
        self.run.join(format!("{}.nbd", self.name))
    }
}

/// What the keeper of a device is asked.
enum Ask {
    Detach(oneshot::Sender<Result<(), VolumeError>>),
    /// The volume has another size.
    Resize(u64, oneshot::Sender<Result<(), VolumeError>>),
}

/// A device that is up.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub device: PathBuf,
    pub socket: PathBuf,
    asks: mpsc::Sender<Ask>,
}

impl Held {
    /// Takes it away; it stays when something uses it.
    pub async fn detach(&self) -> Result<(), VolumeError> {
        self.ask(Ask::Detach).await
    }

    /// The volume has this size now: clients and the kernel see it.
    pub async fn resize(&self, size: u64) -> Result<(), VolumeError> {
        self.ask(|answer| Ask::Resize(size, answer)).await
    }

    /// Nobody keeps it any more, and nobody has taken it away.
    pub fn is_lost(&self) -> bool {
        self.asks.is_closed()
    }

    async fn ask(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<(), VolumeError>>) -> Ask,
    ) -> Result<(), VolumeError> {
        let (answer, answered) = oneshot::channel();
        if self.asks.send(ask(answer)).await.is_err() {
            return Ok(()); // it has gone by itself
        }
        answered.await.unwrap_or(Ok(()))
    }
}

/// Brings both up, and keeps them until they are taken away or are lost. Runs on the volume's thread.
pub(super) async fn keep(
    plan: Plan,
    door: Door,
    events: mpsc::UnboundedSender<VolumeEvent>,
    ready: oneshot::Sender<Result<Held, VolumeError>>,
) {
    let socket = plan.socket();
    let offer = Offer::new(&plan.name, door.clone());
    let export = folder(&plan.run).and_then(|()| Export::unix(&socket, offer.clone()));
    let export = match export {
        Ok(export) => export,
        Err(error) => {
            let _gone =
                ready.send(Err(VolumeError::Device(format!("the export {}: {error}", socket.display()))));
            return;
        }
    };
    let tcp = match plan.tcp.clone() {
        None => None,
        Some((at, tls)) => match Export::tcp(at, offer.clone(), tls).await {
            Ok(export) => Some(export),
            Err(error) => {
                let _gone = ready.send(Err(VolumeError::Device(format!("the export at {at}: {error}"))));
                return;
            }
        },
    };
    let order = device::Order {
        name: plan.name.clone(),
        backend: plan.backend,
        door,
        link: plan.link.clone(),
        folder: PathBuf::from(device::FOLDER),
        run: plan.run.clone(),
    };
    let mut device = match Device::attach(order).await {
        Ok(device) => device,
        Err(error) => {
            let _gone = ready.send(Err(VolumeError::Device(error.to_string())));
            return;
        }
    };
    tracing::info!(volume = %plan.name, device = %device.path().display(), "the device is up");
    let (asks, mut asked) = mpsc::channel(4);
    let held = Held { device: device.path().to_owned(), socket, asks };
    if ready.send(Ok(held)).is_err() {
        device.cut().await;
        return;
    }
    loop {
        let ask = tokio::select! {
            why = device.lost() => {
                let _gone = events.send(VolumeEvent::DeviceLost(why));
                device.cut().await;
                return;
            }
            ask = asked.recv() => ask,
        };
        match ask {
            Some(Ask::Detach(answer)) => {
                let detached = device.detach().await;
                let gone = detached.is_ok();
                let detached = detached.map_err(|error| VolumeError::Device(error.to_string()));
                if gone {
                    export.close().await;
                    if let Some(export) = tcp {
                        export.close().await;
                    }
                    tracing::info!(volume = %plan.name, "the device is away");
                    let _nobody = answer.send(detached);
                    return;
                }
                let _nobody = answer.send(detached);
            }
            Some(Ask::Resize(size, answer)) => {
                offer.resize(size);
                let resized = device.resize(size).await;
                let _nobody = answer.send(resized.map_err(|error| VolumeError::Device(error.to_string())));
            }
            None => {
                device.cut().await;
                return;
            }
        }
    }
}

/// The folder of sockets and records: nobody else's business.
fn folder(run: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(run)
}
