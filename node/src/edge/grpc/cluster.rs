//! `tasuki.v1.Cluster`.

use std::time::Duration;

use tasuki_core::ids::ServerName;
use tasuki_proto::v1::{self as wire, cluster_server::Cluster};
use tonic::{Request, Response, Status};

use super::{Face, convert, status::to_status};
use crate::app::AppError;

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Cluster for Face {
    async fn status(
        &self,
        request: Request<wire::ClusterStatusRequest>,
    ) -> Answer<wire::ClusterStatusResponse> {
        let by = self.by(&request)?;
        let status = self.app.cluster_status(&by).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::status_out(status)))
    }

    async fn suspend(&self, request: Request<wire::SuspendRequest>) -> Answer<wire::Accepted> {
        let by = self.by(&request)?;
        let accepted = self.app.cluster_suspend(&by).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::accepted_out(accepted)))
    }

    async fn resume(&self, request: Request<wire::ResumeRequest>) -> Answer<wire::Accepted> {
        let by = self.by(&request)?;
        let accepted = self.app.cluster_resume(&by).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::accepted_out(accepted)))
    }

    async fn shutdown(&self, request: Request<wire::ClusterShutdownRequest>) -> Answer<wire::Accepted> {
        let by = self.by(&request)?;
        let request = request.into_inner();
        let after = convert::after_in(request.after).map_err(malformed)?;
        let accepted =
            self.app.cluster_shutdown(&by, after, request.acknowledged).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::accepted_out(accepted)))
    }

    async fn issue_token(
        &self,
        request: Request<wire::IssueTokenRequest>,
    ) -> Answer<wire::IssueTokenResponse> {
        let by = self.by(&request)?;
        let request = request.into_inner();
        let server = convert::optional(request.server).map(ServerName::new);
        let valid = (request.valid_seconds > 0).then(|| Duration::from_secs(request.valid_seconds));
        let token = self.app.cluster_token(&by, server, valid).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(wire::IssueTokenResponse {
            token: token.text,
            expires_ms: token.expires.0,
            join_at: token.join_at,
            witness: token.witness,
        }))
    }

    async fn times(&self, request: Request<wire::ClusterTimesRequest>) -> Answer<wire::ClusterTimesResponse> {
        let by = self.by(&request)?;
        let times = self.app.cluster_times(&by).map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::times::times_out(times)))
    }

    async fn tree(&self, request: Request<wire::TreeRequest>) -> Answer<wire::TreeResponse> {
        let by = self.by(&request)?;
        let text = self.app.cluster_tree(&by).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(wire::TreeResponse { text }))
    }
}

impl Face {
    /// Who makes this call, as every service asks first.
    pub(super) fn by<T>(&self, request: &Request<T>) -> Result<crate::app::Caller, Status> {
        self.gate.caller(request).map_err(|error| to_status(&error))
    }
}

/// A request that cannot be understood.
pub(super) fn malformed(error: convert::Malformed) -> Status {
    to_status(&AppError::Invalid(error.to_string()))
}
