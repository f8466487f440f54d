#![allow(clippy::unwrap_used)]

mod aside;
mod calls;
mod links;
mod mirror;
mod namespaces;
mod snapshots;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tasuki_actors::ports::{PeerAddress, PeerError, PeerMethod};
use tasuki_core::ids::{Incarnation, RaftId, ServerName};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use super::*;
use crate::identity::{Identity, KeyRequest, create_cluster};

/// Servers of one cluster, `kiki` first.
struct Cluster {
    _data: TempDir,
    servers: Vec<Identity>,
}

impl Cluster {
    fn new() -> Self {
        let data = TempDir::new().unwrap();
        let kiki = create_cluster(&data.path().join("kiki"), "demo", &"kiki".into(), &[]).unwrap();
        let mut servers = vec![kiki];
        for (name, id) in [("lala", 2), ("mimi", 3)] {
            let server = ServerName::new(name);
            let request = KeyRequest::new(&data.path().join(name), &server).unwrap();
            let welcome = servers[0]
                .issue_server(&server, RaftId(id), &[], &request.public_key(), Incarnation(0))
                .unwrap();
            let token = servers[0].new_token().unwrap();
            servers.push(request.store(welcome, &token).unwrap());
        }
        Self { _data: data, servers }
    }

    fn kiki(&self) -> &Identity {
        &self.servers[0]
    }

    fn lala(&self) -> &Identity {
        &self.servers[1]
    }
}

/// Says who called what, with how much; refuses and waits when asked to.
#[derive(Clone, Default)]
struct Echo {
    calls: Arc<AtomicUsize>,
    last: Arc<Mutex<Option<(ServerName, PeerMethod, Bytes)>>>,
}

impl Echo {
    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl PeerHandler for Echo {
    async fn serve(&self, from: &ServerName, method: PeerMethod, body: Bytes) -> Result<Bytes, PeerError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        *self.last.lock().unwrap() = Some((from.clone(), method, body.clone()));
        match &body[..] {
            b"refuse" => Err(PeerError::Refused("not today".into())),
            b"timeout" => Err(PeerError::Timeout(Duration::from_secs(1))),
            b"wait" => std::future::pending().await,
            _ => Ok(Bytes::from(format!("{from} {method:?} {}", body.len()))),
        }
    }
}

/// A server that runs until it is dropped.
struct Running {
    address: SocketAddr,
    echo: Echo,
    _stop: Vec<oneshot::Sender<()>>,
}

impl Running {
    async fn start(identity: &Identity, addresses: &[&str], cuts: Arc<Cuts>) -> Self {
        let listeners = listen(addresses).await;
        let address = listeners[0].local_addr().unwrap();
        let echo = Echo::default();
        let mut stops = Vec::new();
        for listener in listeners {
            let (stop, stopped) = oneshot::channel::<()>();
            stops.push(stop);
            let service = peer_service(echo.clone(), identity, cuts.clone());
            let mut server = Server::builder().tls_config(identity.server_tls()).unwrap();
            tokio::spawn(
                server
                    .add_service(service)
                    .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
                        drop(stopped.await)
                    }),
            );
        }
        Self { address, echo, _stop: stops }
    }
}

/// The same free port on each of these addresses.
async fn listen(addresses: &[&str]) -> Vec<TcpListener> {
    loop {
        let first = TcpListener::bind((addresses[0], 0)).await.unwrap();
        let port = first.local_addr().unwrap().port();
        let mut all = vec![first];
        for address in &addresses[1..] {
            match TcpListener::bind((*address, port)).await {
                Ok(listener) => all.push(listener),
                Err(_) => break,
            }
        }
        if all.len() == addresses.len() {
            return all;
        }
    }
}

fn peer(name: &str, addresses: &[&str], port: u16) -> PeerAddress {
    let addresses = addresses.iter().map(|a| a.parse::<IpAddr>().unwrap()).collect();
    PeerAddress { server: name.into(), addresses, port }
}

const HEDGE: Duration = Duration::from_millis(25);
const TTL: Duration = Duration::from_secs(10);

fn settings() -> PeerSettings {
    PeerSettings {
        hedge: HEDGE,
        connect: Duration::from_secs(2),
        keep_alive: Duration::from_millis(500),
        stall: Duration::from_millis(500),
        probe: Duration::from_millis(20),
    }
}

fn peers_of(identity: &Identity) -> GrpcPeers {
    GrpcPeers::new(identity.clone(), settings(), Cuts::none())
}
