//! How a server becomes a member: `tasuki cluster join`, seen from a member.

use std::net::IpAddr;

use tasuki_core::{
    config::{ClusterConfig, HeartbeatPath},
    ids::{Incarnation, ServerName},
    registry::{Author, Command, Level, Refusal, State},
};

use super::{App, AppError, bootstrap::Member};
use crate::{
    identity::{Token, Welcome},
    witness::WitnessError,
};

/// What a new member is told.
#[derive(Clone)]
pub struct Admission {
    /// Who it is, and the keys that all servers share.
    pub welcome: Welcome,
    /// The configuration.
    pub config: ClusterConfig,
    /// The members, the new one included.
    pub members: Vec<Member>,
}

/// What a joining server presents.
#[derive(Clone)]
pub struct JoinRequest {
    /// The token's public part.
    pub token_id: String,
    /// The token's secret part.
    pub secret: String,
    /// Who joins.
    pub server: ServerName,
    /// The public half of its key.
    pub public_key: Vec<u8>,
    /// It joins as a witness.
    pub witness: bool,
    /// The highest level of the registry that its program reads.
    pub level: Level,
}

impl App {
    /// Admits a server that presents a token. The token is used up by a registry command, so that
    /// it serves once, however many members it is shown to at the same time.
    ///
    /// # Errors
    /// A token that is unknown, used, expired or for another server; no such server; no quorum.
    pub async fn cluster_join(&self, request: JoinRequest) -> Result<Admission, AppError> {
        let JoinRequest { token_id, secret, server, public_key, witness, level } = request;
        let before = self.node.read().await?;
        if level < before.level() {
            return Err(Refusal::TooOld { server, speaks: level, level: before.level() }.into());
        }
        let entry = before.servers.get(&server);
        let is_server = entry.is_some_and(|entry| entry.config.value.role.runs_groups());
        if entry.is_some() && is_server == witness {
            let cluster = before.settings.as_ref().map_or_else(String::new, |s| s.value.name.clone());
            return Err(
                WitnessError::OtherRole { name: server.to_string(), cluster, server: is_server }.into()
            );
        }
        let last = before.presence(&server).map_or(Incarnation(0), |presence| presence.incarnation);
        let digest = Token::digest_of(&secret);
        let command = Command::Join { token: token_id, digest, server: server.clone() };
        let accepted = self.node.propose(Author::Server(server.clone()), command, None, Vec::new()).await?;
        let raft_id = accepted
            .raft_id
            .ok_or_else(|| AppError::Failed("the registry gave no Raft id out for this join".to_owned()))?;
        let state = self.node.read().await?;
        let config = state
            .config()
            .ok_or_else(|| AppError::Failed("the registry has no configuration yet".to_owned()))?;
        let addresses = addresses_of(&state, &server);
        let mut welcome = self.authority.issue(&server, raft_id, &addresses, &public_key, last)?;
        if witness {
            // It lets nobody in, and may stand where others have access to it.
            welcome.ca_key = String::new();
        }
        Ok(Admission { welcome, members: members(&state), config })
    }
}

/// A server's addresses in the order of the heartbeat paths, then its other ones.
#[must_use]
pub fn addresses_of(state: &State, server: &ServerName) -> Vec<IpAddr> {
    let (Some(entry), Some(settings)) = (state.servers.get(server), state.settings.as_ref()) else {
        return Vec::new();
    };
    let by_network = &entry.config.value.addresses;
    let paths = settings.value.heartbeats.iter().filter_map(|path| match path {
        HeartbeatPath::Lan { network } => by_network.get(network),
        HeartbeatPath::Com { .. } | HeartbeatPath::Disk { .. } => None,
    });
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in paths.chain(by_network.values()) {
        if !addresses.contains(address) {
            addresses.push(*address);
        }
    }
    addresses
}

/// Every server that has joined.
fn members(state: &State) -> Vec<Member> {
    let port = state.settings.as_ref().map_or(0, |settings| settings.value.port);
    state
        .servers
        .keys()
        .filter_map(|server| {
            Some(Member {
                server: server.clone(),
                raft_id: state.presence(server)?.raft_id,
                addresses: addresses_of(state, server),
                port: state.servers.get(server)?.config.value.role.port().unwrap_or(port),
            })
        })
        .collect()
}
