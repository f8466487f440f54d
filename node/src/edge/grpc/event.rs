//! `tasuki.v1.Event`.

use futures::{StreamExt as _, stream::BoxStream};
use tasuki_proto::v1::{self as wire, event_server::Event};
use tonic::{Request, Response, Status};

use super::{Face, convert, status::to_status};

#[tonic::async_trait]
impl Event for Face {
    type WatchStream = BoxStream<'static, Result<wire::EventRecord, Status>>;

    async fn watch(
        &self,
        request: Request<wire::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let by = self.by(&request)?;
        let events = self.app.event_watch(&by, request.into_inner().object).map_err(|e| to_status(&e))?;
        Ok(Response::new(events.map(|event| Ok(convert::event_out(event))).boxed()))
    }
}
