//! Heartbeat paths beside the networks: serial lines and shared disks. They carry evidence only
//! (R21), in the same sealed datagrams as the networks do, so nobody without the cluster's key, and
//! no other lineage, is heard on them.
//!
//! What all of them share is here: sealing, what has been read before, the way to the actors.

mod disk;
mod frames;
mod serial;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use bytes::Bytes;
use tasuki_actors::ports::Datagram;
use tasuki_core::{
    config::HeartbeatPath,
    ids::{Incarnation, NetworkName, ServerName},
};
use tokio::{sync::mpsc, time::Instant};

pub(super) use self::{disk::DiskLink, serial::SerialLink};
use super::{
    Cuts,
    datagram::{ReplayWindow, Seal, Unread},
    link_socket::{Counters, LinkCounts, add},
};

/// How often the same trouble on one path is worth a line in the log.
const COMPLAIN: Duration = Duration::from_secs(60);

/// What the paths beside the networks share.
pub(super) struct Aside {
    server: ServerName,
    incarnation: Incarnation,
    seal: Seal,
    cuts: Arc<Cuts>,
    queue: mpsc::Sender<Datagram>,
    pub(super) counters: Counters,
    /// The other servers, and everybody's number in the configuration.
    numbers: RwLock<BTreeMap<ServerName, u32>>,
    peers: Mutex<BTreeMap<(ServerName, NetworkName), Peer>>,
    complained: Mutex<Option<Instant>>,
}

/// What is remembered of one peer on one path. Kept when the path is taken out: what is sent after
/// it was put in again must not look old.
#[derive(Default)]
struct Peer {
    sent: u64,
    window: ReplayWindow,
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Handed to the actors.
    Fresh,
    /// Read before: normal on a disk, where blocks stay.
    Repeated,
    /// Not for this server, or not of its cluster.
    Refused,
}

impl Aside {
    pub(super) fn new(
        server: ServerName,
        incarnation: Incarnation,
        seal: Seal,
        cuts: Arc<Cuts>,
        queue: mpsc::Sender<Datagram>,
    ) -> Self {
        Self {
            server,
            incarnation,
            seal,
            cuts,
            queue,
            counters: Counters::default(),
            numbers: RwLock::default(),
            peers: Mutex::default(),
            complained: Mutex::default(),
        }
    }

    pub(super) fn counts(&self) -> LinkCounts {
        self.counters.read()
    }

    /// Everybody's number, this server's included.
    pub(super) fn set_numbers(&self, numbers: BTreeMap<ServerName, u32>) {
        *self.numbers.write().unwrap_or_else(PoisonError::into_inner) = numbers;
    }

    fn number(&self, server: &ServerName) -> Option<u32> {
        self.numbers.read().unwrap_or_else(PoisonError::into_inner).get(server).copied()
    }

    fn own_number(&self) -> Option<u32> {
        self.number(&self.server)
    }

    fn highest_number(&self) -> u32 {
        let numbers = self.numbers.read().unwrap_or_else(PoisonError::into_inner);
        numbers.values().copied().max().unwrap_or(0)
    }

    /// The datagram for one message, and the receiver's number. `None`: it is lost.
    pub(super) fn close(&self, to: &ServerName, path: &NetworkName, body: &[u8]) -> Option<(u32, Vec<u8>)> {
        let number = self.number(to)?;
        if self.cuts.is_cut(to, path) {
            return None;
        }
        let counter = {
            let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
            let peer = peers.entry((to.clone(), path.clone())).or_default();
            peer.sent += 1;
            peer.sent
        };
        let datagram = self.seal.close(&self.server, self.incarnation, counter, to, path, body)?;
        Some((number, datagram))
    }

    /// Reads what arrived, or counts why not.
    pub(super) fn take(&self, path: &NetworkName, datagram: &[u8]) -> Taken {
        let refuse = |counter| {
            add(counter);
            Taken::Refused
        };
        let opened = match self.seal.open(datagram, &self.server, path) {
            Ok(opened) => opened,
            Err(Unread::Malformed) => return refuse(&self.counters.malformed),
            Err(Unread::Forged) => return refuse(&self.counters.forged),
            Err(Unread::OtherLineage) => {
                self.complain(path);
                return refuse(&self.counters.other_lineage);
            }
        };
        if opened.from == self.server || self.number(&opened.from).is_none() {
            return refuse(&self.counters.unknown_sender);
        }
        if self.cuts.is_cut(&opened.from, path) {
            return Taken::Refused;
        }
        let fresh = {
            let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
            let peer = peers.entry((opened.from.clone(), path.clone())).or_default();
            peer.window.accept(opened.incarnation, opened.counter)
        };
        if !fresh {
            return Taken::Repeated;
        }
        let body = Bytes::copy_from_slice(opened.body);
        match self.queue.try_reserve() {
            // Counted before anybody can have it.
            Ok(place) => {
                add(&self.counters.received);
                place.send(Datagram { from: opened.from, path: path.clone(), body });
            }
            Err(_) => add(&self.counters.overflow),
        }
        Taken::Fresh
    }

    /// A second cluster, or a server that kept an old registry.
    fn complain(&self, path: &NetworkName) {
        let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        if complained.is_none_or(|at| at.elapsed() >= COMPLAIN) {
            *complained = Some(Instant::now());
            tracing::warn!(%path, "a second cluster uses this path; its heartbeats are ignored (TSK-1113)");
        }
    }
}

/// One path. Closed when dropped.
pub(super) enum AsideLink {
    Serial(SerialLink),
    Disk(DiskLink),
}

impl AsideLink {
    /// Begins to receive on a path; `None` for a network.
    pub(super) fn start(path: &HeartbeatPath, aside: &Arc<Aside>) -> Option<Self> {
        Self::start_as(path, path.name(), aside)
    }

    /// As `start`, for a path that the servers call so: the seal covers the name, which must be the
    /// same on both ends.
    pub(super) fn start_as(path: &HeartbeatPath, name: NetworkName, aside: &Arc<Aside>) -> Option<Self> {
        match path {
            HeartbeatPath::Lan { .. } => None,
            HeartbeatPath::Com { device } => {
                Some(Self::Serial(SerialLink::start(device.clone(), name, aside.clone())))
            }
            HeartbeatPath::Disk { device } => DiskLink::start(device.clone(), name.clone(), aside.clone())
                .map(Self::Disk)
                .inspect_err(|error| tracing::error!(path = %name, %error, "no thread for this path"))
                .ok(),
        }
    }

    /// Never waits. Whether it was taken.
    pub(super) fn send(&self, number: u32, datagram: Vec<u8>) -> bool {
        match self {
            Self::Serial(line) => line.send(&datagram),
            Self::Disk(disk) => {
                disk.send(number, datagram);
                true
            }
        }
    }
}
