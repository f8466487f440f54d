//! openraft's calls over the port to the peers. Bodies are JSON: entries of two versions of Tasuki
//! differ by fields, and a format without names could not read the other's.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use openraft::{
    OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable},
    network::{Backoff, RPCOption, RPCTypes},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use tasuki_core::{
    ids::RaftId,
    membership::gate::{Refused, Standing},
};
use tasuki_storage::raft_types::{Member, Registry, Snapshot, SnapshotMeta, Vote};

use super::door::{Answer, Door, Envelope};
use crate::ports::{PeerAddress, PeerError, PeerMethod, PeerTransport};

/// Makes one connection a peer.
pub struct Network {
    pub(super) peers: Arc<dyn PeerTransport>,
    pub(super) door: Arc<Door>,
    pub(super) patience: Patience,
}

/// How long a peer may take. openraft gives every append one beat, which a disk that syncs slowly
/// would never keep: the entries would be sent again and again and never be acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Before a peer that did not answer is tried again.
    pub(super) retry: Duration,
    /// For a beat without entries.
    pub(super) beat: Duration,
    /// For entries, which the peer syncs before it answers.
    pub(super) entries: Duration,
}

/// One peer.
pub struct Connection {
    peers: Arc<dyn PeerTransport>,
    door: Arc<Door>,
    to: PeerAddress,
    target: u64,
    patience: Patience,
}

/// Where a member is reached.
#[must_use]
pub fn address_of(member: &Member) -> PeerAddress {
    PeerAddress { server: member.server.clone(), addresses: member.addresses.clone(), port: member.port }
}

impl RaftNetworkFactory<Registry> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, node: &Member) -> Connection {
        Connection {
            peers: self.peers.clone(),
            door: self.door.clone(),
            to: address_of(node),
            target,
            patience: self.patience,
        }
    }
}

impl Connection {
    async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        method: PeerMethod,
        kind: RPCTypes,
        request: &Q,
        ttl: Duration,
    ) -> Result<A, RPCError<Registry>> {
        let from = self.door.speak().map_err(|held| RPCError::Unreachable(Unreachable::new(&held)))?;
        let envelope = Envelope { to: RaftId(self.target), from, body: request };
        let body = serde_json::to_vec(&envelope).map_err(|e| RPCError::Network(NetworkError::new(&e)))?;
        let answer = self.peers.call(&self.to, method, Bytes::from(body), ttl).await;
        let answer = answer.map_err(|error| match error {
            PeerError::Unreachable(_) | PeerError::Broken(_) => {
                RPCError::Unreachable(Unreachable::new(&error))
            }
            PeerError::Timeout(timeout) => {
                RPCError::Timeout(Timeout { action: kind, target: self.target, id: self.target, timeout })
            }
            PeerError::Refused(_) => RPCError::Network(NetworkError::new(&error)),
        })?;
        let answer: Answer<A> =
            serde_json::from_slice(&answer).map_err(|e| RPCError::Network(NetworkError::new(&e)))?;
        // One that refuses is tried again, but not as often as one that answers.
        answer.map_err(|refused| RPCError::Unreachable(Unreachable::new(&self.refused(refused))))
    }

    fn refused(&self, refused: Refused) -> Refused {
        self.door.was_refused(RaftId(self.target), refused);
        refused
    }
}

impl RaftNetworkV2<Registry> for Connection {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Registry>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Registry>, RPCError<Registry>> {
        let patience = if rpc.entries.is_empty() { self.patience.beat } else { self.patience.entries };
        let ttl = option.soft_ttl().max(patience);
        let answer = self.call(PeerMethod::Append, RPCTypes::AppendEntries, &rpc, ttl).await?;
        if matches!(answer, AppendEntriesResponse::Success | AppendEntriesResponse::PartialSuccess(_)) {
            self.door.exchanged(RaftId(self.target), self.door.standing().number);
        }
        Ok(answer)
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Registry>,
        option: RPCOption,
    ) -> Result<VoteResponse<Registry>, RPCError<Registry>> {
        self.call(PeerMethod::Vote, RPCTypes::Vote, &rpc, option.soft_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Registry>,
        option: RPCOption,
    ) -> Result<VoteResponse<Registry>, RPCError<Registry>> {
        self.call(PeerMethod::PreVote, RPCTypes::Vote, &rpc, option.soft_ttl()).await
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<Registry>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Registry>, RPCError<Registry>> {
        self.call(PeerMethod::TransferLeader, RPCTypes::TransferLeader, &rpc, option.soft_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Registry>, StreamingError<Registry>> {
        let from = self.door.speak().map_err(|held| StreamingError::Unreachable(Unreachable::new(&held)))?;
        let body = encode_snapshot(RaftId(self.target), from, &vote, &snapshot)
            .map_err(|error| StreamingError::Network(NetworkError::new(&error)))?;
        let call = self.peers.call(&self.to, PeerMethod::Snapshot, body, option.soft_ttl());
        let answer = tokio::select! {
            biased;
            closed = cancel => return Err(StreamingError::Closed(closed)),
            answer = call => answer,
        };
        let answer = answer.map_err(|error| StreamingError::Unreachable(Unreachable::new(&error)))?;
        let answer: Answer<SnapshotResponse<Registry>> =
            serde_json::from_slice(&answer).map_err(|e| StreamingError::Network(NetworkError::new(&e)))?;
        answer.map_err(|refused| StreamingError::Unreachable(Unreachable::new(&self.refused(refused))))
    }

    fn backoff(&self) -> Option<Backoff> {
        // A restarted node must hear its leader again within its lease.
        Some(Backoff::new(std::iter::repeat(self.patience.retry)))
    }
}

/// Length of the head (8 bytes), the head as JSON, the data.
fn encode_snapshot(
    to: RaftId,
    from: Standing,
    vote: &Vote,
    snapshot: &Snapshot,
) -> Result<Bytes, serde_json::Error> {
    let head = serde_json::to_vec(&Envelope { to, from, body: (vote, &snapshot.meta) })?;
    let mut body = Vec::with_capacity(8 + head.len() + snapshot.snapshot.len());
    body.extend((head.len() as u64).to_be_bytes());
    body.extend(head);
    body.extend(&snapshot.snapshot);
    Ok(Bytes::from(body))
}

/// Reads what [`encode_snapshot`] wrote.
pub(super) fn decode_snapshot(body: &[u8]) -> Result<Envelope<(Vote, Snapshot)>, String> {
    let short = || "the snapshot is cut off".to_owned();
    let (length, rest) = body.split_first_chunk::<8>().ok_or_else(short)?;
    let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| short())?;
    let (head, data) = rest.split_at_checked(length).ok_or_else(short)?;
    let head: Envelope<(Vote, SnapshotMeta)> = serde_json::from_slice(head).map_err(|e| e.to_string())?;
    let (vote, meta) = head.body;
    let snapshot = Snapshot { meta, snapshot: data.to_vec() };
    Ok(Envelope { to: head.to, from: head.from, body: (vote, snapshot) })
}
