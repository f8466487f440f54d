//! Answers the calls of other servers' Raft.

use std::{fmt::Display, future::Future, sync::Once, time::Duration};

use bytes::Bytes;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use serde::{Serialize, de::DeserializeOwned};
use tasuki_core::{
    ids::RaftId,
    membership::gate::{Call, Standing},
};
use tasuki_storage::raft_types::Registry;

use super::{
    door::{Answer, Envelope},
    network::decode_snapshot,
    raft_node::RaftNode,
};
use crate::ports::{PeerError, PeerMethod};

/// How long a forwarded proposal may take.
const LIMIT: Duration = Duration::from_secs(5);

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, PeerError> {
    serde_json::from_slice(body).map_err(|error| PeerError::Refused(error.to_string()))
}

/// That entries cannot be read is said once: the leader sends them again and again.
static SAID: Once = Once::new();

/// Entries that cannot be read are of a newer version: this program was too old to be started again.
fn read_entries<T: DeserializeOwned>(body: &[u8]) -> Result<T, PeerError> {
    read(body).inspect_err(|error| {
        SAID.call_once(
            || tracing::error!(%error, "TSK-1841: the leader sends entries that this program cannot read"),
        );
    })
}

fn write<T: Serialize>(answer: &T) -> Result<Bytes, PeerError> {
    let body = serde_json::to_vec(answer);
    body.map(Bytes::from).map_err(|error| PeerError::Refused(error.to_string()))
}

impl RaftNode {
    /// Answers a peer's call.
    ///
    /// # Errors
    /// When the body cannot be read, or Raft has stopped.
    pub async fn serve_peer(&self, method: PeerMethod, body: &[u8]) -> Result<Bytes, PeerError> {
        let raft = &self.raft;
        match method {
            PeerMethod::Append => {
                let (from, body): (Standing, AppendEntriesRequest<Registry>) =
                    self.mine(read_entries(body)?)?;
                let answer = async {
                    let caller = body.vote;
                    let answer = raft.append_entries(body).await;
                    match &answer {
                        Ok(AppendEntriesResponse::Success) => self.door.exchanged(from.me, from.number),
                        Ok(AppendEntriesResponse::HigherVote(mine)) => self.part_terms(&caller, mine).await,
                        _ => {}
                    }
                    answer
                };
                self.admit(Call::Append, from, answer).await
            }
            PeerMethod::Snapshot => {
                let (from, (vote, snapshot)) =
                    self.mine(decode_snapshot(body).map_err(PeerError::Refused)?)?;
                self.admit(Call::Append, from, raft.install_full_snapshot(vote, snapshot)).await
            }
            PeerMethod::Vote => {
                let (from, body) = self.mine(read(body)?)?;
                self.admit(Call::Vote, from, raft.vote(body)).await
            }
            PeerMethod::PreVote => {
                let (from, body) = self.mine(read(body)?)?;
                self.admit(Call::Vote, from, raft.pre_vote(body)).await
            }
            PeerMethod::TransferLeader => {
                let (from, body) = self.mine(read(body)?)?;
                self.admit(Call::Vote, from, raft.handle_transfer_leader(body)).await
            }
            PeerMethod::Propose => write(&self.serve(read(body)?, LIMIT).await),
        }
    }

    /// R23: a call that is meant for the store that was here before is not answered in its name.
    fn mine<T>(&self, envelope: Envelope<T>) -> Result<(Standing, T), PeerError> {
        let me = self.door.standing().me;
        if envelope.to == me {
            return Ok((envelope.from, envelope.body));
        }
        Err(PeerError::Refused(format!("this store is {me}, the call is for {}", envelope.to)))
    }

    /// Lets a call through the gate.
    async fn admit<T: Serialize, E: Display>(
        &self,
        call: Call,
        from: Standing,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<Bytes, PeerError> {
        let admitted: Answer<()> = self.door.admit(call, from);
        if let Err(refused) = admitted {
            return write(&Answer::<()>::Err(refused));
        }
        let answer = answer.await.map_err(|error| PeerError::Refused(error.to_string()))?;
        write(&Answer::Ok(answer))
    }

    /// What this server says of its own log.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.door.standing()
    }

    /// Another server has said what its log has.
    pub fn heard(&self, other: Standing) {
        self.door.heard(other);
    }

    /// The number of the membership that whoever led had when entries were exchanged with a server last.
    #[must_use]
    pub fn exchanged_under(&self, with: RaftId) -> Option<u64> {
        self.door.exchanged_under(with)
    }

    /// How often entries were exchanged with a server since the start.
    #[must_use]
    pub fn exchanges(&self, with: RaftId) -> u64 {
        self.door.exchanges(with)
    }
}
