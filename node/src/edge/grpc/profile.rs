//! `tasuki.v1.Profile`.

use tasuki_proto::v1::{self as wire, profile_server::Profile};
use tonic::{Request, Response, Status};

use super::{Face, status::to_status};

#[tonic::async_trait]
impl Profile for Face {
    async fn show(
        &self,
        request: Request<wire::ShowProfileRequest>,
    ) -> Result<Response<wire::ShowProfileResponse>, Status> {
        let by = self.by(&request)?;
        let signed = self.app.profile_show(&by).map_err(|e| to_status(&e))?;
        Ok(Response::new(wire::ShowProfileResponse { signed_json: signed.unwrap_or_default() }))
    }
}
