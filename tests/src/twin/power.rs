//! Fencing devices of a cluster in memory: they cut a machine's power, or fail, as tests say.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tasuki_actors::ports::{FenceAction, FenceOrder};
use tasuki_core::ids::{FenceName, ServerName};

use super::{Machine, wire::Wire};

/// One try of one device: which, for whom, and whether it confirmed.
pub type Try = (FenceName, ServerName, bool);

/// What a device can cut off: the machines, and their cables.
type Plugged = (Arc<Wire>, BTreeMap<ServerName, Arc<Machine>>);

/// See the module.
#[derive(Default)]
pub struct Power {
    inner: Mutex<Inner>,
    plugged: OnceLock<Plugged>,
}

#[derive(Default)]
struct Inner {
    broken: BTreeSet<FenceName>,
    takes: Duration,
    tries: Vec<Try>,
    busy: BTreeMap<ServerName, usize>,
    most: usize,
}

/// Counts a device as busy with its target, also when nobody waits for it any more.
struct Busy<'a>(&'a Power, ServerName);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.0.inner().busy.get_mut(&self.1) {
            *count -= 1;
        }
    }
}

impl Power {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These machines hang on these devices from now on.
    pub(super) fn plug(&self, wire: Arc<Wire>, machines: BTreeMap<ServerName, Arc<Machine>>) {
        let _once = self.plugged.set((wire, machines));
    }

    /// The device fails from now on.
    pub fn break_device(&self, device: &str) {
        self.inner().broken.insert(device.into());
    }

    /// The device works again.
    pub fn mend_device(&self, device: &str) {
        self.inner().broken.remove(&device.into());
    }

    /// Every device takes so long from now on.
    pub fn takes(&self, time: Duration) {
        self.inner().takes = time;
    }

    /// What was tried to switch off, in order.
    #[must_use]
    pub fn tries(&self) -> Vec<Try> {
        self.inner().tries.clone()
    }

    /// How many devices at most were busy with one target at the same time.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        self.inner().most
    }

    pub(super) async fn act(&self, order: &FenceOrder) -> Result<(), String> {
        let takes = {
            let mut inner = self.inner();
            let busy = inner.busy.entry(order.target.clone()).or_default();
            *busy += 1;
            let busy = *busy;
            inner.most = inner.most.max(busy);
            inner.takes
        };
        let _busy = Busy(self, order.target.clone());
        tokio::time::sleep(takes).await;
        let works = !self.inner().broken.contains(&order.device);
        if order.action == FenceAction::Off {
            self.inner().tries.push((order.device.clone(), order.target.clone(), works));
            if works {
                self.cut(&order.target).await;
            }
        }
        if works { Ok(()) } else { Err(format!("{} does not answer", order.device)) }
    }

    /// The machine dies with everything on it.
    async fn cut(&self, target: &ServerName) {
        let Some((wire, machines)) = self.plugged.get() else { return };
        if let Some(machine) = machines.get(target) {
            machine.lose_power();
        }
        if let Some(node) = wire.unplug(target) {
            node.abandon().await;
        }
    }
}
