//! What operators wish, after the configuration file was read and checked.
//!
//! The file itself (TOML, with its units and its error messages) is the matter of `node/config`;
//! these types are what the registry keeps and what decisions read.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{GroupName, NetworkName, ResourceName, ServerName},
    time::millis,
    timing::Timing,
};

/// A whole cluster definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterConfig {
    /// Settings of the cluster itself.
    pub settings: ClusterSettings,
    /// Servers, by name.
    pub servers: BTreeMap<ServerName, ServerConfig>,
    /// Groups, by name.
    pub groups: BTreeMap<GroupName, GroupConfig>,
}

/// Settings of the cluster as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSettings {
    /// The cluster's name.
    pub name: String,
    /// For people.
    pub comment: String,
    /// Every time, derived from `detect`.
    pub timing: Timing,
    /// How long a cold start waits for a group's home server before another one is chosen.
    #[serde(with = "millis")]
    pub startup_wait: Duration,
    /// The networks that servers share.
    pub networks: BTreeMap<NetworkName, Network>,
    /// Heartbeat paths, first = highest priority.
    pub heartbeats: Vec<HeartbeatPath>,
    /// TCP port of the gRPC services, on every server's addresses.
    pub port: u16,
    /// UDP port of the heartbeats.
    pub heartbeat_port: u16,
}

/// One subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The subnet's address.
    pub subnet: IpAddr,
    /// The subnet's prefix length.
    pub prefix: u8,
    /// What it is used for.
    pub uses: Vec<NetworkUse>,
}

/// What a network is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkUse {
    /// Clients; floating addresses.
    Public,
    /// Between servers.
    Interconnect,
    /// Mirror data.
    Mirror,
}

/// One kind of heartbeat path between all servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum HeartbeatPath {
    /// Datagrams on a network.
    Lan {
        /// The network.
        network: NetworkName,
    },
    /// A serial cross cable.
    Com {
        /// The device, `/dev/ttyS0` by default.
        device: PathBuf,
    },
    /// A block of a shared disk.
    Disk {
        /// The device.
        device: PathBuf,
    },
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerConfig {
    /// Position in the file, from 1: the lowest number breaks ties.
    pub number: u32,
    /// For people.
    pub comment: String,
    /// Its address on each network.
    pub addresses: BTreeMap<NetworkName, IpAddr>,
}

/// One failover group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupConfig {
    /// For people.
    pub comment: String,
    /// Servers that may run it; the first is its home.
    pub servers: Vec<ServerName>,
    /// Whether it starts with the cluster.
    pub startup: Automatic,
    /// Whether it goes elsewhere by itself when its server fails.
    pub failover: Automatic,
    /// Whether it goes home by itself.
    pub failback: Automatic,
    /// Its resources.
    pub resources: BTreeMap<ResourceName, ResourceConfig>,
}

/// By itself, or only when an operator says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Automatic {
    /// By itself.
    Auto,
    /// When an operator says so.
    Manual,
}

/// One resource of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceConfig {
    /// For people.
    pub comment: String,
    /// What must be online before it; `None` follows the default: floating addresses before
    /// programs.
    pub depends_on: Option<Vec<ResourceName>>,
    /// What to do when it does not start, or ends by itself.
    pub on_start_failure: StartFailurePolicy,
    /// What to do when it does not stop.
    pub on_stop_failure: StopFailurePolicy,
    /// What it is.
    pub kind: ResourceKind,
}

/// The types of resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ResourceKind {
    /// A program or a pair of scripts.
    Exec(ExecConfig),
    /// An address that moves with the group.
    FloatingIp(FloatingIpConfig),
}

impl ResourceKind {
    /// The type's name in files and tables.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Exec(_) => "exec",
            Self::FloatingIp(_) => "floating_ip",
        }
    }
}

/// A program or a pair of scripts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecConfig {
    /// Command line to start it: program and arguments.
    pub start: Vec<String>,
    /// Command line to stop it. Without one, what runs gets SIGTERM, then SIGKILL.
    pub stop: Option<Vec<String>>,
    /// Synchronous: the start command must end with 0. Asynchronous: it keeps running and is
    /// watched.
    pub wait: bool,
    /// Runs as this user; as Tasuki's own otherwise.
    pub user: Option<String>,
    /// Working directory.
    pub directory: Option<PathBuf>,
    /// More environment.
    pub environment: BTreeMap<String, String>,
    /// How long the start command may take.
    #[serde(with = "millis")]
    pub start_timeout: Duration,
    /// How long the stop command, and what runs, may take to end.
    #[serde(with = "millis")]
    pub stop_timeout: Duration,
    /// Asynchronous only: notice by itself when the program ends.
    pub watch: bool,
}

/// A floating address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloatingIpConfig {
    /// The address.
    pub address: IpAddr,
    /// Prefix length; that of the network it belongs to when not given.
    pub prefix: u8,
    /// The interface (`ADDRESS%DEVICE`); the one that carries the subnet otherwise.
    pub device: Option<String>,
    /// Another address on single servers.
    pub per_server: BTreeMap<ServerName, IpAddr>,
}

/// What to do when a resource does not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartFailurePolicy {
    /// More tries on the same server.
    pub retries: u32,
    /// How often a server may hand the group on because of this resource.
    pub failovers: u32,
    /// When both are used up.
    pub last: FinalAction,
}

/// What to do when a resource does not stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopFailurePolicy {
    /// More tries.
    pub retries: u32,
    /// When they are used up.
    pub last: FinalAction,
}

/// The last rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinalAction {
    /// Do nothing, and start no later resource.
    None,
    /// Stop Tasuki on this server, and with it all that it runs.
    Stop,
    /// Stop, then reboot the machine.
    StopAndReboot,
    /// Stop, then power the machine off.
    StopAndPowerOff,
}

impl ClusterConfig {
    /// The servers in order of their number.
    #[must_use]
    pub fn servers_by_number(&self) -> Vec<(&ServerName, &ServerConfig)> {
        let mut servers: Vec<_> = self.servers.iter().collect();
        servers.sort_by_key(|(_, server)| server.number);
        servers
    }
}
