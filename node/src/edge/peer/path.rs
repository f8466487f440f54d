//! One path to one peer: its two connections, and whether it has been answering.

use std::{
    error::Error,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tasuki_actors::ports::{PeerAddress, PeerError, PeerMethod};
use tasuki_core::ids::ServerName;
use tasuki_proto::v1::{PeerReply, PeerRequest, peer_client::PeerClient};
use tokio::time::Instant;
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};

use super::{Cuts, MESSAGE_LIMIT, PeerSettings};
use crate::identity::{Identity, explain_tls};

/// The peer drops a call that nobody waits for any more; this much later, so that it is the caller's
/// own clock that ends a call, and with the right error.
pub(super) const GRACE: Duration = Duration::from_millis(100);

/// How a call on one path came out.
pub(super) enum Outcome {
    /// The peer answered, be it with an error.
    Answer(Result<Bytes, PeerError>),
    /// The path did not work: the peer was not asked.
    Broken(String),
    /// The connection broke while the peer was asked: it may have heard, and may do it.
    Lost(String),
}

/// A path. Its connections are made when they are first used, and again when they broke.
pub(super) struct Path {
    pub peer: ServerName,
    pub address: SocketAddr,
    calls: PeerClient<Channel>,
    /// Snapshots have their own connection, so that no beat waits behind one.
    pub bulk: PeerClient<Channel>,
    cuts: Arc<Cuts>,
    lineage: String,
    health: Mutex<Health>,
}

#[derive(Clone, Copy, Default)]
struct Health {
    /// Since when it has not answered.
    failed: Option<Instant>,
    probed: Option<Instant>,
    /// It has answered once.
    answered: bool,
}

impl Path {
    pub fn new(
        peer: &PeerAddress,
        address: SocketAddr,
        identity: &Identity,
        settings: &PeerSettings,
        cuts: Arc<Cuts>,
    ) -> Result<Self, PeerError> {
        let endpoint = |while_idle| {
            Endpoint::from_shared(format!("https://{address}"))?
                .tcp_nodelay(true)
                .connect_timeout(settings.connect)
                // After the connection stands, the same patience for what it is for: a peer that
                // is stopped still accepts connections.
                .tls_config(identity.client_tls(&peer.server).timeout(settings.connect))
                .map(|e| {
                    e.http2_keep_alive_interval(settings.keep_alive)
                        .keep_alive_timeout(settings.keep_alive)
                        .keep_alive_while_idle(while_idle)
                        .connect_lazy()
                })
        };
        let client = |while_idle| {
            let channel = endpoint(while_idle).map_err(|e| PeerError::Unreachable(words(&e)))?;
            Ok(PeerClient::new(channel)
                .max_decoding_message_size(MESSAGE_LIMIT)
                .max_encoding_message_size(MESSAGE_LIMIT))
        };
        Ok(Self {
            peer: peer.server.clone(),
            address,
            calls: client(true)?,
            bulk: client(false)?,
            cuts,
            lineage: identity.lineage().to_string(),
            health: Mutex::default(),
        })
    }

    /// One unary call. May wait for ever: the caller has the clock.
    pub async fn call(&self, method: PeerMethod, body: Bytes, ttl: Duration) -> Outcome {
        self.wait_if_cut().await;
        let mut request = Request::new(PeerRequest { lineage: self.lineage.clone(), body });
        request.set_timeout(ttl + GRACE);
        let mut client = self.calls.clone();
        outcome(match method {
            PeerMethod::Append => client.append(request).await,
            PeerMethod::Vote => client.vote(request).await,
            PeerMethod::PreVote => client.pre_vote(request).await,
            PeerMethod::TransferLeader => client.transfer_leader(request).await,
            PeerMethod::Propose => client.propose(request).await,
            PeerMethod::Snapshot => return Outcome::Broken("a snapshot is not one message".into()),
        })
    }

    /// Finds out whether the path works again; at most once per `pause`, and never in anybody's way.
    pub fn probe(self: &Arc<Self>, pause: Duration) {
        let now = Instant::now();
        {
            let mut health = self.health();
            if health.failed.is_none() || health.probed.is_some_and(|at| now - at < pause) {
                return;
            }
            health.probed = Some(now);
        }
        let path = self.clone();
        tokio::spawn(async move {
            let ping = async {
                path.wait_if_cut().await;
                let request = PeerRequest { lineage: path.lineage.clone(), body: Bytes::new() };
                path.calls.clone().ping(request).await
            };
            if let Ok(Ok(_)) = tokio::time::timeout(pause, ping).await {
                path.answered();
            }
        });
    }

    /// Whether it has answered since it was made.
    pub fn has_answered(&self) -> bool {
        self.health().answered
    }

    pub fn answered(&self) {
        let mut health = self.health();
        health.answered = true;
        if health.failed.take().is_some() {
            tracing::debug!(peer = %self.peer, address = %self.address, "the path answers again");
        }
    }

    pub fn failed(&self) {
        let mut health = self.health();
        if health.failed.is_none() {
            tracing::debug!(peer = %self.peer, address = %self.address, "the path does not answer");
        }
        health.failed = Some(Instant::now());
    }

    /// When it last failed, if it has not answered since.
    pub fn failed_at(&self) -> Option<Instant> {
        self.health().failed
    }

    pub fn lineage(&self) -> &str {
        &self.lineage
    }

    pub fn is_cut(&self) -> bool {
        self.cuts.is_cut_at(&self.peer, self.address.ip())
    }

    /// A cut cable says nothing at all.
    async fn wait_if_cut(&self) {
        if self.is_cut() {
            std::future::pending::<()>().await;
        }
    }

    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells what the peer said from what happened on the way.
pub(super) fn outcome(result: Result<tonic::Response<PeerReply>, Status>) -> Outcome {
    match result {
        Ok(reply) => Outcome::Answer(Ok(reply.into_inner().body)),
        // What this side makes of a broken connection has a source; what came over the wire has none.
        Err(status) if status.source().is_some() && !was_connected(&status) => {
            Outcome::Broken(words(&status))
        }
        Err(status) if status.source().is_some() => Outcome::Lost(words(&status)),
        Err(status) => match status.code() {
            Code::Unavailable | Code::Cancelled | Code::Unknown => Outcome::Broken(status.message().into()),
            _ => Outcome::Answer(Err(PeerError::Refused(status.message().into()))),
        },
    }
}

/// Whether there was a connection over which the request may have gone.
fn was_connected(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return false;
        }
        cause = error.source();
    }
    true
}

/// The innermost cause is the one that says something.
pub(super) fn words(error: &(dyn Error + 'static)) -> String {
    if let Some(text) = explain_tls(error) {
        return text;
    }
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
