//! What operators wish, after the configuration file was read and checked.
//!
//! The file itself (TOML, with its units and its error messages) is the matter of `node/config`;
//! these types are what the registry keeps and what decisions read.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{FenceName, GroupName, MonitorName, NetworkName, PoolName, ResourceName, ServerName, TypeName},
    time::millis,
    timing::Timing,
};

pub mod built_in;
mod definition;
mod dependency;
pub mod dependency_syntax;
mod fencing;
pub mod graph;
pub mod instances;
mod mirror;
mod monitor;
mod network;
pub mod pool;
pub mod profile;
pub mod removal;
mod resource_type;
pub mod spelling;
pub mod type_tree;
mod votes;

pub use definition::{Cardinality, InstanceOf, PlacementPolicy, ResourceDefinition};
pub use dependency::{Named, StartDependency, StartKind, StopDependency};
pub use fencing::{FenceConfig, FenceKind, HIDDEN, is_secret};
pub use mirror::{
    Compression, DeviceBackend, InitialCopy, MIRROR_PORT, MirrorAreas, MirrorDiskConfig, OnDiskFailure,
    mirror_disks, mirror_monitors,
};
pub use monitor::{MonitorConfig, MonitorKind, MonitorTiming, RecoveryConfig, RecoveryTarget};
pub use pool::PoolConfig;
pub use resource_type::{AttributeConfig, TypeConfig, Value, ValueKind};
pub use votes::{AtLeaseEnd, QuorumLoss, Role, TieBreak, Votes};

/// A whole cluster definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterConfig {
    /// Settings of the cluster itself.
    pub settings: ClusterSettings,
    /// Servers, by name.
    pub servers: BTreeMap<ServerName, ServerConfig>,
    /// Groups, by name: those that operators wrote, not those that definitions make.
    pub groups: BTreeMap<GroupName, GroupConfig>,
    /// Resource types that users added.
    #[serde(default)]
    pub types: BTreeMap<TypeName, TypeConfig>,
    /// Server pools, without `Free` and `Generic`.
    #[serde(default)]
    pub pools: BTreeMap<PoolName, PoolConfig>,
    /// Resources outside every group.
    #[serde(default)]
    pub resources: BTreeMap<ResourceName, ResourceDefinition>,
    /// Monitors.
    #[serde(default)]
    pub monitors: BTreeMap<MonitorName, MonitorConfig>,
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
    /// Votes besides those of the servers, and what breaks a tie of two.
    #[serde(default)]
    pub votes: Votes,
    /// Fencing devices, by name.
    #[serde(default)]
    pub fences: BTreeMap<FenceName, FenceConfig>,
    /// What becomes of a server whose synchronisation service, or one of its watchers, hangs.
    #[serde(default)]
    pub on_hang: OnHang,
}

/// What becomes of a server that hangs (`on_hang`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnHang {
    /// Everything on it is killed, as at a lease's end, and a new node starts.
    #[default]
    Stop,
    /// The machine is reset; where that is not permitted, everything is killed.
    Reset,
}

impl ClusterSettings {
    /// The names that the reference system has for three of the times.
    #[must_use]
    pub fn named_times(&self) -> [(&'static str, Duration); 3] {
        let timing = &self.timing;
        [
            // A server that is not heard for so long is put out.
            ("misscount", timing.lease),
            // Shared storage that does not answer for so long is lost.
            ("disktimeout", self.votes.disk_timeout),
            // What a server that is put out has to be gone.
            ("reboottime", timing.guard_budget + timing.watchdog_cost()),
        ]
    }
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

impl HeartbeatPath {
    /// Its name among the paths: a network's own, else kind and device (`com:/dev/ttyS0`), which
    /// no network can be called.
    #[must_use]
    pub fn name(&self) -> NetworkName {
        match self {
            Self::Lan { network } => network.clone(),
            Self::Com { device } => NetworkName::new(format!("com:{}", device.display())),
            Self::Disk { device } => NetworkName::new(format!("disk:{}", device.display())),
        }
    }

    /// Whether a path of this name carries evidence only: no Raft, no lease (R21).
    #[must_use]
    pub fn is_evidence_only(name: &NetworkName) -> bool {
        name.as_str().starts_with("com:") || name.as_str().starts_with("disk:")
    }
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
    /// What it does in the cluster.
    #[serde(default)]
    pub role: Role,
    /// What it may be lost together with: a rack, a site. Votes are spread over these.
    #[serde(default)]
    pub domain: Option<String>,
    /// The devices that fence it: levels in order, and within a level all of them must confirm.
    #[serde(default)]
    pub fencing: Vec<Vec<FenceName>>,
}

/// One failover group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupConfig {
    /// For people.
    pub comment: String,
    /// Servers that may run it; the first is its home.
    pub servers: Vec<ServerName>,
    /// Whether it starts with the cluster.
    pub startup: Startup,
    /// Whether it goes elsewhere by itself when its server fails.
    pub failover: Automatic,
    /// Whether it goes home by itself.
    pub failback: Automatic,
    /// Its resources.
    pub resources: BTreeMap<ResourceName, ResourceConfig>,
    /// Whether it shares its server with other exclusive groups.
    #[serde(default)]
    pub exclusive: Exclusive,
    /// How one of its servers is chosen.
    #[serde(default)]
    pub placement: Placement,
    /// Only servers that are in one of these pools; empty means any.
    #[serde(default)]
    pub pools: Vec<PoolName>,
    /// How much of a server it takes; what balancing adds up.
    #[serde(default = "one")]
    pub load: u32,
    /// Whether anything may start it.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// What it asks of resources outside itself to start.
    #[serde(default)]
    pub start: Vec<StartDependency>,
    /// Which resources outside itself take it down with them.
    #[serde(default)]
    pub stop: Vec<StopDependency>,
    /// The resource whose instance it is, when a definition made it.
    #[serde(default)]
    pub instance: Option<InstanceOf>,
    /// What becomes of it when its server loses its lease.
    #[serde(default)]
    pub on_quorum_loss: QuorumLoss,
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            comment: String::new(),
            servers: Vec::new(),
            startup: Startup::Always,
            failover: Automatic::Auto,
            failback: Automatic::Manual,
            resources: BTreeMap::new(),
            on_quorum_loss: QuorumLoss::Stop,
            exclusive: Exclusive::No,
            placement: Placement::Ordered,
            pools: Vec::new(),
            load: 1,
            enabled: true,
            start: Vec::new(),
            stop: Vec::new(),
            instance: None,
        }
    }
}

/// Whether a group or resource starts with the cluster (or, bound to a server, with that server).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Startup {
    /// It does, whatever it was before.
    #[default]
    #[serde(alias = "auto")]
    Always,
    /// It does if it was wanted before.
    Restore,
    /// An operator starts it.
    #[serde(alias = "manual")]
    Never,
}

/// How one of the allowed servers is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// The first of the list that can take it.
    #[default]
    Ordered,
    /// The one with the least load.
    Balanced,
}

/// Whether a group keeps its server to itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exclusive {
    /// It shares it with anything.
    #[default]
    No,
    /// It takes a server without another exclusive group when there is one. After a failover
    /// without any other choice it shares one rather than not run.
    Normal,
    /// It never shares a server with another exclusive group, and rather does not run.
    Complete,
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
    /// Online for this long, its counters start again: UPTIME_THRESHOLD.
    #[serde(with = "millis", default = "a_minute")]
    pub uptime_threshold: Duration,
    /// So many failures within the interval, and it is given up: FAILURE_THRESHOLD. Zero: never.
    #[serde(default)]
    pub failure_threshold: u32,
    /// FAILURE_INTERVAL; zero counts nothing.
    #[serde(with = "millis", default)]
    pub failure_interval: Duration,
    /// The type as it was given, when it is not a built-in one.
    #[serde(default)]
    pub type_name: Option<TypeName>,
    /// What its programs find as `_CRS_NAME`, by name in capitals.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// What it is.
    pub kind: ResourceKind,
}

fn a_minute() -> Duration {
    Duration::from_secs(60)
}

impl ResourceConfig {
    /// A resource of this kind with everything else at its default: no retries, one failover.
    #[must_use]
    pub fn of(kind: ResourceKind) -> Self {
        Self {
            comment: String::new(),
            depends_on: None,
            on_start_failure: StartFailurePolicy { retries: 0, failovers: 1, last: FinalAction::None },
            on_stop_failure: StopFailurePolicy { retries: 0, last: FinalAction::None },
            uptime_threshold: a_minute(),
            failure_threshold: 0,
            failure_interval: Duration::ZERO,
            type_name: None,
            attributes: BTreeMap::new(),
            kind,
        }
    }
}

/// The types of resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ResourceKind {
    /// A program or a pair of scripts.
    Exec(ExecConfig),
    /// An address that moves with the group.
    FloatingIp(FloatingIpConfig),
    /// A device kept on every server of the group.
    MirrorDisk(MirrorDiskConfig),
}

impl ResourceKind {
    /// The type's name in files and tables.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Exec(_) => "exec",
            Self::FloatingIp(_) => "floating_ip",
            Self::MirrorDisk(_) => "mirror_disk",
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
    /// Asynchronous only: its end is a failure of its own. Where a `pid` monitor watches it, that
    /// one's recovery holds, whatever this says.
    pub watch: bool,
    /// How it is looked at while it is online.
    #[serde(default)]
    pub check: Option<CheckConfig>,
    /// It only reads: where its group's `on_quorum_loss` is `read_only` it runs on without a lease,
    /// also while somebody else runs the whole group.
    #[serde(default)]
    pub read_only: bool,
}

/// A command that says how a resource does, by its exit code: 0 online, 1 ended, 2 ended as
/// planned, 3 unknown, 4 intermediate, anything else failed. The first line that it prints is the
/// resource's STATE_DETAILS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckConfig {
    /// Program and arguments.
    pub command: Vec<String>,
    /// CHECK_INTERVAL.
    #[serde(with = "millis")]
    pub interval: Duration,
    /// How long it may take.
    #[serde(with = "millis")]
    pub timeout: Duration,
}

impl ExecConfig {
    /// A synchronous program without a stop command, with everything else at its default.
    #[must_use]
    pub fn of(start: Vec<String>) -> Self {
        Self {
            start,
            stop: None,
            wait: true,
            user: None,
            directory: None,
            environment: BTreeMap::new(),
            start_timeout: Duration::from_secs(1800),
            stop_timeout: Duration::from_secs(1800),
            watch: true,
            check: None,
            read_only: false,
        }
    }
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
    /// Reset the machine at once, without stopping anything first.
    Reset,
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
