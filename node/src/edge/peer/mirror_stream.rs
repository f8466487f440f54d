//! The stream between two copies of a volume: frames both ways over gRPC with mutual TLS, on the mirror
//! port. What the frames say is the data path's matter.
//!
//! The door of a server has a thread and a runtime of its own: what a primary sends is worked on there
//! and waits for no other part of the node. A dialer runs on the runtime of whoever calls it, which is
//! the volume's own.

use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tasuki_core::{
    ids::{Lineage, ServerName, VolumeName},
    timing::Timing,
};
use tasuki_proto::v1::{
    MirrorFrame,
    mirror_client::MirrorClient,
    mirror_server::{Mirror, MirrorServer},
};
use tokio::{
    sync::mpsc,
    task::LocalSet,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Endpoint, Server, ServerTlsConfig, server::TcpIncoming},
};

use super::{Cuts, path::words};
use crate::{
    edge::grpc::{ServeError, bind_tcp},
    identity::{Caller, Identity, IdentityError, caller_of},
};

/// The largest frame with its wrapping, in bytes: the data path's are at most 1 MiB.
const FRAME_LIMIT: usize = 4 << 20;
/// What may be under way on one stream and on one connection before the other side has read it, in
/// bytes: more than a fast link holds.
const WINDOW: u32 = 32 << 20;
/// Frames that wait for the connection; beyond, the sender waits.
const QUEUE: usize = 32;
/// How often a stream looks whether its cable is cut on purpose.
const LOOK: Duration = Duration::from_millis(20);

/// How patient streams are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// For a connection, and again for its TLS handshake.
    pub connect: Duration,
    /// Between two signs of life.
    pub beat: Duration,
    /// How long the answer to one may take; after both together a cut cable is noticed.
    pub silence: Duration,
}

impl StreamSettings {
    /// What fits to the cluster's times: a cut cable is noticed as fast as a lost server.
    #[must_use]
    pub fn from_timing(timing: &Timing) -> Self {
        Self {
            connect: timing.path_lost.max(Duration::from_millis(500)),
            beat: (timing.detect / 4).max(Duration::from_millis(100)),
            silence: (timing.detect * 3 / 4).max(Duration::from_millis(500)),
        }
    }
}

/// The sending half of a stream.
pub struct FrameSink {
    way: Way,
    watch: Arc<CutWatch>,
}

enum Way {
    /// From the caller.
    There(mpsc::Sender<MirrorFrame>),
    /// From the one that was called.
    Back(mpsc::Sender<Result<MirrorFrame, Status>>),
}

impl FrameSink {
    /// Hands a frame to the connection; waits while too many are under way.
    ///
    /// # Errors
    /// When the stream has ended.
    pub async fn send(&self, header: Bytes, data: Bytes) -> io::Result<()> {
        if self.watch.is_cut() {
            // A cut cable swallows what is sent; the receiving half ends the stream when it notices.
            return Ok(());
        }
        let frame = MirrorFrame { header, data, ..MirrorFrame::default() };
        let sent = match &self.way {
            Way::There(queue) => queue.send(frame).await.is_ok(),
            Way::Back(queue) => queue.send(Ok(frame)).await.is_ok(),
        };
        sent.then_some(()).ok_or_else(ended)
    }
}

/// The receiving half of a stream.
pub struct FrameSource {
    frames: Streaming<MirrorFrame>,
    watch: Arc<CutWatch>,
}

impl FrameSource {
    /// The next frame: header and data. `None` when the other side has ended the stream in order.
    /// May be given up and called again.
    ///
    /// # Errors
    /// When the connection broke, or was silent for too long.
    pub async fn next(&mut self) -> io::Result<Option<(Bytes, Bytes)>> {
        let frame = tokio::select! { biased;
            () = self.watch.noticed() => return Err(io::Error::new(io::ErrorKind::TimedOut, "no sign of life")),
            frame = self.frames.message() => frame,
        };
        match frame {
            // Sent before the cable was cut and not read before: it is lost in the cable.
            Ok(Some(_)) if self.watch.is_cut() => {
                self.watch.noticed().await;
                Err(io::Error::new(io::ErrorKind::TimedOut, "no sign of life"))
            }
            Ok(Some(frame)) => Ok(Some((frame.header, frame.data))),
            Ok(None) => Ok(None),
            Err(status) => Err(io::Error::new(io::ErrorKind::BrokenPipe, said(&status))),
        }
    }
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the stream has ended")
}

fn said(status: &Status) -> String {
    if std::error::Error::source(status).is_some() { words(status) } else { status.message().to_owned() }
}

/// Whether a stream's cable is cut on purpose. Once it was, the stream never works again: what it lost
/// is not sent twice.
struct CutWatch {
    cuts: Arc<Cuts>,
    peer: ServerName,
    here_or_there: SocketAddr,
    silence: Duration,
    since: Mutex<Option<Instant>>,
}

impl CutWatch {
    fn new(cuts: Arc<Cuts>, peer: ServerName, at: SocketAddr, settings: StreamSettings) -> Arc<Self> {
        let silence = settings.beat + settings.silence;
        Arc::new(Self { cuts, peer, here_or_there: at, silence, since: Mutex::default() })
    }

    fn is_cut(&self) -> bool {
        if !self.cuts.may_cut() {
            return false;
        }
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.is_none() && self.cuts.is_cut_at(&self.peer, self.here_or_there.ip()) {
            *since = Some(Instant::now());
        }
        since.is_some()
    }

    /// Resolves when a cut has lasted as long as a real one takes to be noticed.
    async fn noticed(&self) {
        if !self.cuts.may_cut() {
            return std::future::pending().await;
        }
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            self.is_cut();
            let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
            if since.is_some_and(|at| at.elapsed() >= self.silence) {
                return;
            }
        }
    }
}

/// Calls the servers that keep copies.
#[derive(Clone)]
pub struct MirrorDialer {
    identity: Identity,
    cuts: Arc<Cuts>,
    settings: Arc<Mutex<StreamSettings>>,
}

impl MirrorDialer {
    /// Calls nobody yet.
    #[must_use]
    pub fn new(identity: Identity, settings: StreamSettings, cuts: Arc<Cuts>) -> Self {
        Self { identity, cuts, settings: Arc::new(Mutex::new(settings)) }
    }

    /// After a change of the cluster's times; for streams that begin from now on.
    pub fn set_times(&self, settings: StreamSettings) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    fn settings(&self) -> StreamSettings {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new stream to the copy of `volume` on `peer`, on a connection of its own, at the first of these
    /// places that answers. The connection belongs to the runtime that this is called on.
    ///
    /// # Errors
    /// When nobody answers there, or who answers refuses.
    pub async fn dial(
        &self,
        peer: &ServerName,
        at: &[SocketAddr],
        volume: &VolumeName,
    ) -> io::Result<(FrameSink, FrameSource)> {
        let mut last = io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            format!("{peer} has no address on the mirror network"),
        );
        for place in at {
            match self.dial_at(peer, *place, volume).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn dial_at(
        &self,
        peer: &ServerName,
        at: SocketAddr,
        volume: &VolumeName,
    ) -> io::Result<(FrameSink, FrameSource)> {
        let settings = self.settings();
        let watch = CutWatch::new(self.cuts.clone(), peer.clone(), at, settings);
        let dialled = async {
            if watch.is_cut() {
                std::future::pending::<()>().await;
            }
            let other = |error: tonic::transport::Error| io::Error::other(format!("{at}: {}", words(&error)));
            let channel = Endpoint::from_shared(format!("https://{at}"))
                .map_err(other)?
                .tcp_nodelay(true)
                .connect_timeout(settings.connect)
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(WINDOW)
                .http2_keep_alive_interval(settings.beat)
                .keep_alive_timeout(settings.silence)
                .keep_alive_while_idle(true)
                .tls_config(self.identity.client_tls(peer).timeout(settings.connect))
                .map_err(other)?
                .connect()
                .await
                .map_err(other)?;
            let mut client = MirrorClient::new(channel)
                .max_decoding_message_size(FRAME_LIMIT)
                .max_encoding_message_size(FRAME_LIMIT);
            let (queue, frames) = mpsc::channel(QUEUE);
            let lineage = self.identity.lineage().to_string();
            let first = MirrorFrame { lineage, volume: volume.to_string(), ..MirrorFrame::default() };
            queue.send(first).await.map_err(|_| ended())?;
            let answered = client.stream(ReceiverStream::new(frames)).await;
            let frames =
                answered.map_err(|status| io::Error::other(format!("{at}: {}", said(&status))))?.into_inner();
            Ok((
                FrameSink { way: Way::There(queue), watch: watch.clone() },
                FrameSource { frames, watch: watch.clone() },
            ))
        };
        // Connection, TLS handshake, and the answer.
        tokio::time::timeout(settings.connect * 3, dialled)
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, format!("{at} does not answer"))))
    }
}

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
    /// Takes a stream. Called on the door's own thread, inside its runtime and local set.
    fn accept(&self, stream: Arrived);
}

/// Answers primaries: listens on the mirror port. Dropped, it listens no more.
pub struct MirrorDoor {
    open: mpsc::UnboundedSender<tokio::net::TcpListener>,
    listening: Mutex<BTreeSet<SocketAddr>>,
    runtime: tokio::runtime::Handle,
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
        let (open, mut listeners) = mpsc::unbounded_channel::<tokio::net::TcpListener>();
        let (arrivals, mut arrived) = mpsc::unbounded_channel::<Arrived>();
        let service =
            Arc::new(Service { lineage: identity.lineage().clone(), cuts, settings, acceptor, arrivals });
        let tls = identity.server_tls();
        std::thread::Builder::new().name("mirror-door".into()).spawn(move || {
            let local = LocalSet::new();
            let taking = service.clone();
            local.spawn_local(async move {
                while let Some(stream) = arrived.recv().await {
                    taking.acceptor.accept(stream);
                }
            });
            local.block_on(&runtime, async move {
                while let Some(listener) = listeners.recv().await {
                    let (service, tls) = (service.clone(), tls.clone());
                    tokio::spawn(async move {
                        if let Err(error) = serve(listener, service, tls).await {
                            tracing::error!("the mirror port: {error}");
                        }
                    });
                }
            });
        })?;
        Ok(Self { open, listening: Mutex::default(), runtime: handle })
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

async fn serve(
    listener: tokio::net::TcpListener,
    service: Arc<Service>,
    tls: ServerTlsConfig,
) -> Result<(), ServeError> {
    let settings = service.settings;
    let mirror = MirrorServer::from_arc(service)
        .max_decoding_message_size(FRAME_LIMIT)
        .max_encoding_message_size(FRAME_LIMIT);
    Server::builder()
        .http2_keepalive_interval(Some(settings.beat))
        .http2_keepalive_timeout(Some(settings.silence))
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .tls_config(tls.timeout(settings.connect))?
        .add_service(mirror)
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await?;
    Ok(())
}

/// The gRPC service.
struct Service {
    lineage: Lineage,
    cuts: Arc<Cuts>,
    settings: StreamSettings,
    acceptor: Arc<dyn Acceptor>,
    /// To the task that hands streams to the acceptor, outside of what tonic holds.
    arrivals: mpsc::UnboundedSender<Arrived>,
}

#[tonic::async_trait]
impl Mirror for Service {
    type StreamStream = ReceiverStream<Result<MirrorFrame, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<MirrorFrame>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let from = match caller_of(request.extensions(), &self.lineage) {
            Ok(Caller::Server(server)) => server,
            Ok(Caller::Anonymous) => return Err(refuse(&IdentityError::NoCertificate)),
            Ok(other) => return Err(refuse(&IdentityError::NotAServer(other.to_string()))),
            Err(error) => return Err(refuse(&error)),
        };
        let here = request.local_addr().ok_or_else(|| Status::internal("a connection without an address"))?;
        let watch = CutWatch::new(self.cuts.clone(), from.clone(), here, self.settings);
        if watch.is_cut() {
            std::future::pending::<()>().await;
        }
        let mut frames = request.into_inner();
        let first = frames.message().await?.ok_or_else(|| Status::invalid_argument("an empty stream"))?;
        if first.lineage != self.lineage.as_str() {
            return Err(Status::failed_precondition(format!(
                "this registry is lineage {}, the stream is of lineage {} (TSK-1111)",
                self.lineage, first.lineage
            )));
        }
        let volume = VolumeName::new(first.volume);
        if !self.acceptor.has(&volume) {
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
