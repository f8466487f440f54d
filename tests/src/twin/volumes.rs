//! Mirrored volumes of a cluster in memory: the port `Volumes` with blocks that are numbers. A cable, a
//! crash or a failed disk does to them what it does to the real ones; every step happens at once.

mod path;
mod resync;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tasuki_actors::ports::{
    Volumes,
    volumes::{OpenedVolume, VolumeError, VolumeEvent, VolumeOrder},
};
use tasuki_core::{
    ids::{Epoch, Lineage, ServerName, VolumeName},
    mirror::{
        DiskState, Role, geometry::Geometry, handshake::LocalCopy, history::History, state::PeerMode,
        wire::Wires,
    },
};
use tokio::sync::mpsc;

use self::path::Path;
use super::wire::Wire;

/// Blocks of a volume.
pub const BLOCKS: usize = 256;
/// The network that carries mirror data.
const NETWORK: &str = "inter";

/// Which copy.
type Which = (ServerName, VolumeName);

/// All disks of the cluster; they outlive nodes.
pub struct Disks {
    inner: Mutex<Inner>,
    wire: Arc<Wire>,
}

#[derive(Default)]
struct Inner {
    copies: BTreeMap<Which, Copy>,
    open: BTreeMap<Which, Live>,
    lives: u64,
    resynced: u64,
    /// Servers whose program speaks other versions of the frames.
    wires: BTreeMap<ServerName, Wires>,
}

/// One copy: what survives its node.
#[derive(Clone)]
struct Copy {
    blocks: Vec<u64>,
    epoch: Epoch,
    history: History,
    disk: DiskState,
    crashed: bool,
    /// What each peer lacks.
    dirty: BTreeMap<ServerName, BTreeSet<usize>>,
    /// Writes under way.
    log: BTreeSet<usize>,
}

/// A copy that is open.
struct Live {
    /// Tells two openings of the same copy apart.
    life: u64,
    lineage: Lineage,
    /// Where it answers.
    at: Vec<SocketAddr>,
    events: mpsc::UnboundedSender<VolumeEvent>,
    role: Role,
    device: bool,
    failed: bool,
    diskless: Option<ServerName>,
    modes: BTreeMap<ServerName, PeerMode>,
    /// As a primary: the peers that let it in, and their lives.
    met: BTreeMap<ServerName, Met>,
    calling: BTreeMap<ServerName, Arc<Task>>,
    resyncs: BTreeMap<ServerName, (Arc<Task>, bool)>,
}

/// A peer that let a primary in.
#[derive(Clone, Copy)]
struct Met {
    epoch: Epoch,
    /// Which opening of its copy.
    life: u64,
    /// It was said how writes treat it since.
    set: bool,
}

/// A task that ends with its owner.
struct Task(tokio::task::JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Copy {
    fn blank() -> Self {
        Self {
            blocks: vec![0; BLOCKS],
            epoch: Epoch(0),
            history: History::default(),
            disk: DiskState::Consistent,
            crashed: false,
            dirty: BTreeMap::new(),
            log: BTreeSet::new(),
        }
    }

    fn says(&self) -> LocalCopy {
        LocalCopy {
            geometry: Geometry::of(BLOCKS as u64 * 4096),
            epoch: self.epoch,
            disk: self.disk,
            history: self.history.clone(),
            crashed: self.crashed,
        }
    }

    /// The blocks that a peer may lack.
    fn differing(&self, peer: &ServerName) -> BTreeSet<usize> {
        self.dirty.get(peer).into_iter().flatten().chain(&self.log).copied().collect()
    }
}

impl Inner {
    fn speaks(&self, server: &ServerName) -> Wires {
        self.wires.get(server).copied().unwrap_or(Wires::OURS)
    }

    fn is_set(&self, which: &Which, peer: &ServerName) -> bool {
        self.open.get(which).and_then(|live| live.met.get(peer)).is_some_and(|met| met.set)
    }
}

impl Live {
    /// No stream of before stands any more, as whoever listens is told.
    fn lose(&mut self, which: impl Fn(&ServerName) -> bool, why: &str) {
        let lost: Vec<ServerName> = self.met.keys().filter(|peer| which(peer)).cloned().collect();
        for peer in lost {
            self.met.remove(&peer);
            let _gone = self.events.send(VolumeEvent::PeerLost { peer, why: why.to_owned() });
        }
        self.calling.retain(|peer, _| !which(peer));
        self.resyncs.retain(|peer, _| !which(peer));
    }
}

impl Disks {
    pub(super) fn new(wire: Arc<Wire>) -> Self {
        Self { inner: Mutex::default(), wire }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The volumes as one server's node sees them.
    #[must_use]
    pub fn of(self: &Arc<Self>, server: &ServerName) -> Arc<dyn Volumes> {
        Arc::new(OfServer { disks: self.clone(), server: server.clone() })
    }

    /// The process of a server's node is gone: nothing of its volumes is open any more.
    pub(super) fn process_dies(&self, server: &ServerName) {
        self.inner().open.retain(|(of, _), _| of != server);
    }

    /// The guard of a server has ended everything: nothing is written or answered any more.
    pub(super) fn stands_down(&self, server: &ServerName) {
        for ((of, _), live) in &mut self.inner().open {
            if of == server && live.role == Role::Primary {
                (live.failed, live.device) = (true, false);
                live.lose(|_| true, "everything here has ended");
            }
        }
    }

    /// A disk fails under its volume.
    pub fn fail_disk(&self, server: &ServerName, volume: &str) {
        let which = (server.clone(), VolumeName::from(volume));
        let mut inner = self.inner();
        if let Some(copy) = inner.copies.get_mut(&which) {
            copy.disk = DiskState::Failed;
        }
        if let Some(live) = inner.open.get(&which) {
            let _gone = live.events.send(VolumeEvent::DiskFailed { why: "the disk was pulled".into() });
        }
    }

    /// The program of a server speaks these versions of the frames from here on.
    pub fn install(&self, server: &ServerName, wires: Wires) {
        self.inner().wires.insert(server.clone(), wires);
    }

    /// A data path ends by a fault of its own: nothing under way is answered.
    pub fn end_path(&self, server: &ServerName, volume: &str) {
        let ended = self.inner().open.remove(&(server.clone(), VolumeName::from(volume)));
        if let Some(live) = ended {
            let _gone = live.events.send(VolumeEvent::Ended { why: "a fault of its own".into() });
        }
    }

    /// A disk is replaced by an empty one.
    pub fn replace_disk(&self, server: &ServerName, volume: &str) {
        self.inner().copies.remove(&(server.clone(), VolumeName::from(volume)));
    }

    /// The blocks of one copy.
    #[must_use]
    pub fn blocks(&self, server: &ServerName, volume: &str) -> Vec<u64> {
        let inner = self.inner();
        let copy = inner.copies.get(&(server.clone(), VolumeName::from(volume)));
        copy.map(|copy| copy.blocks.clone()).unwrap_or_default()
    }

    /// Where a copy that is open answers.
    #[must_use]
    pub fn at(&self, server: &ServerName, volume: &str) -> Vec<SocketAddr> {
        let inner = self.inner();
        let live = inner.open.get(&(server.clone(), VolumeName::from(volume)));
        live.map(|live| live.at.clone()).unwrap_or_default()
    }

    /// Blocks that all resyncs together have copied.
    #[must_use]
    pub fn resynced(&self) -> u64 {
        self.inner().resynced
    }

    /// Where the volume's device is, if anywhere. More than one is what must never be.
    #[must_use]
    pub fn devices(&self, volume: &str) -> Vec<ServerName> {
        let inner = self.inner();
        let up =
            inner.open.iter().filter(|((_, of), live)| of.as_str() == volume && live.device && !live.failed);
        up.map(|((server, _), _)| server.clone()).collect()
    }

    /// Writes a block through the device on `server`, and waits for the answer; `None` when there is no
    /// such device (any more), or its I/O fails.
    pub async fn write(&self, server: &ServerName, volume: &str, block: usize, value: u64) -> Option<()> {
        let which = (server.clone(), VolumeName::from(volume));
        let life = self.inner().open.get(&which).filter(|live| live.device).map(|live| live.life)?;
        loop {
            match self.try_write(&which, life, block, value) {
                Tried::Done => return Some(()),
                Tried::Failed => return None,
                Tried::Waits => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    /// Reads a block through the device on `server`.
    #[must_use]
    pub fn read(&self, server: &ServerName, volume: &str, block: usize) -> Option<u64> {
        let which = (server.clone(), VolumeName::from(volume));
        let inner = self.inner();
        let live = inner.open.get(&which).filter(|live| live.device && !live.failed)?;
        let from = live.diskless.clone().unwrap_or(which.0);
        Some(inner.copies.get(&(from, which.1))?.blocks[block])
    }

    /// One try: both legs at once, or a wait for what the machine decides (R26, R32).
    fn try_write(&self, which: &Which, life: u64, block: usize, value: u64) -> Tried {
        let mut inner = self.inner();
        let Some(live) = inner.open.get(which).filter(|live| live.life == life) else { return Tried::Failed };
        if live.failed || !live.device {
            return Tried::Failed;
        }
        let (modes, diskless) = (live.modes.clone(), live.diskless.clone());
        let own_fails = inner.copies[which].disk == DiskState::Failed;
        if own_fails && diskless.is_none() {
            return Tried::Waits;
        }
        if let Some(copy) = inner.copies.get_mut(which) {
            copy.log.insert(block); // R29: before either leg
        }
        if diskless.is_none()
            && let Some(copy) = inner.copies.get_mut(which)
        {
            copy.blocks[block] = value;
        }
        let mut waits = false;
        let mut lacks = Vec::new();
        for (peer, mode) in &modes {
            let reached =
                *mode != PeerMode::Absent && self.stands(&inner, which, peer) && inner.is_set(which, peer);
            if reached && let Some(copy) = inner.copies.get_mut(&(peer.clone(), which.1.clone())) {
                copy.blocks[block] = value;
                if diskless.is_some() {
                    // R27: who has the data records what the other lacks.
                    copy.dirty.entry(which.0.clone()).or_default().insert(block);
                }
            } else if *mode == PeerMode::Required {
                waits = true;
            } else {
                lacks.push(peer.clone());
            }
        }
        let Some(copy) = inner.copies.get_mut(which) else { return Tried::Failed };
        if waits || diskless.as_ref().is_some_and(|through| lacks.contains(through)) {
            return Tried::Waits;
        }
        for peer in lacks {
            copy.dirty.entry(peer).or_default().insert(block);
        }
        copy.log.remove(&block);
        Tried::Done
    }

    /// Whether the stream of a primary to a peer works at this moment.
    fn stands(&self, inner: &Inner, which: &Which, peer: &ServerName) -> bool {
        let Some(met) = inner.open.get(which).and_then(|live| live.met.get(peer)) else { return false };
        let there = (peer.clone(), which.1.clone());
        let same = inner.open.get(&there).is_some_and(|live| live.life == met.life);
        let copy = inner.copies.get(&there);
        // R31: the receiver knows of nothing newer.
        let current = copy.is_some_and(|copy| copy.epoch == met.epoch && copy.disk != DiskState::Failed);
        same && current && self.wire.carries(&which.0, peer, NETWORK)
    }
}

enum Tried {
    Done,
    Waits,
    Failed,
}

struct OfServer {
    disks: Arc<Disks>,
    server: ServerName,
}

#[async_trait]
impl Volumes for OfServer {
    async fn open(&self, order: VolumeOrder) -> Result<OpenedVolume, VolumeError> {
        let which = (self.server.clone(), order.volume.clone());
        let (events, receiver) = mpsc::unbounded_channel();
        let mut inner = self.disks.inner();
        if !inner.copies.contains_key(&which) {
            if !order.may_be_new {
                return Err(VolumeError::Lost(order.config.metadata));
            }
            inner.copies.insert(which.clone(), Copy::blank());
        }
        if let Some(copy) = inner.copies.get_mut(&which).filter(|_| order.start_over) {
            (copy.disk, copy.history, copy.crashed) = (DiskState::Inconsistent, History::default(), false);
        }
        let copy = inner.copies[&which].says();
        inner.lives += 1;
        let live = Live {
            life: inner.lives,
            lineage: order.lineage,
            at: order.at,
            events,
            role: Role::Secondary,
            device: false,
            failed: false,
            diskless: None,
            modes: BTreeMap::new(),
            met: BTreeMap::new(),
            calling: BTreeMap::new(),
            resyncs: BTreeMap::new(),
        };
        let life = live.life;
        assert!(inner.open.insert(which.clone(), live).is_none(), "{which:?} was opened twice");
        drop(inner);
        let path = Path { disks: self.disks.clone(), which, life };
        Ok(OpenedVolume { path: Arc::new(path), copy, events: receiver })
    }
}
