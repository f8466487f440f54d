//! `tasuki.v1.Resource`.

use tasuki_core::ids::{ResourceName, ServerName};
use tasuki_proto::v1::{self as wire, resource_server::Resource};
use tonic::{Request, Response, Status};

use super::{Face, convert, status::to_status};
use crate::app::edits::NewObject;

type Answer<T> = Result<Response<T>, Status>;

fn server(name: String) -> Option<ServerName> {
    convert::optional(name).map(ServerName::new)
}

#[tonic::async_trait]
impl Resource for Face {
    async fn add(&self, request: Request<wire::AddResourceRequest>) -> Answer<wire::PushConfigResponse> {
        let by = self.by(&request)?;
        let wire::AddResourceRequest { name, r#type, attributes, text, dry_run } = request.into_inner();
        let new = NewObject { name, attributes: convert::attributes_in(attributes), text };
        let push = self.app.resource_add(&by, new, &r#type, dry_run).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::push_out(push)))
    }

    async fn modify(
        &self,
        request: Request<wire::ModifyResourceRequest>,
    ) -> Answer<wire::PushConfigResponse> {
        let by = self.by(&request)?;
        let wire::ModifyResourceRequest { name, attributes, dry_run } = request.into_inner();
        let changes = convert::attributes_in(attributes);
        let name = ResourceName::new(name);
        let push = self.app.resource_modify(&by, &name, changes, dry_run).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::push_out(push)))
    }

    async fn delete(
        &self,
        request: Request<wire::DeleteResourceRequest>,
    ) -> Answer<wire::PushConfigResponse> {
        let by = self.by(&request)?;
        let wire::DeleteResourceRequest { name, dry_run } = request.into_inner();
        let name = ResourceName::new(name);
        let push = self.app.resource_delete(&by, &name, dry_run).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::push_out(push)))
    }

    async fn enable(
        &self,
        request: Request<wire::EnableResourceRequest>,
    ) -> Answer<wire::PushConfigResponse> {
        let by = self.by(&request)?;
        let name = ResourceName::new(request.into_inner().name);
        let push = self.app.resource_enable(&by, &name, true).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::push_out(push)))
    }

    async fn disable(
        &self,
        request: Request<wire::DisableResourceRequest>,
    ) -> Answer<wire::PushConfigResponse> {
        let by = self.by(&request)?;
        let name = ResourceName::new(request.into_inner().name);
        let push = self.app.resource_enable(&by, &name, false).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::push_out(push)))
    }

    async fn start(
        &self,
        request: Request<wire::StartResourceRequest>,
    ) -> Answer<wire::ResourceActedResponse> {
        let by = self.by(&request)?;
        let wire::StartResourceRequest { name, on } = request.into_inner();
        let name = ResourceName::new(name);
        let acted =
            self.app.resource_start(&by, &name, server(on).as_ref()).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::acted_out(acted)))
    }

    async fn stop(&self, request: Request<wire::StopResourceRequest>) -> Answer<wire::ResourceActedResponse> {
        let by = self.by(&request)?;
        let wire::StopResourceRequest { name, on, force } = request.into_inner();
        let (name, on) = (ResourceName::new(name), server(on));
        let acted =
            self.app.resource_stop(&by, &name, on.as_ref(), force).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::acted_out(acted)))
    }

    async fn relocate(
        &self,
        request: Request<wire::RelocateResourceRequest>,
    ) -> Answer<wire::ResourceActedResponse> {
        let by = self.by(&request)?;
        let wire::RelocateResourceRequest { name, from, to, force } = request.into_inner();
        let (name, from, to) = (ResourceName::new(name), server(from), server(to));
        let acted = self.app.resource_relocate(&by, &name, from.as_ref(), to.as_ref(), force).await;
        Ok(Response::new(convert::acted_out(acted.map_err(|e| to_status(&e))?)))
    }

    async fn status(
        &self,
        request: Request<wire::ResourceStatusRequest>,
    ) -> Answer<wire::ResourceStatusResponse> {
        let by = self.by(&request)?;
        let name = convert::optional(request.into_inner().name).map(ResourceName::new);
        let resources = self.app.resource_status(&by, name.as_ref()).map_err(|e| to_status(&e))?;
        Ok(Response::new(wire::ResourceStatusResponse {
            resources: resources.into_iter().map(convert::resource_out).collect(),
        }))
    }
}
