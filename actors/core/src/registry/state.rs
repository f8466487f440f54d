//! The registry's content, typed.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    Author, Change, Item, Key,
    answered::Answered,
    fencing::{Fencing, TieBreakNote},
    level::{Level, Spoken},
    mirror::Volume,
};
use crate::{
    config::{
        ClusterConfig, ClusterSettings, GroupConfig, MonitorConfig, PoolConfig, ResourceDefinition,
        ServerConfig, TypeConfig,
    },
    ids::{
        BootId, Epoch, GroupName, Incarnation, Lineage, MonitorName, PoolName, RaftId, ResourceName,
        Revision, ServerName, TypeName, VolumeName,
    },
    reason::Reason,
    time::WallTime,
};

/// The changes that `history` keeps.
pub const HISTORY_LIMIT: usize = 2000;

/// The configurations that `config diff` and `config rollback` can reach.
pub const VERSIONS_LIMIT: usize = 30;

/// The resources that all kept configurations may have together: they are part of every snapshot.
pub const VERSIONS_RESOURCES_LIMIT: usize = 20_000;

/// The failures that are kept of one resource.
pub const FAILURES_LIMIT: usize = 20;

/// Everything that the servers agree on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The history this registry belongs to; `None` until the first command.
    pub lineage: Option<Lineage>,
    /// The number of the last accepted change.
    pub revision: Revision,
    /// Wishes for the cluster as a whole.
    pub settings: Option<Item<ClusterSettings>>,
    /// Running, suspended or stopping.
    pub mode: Option<Item<ClusterMode>>,
    /// The vocabulary in use; the first level while there is none (see [`Level`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Item<Level>>,
    /// Servers, by name.
    pub servers: BTreeMap<ServerName, ServerEntry>,
    /// Groups, by name: those that operators wrote and those that definitions made.
    pub groups: BTreeMap<GroupName, GroupEntry>,
    /// Resource types that users added.
    #[serde(default)]
    pub types: BTreeMap<TypeName, Item<TypeConfig>>,
    /// Server pools, without `Free` and `Generic`.
    #[serde(default)]
    pub pools: BTreeMap<PoolName, Item<PoolConfig>>,
    /// Which server is in which pool; a server that is not here is in `Free`.
    #[serde(default)]
    pub pool_members: Option<Item<BTreeMap<ServerName, PoolName>>>,
    /// Resources outside every group.
    #[serde(default)]
    pub definitions: BTreeMap<ResourceName, Item<ResourceDefinition>>,
    /// Monitors, by name.
    #[serde(default)]
    pub monitors: BTreeMap<MonitorName, MonitorEntry>,
    /// Mirrored volumes, by name.
    #[serde(default)]
    pub volumes: BTreeMap<VolumeName, Item<Volume>>,
    /// The last [`VERSIONS_LIMIT`] configurations, oldest first.
    #[serde(default)]
    pub versions: VecDeque<Arc<ConfigVersion>>,
    /// What was committed of the tie-break record.
    #[serde(default)]
    pub tie_break: Option<Item<TieBreakNote>>,
    /// What was answered to the last proposals that may be sent again.
    #[serde(default)]
    pub answered: Answered,
    /// Join tokens that were issued, by id.
    pub tokens: BTreeMap<String, Item<Token>>,
    /// The highest Raft id that was ever given out.
    pub last_raft_id: RaftId,
    /// The highest epoch of any group that was taken out. New groups go on from there, so that
    /// what an old owner still carries is older than any new ownership.
    #[serde(default)]
    pub retired_epoch: Epoch,
    /// The last [`HISTORY_LIMIT`] changes, oldest first. Shared, because the state is copied often.
    pub history: VecDeque<Arc<Change>>,
}

/// One server: the wish and the fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerEntry {
    /// As configured.
    pub config: Item<ServerConfig>,
    /// As it presented itself; `None` before it joined.
    pub presence: Option<Item<Presence>>,
    /// Its last fencing.
    #[serde(default)]
    pub fencing: Option<Item<Fencing>>,
}

/// What is known of a server that joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Its place in Raft.
    pub raft_id: RaftId,
    /// Its present incarnation; zero until it first started.
    pub incarnation: Incarnation,
    /// The change that accepted that incarnation.
    pub started: Revision,
    /// The boot of that incarnation.
    pub boot: Option<BootId>,
    /// Whether that incarnation may hold a lease.
    pub up: bool,
    /// Whether it takes part or is on its way out.
    pub mode: ServerMode,
    /// Why it is not up.
    pub down_because: Option<Reason>,
    /// The time-out of the watchdog that its guard has armed, as that incarnation told.
    #[serde(default)]
    pub watchdog: Option<Duration>,
    /// What its program reads, as that incarnation told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speaks: Option<Spoken>,
}

/// Whether a server takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerMode {
    /// Takes groups.
    Active,
    /// Hands its groups over and then stops.
    Leaving(AfterStop),
}

/// What follows once a server has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterStop {
    /// The machine stays up.
    Nothing,
    /// Reboot the machine.
    Reboot,
    /// Power the machine off.
    PowerOff,
    /// Reset the machine; of a single server: at once, without stopping anything first.
    Reset,
}

/// The cluster as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClusterMode {
    /// Groups are kept running.
    Running,
    /// Groups run on, unwatched: nothing is started, stopped or moved by itself.
    Suspended,
    /// Everything stops; nothing fails over.
    Stopping(AfterStop),
}

/// One group: the wish and the facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupEntry {
    /// As configured. `None` when a pushed configuration took it out while it still ran.
    pub config: Option<Item<GroupConfig>>,
    /// Wanted online or offline.
    pub target: Item<Target>,
    /// Who runs it.
    pub ownership: Item<Ownership>,
    /// What its owner saw last.
    pub report: Option<Item<GroupReport>>,
    /// What the recovery ladder counts.
    pub failures: Item<Failures>,
    /// What is remembered of its resources' starts and stops.
    #[serde(default)]
    pub facts: BTreeMap<ResourceName, Item<Facts>>,
}

/// What is remembered of one resource's starts and stops.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// How often it came online: INCARNATION.
    pub starts: u64,
    /// The change at which it came online last.
    pub rose: Revision,
    /// The change at which it left ONLINE last.
    pub left_online: Revision,
    /// The change at which it was neither ONLINE nor INTERMEDIATE any more.
    pub fell: Revision,
    /// The same two for each server on which it was up: what relied on it there has to know even
    /// when it is up elsewhere since.
    #[serde(default)]
    pub falls: BTreeMap<ServerName, Fall>,
    /// When it came online last: LAST_RESTART.
    pub last_restart: WallTime,
    /// Where that was: LAST_SERVER.
    pub last_server: Option<ServerName>,
    /// How long its last start took, in milliseconds.
    pub start_took: Option<u64>,
    /// How long its last stop took, in milliseconds.
    pub stop_took: Option<u64>,
}

/// How a resource was up last on one server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fall {
    /// The change at which it left ONLINE last.
    pub left_online: Revision,
    /// The change at which it was neither ONLINE nor INTERMEDIATE any more.
    pub fell: Revision,
}

/// One monitor: the wish and what the servers found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonitorEntry {
    /// As configured.
    pub config: Item<MonitorConfig>,
    /// What each server that looks found last.
    #[serde(default)]
    pub reports: BTreeMap<ServerName, Item<MonitorReport>>,
}

/// What one server's monitor found last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonitorReport {
    /// In the words that operators read.
    pub state: MonitorState,
    /// What there is to say about it.
    pub detail: String,
}

/// The state of a monitor on one server, or of all together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MonitorState {
    /// What it looks at is well.
    Normal,
    /// On some servers it is not.
    Caution,
    /// It is not.
    Error,
    /// It does not look here, or not now.
    Unused,
    /// It has not looked yet.
    Unknown,
}

impl fmt::Display for MonitorState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Normal => "Normal",
            Self::Caution => "Caution",
            Self::Error => "Error",
            Self::Unused => "Unused",
            Self::Unknown => "Unknown",
        })
    }
}

/// One configuration as it was pushed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigVersion {
    /// The change that brought it.
    pub revision: Revision,
    /// When.
    pub at: WallTime,
    /// Who.
    pub author: Author,
    /// The whole of it.
    pub config: ClusterConfig,
}

/// Wanted online or offline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// It should run.
    Online,
    /// It should not.
    Offline,
}

/// Who runs a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// Grows with each owner.
    pub epoch: Epoch,
    /// The owner: it alone may run the group. Cleared only by its own `Released`, or when it is
    /// gone (R13).
    pub owner: Option<ServerName>,
    /// How the owner came by it.
    pub assigned: Option<Assigned>,
    /// The owner should stop the group and release it.
    pub release: Option<Vacate>,
    /// Why nobody owns it, and who should be next.
    pub vacated: Option<Vacate>,
    /// Who owned it before.
    pub previous: Option<ServerName>,
}

/// How an owner came by a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// Why.
    pub reason: Reason,
    /// What its programs are told.
    pub event: StartEvent,
    /// When.
    pub at: WallTime,
}

/// Why a group leaves, or left, its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vacate {
    /// Where it should go, when somebody chose.
    pub to: Option<ServerName>,
    /// Why.
    pub reason: Reason,
    /// What its programs will be told at the next start.
    pub event: StartEvent,
}

/// What programs find in `CLP_EVENT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartEvent {
    /// Cluster start, group start, move, restart on the same server.
    Start,
    /// After a server's death or a failure.
    Failover,
}

/// What a group's owner saw last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupReport {
    /// Under which ownership.
    pub epoch: Epoch,
    /// Where.
    pub server: ServerName,
    /// The group as a whole.
    pub state: GroupState,
    /// Its resources.
    pub resources: BTreeMap<ResourceName, ResourceReport>,
    /// The resource whose failure the owner could not mend by itself.
    pub failed: Option<FailedResource>,
}

/// A failure that local retries did not mend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedResource {
    /// Which.
    pub resource: ResourceName,
    /// What failed.
    pub kind: FailureKind,
    /// The monitor that found it, and whose recovery rules hold.
    #[serde(default)]
    pub monitor: Option<MonitorName>,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// It did not start.
    Start,
    /// It ended by itself.
    Ended,
    /// It did not stop.
    Stop,
    /// A monitor found it bad.
    Found,
    /// It failed too often within its interval.
    TooOften,
}

/// The state of a group, in the words that operators read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupState {
    /// All its resources run.
    Online,
    /// Nothing of it runs.
    Offline,
    /// Starting.
    OnlinePending,
    /// Stopping.
    OfflinePending,
    /// A resource failed and nothing more is tried.
    Error,
    /// Its owner has not said yet.
    Unknown,
}

/// One resource as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceReport {
    /// Its state.
    pub state: ResourceState,
    /// What went wrong, or what there is to say.
    pub detail: String,
    /// When the state was entered.
    pub since: WallTime,
}

/// The state of a resource, in the words that operators read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceState {
    /// It runs.
    Online,
    /// It runs, but does not give its service.
    Intermediate,
    /// It does not.
    Offline,
    /// Starting.
    OnlinePending,
    /// Stopping.
    OfflinePending,
    /// Its start failed, or it ended by itself.
    OnlineFailure,
    /// Its stop failed.
    OfflineFailure,
    /// Not known yet.
    Unknown,
}

/// What the recovery ladder counts, by resource and server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// The counters.
    pub counts: BTreeMap<ResourceName, BTreeMap<ServerName, FailureCount>>,
    /// The counters of monitors whose recovery target is here; restarts stand as retries.
    #[serde(default)]
    pub monitors: BTreeMap<MonitorName, BTreeMap<ServerName, FailureCount>>,
    /// The last failures of each resource, oldest first: FAILURE_HISTORY.
    #[serde(default)]
    pub history: BTreeMap<ResourceName, VecDeque<FailureRecord>>,
}

/// One failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureRecord {
    /// When.
    pub at: WallTime,
    /// Where.
    pub server: ServerName,
    /// What.
    pub kind: FailureKind,
}

impl Failures {
    /// The counters of one resource on one server.
    #[must_use]
    pub fn of(&self, resource: &ResourceName, server: &ServerName) -> FailureCount {
        self.counts.get(resource).and_then(|by| by.get(server)).copied().unwrap_or_default()
    }

    /// The counters of one monitor on one server.
    #[must_use]
    pub fn of_monitor(&self, monitor: &MonitorName, server: &ServerName) -> FailureCount {
        self.monitors.get(monitor).and_then(|by| by.get(server)).copied().unwrap_or_default()
    }

    pub(crate) fn of_monitor_mut(&mut self, monitor: &MonitorName, server: &ServerName) -> &mut FailureCount {
        self.monitors.entry(monitor.clone()).or_default().entry(server.clone()).or_default()
    }

    pub(crate) fn of_mut(&mut self, resource: &ResourceName, server: &ServerName) -> &mut FailureCount {
        self.counts.entry(resource.clone()).or_default().entry(server.clone()).or_default()
    }
}

/// Counters of one resource on one server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureCount {
    /// Retries used.
    pub retries: u32,
    /// Times the group was handed on.
    pub failovers: u32,
}

/// A one-time join token. The secret itself is never stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// SHA-256 of the secret, in hexadecimal.
    pub digest: String,
    /// Only for this server, when given.
    pub server: Option<ServerName>,
    /// Not after this time, by the leader's clock.
    pub expires: WallTime,
    /// Who joined with it.
    pub used_by: Option<ServerName>,
}

impl State {
    /// The revision of an object: what a decision names (R12). Zero when there is no such object.
    #[must_use]
    pub fn revision_of(&self, key: &Key) -> Revision {
        fn at<T>(item: Option<&Item<T>>) -> Revision {
            item.map_or(Revision(0), |item| item.modified)
        }
        match key {
            Key::Settings => at(self.settings.as_ref()),
            Key::Mode => at(self.mode.as_ref()),
            Key::Level => at(self.level.as_ref()),
            Key::TieBreak => at(self.tie_break.as_ref()),
            Key::Volume(name) => at(self.volumes.get(name)),
            Key::Configuration => self.config_revision(),
            Key::ServerConfig(name) => at(self.servers.get(name).map(|s| &s.config)),
            Key::Presence(name) => at(self.servers.get(name).and_then(|s| s.presence.as_ref())),
            Key::Fencing(name) => at(self.servers.get(name).and_then(|s| s.fencing.as_ref())),
            Key::GroupConfig(name) => at(self.groups.get(name).and_then(|g| g.config.as_ref())),
            Key::Target(name) => at(self.groups.get(name).map(|g| &g.target)),
            Key::Ownership(name) => at(self.groups.get(name).map(|g| &g.ownership)),
            Key::Report(name) => at(self.groups.get(name).and_then(|g| g.report.as_ref())),
            Key::Failures(name) => at(self.groups.get(name).map(|g| &g.failures)),
            Key::Facts(name) => {
                let facts = self.groups.get(name).map(|g| g.facts.values().map(|item| item.modified));
                facts.and_then(Iterator::max).unwrap_or_default()
            }
            Key::Type(name) => at(self.types.get(name)),
            Key::Pool(name) => at(self.pools.get(name)),
            Key::PoolMembers => at(self.pool_members.as_ref()),
            Key::Definition(name) => at(self.definitions.get(name)),
            Key::MonitorConfig(name) => at(self.monitors.get(name).map(|m| &m.config)),
            Key::MonitorReports(name) => {
                let reports = self.monitors.get(name).map(|m| m.reports.values().map(|item| item.modified));
                reports.and_then(Iterator::max).unwrap_or_default()
            }
            Key::Token(id) => at(self.tokens.get(id)),
        }
    }

    /// The cluster's mode; running before anybody said otherwise.
    #[must_use]
    pub fn cluster_mode(&self) -> ClusterMode {
        self.mode.as_ref().map_or(ClusterMode::Running, |mode| mode.value)
    }

    /// Whether the shutdown of the cluster means this server, and what follows: it was up when the
    /// shutdown was asked for. One that started after that does not stop, but brings the cluster
    /// back once all others have stopped.
    #[must_use]
    pub fn stops_with_cluster(&self, server: &ServerName) -> Option<AfterStop> {
        let mode = self.mode.as_ref()?;
        let ClusterMode::Stopping(after) = mode.value else { return None };
        let presence = self.presence(server)?;
        let anew = presence.started > mode.modified && presence.mode == ServerMode::Active;
        (presence.up && !anew).then_some(after)
    }

    /// What is known of a server that joined.
    #[must_use]
    pub fn presence(&self, server: &ServerName) -> Option<&Presence> {
        self.servers.get(server)?.presence.as_ref().map(|item| &item.value)
    }

    /// Whether a start of this kind follows a loss: a server of the cluster is lost and not back, and its
    /// kernel may still answer for the addresses that were on it (R36). One that left in order has taken
    /// them off, and what fails over because it did not start was on no other.
    #[must_use]
    pub fn is_after_loss(&self, event: StartEvent) -> bool {
        let servers = self.servers.values().filter_map(|entry| entry.presence.as_ref());
        let left = |why: &Option<Reason>| matches!(why, Some(Reason::SaidSo));
        let is_lost = |presence: &Presence| {
            !presence.up && presence.incarnation > Incarnation::default() && !left(&presence.down_because)
        };
        event == StartEvent::Failover && servers.map(|item| &item.value).any(is_lost)
    }

    /// The groups that a server owns.
    pub fn owned_by<'a>(
        &'a self,
        server: &'a ServerName,
    ) -> impl Iterator<Item = (&'a GroupName, &'a GroupEntry)> {
        self.groups.iter().filter(move |(_, g)| g.ownership.value.owner.as_ref() == Some(server))
    }

    pub(crate) fn record(
        &mut self,
        author: Author,
        at: WallTime,
        what: String,
        reason: Option<String>,
        keys: Vec<Key>,
    ) {
        if self.history.len() >= HISTORY_LIMIT {
            self.history.pop_front();
        }
        let change = Change { revision: self.revision, author, at, what, reason, keys };
        self.history.push_back(Arc::new(change));
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Online => "Online",
            Self::Offline => "Offline",
            Self::OnlinePending => "Online Pending",
            Self::OfflinePending => "Offline Pending",
            Self::Error => "Error",
            Self::Unknown => "Unknown",
        })
    }
}

impl fmt::Display for ResourceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Online => "Online",
            Self::Intermediate => "Intermediate",
            Self::Offline => "Offline",
            Self::OnlinePending => "Online Pending",
            Self::OfflinePending => "Offline Pending",
            Self::OnlineFailure => "Online Failure",
            Self::OfflineFailure => "Offline Failure",
            Self::Unknown => "Unknown",
        })
    }
}
