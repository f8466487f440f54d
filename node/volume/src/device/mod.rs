//! Block devices: a volume as `/dev/tasuki/NAME`.
//!
//! | module | what |
//! |---|---|
//! | [`fuse`] | a file over FUSE under a loop device: on every kernel since 5.8 |
//! | `nbd_kernel` | the kernel's NBD client: a device that waits for the next process of ours |
//! | `ublk` | the kernel's user-space block driver: a device that waits for the next process of ours |
//! | `loop_device` | taking a loop device, and letting it go |
//! | `links` | the names of a device |
//! | `record` | what is written down before a device is made |
//! | [`users`] | who uses a device |
//! | [`apart`] | calls that wait for a device, so that a killed process ends all the same |
//! | `name_space` | the same for a killed container |
//! | [`probe`] | which ways this kernel has |
//!
//! A device is served by tasks of the runtime that it is attached on. What stands behind it must be
//! answering already, since the kernel reads from a device as soon as it is there.

pub mod apart;
pub mod error;
mod flusher;
mod fuse;
mod links;
mod loop_device;
mod name_space;
mod nbd_kernel;
mod polled;
pub mod probe;
mod record;
mod ublk;
pub mod users;

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tasuki_core::config::DeviceBackend;
use tokio::task::spawn_blocking;

pub use error::DeviceError;
use fuse::FileDevice;
use links::Links;
use nbd_kernel::NbdDevice;
use record::{Record, word};
use ublk::UblkDevice;
use users::who_uses;

use crate::block::Door;

/// Where devices appear.
pub const FOLDER: &str = "/dev/tasuki";
/// Programs that look at every device (udev's, for one) have one open for a moment: only who has it open
/// for longer uses it.
const A_MOMENT: Duration = Duration::from_secs(2);
/// How often that is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What to attach, and how.
#[derive(Clone, Debug)]
pub struct Order {
    /// The volume.
    pub name: String,
    /// The way; the best that the kernel has when not given.
    pub backend: Option<DeviceBackend>,
    /// What is behind it.
    pub door: Door,
    /// The configured name besides `/dev/tasuki/NAME`.
    pub link: Option<PathBuf>,
    /// Where names appear: [`FOLDER`].
    pub folder: PathBuf,
    /// Where records are kept; emptied by a boot.
    pub run: PathBuf,
}

/// A block device. Dropping it cuts it off: what waits for it fails.
#[derive(Debug)]
pub struct Device {
    record: Record,
    run: PathBuf,
    made: Made,
}

#[derive(Debug)]
enum Made {
    File(FileDevice),
    Nbd(NbdDevice),
    Ublk(UblkDevice),
}

impl Device {
    /// Makes a device. On the thread that moves the volume's bytes, requests change no thread.
    ///
    /// # Errors
    /// When the kernel has no way to one, a name is taken by something else, or a call fails. Nothing is
    /// left then.
    pub async fn attach(order: Order) -> Result<Self, DeviceError> {
        let backend = choose(order.backend)?;
        let links = Links { own: order.folder.join(&order.name), configured: order.link.clone() };
        links.check()?;
        let record = Record { name: order.name, backend, node: PathBuf::new(), links };
        let device = Self::make(record.clone(), order.door, order.run.clone()).await;
        if device.is_err() {
            record.remove(&order.run);
        }
        device
    }

    async fn make(record: Record, door: Door, run: PathBuf) -> Result<Self, DeviceError> {
        let failed =
            |why| DeviceError::Failed { what: format!("a device by way of {}", word(record.backend)), why };
        name_space::outlives_connections().map_err(failed)?;
        let (plan, folder) = (record.clone(), run.clone());
        let write = move |node: &Path| Record { node: node.to_owned(), ..plan.clone() }.write(&folder);
        let left = Record::read(&run, &record.name).map(|record| record.node);
        let made = match record.backend {
            DeviceBackend::Loop => {
                Made::File(FileDevice::attach(door, &record.name, write).await.map_err(failed)?)
            }
            DeviceBackend::Nbd => {
                Made::Nbd(NbdDevice::attach(door, &record.name, write).await.map_err(failed)?)
            }
            DeviceBackend::Ublk => {
                let device = UblkDevice::attach(door, &record.name, left, write).await;
                Made::Ublk(device.map_err(failed)?)
            }
        };
        let node = match &made {
            Made::File(device) => device.node().to_owned(),
            Made::Nbd(device) => device.node().to_owned(),
            Made::Ublk(device) => device.node().to_owned(),
        };
        let mut device = Self { record: Record { node, ..record }, run, made };
        if let Err(error) = device.record.links.point_to(&device.record.node) {
            device.cut().await;
            return Err(error);
        }
        Ok(device)
    }

    /// `/dev/tasuki/NAME`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.record.links.own
    }

    /// What that points to.
    #[must_use]
    pub fn node(&self) -> &Path {
        &self.record.node
    }

    /// How it came about.
    #[must_use]
    pub fn backend(&self) -> DeviceBackend {
        self.record.backend
    }

    /// The volume has another size, and so the device.
    ///
    /// # Errors
    /// When the kernel refuses that.
    pub async fn resize(&self, size: u64) -> Result<(), DeviceError> {
        let done = match &self.made {
            Made::File(device) => device.resize(size).await,
            Made::Nbd(device) => device.resize(size).await,
            Made::Ublk(device) => device.resize(size).await,
        };
        done.map_err(|why| DeviceError::Failed {
            what: format!("another size of {}", self.node().display()),
            why,
        })
    }

    /// Waits until it is gone without being asked to; why.
    pub async fn lost(&self) -> String {
        let why = match &self.made {
            Made::File(device) => device.gone().await,
            Made::Nbd(device) => device.gone().await,
            Made::Ublk(device) => device.gone().await,
        };
        format!("TSK-1839: the device {} went away: {why}", self.node().display())
    }

    /// Takes it away in order: what the kernel keeps of it is written out first.
    ///
    /// # Errors
    /// [`DeviceError::InUse`] with who uses it; then it goes on as before.
    pub async fn detach(&mut self) -> Result<(), DeviceError> {
        let failed = |why| DeviceError::Failed { what: "the end of a device".to_owned(), why };
        let users = self.users().await.map_err(failed)?;
        if !users.is_empty() {
            return Err(DeviceError::InUse { node: self.node().to_owned(), users });
        }
        let gone = match &mut self.made {
            Made::File(device) => device.detach().await.map_err(failed)?,
            Made::Nbd(device) => device.detach().await.map_err(failed)?,
            Made::Ublk(device) => device.detach().await.map_err(failed)?,
        };
        if !gone {
            let users = self.users().await.map_err(failed)?;
            return Err(DeviceError::InUse { node: self.node().to_owned(), users });
        }
        self.forget();
        Ok(())
    }

    /// Takes it away at once, whoever uses it: what waits for it, and what comes, fails. Does not wait
    /// for the volume.
    pub async fn cut(&mut self) {
        let done = match &mut self.made {
            Made::File(device) => device.cut().await,
            Made::Nbd(device) => device.cut().await,
            Made::Ublk(device) => device.cut().await,
        };
        if let Err(error) = done {
            tracing::warn!(device = %self.node().display(), %error, "a device is cut off, but its node stays");
        }
        self.forget();
    }

    fn forget(&self) {
        self.record.links.remove(&self.record.node);
        self.record.remove(&self.run);
    }

    /// Who still uses it after a moment.
    async fn users(&self) -> io::Result<Vec<String>> {
        let end = Instant::now() + A_MOMENT;
        loop {
            let node = self.record.node.clone();
            let users = spawn_blocking(move || who_uses(&node)).await.map_err(io::Error::other)?;
            let users = match users {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                users => users?,
            };
            // A mount does not go by itself.
            let lasting = users.iter().any(|user| !user.starts_with("open in"));
            if users.is_empty() || lasting || Instant::now() >= end {
                return Ok(users);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// The way that is wished, if it is there; else the best that is.
fn choose(wished: Option<DeviceBackend>) -> Result<DeviceBackend, DeviceError> {
    let support = probe::probe();
    let mut why = Vec::new();
    for way in support.iter().filter(|way| wished.is_none_or(|wished| wished == way.backend)) {
        match &way.missing {
            None => return Ok(way.backend),
            Some(missing) => why.push(format!("{}: {missing}", word(way.backend))),
        }
    }
    Err(DeviceError::Unsupported(why.join("; ")))
}

/// A device that an earlier process has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The volume.
    pub name: String,
    /// Its device.
    pub node: PathBuf,
    /// Who still uses it: it cannot be served again, and goes with its last user.
    pub users: Vec<String>,
}

/// Removes what an earlier process left behind, as far as `of` says yes to its volume. Blocks; what it
/// returns was there.
#[must_use]
pub fn clean_up_left(run: &Path, of: impl Fn(&str) -> bool) -> Vec<Left> {
    let mut left = Vec::new();
    for record in Record::all(run).into_iter().filter(|record| of(&record.name)) {
        let there = match record.backend {
            DeviceBackend::Loop => loop_device::detach_left(&record.node, &record.name),
            DeviceBackend::Nbd => nbd_kernel::disconnect_left(&record.name),
            DeviceBackend::Ublk => ublk::remove_recorded(&record.node, &record.name),
        };
        record.links.remove(&record.node);
        match there {
            Ok(there) => {
                record.remove(run);
                if there {
                    let users = who_uses(&record.node).unwrap_or_default();
                    left.push(Left { name: record.name, node: record.node, users });
                }
            }
            // The record stays: the next one tries again.
            Err(error) => {
                tracing::warn!(volume = %record.name, device = %record.node.display(), %error, "a device that was left stays");
            }
        }
    }
    left
}
