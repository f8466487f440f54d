//! `tasuki server list | shutdown | add | remove | replace`

use std::time::Duration;

use serde_json::json;
use tasuki_core::ids::ServerName;
use tasuki_proto::v1::{
    self as wire, cluster_client::ClusterClient, membership_client::MembershipClient,
    server_client::ServerClient,
};
use tonic::transport::Channel;

use super::{
    Context,
    args::{NewServerArgs, ServerVerb},
    cluster::{accepted_as, show_token},
    config,
    connect::{answered, unreadable},
    render,
};
use crate::{app::AppError, edge::grpc::convert};

/// Between two looks at a server that is stopping.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

pub(super) async fn perform(context: &Context, verb: ServerVerb) -> Result<(), AppError> {
    let channel = context.connect().await?;
    match verb {
        ServerVerb::List => {
            let mut client = ServerClient::new(channel);
            let answer = client.list(wire::ListServersRequest {}).await.map_err(answered)?.into_inner();
            let here = ServerName::new(answer.seen_from);
            let servers: Vec<_> = answer
                .servers
                .into_iter()
                .map(convert::server_in)
                .collect::<Result<_, _>>()
                .map_err(unreadable)?;
            context.out.show(&servers, |servers| render::servers(servers, &here, context.out.color))
        }
        ServerVerb::Shutdown { server, after } => {
            let after = convert::after_out(after.into());
            let request = wire::ServerShutdownRequest { server: server.clone(), after };
            let accepted = ServerClient::new(channel).shutdown(request).await.map_err(answered)?.into_inner();
            accepted_as(context, accepted, &format!("{server} hands its groups over and then stops"))
        }
        ServerVerb::Add(new) => add(context, channel, new).await,
        ServerVerb::Remove { server, stop, yes } => remove(context, channel, server, stop, yes).await,
        ServerVerb::Replace { server, expires } => {
            let request = wire::ReplaceServerRequest {
                server: server.clone(),
                valid_seconds: expires.as_secs().max(1),
            };
            let token = MembershipClient::new(channel).replace(request).await.map_err(answered)?.into_inner();
            show_token(context, token, Some(&server))
        }
    }
}

async fn add(context: &Context, channel: Channel, new: NewServerArgs) -> Result<(), AppError> {
    let addresses = new.at.into_iter();
    let request = wire::AddServerRequest {
        name: new.name.clone(),
        addresses: addresses
            .map(|one| wire::ServerAddress { network: one.network, address: one.address.to_string() })
            .collect(),
        domain: new.domain.unwrap_or_default(),
        comment: new.comment.unwrap_or_default(),
        dry_run: new.edit.dry_run,
    };
    let answer = MembershipClient::new(channel.clone()).add(request).await.map_err(answered)?.into_inner();
    if new.edit.dry_run {
        return config::show_push(context, answer);
    }
    let push = convert::push_in(answer).map_err(unreadable)?;
    let revision = push.revision.map_or_else(String::new, |revision| format!(" (revision {revision})"));
    context.out.say(&format!("{} is in the configuration{revision}\n", new.name));
    let request =
        wire::IssueTokenRequest { server: new.name.clone(), valid_seconds: new.expires.as_secs().max(1) };
    let token = ClusterClient::new(channel).issue_token(request).await.map_err(answered)?.into_inner();
    show_token(context, token, Some(&new.name))
}

/// Asks, waits while the server stops, and asks again.
async fn remove(
    context: &Context,
    channel: Channel,
    server: String,
    stop: bool,
    acknowledged: bool,
) -> Result<(), AppError> {
    use wire::remove_server_response::Outcome;
    let mut client = MembershipClient::new(channel);
    let mut told = false;
    loop {
        let request = wire::RemoveServerRequest { server: server.clone(), stop, acknowledged };
        let answer = client.remove(request).await.map_err(answered)?.into_inner();
        match answer.outcome {
            Some(Outcome::Stopping(_)) => {
                if !told {
                    context.out.say(&format!("{server} hands its groups over and then stops\n"));
                    told = true;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Some(Outcome::Removed(push)) => {
                let push = convert::push_in(push).map_err(unreadable)?;
                let value = json!({ "server": server, "revision": push.revision });
                return context.out.show(&value, |_| {
                    format!(
                        "{}\n{server} is no member any more; its data folder is of no use to this cluster",
                        config::pushed(&push, context.out.color)
                    )
                });
            }
            None => {
                return Err(AppError::Failed(
                    "the node's answer is empty: it may run another version".to_owned(),
                ));
            }
        }
    }
}
