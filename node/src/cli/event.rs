//! `tasuki event watch`

use tasuki_proto::v1::{self as wire, event_client::EventClient};

use super::{Context, args::EventVerb, connect::answered, output::Style};
use crate::{app::AppError, edge::grpc::convert};

pub(super) async fn perform(context: &Context, verb: EventVerb) -> Result<(), AppError> {
    let EventVerb::Watch { object } = verb;
    let mut client = EventClient::new(context.connect_for_stream().await?);
    let mut events = client.watch(wire::WatchEventsRequest { object }).await.map_err(answered)?.into_inner();
    while let Some(event) = events.message().await.map_err(answered)? {
        context.out.line(&convert::event_in(event), |event| {
            let color = context.out.color;
            format!(
                "{}  {}  {}  {}  {}",
                event.at,
                event.server,
                Style::Bold.paint(&event.kind, color),
                event.object,
                event.text
            )
        })?;
    }
    Err(AppError::Unreachable("the node ended the connection".to_owned()))
}
