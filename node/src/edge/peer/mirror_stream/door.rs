//! The side that is called: the mirror port of a server.
//!
//! Every connection has a thread and a runtime of its own, and every stream a connection. What a primary
//! sends is worked on there: a copy's disk that hangs in a write holds the threads of that volume, and
//! no other copy waits for it.

use std::{
    collections::BTreeSet,
    io,
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use tasuki_core::ids::{Lineage, ServerName, VolumeName};
use tasuki_proto::v1::{
    MirrorFrame,
    mirror_server::{Mirror, MirrorServer},
};
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::LocalSet,
    time::timeout,
};
use tokio_stream::{StreamExt, once, pending, wrappers::ReceiverStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, ServerTlsConfig},
};

use super::{
    FRAME_LIMIT, FrameSink, FrameSource, HTTP2_FRAME, QUEUE, StreamSettings, WINDOW, Way,
    cut_watch::CutWatch, socket::Socket,
};
use crate::{
    edge::{
        grpc::{ServeError, bind_tcp},
        peer::Cuts,
    },
    identity::{Caller, Identity, IdentityError, caller_of},
};

/// Connections at a time: two a volume, for more volumes than a server has, and those that are ending.
const CONNECTIONS: usize = 256;
/// How long the port rests when the system has no place for another connection.
const REST: Duration = Duration::from_millis(100);

/// A stream that a peer has opened. Its certificate and its lineage have been checked.
pub struct Arrived {
    /// Who calls.
    pub from: ServerName,
    /// For which volume.
    pub volume: VolumeName,
    /// To it.
    pub sink: FrameSink,
    /// From it.
    pub source: FrameSource,
}

/// Whoever takes streams.
pub trait Acceptor: Send + Sync + 'static {
    /// Whether there is such a volume here: streams for others are refused.
    fn has(&self, volume: &VolumeName) -> bool;
    /// Takes a stream. Called on the connection's own thread, inside its runtime and local set. The
    /// thread ends when every local task has that began here, also when the connection is gone sooner.
    fn accept(&self, stream: Arrived);
}

/// Answers primaries: listens on the mirror port. Dropped, it listens no more, and its connections end.
pub struct MirrorDoor {
    open: mpsc::UnboundedSender<TcpListener>,
    listening: Mutex<BTreeSet<SocketAddr>>,
    runtime: tokio::runtime::Handle,
    _closing: watch::Sender<()>,
}

impl MirrorDoor {
    /// Starts the thread; nothing is listened at yet.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be made.
    pub fn start(
        identity: &Identity,
        settings: StreamSettings,
        cuts: Arc<Cuts>,
        acceptor: Arc<dyn Acceptor>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (open, mut listeners) = mpsc::unbounded_channel::<TcpListener>();
        let (closing, open_still) = watch::channel(());
        let house = Arc::new(House {
            lineage: identity.lineage().clone(),
            cuts,
            settings,
            acceptor,
            tls: identity.server_tls().timeout(settings.connect),
            places: Arc::new(Semaphore::new(CONNECTIONS)),
            open_still,
        });
        thread::Builder::new().name("mirror-door".into()).spawn(move || {
            runtime.block_on(async move {
                while let Some(listener) = listeners.recv().await {
                    tokio::spawn(house.clone().listen(listener));
                }
            });
        })?;
        Ok(Self { open, listening: Mutex::default(), runtime: handle, _closing: closing })
    }

    /// Listens at these places too.
    ///
    /// # Errors
    /// When another program listens there, or the system refuses.
    pub fn listen(&self, places: &[SocketAddr]) -> Result<(), ServeError> {
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        for place in places.iter().filter(|place| !listening.contains(place)).copied().collect::<Vec<_>>() {
            let _on_its_runtime = self.runtime.enter();
            for listener in bind_tcp(&[place])? {
                let _ended = self.open.send(listener);
            }
            listening.insert(place);
        }
        Ok(())
    }
}

/// What all connections share.
struct House {
    lineage: Lineage,
    cuts: Arc<Cuts>,
    settings: StreamSettings,
    acceptor: Arc<dyn Acceptor>,
    tls: ServerTlsConfig,
    places: Arc<Semaphore>,
    /// Ends with the door.
    open_still: watch::Receiver<()>,
}

impl House {
    async fn listen(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok(place) = self.places.clone().acquire_owned().await else { return };
            let begun = match listener.accept().await {
                Ok((stream, _)) => self.begin(stream, place),
                Err(error) => Err(error),
            };
            if let Err(error) = begun {
                // One that was given up before it was accepted, or no more files or threads.
                tracing::warn!("a connection to the mirror port: {error}");
                tokio::time::sleep(REST).await;
            }
        }
    }

    /// Gives a connection its thread.
    fn begin(self: &Arc<Self>, stream: tokio::net::TcpStream, place: OwnedSemaphorePermit) -> io::Result<()> {
        let stream = stream.into_std()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let house = self.clone();
        thread::Builder::new().name("mirror-in".into()).spawn(move || {
            let local = LocalSet::new();
            let mut open_still = house.open_still.clone();
            let served = async {
                let over = local.run_until(house.serve(stream)).await;
                // What a primary has sent is finished in order, also when the connection is gone (R31).
                local.await;
                over
            };
            let over = runtime.block_on(async {
                tokio::select! {
                    over = served => over,
                    _the_node_ends = open_still.changed() => Ok(()),
                }
            });
            if let Err(error) = over {
                tracing::warn!("a connection to the mirror port: {error}");
            }
            drop(place);
        })?;
        Ok(())
    }

    /// Serves one connection until it is over.
    async fn serve(self: &Arc<Self>, stream: TcpStream) -> Result<(), ServeError> {
        let (arrivals, mut arrived) = mpsc::unbounded_channel();
        let service = Service { house: self.clone(), arrivals };
        let mirror = MirrorServer::new(service)
            .max_decoding_message_size(FRAME_LIMIT)
            .max_encoding_message_size(FRAME_LIMIT);
        let stream = tokio::net::TcpStream::from_std(stream).and_then(Socket::new);
        let serving = Server::builder()
            .http2_keepalive_interval(Some(self.settings.beat))
            .http2_keepalive_timeout(Some(self.settings.silence))
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_frame_size(HTTP2_FRAME)
            .tls_config(self.tls.clone())?
            .add_service(mirror)
            .serve_with_incoming(once(stream).chain(pending()));
        // Whoever calls has his stream by then, or has given up.
        let patience = self.settings.connect * 3;
        // What serves ends here: it takes no other connection. This one is served on, and is over when
        // nothing can arrive any more.
        let mut next = tokio::select! {
            failed = serving => return Ok(failed?),
            first = timeout(patience, arrived.recv()) => first.unwrap_or_default(),
        };
        while let Some(stream) = next {
            self.acceptor.accept(stream);
            next = arrived.recv().await;
        }
        Ok(())
    }
}

/// The gRPC service of one connection.
struct Service {
    house: Arc<House>,
    /// To whoever hands streams to the acceptor, outside of what tonic holds.
    arrivals: mpsc::UnboundedSender<Arrived>,
}

#[tonic::async_trait]
impl Mirror for Service {
    type StreamStream = ReceiverStream<Result<MirrorFrame, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<MirrorFrame>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let house = &self.house;
        let from = match caller_of(request.extensions(), &house.lineage) {
            Ok(Caller::Server(server)) => server,
            Ok(Caller::Anonymous) => return Err(refuse(&IdentityError::NoCertificate)),
            Ok(other) => return Err(refuse(&IdentityError::NotAServer(other.to_string()))),
            Err(error) => return Err(refuse(&error)),
        };
        let here = request.local_addr().ok_or_else(|| Status::internal("a connection without an address"))?;
        let watch = CutWatch::new(house.cuts.clone(), from.clone(), here, house.settings);
        if watch.is_cut() {
            std::future::pending::<()>().await;
        }
        let mut frames = request.into_inner();
        let first = frames.message().await?.ok_or_else(|| Status::invalid_argument("an empty stream"))?;
        if first.lineage != house.lineage.as_str() {
            return Err(Status::failed_precondition(format!(
                "this registry is lineage {}, the stream is of lineage {} (TSK-1111)",
                house.lineage, first.lineage
            )));
        }
        let volume = VolumeName::new(first.volume);
        if !house.acceptor.has(&volume) {
            return Err(Status::not_found(format!("the copy of {volume} is not open there")));
        }
        let (queue, back) = mpsc::channel(QUEUE);
        let sink = FrameSink { way: Way::Back(queue), watch: watch.clone() };
        let arrived = Arrived { from, volume, sink, source: FrameSource { frames, watch } };
        self.arrivals.send(arrived).map_err(|_| Status::unavailable("the node ends"))?;
        Ok(Response::new(ReceiverStream::new(back)))
    }
}

fn refuse(error: &IdentityError) -> Status {
    Status::permission_denied(format!("{error} ({})", error.code()))
}
