//! Questions to the same face of other servers, with this server's certificate.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use async_trait::async_trait;
use tasuki_core::ids::{Revision, ServerName, VolumeName};
use tasuki_proto::v1::{
    self as wire, config_client::ConfigClient, mirror_admin_client::MirrorAdminClient,
    vote_client::VoteClient,
};
use tonic::{
    Request,
    transport::{Channel, ClientTlsConfig, Endpoint},
};

use super::{caller::on_behalf, convert, status::from_status};
use crate::{
    app::{
        AppError, Caller, Fleet,
        mirrors::{CopyHere, Difference, Order, OrderDone},
        ports::LocalCheck,
        votes::VoteView,
    },
    identity::Identity,
};

/// One address is given up after this.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// A server is given this long to look at its voting files: a disk may be slow.
const VOTES_WITHIN: Duration = Duration::from_secs(15);
/// A server is given this long to say how its copies are: it only has to look.
const MIRRORS_WITHIN: Duration = Duration::from_secs(3);
/// Files are looked for on the disk.
const FILES_WITHIN: Duration = Duration::from_secs(90);
/// A server is given this long to check and to apply.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);

/// The other servers, over mutual TLS.
pub struct PeerFleet {
    identity: Identity,
}

impl PeerFleet {
    /// Calls with this server's certificate.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self { identity }
    }
}

#[async_trait]
impl Fleet for PeerFleet {
    async fn check_there(
        &self,
        server: &ServerName,
        addresses: &[IpAddr],
        port: u16,
        text: &str,
        wait_for: Revision,
    ) -> Result<LocalCheck, String> {
        let mut last = "it has no address".to_owned();
        for address in addresses {
            let address = SocketAddr::new(*address, port);
            let channel = match connect(address, self.identity.client_tls(server)).await {
                Ok(channel) => channel,
                Err(why) => {
                    last = format!("{address} cannot be reached ({why})");
                    continue;
                }
            };
            let request = wire::CheckHereRequest { text: text.to_owned(), wait_for: wait_for.0 };
            let mut client = ConfigClient::new(channel);
            match tokio::time::timeout(ANSWER_WITHIN, client.check_here(request)).await {
                Ok(Ok(answer)) => {
                    let answer = answer.into_inner();
                    return Ok(LocalCheck { revision: Revision(answer.revision), problems: answer.problems });
                }
                Ok(Err(status)) => last = format!("{address} answered: {}", status.message()),
                Err(_) => last = format!("{address} did not answer within {ANSWER_WITHIN:?}"),
            }
        }
        Err(last)
    }

    async fn votes_there(
        &self,
        server: &ServerName,
        addresses: &[IpAddr],
        port: u16,
        paths: &[PathBuf],
    ) -> Result<Vec<VoteView>, String> {
        let mut last = "it has no address".to_owned();
        for address in addresses {
            let address = SocketAddr::new(*address, port);
            let channel = match connect(address, self.identity.client_tls(server)).await {
                Ok(channel) => channel,
                Err(why) => {
                    last = format!("{address} cannot be reached ({why})");
                    continue;
                }
            };
            let paths = paths.iter().map(|path| path.display().to_string()).collect();
            let mut client = VoteClient::new(channel);
            let asked = client.check_here(wire::CheckVotesHereRequest { paths });
            match tokio::time::timeout(VOTES_WITHIN, asked).await {
                Ok(Ok(answer)) => {
                    return Ok(answer.into_inner().files.into_iter().map(convert::vote_in).collect());
                }
                Ok(Err(status)) => last = format!("{address} answered: {}", status.message()),
                Err(_) => last = format!("{address} did not answer within {VOTES_WITHIN:?}"),
            }
        }
        Err(last)
    }

    async fn mirrors_there(
        &self,
        server: &ServerName,
        addresses: &[IpAddr],
        port: u16,
    ) -> Result<Vec<CopyHere>, String> {
        let mut client = MirrorAdminClient::new(self.reach(server, addresses, port).await?);
        let asked = tokio::time::timeout(MIRRORS_WITHIN, client.here(wire::MirrorHereRequest {})).await;
        let answer = asked.map_err(|_| format!("no answer within {MIRRORS_WITHIN:?}"))?;
        let copies = answer.map_err(|status| status.message().to_owned())?.into_inner().copies;
        copies.into_iter().map(|copy| convert::here_in(copy).map_err(|error| error.to_string())).collect()
    }

    async fn mirror_differences_there(
        &self,
        server: &ServerName,
        addresses: &[IpAddr],
        port: u16,
        by: &Caller,
        volume: &VolumeName,
    ) -> Result<Vec<Difference>, AppError> {
        let channel = self.reach(server, addresses, port).await;
        let channel = channel.map_err(|why| AppError::Unreachable(format!("{server}: {why}")))?;
        let request = wire::MirrorDifferencesRequest { volume: volume.to_string(), here: true };
        let asked = tokio::time::timeout(FILES_WITHIN, async move {
            MirrorAdminClient::new(channel).differences(on_behalf(Request::new(request), by)).await
        });
        let answer = asked
            .await
            .map_err(|_| AppError::Unreachable(format!("{server} did not answer within {FILES_WITHIN:?}")))?;
        let answer = answer.map_err(|status| from_status(&status))?.into_inner();
        Ok(answer.parts.into_iter().map(convert::difference_in).collect())
    }

    async fn mirror_order_there(
        &self,
        server: &ServerName,
        addresses: &[IpAddr],
        port: u16,
        by: &Caller,
        volume: &VolumeName,
        order: &Order,
    ) -> Result<OrderDone, AppError> {
        let channel = self.reach(server, addresses, port).await;
        let channel = channel.map_err(|why| AppError::Unreachable(format!("{server}: {why}")))?;
        let request = on_behalf(Request::new(convert::order_out(volume, order, true)), by);
        let asked = tokio::time::timeout(ANSWER_WITHIN, async move {
            MirrorAdminClient::new(channel).order(request).await
        });
        let answer = asked
            .await
            .map_err(|_| AppError::Unclear(format!("{server} did not answer within {ANSWER_WITHIN:?}")))?;
        Ok(convert::done_in(answer.map_err(|status| from_status(&status))?.into_inner()))
    }
}

impl PeerFleet {
    /// A connection at the first address that answers.
    async fn reach(&self, server: &ServerName, addresses: &[IpAddr], port: u16) -> Result<Channel, String> {
        let mut last = "it has no address".to_owned();
        for address in addresses {
            let address = SocketAddr::new(*address, port);
            match connect(address, self.identity.client_tls(server)).await {
                Ok(channel) => return Ok(channel),
                Err(why) => last = format!("{address} cannot be reached ({why})"),
            }
        }
        Err(last)
    }
}

async fn connect(address: SocketAddr, tls: ClientTlsConfig) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(format!("https://{address}"))
        .and_then(|endpoint| endpoint.connect_timeout(CONNECT_WITHIN).tls_config(tls))
        .map_err(|error| error.to_string())?;
    let connected = tokio::time::timeout(CONNECT_WITHIN * 2, endpoint.connect()).await;
    connected.map_err(|_| "no answer".to_owned())?.map_err(|error| super::serve::chain(&error))
}
