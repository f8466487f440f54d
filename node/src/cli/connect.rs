//! The way to a node: its local socket, or its address with a client certificate.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use super::{Context, args::Options};
use crate::{
    app::{AppError, Role},
    edge::grpc::{serve::chain, status::from_status},
    identity::{Credentials, IdentityError, explain_tls},
};

/// Where nodes listen when nobody says otherwise.
pub(super) const PORT: u16 = 29001;
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// No single question takes longer: a node that cannot answer says so before.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

impl Context {
    /// Connects for questions with one answer.
    pub(super) async fn connect(&self) -> Result<Channel, AppError> {
        connect(&self.options, Some(ANSWER_WITHIN)).await
    }

    /// Connects for streams, which go on for as long as the operator likes.
    pub(super) async fn connect_for_stream(&self) -> Result<Channel, AppError> {
        connect(&self.options, None).await
    }
}

/// A gRPC status as an error of ours.
#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
pub(super) fn answered(status: tonic::Status) -> AppError {
    from_status(&status)
}

/// An answer that this version cannot read.
#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
pub(super) fn unreadable(error: crate::edge::grpc::convert::Malformed) -> AppError {
    AppError::Failed(format!("the node's answer cannot be read ({error}): it may run another version"))
}

async fn connect(options: &Options, timeout: Option<Duration>) -> Result<Channel, AppError> {
    match &options.address {
        None => local(&options.data.join("tasuki.sock"), timeout).await,
        Some(address) => {
            let Some(identity) = &options.identity else {
                return Err(AppError::Unauthenticated(
                    "a call to another server needs a client certificate".to_owned(),
                ));
            };
            remote(resolve(address).await?, identity, timeout).await
        }
    }
}

async fn local(socket: &Path, timeout: Option<Duration>) -> Result<Channel, AppError> {
    // Tried first by itself: the reason would be buried in the transport's error otherwise.
    if let Err(error) = UnixStream::connect(socket).await {
        return Err(not_local(socket, &error));
    }
    let endpoint = with_timeout(Endpoint::from_static("http://localhost"), timeout);
    let path = socket.to_owned();
    endpoint
        .connect_with_connector(tower::service_fn(move |_| {
            let path = path.clone();
            async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
        }))
        .await
        .map_err(|error| AppError::Unreachable(format!("{}: {}", socket.display(), chain(&error))))
}

fn not_local(socket: &Path, error: &io::Error) -> AppError {
    let place = socket.display();
    match error.kind() {
        io::ErrorKind::PermissionDenied => AppError::PermissionDenied {
            who: nix::unistd::User::from_uid(nix::unistd::getuid())
                .ok()
                .flatten()
                .map_or_else(|| "you".to_owned(), |user| user.name),
            has: Role::Nobody,
            needs: Role::Admin,
        },
        io::ErrorKind::NotFound => {
            AppError::Unreachable(format!("no node runs with this data folder: there is no {place}"))
        }
        io::ErrorKind::ConnectionRefused => {
            AppError::Unreachable(format!("no node answers at {place}: it has ended"))
        }
        _ => AppError::Unreachable(format!("{place}: {error}")),
    }
}

async fn remote(
    address: SocketAddr,
    identity: &Path,
    timeout: Option<Duration>,
) -> Result<Channel, AppError> {
    let ca_pem = read(&identity.join("ca.pem"))?;
    let tls = credentials(identity)?.client_tls(&ca_pem, None);
    let unreachable = |why: String| AppError::Unreachable(format!("no answer from {address}: {why}"));
    let endpoint = Endpoint::from_shared(format!("https://{address}"))
        .and_then(|endpoint| endpoint.tls_config(tls))
        .map_err(|error| AppError::File(format!("{}: {}", identity.display(), chain(&error))))?;
    with_timeout(endpoint, timeout)
        .connect()
        .await
        .map_err(|error| unreachable(explain_tls(&error).unwrap_or_else(|| chain(&error))))
}

fn with_timeout(endpoint: Endpoint, timeout: Option<Duration>) -> Endpoint {
    let endpoint = endpoint
        .connect_timeout(CONNECT_WITHIN)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(5))
        .keep_alive_timeout(Duration::from_secs(5));
    match timeout {
        Some(timeout) => endpoint.timeout(timeout),
        None => endpoint,
    }
}

/// The administrator's certificate, or the one other pair that is there.
fn credentials(folder: &Path) -> Result<Credentials, AppError> {
    let mut pairs: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(|error| AppError::File(format!("{}: {error}", folder.display())))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "pem") && path.with_extension("key").exists())
        .filter(|path| path.file_stem().is_some_and(|stem| stem != "ca" && stem != "server"))
        .collect();
    pairs.sort_by_key(|path| (path.file_stem().is_none_or(|stem| stem != "admin"), path.clone()));
    let certificate = pairs.into_iter().next().ok_or(IdentityError::NoCertificate)?;
    Ok(Credentials { certificate: read(&certificate)?, key: read(&certificate.with_extension("key"))? })
}

fn read(path: &Path) -> Result<String, AppError> {
    fs::read_to_string(path).map_err(|error| AppError::File(format!("{}: {error}", path.display())))
}

/// `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]:PORT`, or a name in their place.
pub(super) async fn resolve(text: &str) -> Result<SocketAddr, AppError> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    if let Ok(address) = text.trim_matches(['[', ']']).parse() {
        return Ok(SocketAddr::new(address, PORT));
    }
    let (name, port) = match text.rsplit_once(':') {
        None => (text, PORT),
        Some((name, port)) => {
            (name, port.parse().map_err(|_| AppError::Invalid(format!("{port:?} is not a port")))?)
        }
    };
    // What looks like a number and is no address would only send a resolver looking.
    if name.is_empty() || name.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return Err(AppError::Invalid(format!("{text:?} is not an address")));
    }
    let found = tokio::net::lookup_host((name, port)).await.map(|mut addresses| addresses.next());
    match found {
        Ok(Some(address)) => Ok(address),
        Ok(None) => Err(AppError::Unreachable(format!("{name} has no address"))),
        Err(error) => Err(AppError::Unreachable(format!("{name}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn addresses_come_with_and_without_a_port() {
        for (text, address) in [
            ("10.0.0.1", "10.0.0.1:29001"),
            ("10.0.0.1:7", "10.0.0.1:7"),
            ("fd00::1", "[fd00::1]:29001"),
            ("[fd00::1]", "[fd00::1]:29001"),
            ("[fd00::1]:7", "[fd00::1]:7"),
        ] {
            assert_eq!(resolve(text).await.unwrap().to_string(), address);
        }
        for wrong in ["10.0.0.300", "10.0.0.1:99999", "", ":7"] {
            assert!(matches!(resolve(wrong).await, Err(AppError::Invalid(_))), "{wrong}");
        }
    }
}
