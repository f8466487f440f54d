//! Calls to peers over every path that works (safety rule R21).
//!
//! A call goes out on the best path. When that path fails, or does not answer within the hedge
//! delay, the call goes out on the next one too, and the first answer counts: all methods are
//! idempotent. A path that let a call wait is tried last until it answers a ping again; pings run
//! beside the calls, so a dead path costs one hedge delay once, not at every call.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use tasuki_actors::ports::{PeerAddress, PeerError, PeerMethod, PeerTransport};
use tasuki_core::{ids::ServerName, timing::Timing};
use tokio::time::{Instant, sleep_until};

use super::{
    Cuts,
    path::{Outcome, Path},
    snapshot,
};
use crate::identity::Identity;

/// How patient the transport is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSettings {
    /// After this long without an answer, the next path is tried too.
    pub hedge: Duration,
    /// For a connection, and again for its TLS handshake.
    pub connect: Duration,
    /// Between two signs of life on an idle connection, and how long to wait for the answer.
    pub keep_alive: Duration,
    /// A snapshot that has not moved for this long is sent again on the next path.
    pub stall: Duration,
    /// Between two pings of a path that failed.
    pub probe: Duration,
}

impl PeerSettings {
    /// What fits to the cluster's times.
    #[must_use]
    pub fn from_timing(timing: &Timing) -> Self {
        Self {
            hedge: timing.beat / 2,
            // A handshake costs CPU on both sides; on busy machines that takes a while.
            connect: timing.path_lost.max(Duration::from_millis(250)),
            keep_alive: (timing.detect / 2).max(Duration::from_millis(250)),
            stall: timing.detect.max(Duration::from_millis(500)),
            probe: (timing.detect / 4).max(Duration::from_millis(100)),
        }
    }
}

/// The port `PeerTransport` over gRPC with mutual TLS.
pub struct GrpcPeers {
    identity: Identity,
    settings: PeerSettings,
    cuts: Arc<Cuts>,
    /// The paths to each server, in the order of the addresses it was last called at.
    peers: Mutex<HashMap<ServerName, Vec<Arc<Path>>>>,
}

impl fmt::Debug for GrpcPeers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcPeers").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl GrpcPeers {
    /// Connects to nobody yet.
    #[must_use]
    pub fn new(identity: Identity, settings: PeerSettings, cuts: Arc<Cuts>) -> Self {
        Self { identity, settings, cuts, peers: Mutex::default() }
    }

    /// The addresses of `server` that have let calls wait and not answered since.
    #[must_use]
    pub fn silent_addresses(&self, server: &ServerName) -> Vec<IpAddr> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let paths = peers.get(server).map(Vec::as_slice).unwrap_or_default();
        paths.iter().filter(|p| p.failed_at().is_some()).map(|p| p.address.ip()).collect()
    }

    /// All paths to a peer. Where it was before it moved stays the last resort until it has answered
    /// at a new place: it may not have heard of the change yet.
    fn paths(&self, to: &PeerAddress) -> Result<Vec<Arc<Path>>, PeerError> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let known = peers.entry(to.server.clone()).or_default();
        let wanted = || to.addresses.iter().map(|ip| SocketAddr::new(*ip, to.port));
        let count = to.addresses.len();
        let same = known.iter().map(|p| p.address).take(count).eq(wanted());
        if same && known.iter().take(count).any(|path| path.has_answered()) {
            known.truncate(count);
        }
        if !same {
            let mut paths = Vec::with_capacity(count);
            for address in wanted() {
                paths.push(match known.iter().find(|p| p.address == address) {
                    Some(path) => path.clone(),
                    None => {
                        Arc::new(Path::new(to, address, &self.identity, &self.settings, self.cuts.clone())?)
                    }
                });
            }
            if !paths.iter().any(|path| path.has_answered()) {
                paths.extend(known.iter().filter(|old| wanted().all(|new| new != old.address)).cloned());
            }
            *known = paths;
        }
        if known.is_empty() {
            return Err(PeerError::Unreachable(format!("server {} has no address", to.server)));
        }
        Ok(known.clone())
    }

    /// On several paths, each a hedge delay after the one before; the first answer counts.
    async fn hedged(
        &self,
        paths: Vec<Arc<Path>>,
        method: PeerMethod,
        body: Bytes,
        ttl: Duration,
    ) -> Result<Bytes, PeerError> {
        let deadline = Instant::now() + ttl;
        let mut waiting = paths.into_iter().enumerate();
        let mut calls = FuturesUnordered::new();
        // Sent and neither answered nor broken, in the order of sending.
        let mut silent: Vec<(usize, Arc<Path>)> = Vec::new();
        let mut last_error = String::new();
        // A connection broke after the request may have gone over it.
        let mut may_be_done = false;
        loop {
            // Here once at the start, and again whenever the next path is due.
            if let Some((number, path)) = waiting.next() {
                silent.push((number, path.clone()));
                let (body, left) = (body.clone(), deadline.saturating_duration_since(Instant::now()));
                calls.push(async move {
                    let outcome = path.call(method, body, left).await;
                    (number, path, outcome)
                });
            } else if calls.is_empty() {
                return Err(match may_be_done {
                    true => PeerError::Broken(last_error),
                    false => PeerError::Unreachable(last_error),
                });
            }
            let hedge_at = Instant::now() + self.settings.hedge;
            tokio::select! { biased;
                Some((number, path, outcome)) = calls.next() => {
                    silent.retain(|(n, _)| *n != number);
                    may_be_done |= matches!(outcome, Outcome::Lost(_));
                    // The peer may have died with the proposal in its log: what it says on another path
                    // when it is back does not tell whether that one is done (R13).
                    let over = may_be_done && method == PeerMethod::Propose;
                    match outcome {
                        Outcome::Answer(answer) => {
                            path.answered();
                            // Those that were asked earlier and are still silent are the worse paths.
                            silent.iter().filter(|(n, _)| *n < number).for_each(|(_, p)| p.failed());
                            return answer;
                        }
                        Outcome::Broken(why) | Outcome::Lost(why) => {
                            path.failed();
                            last_error = format!("{}: {why}", path.address);
                            if over {
                                return Err(PeerError::Broken(last_error));
                            }
                        }
                    }
                }
                () = sleep_until(hedge_at), if waiting.len() > 0 => {}
                () = sleep_until(deadline) => {
                    silent.iter().for_each(|(_, p)| p.failed());
                    tracing::debug!(%last_error, "no answer on any path");
                    return Err(PeerError::Timeout(ttl));
                }
            }
        }
    }
}

/// Best first: those that answer, in the configured order, then those that failed longest ago.
fn rank(mut paths: Vec<Arc<Path>>) -> Vec<Arc<Path>> {
    paths.sort_by_key(|path| path.failed_at());
    paths
}

#[async_trait]
impl PeerTransport for GrpcPeers {
    async fn call(
        &self,
        to: &PeerAddress,
        method: PeerMethod,
        body: Bytes,
        ttl: Duration,
    ) -> Result<Bytes, PeerError> {
        let paths = self.paths(to)?;
        for path in &paths {
            path.probe(self.settings.probe);
        }
        let paths = rank(paths);
        match method {
            PeerMethod::Snapshot => snapshot::send(&paths, &body, ttl, self.settings.stall).await,
            _ => self.hedged(paths, method, body, ttl).await,
        }
    }
}
