//! `tasuki.v1.Config`.

use tasuki_core::ids::Revision;
use tasuki_proto::v1::{self as wire, config_server::Config};
use tonic::{Request, Response, Status};

use super::{Face, convert, convert_plan, status::to_status};
use crate::app::AppError;

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Config for Face {
    async fn check(&self, request: Request<wire::CheckConfigRequest>) -> Answer<wire::CheckConfigResponse> {
        let by = self.by(&request)?;
        let wire::CheckConfigRequest { text, file } = request.into_inner();
        let problems = self.app.config_check(&by, &text, &file).map_err(|e| to_status(&e))?;
        Ok(Response::new(wire::CheckConfigResponse {
            problems: problems.into_iter().map(convert::problem_out).collect(),
        }))
    }

    async fn push(&self, request: Request<wire::PushConfigRequest>) -> Answer<wire::PushConfigResponse> {
        let by = self.by(&request)?;
        let wire::PushConfigRequest { text, file, dry_run } = request.into_inner();
        let push = self.app.config_push(&by, &text, &file, dry_run).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::push_out(push)))
    }

    async fn show(&self, request: Request<wire::ShowConfigRequest>) -> Answer<wire::ShowConfigResponse> {
        let by = self.by(&request)?;
        let (config, revision) = self.app.config_show(&by).await.map_err(|e| to_status(&e))?;
        let config_json = serde_json::to_string(&config)
            .map_err(|error| to_status(&AppError::Failed(format!("the configuration as JSON: {error}"))))?;
        Ok(Response::new(wire::ShowConfigResponse {
            text: tasuki_config::to_toml(&config),
            revision: revision.0,
            config_json,
        }))
    }

    async fn diff(&self, request: Request<wire::DiffConfigRequest>) -> Answer<wire::DiffConfigResponse> {
        let by = self.by(&request)?;
        let wire::DiffConfigRequest { from, to } = request.into_inner();
        let to = (to > 0).then_some(Revision(to));
        let text = self.app.config_diff(&by, Revision(from), to).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(wire::DiffConfigResponse { text }))
    }

    async fn rollback(
        &self,
        request: Request<wire::RollbackConfigRequest>,
    ) -> Answer<wire::RollbackConfigResponse> {
        let by = self.by(&request)?;
        let wire::RollbackConfigRequest { revision, confirmed } = request.into_inner();
        let rollback = self.app.config_rollback(&by, Revision(revision), confirmed).await;
        Ok(Response::new(convert_plan::rollback_out(rollback.map_err(|e| to_status(&e))?)))
    }

    async fn check_here(&self, request: Request<wire::CheckHereRequest>) -> Answer<wire::CheckHereResponse> {
        let by = self.by(&request)?;
        let wire::CheckHereRequest { text, wait_for } = request.into_inner();
        let check =
            self.app.config_check_here(&by, &text, Revision(wait_for)).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(wire::CheckHereResponse { revision: check.revision.0, problems: check.problems }))
    }
}
