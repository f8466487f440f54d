//! `tasuki.v1.Server`.

use tasuki_core::ids::ServerName;
use tasuki_proto::v1::{self as wire, server_server::Server};
use tonic::{Request, Response, Status};

use super::{Face, cluster::malformed, convert, status::to_status};

#[tonic::async_trait]
impl Server for Face {
    async fn list(
        &self,
        request: Request<wire::ListServersRequest>,
    ) -> Result<Response<wire::ListServersResponse>, Status> {
        let by = self.by(&request)?;
        let (servers, seen_from) = self.app.server_list(&by).map_err(|e| to_status(&e))?;
        Ok(Response::new(wire::ListServersResponse {
            servers: servers.into_iter().map(convert::server_out).collect(),
            seen_from: seen_from.to_string(),
        }))
    }

    async fn shutdown(
        &self,
        request: Request<wire::ServerShutdownRequest>,
    ) -> Result<Response<wire::Accepted>, Status> {
        let by = self.by(&request)?;
        let request = request.into_inner();
        let after = convert::after_in(request.after).map_err(malformed)?;
        let server = ServerName::new(request.server);
        let accepted = self.app.server_shutdown(&by, server, after).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::accepted_out(accepted)))
    }
}
