//! `tasuki.v1.Type`.

use tasuki_core::ids::TypeName;
use tasuki_proto::v1::{self as wire, type_server::Type};
use tonic::{Request, Response, Status};

use super::{Face, convert, status::to_status};
use crate::app::edits::NewObject;

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Type for Face {
    async fn add(&self, request: Request<wire::AddTypeRequest>) -> Answer<wire::PushConfigResponse> {
        let by = self.by(&request)?;
        let wire::AddTypeRequest { name, base, attributes, text, dry_run } = request.into_inner();
        let attributes = attributes.into_iter().map(convert::new_attribute_in).collect();
        let new = NewObject { name, attributes: Vec::new(), text };
        let push =
            self.app.type_add(&by, new, &base, attributes, dry_run).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::push_out(push)))
    }

    async fn delete(&self, request: Request<wire::DeleteTypeRequest>) -> Answer<wire::PushConfigResponse> {
        let by = self.by(&request)?;
        let wire::DeleteTypeRequest { name, dry_run } = request.into_inner();
        let push =
            self.app.type_delete(&by, &TypeName::new(name), dry_run).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::push_out(push)))
    }

    async fn list(&self, request: Request<wire::ListTypesRequest>) -> Answer<wire::ListTypesResponse> {
        let by = self.by(&request)?;
        let types = self.app.type_list(&by).map_err(|e| to_status(&e))?;
        Ok(Response::new(wire::ListTypesResponse {
            types: types.into_iter().map(convert::type_out).collect(),
        }))
    }

    async fn get(&self, request: Request<wire::GetTypeRequest>) -> Answer<wire::TypeInfo> {
        let by = self.by(&request)?;
        let name = TypeName::new(request.into_inner().name);
        let shown = self.app.type_show(&by, &name).map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::type_out(shown)))
    }
}
