//! `tasuki group start | stop | move | status | reset`

use std::process::ExitCode;

use tasuki_core::ids::ServerName;
use tasuki_proto::v1::{self as wire, group_client::GroupClient};

use super::{
    Context,
    args::GroupVerb,
    cluster::accepted_as,
    connect::{answered, unreadable},
    render,
    wait::{self, Goal},
};
use crate::{
    app::{AppError, wall_now},
    edge::grpc::convert,
};

pub(super) async fn perform(context: &Context, verb: GroupVerb) -> Result<ExitCode, AppError> {
    let mut client = GroupClient::new(context.connect().await?);
    let (accepted, group, goal, waiting) = match verb {
        GroupVerb::Start { group, on, because, wait } => {
            let goal = Goal::Online { on: on.clone().map(ServerName::new), not_on: None };
            let (on, because) = (on.unwrap_or_default(), because.unwrap_or_default());
            let request = wire::StartGroupRequest { group: group.clone(), on, because };
            (client.start(request).await, group, goal, wait)
        }
        GroupVerb::Stop { group, force, because, wait } => {
            let because = because.unwrap_or_default();
            let request = wire::StopGroupRequest { group: group.clone(), force, because };
            (client.stop(request).await, group, Goal::Offline, wait)
        }
        GroupVerb::Move { group, to, force, because, wait } => {
            let before =
                client.get(wire::GetGroupRequest { group: group.clone() }).await.map_err(answered)?;
            let not_on = convert::optional(before.into_inner().server).map(ServerName::new);
            let goal = Goal::Online { on: to.clone().map(ServerName::new), not_on };
            let (to, because) = (to.unwrap_or_default(), because.unwrap_or_default());
            let request = wire::MoveGroupRequest { group: group.clone(), to, force, because };
            (client.r#move(request).await, group, goal, wait)
        }
        GroupVerb::Status { group } => {
            status(context, &mut client, group).await?;
            return Ok(ExitCode::SUCCESS);
        }
        GroupVerb::Reset { group } => {
            let request = wire::ResetGroupRequest { group: group.clone() };
            let accepted = client.reset(request).await.map_err(answered)?.into_inner();
            accepted_as(context, accepted, &format!("failure counters of {group} are zero"))?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let accepted = accepted.map_err(answered)?.into_inner();
    if waiting.no_wait {
        accepted_as(context, accepted, &format!("{group}: accepted"))?;
        return Ok(ExitCode::SUCCESS);
    }
    wait::until(context, &group, &goal, waiting.timeout).await
}

async fn status(
    context: &Context,
    client: &mut GroupClient<tonic::transport::Channel>,
    group: Option<String>,
) -> Result<(), AppError> {
    let color = context.out.color;
    if let Some(group) = group {
        let answer = client.get(wire::GetGroupRequest { group }).await.map_err(answered)?;
        let group = convert::group_in(answer.into_inner()).map_err(unreadable)?;
        return context.out.show(&group, |group| render::group(group, wall_now(), color));
    }
    let answer = client.list(wire::ListGroupsRequest {}).await.map_err(answered)?.into_inner();
    let groups: Vec<_> =
        answer.groups.into_iter().map(convert::group_in).collect::<Result<_, _>>().map_err(unreadable)?;
    context.out.show(&groups, |groups| {
        if groups.is_empty() {
            return "no groups are configured".to_owned();
        }
        groups.iter().map(|group| render::group(group, wall_now(), color)).collect::<Vec<_>>().join("\n")
    })
}
