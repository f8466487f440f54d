//! `tasuki.v1.Plan`.

use tasuki_proto::v1::{self as wire, plan_server::Plan};
use tonic::{Request, Response, Status};

use super::{Face, convert, convert_plan, status::to_status};
use crate::app::AppError;

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Plan for Face {
    async fn forecast(&self, request: Request<wire::ForecastRequest>) -> Answer<wire::ForecastResponse> {
        let by = self.by(&request)?;
        let mut request = request.into_inner();
        let (config, file) = (std::mem::take(&mut request.config), std::mem::take(&mut request.file));
        let supposed = convert_plan::supposed_in(request);
        let plan = self.app.plan_forecast_with(&by, supposed, &config, &file).await;
        Ok(Response::new(convert_plan::plan_out(plan.map_err(|e| to_status(&e))?)))
    }

    async fn matrix(&self, request: Request<wire::MatrixRequest>) -> Answer<wire::MatrixResponse> {
        let by = self.by(&request)?;
        let rows = self.app.plan_matrix(&by).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(wire::MatrixResponse {
            rows: rows.into_iter().map(convert_plan::row_out).collect(),
        }))
    }

    async fn picture(&self, request: Request<wire::PictureRequest>) -> Answer<wire::PictureResponse> {
        let by = self.by(&request)?;
        let picture = self.app.plan_picture(&by).await.map_err(|e| to_status(&e))?;
        let picture_json = serde_json::to_string(&picture)
            .map_err(|error| to_status(&AppError::Failed(format!("the state as JSON: {error}"))))?;
        Ok(Response::new(wire::PictureResponse { picture_json }))
    }

    async fn explain(&self, request: Request<wire::ExplainRequest>) -> Answer<wire::ExplainResponse> {
        let by = self.by(&request)?;
        let name = request.into_inner().name;
        let units = self.app.explain_named(&by, &name).map_err(|e| to_status(&e))?;
        Ok(Response::new(wire::ExplainResponse {
            units: units.into_iter().map(convert::explanation_out).collect(),
        }))
    }
}
