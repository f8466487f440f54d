//! `tasuki.v1.Pool`.

use tasuki_core::ids::PoolName;
use tasuki_proto::v1::{self as wire, pool_server::Pool};
use tonic::{Request, Response, Status};

use super::{Face, convert, status::to_status};
use crate::app::edits::NewObject;

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Pool for Face {
    async fn add(&self, request: Request<wire::AddPoolRequest>) -> Answer<wire::PushConfigResponse> {
        let by = self.by(&request)?;
        let wire::AddPoolRequest { name, attributes, text, dry_run } = request.into_inner();
        let new = NewObject { name, attributes: convert::attributes_in(attributes), text };
        let push = self.app.pool_add(&by, new, dry_run).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::push_out(push)))
    }

    async fn modify(&self, request: Request<wire::ModifyPoolRequest>) -> Answer<wire::PushConfigResponse> {
        let by = self.by(&request)?;
        let wire::ModifyPoolRequest { name, attributes, dry_run } = request.into_inner();
        let (name, changes) = (PoolName::new(name), convert::attributes_in(attributes));
        let push = self.app.pool_modify(&by, &name, changes, dry_run).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::push_out(push)))
    }

    async fn delete(&self, request: Request<wire::DeletePoolRequest>) -> Answer<wire::PushConfigResponse> {
        let by = self.by(&request)?;
        let wire::DeletePoolRequest { name, dry_run } = request.into_inner();
        let push =
            self.app.pool_delete(&by, &PoolName::new(name), dry_run).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::push_out(push)))
    }

    async fn status(&self, request: Request<wire::PoolStatusRequest>) -> Answer<wire::PoolStatusResponse> {
        let by = self.by(&request)?;
        let name = convert::optional(request.into_inner().name).map(PoolName::new);
        let pools = self.app.pool_status(&by, name.as_ref()).map_err(|e| to_status(&e))?;
        Ok(Response::new(wire::PoolStatusResponse {
            pools: pools.into_iter().map(convert::pool_out).collect(),
        }))
    }
}
