//! `tasuki.v1.Membership`.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use tasuki_config::NewServer;
use tasuki_core::ids::{NetworkName, ServerName};
use tasuki_proto::v1::{self as wire, membership_server::Membership};
use tonic::{Request, Response, Status};

use super::{Face, convert, status::to_status};
use crate::app::{AppError, membership::Removal};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Membership for Face {
    async fn add(&self, request: Request<wire::AddServerRequest>) -> Answer<wire::PushConfigResponse> {
        let by = self.by(&request)?;
        let wire::AddServerRequest { name, addresses, domain, comment, dry_run } = request.into_inner();
        let addresses = addresses_in(addresses).map_err(|e| to_status(&e))?;
        let new = NewServer { name, comment, addresses, domain: convert::optional(domain) };
        let push = self.app.server_add(&by, new, dry_run).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(convert::push_out(push)))
    }

    async fn remove(
        &self,
        request: Request<wire::RemoveServerRequest>,
    ) -> Answer<wire::RemoveServerResponse> {
        use wire::remove_server_response::Outcome;
        let by = self.by(&request)?;
        let wire::RemoveServerRequest { server, stop, acknowledged } = request.into_inner();
        let server = ServerName::new(server);
        let removal =
            self.app.server_remove(&by, &server, stop, acknowledged).await.map_err(|e| to_status(&e))?;
        let outcome = match removal {
            Removal::Stopping(accepted) => Outcome::Stopping(convert::accepted_out(accepted)),
            Removal::Removed(push) => Outcome::Removed(convert::push_out(push)),
        };
        Ok(Response::new(wire::RemoveServerResponse { outcome: Some(outcome) }))
    }

    async fn replace(
        &self,
        request: Request<wire::ReplaceServerRequest>,
    ) -> Answer<wire::IssueTokenResponse> {
        let by = self.by(&request)?;
        let wire::ReplaceServerRequest { server, valid_seconds } = request.into_inner();
        let valid = (valid_seconds > 0).then(|| Duration::from_secs(valid_seconds));
        let server = ServerName::new(server);
        let token = self.app.server_replace(&by, &server, valid).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(wire::IssueTokenResponse {
            token: token.text,
            expires_ms: token.expires.0,
            join_at: token.join_at,
            witness: token.witness,
        }))
    }
}

fn addresses_in(all: Vec<wire::ServerAddress>) -> Result<BTreeMap<NetworkName, IpAddr>, AppError> {
    let mut addresses = BTreeMap::new();
    for wire::ServerAddress { network, address } in all {
        let parsed = address.parse();
        let parsed = parsed.map_err(|_| AppError::Invalid(format!("{address:?} is no address")))?;
        if addresses.insert(NetworkName::new(network.as_str()), parsed).is_some() {
            return Err(AppError::Invalid(format!("two addresses on network {network}")));
        }
    }
    Ok(addresses)
}
