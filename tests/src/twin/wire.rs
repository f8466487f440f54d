//! The network in memory: calls and datagrams that arrive at once, or not at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tasuki_actors::{
    NodeHandle,
    ports::{Datagram, LinkSocket, PeerAddress, PeerError, PeerMethod, PeerTransport},
};
use tasuki_core::ids::{NetworkName, ServerName};
use tokio::sync::mpsc;

/// All cables.
#[derive(Default)]
pub struct Wire(Mutex<Plugs>);

#[derive(Default)]
struct Plugs {
    nodes: BTreeMap<ServerName, NodeHandle>,
    sockets: BTreeMap<ServerName, mpsc::Sender<Datagram>>,
    isolated: BTreeSet<ServerName>,
    cut: BTreeSet<NetworkName>,
}

impl Wire {
    fn plugs(&self) -> MutexGuard<'_, Plugs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn plug(&self, server: &ServerName, node: NodeHandle) {
        self.plugs().nodes.insert(server.clone(), node);
    }

    pub fn unplug(&self, server: &ServerName) -> Option<NodeHandle> {
        let mut plugs = self.plugs();
        plugs.sockets.remove(server);
        plugs.nodes.remove(server)
    }

    pub fn isolate(&self, servers: &[ServerName]) {
        self.plugs().isolated.extend(servers.iter().cloned());
    }

    pub fn cut_network(&self, network: &str) {
        self.plugs().cut.insert(network.into());
    }

    /// Whether bytes get from one server to another over a network.
    pub fn carries(&self, from: &ServerName, to: &ServerName, network: &str) -> bool {
        let plugs = self.plugs();
        plugs.reaches(from, to) && !plugs.cut.contains(&network.into())
    }

    pub fn heal(&self) {
        let mut plugs = self.plugs();
        plugs.isolated.clear();
        plugs.cut.clear();
    }

    pub fn transport(self: &Arc<Self>, me: &ServerName) -> Arc<dyn PeerTransport> {
        Arc::new(Transport { wire: self.clone(), me: me.clone() })
    }

    pub fn socket(self: &Arc<Self>, me: &ServerName) -> Arc<dyn LinkSocket> {
        let (send, receive) = mpsc::channel(4096);
        self.plugs().sockets.insert(me.clone(), send);
        Arc::new(Socket { wire: self.clone(), me: me.clone(), incoming: Mutex::new(Some(receive)) })
    }
}

impl Plugs {
    fn reaches(&self, from: &ServerName, to: &ServerName) -> bool {
        // Isolated servers hear one another, and nobody else.
        self.isolated.contains(from) == self.isolated.contains(to)
    }
}

struct Transport {
    wire: Arc<Wire>,
    me: ServerName,
}

#[async_trait]
impl PeerTransport for Transport {
    async fn call(
        &self,
        to: &PeerAddress,
        method: PeerMethod,
        body: bytes::Bytes,
        ttl: Duration,
    ) -> Result<bytes::Bytes, PeerError> {
        let reached = || {
            let plugs = self.wire.plugs();
            let networks = 2 - plugs.cut.len();
            let open = plugs.reaches(&self.me, &to.server) && networks > 0;
            open.then(|| plugs.nodes.get(&to.server).cloned())
        };
        let answered = async {
            match reached() {
                // A dead process refuses at once, a cut cable never answers.
                Some(None) => Err(PeerError::Unreachable("nobody is there".into())),
                Some(Some(node)) => {
                    let answer = node.serve_peer(&self.me, method, body).await;
                    if reached().is_some() { answer } else { std::future::pending().await }
                }
                None => std::future::pending().await,
            }
        };
        tokio::time::timeout(ttl, answered).await.unwrap_or(Err(PeerError::Timeout(ttl)))
    }
}

struct Socket {
    wire: Arc<Wire>,
    me: ServerName,
    incoming: Mutex<Option<mpsc::Receiver<Datagram>>>,
}

impl LinkSocket for Socket {
    fn send(&self, to: &ServerName, path: &NetworkName, body: &[u8]) {
        let plugs = self.wire.plugs();
        if plugs.cut.contains(path) || !plugs.reaches(&self.me, to) {
            return;
        }
        if let Some(socket) = plugs.sockets.get(to) {
            let body = bytes::Bytes::copy_from_slice(body);
            // A full queue loses the datagram, as a network does.
            let _ = socket.try_send(Datagram { from: self.me.clone(), path: path.clone(), body });
        }
    }

    fn set_peers(&self, _: BTreeMap<ServerName, BTreeMap<NetworkName, IpAddr>>) {}

    fn incoming(&self) -> Option<mpsc::Receiver<Datagram>> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
