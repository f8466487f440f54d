//! Every command that can be in the log, and what `apply` answers.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Author, Key,
    level::{Level, Spoken},
    mirror::VolumeCommand,
    state::{AfterStop, ClusterMode, FailureKind, GroupReport, MonitorReport, StartEvent},
};
use crate::{
    config::{ClusterConfig, FinalAction},
    ids::{
        BootId, Epoch, FenceName, GroupName, Incarnation, Lineage, MonitorName, PoolName, ProposalId, RaftId,
        ResourceName, Revision, ServerName, VolumeName,
    },
    membership::tie_break::Record,
    reason::Reason,
    time::{WallTime, millis},
};

/// A command with who proposed it, why, and what it was computed from: one registry log entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Names it, where it may be sent again: the second one gets the first one's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ProposalId>,
    /// Who.
    pub author: Author,
    /// When, by the proposer's clock; for people.
    pub at: WallTime,
    /// The registry history it was meant for (R24); `None` only for the very first command.
    pub lineage: Option<Lineage>,
    /// Every object the decision read, with its revision then. If one has moved on, the command is
    /// refused (R12). Others do not matter.
    pub read: Vec<(Key, Revision)>,
    /// Why.
    pub reason: Option<Reason>,
    /// What.
    pub command: Command,
}

/// What can happen to the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// The first command of a registry.
    Initialise {
        /// Its lineage.
        lineage: Lineage,
        /// The first configuration.
        config: ClusterConfig,
        /// The server that makes it, which gets Raft id 1.
        founder: ServerName,
    },
    /// A new configuration: wishes only.
    SetConfig {
        /// The whole of it.
        config: ClusterConfig,
    },
    /// A token with which one server may join.
    IssueToken {
        /// Its public part.
        id: String,
        /// SHA-256 of its secret part.
        digest: String,
        /// For this server only.
        server: Option<ServerName>,
        /// Not after.
        expires: WallTime,
    },
    /// A server joins with a token. Uses the token up, gives a new Raft id out.
    Join {
        /// The token's public part.
        token: String,
        /// SHA-256 of the secret that was presented.
        digest: String,
        /// Who joins.
        server: ServerName,
    },
    /// A node has started and will ask for a lease (R5).
    ServerStarted {
        /// Which server.
        server: ServerName,
        /// Its new incarnation; above all before.
        incarnation: Incarnation,
        /// The machine's boot. A new one proves that nothing of before runs.
        boot: BootId,
    },
    /// The leader judged an incarnation lost: its lease has provably ended (R4, R5).
    ServerGone {
        /// Which server.
        server: ServerName,
        /// Which incarnation; refused for any but the current one.
        incarnation: Incarnation,
    },
    /// A server has stopped everything and given its lease back (R7).
    ServerStopped {
        /// Which server.
        server: ServerName,
        /// Which incarnation.
        incarnation: Incarnation,
    },
    /// A server should hand its groups over and stop.
    ServerLeave {
        /// Which.
        server: ServerName,
        /// What then.
        after: AfterStop,
    },
    /// Run, suspend or stop the cluster as a whole.
    SetMode {
        /// The new mode.
        mode: ClusterMode,
    },
    /// An operator wants a group online.
    StartGroup {
        /// Which.
        group: GroupName,
        /// Where, when they chose.
        on: Option<ServerName>,
    },
    /// The leader fills the server pools: the whole membership.
    FillPools {
        /// Which server is in which pool; those not named are in `Free`.
        members: BTreeMap<ServerName, PoolName>,
    },
    /// An operator wants a group offline.
    StopGroup {
        /// Which.
        group: GroupName,
        /// Also when that stops others that depend on it.
        #[serde(default)]
        force: bool,
    },
    /// An operator wants a group elsewhere.
    MoveGroup {
        /// Which.
        group: GroupName,
        /// Where; the next allowed server otherwise.
        to: Option<ServerName>,
        /// Also when that stops others that depend on it.
        #[serde(default)]
        force: bool,
    },
    /// Placement gives a group that nobody owns to a server.
    Assign {
        /// Which.
        group: GroupName,
        /// To whom.
        server: ServerName,
        /// Under which epoch: one above the last.
        epoch: Epoch,
        /// What its programs are told.
        event: StartEvent,
    },
    /// Placement wants the owner to stop a group and release it (R13: the wish to move).
    Release {
        /// Which.
        group: GroupName,
        /// The ownership that should end.
        epoch: Epoch,
        /// Where it should go next, if chosen.
        to: Option<ServerName>,
        /// What its programs will be told there.
        event: StartEvent,
        /// Whose failover is used up by this.
        charge: Option<Charge>,
    },
    /// The owner has stopped a group and no longer owns it (R13).
    Released {
        /// Which.
        group: GroupName,
        /// The ownership that ended.
        epoch: Epoch,
        /// Whose.
        server: ServerName,
    },
    /// The owner tells what it sees.
    Report {
        /// Which group.
        group: GroupName,
        /// What.
        report: GroupReport,
    },
    /// The owner used one retry up.
    CountRetry {
        /// Which group.
        group: GroupName,
        /// Under which epoch.
        epoch: Epoch,
        /// Which resource.
        resource: ResourceName,
        /// On which server.
        server: ServerName,
        /// Of what.
        kind: FailureKind,
    },
    /// The owner restarts what a monitor found bad, and counts it.
    CountRestart {
        /// Which group.
        group: GroupName,
        /// Under which epoch.
        epoch: Epoch,
        /// Whose finding.
        monitor: MonitorName,
        /// Which resource failed by it.
        resource: ResourceName,
        /// On which server.
        server: ServerName,
    },
    /// What a server's monitor finds has changed.
    MonitorReport {
        /// Which monitor.
        monitor: MonitorName,
        /// Where.
        server: ServerName,
        /// What.
        report: MonitorReport,
    },
    /// A resource has run long enough: its counters start again.
    Steady {
        /// Which group.
        group: GroupName,
        /// Under which epoch.
        epoch: Epoch,
        /// Which resource.
        resource: ResourceName,
        /// The monitors whose recovery counters start again with it.
        #[serde(default)]
        monitors: Vec<MonitorName>,
    },
    /// The last rung of the ladder.
    Finally {
        /// Which group.
        group: GroupName,
        /// Under which epoch.
        epoch: Epoch,
        /// Which resource.
        resource: ResourceName,
        /// What.
        action: FinalAction,
    },
    /// The leader tells what the tie-break record will say, or was found to say (R15, R17).
    NoteTieBreak {
        /// The record.
        record: Record,
        /// It was read back.
        made: bool,
        /// Where it is kept; empty while there is no register.
        #[serde(default)]
        place: String,
    },
    /// A server should be fenced.
    RequestFence {
        /// Which.
        server: ServerName,
        /// Which incarnation.
        incarnation: Incarnation,
        /// Why, for people.
        because: String,
    },
    /// Devices were tried.
    FenceTried {
        /// Whom they should fence.
        server: ServerName,
        /// Which incarnation.
        incarnation: Incarnation,
        /// The devices, and why they failed.
        tried: Vec<(FenceName, Option<String>)>,
        /// No level is left.
        failed: bool,
    },
    /// A server is off, or cut off from what it could write to: confirmed (R13).
    ServerFenced {
        /// Which.
        server: ServerName,
        /// Which incarnation.
        incarnation: Incarnation,
        /// The devices that confirmed it; none when an operator did.
        by: Vec<FenceName>,
    },
    /// The guard of a server has armed a watchdog: one that is gone cannot keep its machine running.
    WatchdogArmed {
        /// Whose.
        server: ServerName,
        /// Which incarnation tells it (R5).
        incarnation: Incarnation,
        /// The machine is reset when it was not petted for so long.
        #[serde(with = "millis")]
        timeout: Duration,
    },
    /// A member that keeps the registry says what its program reads.
    Announce {
        /// Who.
        server: ServerName,
        /// Which incarnation tells it (R5); zero of a witness.
        incarnation: Incarnation,
        /// What.
        speaks: Spoken,
    },
    /// All members read this level: from here on entries may need it.
    RaiseLevel {
        /// The level; above the present one.
        level: Level,
    },
    /// A fenced server's devices let it in again.
    FenceLifted {
        /// Which.
        server: ServerName,
    },
    /// A server that is down leaves the cluster for good: its store's place in Raft is given up.
    RemoveServer {
        /// Which.
        server: ServerName,
        /// The configuration without it.
        config: ClusterConfig,
    },
    /// Something happens to a mirrored volume (R25).
    Volume {
        /// Which.
        volume: VolumeName,
        /// What.
        command: VolumeCommand,
    },
    /// An operator resets a group's counters.
    ResetFailures {
        /// Which group.
        group: GroupName,
    },
}

/// Whose failover a release uses up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Charge {
    /// A resource's.
    Resource(ResourceName),
    /// A monitor's.
    Monitor(MonitorName),
}

/// What `apply` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Accepted as this revision.
    Applied {
        /// The revision.
        revision: Revision,
        /// The Raft id that a [`Command::Join`] gave out.
        raft_id: Option<RaftId>,
    },
    /// Refused; nothing changed.
    Refused(Refusal),
}

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// R12: an object that the decision read has changed since.
    #[error("{key} has changed since this was decided (revision {now}, decided on {then})")]
    MovedOn {
        /// Which.
        key: Key,
        /// Its revision when the decision was made.
        then: Revision,
        /// Its revision now.
        now: Revision,
    },
    /// R24: meant for another registry.
    #[error("this registry has another lineage; the command was meant for {0:?}")]
    OtherLineage(Option<Lineage>),
    /// The registry has been initialised already.
    #[error("the registry has been initialised already")]
    AlreadyInitialised,
    /// No such server.
    #[error("no server is called {0}")]
    NoSuchServer(ServerName),
    /// No such group.
    #[error("no group is called {0}")]
    NoSuchGroup(GroupName),
    /// The server has not joined.
    #[error("server {0} has not joined the cluster")]
    NotJoined(ServerName),
    /// R5: not the current incarnation.
    #[error("server {server} is incarnation {current}, not {named}")]
    OtherIncarnation {
        /// Which server.
        server: ServerName,
        /// The one the command names.
        named: Incarnation,
        /// The current one.
        current: Incarnation,
    },
    /// The incarnation is already down.
    #[error("server {0} is down")]
    ServerDown(ServerName),
    /// R13: somebody still owns the group.
    #[error("group {group} is still owned by {owner}")]
    StillOwned {
        /// Which group.
        group: GroupName,
        /// By whom.
        owner: ServerName,
    },
    /// Not under the present ownership.
    #[error("group {group} is at epoch {current}, not {named}")]
    OtherEpoch {
        /// Which group.
        group: GroupName,
        /// The one the command names.
        named: Epoch,
        /// The current one.
        current: Epoch,
    },
    /// The registry has no such volume.
    #[error("there is no volume {0}")]
    NoSuchVolume(VolumeName),
    /// The volume has its facts already.
    #[error("volume {0} is known already")]
    VolumeKnown(VolumeName),
    /// Not under the present epoch of the volume, or not by its owner (R25).
    #[error("volume {volume} is at epoch {current}, not {named}, or open elsewhere")]
    OtherVolumeEpoch {
        /// Which volume.
        volume: VolumeName,
        /// The one the command names.
        named: Epoch,
        /// The current one.
        current: Epoch,
    },
    /// Only a good copy may be opened (T2).
    #[error("the copy of volume {volume} on {server} is not up to date")]
    NotGood {
        /// Which volume.
        volume: VolumeName,
        /// Whose copy.
        server: ServerName,
    },
    /// R25: the good copies are never none.
    #[error("that would leave volume {0} without a good copy")]
    LastGood(VolumeName),
    /// Somebody has it open.
    #[error("volume {volume} is open on {server}")]
    VolumeOpen {
        /// Which volume.
        volume: VolumeName,
        /// Where.
        server: ServerName,
    },
    /// The named server is not the owner.
    #[error("group {group} is not owned by {server}")]
    NotOwner {
        /// Which group.
        group: GroupName,
        /// Who is not.
        server: ServerName,
    },
    /// The server may not run the group.
    #[error("group {group} may not run on {server}")]
    NotAllowed {
        /// Which group.
        group: GroupName,
        /// Where not.
        server: ServerName,
    },
    /// The group runs already.
    #[error("group {group} runs on {server} already")]
    AlreadyRuns {
        /// Which group.
        group: GroupName,
        /// Where.
        server: ServerName,
    },
    /// The group is not running.
    #[error("group {0} is not running")]
    NotRunning(GroupName),
    /// The group is stopping already.
    #[error("group {0} is being stopped or moved already")]
    Busy(GroupName),
    /// No other server could take the group.
    #[error("no other server can take group {0} now")]
    NowhereToGo(GroupName),
    /// The join token is unknown, used, expired, or for another server.
    #[error("the join token {0}")]
    Token(TokenRefusal),
    /// A configuration that would take a server out that has joined.
    #[error("server {0} has joined and cannot be left out of the configuration")]
    ServerInUse(ServerName),
    /// No such server pool.
    #[error("no server pool is called {0}")]
    NoSuchPool(PoolName),
    /// The pool would have more servers than it may.
    #[error("server pool {pool} has no more than {max} servers")]
    PoolFull {
        /// Which pool.
        pool: PoolName,
        /// Its limit.
        max: u32,
    },
    /// The server may not be in that pool.
    #[error("server {server} may not be in server pool {pool}")]
    NotForPool {
        /// Which pool.
        pool: PoolName,
        /// Who not.
        server: ServerName,
    },
    /// No such monitor.
    #[error("no monitor is called {0}")]
    NoSuchMonitor(MonitorName),
    /// Stopping it would stop others that run.
    #[error("stopping {group} would stop {}, which depend on it", list(.dependents))]
    StopsOthers {
        /// Which group.
        group: GroupName,
        /// What would stop with it.
        dependents: Vec<GroupName>,
    },
    /// It is disabled.
    #[error("{0} is disabled")]
    Disabled(GroupName),
    /// An exclusive group is there already.
    #[error("group {group} does not share {server} with {other}")]
    Exclusive {
        /// Which group.
        group: GroupName,
        /// Where not.
        server: ServerName,
        /// Who is there.
        other: GroupName,
    },
    /// The server is in none of its pools.
    #[error("{server} is in no server pool that {group} may use")]
    NotInPool {
        /// Which group.
        group: GroupName,
        /// Where not.
        server: ServerName,
    },
    /// R15: a newer record is known.
    #[error("tie-break record {named} is older than {known}")]
    OlderRecord {
        /// The one that is known.
        known: u64,
        /// The one that the command names.
        named: u64,
    },
    /// At most one fencing at a time.
    #[error("server {0} is being fenced already")]
    FencingUnderWay(ServerName),
    /// This incarnation has been fenced.
    #[error("server {0} has been fenced already")]
    AlreadyFenced(ServerName),
    /// Nobody asked for that incarnation to be fenced.
    #[error("no fencing of server {0} is known")]
    NotFenced(ServerName),
    /// R36: its end is confirmed, never only waited for.
    #[error("server {0} has fencing devices: it is fenced, not judged by time")]
    FenceFirst(ServerName),
    /// It has been fenced, and its devices have not let it in again.
    #[error("server {0} has been fenced and was not let in again")]
    StillFenced(ServerName),
    /// It must have stopped first.
    #[error("server {0} is up; stop it first")]
    StillUp(ServerName),
    /// A witness starts, as a server would: it never holds a lease.
    #[error("{0} is a witness, and not a server")]
    RunsNoGroups(ServerName),
    /// Some member does not read what this would write.
    #[error(
        "this needs level {needs} of the registry, which is at {level}{}",
        held_back(.below)
    )]
    NotYet {
        /// The level that it needs.
        needs: Level,
        /// The registry's.
        level: Level,
        /// The members that read less, or have not said what they read.
        below: Vec<ServerName>,
    },
    /// A member's program does not read what is written here.
    #[error("{server} reads level {speaks} of the registry, which is at {level}: its program is too old")]
    TooOld {
        /// Whose.
        server: ServerName,
        /// What it reads.
        speaks: Level,
        /// The registry's level.
        level: Level,
    },
    /// The cluster is not in a mode in which this makes sense.
    #[error("the cluster is {0}")]
    WrongMode(ModeWord),
}

fn list(groups: &[GroupName]) -> String {
    groups.iter().map(GroupName::as_str).collect::<Vec<_>>().join(", ")
}

/// `: kiki, lala read less`
fn held_back(below: &[ServerName]) -> String {
    match below {
        [] => ", and about to be raised".to_owned(),
        [one] => format!(": {one} reads less"),
        some => format!(": {} read less", some.iter().map(ServerName::as_str).collect::<Vec<_>>().join(", ")),
    }
}

/// `front: kiki, lala; back: momo`
fn by_pool(members: &BTreeMap<ServerName, PoolName>) -> String {
    let mut pools: BTreeMap<&PoolName, Vec<&str>> = BTreeMap::new();
    for (server, pool) in members {
        pools.entry(pool).or_default().push(server.as_str());
    }
    let pool = |(pool, servers): (&PoolName, Vec<&str>)| format!("{pool}: {}", servers.join(", "));
    pools.into_iter().map(pool).collect::<Vec<_>>().join("; ")
}

/// A mode as a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeWord(pub ClusterMode);

impl fmt::Display for ModeWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            ClusterMode::Running => "running",
            ClusterMode::Suspended => "suspended",
            ClusterMode::Stopping(_) => "shutting down",
        })
    }
}

/// What is wrong with a join token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum TokenRefusal {
    /// Never issued, or the secret is wrong.
    #[error("is not known here")]
    Unknown,
    /// Used before.
    #[error("has been used already")]
    Used,
    /// Too late.
    #[error("has expired")]
    Expired,
    /// Issued for another server.
    #[error("was issued for another server")]
    OtherServer,
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.author, self.command)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Initialise { config, .. } => write!(f, "initialise cluster {}", config.settings.name),
            Self::SetConfig { .. } => f.write_str("set configuration"),
            Self::IssueToken { id, .. } => write!(f, "issue join token {id}"),
            Self::Join { server, .. } => write!(f, "join {server}"),
            Self::ServerStarted { server, incarnation, .. } => {
                write!(f, "server {server} started as incarnation {incarnation}")
            }
            Self::ServerGone { server, incarnation } => {
                write!(f, "server {server} (incarnation {incarnation}) is gone")
            }
            Self::ServerStopped { server, incarnation } => {
                write!(f, "server {server} (incarnation {incarnation}) has stopped")
            }
            Self::ServerLeave { server, .. } => write!(f, "server {server} leaves"),
            Self::SetMode { mode } => write!(f, "cluster is {}", ModeWord(*mode)),
            Self::StartGroup { group, on: Some(server) } => write!(f, "start {group} on {server}"),
            Self::StartGroup { group, on: None } => write!(f, "start {group}"),
            Self::FillPools { members } if members.is_empty() => f.write_str("all servers are in pool Free"),
            Self::FillPools { members } => write!(f, "server pools have {}", by_pool(members)),
            Self::CountRestart { resource, monitor, server, .. } => {
                write!(f, "monitor {monitor} has {resource} restarted on {server}")
            }
            Self::MonitorReport { monitor, server, report } => {
                write!(f, "monitor {monitor} is {} on {server}", report.state)
            }
            Self::StopGroup { group, .. } => write!(f, "stop {group}"),
            Self::MoveGroup { group, to: Some(server), .. } => write!(f, "move {group} to {server}"),
            Self::MoveGroup { group, to: None, .. } => write!(f, "move {group}"),
            Self::Assign { group, server, epoch, .. } => {
                write!(f, "{server} owns {group}, epoch {epoch}")
            }
            Self::Release { group, epoch, .. } => write!(f, "{group} (epoch {epoch}) should be released"),
            Self::Released { group, epoch, server } => {
                write!(f, "{server} released {group}, epoch {epoch}")
            }
            Self::Report { group, report } => write!(f, "{group} is {} on {}", report.state, report.server),
            Self::CountRetry { resource, server, .. } => write!(f, "{resource} retried on {server}"),
            Self::Steady { resource, .. } => write!(f, "{resource} is steady"),
            Self::Finally { resource, action, .. } => write!(f, "final action of {resource}: {action:?}"),
            Self::NoteTieBreak { record, made: true, .. } => write!(f, "the tie-break record says {record}"),
            Self::NoteTieBreak { record, made: false, .. } => {
                write!(f, "the tie-break record shall say {record}")
            }
            Self::RequestFence { server, incarnation, .. } => {
                write!(f, "server {server} (incarnation {incarnation}) should be fenced")
            }
            Self::FenceTried { server, failed: true, .. } => write!(f, "server {server} could not be fenced"),
            Self::FenceTried { server, tried, .. } if tried.iter().all(|(_, error)| error.is_none()) => {
                write!(f, "a fencing device confirmed for server {server}")
            }
            Self::FenceTried { server, .. } => write!(f, "a fencing device failed for server {server}"),
            Self::ServerFenced { server, incarnation, .. } => {
                write!(f, "server {server} (incarnation {incarnation}) is fenced")
            }
            Self::WatchdogArmed { server, timeout, .. } => {
                write!(f, "server {server} has armed a watchdog of {} s", timeout.as_secs())
            }
            Self::Announce { server, speaks, .. } => {
                write!(
                    f,
                    "server {server} runs version {}, which reads level {}",
                    speaks.version, speaks.level
                )
            }
            Self::RaiseLevel { level } => write!(f, "the registry is at level {level}"),
            Self::FenceLifted { server } => write!(f, "server {server} is fenced no more"),
            Self::RemoveServer { server, .. } => write!(f, "remove server {server}"),
            Self::Volume { volume, command } => write!(f, "volume {volume}: {command}"),
            Self::ResetFailures { group } => write!(f, "reset failure counters of {group}"),
        }
    }
}
