//! `tasuki server list | shutdown`

use tasuki_core::ids::ServerName;
use tasuki_proto::v1::{self as wire, server_client::ServerClient};

use super::{
    Context,
    args::ServerVerb,
    cluster::accepted_as,
    connect::{answered, unreadable},
    render,
};
use crate::{app::AppError, edge::grpc::convert};

pub(super) async fn perform(context: &Context, verb: ServerVerb) -> Result<(), AppError> {
    let mut client = ServerClient::new(context.connect().await?);
    match verb {
        ServerVerb::List => {
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
            let accepted = client.shutdown(request).await.map_err(answered)?.into_inner();
            accepted_as(context, accepted, &format!("{server} hands its groups over and then stops"))
        }
    }
}
