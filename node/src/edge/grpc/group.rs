//! `tasuki.v1.Group`.

use tasuki_core::ids::{GroupName, ServerName};
use tasuki_proto::v1::{self as wire, group_server::Group};
use tonic::{Request, Response, Status};

use super::{Face, convert, status::to_status};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Group for Face {
    async fn list(&self, request: Request<wire::ListGroupsRequest>) -> Answer<wire::ListGroupsResponse> {
        let by = self.by(&request)?;
        let groups = self.app.group_list(&by).map_err(|e| to_status(&e))?;
        Ok(Response::new(wire::ListGroupsResponse {
            groups: groups.into_iter().map(convert::group_out).collect(),
        }))
    }

    async fn get(&self, request: Request<wire::GetGroupRequest>) -> Answer<wire::GroupStatus> {
        let by = self.by(&request)?;
        let name = GroupName::new(request.into_inner().group);
        let group = self.app.group_status(&by, &name).map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::group_out(group)))
    }

    async fn start(&self, request: Request<wire::StartGroupRequest>) -> Answer<wire::Accepted> {
        let by = self.by(&request)?;
        let wire::StartGroupRequest { group, on, because } = request.into_inner();
        let on = convert::optional(on).map(ServerName::new);
        let started = self.app.group_start(&by, GroupName::new(group), on, because);
        let accepted = started.await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::accepted_out(accepted)))
    }

    async fn stop(&self, request: Request<wire::StopGroupRequest>) -> Answer<wire::Accepted> {
        let by = self.by(&request)?;
        let wire::StopGroupRequest { group, force, because } = request.into_inner();
        let stopped = self.app.group_stop(&by, GroupName::new(group), force, because);
        let accepted = stopped.await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::accepted_out(accepted)))
    }

    async fn r#move(&self, request: Request<wire::MoveGroupRequest>) -> Answer<wire::Accepted> {
        let by = self.by(&request)?;
        let wire::MoveGroupRequest { group, to, force, because } = request.into_inner();
        let to = convert::optional(to).map(ServerName::new);
        let moved = self.app.group_move(&by, GroupName::new(group), to, force, because);
        let accepted = moved.await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::accepted_out(accepted)))
    }

    async fn explain(
        &self,
        request: Request<wire::ExplainGroupRequest>,
    ) -> Answer<wire::ExplainGroupResponse> {
        let by = self.by(&request)?;
        let name = GroupName::new(request.into_inner().group);
        let explanation = self.app.explain(&by, &name).map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::explanation_out(explanation)))
    }

    async fn reset(&self, request: Request<wire::ResetGroupRequest>) -> Answer<wire::Accepted> {
        let by = self.by(&request)?;
        let group = GroupName::new(request.into_inner().group);
        let accepted = self.app.group_reset(&by, group).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::accepted_out(accepted)))
    }
}
