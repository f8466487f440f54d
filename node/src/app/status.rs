//! How the cluster is, as one value: computed from the registry, from what this server believes,
//! and from this node. `--json` prints exactly this.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tasuki_actors::handle::NodeStatus;
use tasuki_core::{
    config::{GroupConfig, Role as MemberRole, TieBreak},
    ids::{Epoch, GroupName, Incarnation, Lineage, NetworkName, ResourceName, Revision, ServerName, Term},
    membership::{
        tie_break::Mode,
        view::{GossipState, PathState, PathView, PeerView, View},
    },
    registry::{
        Level, State,
        state::{ClusterMode, GroupEntry, GroupState, Ownership, ResourceState, ServerMode, Target},
    },
    time::WallTime,
};

use super::monitors::{self, MonitorStatus};

/// The cluster at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// Its name.
    pub cluster: String,
    /// Its registry's lineage.
    pub lineage: Option<Lineage>,
    /// The registry revision that this shows.
    pub revision: Revision,
    /// Running, suspended or stopping.
    pub mode: ModeName,
    /// A quorum has confirmed it; otherwise it may be old.
    pub confirmed: bool,
    /// The server that answers: paths are as it sees them.
    pub seen_from: ServerName,
    /// Who leads, when a quorum says so.
    pub leader: Option<ServerName>,
    /// The Raft term.
    pub term: Term,
    /// What the loss of one more server would do.
    pub survival: Survival,
    /// Servers by number.
    pub servers: Vec<ServerStatus>,
    /// Groups by name.
    pub groups: Vec<GroupStatus>,
    /// Monitors by name.
    pub monitors: Vec<MonitorStatus>,
    /// What is unwise as it is, with its code.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The level of the registry.
    #[serde(default)]
    pub level: Level,
}

/// The cluster's mode without what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModeName {
    /// Groups are kept running.
    Running,
    /// Groups run on, unwatched.
    Suspended,
    /// Everything stops.
    Stopping,
}

impl From<ClusterMode> for ModeName {
    fn from(mode: ClusterMode) -> Self {
        match mode {
            ClusterMode::Running => Self::Running,
            ClusterMode::Suspended => Self::Suspended,
            ClusterMode::Stopping(_) => Self::Stopping,
        }
    }
}

/// Whether the loss of one more server would be survived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survival {
    /// After losing any one server that is up, a quorum would remain.
    pub survives: bool,
    /// Servers with a vote.
    pub voters: u32,
    /// Those of them that are up and heard.
    pub voters_up: u32,
    /// How many must be up.
    pub needed: u32,
    /// Running groups that no other server could take.
    pub stranded: Vec<GroupName>,
    /// What would let the survivor of two voters go on, if it answers.
    #[serde(default)]
    pub tie_break: Option<String>,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its name.
    pub name: ServerName,
    /// Its number.
    pub number: u32,
    /// What it does in the cluster.
    #[serde(default)]
    pub kind: MemberKind,
    /// The registry's word on it.
    pub state: ServerState,
    /// Why it is down.
    pub because: Option<String>,
    /// Its present or last incarnation.
    pub incarnation: Incarnation,
    /// It has a vote.
    pub voter: bool,
    /// It leads.
    pub leader: bool,
    /// No path to it has been heard on lately.
    pub silent: bool,
    /// It is up and heard, and a path to it is in Caution or Error.
    #[serde(default)]
    pub caution: bool,
    /// Gossip's word on it; `None` for the server that answers.
    pub gossip: Option<GossipState>,
    /// What is left of its lease, milliseconds; only known of the server that answers.
    pub lease_left_ms: Option<u64>,
    /// The paths to it.
    pub paths: Vec<PathStatus>,
    /// The groups it owns.
    pub groups: Vec<GroupName>,
    /// The version that its program told.
    #[serde(default)]
    pub version: Option<String>,
    /// The highest level of the registry that its program told it reads.
    #[serde(default)]
    pub level: Option<Level>,
}

/// The registry's word on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerState {
    /// Configured; has never joined.
    NotJoined,
    /// May hold a lease and takes groups.
    Up,
    /// Hands its groups over and then stops.
    Leaving,
    /// Gone, or stopped.
    Down,
    /// A witness that answers.
    Heard,
    /// A witness that does not answer.
    NotHeard,
    /// A witness to which this server has no heartbeat path: whether it is there, Raft knows.
    Joined,
}

/// What a member does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberKind {
    /// Runs groups.
    #[default]
    Server,
    /// A witness that votes.
    Voter,
    /// A witness that keeps the tie-break record.
    Register,
}

impl From<MemberRole> for MemberKind {
    fn from(role: MemberRole) -> Self {
        match role {
            MemberRole::Server => Self::Server,
            MemberRole::Voter { .. } => Self::Voter,
            MemberRole::Register { .. } => Self::Register,
        }
    }
}

/// One heartbeat path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathStatus {
    /// The network.
    pub network: NetworkName,
    /// Its state.
    pub state: PathState,
    /// Round trip of the last answered beat, microseconds.
    pub latency_us: u64,
    /// Lost among the last hundred beats.
    pub loss_percent: u8,
    /// For how long it has been in this state, milliseconds.
    #[serde(default)]
    pub state_for_ms: u64,
    /// How irregularly beats come: the mean deviation of the gaps between them, microseconds.
    #[serde(default)]
    pub jitter_us: u64,
    /// Why `detect` is too tight for it.
    #[serde(default)]
    pub too_tight: Option<String>,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its name.
    pub name: GroupName,
    /// Its state.
    pub state: GroupState,
    /// Whether it is wanted.
    pub target: Target,
    /// Who owns it.
    pub server: Option<ServerName>,
    /// Since when it is in this state.
    pub since: WallTime,
    /// Its present or last ownership.
    pub epoch: Epoch,
    /// First of its list.
    pub home: Option<ServerName>,
    /// The owner is asked to stop it.
    pub releasing: bool,
    /// Where it goes next, when somebody chose.
    pub next: Option<ServerName>,
    /// Why it is where it is, or why nobody owns it.
    pub reason: Option<String>,
    /// Its resources by name.
    pub resources: Vec<ResourceStatus>,
    /// The monitors of its resources; none in the status of the cluster, which has them all.
    pub monitors: Vec<MonitorStatus>,
}

/// One resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceStatus {
    /// Its name.
    pub name: ResourceName,
    /// Its type, as in the configuration.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its state.
    pub state: ResourceState,
    /// What there is to say.
    pub detail: String,
    /// Since when.
    pub since: Option<WallTime>,
}

/// The whole picture. `confirmed` says whether a quorum has just vouched for `state`.
#[must_use]
pub fn cluster(state: &State, view: &View, node: &NodeStatus, confirmed: bool) -> ClusterStatus {
    let servers = servers(state, view, node, confirmed);
    let groups: Vec<GroupStatus> = state.groups.iter().map(|(name, entry)| group(name, entry)).collect();
    ClusterStatus {
        cluster: state.settings.as_ref().map_or_else(String::new, |s| s.value.name.clone()),
        lineage: state.lineage.clone(),
        revision: state.revision,
        mode: state.cluster_mode().into(),
        confirmed,
        seen_from: node.server.clone(),
        leader: node.raft.leader.clone().filter(|_| confirmed),
        term: node.raft.term,
        survival: survival(state, node, &servers, &groups, confirmed),
        warnings: servers
            .iter()
            .flat_map(|server| &server.paths)
            .filter_map(|p| p.too_tight.clone())
            .chain(held_lower(state))
            .collect(),
        level: state.level(),
        servers,
        groups,
        monitors: monitors::all(state),
    }
}

/// Who keeps the registry from what others read already. Who has just started and is about to say
/// what it reads is not named.
fn held_lower(state: &State) -> Option<String> {
    let highest = state.highest_spoken();
    let held = state.below(highest).into_iter().filter_map(|name| {
        let presence = state.presence(&name)?;
        match &presence.speaks {
            Some(spoken) => Some(format!("{name} ({}) reads {}", spoken.version, spoken.level)),
            None if presence.up => None,
            None => Some(format!("{name} has not started since")),
        }
    });
    let held: Vec<String> = held.collect();
    let level = state.level();
    (highest > level && !held.is_empty()).then(|| {
        format!("TSK-1843: the registry is at level {level} and not at {highest}: {}", held.join(", "))
    })
}

/// Servers by number.
#[must_use]
pub fn servers(state: &State, view: &View, node: &NodeStatus, confirmed: bool) -> Vec<ServerStatus> {
    let mut servers: Vec<ServerStatus> =
        state.servers.keys().map(|name| server(state, view, node, confirmed, name)).collect();
    servers.sort_by_key(|server| server.number);
    servers
}

fn server(state: &State, view: &View, node: &NodeStatus, confirmed: bool, name: &ServerName) -> ServerStatus {
    let presence = state.presence(name);
    let peer = view.peers.get(name);
    let here = *name == node.server;
    let kind = state.servers.get(name).map_or(MemberKind::Server, |s| s.config.value.role.into());
    let witness = presence.and_then(|_| witness_state(state, kind, name, peer, node));
    ServerStatus {
        kind,
        name: name.clone(),
        number: state.servers.get(name).map_or(0, |entry| entry.config.value.number),
        state: match presence {
            Some(_) if let Some((state, _)) = &witness => *state,
            None => ServerState::NotJoined,
            Some(p) if !p.up => ServerState::Down,
            Some(p) if p.mode != ServerMode::Active => ServerState::Leaving,
            Some(_) => ServerState::Up,
        },
        because: match witness {
            Some((_, because)) => because,
            None => presence.and_then(|p| p.down_because.as_ref()).map(ToString::to_string),
        },
        version: presence.and_then(|p| Some(p.speaks.as_ref()?.version.clone())),
        level: presence.and_then(|p| Some(p.speaks.as_ref()?.level)),
        incarnation: presence.map_or(Incarnation(0), |p| p.incarnation),
        voter: node.raft.voters.contains(name),
        leader: confirmed && node.raft.leader.as_ref() == Some(name),
        silent: !here && peer.is_none_or(|peer| peer.is_silent()),
        caution: !here
            && presence.is_some_and(|presence| presence.up)
            && peer.is_some_and(|peer| !peer.is_silent() && peer.has_bad_path()),
        gossip: peer.filter(|_| !here).map(|peer| peer.gossip),
        lease_left_ms: node
            .lease_end
            .filter(|_| here)
            .map(|end| u64::try_from(end.since(node.now).as_millis()).unwrap_or(u64::MAX)),
        paths: peer.filter(|_| !here).map_or_else(Vec::new, |peer| {
            peer.paths.iter().map(|(network, path)| path_status(state, node, name, network, path)).collect()
        }),
        groups: state.owned_by(name).map(|(group, _)| group.clone()).collect(),
    }
}

fn path_status(
    state: &State,
    node: &NodeStatus,
    server: &ServerName,
    network: &NetworkName,
    path: &PathView,
) -> PathStatus {
    let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let detect = state.settings.as_ref().map_or(Duration::ZERO, |settings| settings.value.timing.detect);
    PathStatus {
        network: network.clone(),
        state: path.state,
        latency_us: micros(path.latency),
        loss_percent: path.loss_percent,
        state_for_ms: micros(node.now.since(path.since)) / 1000,
        jitter_us: micros(path.jitter),
        too_tight: path.tight.map(|tight| tight.sentence(server, network, detect)),
    }
}

/// How a witness is, which is never up or down: the registry does not know.
fn witness_state(
    state: &State,
    kind: MemberKind,
    name: &ServerName,
    peer: Option<&PeerView>,
    node: &NodeStatus,
) -> Option<(ServerState, Option<String>)> {
    let asked = state.settings.as_ref().is_some_and(
        |settings| matches!(&settings.value.votes.tie_break, TieBreak::Witness { witness } if witness == name),
    );
    match (kind, peer, node.tie_break.as_ref().filter(|_| asked)) {
        (MemberKind::Server, ..) => None,
        (MemberKind::Voter, None, _) | (MemberKind::Register, _, None) => Some((ServerState::Joined, None)),
        (MemberKind::Voter, Some(peer), _) if peer.is_silent() => Some((ServerState::NotHeard, None)),
        (MemberKind::Voter, Some(_), _) => Some((ServerState::Heard, None)),
        (MemberKind::Register, _, Some(seen)) => Some(match &seen.problem {
            Some(problem) => (ServerState::NotHeard, Some(problem.clone())),
            None => (ServerState::Heard, None),
        }),
    }
}

/// One group.
#[must_use]
pub fn group(name: &GroupName, entry: &GroupEntry) -> GroupStatus {
    let ownership = &entry.ownership.value;
    let report = current_report(entry);
    let (state, since) = group_state(entry);
    let vacate = ownership.release.as_ref().or(ownership.vacated.as_ref());
    let config = entry.config.as_ref().map(|config| &config.value);
    let mut resources: Vec<ResourceStatus> = config.map_or_else(Vec::new, |config| {
        let unreported =
            if ownership.owner.is_some() { ResourceState::Unknown } else { ResourceState::Offline };
        config
            .resources
            .iter()
            .map(|(resource, config)| {
                let said = report.and_then(|report| report.resources.get(resource));
                ResourceStatus {
                    name: resource.clone(),
                    kind: config
                        .type_name
                        .as_ref()
                        .map_or_else(|| config.kind.type_name().to_owned(), ToString::to_string),
                    state: said.map_or(unreported, |said| said.state),
                    detail: said.map_or_else(String::new, |said| said.detail.clone()),
                    since: said.map(|said| said.since),
                }
            })
            .collect()
    });
    // What runs although the configuration no longer has it must not be hidden.
    for (resource, said) in report.iter().flat_map(|report| &report.resources) {
        if !resources.iter().any(|known| known.name == *resource) {
            resources.push(ResourceStatus {
                name: resource.clone(),
                kind: "(not configured)".to_owned(),
                state: said.state,
                detail: said.detail.clone(),
                since: Some(said.since),
            });
        }
    }
    GroupStatus {
        name: name.clone(),
        state,
        target: entry.target.value,
        server: ownership.owner.clone(),
        since,
        epoch: ownership.epoch,
        home: config.and_then(|config| config.servers.first().cloned()),
        releasing: ownership.release.is_some(),
        next: vacate.and_then(|vacate| vacate.to.clone()),
        reason: failure(state, &resources).or_else(|| reason(ownership)),
        resources,
        monitors: Vec::new(),
    }
}

/// One group with its monitors.
#[must_use]
pub fn group_with_monitors(state: &State, name: &GroupName, entry: &GroupEntry) -> GroupStatus {
    GroupStatus { monitors: monitors::of_group(state, name, entry), ..group(name, entry) }
}

/// What the present owner has said; an older owner's word does not count.
pub(super) fn current_report(entry: &GroupEntry) -> Option<&tasuki_core::registry::state::GroupReport> {
    let report = &entry.report.as_ref()?.value;
    let ownership = &entry.ownership.value;
    let current = ownership.owner.as_ref() == Some(&report.server) && report.epoch == ownership.epoch;
    current.then_some(report)
}

pub(super) fn group_state(entry: &GroupEntry) -> (GroupState, WallTime) {
    let ownership = &entry.ownership;
    if ownership.value.owner.is_none() {
        return (GroupState::Offline, ownership.at);
    }
    let Some(report) = current_report(entry) else {
        let state = if ownership.value.release.is_some() {
            GroupState::OfflinePending
        } else {
            GroupState::OnlinePending
        };
        return (state, ownership.at);
    };
    let reported_at = entry.report.as_ref().map_or(ownership.at, |item| item.at);
    let since = match report.state {
        // It has run since its last resource came up, however often its owner reported since.
        GroupState::Online => report.resources.values().map(|r| r.since).max().unwrap_or(reported_at),
        _ => reported_at,
    };
    (report.state, since)
}

/// Why a group is in Error: the resource matters more than how its owner came by it.
fn failure(state: GroupState, resources: &[ResourceStatus]) -> Option<String> {
    let failed = resources.iter().filter(|_| state == GroupState::Error).find(|resource| {
        matches!(resource.state, ResourceState::OnlineFailure | ResourceState::OfflineFailure)
    })?;
    Some(format!("resource {}: {}", failed.name, failed.detail))
}

fn reason(ownership: &Ownership) -> Option<String> {
    let vacate = ownership.release.as_ref().or(ownership.vacated.as_ref()).map(|v| &v.reason);
    vacate.or(ownership.assigned.as_ref().map(|a| &a.reason)).map(ToString::to_string)
}

fn survival(
    state: &State,
    node: &NodeStatus,
    servers: &[ServerStatus],
    groups: &[GroupStatus],
    confirmed: bool,
) -> Survival {
    let up = |server: &&ServerStatus| is_there(server);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let voters = count(servers.iter().filter(|s| s.voter).count());
    let voters_up = count(servers.iter().filter(|s| s.voter).filter(up).count());
    let needed = voters / 2 + 1;
    let stranded = stranded(state, servers, groups);
    // R14: of two voters, the one that is left may go on when the record answers and lets it.
    let tie_break = node.tie_break.as_ref().filter(|seen| seen.problem.is_none() && seen.record.is_some());
    let both = state.tie_break.as_ref().is_some_and(|note| matches!(note.value.record.mode, Mode::Pair(..)));
    let tie_break =
        tie_break.filter(|_| both && voters == 2 && voters_up == 2).map(|seen| seen.place.clone());
    let survives = confirmed && (voters_up > needed || tie_break.is_some());
    Survival { survives, voters, voters_up, needed, stranded, tie_break }
}

/// Whether a server answers.
fn is_there(server: &ServerStatus) -> bool {
    match server.state {
        ServerState::Up | ServerState::Leaving => !server.silent,
        ServerState::Heard | ServerState::Joined => true,
        ServerState::NotJoined | ServerState::Down | ServerState::NotHeard => false,
    }
}

/// The groups that run where they are, and that no other server could take.
fn stranded(state: &State, servers: &[ServerStatus], groups: &[GroupStatus]) -> Vec<GroupName> {
    groups
        .iter()
        .filter(|group| group.target == Target::Online)
        .filter(|group| {
            let allowed = state.groups.get(&group.name).and_then(|g| g.config.as_ref());
            // What belongs to one server is not there to go elsewhere.
            let bound = |config: &GroupConfig| config.instance.as_ref().is_some_and(|i| i.bound.is_some());
            if allowed.is_some_and(|config| bound(&config.value)) {
                return false;
            }
            // T2: what is on a mirrored disk goes only where all of it is.
            let disks = || state.volumes.values().filter(|disk| disk.value.group == group.name);
            let others = servers.iter().filter(|server| {
                is_there(server)
                    && server.state == ServerState::Up
                    && disks().all(|disk| disk.value.good.contains(&server.name))
                    && Some(&server.name) != group.server.as_ref()
                    && allowed.is_some_and(|config| config.value.servers.contains(&server.name))
            });
            group.server.is_some() && others.count() == 0
        })
        .map(|group| group.name.clone())
        .collect()
}

impl Survival {
    /// The answer in a sentence.
    #[must_use]
    pub fn sentence(&self, confirmed: bool) -> String {
        let Self { voters, voters_up, needed, .. } = self;
        let is = if *needed == 1 { "is" } else { "are" };
        if !confirmed {
            return format!(
                "no: there is no quorum now ({voters_up} of {voters} voters heard, {needed} {is} needed)"
            );
        }
        let answer = if self.survives { "yes" } else { "no" };
        let mut text = match &self.tie_break {
            Some(place) => format!("{answer}: {voters_up} of {voters} voters are up, {place} breaks a tie"),
            None => format!("{answer}: {voters_up} of {voters} voters are up, {needed} {is} needed"),
        };
        if !self.stranded.is_empty() {
            let names: Vec<&str> = self.stranded.iter().map(GroupName::as_str).collect();
            text.push_str(&format!("; no other server could take {}", names.join(", ")));
        }
        text
    }
}

#[cfg(test)]
mod tests;
