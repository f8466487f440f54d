//! `tasuki.v1.Fence`.

use tasuki_core::ids::{FenceName, ServerName};
use tasuki_proto::v1::{self as wire, fence_server::Fence};
use tonic::{Request, Response, Status};

use super::{Face, convert, status::to_status};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Fence for Face {
    async fn list(&self, request: Request<wire::ListFencesRequest>) -> Answer<wire::ListFencesResponse> {
        let by = self.by(&request)?;
        let devices = self.app.fence_list(&by).map_err(|e| to_status(&e))?;
        let devices = devices.into_iter().map(convert::device_out).collect();
        Ok(Response::new(wire::ListFencesResponse { devices }))
    }

    async fn status(&self, request: Request<wire::FenceStatusRequest>) -> Answer<wire::FenceStatusResponse> {
        let by = self.by(&request)?;
        let server = convert::optional(request.into_inner().server).map(ServerName::new);
        let servers = self.app.fence_status(&by, server.as_ref()).map_err(|e| to_status(&e))?;
        let servers = servers.into_iter().map(convert::fencing_out).collect();
        Ok(Response::new(wire::FenceStatusResponse { servers }))
    }

    async fn test(&self, request: Request<wire::TestFenceRequest>) -> Answer<wire::TestFenceResponse> {
        let by = self.by(&request)?;
        let device = FenceName::new(request.into_inner().device);
        let answer = self.app.fence_test(&by, &device).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(wire::TestFenceResponse { error: answer.err().unwrap_or_default() }))
    }

    async fn now(&self, request: Request<wire::FenceNowRequest>) -> Answer<wire::FenceChangeResponse> {
        let by = self.by(&request)?;
        let wire::FenceNowRequest { server, acknowledged } = request.into_inner();
        let done = self.app.fence_now(&by, &ServerName::new(server), acknowledged).await;
        Ok(Response::new(wire::FenceChangeResponse { revision: done.map_err(|e| to_status(&e))?.0 }))
    }

    async fn confirm(
        &self,
        request: Request<wire::ConfirmFenceRequest>,
    ) -> Answer<wire::FenceChangeResponse> {
        let by = self.by(&request)?;
        let wire::ConfirmFenceRequest { server, acknowledged } = request.into_inner();
        let done = self.app.fence_confirm(&by, &ServerName::new(server), acknowledged).await;
        Ok(Response::new(wire::FenceChangeResponse { revision: done.map_err(|e| to_status(&e))?.0 }))
    }

    async fn lift(&self, request: Request<wire::LiftFenceRequest>) -> Answer<wire::FenceChangeResponse> {
        let by = self.by(&request)?;
        let server = ServerName::new(request.into_inner().server);
        let done = self.app.fence_lift(&by, &server).await;
        Ok(Response::new(wire::FenceChangeResponse { revision: done.map_err(|e| to_status(&e))?.0 }))
    }
}
