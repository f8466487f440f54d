//! Two servers with a copy each, as threads of this process.

use std::{
    collections::BTreeSet,
    fs::File,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tasuki::{
    edge::peer::{Acceptor, Arrived, Cuts, MirrorDialer, MirrorDoor, StreamSettings},
    identity::{Identity, KeyRequest, create_cluster},
};
use tasuki_core::{
    ids::{Epoch, Generation, Incarnation, Lineage, RaftId, ServerName, VolumeName},
    mirror::{geometry::Geometry, state::PeerMode},
};
use tasuki_storage::volume::{FileArea, Management, Owner};
use tasuki_volume::{
    block::{BlockError, Door, Request},
    export::{Export, Offer},
    path::{Dialer, Duplex, Options, Reception, Volume, VolumeEvent, stream},
};
use tokio::sync::{mpsc, oneshot};

use crate::{Bench, SIZE};

/// What carries the stream between the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// gRPC with mutual TLS: what a cluster has.
    Tls,
    /// A TCP connection and nothing more: what the former is compared with.
    Plain,
}

pub async fn write(door: &Door, offset: u64, data: Bytes) -> Result<(), BlockError> {
    let (answer, answered) = oneshot::channel();
    door.requests.send(Request::Write { offset, data, durable: false, answer }).await.unwrap();
    answered.await.unwrap()
}

pub async fn flush(door: &Door) -> Result<(), BlockError> {
    let (answer, answered) = oneshot::channel();
    door.requests.send(Request::Flush { answer }).await.unwrap();
    answered.await.unwrap()
}

/// A volume, alone or with a peer.
pub struct Pair {
    volume: Arc<Volume>,
    _other: Option<(Arc<Volume>, Option<MirrorDoor>)>,
    pub door: Door,
    events: Option<mpsc::UnboundedReceiver<VolumeEvent>>,
}

impl Pair {
    pub fn new(bench: &Bench, way: Option<Way>) -> Self {
        Self::with(bench, way, SIZE, &Options::default())
    }

    /// One larger than the others is sparse.
    pub fn with(bench: &Bench, way: Option<Way>, size: u64, options: &Options) -> Self {
        let kind = format!("{way:?}-{:?}", Instant::now()).replace(|it: char| !it.is_alphanumeric(), "");
        let (kiki, lala) = (ServerName::from("kiki"), ServerName::from("lala"));
        let cluster = Cluster::new(bench, &kind);
        let open = |server: &ServerName, peer: &ServerName| {
            let name = format!("{kind}-{server}.data");
            let path = if size == SIZE { bench.file(&name) } else { bench.folder.join(&name) };
            if size != SIZE {
                File::create_new(&path).unwrap().set_len(size).unwrap();
            }
            let data = FileArea::data(&path, Some(size)).unwrap();
            let management = FileArea::management(&path.with_extension("meta")).unwrap();
            let owner = Owner {
                lineage: Lineage::from("bench"),
                volume: VolumeName::from("data"),
                server: server.clone(),
            };
            let management = Management::create(Arc::new(management), &owner, Geometry::of(size)).unwrap();
            let peers = way.map(|_| peer.clone()).into_iter().collect::<BTreeSet<_>>();
            let dialer: Arc<dyn Dialer> = match way {
                Some(Way::Tls) => Arc::new(MirrorDialer::new(cluster.kiki.clone(), PATIENT, Cuts::none())),
                _ => Arc::new(stream::TcpDialer),
            };
            Volume::open(Arc::new(data), management, &peers, options.clone(), dialer).unwrap()
        };
        let (volume, mut events) = open(&kiki, &lala);
        let other = way.map(|way| {
            let other = open(&lala, &kiki).0;
            let (at, door) = match way {
                Way::Tls => listen(&cluster.lala, &other),
                Way::Plain => (listen_plainly(&other), None),
            };
            (at, (other, door))
        });
        let (at, other) = other.unzip();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            volume.store_epoch(Epoch(1)).await.unwrap();
            volume.store_step(Generation(1), &kiki).await.unwrap();
            if let Some(at) = at {
                volume.connect(&lala, &[at], Epoch(1));
                while !matches!(events.recv().await, Some(VolumeEvent::PeerMet { .. })) {}
                assert!(volume.set_peer(&lala, PeerMode::Required).await);
            }
            volume.become_primary(Epoch(1)).await.unwrap();
        });
        Self { door: volume.door(), volume, _other: other, events: Some(events) }
    }

    /// Writes this while the peer is absent; how long it then takes to bring it up to date, in seconds,
    /// once for each of these: whether all is copied.
    pub fn resync(&mut self, writes: impl Iterator<Item = (u64, Vec<u8>)>, full: &[bool]) -> Vec<f64> {
        let peer = ServerName::from("lala");
        let mut events = self.events.take().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let took = runtime.block_on(async {
            self.volume.set_peer(&peer, PeerMode::Absent).await;
            for (offset, bytes) in writes {
                write(&self.door, offset, bytes.into()).await.unwrap();
            }
            flush(&self.door).await.unwrap();
            let mut took = Vec::new();
            for full in full {
                self.volume.set_peer(&peer, PeerMode::Syncing).await;
                let began = Instant::now();
                self.volume.start_resync(&peer, *full, false);
                while !matches!(events.recv().await, Some(VolumeEvent::Synced { .. })) {}
                took.push(began.elapsed().as_secs_f64());
            }
            took
        });
        self.events = Some(events);
        took
    }

    /// Runs this on the volume's own thread, as an export does.
    pub fn run<T, F>(&self, what: impl FnOnce(Door) -> F + Send + 'static) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let (tell, told) = std::sync::mpsc::channel();
        let door = self.door.clone();
        self.volume.spawn(move || Box::pin(async move { tell.send(what(door).await).unwrap() }));
        told.recv().unwrap()
    }

    pub fn export(&self, socket: &Path) -> String {
        let (path, offer) = (socket.to_owned(), Offer::new("data", self.door.clone()));
        let (tell, told) = std::sync::mpsc::channel();
        self.volume.spawn(move || {
            Box::pin(async move {
                let export = Export::unix(&path, offer).unwrap();
                tell.send(()).unwrap();
                std::future::pending::<()>().await;
                drop(export);
            })
        });
        told.recv().unwrap();
        socket.display().to_string()
    }
}

/// Nobody is lost while it is measured.
const PATIENT: StreamSettings = StreamSettings {
    connect: Duration::from_secs(10),
    beat: Duration::from_secs(30),
    silence: Duration::from_secs(60),
};

/// Who the two servers are to one another.
struct Cluster {
    kiki: Identity,
    lala: Identity,
}

impl Cluster {
    fn new(bench: &Bench, kind: &str) -> Self {
        let (kiki_at, lala_at) = (format!("{kind}-kiki"), format!("{kind}-lala"));
        let kiki = create_cluster(&bench.folder.join(kiki_at), "bench", &"kiki".into(), &[]).unwrap();
        let request = KeyRequest::new(&bench.folder.join(lala_at), &"lala".into()).unwrap();
        let key = request.public_key();
        let welcome = kiki.issue_server(&"lala".into(), RaftId(2), &[], &key, Incarnation(0)).unwrap();
        let lala = request.store(welcome, &kiki.new_token().unwrap()).unwrap();
        Self { kiki, lala }
    }
}

/// Hands streams to the other server's copy.
struct Receptionist(Arc<Reception>);

impl Acceptor for Receptionist {
    fn has(&self, _: &VolumeName) -> bool {
        true
    }

    fn accept(&self, stream: Arrived) {
        let reception = self.0.clone();
        tokio::task::spawn_local(async move {
            let duplex = Duplex { sink: Box::new(stream.sink), source: Box::new(stream.source) };
            reception.accept(duplex, Some(stream.from)).await
        });
    }
}

fn reception(volume: &Arc<Volume>) -> Arc<Reception> {
    let reception = Arc::new(Reception::default());
    reception.add(VolumeName::from("data"), volume);
    reception
}

/// The other server's mirror port.
fn listen(identity: &Identity, volume: &Arc<Volume>) -> (SocketAddr, Option<MirrorDoor>) {
    let taker = Arc::new(Receptionist(reception(volume)));
    let door = MirrorDoor::start(identity, PATIENT, Cuts::none(), taker).unwrap();
    let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    door.listen(&[at]).unwrap();
    (at, Some(door))
}

/// The same without gRPC and TLS, on a thread of its own.
fn listen_plainly(volume: &Arc<Volume>) -> SocketAddr {
    let reception = reception(volume);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let at = listener.local_addr().unwrap();
    let listens = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let (duplex, reception) = (stream::tcp(stream).unwrap(), reception.clone());
                tokio::spawn(async move { reception.accept(duplex, None).await });
            }
        });
    };
    thread::Builder::new().name("mirror-door".to_owned()).spawn(listens).unwrap();
    at
}
