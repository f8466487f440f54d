//! Wire types to the service layer's types and back. Both ways, because the command line reads what
//! the node wrote; a test takes every value there and back.

use tasuki_actors::handle::{Accepted, Event};
use tasuki_core::{
    config::ClusterConfig,
    ids::{Epoch, Incarnation, Lineage, RaftId, Revision, ServerName, Term},
    membership::view::{GossipState, PathState},
    registry::{
        Author, Change, Level,
        state::{AfterStop, GroupState, ResourceState, Target},
    },
    time::{Timestamp, WallTime},
};
use tasuki_proto::v1 as wire;

use crate::{
    app::{
        bootstrap::Member,
        config::{Push, PushResult, ServerPush},
        error::Problem,
        explain::{Explanation, NotThere},
        joins::Admission,
        registry::ItemView,
        status::{
            ClusterStatus, GroupStatus, MemberKind, ModeName, PathStatus, ResourceStatus, ServerState,
            ServerStatus, Survival,
        },
    },
    identity::Welcome,
};

/// A message that does not say what it must.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message has no usable {0}")]
pub struct Malformed(pub &'static str);

type Result<T> = std::result::Result<T, Malformed>;

/// A word of ours and the same word on the wire.
macro_rules! words {
    ($out:ident, $into:ident, $ours:ty, $wire:ty, { $($a:pat => $b:path => $c:expr,)* }) => {
        /// To the wire.
        #[must_use]
        pub fn $out(ours: $ours) -> i32 {
            (match ours { $($a => $b,)* }) as i32
        }

        /// From the wire.
        ///
        /// # Errors
        /// For a number without a meaning here.
        pub fn $into(number: i32) -> Result<$ours> {
            match <$wire>::try_from(number) {
                $(Ok($b) => Ok($c),)*
                _ => Err(Malformed(stringify!($ours))),
            }
        }
    };
}

// Below the macro that they use.
mod fence;
mod mirror;
mod monitor;
mod pool;
mod resource;
pub mod times;
mod type_;
mod vote;

pub use self::{
    fence::{device_in, device_out, fencing_in, fencing_out},
    mirror::{
        difference_in, difference_out, done_in, done_out, here_in, here_out, order_in, order_out, volume_in,
        volume_out,
    },
    monitor::{monitor_in, monitor_out, monitor_state_in, monitor_state_out},
    pool::{pool_in, pool_out},
    resource::{
        acted_in, acted_out, attributes_in, attributes_out, instance_state_in, instance_state_out,
        resource_in, resource_out,
    },
    type_::{new_attribute_in, new_attribute_out, type_in, type_out},
    vote::{vote_in, vote_out},
};

words!(mode_out, mode_in, ModeName, wire::ClusterMode, {
    ModeName::Running => wire::ClusterMode::Running => ModeName::Running,
    ModeName::Suspended => wire::ClusterMode::Suspended => ModeName::Suspended,
    ModeName::Stopping => wire::ClusterMode::Stopping => ModeName::Stopping,
});
words!(server_state_out, server_state_in, ServerState, wire::ServerState, {
    ServerState::NotJoined => wire::ServerState::NotJoined => ServerState::NotJoined,
    ServerState::Up => wire::ServerState::Up => ServerState::Up,
    ServerState::Leaving => wire::ServerState::Leaving => ServerState::Leaving,
    ServerState::Down => wire::ServerState::Down => ServerState::Down,
    ServerState::Heard => wire::ServerState::Heard => ServerState::Heard,
    ServerState::NotHeard => wire::ServerState::NotHeard => ServerState::NotHeard,
    ServerState::Joined => wire::ServerState::Joined => ServerState::Joined,
});
words!(member_kind_out, member_kind_in, MemberKind, wire::MemberKind, {
    MemberKind::Server => wire::MemberKind::Server => MemberKind::Server,
    MemberKind::Voter => wire::MemberKind::Voter => MemberKind::Voter,
    MemberKind::Register => wire::MemberKind::Register => MemberKind::Register,
});
words!(gossip_out, gossip_in, GossipState, wire::GossipState, {
    GossipState::Joining => wire::GossipState::Joining => GossipState::Joining,
    GossipState::Alive => wire::GossipState::Alive => GossipState::Alive,
    GossipState::Suspect => wire::GossipState::Suspect => GossipState::Suspect,
    GossipState::Dead => wire::GossipState::Dead => GossipState::Dead,
    GossipState::Left => wire::GossipState::Left => GossipState::Left,
});
words!(path_state_out, path_state_in, PathState, wire::PathState, {
    PathState::Normal => wire::PathState::Normal => PathState::Normal,
    PathState::Caution => wire::PathState::Caution => PathState::Caution,
    PathState::Error => wire::PathState::Error => PathState::Error,
    PathState::Unused => wire::PathState::Unused => PathState::Unused,
    PathState::Unknown => wire::PathState::Unknown => PathState::Unknown,
});
words!(group_state_out, group_state_in, GroupState, wire::RunState, {
    GroupState::Online => wire::RunState::Online => GroupState::Online,
    GroupState::Offline => wire::RunState::Offline => GroupState::Offline,
    GroupState::OnlinePending => wire::RunState::OnlinePending => GroupState::OnlinePending,
    GroupState::OfflinePending => wire::RunState::OfflinePending => GroupState::OfflinePending,
    GroupState::Error => wire::RunState::Error => GroupState::Error,
    GroupState::Unknown => wire::RunState::Unknown => GroupState::Unknown,
});
words!(resource_state_out, resource_state_in, ResourceState, wire::RunState, {
    ResourceState::Online => wire::RunState::Online => ResourceState::Online,
    ResourceState::Intermediate => wire::RunState::Intermediate => ResourceState::Intermediate,
    ResourceState::Offline => wire::RunState::Offline => ResourceState::Offline,
    ResourceState::OnlinePending => wire::RunState::OnlinePending => ResourceState::OnlinePending,
    ResourceState::OfflinePending => wire::RunState::OfflinePending => ResourceState::OfflinePending,
    ResourceState::OnlineFailure => wire::RunState::OnlineFailure => ResourceState::OnlineFailure,
    ResourceState::OfflineFailure => wire::RunState::OfflineFailure => ResourceState::OfflineFailure,
    ResourceState::Unknown => wire::RunState::Unknown => ResourceState::Unknown,
});
words!(push_result_out, push_result_in, PushResult, wire::PushResult, {
    PushResult::Applied => wire::PushResult::Applied => PushResult::Applied,
    PushResult::Checked => wire::PushResult::Checked => PushResult::Checked,
    PushResult::Unreachable => wire::PushResult::Unreachable => PushResult::Unreachable,
    PushResult::NotJoined => wire::PushResult::NotJoined => PushResult::NotJoined,
    PushResult::Refused => wire::PushResult::Refused => PushResult::Refused,
    PushResult::Behind => wire::PushResult::Behind => PushResult::Behind,
});

/// To the wire.
#[must_use]
pub fn after_out(after: AfterStop) -> i32 {
    (match after {
        AfterStop::Nothing => wire::AfterStop::Nothing,
        AfterStop::Reboot => wire::AfterStop::Reboot,
        AfterStop::PowerOff => wire::AfterStop::PowerOff,
        AfterStop::Reset => wire::AfterStop::Reset,
    }) as i32
}

/// From the wire; not saying anything means that the machine stays up.
///
/// # Errors
/// For a number without a meaning here.
pub fn after_in(number: i32) -> Result<AfterStop> {
    Ok(match wire::AfterStop::try_from(number) {
        Ok(wire::AfterStop::Unspecified | wire::AfterStop::Nothing) => AfterStop::Nothing,
        Ok(wire::AfterStop::Reboot) => AfterStop::Reboot,
        Ok(wire::AfterStop::PowerOff) => AfterStop::PowerOff,
        Ok(wire::AfterStop::Reset) => AfterStop::Reset,
        Err(_) => return Err(Malformed("AfterStop")),
    })
}

/// `""` is how the wire says "none".
#[must_use]
pub fn optional(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// `None` is `""` on the wire.
#[must_use]
pub fn text_of(name: Option<impl ToString>) -> String {
    name.map_or_else(String::new, |name| name.to_string())
}

fn all<A, B>(items: Vec<A>, convert: impl FnMut(A) -> Result<B>) -> Result<Vec<B>> {
    items.into_iter().map(convert).collect()
}

/// To the wire.
#[must_use]
pub fn accepted_out(accepted: Accepted) -> wire::Accepted {
    wire::Accepted { revision: accepted.revision.0 }
}

/// To the wire.
#[must_use]
pub fn status_out(status: ClusterStatus) -> wire::ClusterStatusResponse {
    wire::ClusterStatusResponse {
        cluster: status.cluster,
        lineage: text_of(status.lineage.as_ref().map(Lineage::as_str)),
        revision: status.revision.0,
        mode: mode_out(status.mode),
        confirmed: status.confirmed,
        seen_from: status.seen_from.to_string(),
        leader: text_of(status.leader),
        term: status.term.0,
        survival: Some(wire::Survival {
            survives: status.survival.survives,
            voters: status.survival.voters,
            voters_up: status.survival.voters_up,
            needed: status.survival.needed,
            stranded: status.survival.stranded.iter().map(ToString::to_string).collect(),
            tie_break: text_of(status.survival.tie_break),
        }),
        servers: status.servers.into_iter().map(server_out).collect(),
        groups: status.groups.into_iter().map(group_out).collect(),
        monitors: status.monitors.into_iter().map(monitor_out).collect(),
        warnings: status.warnings,
        level: status.level.0,
    }
}

/// From the wire.
///
/// # Errors
/// When a word has no meaning here.
pub fn status_in(status: wire::ClusterStatusResponse) -> Result<ClusterStatus> {
    let survival = status.survival.ok_or(Malformed("survival"))?;
    Ok(ClusterStatus {
        cluster: status.cluster,
        lineage: optional(status.lineage).map(Lineage::new),
        revision: Revision(status.revision),
        mode: mode_in(status.mode)?,
        confirmed: status.confirmed,
        seen_from: ServerName::new(status.seen_from),
        leader: optional(status.leader).map(ServerName::new),
        term: Term(status.term),
        survival: Survival {
            survives: survival.survives,
            voters: survival.voters,
            voters_up: survival.voters_up,
            needed: survival.needed,
            stranded: survival.stranded.iter().map(|name| name.as_str().into()).collect(),
            tie_break: optional(survival.tie_break),
        },
        servers: all(status.servers, server_in)?,
        groups: all(status.groups, group_in)?,
        monitors: all(status.monitors, monitor_in)?,
        warnings: status.warnings,
        level: Level(status.level).max(Level::BASE),
    })
}

/// To the wire.
#[must_use]
pub fn server_out(server: ServerStatus) -> wire::ServerStatus {
    wire::ServerStatus {
        name: server.name.to_string(),
        number: server.number,
        kind: member_kind_out(server.kind),
        state: server_state_out(server.state),
        because: text_of(server.because),
        incarnation: server.incarnation.0,
        voter: server.voter,
        leader: server.leader,
        silent: server.silent,
        caution: server.caution,
        gossip: server.gossip.map_or(0, gossip_out),
        lease_left_ms: server.lease_left_ms,
        version: text_of(server.version),
        level: server.level.map_or(0, |level| level.0),
        paths: server
            .paths
            .into_iter()
            .map(|path| wire::PathStatus {
                network: path.network.to_string(),
                state: path_state_out(path.state),
                latency_us: path.latency_us,
                loss_percent: path.loss_percent.into(),
                state_for_ms: path.state_for_ms,
                jitter_us: path.jitter_us,
                too_tight: text_of(path.too_tight),
            })
            .collect(),
        groups: server.groups.iter().map(ToString::to_string).collect(),
    }
}

/// From the wire.
///
/// # Errors
/// When a word has no meaning here.
pub fn server_in(server: wire::ServerStatus) -> Result<ServerStatus> {
    Ok(ServerStatus {
        name: ServerName::new(server.name),
        number: server.number,
        kind: member_kind_in(server.kind)?,
        state: server_state_in(server.state)?,
        because: optional(server.because),
        incarnation: Incarnation(server.incarnation),
        voter: server.voter,
        leader: server.leader,
        silent: server.silent,
        caution: server.caution,
        gossip: if server.gossip == 0 { None } else { Some(gossip_in(server.gossip)?) },
        lease_left_ms: server.lease_left_ms,
        version: optional(server.version),
        level: (server.level > 0).then_some(Level(server.level)),
        paths: all(server.paths, |path| {
            Ok(PathStatus {
                network: path.network.as_str().into(),
                state: path_state_in(path.state)?,
                latency_us: path.latency_us,
                loss_percent: u8::try_from(path.loss_percent).map_err(|_| Malformed("loss_percent"))?,
                state_for_ms: path.state_for_ms,
                jitter_us: path.jitter_us,
                too_tight: optional(path.too_tight),
            })
        })?,
        groups: server.groups.iter().map(|name| name.as_str().into()).collect(),
    })
}

/// To the wire.
#[must_use]
pub fn group_out(group: GroupStatus) -> wire::GroupStatus {
    wire::GroupStatus {
        name: group.name.to_string(),
        state: group_state_out(group.state),
        wanted_online: group.target == Target::Online,
        server: text_of(group.server),
        since_ms: group.since.0,
        epoch: group.epoch.0,
        home: text_of(group.home),
        releasing: group.releasing,
        next: text_of(group.next),
        reason: text_of(group.reason),
        resources: group
            .resources
            .into_iter()
            .map(|resource| wire::ResourceStatus {
                name: resource.name.to_string(),
                r#type: resource.kind,
                state: resource_state_out(resource.state),
                detail: resource.detail,
                since_ms: resource.since.map_or(0, |since| since.0),
            })
            .collect(),
        monitors: group.monitors.into_iter().map(monitor_out).collect(),
    }
}

/// From the wire.
///
/// # Errors
/// When a word has no meaning here.
pub fn group_in(group: wire::GroupStatus) -> Result<GroupStatus> {
    Ok(GroupStatus {
        name: group.name.as_str().into(),
        state: group_state_in(group.state)?,
        target: if group.wanted_online { Target::Online } else { Target::Offline },
        server: optional(group.server).map(ServerName::new),
        since: WallTime(group.since_ms),
        epoch: Epoch(group.epoch),
        home: optional(group.home).map(ServerName::new),
        releasing: group.releasing,
        next: optional(group.next).map(ServerName::new),
        reason: optional(group.reason),
        resources: all(group.resources, |resource| {
            Ok(ResourceStatus {
                name: resource.name.as_str().into(),
                kind: resource.r#type,
                state: resource_state_in(resource.state)?,
                detail: resource.detail,
                since: (resource.since_ms > 0).then_some(WallTime(resource.since_ms)),
            })
        })?,
        monitors: all(group.monitors, monitor_in)?,
    })
}

/// To the wire.
#[must_use]
pub fn explanation_out(explanation: Explanation) -> wire::ExplainGroupResponse {
    wire::ExplainGroupResponse {
        group: Some(group_out(explanation.group)),
        because: explanation.because,
        not_there: explanation
            .not_there
            .into_iter()
            .map(|not| wire::NotThere {
                server: not.server.to_string(),
                available: not.available,
                because: not.because,
            })
            .collect(),
        failures: explanation.failures,
        history: explanation.history.into_iter().map(change_out).collect(),
    }
}

/// From the wire.
///
/// # Errors
/// When a word has no meaning here.
pub fn explanation_in(explanation: wire::ExplainGroupResponse) -> Result<Explanation> {
    Ok(Explanation {
        group: group_in(explanation.group.ok_or(Malformed("group"))?)?,
        because: explanation.because,
        not_there: explanation
            .not_there
            .into_iter()
            .map(|not| NotThere {
                server: ServerName::new(not.server),
                available: not.available,
                because: not.because,
            })
            .collect(),
        failures: explanation.failures,
        history: all(explanation.history, change_in)?,
    })
}

/// To the wire.
#[must_use]
pub fn change_out(change: Change) -> wire::Change {
    wire::Change {
        revision: change.revision.0,
        author: change.author.to_string(),
        at_ms: change.at.0,
        what: change.what,
        reason: change.reason,
        keys: change.keys.iter().map(ToString::to_string).collect(),
    }
}

/// From the wire.
///
/// # Errors
/// When its author or a key makes no sense.
pub fn change_in(change: wire::Change) -> Result<Change> {
    let author = match change.author.split_once(' ') {
        Some(("leader", server)) => Author::Leader(server.into()),
        Some(("server", server)) => Author::Server(server.into()),
        Some(("operator", name)) => Author::Operator(name.to_owned()),
        _ => return Err(Malformed("author")),
    };
    Ok(Change {
        revision: Revision(change.revision),
        author,
        at: WallTime(change.at_ms),
        what: change.what,
        reason: change.reason,
        keys: all(change.keys, |key| key.parse().map_err(|_| Malformed("key")))?,
    })
}

/// To the wire.
#[must_use]
pub fn item_out(item: ItemView) -> wire::RegistryItem {
    wire::RegistryItem {
        key: item.key,
        value_json: item.value.to_string(),
        created: item.created.0,
        modified: item.modified.0,
        at_ms: item.at.0,
    }
}

/// From the wire.
///
/// # Errors
/// When the value is not JSON.
pub fn item_in(item: wire::RegistryItem) -> Result<ItemView> {
    Ok(ItemView {
        key: item.key,
        value: serde_json::from_str(&item.value_json).map_err(|_| Malformed("value"))?,
        created: Revision(item.created),
        modified: Revision(item.modified),
        at: WallTime(item.at_ms),
    })
}

/// To the wire.
#[must_use]
pub fn problem_out(problem: Problem) -> wire::ConfigProblem {
    let Problem { code, file, line, column, message, remedy, warning, rendered } = problem;
    wire::ConfigProblem { code, file, line, column, message, remedy, warning, rendered }
}

/// From the wire.
#[must_use]
pub fn problem_in(problem: wire::ConfigProblem) -> Problem {
    let wire::ConfigProblem { code, file, line, column, message, remedy, warning, rendered } = problem;
    Problem { code, file, line, column, message, remedy, warning, rendered }
}

/// To the wire.
#[must_use]
pub fn push_out(push: Push) -> wire::PushConfigResponse {
    wire::PushConfigResponse {
        revision: push.revision.map_or(0, |revision| revision.0),
        servers: push
            .servers
            .into_iter()
            .map(|push| wire::ServerPush {
                server: push.server.to_string(),
                result: push_result_out(push.result),
                detail: push.detail,
            })
            .collect(),
        warnings: push.warnings.into_iter().map(problem_out).collect(),
    }
}

/// From the wire.
///
/// # Errors
/// When a word has no meaning here.
pub fn push_in(push: wire::PushConfigResponse) -> Result<Push> {
    Ok(Push {
        revision: (push.revision > 0).then_some(Revision(push.revision)),
        servers: all(push.servers, |push| {
            Ok(ServerPush {
                server: ServerName::new(push.server),
                result: push_result_in(push.result)?,
                detail: push.detail,
            })
        })?,
        warnings: push.warnings.into_iter().map(problem_in).collect(),
    })
}

/// To the wire.
#[must_use]
pub fn event_out(event: Event) -> wire::EventRecord {
    wire::EventRecord {
        at_ms: event.at.0,
        boot_ns: event.boot.0,
        server: event.server.to_string(),
        object: event.object,
        kind: event.kind,
        text: event.text,
        revision: event.revision.map(|revision| revision.0),
    }
}

/// From the wire.
#[must_use]
pub fn event_in(event: wire::EventRecord) -> Event {
    Event {
        at: WallTime(event.at_ms),
        boot: Timestamp(event.boot_ns),
        server: ServerName::new(event.server),
        object: event.object,
        kind: event.kind,
        text: event.text,
        revision: event.revision.map(Revision),
    }
}

/// To the wire.
///
/// # Errors
/// When the configuration cannot be written as JSON.
pub fn admission_out(admission: Admission) -> Result<wire::JoinResponse> {
    let Welcome { server, raft_id, lineage, cluster, ca_pem, ca_key, link_key, server_pem, last_incarnation } =
        admission.welcome;
    Ok(wire::JoinResponse {
        identity: Some(wire::JoinIdentity {
            server: server.to_string(),
            cluster,
            lineage: lineage.to_string(),
            raft_id: raft_id.0,
            ca_pem,
            ca_key_pem: ca_key,
            server_pem,
            link_key,
            last_incarnation: last_incarnation.0,
        }),
        config_json: serde_json::to_string(&admission.config).map_err(|_| Malformed("configuration"))?,
        members: admission
            .members
            .into_iter()
            .map(|member| wire::JoinMember {
                server: member.server.to_string(),
                raft_id: member.raft_id.0,
                addresses: member.addresses.iter().map(ToString::to_string).collect(),
                port: member.port.into(),
            })
            .collect(),
    })
}

/// From the wire.
///
/// # Errors
/// When something is missing or cannot be read.
pub fn admission_in(answer: wire::JoinResponse) -> Result<Admission> {
    let identity = answer.identity.ok_or(Malformed("identity"))?;
    let config: ClusterConfig =
        serde_json::from_str(&answer.config_json).map_err(|_| Malformed("configuration"))?;
    Ok(Admission {
        welcome: Welcome {
            server: ServerName::new(identity.server),
            raft_id: RaftId(identity.raft_id),
            lineage: Lineage::new(identity.lineage),
            cluster: identity.cluster,
            ca_pem: identity.ca_pem,
            ca_key: identity.ca_key_pem,
            link_key: identity.link_key,
            server_pem: identity.server_pem,
            last_incarnation: Incarnation(identity.last_incarnation),
        },
        config,
        members: all(answer.members, |member| {
            Ok(Member {
                server: ServerName::new(member.server),
                raft_id: RaftId(member.raft_id),
                addresses: all(member.addresses, |a| a.parse().map_err(|_| Malformed("address")))?,
                port: u16::try_from(member.port).map_err(|_| Malformed("port"))?,
            })
        })?,
    })
}
