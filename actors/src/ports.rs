//! What actors need from outside. `node` makes these real; `tests` have simulated twins.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tasuki_core::{
    config::{AtLeaseEnd, ExecConfig, FenceConfig, FloatingIpConfig, MirrorDiskConfig, profile::Profile},
    ids::{BootId, Epoch, FenceName, GroupName, Incarnation, NetworkName, ResourceName, ServerName},
    membership::{hang::Watched, tie_break::Record},
    registry::state::AfterStop,
    time::{Timestamp, WallTime},
};
use tokio::sync::{mpsc, oneshot};

pub mod volumes;

pub use volumes::{NoVolumes, Volumes};

/// The clocks of this machine.
pub trait Clock: Send + Sync + 'static {
    /// `CLOCK_BOOTTIME`, in nanoseconds.
    fn now(&self) -> Timestamp;
    /// Milliseconds since 1970, for people.
    fn wall(&self) -> WallTime;
    /// This boot, as the kernel names it.
    fn boot_id(&self) -> BootId;
}

/// How a call to a peer failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PeerError {
    /// No connection on any path: the peer was not asked.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The connection broke while the peer was asked: it may have done it, or may yet (R13).
    #[error("the connection broke: {0}")]
    Broken(String),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The peer answered with an error.
    #[error("refused: {0}")]
    Refused(String),
}

/// The calls that servers make to each other. Bodies are opaque to the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerMethod {
    /// Raft AppendEntries.
    Append,
    /// Raft RequestVote.
    Vote,
    /// Raft PreVote.
    PreVote,
    /// Raft leadership transfer.
    TransferLeader,
    /// A whole Raft snapshot (large; sent in chunks).
    Snapshot,
    /// A registry proposal, forwarded to the leader.
    Propose,
}

/// Where a peer can be reached: all its addresses, in order of heartbeat priority.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress {
    /// Which server.
    pub server: ServerName,
    /// Its gRPC addresses, best first.
    pub addresses: Vec<IpAddr>,
    /// Its gRPC port.
    pub port: u16,
}

/// Authenticated calls to peers, over every path that works (R21).
#[async_trait]
pub trait PeerTransport: Send + Sync + 'static {
    /// Sends `body`, waits for the answer at most `ttl`. A call that gets no answer on one path
    /// is repeated on the next one within `ttl`: all methods are idempotent.
    async fn call(
        &self,
        to: &PeerAddress,
        method: PeerMethod,
        body: Bytes,
        ttl: Duration,
    ) -> Result<Bytes, PeerError>;
}

/// One datagram between two servers on one heartbeat path.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Who sent it; authenticated.
    pub from: ServerName,
    /// The network it came over.
    pub path: NetworkName,
    /// Its content.
    pub body: Bytes,
}

/// Datagrams on the heartbeat paths, authenticated with the cluster's link key and lineage (R24).
/// Lost, late and repeated ones are normal.
pub trait LinkSocket: Send + Sync + 'static {
    /// Sends one datagram; never blocks, loses it rather.
    fn send(&self, to: &ServerName, path: &NetworkName, body: &[u8]);
    /// Where the peers are, after a configuration change.
    fn set_peers(&self, peers: BTreeMap<ServerName, BTreeMap<NetworkName, IpAddr>>);
    /// What arrives; can be taken once.
    fn incoming(&self) -> Option<mpsc::Receiver<Datagram>>;
}

/// The guard process (see `node/system/src/guard`): it holds the lease's end and stops everything by itself.
#[async_trait]
pub trait Guard: Send + Sync + 'static {
    /// The lease now ends at `end` (boot clock).
    fn renew(&self, end: Timestamp);
    /// Whether the guard holds a lease that has not ended: what runs may be adopted (R6).
    fn lease_end(&self) -> Option<Timestamp>;
    /// Whether the guard held no lease when it started this node: it had made sure that nothing of
    /// the nodes before it runs. Not known, where this is not said.
    fn held_nothing(&self) -> bool {
        false
    }
    /// The time-out of the watchdog that the guard has armed, if it has one.
    fn watchdog(&self) -> Option<Duration> {
        None
    }
    /// This part of the node moves (O9). A guard that hears nothing of a part for a lease takes it
    /// to hang.
    fn alive(&self, _part: Watched) {}
    /// A watcher has found that a part of the node hangs: the guard does what the configuration asks
    /// for.
    fn hangs(&self, part: Watched, why: &str) {
        self.stand_down(&format!("{part} {why}"));
    }
    /// Ends the lease now, with nothing left running; returns when the guard has acknowledged it
    /// (R7).
    async fn end_lease(&self) -> Result<(), String>;
    /// Stop what runs and this node with it, as at a lease's end; the guard starts a new node.
    fn stand_down(&self, why: &str);
    /// Reset the machine at once, without stopping anything first. Where that is not permitted,
    /// everything is stopped as for `stand_down`.
    fn reset(&self, why: &str);
    /// After a clean stop: the guard ends, or has the machine rebooted or powered off.
    fn leave(&self, after: AfterStop);
}

/// Everything that a start or stop of a resource is told.
#[derive(Clone, Debug)]
pub struct ResourceOrder {
    /// The group.
    pub group: GroupName,
    /// The resource.
    pub resource: ResourceName,
    /// Under which ownership.
    pub epoch: Epoch,
    /// What it is.
    pub kind: ResourceSpec,
    /// The `CLP_*` variables.
    pub environment: BTreeMap<String, String>,
    /// What the guard is to do with it when the lease ends: written down at its start.
    pub at_lease_end: AtLeaseEnd,
    /// It fails over while a server is lost, whose kernel may still have what it had: an address that is
    /// answered for may be that one's (R36). Without a lost server it is a stranger's.
    pub after_loss: bool,
}

/// What an agent starts and stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceSpec {
    /// A program.
    Exec(ExecConfig),
    /// An address, already chosen for this server.
    FloatingIp(FloatingIpConfig),
    /// A mirrored volume: promoted, and mounted where that is configured.
    MirrorDisk(MirrorDiskConfig),
}

/// Why an agent did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// It ran longer than its time-out; what was running is named.
    #[error("{what} ran longer than {limit:?}")]
    Timeout {
        /// What was running.
        what: String,
        /// The limit.
        limit: Duration,
    },
    /// It failed; the last of its output is in the text.
    #[error("{0}")]
    Failed(String),
}

/// Whether a resource runs here.
#[derive(Debug)]
pub enum Probe {
    /// It runs. When the agent can notice its end, the receiver resolves then, with what there is
    /// to say about it.
    Running(Option<oneshot::Receiver<String>>),
    /// Nothing of it runs.
    Stopped,
}

/// Starts, stops and probes resources (native, or child processes in the resource's cgroup).
#[async_trait]
pub trait ResourceAgent: Send + Sync + 'static {
    /// Starts it; resolves when it is up. What is up already is adopted and left as it is. The
    /// receiver, where there is one, resolves when it ends by itself; whether anybody wants to know
    /// is the caller's matter.
    async fn start(&self, order: &ResourceOrder) -> Result<Option<oneshot::Receiver<String>>, AgentError>;
    /// Stops it; resolves when nothing of it runs.
    async fn stop(&self, order: &ResourceOrder) -> Result<(), AgentError>;
    /// Whether it runs here, and adopts it if so: never starts or stops anything.
    async fn probe(&self, order: &ResourceOrder) -> Result<Probe, AgentError>;
    /// Resources (group, resource) of which something runs here, wanted or not.
    async fn running(&self) -> Result<BTreeSet<(GroupName, ResourceName)>, AgentError>;
    /// Stops something that no configuration speaks of any more.
    async fn clean(&self, group: &GroupName, resource: &ResourceName) -> Result<(), AgentError>;
    /// What the end of a lease may have left here, frozen or running on, with the ownership it is of.
    async fn left_at_lease_end(&self) -> Result<Vec<(GroupName, ResourceName, Epoch)>, AgentError> {
        Ok(Vec::new())
    }
    /// Ends what the end of a lease has left of this ownership; what is of another one stays.
    async fn end_left(
        &self,
        _group: &GroupName,
        _resource: &ResourceName,
        _epoch: Epoch,
    ) -> Result<(), AgentError> {
        Ok(())
    }
}

/// A program that only looks: a monitor's, or a resource's check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramLook {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Runs as this user; as Tasuki's own otherwise.
    pub user: Option<String>,
    /// Working directory.
    pub directory: Option<PathBuf>,
    /// Its nice value.
    pub nice: i8,
    /// How long it may take; then it is killed with everything that it started.
    pub timeout: Duration,
    /// Its environment.
    pub environment: BTreeMap<String, String>,
}

/// What a program that looked had to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramAnswer {
    /// Its exit code.
    pub code: i32,
    /// The first line that it printed.
    pub first_line: String,
}

/// Why a look came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    /// The program took too long, or was killed.
    #[error("{0}")]
    Failed(String),
    /// It could not be run at all: that says nothing about what it looks at.
    #[error("{0}")]
    NotRun(String),
}

/// Looks at things on behalf of monitors and checks; changes nothing.
#[async_trait]
pub trait Prober: Send + Sync + 'static {
    /// Whether an address answers an ICMP echo within `timeout`; why not, otherwise.
    async fn echo(&self, address: IpAddr, timeout: Duration) -> Result<(), String>;
    /// Runs a program to its end. Dropping the future ends the program.
    async fn run(&self, look: &ProgramLook) -> Result<ProgramAnswer, LookError>;
}

/// Where the tie-break record of two servers is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterPlace {
    /// At a witness.
    Witness(PeerAddress),
    /// In the voting files, by a majority of them.
    Files(Vec<PathBuf>),
}

/// What became of a compare-and-swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swap {
    /// The record is the new one now, durably.
    Done,
    /// It was another one than expected, and is left as it is.
    Other(Option<Record>),
}

/// Why nothing is known of the record. After a swap that means: read it back (R16).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The witness, or a majority of the voting files, cannot be reached in time.
    #[error("the tie-break record cannot be reached: {0}")]
    Unreachable(String),
    /// It answers, but refuses: another cluster's, damaged, not permitted.
    #[error("the tie-break record cannot be used: {0}")]
    Unusable(String),
}

/// The tie-break record: a durable register with compare-and-swap (R14).
#[async_trait]
pub trait TieBreakRegister: Send + Sync + 'static {
    /// Reads it; `None` when there is none. What was read is also what every later reader will
    /// find, until it is swapped.
    async fn read(&self, place: &RegisterPlace) -> Result<Option<Record>, RegisterError>;
    /// Puts `to` in the place of `from`.
    async fn swap(
        &self,
        place: &RegisterPlace,
        from: Option<&Record>,
        to: &Record,
    ) -> Result<Swap, RegisterError>;
}

/// What a server writes of itself into each voting file. Each server writes its own block only
/// (R18).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskBeat {
    /// Who.
    pub server: ServerName,
    /// Its number in the configuration: which block is its own.
    pub number: u32,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Counts its beats.
    pub seq: u64,
    /// It has stopped everything and holds no lease (R21).
    pub stopped: bool,
    /// Incarnations of other servers that it, as leader, has judged lost: they stand down when they
    /// read this (the kill block).
    pub evicts: BTreeMap<ServerName, Incarnation>,
}

/// Why a voting file was not read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VotingFileError {
    /// It does not answer, or with an error.
    #[error("{0}")]
    Failed(String),
    /// It belongs to another cluster, or is none.
    #[error("{0}")]
    Foreign(String),
}

/// Voting files on shared storage: past the cache, one operation at a time a file (R18).
#[async_trait]
pub trait VotingFiles: Send + Sync + 'static {
    /// Writes the own block and reads all the others. Torn and unwritten ones are left out.
    async fn exchange(
        &self,
        file: &std::path::Path,
        own: &DiskBeat,
    ) -> Result<Vec<DiskBeat>, VotingFileError>;

    /// It is configured no more.
    fn forget(&self, _file: &std::path::Path) {}
}

/// What a fencing device should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FenceAction {
    /// Off, and read back that it is.
    Off,
    /// Let it in again: on, or registered.
    On,
    /// Whether the device answers.
    Monitor,
}

/// One order to one device.
#[derive(Clone, Debug)]
pub struct FenceOrder {
    /// Which.
    pub device: FenceName,
    /// As configured.
    pub config: FenceConfig,
    /// What.
    pub action: FenceAction,
    /// For which server.
    pub target: ServerName,
}

/// Runs fencing devices.
#[async_trait]
pub trait Fencer: Send + Sync + 'static {
    /// Does it; resolves when the device has confirmed it, with why not otherwise. Tried once, for
    /// at most the configured time-out.
    async fn act(&self, order: &FenceOrder) -> Result<(), String>;
}

/// Keeps this server's copies of the profile.
#[async_trait]
pub trait ProfileKeeper: Send + Sync + 'static {
    /// The profile that was adopted before the node started: it may be newer than the registry as
    /// applied here, and then holds instead.
    fn adopted(&self) -> Option<Arc<Profile>>;
    /// Signs a profile and keeps it, durably.
    async fn keep(&self, profile: Profile) -> Result<(), String>;
    /// The newest that was kept, with its signature, for others to adopt.
    fn kept(&self) -> Option<String>;
}

/// For a node without copies of the profile.
pub struct NoProfile;

#[async_trait]
impl ProfileKeeper for NoProfile {
    fn adopted(&self) -> Option<Arc<Profile>> {
        None
    }

    async fn keep(&self, _profile: Profile) -> Result<(), String> {
        Ok(())
    }

    fn kept(&self) -> Option<String> {
        None
    }
}

/// All ports of one node.
#[derive(Clone)]
pub struct Ports {
    /// Clocks.
    pub clock: Arc<dyn Clock>,
    /// Calls to peers.
    pub peers: Arc<dyn PeerTransport>,
    /// Heartbeat datagrams.
    pub links: Arc<dyn LinkSocket>,
    /// The guard.
    pub guard: Arc<dyn Guard>,
    /// Resources.
    pub agent: Arc<dyn ResourceAgent>,
    /// Monitors' and checks' looks.
    pub prober: Arc<dyn Prober>,
    /// The tie-break record.
    pub tie_break: Arc<dyn TieBreakRegister>,
    /// Voting files.
    pub voting_files: Arc<dyn VotingFiles>,
    /// Fencing devices.
    pub fencer: Arc<dyn Fencer>,
    /// Copies of the profile.
    pub profile: Arc<dyn ProfileKeeper>,
    /// Mirrored volumes.
    pub volumes: Arc<dyn Volumes>,
}
