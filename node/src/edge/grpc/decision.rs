//! `tasuki.v1.Decision`.

use tasuki_proto::v1::{self as wire, decision_server::Decision};
use tonic::{Request, Response, Status};

use super::{Face, convert_plan, status::to_status};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Decision for Face {
    async fn list(
        &self,
        request: Request<wire::ListDecisionsRequest>,
    ) -> Answer<wire::ListDecisionsResponse> {
        let by = self.by(&request)?;
        let limit = usize::try_from(request.into_inner().limit).ok().filter(|limit| *limit > 0);
        let (rounds, server) = self.app.decision_list(&by, limit).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(wire::ListDecisionsResponse {
            rounds: rounds.into_iter().map(convert_plan::round_out).collect(),
            server: server.to_string(),
        }))
    }

    async fn replay(
        &self,
        request: Request<wire::ReplayDecisionRequest>,
    ) -> Answer<wire::ReplayDecisionResponse> {
        let by = self.by(&request)?;
        let id = request.into_inner().id;
        let replay = self.app.decision_replay(&by, id).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert_plan::replay_out(replay)))
    }
}
