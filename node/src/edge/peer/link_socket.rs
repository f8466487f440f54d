//! The port `LinkSocket` over UDP: one socket on each network, bound to this server's address
//! there and to the heartbeat port.
//!
//! A network that is missing, cut or full is normal: sending loses the datagram and counts it,
//! binding is tried again until it works, receiving goes on when the network is back.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr, UdpSocket as PlainSocket},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU16, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tasuki_actors::ports::{Datagram, LinkSocket};
use tasuki_core::ids::{Incarnation, NetworkName, ServerName};
use tokio::{net::UdpSocket, sync::mpsc, task::AbortHandle, time::Instant};

use super::{
    Cuts,
    datagram::{ReplayWindow, Seal, Unread},
};
use crate::identity::Identity;

/// Datagrams that wait for the actors. More would be old news: what comes then is dropped.
const QUEUE: usize = 1024;
/// How long to wait before binding is tried again.
const BIND_AGAIN: Duration = Duration::from_millis(250);
/// How long to wait after receiving failed, so that a lasting error does not spin.
const RECEIVE_AGAIN: Duration = Duration::from_millis(50);
/// How often a second cluster on the network is worth a line in the log.
const COMPLAIN: Duration = Duration::from_secs(60);
/// DSCP CS6, network control: switches that look at it let heartbeats pass first.
const TRAFFIC_CLASS: u32 = 0xc0;

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What has become of datagrams since the node started.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct LinkCounts { $($(#[$doc])* pub $name: u64,)* }

        #[derive(Default)]
        pub(super) struct Counters { $(pub(super) $name: AtomicU64,)* }

        impl Counters {
            pub(super) fn read(&self) -> LinkCounts {
                LinkCounts { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counts! {
    /// Given to the network.
    sent,
    /// Not sent: no such path, socket not bound, network down, disk not to be used, queue full.
    not_sent,
    /// Handed to the actors.
    received,
    /// Not in our form, or cut short.
    malformed,
    /// Of a second cluster on the same network (R24).
    other_lineage,
    /// With a wrong seal.
    forged,
    /// Read before, or older than this sender's present incarnation.
    replayed,
    /// From an address that is not the sender's on that network.
    wrong_source,
    /// From a server that is not a peer.
    unknown_sender,
    /// Dropped because the actors were behind.
    overflow,
}

pub(super) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The heartbeat sockets of this server. Closed when dropped.
pub struct UdpLinks {
    shared: Arc<Shared>,
    incoming: Mutex<Option<mpsc::Receiver<Datagram>>>,
    tasks: Mutex<BTreeMap<NetworkName, (IpAddr, AbortHandle)>>,
}

struct Shared {
    server: ServerName,
    incarnation: Incarnation,
    port: AtomicU16,
    /// Ports of those that have one of their own: witnesses.
    ports: RwLock<BTreeMap<ServerName, u16>>,
    seal: Seal,
    cuts: Arc<Cuts>,
    counters: Counters,
    born: Instant,
    complained: Mutex<Option<Instant>>,
    sockets: RwLock<BTreeMap<NetworkName, Arc<PlainSocket>>>,
    peers: RwLock<BTreeMap<ServerName, BTreeMap<NetworkName, Arc<PeerPath>>>>,
    queue: mpsc::Sender<Datagram>,
}

/// What is remembered of one peer on one path.
struct PeerPath {
    address: IpAddr,
    /// The number of the next datagram to it.
    next: AtomicU64,
    window: Mutex<ReplayWindow>,
}

impl fmt::Debug for UdpLinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpLinks").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl UdpLinks {
    /// Starts to bind and to receive on this server's address on each network. `port` is the same
    /// on all servers. Needs a running tokio runtime.
    #[must_use]
    pub fn new(
        identity: &Identity,
        incarnation: Incarnation,
        own: BTreeMap<NetworkName, IpAddr>,
        port: u16,
        cuts: Arc<Cuts>,
    ) -> Self {
        Self::with_ports(identity, incarnation, own, port, BTreeMap::new(), cuts)
    }

    /// The same, with members that use another port: one machine may be a witness of several
    /// clusters.
    #[must_use]
    pub fn with_ports(
        identity: &Identity,
        incarnation: Incarnation,
        own: BTreeMap<NetworkName, IpAddr>,
        port: u16,
        ports: BTreeMap<ServerName, u16>,
        cuts: Arc<Cuts>,
    ) -> Self {
        let (queue, incoming) = mpsc::channel(QUEUE);
        let shared = Shared {
            server: identity.server().clone(),
            incarnation,
            port: AtomicU16::new(port),
            ports: RwLock::new(ports),
            seal: Seal::new(identity.link_key(), identity.lineage()),
            cuts,
            counters: Counters::default(),
            born: Instant::now(),
            complained: Mutex::default(),
            sockets: RwLock::default(),
            peers: RwLock::default(),
            queue,
        };
        let links =
            Self { shared: Arc::new(shared), incoming: Mutex::new(Some(incoming)), tasks: Mutex::default() };
        links.set_own(own);
        links
    }

    /// This server's addresses, after a configuration change. Sockets that stay are left alone.
    pub fn set_own(&self, own: BTreeMap<NetworkName, IpAddr>) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|network, (address, task)| {
            let stays = own.get(network) == Some(address);
            if !stays {
                task.abort();
                self.shared.forget_socket(network);
            }
            stays
        });
        for (network, address) in own {
            tasks.entry(network.clone()).or_insert_with(|| {
                let task = tokio::spawn(self.shared.clone().run(network, address));
                (address, task.abort_handle())
            });
        }
        drop(tasks);
        self.tell_cuts();
    }

    /// Another heartbeat port: every socket is bound anew, once `set_own` says where.
    pub fn set_port(&self, port: u16) {
        if self.shared.port.swap(port, Ordering::Relaxed) == port {
            return;
        }
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        for (network, (_, task)) in std::mem::take(&mut *tasks) {
            task.abort();
            self.shared.forget_socket(&network);
        }
    }

    /// The ports of those that have one of their own, after a configuration change.
    pub fn set_ports(&self, ports: BTreeMap<ServerName, u16>) {
        *self.shared.ports.write().unwrap_or_else(PoisonError::into_inner) = ports;
    }

    /// What has become of datagrams so far.
    #[must_use]
    pub fn counts(&self) -> LinkCounts {
        self.shared.counters.read()
    }

    /// The networks whose socket is bound.
    #[must_use]
    pub fn bound(&self) -> Vec<NetworkName> {
        self.shared.sockets.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// The way to the actors, for paths beside the networks.
    pub(super) fn queue(&self) -> mpsc::Sender<Datagram> {
        self.shared.queue.clone()
    }

    fn tell_cuts(&self) {
        let own = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let peers = self.shared.peers.read().unwrap_or_else(PoisonError::into_inner);
        let own = own.iter().map(|(network, (address, _))| (*address, network.clone()));
        let theirs = peers.values().flatten().map(|(network, path)| (path.address, network.clone()));
        self.shared.cuts.set_addresses(own.chain(theirs));
    }
}

impl Drop for UdpLinks {
    fn drop(&mut self) {
        for (_, task) in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).values() {
            task.abort();
        }
    }
}

impl LinkSocket for UdpLinks {
    fn send(&self, to: &ServerName, path: &NetworkName, body: &[u8]) {
        let counters = &self.shared.counters;
        match self.shared.send(to, path, body) {
            Some(()) => add(&counters.sent),
            None => add(&counters.not_sent),
        }
    }

    fn set_peers(&self, peers: BTreeMap<ServerName, BTreeMap<NetworkName, IpAddr>>) {
        {
            let mut known = self.shared.peers.write().unwrap_or_else(PoisonError::into_inner);
            let old = std::mem::take(&mut *known);
            for (server, paths) in peers {
                let before = old.get(&server);
                let paths = paths.into_iter().map(|(network, address)| {
                    let path = match before.and_then(|b| b.get(&network)) {
                        Some(path) if path.address == address => path.clone(),
                        _ => Arc::new(PeerPath::new(address, self.shared.born.elapsed())),
                    };
                    (network, path)
                });
                known.insert(server, paths.collect());
            }
        }
        self.tell_cuts();
    }

    fn incoming(&self) -> Option<mpsc::Receiver<Datagram>> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl PeerPath {
    /// A path that was taken out and put in again must not count from the start, or the peer takes
    /// everything for old: nanoseconds since the node started are always above what was sent.
    fn new(address: IpAddr, age: Duration) -> Self {
        let next = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX / 2);
        Self { address, next: AtomicU64::new(next), window: Mutex::default() }
    }
}

impl Shared {
    fn path(&self, peer: &ServerName, network: &NetworkName) -> Option<Arc<PeerPath>> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.get(peer)?.get(network).cloned()
    }

    fn port_of(&self, server: &ServerName) -> u16 {
        let ports = self.ports.read().unwrap_or_else(PoisonError::into_inner);
        ports.get(server).copied().unwrap_or_else(|| self.port.load(Ordering::Relaxed))
    }

    fn send(&self, to: &ServerName, network: &NetworkName, body: &[u8]) -> Option<()> {
        let path = self.path(to, network)?;
        let socket = self.sockets.read().unwrap_or_else(PoisonError::into_inner).get(network)?.clone();
        if self.cuts.is_cut(to, network) {
            return None;
        }
        let counter = path.next.fetch_add(1, Ordering::Relaxed);
        let datagram = self.seal.close(&self.server, self.incarnation, counter, to, network, body)?;
        // Straight to the system, not through tokio, whose `try_send_to` sends nothing before it
        // has once seen the socket writable. Any error is a lost datagram.
        socket.send_to(&datagram, SocketAddr::new(path.address, self.port_of(to))).ok().map(|_| ())
    }

    /// Binds, then receives for ever.
    async fn run(self: Arc<Self>, network: NetworkName, address: IpAddr) {
        let at = SocketAddr::new(address, self.port_of(&self.server));
        let mut told = false;
        let socket = loop {
            match self.bind(&network, at) {
                Ok(socket) => break socket,
                Err(error) if told => tracing::debug!(%network, %at, %error, "still not bound"),
                Err(error) => {
                    told = true;
                    tracing::warn!(
                        %network, %at, %error,
                        "the heartbeat socket cannot be bound yet; trying until it can (TSK-1116)"
                    );
                }
            }
            tokio::time::sleep(BIND_AGAIN).await;
        };
        tracing::info!(%network, %at, "heartbeats on this network");
        let mut buffer = vec![0; 1 << 16];
        loop {
            match socket.recv_from(&mut buffer).await {
                Ok((length, from)) => self.take(&network, from.ip(), &buffer[..length]),
                Err(error) => {
                    tracing::debug!(%network, %error, "cannot receive heartbeats now");
                    tokio::time::sleep(RECEIVE_AGAIN).await;
                }
            }
        }
    }

    fn bind(&self, network: &NetworkName, at: SocketAddr) -> std::io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        // Good to have, not needed.
        let _ = match at {
            SocketAddr::V4(_) => socket.set_tos_v4(TRAFFIC_CLASS),
            SocketAddr::V6(_) => socket.set_only_v6(true).and_then(|()| socket.set_tclass_v6(TRAFFIC_CLASS)),
        };
        socket.bind(&at.into())?;
        let plain = PlainSocket::from(socket);
        let receiver = UdpSocket::from_std(plain.try_clone()?)?;
        let mut sockets = self.sockets.write().unwrap_or_else(PoisonError::into_inner);
        sockets.insert(network.clone(), Arc::new(plain));
        Ok(receiver)
    }

    fn forget_socket(&self, network: &NetworkName) {
        self.sockets.write().unwrap_or_else(PoisonError::into_inner).remove(network);
    }

    /// Reads what arrived, or counts why not.
    fn take(&self, network: &NetworkName, source: IpAddr, datagram: &[u8]) {
        let opened = match self.seal.open(datagram, &self.server, network) {
            Ok(opened) => opened,
            Err(Unread::Malformed) => return add(&self.counters.malformed),
            Err(Unread::Forged) => return add(&self.counters.forged),
            Err(Unread::OtherLineage) => {
                add(&self.counters.other_lineage);
                return self.complain(network, source);
            }
        };
        let Some(path) = self.path(&opened.from, network) else {
            return add(&self.counters.unknown_sender);
        };
        if path.address != source {
            return add(&self.counters.wrong_source);
        }
        if self.cuts.is_cut(&opened.from, network) {
            return;
        }
        let fresh = {
            let mut window = path.window.lock().unwrap_or_else(PoisonError::into_inner);
            window.accept(opened.incarnation, opened.counter)
        };
        if !fresh {
            return add(&self.counters.replayed);
        }
        let arrived =
            Datagram { from: opened.from, path: network.clone(), body: Bytes::copy_from_slice(opened.body) };
        match self.queue.try_reserve() {
            // Counted before anybody can have it.
            Ok(place) => {
                add(&self.counters.received);
                place.send(arrived);
            }
            Err(_) => add(&self.counters.overflow),
        }
    }

    /// A second cluster on the network, or a server that kept an old registry.
    fn complain(&self, network: &NetworkName, source: IpAddr) {
        let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        if complained.is_none_or(|at| at.elapsed() >= COMPLAIN) {
            *complained = Some(Instant::now());
            tracing::warn!(
                %network, %source,
                "a second cluster uses this network and heartbeat port; its heartbeats are ignored (TSK-1113)"
            );
        }
    }
}
