//! Mirrored disks as resources: opened, checked, mounted; unmounted and closed. The data path and the
//! decisions are the mirrors' (`tasuki_actors::ohas::mirrors`); here is what a file system needs.
//!
//! A record is written before anything is done, so that whoever starts next knows of a mount. The device
//! ends with the node (R34): a mount that an earlier node left is dead, and is taken off.

pub mod files;
mod filesystem;
mod mounts;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tasuki_actors::{
    ohas::mirrors::{MirrorError, MirrorsHandle, Promoted},
    ports::{AgentError, ResourceOrder},
};
use tasuki_core::{
    config::{InitialCopy, MirrorDiskConfig},
    ids::{BootId, Epoch, GroupName, ResourceName, ServerName, VolumeName},
};
use tasuki_system::{confinement::Confinement, layout::Layout, records::Records};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use self::mounts::Mounted;

/// Between two tries to unmount what is still in use.
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// What is asked of the mirrors.
#[async_trait]
pub trait Disks: Send + Sync + 'static {
    /// Whether the registry knows the volume already.
    fn is_formed(&self, volume: &VolumeName) -> bool;
    /// Opens it here and brings its device up.
    async fn promote(&self, volume: &VolumeName, epoch: Epoch) -> Result<Promoted, MirrorError>;
    /// Takes the device away and closes it in order.
    async fn demote(&self, volume: &VolumeName) -> Result<(), MirrorError>;
    /// The device that is up here.
    fn device(&self, volume: &VolumeName) -> Option<(Epoch, PathBuf)>;
    /// Resolves when the device is of no use any more.
    fn watch(&self, volume: &VolumeName) -> Option<oneshot::Receiver<String>>;
}

#[async_trait]
impl Disks for MirrorsHandle {
    fn is_formed(&self, volume: &VolumeName) -> bool {
        self.view(volume).is_some_and(|view| view.facts.is_some())
    }

    async fn promote(&self, volume: &VolumeName, epoch: Epoch) -> Result<Promoted, MirrorError> {
        Self::promote(self, volume, epoch).await
    }

    async fn demote(&self, volume: &VolumeName) -> Result<(), MirrorError> {
        Self::demote(self, volume).await
    }

    fn device(&self, volume: &VolumeName) -> Option<(Epoch, PathBuf)> {
        Self::device(self, volume)
    }

    fn watch(&self, volume: &VolumeName) -> Option<oneshot::Receiver<String>> {
        Self::watch(self, volume)
    }
}

/// What is known of a disk that is, or was, up here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct HeldDisk {
    /// The device as it was mounted; not known before it is up.
    device: Option<PathBuf>,
    /// Where it is mounted.
    mount: Option<PathBuf>,
}

/// The mirrored disks of this server, as resources.
pub struct MirrorDisks {
    server: OnceLock<ServerName>,
    disks: OnceLock<Box<dyn Disks>>,
    records: Records<HeldDisk>,
    confinement: Confinement,
    /// File systems whose making was begun, and may not have ended.
    unmade: PathBuf,
    /// What is mounted and what is not changes in one place at a time.
    changing: Mutex<()>,
    /// Held while a disk is being mounted, which goes on when its start was given up: it is unmounted
    /// after that, and not before.
    mounting: Mutex<BTreeMap<VolumeName, Arc<tokio::sync::Mutex<()>>>>,
}

impl std::fmt::Debug for MirrorDisks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MirrorDisks").field("records", &self.records).finish_non_exhaustive()
    }
}

impl MirrorDisks {
    /// Over the run folder that the other resources are recorded in.
    #[must_use]
    pub fn new(layout: &Layout, boot: BootId, confinement: Confinement) -> Self {
        Self {
            server: OnceLock::new(),
            disks: OnceLock::new(),
            records: Records::new(layout.disk_records(), boot),
            confinement,
            unmade: layout.data_dir().join("unmade"),
            changing: Mutex::default(),
            mounting: Mutex::default(),
        }
    }

    /// Once the mirrors are there. What comes before is refused.
    pub fn connect(&self, server: ServerName, disks: impl Disks) {
        let _once = self.server.set(server);
        let _once = self.disks.set(Box::new(disks));
    }

    fn disks(&self) -> Result<&dyn Disks, AgentError> {
        self.disks.get().map(|disks| &**disks).ok_or_else(|| failed("TSK-1819", "the node is still starting"))
    }

    /// Opens, checks and mounts it.
    pub async fn start(
        &self,
        order: &ResourceOrder,
        config: &MirrorDiskConfig,
    ) -> Result<oneshot::Receiver<String>, AgentError> {
        let volume = VolumeName::new(order.resource.as_str());
        let disks = self.disks()?;
        let until = Instant::now() + config.start_timeout;
        let late = |what: &str| AgentError::Timeout {
            what: format!("TSK-1819: {what} of mirrored disk {volume}"),
            limit: config.start_timeout,
        };
        if let Some(ended) = self.already_up(order, config, disks, &volume)? {
            return Ok(ended);
        }
        // What an earlier node left there is dead.
        self.take_off_dead(&order.group, &order.resource)?;
        let is_new = !disks.is_formed(&volume) || self.is_unmade(&volume);
        let mkfs = is_new && config.mount.is_some();
        if mkfs && config.initial == InitialCopy::Mkfs && !self.is_unmade(&volume) {
            self.refuse_found(config)?;
        }
        let mkfs = mkfs && matches!(config.initial, InitialCopy::Mkfs | InitialCopy::MkfsAnyway);
        if mkfs {
            self.note_unmade(&volume).map_err(record_error)?;
        }
        self.write(order, None, None)?;
        let promoted = match timeout_at(until, disks.promote(&volume, order.epoch)).await {
            Ok(Ok(promoted)) => promoted,
            Ok(Err(error)) => {
                self.undo(order, disks, &volume, until).await;
                return Err(failed("TSK-1819", error.to_string()));
            }
            Err(_) => {
                self.undo(order, disks, &volume, until).await;
                return Err(late("opening"));
            }
        };
        let Some(mount) = &config.mount else {
            self.write(order, Some(promoted.device), None)?;
            return Ok(promoted.ended);
        };
        self.write(order, Some(promoted.device.clone()), Some(mount.clone()))?;
        let mounting = self.bring_up(&volume, config, mount, &promoted.device, mkfs);
        let up = timeout_at(until, mounting).await.unwrap_or_else(|_| Err(late("the check or mount")));
        if let Err(error) = up {
            self.undo(order, disks, &volume, until).await;
            return Err(error);
        }
        Ok(promoted.ended)
    }

    /// Makes the file system if it is new, checks it, and mounts it.
    async fn bring_up(
        &self,
        volume: &VolumeName,
        config: &MirrorDiskConfig,
        mount: &Path,
        device: &Path,
        mkfs: bool,
    ) -> Result<(), AgentError> {
        if mkfs {
            filesystem::make(&config.filesystem, device).await.map_err(|why| failed("TSK-1813", why))?;
            self.note_made(volume).map_err(record_error)?;
        } else if config.check {
            filesystem::check(&config.filesystem, device).await.map_err(|why| failed("TSK-1812", why))?;
        }
        let (device, mount) = (device.to_owned(), mount.to_owned());
        let (name, options) = (config.filesystem.clone(), config.mount_options.clone());
        let alone = self.mounting(volume).lock_owned().await;
        let mounted = tokio::task::spawn_blocking(move || {
            let _until_it_is_mounted = alone;
            mounts::mount(&device, &mount, &name, &options)
        });
        mounted
            .await
            .map_err(|error| failed("TSK-1813", error.to_string()))?
            .map_err(|why| failed("TSK-1813", why))
    }

    fn mounting(&self, volume: &VolumeName) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = self.mounting.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(volume.clone()).or_default().clone()
    }

    /// It is up under this ownership already, mounted where it should be.
    fn already_up(
        &self,
        order: &ResourceOrder,
        config: &MirrorDiskConfig,
        disks: &dyn Disks,
        volume: &VolumeName,
    ) -> Result<Option<oneshot::Receiver<String>>, AgentError> {
        let Some((epoch, device)) = disks.device(volume) else { return Ok(None) };
        if epoch != order.epoch || self.held(&order.group, &order.resource)?.is_none() {
            return Ok(None);
        }
        if let Some(mount) = &config.mount
            && mounts::at(mount).map_err(|error| failed("TSK-1813", error.to_string()))?.as_deref()
                != Some(&*device)
        {
            return Ok(None);
        }
        Ok(disks.watch(volume))
    }

    /// After a start that failed: nothing is left, or the record stays for the stop that follows.
    async fn undo(&self, order: &ResourceOrder, disks: &dyn Disks, volume: &VolumeName, until: Instant) {
        // A while beyond what the start had: what is being opened is closed in order.
        let until = until.max(Instant::now() + Duration::from_secs(10));
        let undone = async {
            self.unmount(&order.group, &order.resource, until).await?;
            disks.demote(volume).await.map_err(|error| failed("TSK-1819", error.to_string()))
        };
        match timeout_at(until, undone).await {
            Ok(Ok(())) => {
                if let Err(error) = self.records.remove(&order.group, &order.resource) {
                    tracing::warn!(%volume, %error, "the record of a disk stays");
                }
            }
            Ok(Err(error)) => {
                tracing::warn!(%volume, %error, "a disk that did not start is not wholly closed")
            }
            Err(_) => tracing::warn!(%volume, "a disk that did not start is still being closed"),
        }
    }

    /// Unmounts and closes it.
    pub async fn stop(&self, order: &ResourceOrder, limit: Duration) -> Result<(), AgentError> {
        self.close(&order.group, &order.resource, limit).await
    }

    /// Unmounts and closes a disk by what its record says.
    pub async fn close(
        &self,
        group: &GroupName,
        resource: &ResourceName,
        limit: Duration,
    ) -> Result<(), AgentError> {
        if self.held(group, resource)?.is_none() && self.disks.get().is_none() {
            return Ok(());
        }
        let volume = VolumeName::new(resource.as_str());
        let until = Instant::now() + limit;
        self.unmount(group, resource, until).await?;
        if let Some(disks) = self.disks.get() {
            let closed = timeout_at(until, disks.demote(&volume)).await;
            let closed = closed.map_err(|_| AgentError::Timeout {
                what: format!("TSK-1819: closing mirrored disk {volume}"),
                limit,
            })?;
            closed.map_err(|error| failed("TSK-1819", error.to_string()))?;
        }
        self.records.remove(group, resource).map_err(record_error)
    }

    /// Takes the mount off. What of its own group is still in it is killed at last; what belongs to
    /// nobody keeps it, and is named.
    async fn unmount(
        &self,
        group: &GroupName,
        resource: &ResourceName,
        until: Instant,
    ) -> Result<(), AgentError> {
        let Some(held) = self.held(group, resource)? else { return Ok(()) };
        let (Some(device), Some(mount)) = (held.device, held.mount) else { return Ok(()) };
        let volume = VolumeName::new(resource.as_str());
        let mounting = self.mounting(&volume).lock_owned();
        let _not_mounted_meanwhile = timeout_at(until, mounting).await.map_err(|_| AgentError::Timeout {
            what: format!("TSK-1814: a mount that was begun at {}", mount.display()),
            limit: until.saturating_duration_since(Instant::now()),
        })?;
        if self.disks.get().is_none_or(|disks| disks.device(&volume).is_none()) {
            return self.take_off_dead(group, resource);
        }
        let mut killed = false;
        loop {
            let (from, at) = (device.clone(), mount.clone());
            let tried = tokio::task::spawn_blocking(move || mounts::unmount(&from, &at));
            let tried = timeout_at(until, tried).await.map_err(|_| AgentError::Timeout {
                what: format!("TSK-1814: unmounting {}", mount.display()),
                limit: until.saturating_duration_since(Instant::now()),
            })?;
            match tried.map_err(|error| failed("TSK-1814", error.to_string()))? {
                Mounted::No => return Ok(()),
                Mounted::InUse if Instant::now() + TRY_AGAIN < until => {
                    let half = until.saturating_duration_since(Instant::now()) < TRY_AGAIN * 10;
                    if half && !killed {
                        killed = true;
                        self.kill_own(group, &mount);
                    }
                    tokio::time::sleep(TRY_AGAIN).await;
                }
                Mounted::InUse => {
                    let users = mounts::users(&mount);
                    let users = if users.is_empty() { "somebody".to_owned() } else { users.join(", ") };
                    return Err(failed("TSK-1814", format!("{} is in use by {users}", mount.display())));
                }
                Mounted::Failed(why) => return Err(failed("TSK-1814", why)),
            }
        }
    }

    /// Ends what of this group's own programs is still in the mount.
    fn kill_own(&self, group: &GroupName, mount: &Path) {
        let inside = mounts::processes(mount);
        for ((of, resource), processes) in self.confinement.running().unwrap_or_default() {
            if of != *group {
                continue;
            }
            for process in processes.iter().filter(|process| inside.contains(&process.pid)) {
                tracing::warn!(group = %of, %resource, pid = process.pid, "killed: it keeps a disk from being unmounted");
                process.signal(Signal::KILL);
            }
        }
    }

    /// Whether it is up here; a mount without its device is taken off, and counts for nothing.
    pub fn probe(
        &self,
        order: &ResourceOrder,
        config: &MirrorDiskConfig,
    ) -> Result<Option<oneshot::Receiver<String>>, AgentError> {
        let volume = VolumeName::new(order.resource.as_str());
        if let Some(disks) = self.disks.get()
            && let Some(ended) = self.already_up(order, config, &**disks, &volume)?
        {
            return Ok(Some(ended));
        }
        if self.disks.get().is_none_or(|disks| disks.device(&volume).is_none()) {
            self.take_off_dead(&order.group, &order.resource)?;
            self.records.remove(&order.group, &order.resource).map_err(record_error)?;
        }
        Ok(None)
    }

    /// What is recorded, and so may be up.
    pub fn running(&self) -> Result<Vec<(GroupName, ResourceName)>, AgentError> {
        let mut found = Vec::new();
        for record in self.all()? {
            let volume = VolumeName::new(record.resource.as_str());
            let up = self.disks.get().is_some_and(|disks| disks.device(&volume).is_some());
            let mounted = match (&record.content.device, &record.content.mount) {
                // What cannot be found out counts as running.
                (Some(device), Some(mount)) => {
                    mounts::at(mount).map_or(true, |at| at.as_ref() == Some(device))
                }
                _ => false,
            };
            if up || mounted {
                found.push((record.group, record.resource));
            }
        }
        Ok(found)
    }

    /// Takes off a mount whose device went with the node that served it: nothing can be written to it.
    fn take_off_dead(&self, group: &GroupName, resource: &ResourceName) -> Result<(), AgentError> {
        let _one = self.change();
        let Some(held) = self.held(group, resource)? else { return Ok(()) };
        if let (Some(device), Some(mount)) = (held.device, held.mount) {
            mounts::take_off(&device, &mount).map_err(|error| failed("TSK-1814", error.to_string()))?;
        }
        Ok(())
    }

    /// C5: a file system that is there is not made over, unless that is said twice. Looked at before
    /// anything is opened, so that nothing is remembered of the attempt.
    fn refuse_found(&self, config: &MirrorDiskConfig) -> Result<(), AgentError> {
        let Some(server) = self.server.get() else { return Ok(()) };
        let data = config.areas(server).data;
        let found = filesystem::found(&data)
            .map_err(|error| failed("TSK-1815", format!("{} cannot be read: {error}", data.display())))?;
        match found {
            None => Ok(()),
            Some(content) => Err(failed(
                "TSK-1811",
                format!(
                    "{} holds {content}; initial_mkfs = false keeps it, initial_mkfs = \"force\" destroys it",
                    data.display()
                ),
            )),
        }
    }

    fn unmade(&self, volume: &VolumeName) -> PathBuf {
        self.unmade.join(volume.as_str())
    }

    fn is_unmade(&self, volume: &VolumeName) -> bool {
        self.unmade(volume).exists()
    }

    fn note_unmade(&self, volume: &VolumeName) -> io::Result<()> {
        fs::create_dir_all(&self.unmade)?;
        fs::File::create(self.unmade(volume))?.sync_all()?;
        fs::File::open(&self.unmade)?.sync_all()
    }

    fn note_made(&self, volume: &VolumeName) -> io::Result<()> {
        match fs::remove_file(self.unmade(volume)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn write(
        &self,
        order: &ResourceOrder,
        device: Option<PathBuf>,
        mount: Option<PathBuf>,
    ) -> Result<(), AgentError> {
        let held = HeldDisk { device, mount };
        self.records.write(&order.group, &order.resource, order.epoch, held).map_err(record_error)
    }

    fn held(&self, group: &GroupName, resource: &ResourceName) -> Result<Option<HeldDisk>, AgentError> {
        let record = self.records.read(group, resource).map_err(record_error)?;
        Ok(record.map(|record| record.content))
    }

    fn all(&self) -> Result<Vec<tasuki_system::records::Record<HeldDisk>>, AgentError> {
        self.records.all().map_err(record_error)
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(code: &str, why: impl std::fmt::Display) -> AgentError {
    AgentError::Failed(format!("{code}: {why}"))
}

fn record_error(error: io::Error) -> AgentError {
    AgentError::Failed(format!("TSK-1307: record of what runs: {error}"))
}

#[cfg(test)]
mod tests;
