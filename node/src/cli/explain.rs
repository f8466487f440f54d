//! `tasuki explain NAME`

use tasuki_proto::v1::{self as wire, plan_client::PlanClient};

use super::{
    Context,
    connect::{answered, unreadable},
    render,
};
use crate::{
    app::{AppError, explain::Explanation, wall_now},
    edge::grpc::convert,
};

pub(super) async fn perform(context: &Context, name: String) -> Result<(), AppError> {
    let mut client = PlanClient::new(context.connect().await?);
    let answer = client.explain(wire::ExplainRequest { name }).await.map_err(answered)?.into_inner();
    let units: Vec<Explanation> = answer
        .units
        .into_iter()
        .map(convert::explanation_in)
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    context.out.show(&units, |units| {
        let now = wall_now();
        let texts: Vec<String> =
            units.iter().map(|one| render::explanation(one, now, context.out.color)).collect();
        texts.join("\n")
    })
}
