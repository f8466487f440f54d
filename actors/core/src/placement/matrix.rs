//! What the loss of each single server, and of each single path, would do now.
//!
//! A path that is lost cuts off the servers that nobody hears without it. It also takes the floating
//! addresses that lie in its network.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::forecast::{Change, Ended, Interruption, Picture, played};
use crate::{
    config::{GroupConfig, HeartbeatPath},
    ids::{GroupName, NetworkName, ServerName},
    registry::State,
};

/// One thing that is lost.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "lost", rename_all = "snake_case")]
pub enum Loss {
    /// A server.
    Server {
        /// Which.
        server: ServerName,
    },
    /// One server's cable to a heartbeat network.
    Cable {
        /// Whose.
        server: ServerName,
        /// To which network.
        network: NetworkName,
    },
    /// A whole heartbeat network.
    Network {
        /// Which.
        network: NetworkName,
    },
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Server { server } => write!(f, "server {server}"),
            Self::Cable { server, network } => write!(f, "{server} on {network}"),
            Self::Network { network } => write!(f, "network {network}"),
        }
    }
}

/// What one loss would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// What is lost.
    pub loss: Loss,
    /// Servers that no other server hears any more.
    pub cut_off: Vec<ServerName>,
    /// The groups that are interrupted.
    pub interruptions: Vec<Interruption>,
    /// Groups that are wanted, run now, and would not run any more.
    pub down: Vec<GroupName>,
    /// How it ends.
    pub ended: Ended,
}

/// The loss of each server, then of each cable, then of each network. `broken` are the cables that
/// carry nothing now.
#[must_use]
pub fn matrix(picture: &Picture, broken: &BTreeSet<(ServerName, NetworkName)>) -> Vec<Row> {
    let servers = up(picture);
    let cables = Cables::of(picture, &servers, broken);
    let mut played = Played { picture, rows: BTreeMap::new(), down_now: down_now(picture) };
    let mut rows = Vec::new();
    for server in &servers {
        let loss = Loss::Server { server: server.clone() };
        let lost = Lost { servers: BTreeSet::from([server.clone()]), cables: BTreeSet::new() };
        rows.push(played.row(loss, lost, Vec::new()));
    }
    let lost_cables = cables.plugged.iter().map(|cable| {
        let (server, network) = cable.clone();
        let cut_off = cables.cut_off_by_cable(&server, &network);
        (Loss::Cable { server, network }, BTreeSet::from([cable.clone()]), cut_off)
    });
    let lost_networks = cables.networks.iter().map(|network| {
        let all = servers.iter().map(|server| (server.clone(), network.clone())).collect();
        (Loss::Network { network: network.clone() }, all, cables.cut_off(|_, other| other == network))
    });
    for (loss, cut, cut_off) in lost_cables.chain(lost_networks) {
        let alone = cut_off.iter().filter(|server| servers.contains(server)).cloned().collect();
        rows.push(played.row(loss, Lost { servers: alone, cables: cut }, cut_off));
    }
    rows
}

/// What is lost together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lost {
    servers: BTreeSet<ServerName>,
    cables: BTreeSet<(ServerName, NetworkName)>,
}

impl Lost {
    /// Only the cables on which somebody's address could be. What is cut off does nothing with its
    /// cables any more.
    fn that_matters(mut self, state: &State) -> Self {
        let networks = state.settings.as_ref().map(|settings| &settings.value.networks);
        let configs = || state.groups.values().filter_map(|entry| entry.config.as_ref());
        self.cables.retain(|(server, network)| {
            let Some(network) = networks.and_then(|networks| networks.get(network)) else { return false };
            let may_have_one = |config: &GroupConfig| {
                config.servers.contains(server)
                    && config.addresses_on(server).any(|(_, address)| network.contains(address))
            };
            !self.servers.contains(server) && configs().any(|config| may_have_one(&config.value))
        });
        self
    }

    /// Whether anything that runs can notice.
    fn is_felt(&self, state: &State) -> bool {
        let networks = state.settings.as_ref().map(|settings| &settings.value.networks);
        let addresses = |(server, network): &(ServerName, NetworkName)| {
            let network = networks.and_then(|networks| networks.get(network));
            let mut configs = state.owned_by(server).filter_map(|(_, entry)| entry.config.as_ref());
            configs.any(|config| {
                let mut here = config.value.addresses_on(server);
                here.any(|(_, address)| network.is_some_and(|network| network.contains(address)))
            })
        };
        !self.servers.is_empty() || self.cables.iter().any(addresses)
    }

    fn changes(&self) -> Vec<Change> {
        let servers = self.servers.iter().map(|server| Change::ServerDown { server: server.clone() });
        let cables = self
            .cables
            .iter()
            .map(|(server, network)| Change::CableCut { server: server.clone(), network: network.clone() });
        servers.chain(cables).collect()
    }
}

/// The servers that nobody hears any more when these cables are cut while `down` are down.
pub(super) fn isolated(
    picture: &Picture,
    cut: &BTreeSet<(ServerName, NetworkName)>,
    down: &BTreeSet<ServerName>,
) -> Vec<ServerName> {
    let mut servers = up(picture);
    servers.retain(|server| !down.contains(server));
    let cables = Cables::of(picture, &servers, &BTreeSet::new());
    let before = cables.cut_off(|_, _| false);
    let mut after = cables.cut_off(|server, network| cut.contains(&(server.clone(), network.clone())));
    after.retain(|server| !before.contains(server));
    after
}

/// The servers that are up, in order of their number.
fn up(picture: &Picture) -> Vec<ServerName> {
    let state = &picture.state;
    let mut servers: Vec<(&ServerName, u32)> = state
        .servers
        .iter()
        .filter(|(name, _)| state.presence(name).is_some_and(|presence| presence.up))
        .map(|(name, entry)| (name, entry.config.value.number))
        .collect();
    servers.sort_by_key(|(_, number)| *number);
    servers.into_iter().map(|(name, _)| name.clone()).collect()
}

/// Groups that do not run even though nothing is lost.
fn down_now(picture: &Picture) -> BTreeSet<GroupName> {
    played(picture, &[], "").map(|now| now.down.into_iter().collect()).unwrap_or_default()
}

struct Played<'a> {
    picture: &'a Picture,
    /// By what is lost together: many cables end in the same thing.
    rows: BTreeMap<Lost, (Vec<Interruption>, Vec<GroupName>, Ended)>,
    down_now: BTreeSet<GroupName>,
}

impl Played<'_> {
    fn row(&mut self, loss: Loss, lost: Lost, cut_off: Vec<ServerName>) -> Row {
        let lost = lost.that_matters(&self.picture.state);
        if !lost.is_felt(&self.picture.state) {
            // Everybody is heard on another path, and no address runs on this one.
            return Row { loss, cut_off, interruptions: Vec::new(), down: Vec::new(), ended: Ended::Settled };
        }
        let Self { picture, rows, down_now } = self;
        let (interruptions, down, ended) = rows.entry(lost).or_insert_with_key(|lost| {
            match played(picture, &lost.changes(), "") {
                Ok(forecast) => {
                    let interrupts = forecast.interruptions.into_iter().filter(Interruption::interrupts);
                    let down = forecast.down.into_iter().filter(|group| !down_now.contains(group));
                    (interrupts.collect(), down.collect(), forecast.ended)
                }
                // Only servers that are up, and networks that are configured, are lost here.
                Err(_) => (Vec::new(), Vec::new(), Ended::Settled),
            }
        });
        let (interruptions, down, ended) = (interruptions.clone(), down.clone(), ended.clone());
        Row { loss, cut_off, interruptions, down, ended }
    }
}

/// Who is plugged into which heartbeat network.
struct Cables {
    servers: Vec<ServerName>,
    networks: Vec<NetworkName>,
    plugged: Vec<(ServerName, NetworkName)>,
}

impl Cables {
    fn of(picture: &Picture, servers: &[ServerName], broken: &BTreeSet<(ServerName, NetworkName)>) -> Self {
        let settings = picture.state.settings.as_ref().map(|settings| &settings.value);
        let networks: Vec<NetworkName> = settings
            .into_iter()
            .flat_map(|settings| &settings.heartbeats)
            .filter_map(|path| match path {
                HeartbeatPath::Lan { network } => Some(network.clone()),
                HeartbeatPath::Com { .. } | HeartbeatPath::Disk { .. } => None,
            })
            .collect();
        let mut plugged = Vec::new();
        for server in servers {
            let addresses = picture.state.servers.get(server).map(|entry| &entry.config.value.addresses);
            for network in &networks {
                let here = (server.clone(), network.clone());
                if addresses.is_some_and(|addresses| addresses.contains_key(network))
                    && !broken.contains(&here)
                {
                    plugged.push(here);
                }
            }
        }
        Self { servers: servers.to_vec(), networks, plugged }
    }

    /// The servers that hear no other one when these cables carry nothing: all that are not in the
    /// largest part that still holds together (the one with the lowest number among equals).
    fn cut_off(&self, lost: impl Fn(&ServerName, &NetworkName) -> bool) -> Vec<ServerName> {
        let left: Vec<&(ServerName, NetworkName)> =
            self.plugged.iter().filter(|(server, network)| !lost(server, network)).collect();
        let mut parts: Vec<BTreeSet<ServerName>> = Vec::new();
        for server in &self.servers {
            if parts.iter().any(|part| part.contains(server)) {
                continue;
            }
            let mut part = BTreeSet::from([server.clone()]);
            let mut reached: BTreeSet<NetworkName> = BTreeSet::new();
            loop {
                let next: BTreeSet<NetworkName> =
                    left.iter().filter(|(server, _)| part.contains(server)).map(|(_, n)| n.clone()).collect();
                if next == reached {
                    break;
                }
                part.extend(left.iter().filter(|(_, n)| next.contains(n)).map(|(server, _)| server.clone()));
                reached = next;
            }
            parts.push(part);
        }
        let largest = parts.iter().map(BTreeSet::len).max().unwrap_or(0);
        if largest <= 1 && self.servers.len() > 1 {
            return self.servers.clone();
        }
        let kept = parts.iter().find(|part| part.len() == largest);
        let alone = |server: &&ServerName| kept.is_none_or(|kept| !kept.contains(*server));
        self.servers.iter().filter(alone).cloned().collect()
    }

    fn cut_off_by_cable(&self, server: &ServerName, network: &NetworkName) -> Vec<ServerName> {
        self.cut_off(|s, n| s == server && n == network)
    }
}
