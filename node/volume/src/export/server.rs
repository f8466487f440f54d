//! Listening for NBD clients of one volume: on a unix socket that only root can use, or over TCP, where
//! nothing is told before TLS stands.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use super::{
    negotiate::{Outcome, Tls, Told, greet, negotiate},
    transmit::{closed, transmit},
};
use crate::block::Door;

/// Who has not said what it wants by then is let go.
const PATIENCE: Duration = Duration::from_secs(30);
/// More connections than these wait to be accepted.
const CONNECTIONS: usize = 128;

/// What is exported.
#[derive(Clone, Debug)]
pub struct Offer {
    name: String,
    door: Door,
    size: Arc<AtomicU64>,
}

impl Offer {
    /// This volume under its name. Clients that name none get it too.
    #[must_use]
    pub fn new(name: &str, door: Door) -> Self {
        Self { name: name.to_owned(), size: Arc::new(AtomicU64::new(door.size)), door }
    }

    /// The volume has another size: clients that come from now on see it.
    pub fn resize(&self, size: u64) {
        self.size.store(size, Ordering::Relaxed);
    }

    fn door(&self) -> Door {
        Door { size: self.size.load(Ordering::Relaxed), ..self.door.clone() }
    }
}

/// A listening export. Dropping it cuts all connections; [`Export::close`] answers first.
#[derive(Debug)]
pub struct Export {
    task: JoinHandle<()>,
    closing: watch::Sender<bool>,
    socket: Option<PathBuf>,
    address: Option<SocketAddr>,
}

impl Export {
    /// Listens at a unix socket that only root may use. What an earlier process left there is replaced.
    /// Runs on the runtime that this is called on.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn unix(path: &Path, offer: Offer) -> io::Result<Self> {
        // Made under another name: nobody can connect before the mode is set.
        let new = path.with_extension("new");
        for old in [&new, path] {
            match fs::remove_file(old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let listener = UnixListener::bind(&new)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
        fs::rename(&new, path)?;
        let (closing, told) = watch::channel(false);
        let task = tokio::spawn(accept_unix(listener, offer, told));
        Ok(Self { task, closing, socket: Some(path.to_owned()), address: None })
    }

    /// Listens over TCP. Clients must begin TLS as `tls` demands (it asks for their certificate).
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn tcp(at: SocketAddr, offer: Offer, tls: Arc<ServerConfig>) -> io::Result<Self> {
        let listener = TcpListener::bind(at).await?;
        let address = listener.local_addr()?;
        let (closing, told) = watch::channel(false);
        let task = tokio::spawn(accept_tcp(listener, offer, TlsAcceptor::from(tls), told));
        Ok(Self { task, closing, socket: None, address: Some(address) })
    }

    /// Where it listens, over TCP.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// Lets nobody in any more, answers what is under way, and ends. A volume that does not answer makes
    /// this wait: whoever cannot wait drops the export instead.
    pub async fn close(mut self) {
        self.closing.send_replace(true);
        if let Err(error) = (&mut self.task).await {
            tracing::debug!(%error, "an export's task was ended");
        }
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(socket) = self.socket.take() {
            // It may be gone with its folder.
            let _gone_already = fs::remove_file(socket);
        }
    }
}

/// The connections of an export.
struct Connections {
    running: JoinSet<()>,
    room: Arc<Semaphore>,
    closing: watch::Receiver<bool>,
}

impl Connections {
    fn new(closing: watch::Receiver<bool>) -> Self {
        Self { running: JoinSet::new(), room: Arc::new(Semaphore::new(CONNECTIONS)), closing }
    }

    /// Room for one more; `None` when the export closes.
    async fn room(&mut self) -> Option<OwnedSemaphorePermit> {
        while self.running.try_join_next().is_some() {}
        tokio::select! {
            biased;
            () = closed(&mut self.closing) => None,
            room = self.room.clone().acquire_owned() => room.ok(),
        }
    }

    fn begin<S>(&mut self, stream: S, offer: &Offer, tls: Option<TlsAcceptor>, room: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (offer, closing) = (offer.clone(), self.closing.clone());
        self.running.spawn(async move {
            if let Err(error) = connection(stream, offer, tls, closing).await {
                tracing::debug!(%error, "an NBD client was cut off");
            }
            drop(room);
        });
    }
}

async fn accept_unix(listener: UnixListener, offer: Offer, mut closing: watch::Receiver<bool>) {
    let mut connections = Connections::new(closing.clone());
    while let Some(room) = connections.room().await {
        tokio::select! {
            () = closed(&mut closing) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connections.begin(stream, &offer, None, room),
                Err(error) => refused(&error).await,
            }
        }
    }
    drop(listener);
    while connections.running.join_next().await.is_some() {}
}

async fn accept_tcp(
    listener: TcpListener,
    offer: Offer,
    tls: TlsAcceptor,
    mut closing: watch::Receiver<bool>,
) {
    let mut connections = Connections::new(closing.clone());
    while let Some(room) = connections.room().await {
        tokio::select! {
            () = closed(&mut closing) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "an NBD client's connection stays slow");
                    }
                    connections.begin(stream, &offer, Some(tls.clone()), room);
                }
                Err(error) => refused(&error).await,
            }
        }
    }
    drop(listener);
    while connections.running.join_next().await.is_some() {}
}

/// Without descriptors every accept fails at once: the loop must not take the whole thread.
async fn refused(error: &io::Error) {
    tracing::warn!(%error, "an NBD client could not be accepted");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// One client, from the first word to the last.
async fn connection<S>(
    mut stream: S,
    offer: Offer,
    tls: Option<TlsAcceptor>,
    closing: watch::Receiver<bool>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let door = offer.door();
    let told = Told { name: offer.name, size: door.size, block: door.block };
    let mut buffer = BytesMut::new();
    let demanded = if tls.is_some() { Tls::Demanded } else { Tls::Absent };
    let mut no_zeroes = false;
    let mut ending = closing.clone();
    let first = async {
        no_zeroes = greet(&mut stream, &mut buffer).await?;
        negotiate(&mut stream, &mut buffer, &told, demanded, no_zeroes).await
    };
    match patiently(first, &mut ending).await? {
        Outcome::Ended => Ok(()),
        Outcome::Transmit { structured } => transmit(stream, buffer, door, structured, closing).await,
        Outcome::StartTls => {
            let Some(tls) = tls else { return Ok(()) };
            let second = async {
                let mut stream = tls.accept(stream).await?;
                let outcome = negotiate(&mut stream, &mut buffer, &told, Tls::Stands, no_zeroes).await?;
                Ok((stream, outcome))
            };
            let (stream, outcome) = patiently(second, &mut ending).await?;
            match outcome {
                Outcome::Transmit { structured } => transmit(stream, buffer, door, structured, closing).await,
                Outcome::Ended | Outcome::StartTls => Ok(()),
            }
        }
    }
}

/// Not longer than [`PATIENCE`], and not when the export closes.
async fn patiently<T>(
    work: impl Future<Output = io::Result<T>>,
    closing: &mut watch::Receiver<bool>,
) -> io::Result<T> {
    tokio::select! {
        done = tokio::time::timeout(PATIENCE, work) => {
            done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        }
        () = closed(closing) => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}
