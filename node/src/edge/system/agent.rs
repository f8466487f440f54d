//! Resources, by their kind: programs go to the launcher, addresses to netlink.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tasuki_actors::ports::{AgentError, Probe, ResourceAgent, ResourceOrder, ResourceSpec};
use tasuki_core::{
    config::{ExecConfig, FloatingIpConfig},
    ids::{BootId, Epoch, GroupName, ResourceName},
};
use tasuki_system::{
    address::{self, AddressError, AddressSpec, HeldAddress, Loss, Watch, WatchOptions},
    confinement::Confinement,
    exec::{ExecError, Found, Launcher, Program},
    layout::Layout,
    records::Records,
};
use tokio::sync::oneshot;

use super::mirror_disk::MirrorDisks;

type Name = (GroupName, ResourceName);

/// How long a disk that no configuration speaks of any more may take to close.
const CLOSE_WITHIN: Duration = Duration::from_secs(60);

/// Starts and stops resources on this server.
#[derive(Debug)]
pub struct SystemAgent {
    launcher: Launcher,
    /// What the guard drops at the lease's end: written before an address is added.
    addresses: Records<HeldAddress>,
    /// Dropped, a watch ends.
    watches: Mutex<BTreeMap<Name, Watch>>,
    disks: MirrorDisks,
    two_leases: Mutex<Duration>,
}

impl SystemAgent {
    /// An agent over the run folder that it shares with the guard. A new owner of an address
    /// announces it for `two_leases` (R39). Within a tokio runtime.
    #[must_use]
    pub fn new(layout: Layout, boot: BootId, two_leases: Duration) -> Self {
        let addresses = Records::new(layout.address_records(), boot.clone());
        let confinement = Confinement::inherited(&layout);
        let disks = MirrorDisks::new(&layout, boot.clone(), Confinement::inherited(&layout));
        let launcher = Launcher::new(layout, confinement, boot);
        tokio::spawn(launcher.tend());
        Self { launcher, addresses, watches: Mutex::default(), disks, two_leases: Mutex::new(two_leases) }
    }

    /// The mirrored disks, which need the mirrors of a node that has started.
    #[must_use]
    pub fn disks(&self) -> &MirrorDisks {
        &self.disks
    }

    /// After a change of the configured times.
    pub fn set_two_leases(&self, two_leases: Duration) {
        *self.two_leases.lock().unwrap_or_else(PoisonError::into_inner) = two_leases;
    }

    async fn start_address(
        &self,
        order: &ResourceOrder,
        config: &FloatingIpConfig,
    ) -> Result<oneshot::Receiver<String>, AgentError> {
        let spec =
            AddressSpec { address: config.address, prefix: config.prefix, device: config.device.clone() };
        if let Some(held) = self.held(&order.group, &order.resource)? {
            if is_same(&held, &spec) && address::is_present(&held).map_err(address_error)? {
                // It is there, but does nobody any good: trying again would only take time.
                if !held.loopback && !address::carrier(&held.device).map_err(address_error)? {
                    let why = format!("interface {} has no carrier", held.device);
                    return Err(AgentError::Failed(format!("TSK-1404: {why}; check its cable and switch")));
                }
                return self.watch(order, &held, WatchOptions::adopted());
            }
            // The configuration has changed, or somebody removed it.
            self.drop_address(&order.group, &order.resource)?;
        }
        let held = address::plan(&spec).map_err(address_error)?;
        let contested = match address::probe_duplicate(&held).await {
            // A lost server's kernel answers for the address as long as nobody has taken it off: the
            // clients are told where it is now (R36, R39).
            Err(error @ AddressError::Duplicate { .. }) if order.after_loss => {
                tracing::warn!(group = %order.group, %error, "taken over from a server that is lost all the same");
                true
            }
            probed => {
                probed.map_err(address_error)?;
                false
            }
        };
        let (group, resource) = (&order.group, &order.resource);
        self.addresses.write(group, resource, order.epoch, held.clone()).map_err(record_error)?;
        if let Err(error) = address::acquire(&held) {
            // Nothing was added: the record must not make the guard drop somebody else's.
            self.addresses.remove(group, resource).map_err(record_error)?;
            return Err(address_error(error));
        }
        let two_leases = *self.two_leases.lock().unwrap_or_else(PoisonError::into_inner);
        let options = match contested {
            true => WatchOptions::contested(two_leases),
            false => WatchOptions::acquired(two_leases),
        };
        let watched = self.watch(order, &held, options);
        if watched.is_err() {
            self.drop_address(group, resource)?;
        }
        watched
    }

    fn watch(
        &self,
        order: &ResourceOrder,
        held: &HeldAddress,
        options: WatchOptions,
    ) -> Result<oneshot::Receiver<String>, AgentError> {
        let (watch, lost) = address::watch(held, options).map_err(address_error)?;
        self.watches().insert((order.group.clone(), order.resource.clone()), watch);
        let (tell, ended) = oneshot::channel();
        tokio::spawn(async move {
            // An error means that the watch was dropped: the address is being stopped.
            if let Ok(loss) = lost.await {
                let _nobody_may_care = tell.send(told(&loss));
            }
        });
        Ok(ended)
    }

    /// Removes exactly what was recorded; without a record there is nothing of ours.
    fn drop_address(&self, group: &GroupName, resource: &ResourceName) -> Result<(), AgentError> {
        self.watches().remove(&(group.clone(), resource.clone()));
        if let Some(held) = self.held(group, resource)? {
            address::release(&held).map_err(address_error)?;
        }
        self.addresses.remove(group, resource).map_err(record_error)
    }

    fn held(&self, group: &GroupName, resource: &ResourceName) -> Result<Option<HeldAddress>, AgentError> {
        let record = self.addresses.read(group, resource).map_err(record_error)?;
        Ok(record.map(|record| record.content))
    }

    fn watches(&self) -> MutexGuard<'_, BTreeMap<Name, Watch>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ResourceAgent for SystemAgent {
    async fn start(&self, order: &ResourceOrder) -> Result<Option<oneshot::Receiver<String>>, AgentError> {
        match &order.kind {
            ResourceSpec::Exec(config) => {
                self.launcher.start(program(order, config)).await.map_err(exec_error)
            }
            ResourceSpec::FloatingIp(config) => self.start_address(order, config).await.map(Some),
            ResourceSpec::MirrorDisk(config) => self.disks.start(order, config).await.map(Some),
        }
    }

    async fn stop(&self, order: &ResourceOrder) -> Result<(), AgentError> {
        match &order.kind {
            ResourceSpec::Exec(config) => {
                self.launcher.stop(program(order, config)).await.map_err(exec_error)
            }
            ResourceSpec::FloatingIp(_) => self.drop_address(&order.group, &order.resource),
            ResourceSpec::MirrorDisk(config) => self.disks.stop(order, config.stop_timeout).await,
        }
    }

    async fn probe(&self, order: &ResourceOrder) -> Result<Probe, AgentError> {
        match &order.kind {
            ResourceSpec::Exec(config) => {
                Ok(match self.launcher.probe(program(order, config)).map_err(exec_error)? {
                    Found::Running(ended) => Probe::Running(ended),
                    Found::Stopped => Probe::Stopped,
                })
            }
            ResourceSpec::FloatingIp(_) => match self.held(&order.group, &order.resource)? {
                Some(held) if address::is_present(&held).map_err(address_error)? => {
                    Ok(Probe::Running(Some(self.watch(order, &held, WatchOptions::adopted())?)))
                }
                _ => Ok(Probe::Stopped),
            },
            ResourceSpec::MirrorDisk(config) => {
                let up = self.disks.probe(order, config)?;
                Ok(up.map_or(Probe::Stopped, |ended| Probe::Running(Some(ended))))
            }
        }
    }

    async fn running(&self) -> Result<BTreeSet<(GroupName, ResourceName)>, AgentError> {
        let mut running = self.launcher.running().map_err(exec_error)?;
        for record in self.addresses.all().map_err(record_error)? {
            // What cannot be found out counts as running.
            if address::is_present(&record.content).unwrap_or(true) {
                running.insert((record.group, record.resource));
            }
        }
        running.extend(self.disks.running()?);
        Ok(running)
    }

    async fn left_at_lease_end(&self) -> Result<Vec<(GroupName, ResourceName, Epoch)>, AgentError> {
        self.launcher.left_at_lease_end().map_err(exec_error)
    }

    async fn end_left(
        &self,
        group: &GroupName,
        resource: &ResourceName,
        epoch: Epoch,
    ) -> Result<(), AgentError> {
        self.launcher.end_left(group, resource, epoch).await.map_err(exec_error)
    }

    async fn clean(&self, group: &GroupName, resource: &ResourceName) -> Result<(), AgentError> {
        self.drop_address(group, resource)?;
        self.launcher.clean(group, resource).await.map_err(exec_error)?;
        self.disks.close(group, resource, CLOSE_WITHIN).await
    }
}

fn program<'a>(order: &'a ResourceOrder, config: &'a ExecConfig) -> Program<'a> {
    Program {
        group: &order.group,
        resource: &order.resource,
        epoch: order.epoch,
        config,
        environment: &order.environment,
        at_lease_end: order.at_lease_end,
    }
}

fn is_same(held: &HeldAddress, spec: &AddressSpec) -> bool {
    held.address == spec.address
        && held.prefix == spec.prefix
        && spec.device.as_ref().is_none_or(|device| *device == held.device)
}

fn told(loss: &Loss) -> String {
    format!("{}: {loss}", loss.code())
}

fn address_error(error: AddressError) -> AgentError {
    AgentError::Failed(format!("{}: {error}; {}", error.code(), error.remedy()))
}

fn exec_error(error: ExecError) -> AgentError {
    match error {
        ExecError::Timeout { what, limit } => {
            AgentError::Timeout { what: format!("TSK-1304: {what}"), limit }
        }
        other => AgentError::Failed(other.to_string()),
    }
}

fn record_error(error: io::Error) -> AgentError {
    AgentError::Failed(format!("TSK-1307: record of what runs: {error}"))
}
