//! The service that peers call. Only a server of the same cluster and lineage gets through to the
//! actors; everybody else is told why not.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tasuki_actors::{
    handle::NodeHandle,
    ports::{PeerError, PeerMethod},
};
use tasuki_core::ids::{Lineage, ServerName};
use tasuki_proto::v1::{
    PeerReply, PeerRequest, SnapshotChunk,
    peer_server::{Peer, PeerServer},
};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, Streaming};

use super::{Cuts, MESSAGE_LIMIT, snapshot};
use crate::identity::{Caller, Identity, IdentityError, caller_of};

/// Snapshots that are received at the same time: a second may begin while a first one, given up
/// by its sender, still lingers.
const SNAPSHOTS: usize = 2;

/// Who answers peers.
#[async_trait]
pub trait PeerHandler: Send + Sync + 'static {
    /// Answers a call of `from`, whose certificate has been checked.
    ///
    /// # Errors
    /// When the body cannot be read or the node cannot answer now.
    async fn serve(&self, from: &ServerName, method: PeerMethod, body: Bytes) -> Result<Bytes, PeerError>;
}

#[async_trait]
impl PeerHandler for NodeHandle {
    async fn serve(&self, from: &ServerName, method: PeerMethod, body: Bytes) -> Result<Bytes, PeerError> {
        self.serve_peer(from, method, body).await
    }
}

/// The gRPC service.
pub struct PeerService<H> {
    handler: H,
    lineage: Lineage,
    cuts: Arc<Cuts>,
    snapshots: Semaphore,
}

/// Makes the service, with its limits, ready to be added to the node's routes.
pub fn peer_service<H: PeerHandler>(
    handler: H,
    identity: &Identity,
    cuts: Arc<Cuts>,
) -> PeerServer<PeerService<H>> {
    let service = PeerService {
        handler,
        lineage: identity.lineage().clone(),
        cuts,
        snapshots: Semaphore::new(SNAPSHOTS),
    };
    PeerServer::new(service).max_decoding_message_size(MESSAGE_LIMIT).max_encoding_message_size(MESSAGE_LIMIT)
}

impl<H: PeerHandler> PeerService<H> {
    /// Which server calls.
    async fn caller<T>(&self, request: &Request<T>) -> Result<ServerName, Status> {
        let from = match caller_of(request.extensions(), &self.lineage) {
            Ok(Caller::Server(server)) => server,
            Ok(Caller::Anonymous) => return Err(refuse(&IdentityError::NoCertificate)),
            Ok(other) => return Err(refuse(&IdentityError::NotAServer(other.to_string()))),
            Err(error) => return Err(refuse(&error)),
        };
        // A cable that is cut on purpose lets nothing in either.
        if let Some(here) = request.local_addr()
            && self.cuts.is_cut_at(&from, here.ip())
        {
            std::future::pending::<()>().await;
        }
        Ok(from)
    }

    /// R24: a certificate of the right cluster may still come with an older registry, after a
    /// forced recovery has begun a new lineage.
    fn admit(&self, lineage: &str) -> Result<(), Status> {
        if lineage == self.lineage.as_str() {
            return Ok(());
        }
        Err(Status::failed_precondition(format!(
            "this registry is lineage {}, the call is of lineage {lineage} (TSK-1111)",
            self.lineage
        )))
    }

    async fn unary(
        &self,
        method: PeerMethod,
        request: Request<PeerRequest>,
    ) -> Result<Response<PeerReply>, Status> {
        let from = self.caller(&request).await?;
        let request = request.into_inner();
        self.admit(&request.lineage)?;
        self.answer(&from, method, request.body).await
    }

    async fn answer(
        &self,
        from: &ServerName,
        method: PeerMethod,
        body: Bytes,
    ) -> Result<Response<PeerReply>, Status> {
        match self.handler.serve(from, method, body).await {
            Ok(body) => Ok(Response::new(PeerReply { body })),
            // All of these are answers of this server: the path to it works.
            Err(PeerError::Refused(why)) => Err(Status::failed_precondition(why)),
            Err(error) => Err(Status::aborted(error.to_string())),
        }
    }
}

fn refuse(error: &IdentityError) -> Status {
    let text = format!("{error} ({})", error.code());
    match error {
        IdentityError::NoCertificate => Status::unauthenticated(text),
        _ => Status::permission_denied(text),
    }
}

#[async_trait]
impl<H: PeerHandler> Peer for PeerService<H> {
    async fn append(&self, request: Request<PeerRequest>) -> Result<Response<PeerReply>, Status> {
        self.unary(PeerMethod::Append, request).await
    }

    async fn vote(&self, request: Request<PeerRequest>) -> Result<Response<PeerReply>, Status> {
        self.unary(PeerMethod::Vote, request).await
    }

    async fn pre_vote(&self, request: Request<PeerRequest>) -> Result<Response<PeerReply>, Status> {
        self.unary(PeerMethod::PreVote, request).await
    }

    async fn transfer_leader(&self, request: Request<PeerRequest>) -> Result<Response<PeerReply>, Status> {
        self.unary(PeerMethod::TransferLeader, request).await
    }

    async fn propose(&self, request: Request<PeerRequest>) -> Result<Response<PeerReply>, Status> {
        self.unary(PeerMethod::Propose, request).await
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<SnapshotChunk>>,
    ) -> Result<Response<PeerReply>, Status> {
        let from = self.caller(&request).await?;
        let _permit = self.snapshots.acquire().await.map_err(|_| Status::aborted("the node is stopping"))?;
        let body = snapshot::receive(request.into_inner(), |lineage| self.admit(lineage)).await?;
        self.answer(&from, PeerMethod::Snapshot, body).await
    }

    async fn ping(&self, request: Request<PeerRequest>) -> Result<Response<PeerReply>, Status> {
        self.caller(&request).await?;
        self.admit(&request.get_ref().lineage)?;
        Ok(Response::new(PeerReply::default()))
    }
}
