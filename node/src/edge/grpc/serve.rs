//! Listening: TCP with mutual TLS, and the local unix socket. Binding is separate from serving, so
//! that a port in use is an error at start and not a line in a log.

use std::{
    error::Error,
    fs, io,
    net::SocketAddr,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{
    service::Routes,
    transport::{Server, ServerTlsConfig, server::TcpIncoming},
};

/// A dead connection is noticed after about this: two keepalives.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// A client that opens connections and says nothing does not hold them for longer.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
const BACKLOG: i32 = 1024;

/// Why the node cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Somebody else listens there.
    #[error("TSK-1680: {0} is in use by another program; stop it, or choose another port in [cluster]")]
    InUse(String),
    /// The system refused.
    #[error("TSK-1681: cannot listen on {place}: {source}")]
    Listen {
        /// Where.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// Serving ended.
    #[error("TSK-1682: serving gRPC failed: {}", chain(.0))]
    Serve(#[from] tonic::transport::Error),
}

/// Listens on every address. Addresses that the server does not have yet (a cable that comes
/// later) are no error: the sockets wait for them.
///
/// # Errors
/// When a port is in use, or the system refuses.
pub fn bind_tcp(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ServeError> {
    addresses.iter().map(|address| bind_one(*address)).collect()
}

fn bind_one(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let bind = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        match address {
            SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
            SocketAddr::V6(_) => {
                socket.set_only_v6(true)?;
                socket.set_freebind_v6(true)?;
            }
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    bind().map_err(|source| not_bound(address.to_string(), source))
}

fn not_bound(place: String, source: io::Error) -> ServeError {
    if source.kind() == io::ErrorKind::AddrInUse {
        ServeError::InUse(place)
    } else {
        ServeError::Listen { place, source }
    }
}

/// Serves on every listener until `shutdown` says so; calls that run are finished first.
///
/// # Errors
/// When TLS cannot be set up, or a listener fails.
pub async fn serve_tcp(
    listeners: Vec<TcpListener>,
    tls: ServerTlsConfig,
    routes: Routes,
    shutdown: tokio_util::sync::CancellationToken,
) -> Result<(), ServeError> {
    let serving = listeners.into_iter().map(|listener| {
        let (tls, routes, shutdown) = (tls.clone(), routes.clone(), shutdown.clone());
        async move {
            let incoming =
                TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(KEEPALIVE));
            server()
                .tls_config(tls.timeout(HANDSHAKE_WITHIN))?
                .add_routes(routes)
                .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned())
                .await
        }
    });
    futures::future::try_join_all(serving).await?;
    Ok(())
}

/// The local socket, readable by its owner only; removed when dropped.
pub struct LocalSocket {
    listener: UnixListener,
    file: SocketFile,
}

struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Gone already is as good as removed.
        let _ = fs::remove_file(&self.0);
    }
}

/// Listens on a unix socket. A socket that a dead node left behind is replaced; one that answers is
/// not.
///
/// # Errors
/// When another node answers there, or the system refuses.
pub fn bind_uds(path: &Path) -> Result<LocalSocket, ServeError> {
    let place = || path.display().to_string();
    let listen = |source| ServeError::Listen { place: place(), source };
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            if UnixStream::connect(path).is_ok() {
                return Err(ServeError::InUse(place()));
            }
            fs::remove_file(path).map_err(listen)?;
        }
        Ok(_) => return Err(listen(io::Error::other("something that is not a socket is there"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(listen(error)),
    }
    let listener = UnixListener::bind(path).map_err(|source| not_bound(place(), source))?;
    let file = SocketFile(path.to_owned());
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(listen)?;
    Ok(LocalSocket { listener, file })
}

/// Serves on the local socket until `shutdown` says so.
///
/// # Errors
/// When the listener fails.
pub async fn serve_uds(
    socket: LocalSocket,
    routes: Routes,
    shutdown: tokio_util::sync::CancellationToken,
) -> Result<(), ServeError> {
    let LocalSocket { listener, file } = socket;
    let incoming = UnixListenerStream::new(listener);
    let served =
        server().add_routes(routes).serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned()).await;
    drop(file);
    Ok(served?)
}

fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .concurrency_limit_per_connection(256)
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}
