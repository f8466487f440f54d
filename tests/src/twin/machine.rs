//! A machine in memory: its clock, its guard and what runs on it. It outlives its node.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use tasuki_actors::{
    NodeHandle,
    ohas::mirrors::MirrorsHandle,
    ports::{AgentError, Clock, Guard, Probe, ResourceAgent, ResourceOrder, ResourceSpec},
};
use tasuki_core::{
    ids::{BootId, GroupName, ResourceName, ServerName, VolumeName},
    registry::state::AfterStop,
    time::{Timestamp, WallTime},
};
use tokio::sync::oneshot;

use super::{looks::Looks, patience::inexcusable, volumes::Disks};

/// A resource on a machine.
type Which = (GroupName, ResourceName);

/// What happened on a machine, with the time since the process began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A resource runs from here on.
    Started(Which),
    /// It runs no more.
    Stopped(Which),
    /// The guard has stopped everything.
    StoodDown(String),
    /// The machine was reset, and everything on it with it.
    Reset(String),
    /// The node has left.
    Left,
}

/// One machine.
pub struct Machine {
    name: ServerName,
    inner: Arc<Mutex<Inner>>,
    pub(super) looks: Looks,
    mirrors: Mutex<Option<MirrorsHandle>>,
}

struct Inner {
    boots: u64,
    /// From the loss of power until the next boot nothing happens here, whatever a node whose tasks
    /// are not all gone yet still asks for.
    off: bool,
    lease: Option<Timestamp>,
    running: BTreeMap<Which, Vec<oneshot::Sender<String>>>,
    log: Vec<(Duration, Happening)>,
    fail_starts: u32,
    /// Resources that are mirrored volumes: they end with the node's process.
    mirrored: BTreeSet<Which>,
    disks: Option<(ServerName, Arc<Disks>)>,
    watchdog: Option<Duration>,
}

/// The same zero for all machines, so that their logs can be compared.
fn epoch() -> Instant {
    static EPOCH: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

fn now() -> Timestamp {
    Timestamp(u64::try_from(epoch().elapsed().as_nanos()).unwrap_or(u64::MAX))
}

impl Machine {
    /// A machine that has just booted.
    #[must_use]
    pub fn new(name: ServerName) -> Self {
        let inner = Inner {
            boots: 1,
            off: false,
            lease: None,
            running: BTreeMap::new(),
            log: Vec::new(),
            fail_starts: 0,
            mirrored: BTreeSet::new(),
            disks: None,
            watchdog: None,
        };
        let inner = Arc::new(Mutex::new(inner));
        // The guard: a thread of its own, as the real one is a process of its own.
        let watched = Arc::downgrade(&inner);
        std::thread::spawn(move || {
            while let Some(inner) = watched.upgrade() {
                let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
                if inner.lease.is_some_and(|end| now() >= end) {
                    inner.stand_down("the lease has ended");
                }
                drop(inner);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self { name, inner, looks: Looks::default(), mirrors: Mutex::default() }
    }

    /// These are its disks.
    pub(super) fn has_disks(&self, server: &ServerName, disks: &Arc<Disks>) {
        self.inner().disks = Some((server.clone(), disks.clone()));
    }

    /// There is power, and a node is about to run.
    pub(super) fn switch_on(&self) {
        self.inner().off = false;
    }

    /// A node runs here from now on.
    pub(super) fn runs(&self, node: &NodeHandle) {
        *self.mirrors.lock().unwrap_or_else(PoisonError::into_inner) = Some(node.mirrors());
    }

    /// The node's process is gone, and with it the volumes that it had open.
    pub(super) fn node_dies(&self) {
        *self.mirrors.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let mut inner = self.inner();
        if let Some((server, disks)) = &inner.disks {
            disks.process_dies(server);
        }
        for which in std::mem::take(&mut inner.mirrored) {
            if inner.running.remove(&which).is_some() {
                inner.say(Happening::Stopped(which));
            }
        }
    }

    /// The volumes of the node, as soon as it has started.
    async fn mirrors(&self) -> MirrorsHandle {
        loop {
            let mirrors = self.mirrors.lock().unwrap_or_else(PoisonError::into_inner).clone();
            match mirrors {
                Some(mirrors) => return mirrors,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happened here.
    #[must_use]
    pub fn log(&self) -> Vec<(Duration, Happening)> {
        self.inner().log.clone()
    }

    /// How often a resource was started here.
    #[must_use]
    pub fn starts(&self) -> usize {
        self.inner().log.iter().filter(|(_, what)| matches!(what, Happening::Started(_))).count()
    }

    /// The guard arms a watchdog, and has the node tell of it.
    pub fn arm_watchdog(&self, timeout: Duration) {
        self.inner().watchdog = Some(timeout);
    }

    /// Everything here ends at once, until the machine boots anew.
    pub fn lose_power(&self) {
        let mut inner = self.inner();
        inner.boots += 1;
        inner.off = true;
        inner.lease = None;
        inner.stop_all();
    }

    /// A service dies by itself.
    pub fn kill_service(&self, group: &str, resource: &str) {
        let which = (group.into(), resource.into());
        let mut inner = self.inner();
        if let Some(watchers) = inner.running.remove(&which) {
            inner.say(Happening::Stopped(which));
            for watcher in watchers {
                let _ = watcher.send("killed by SIGKILL".into());
            }
        }
    }

    /// The next starts fail.
    pub fn fail_starts(&self, count: u32) {
        self.inner().fail_starts = count;
    }
}

impl Inner {
    fn say(&mut self, what: Happening) {
        self.log.push((epoch().elapsed(), what));
    }

    fn stop_all(&mut self) {
        for which in std::mem::take(&mut self.running).into_keys() {
            self.say(Happening::Stopped(which));
        }
    }

    fn stand_down(&mut self, why: &str) {
        self.lease = None;
        // First of all nothing is written any more (R10, R34).
        if let Some((server, disks)) = &self.disks {
            disks.stands_down(server);
        }
        self.stop_all();
        self.say(Happening::StoodDown(why.into()));
    }

    fn run(&mut self, which: Which) -> oneshot::Receiver<String> {
        let (tell, ended) = oneshot::channel();
        if !self.running.contains_key(&which) {
            self.say(Happening::Started(which.clone()));
        }
        self.running.entry(which).or_default().push(tell);
        ended
    }
}

impl Clock for Machine {
    fn now(&self) -> Timestamp {
        now()
    }

    fn wall(&self) -> WallTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallTime(u64::try_from(since.as_millis()).unwrap_or(0))
    }

    fn boot_id(&self) -> BootId {
        BootId::new(format!("{}-{}", self.name, self.inner().boots))
    }
}

#[async_trait]
impl Guard for Machine {
    fn renew(&self, end: Timestamp) {
        let mut inner = self.inner();
        if !inner.off {
            inner.lease = Some(end);
        }
    }

    fn lease_end(&self) -> Option<Timestamp> {
        self.inner().lease.filter(|end| now() < *end)
    }

    fn watchdog(&self) -> Option<Duration> {
        self.inner().watchdog
    }

    async fn end_lease(&self) -> Result<(), String> {
        let mut inner = self.inner();
        inner.lease = None;
        inner.stop_all();
        Ok(())
    }

    fn stand_down(&self, why: &str) {
        let mut inner = self.inner();
        if inner.lease.is_some() {
            inner.stand_down(why);
        }
    }

    fn reset(&self, why: &str) {
        let mut inner = self.inner();
        inner.say(Happening::Reset(why.into()));
        inner.boots += 1;
        inner.lease = None;
        inner.stop_all();
    }

    fn leave(&self, _: AfterStop) {
        self.inner().say(Happening::Left);
    }
}

#[async_trait]
impl ResourceAgent for Machine {
    async fn start(&self, order: &ResourceOrder) -> Result<Option<oneshot::Receiver<String>>, AgentError> {
        if let ResourceSpec::MirrorDisk(_) = order.kind {
            let volume = VolumeName::from(order.resource.as_str());
            let promoted = self.mirrors().await.promote(&volume, order.epoch).await;
            let promoted = promoted.map_err(|error| AgentError::Failed(error.to_string()))?;
            let which = (order.group.clone(), order.resource.clone());
            let mut inner = self.inner();
            inner.mirrored.insert(which.clone());
            let _watched_by_the_volume = inner.run(which);
            return Ok(Some(promoted.ended));
        }
        let mut inner = self.inner();
        if inner.off {
            return Err(AgentError::Failed("this machine has no power".into()));
        }
        if inner.fail_starts > 0 {
            inner.fail_starts -= 1;
            return Err(AgentError::Failed("exit code 1".into()));
        }
        // The real guard would kill it at once: a start without a lease is a bug of the actors.
        assert!(inner.lease.is_some_and(|end| now() < end), "{} started without a lease", order.resource);
        Ok(Some(inner.run((order.group.clone(), order.resource.clone()))))
    }

    async fn stop(&self, order: &ResourceOrder) -> Result<(), AgentError> {
        if let ResourceSpec::MirrorDisk(_) = order.kind {
            let volume = VolumeName::from(order.resource.as_str());
            let demoted = self.mirrors().await.demote(&volume).await;
            demoted.map_err(|error| AgentError::Failed(error.to_string()))?;
        }
        self.clean(&order.group, &order.resource).await
    }

    async fn probe(&self, order: &ResourceOrder) -> Result<Probe, AgentError> {
        let which = (order.group.clone(), order.resource.clone());
        let mut inner = self.inner();
        if !inner.running.contains_key(&which) {
            return Ok(Probe::Stopped);
        }
        Ok(Probe::Running(Some(inner.run(which))))
    }

    async fn running(&self) -> Result<BTreeSet<Which>, AgentError> {
        Ok(self.inner().running.keys().cloned().collect())
    }

    async fn clean(&self, group: &GroupName, resource: &ResourceName) -> Result<(), AgentError> {
        let which = (group.clone(), resource.clone());
        let mut inner = self.inner();
        if inner.running.remove(&which).is_some() {
            inner.say(Happening::Stopped(which));
        }
        Ok(())
    }
}

/// No resource ever ran on two machines at once.
///
/// # Panics
/// When one did.
pub fn assert_never_two<'a>(machines: impl Iterator<Item = &'a Arc<Machine>>) {
    let mut moments: Vec<(Duration, ServerName, Happening)> = Vec::new();
    for machine in machines {
        moments.extend(machine.log().into_iter().map(|(at, what)| (at, machine.name.clone(), what)));
    }
    moments.sort_by_key(|(at, ..)| *at);
    let mut runs: BTreeMap<Which, ServerName> = BTreeMap::new();
    for (at, server, what) in &moments {
        match what {
            Happening::Started(which) => {
                if let Some(other) = runs.insert(which.clone(), server.clone()) {
                    inexcusable(&format!(
                        "{which:?} was started on {server} at {at:?} while it ran on {other}: {moments:#?}"
                    ));
                }
            }
            Happening::Stopped(which) => {
                runs.remove(which);
            }
            _ => {}
        }
    }
}
