//! `tasuki.v1.MirrorAdmin`.

use tasuki_core::ids::{GroupName, ServerName, VolumeName};
use tasuki_proto::v1::{self as wire, mirror_admin_server::MirrorAdmin};
use tonic::{Request, Response, Status};

use super::{Face, convert, status::to_status};
use crate::app::{AppError, Role};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl MirrorAdmin for Face {
    async fn status(
        &self,
        request: Request<wire::MirrorStatusRequest>,
    ) -> Answer<wire::MirrorStatusResponse> {
        let by = self.by(&request)?;
        let only = convert::optional(request.into_inner().volume).map(VolumeName::new);
        let volumes = self.app.mirror_status(&by, only.as_ref()).await.map_err(|e| to_status(&e))?;
        let volumes = volumes.into_iter().map(convert::volume_out).collect();
        Ok(Response::new(wire::MirrorStatusResponse { volumes }))
    }

    async fn here(&self, request: Request<wire::MirrorHereRequest>) -> Answer<wire::MirrorHereResponse> {
        let by = self.by(&request)?;
        let copies = self.app.mirror_here(&by).map_err(|e| to_status(&e))?;
        Ok(Response::new(wire::MirrorHereResponse {
            copies: copies.into_iter().map(convert::here_out).collect(),
        }))
    }

    async fn differences(
        &self,
        request: Request<wire::MirrorDifferencesRequest>,
    ) -> Answer<wire::MirrorDifferencesResponse> {
        let by = self.by(&request)?;
        let wire::MirrorDifferencesRequest { volume, here } = request.into_inner();
        let found = self.app.mirror_differences(&by, &VolumeName::new(volume), here).await;
        let parts = found.map_err(|e| to_status(&e))?.into_iter().map(convert::difference_out).collect();
        Ok(Response::new(wire::MirrorDifferencesResponse { parts }))
    }

    async fn order(&self, request: Request<wire::MirrorOrderRequest>) -> Answer<wire::MirrorOrderResponse> {
        let by = self.by(&request)?;
        // Before the request is read: nobody else is told what is wrong with it.
        by.must_be(Role::Operator).map_err(|e| to_status(&e))?;
        let request = request.into_inner();
        let (volume, here) = (VolumeName::new(request.volume.as_str()), request.here);
        let order = convert::order_in(request).map_err(|e| to_status(&AppError::Invalid(e.to_string())))?;
        let done = self.app.mirror_order(&by, &volume, order, here).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::done_out(done)))
    }

    async fn create(&self, request: Request<wire::CreateMirrorRequest>) -> Answer<wire::PushConfigResponse> {
        let by = self.by(&request)?;
        let wire::CreateMirrorRequest { volume, group, keys, dry_run } = request.into_inner();
        let keys = keys.into_iter().map(|key| (key.name, key.value)).collect();
        let (volume, group) = (VolumeName::new(volume), GroupName::new(group));
        let push = self.app.mirror_create(&by, &volume, &group, keys, dry_run).await;
        Ok(Response::new(convert::push_out(push.map_err(|e| to_status(&e))?)))
    }

    async fn force(&self, request: Request<wire::ForceMirrorRequest>) -> Answer<wire::MirrorChangeResponse> {
        let by = self.by(&request)?;
        let wire::ForceMirrorRequest { volume, server, confirm } = request.into_inner();
        let (volume, server) = (VolumeName::new(volume), ServerName::new(server));
        let done = self.app.mirror_force(&by, &volume, &server, &confirm).await;
        Ok(Response::new(wire::MirrorChangeResponse { revision: done.map_err(|e| to_status(&e))?.0 }))
    }
}
