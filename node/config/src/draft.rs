//! The file as it was read: every value with its place, nothing compared with anything yet.
//! `None` stands for what was absent or has been reported as wrong.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use tasuki_core::{
    config::{
        AttributeConfig, Automatic, Cardinality, Exclusive, ExecConfig, FenceKind, FinalAction,
        MirrorDiskConfig, MonitorTiming, NetworkUse, OnHang, Placement, PlacementPolicy, QuorumLoss,
        StartDependency, StartFailurePolicy, Startup, StopDependency, StopFailurePolicy, Value,
    },
    timing::Timing,
};
use toml::Spanned;

use crate::{net::Subnet, source::Span};

pub(crate) type Name = Spanned<String>;

/// A value that was put together, with its place.
pub(crate) type Placed<T> = (T, Span);

/// The name, or words for its absence.
pub(crate) fn label(name: Option<&Name>) -> &str {
    name.map_or("(without name)", |name| name.get_ref())
}

/// The whole file.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) cluster: Option<ClusterDraft>,
    pub(crate) voting: Option<VotesDraft>,
    pub(crate) fences: Vec<FenceDraft>,
    pub(crate) networks: Vec<NetworkDraft>,
    pub(crate) servers: Vec<ServerDraft>,
    pub(crate) witnesses: Vec<WitnessDraft>,
    pub(crate) heartbeats: Vec<HeartbeatDraft>,
    pub(crate) types: Vec<TypeDraft>,
    pub(crate) pools: Vec<PoolDraft>,
    pub(crate) groups: Vec<GroupDraft>,
    pub(crate) definitions: Vec<DefinitionDraft>,
    pub(crate) monitors: Vec<MonitorDraft>,
}

impl Draft {
    /// The servers' numbers: as given, else one more than the server's before it in the file.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        let next = |last: &mut u32, server: &ServerDraft| {
            *last = server.number.as_ref().map_or(last.saturating_add(1), |number| *number.get_ref());
            Some(*last)
        };
        self.servers.iter().scan(0, next).collect()
    }

    /// Every resource, of groups and outside of them, with the pools that its servers come from.
    pub(crate) fn resources(&self) -> impl Iterator<Item = (&[Name], &ResourceDraft)> {
        let groups = self.groups.iter();
        let members =
            groups.flat_map(|group| group.resources.iter().map(|member| (&group.pools[..], member)));
        let alone = self.definitions.iter().map(|alone| (&alone.server_pools[..], &alone.resource));
        members.chain(alone)
    }
}

pub(crate) struct ClusterDraft {
    pub(crate) name: Option<Name>,
    pub(crate) comment: String,
    pub(crate) timing: Option<Timing>,
    pub(crate) startup_wait: Duration,
    pub(crate) on_hang: OnHang,
    pub(crate) port: u16,
    pub(crate) heartbeat_port: u16,
    /// The short form of a `[[witness]]`.
    pub(crate) witness: Option<WitnessDraft>,
    /// The short form of `files` in `[votes]`.
    pub(crate) voting_file: Option<Spanned<PathBuf>>,
    /// The fencing device of every server that names none.
    pub(crate) fence: Option<Name>,
}

/// `[votes]`
pub(crate) struct VotesDraft {
    pub(crate) files: Vec<Spanned<PathBuf>>,
    pub(crate) tie_break: Option<Spanned<TieBreakWord>>,
    pub(crate) addresses: Vec<Spanned<IpAddr>>,
    pub(crate) disk_timeout: Duration,
}

/// The words for a tie-break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TieBreakWord {
    None,
    Witness,
    VotingFiles,
    Fence,
    UnsafePing,
}

/// `[[fence]]`
#[derive(Default)]
pub(crate) struct FenceDraft {
    pub(crate) name: Option<Name>,
    pub(crate) comment: String,
    pub(crate) kind: Option<FenceKind>,
    /// Where its program stands.
    pub(crate) program: Option<Span>,
    pub(crate) ports: Vec<(Name, String)>,
    pub(crate) timeout: Duration,
    pub(crate) retries: u32,
    pub(crate) delay: Duration,
}

pub(crate) struct NetworkDraft {
    pub(crate) name: Option<Name>,
    pub(crate) span: Span,
    pub(crate) subnet: Option<Subnet>,
    pub(crate) uses: Vec<NetworkUse>,
}

pub(crate) struct ServerDraft {
    pub(crate) name: Option<Name>,
    pub(crate) span: Span,
    pub(crate) comment: String,
    /// Its position in the file when not given.
    pub(crate) number: Option<Spanned<u32>>,
    pub(crate) domain: Option<Name>,
    /// Network and address there.
    pub(crate) addresses: Vec<(Name, Option<Spanned<IpAddr>>)>,
    /// Levels of fencing devices.
    pub(crate) fencing: Vec<Vec<Name>>,
    /// Where they stand.
    pub(crate) fence_span: Option<Span>,
}

/// A member that runs no groups.
pub(crate) struct WitnessDraft {
    pub(crate) name: Option<Name>,
    pub(crate) span: Span,
    pub(crate) comment: String,
    pub(crate) addresses: Vec<Spanned<IpAddr>>,
    /// It has addresses, and all of them could be read.
    pub(crate) complete: bool,
    pub(crate) port: u16,
    pub(crate) kind: Option<Spanned<WitnessKind>>,
    pub(crate) domain: Option<String>,
}

/// What a witness does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WitnessKind {
    Voter,
    Register,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeartbeatKind {
    Lan,
    Com,
    Disk,
}

pub(crate) struct HeartbeatDraft {
    pub(crate) kind: Option<HeartbeatKind>,
    pub(crate) network: Option<Name>,
    pub(crate) device: Option<Spanned<PathBuf>>,
    pub(crate) span: Span,
}

pub(crate) struct GroupDraft {
    pub(crate) name: Option<Name>,
    pub(crate) comment: String,
    pub(crate) servers: Vec<Name>,
    pub(crate) startup: Startup,
    pub(crate) failover: Automatic,
    pub(crate) failback: Automatic,
    pub(crate) exclusive: Exclusive,
    pub(crate) placement: Placement,
    pub(crate) pools: Vec<Name>,
    pub(crate) load: u32,
    pub(crate) enabled: bool,
    pub(crate) on_quorum_loss: Option<Spanned<QuorumLoss>>,
    pub(crate) start: Vec<Placed<StartDependency>>,
    pub(crate) stop: Vec<Placed<StopDependency>>,
    pub(crate) resources: Vec<ResourceDraft>,
}

impl GroupDraft {
    pub(crate) fn label(&self) -> &str {
        label(self.name.as_ref())
    }
}

pub(crate) struct TypeDraft {
    pub(crate) name: Option<Name>,
    pub(crate) comment: String,
    pub(crate) base: Option<Name>,
    pub(crate) attributes: Vec<AttributeDraft>,
    /// Some of its attributes could not be read, so what its resources may give is not known.
    pub(crate) unclear: bool,
}

pub(crate) struct AttributeDraft {
    pub(crate) name: Name,
    /// Where its default stands.
    pub(crate) default: Option<Span>,
    pub(crate) config: AttributeConfig,
}

pub(crate) struct PoolDraft {
    pub(crate) name: Option<Name>,
    pub(crate) comment: String,
    pub(crate) min: Option<Spanned<u32>>,
    pub(crate) max: Option<Spanned<u32>>,
    pub(crate) importance: u32,
    pub(crate) servers: Vec<Name>,
}

/// A resource outside every group.
pub(crate) struct DefinitionDraft {
    pub(crate) resource: ResourceDraft,
    pub(crate) cardinality: Cardinality,
    pub(crate) placement: PlacementPolicy,
    pub(crate) hosting_members: Vec<Name>,
    pub(crate) server_pools: Vec<Name>,
    pub(crate) load: u32,
    pub(crate) auto_start: Startup,
    pub(crate) enabled: bool,
    pub(crate) failover: Automatic,
    pub(crate) failback: Automatic,
    pub(crate) start: Vec<Placed<StartDependency>>,
    pub(crate) stop: Vec<Placed<StopDependency>>,
}

pub(crate) struct ResourceDraft {
    pub(crate) name: Option<Name>,
    pub(crate) comment: String,
    pub(crate) depends_on: Option<Vec<Name>>,
    pub(crate) policies: PoliciesDraft,
    pub(crate) type_name: Option<Name>,
    /// The attributes that its type adds.
    pub(crate) attributes: BTreeMap<String, Value>,
    pub(crate) kind: Option<KindDraft>,
}

/// What follows a failure.
pub(crate) struct PoliciesDraft {
    pub(crate) on_start_failure: StartFailurePolicy,
    pub(crate) on_stop_failure: StopFailurePolicy,
    pub(crate) uptime_threshold: Duration,
    pub(crate) failure_threshold: u32,
    pub(crate) failure_interval: Duration,
}

pub(crate) enum KindDraft {
    Exec(ExecDraft),
    FloatingIp(FloatingIpDraft),
    MirrorDisk(Box<MirrorDraft>),
}

pub(crate) struct ExecDraft {
    pub(crate) config: ExecConfig,
    pub(crate) start: Span,
    pub(crate) stop: Option<Span>,
    pub(crate) check: Option<Span>,
}

pub(crate) struct FloatingIpDraft {
    pub(crate) address: Option<Spanned<IpAddr>>,
    pub(crate) device: Option<String>,
    pub(crate) prefix: Option<Spanned<u8>>,
    pub(crate) per_server: Vec<(Name, Option<Spanned<IpAddr>>)>,
}

pub(crate) struct MirrorDraft {
    /// What needs no place.
    pub(crate) config: MirrorDiskConfig,
    pub(crate) data: Option<Spanned<PathBuf>>,
    pub(crate) metadata: Option<Spanned<PathBuf>>,
    pub(crate) size: Option<u64>,
    pub(crate) per_server: Vec<(Name, AreasDraft)>,
    pub(crate) device: Option<PathBuf>,
    pub(crate) mount: Option<Spanned<PathBuf>>,
    pub(crate) network: Option<Name>,
    pub(crate) port: Spanned<u16>,
    pub(crate) export_port: Option<Spanned<u16>>,
    pub(crate) span: Span,
}

/// The areas of one server; those of all where they are not given.
pub(crate) struct AreasDraft {
    pub(crate) data: Option<Spanned<PathBuf>>,
    pub(crate) metadata: Option<Spanned<PathBuf>>,
}

pub(crate) struct MonitorDraft {
    pub(crate) name: Option<Name>,
    pub(crate) comment: String,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) retries: u32,
    pub(crate) start_delay: Duration,
    pub(crate) timing: Spanned<MonitorTiming>,
    pub(crate) target: Option<Name>,
    pub(crate) nice: i8,
    pub(crate) servers: Vec<Name>,
    pub(crate) recovery: Option<RecoveryDraft>,
    pub(crate) kind: Option<MonitorKindDraft>,
}

pub(crate) enum MonitorKindDraft {
    Pid,
    Mirror,
    MirrorLink,
    Ip(Vec<IpAddr>),
    Exec { command: Vec<String>, user: Option<String>, directory: Option<PathBuf>, span: Span },
}

pub(crate) struct RecoveryDraft {
    pub(crate) target: Name,
    pub(crate) restarts: u32,
    pub(crate) failovers: u32,
    pub(crate) last: FinalAction,
}
