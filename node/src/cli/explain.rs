//! `tasuki explain GROUP`

use tasuki_proto::v1::{self as wire, group_client::GroupClient};

use super::{
    Context,
    connect::{answered, unreadable},
    render,
};
use crate::{
    app::{AppError, wall_now},
    edge::grpc::convert,
};

pub(super) async fn perform(context: &Context, group: String) -> Result<(), AppError> {
    let mut client = GroupClient::new(context.connect().await?);
    let answer = client.explain(wire::ExplainGroupRequest { group }).await.map_err(answered)?;
    let explanation = convert::explanation_in(answer.into_inner()).map_err(unreadable)?;
    context
        .out
        .show(&explanation, |explanation| render::explanation(explanation, wall_now(), context.out.color))
}
