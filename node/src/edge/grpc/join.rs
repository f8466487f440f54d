//! `tasuki.v1.Join`: the only service that needs no certificate.

use tasuki_core::{ids::ServerName, registry::Level};
use tasuki_proto::v1::{self as wire, join_server::Join};
use tonic::{Request, Response, Status};

use super::{Face, cluster::malformed, convert, status::to_status};
use crate::app::joins::JoinRequest;

#[tonic::async_trait]
impl Join for Face {
    async fn join(
        &self,
        request: Request<wire::JoinRequest>,
    ) -> Result<Response<wire::JoinResponse>, Status> {
        let wire::JoinRequest { token_id, secret, server, public_key, witness, level } = request.into_inner();
        let (server, level) = (ServerName::new(server), Level(level).max(Level::BASE));
        let request = JoinRequest { token_id, secret, server, public_key, witness, level };
        let admission = self.app.cluster_join(request).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::admission_out(admission).map_err(malformed)?))
    }
}
