//! Asks the other servers for their profile, at the addresses where they were last.

use std::{net::SocketAddr, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use tasuki_core::{config::ClusterConfig, ids::ServerName};
use tasuki_proto::v1::{ShowProfileRequest, profile_client::ProfileClient};
use tonic::transport::Endpoint;

use super::SignedProfile;
use crate::identity::Identity;

/// A start waits no longer than this: a guard that has restarted its node counts on it.
const PATIENCE: Duration = Duration::from_millis(500);
/// And once somebody has answered, no longer than this for the others.
const AFTER_THE_FIRST: Duration = Duration::from_millis(100);

/// The valid profiles of those who answer, each with who that was.
pub(super) async fn ask(identity: &Identity, config: &ClusterConfig) -> Vec<(SignedProfile, String)> {
    let mut questions = FuturesUnordered::new();
    for (name, server) in &config.servers {
        if name == identity.server() || !server.role.runs_groups() {
            continue;
        }
        for address in server.addresses.values() {
            questions.push(ask_one(identity, name, SocketAddr::new(*address, config.settings.port)));
        }
    }
    let mut answers = Vec::new();
    let mut until = tokio::time::Instant::now() + PATIENCE;
    while let Ok(Some((from, answer))) = tokio::time::timeout_at(until, questions.next()).await {
        match answer {
            Ok(Some(text)) => match SignedProfile::check(identity, &text, &from) {
                Ok(signed) => {
                    answers.push((signed, from));
                    until = until.min(tokio::time::Instant::now() + AFTER_THE_FIRST);
                }
                Err(error) => tracing::warn!("{}: {error}", error.code()),
            },
            Ok(None) => {}
            Err(why) => tracing::debug!("{from} was not asked for its profile: {why}"),
        }
    }
    answers
}

async fn ask_one(
    identity: &Identity,
    server: &ServerName,
    address: SocketAddr,
) -> (String, Result<Option<String>, String>) {
    let call = async {
        let endpoint = Endpoint::from_shared(format!("https://{address}"))
            .and_then(|endpoint| endpoint.connect_timeout(PATIENCE).tls_config(identity.client_tls(server)))
            .map_err(|error| error.to_string())?;
        let channel = endpoint.connect().await.map_err(|error| error.to_string())?;
        let answer = ProfileClient::new(channel).show(ShowProfileRequest {}).await;
        let text = answer.map_err(|status| status.message().to_owned())?.into_inner().signed_json;
        Ok((!text.is_empty()).then_some(text))
    };
    (format!("{server} at {address}"), call.await)
}
