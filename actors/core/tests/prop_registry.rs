//! What must hold for any sequence of commands, sensible or not.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::{collection, option, prelude::*};
use tasuki_core::{
    config::{
        Automatic, Cardinality, ClusterConfig, ClusterSettings, Exclusive, ExecConfig, FinalAction,
        GroupConfig, MonitorConfig, MonitorKind, MonitorTiming, Named, PlacementPolicy, PoolConfig,
        RecoveryConfig, RecoveryTarget, ResourceConfig, ResourceDefinition, ResourceKind, ServerConfig,
        Startup, StopDependency, TypeConfig,
    },
    ids::{BootId, Epoch, GroupName, Incarnation, Lineage, MonitorName, PoolName, Revision, ServerName},
    placement::pools::{fill, pool_of},
    reason::Reason,
    registry::{
        Author, Command, Key, Proposal, Reply, State, apply,
        command::Charge,
        state::{
            AfterStop, ClusterMode, FAILURES_LIMIT, FailureKind, GroupReport, GroupState, MonitorReport,
            MonitorState, ResourceReport, ResourceState, StartEvent,
        },
    },
    time::WallTime,
    timing::Timing,
};

const SERVERS: [&str; 4] = ["kiki", "lala", "momo", "nobody"];
const GROUPS: [&str; 6] = ["web", "mail", "db#1", "db#2", "disk#2", "none"];
const RESOURCES: [&str; 3] = ["db", "disk", "other"];
const POOLS: [&str; 4] = ["front", "back", "Generic", "Free"];

/// What the registry holds is known to the generator only as small numbers; they are made into
/// names, near-right epochs, incarnations and revisions at the time of use, so that many commands
/// are accepted and many are just off.
#[derive(Clone, Debug)]
struct Step {
    what: u8,
    server: usize,
    group: usize,
    /// Added to the right epoch or incarnation.
    off: i8,
    choice: u8,
    /// What else there is to choose.
    more: u8,
    read: Option<(usize, bool)>,
    foreign: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let off = prop_oneof![6 => Just(0i8), 1 => Just(1), 1 => Just(-1)];
    // Names that exist, most of the time.
    let server = prop_oneof![9 => 0usize..3, 1 => Just(3)];
    let group = prop_oneof![9 => 0usize..5, 1 => Just(5)];
    let read = option::weighted(0.3, (0usize..40, prop::bool::weighted(0.8)));
    let choices = (any::<u8>(), any::<u8>());
    // Ownerships come and go, servers less often.
    let what = prop_oneof![
        2 => 0u8..25,
        3 => prop::sample::select(vec![3, 9, 10, 11, 12, 12, 13, 13, 14, 15, 16, 17, 20, 21, 22, 23]),
    ];
    (what, server, group, off, choices, read, prop::bool::weighted(0.02)).prop_map(
        |(what, server, group, off, (choice, more), read, foreign)| Step {
            what,
            server,
            group,
            off,
            choice,
            more,
            read,
            foreign,
        },
    )
}

fn program() -> ResourceConfig {
    ResourceConfig::of(ResourceKind::Exec(ExecConfig::of(vec!["/bin/true".into()])))
}

fn definition(cardinality: Cardinality, more: u8) -> ResourceDefinition {
    let bit = |n: u8| more >> n & 1 == 1;
    ResourceDefinition {
        type_name: "cluster_resource".into(),
        resource: program(),
        attributes: BTreeMap::new(),
        cardinality,
        placement: if bit(0) { PlacementPolicy::Favored } else { PlacementPolicy::Balanced },
        hosting_members: if bit(0) { vec!["lala".into()] } else { Vec::new() },
        server_pools: if bit(1) && bit(2) { vec![POOLS[usize::from(more >> 6)].into()] } else { Vec::new() },
        load: 1,
        auto_start: match more >> 3 & 3 {
            0 => Startup::Never,
            1 => Startup::Restore,
            _ => Startup::Always,
        },
        enabled: !(bit(5) && bit(4)),
        failover: Automatic::Auto,
        failback: Automatic::Manual,
        start: Vec::new(),
        stop: Vec::new(),
    }
}

fn pool(max: Option<u32>, importance: u32, servers: &[&str]) -> PoolConfig {
    let servers = servers.iter().map(|name| (*name).into()).collect();
    PoolConfig { comment: String::new(), min: 1, max, importance, servers }
}

fn monitor(retries: u32) -> MonitorConfig {
    MonitorConfig {
        comment: String::new(),
        kind: MonitorKind::Ip { addresses: Vec::new() },
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(60),
        retries,
        start_delay: Duration::ZERO,
        timing: MonitorTiming::Always,
        target: None,
        nice: 0,
        servers: Vec::new(),
        recovery: RecoveryConfig {
            target: RecoveryTarget::Cluster,
            restarts: 1,
            failovers: 1,
            last: FinalAction::None,
        },
    }
}

/// Types, pools, definitions and monitors.
fn catalogue(more: u8, config: &mut ClusterConfig) {
    let bit = |n: u8| more >> n & 1 == 1;
    let cardinality = if bit(1) { Cardinality::Uniform } else { Cardinality::Number(u32::from(more % 4)) };
    config.resources.insert("db".into(), definition(cardinality, more));
    if !(bit(6) && bit(2)) {
        config.resources.insert("disk".into(), definition(Cardinality::Local, more.rotate_left(3)));
    }
    if bit(3) || bit(0) {
        config.pools.insert("front".into(), pool(bit(4).then_some(1), 9, &[]));
        config.pools.insert("back".into(), pool(None, 1, if bit(5) { &["lala", "momo"] } else { &[] }));
    }
    if !(bit(5) && bit(3)) {
        config.monitors.insert("watch".into(), monitor(u32::from(bit(7) && bit(0))));
    }
    if bit(7) {
        let base = if bit(6) { "cluster_resource" } else { "local_resource" };
        let added = TypeConfig { base: base.into(), comment: String::new(), attributes: BTreeMap::new() };
        config.types.insert("ours".into(), added);
    }
}

fn config(choice: u8, more: u8) -> ClusterConfig {
    let bit = |n: u8| choice >> n & 1 == 1;
    let server = |number| ServerConfig { number, comment: String::new(), addresses: BTreeMap::new() };
    let mut servers: BTreeMap<ServerName, _> =
        (1..).zip(&SERVERS[..3]).map(|(number, name)| ((*name).into(), server(number))).collect();
    if bit(0) && bit(1) {
        servers.remove(&"momo".into());
    }
    let group = |first: usize, comment: bool| GroupConfig {
        comment: if comment { "changed".into() } else { String::new() },
        servers: (0..2).map(|n| SERVERS[(first + n) % 3].into()).collect(),
        startup: if bit(5) { Startup::Never } else { Startup::Always },
        failover: Automatic::Auto,
        failback: Automatic::Manual,
        resources: BTreeMap::from([("other".into(), program())]),
        exclusive: match more & 7 {
            0 | 1 => Exclusive::Complete,
            2 => Exclusive::Normal,
            _ => Exclusive::No,
        },
        pools: if more & 0x38 == 0x38 { vec![POOLS[usize::from(more >> 6)].into()] } else { Vec::new() },
        enabled: more & 0x70 != 0x70,
        stop: if more & 0x44 == 0x44 {
            let on = Named::Resource("db".into());
            vec![StopDependency { on, intermediate: false, global: true, shutdown: false }]
        } else {
            Vec::new()
        },
        ..GroupConfig::default()
    };
    let mut groups = BTreeMap::new();
    if !bit(2) {
        groups.insert("web".into(), group(0, bit(3)));
    }
    if !bit(4) {
        groups.insert("mail".into(), group(1, false));
    }
    let mut config = ClusterConfig {
        settings: ClusterSettings {
            name: if bit(6) { "one" } else { "two" }.into(),
            comment: String::new(),
            timing: Timing::from_detect(Duration::from_secs(1)),
            startup_wait: Duration::from_secs(5),
            networks: BTreeMap::new(),
            heartbeats: Vec::new(),
            port: 1,
            heartbeat_port: 2,
        },
        servers,
        groups,
        types: BTreeMap::new(),
        pools: BTreeMap::new(),
        resources: BTreeMap::new(),
        monitors: BTreeMap::new(),
    };
    catalogue(more, &mut config);
    config
}

fn near(right: u64, off: i8) -> u64 {
    right.saturating_add_signed(off.into())
}

fn command(state: &State, step: &Step, now: u64) -> Command {
    let bit = |n: u8| step.choice >> n & 1 == 1;
    let (group, server) = subject(state, step);
    let ownership = state.groups.get(&group).map(|g| g.ownership.value.clone()).unwrap_or_default();
    let epoch = Epoch(near(ownership.epoch.0, step.off));
    let incarnation = state.presence(&server).map_or(Incarnation(0), |p| p.incarnation);
    let owner = ownership.owner.filter(|_| !bit(7) || bit(6)).unwrap_or_else(|| server.clone());
    let event = if bit(0) { StartEvent::Start } else { StartEvent::Failover };
    let after = if bit(1) { AfterStop::Nothing } else { AfterStop::Reboot };
    let token = format!("t{}", step.choice % 4);
    match step.what {
        0 => Command::SetConfig { config: config(step.choice, step.more) },
        1 => Command::IssueToken {
            id: token,
            digest: "d".into(),
            server: bit(5).then_some(server),
            expires: WallTime(now + u64::from(step.choice % 8)),
        },
        2 => Command::Join { token, digest: if bit(7) && bit(6) { "x" } else { "d" }.into(), server },
        3 | 4 => Command::ServerStarted {
            server,
            incarnation: Incarnation(near(incarnation.0 + 1, step.off)),
            boot: BootId::new(format!("boot-{}", step.choice % 3)),
        },
        5 => Command::ServerGone { server, incarnation: Incarnation(near(incarnation.0, step.off)) },
        6 => Command::ServerStopped { server, incarnation: Incarnation(near(incarnation.0, step.off)) },
        7 => Command::ServerLeave { server, after },
        8 => Command::SetMode {
            mode: match step.choice % 4 {
                0 => ClusterMode::Suspended,
                1 => ClusterMode::Stopping(after),
                _ => ClusterMode::Running,
            },
        },
        9 => Command::StartGroup { group, on: bit(0).then_some(server) },
        10 => Command::StopGroup { group, force: bit(1) },
        11 => Command::MoveGroup { group, to: bit(0).then_some(server), force: bit(1) },
        12 | 13 => {
            Command::Assign { group, server, epoch: Epoch(near(ownership.epoch.0 + 1, step.off)), event }
        }
        14 => Command::Release {
            group,
            epoch,
            to: bit(1).then_some(server),
            event,
            charge: bit(2).then(|| {
                if bit(3) { Charge::Resource("db".into()) } else { Charge::Monitor("watch".into()) }
            }),
        },
        15 => Command::Released { group, epoch, server: owner },
        16 | 20 | 21 => {
            let state = if bit(0) { GroupState::Online } else { GroupState::Error };
            Command::Report {
                group,
                report: GroupReport { epoch, server: owner, state, resources: seen(step, now), failed: None },
            }
        }
        22 => {
            let available = |server: &ServerName| state.presence(server).is_some_and(|p| p.up);
            let available = state.servers.keys().filter(|name| available(name)).cloned().collect();
            let mut members = fill(state, &available);
            if bit(0) && bit(1) {
                members.insert(server, POOLS[usize::from(step.more % 4)].into());
            }
            Command::FillPools { members }
        }
        23 => Command::CountRestart {
            group,
            epoch,
            monitor: "watch".into(),
            resource: "db".into(),
            server: owner,
        },
        24 => {
            let state = if bit(0) { MonitorState::Normal } else { MonitorState::Error };
            let monitor = if bit(1) && bit(2) { "none" } else { "watch" };
            let report = MonitorReport { state, detail: String::new() };
            Command::MonitorReport { monitor: monitor.into(), server, report }
        }
        17 => Command::CountRetry {
            group,
            epoch,
            resource: "db".into(),
            server: owner,
            kind: FailureKind::Start,
        },
        18 => match step.choice % 3 {
            0 => Command::Steady {
                group,
                epoch,
                resource: "db".into(),
                monitors: if bit(6) { vec!["watch".into()] } else { Vec::new() },
            },
            1 => Command::ResetFailures { group },
            _ => Command::Initialise { lineage: Lineage::new("b"), config: config(0, 1), founder: server },
        },
        _ => Command::Finally {
            group,
            epoch,
            resource: "db".into(),
            action: if bit(0) { FinalAction::Stop } else { FinalAction::None },
        },
    }
}

/// The group and the server that a command is about: mostly such that it makes sense.
fn subject(state: &State, step: &Step) -> (GroupName, ServerName) {
    let server: ServerName = SERVERS[step.server].into();
    let group: GroupName = GROUPS[step.group].into();
    let names = |owned: bool| {
        let groups = state.groups.iter().filter(move |(_, g)| g.ownership.value.owner.is_some() == owned);
        groups.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    let near = |names: Vec<GroupName>| names.get(usize::from(step.more) % names.len().max(1)).cloned();
    match step.what {
        _ if step.choice & 28 == 28 => (group, server),
        12 | 13 => {
            let group = near(names(false)).unwrap_or(group);
            let config = state.groups.get(&group).and_then(|entry| entry.config.as_ref());
            let listed = config.map(|config| config.value.servers.clone()).unwrap_or_default();
            let up = |name: &&ServerName| state.presence(name).is_some_and(|p| p.up);
            let server = listed.iter().cycle().skip(step.server).take(listed.len()).find(up).cloned();
            (group, server.unwrap_or_else(|| SERVERS[step.server].into()))
        }
        10 | 11 | 14..=17 | 19..=21 | 23 => (near(names(true)).unwrap_or(group), server),
        _ => (group, server),
    }
}

/// What an owner says of some resources.
fn seen(step: &Step, now: u64) -> BTreeMap<tasuki_core::ids::ResourceName, ResourceReport> {
    const STATES: [ResourceState; 8] = [
        ResourceState::Online,
        ResourceState::Online,
        ResourceState::Intermediate,
        ResourceState::Offline,
        ResourceState::OnlinePending,
        ResourceState::OfflinePending,
        ResourceState::OnlineFailure,
        ResourceState::Unknown,
    ];
    let one = |(at, name): (usize, &&str)| {
        let state = STATES[usize::from(step.more.rotate_left(3 * u32::try_from(at).unwrap()) & 7)];
        ((*name).into(), ResourceReport { state, detail: String::new(), since: WallTime(now) })
    };
    RESOURCES.iter().enumerate().filter(|(at, _)| *at < 2 || step.choice & 64 == 0).map(one).collect()
}

fn proposal(state: &State, step: &Step, now: u64) -> Proposal {
    let keys = state.keys();
    let read = step.read.filter(|_| !keys.is_empty()).map(|(at, right)| {
        let key = keys[at % keys.len()].clone();
        let revision = state.revision_of(&key);
        (key, if right { revision } else { Revision(revision.0.saturating_sub(1)) })
    });
    let by_leader = step.what == 9 && step.choice & 2 == 0;
    Proposal {
        author: if by_leader { Author::Leader("kiki".into()) } else { Author::Operator("test".into()) },
        at: WallTime(now),
        lineage: if step.foreign { Some(Lineage::new("other")) } else { state.lineage.clone() },
        read: read.into_iter().collect(),
        reason: by_leader.then(|| Reason::NeededBy { group: "web".into() }),
        command: command(state, step, now),
    }
}

/// Every object as text, with its revision.
fn objects(state: &State) -> BTreeMap<Key, (Revision, String)> {
    let show = |key: &Key| match key {
        Key::Settings => format!("{:?}", state.settings.as_ref().map(|i| &i.value)),
        Key::Mode => format!("{:?}", state.mode.as_ref().map(|i| &i.value)),
        Key::Configuration => format!("{:?}", state.config()),
        Key::ServerConfig(name) => format!("{:?}", state.servers[name].config.value),
        Key::Presence(name) => format!("{:?}", state.presence(name)),
        Key::GroupConfig(name) => format!("{:?}", state.groups[name].config.as_ref().map(|i| &i.value)),
        Key::Target(name) => format!("{:?}", state.groups[name].target.value),
        Key::Ownership(name) => format!("{:?}", state.groups[name].ownership.value),
        Key::Report(name) => format!("{:?}", state.groups[name].report.as_ref().map(|i| &i.value)),
        Key::Failures(name) => format!("{:?}", state.groups[name].failures.value),
        Key::Token(id) => format!("{:?}", state.tokens[id].value),
        Key::Facts(name) => format!("{:?}", state.groups[name].facts),
        Key::Type(name) => format!("{:?}", state.types[name].value),
        Key::Pool(name) => format!("{:?}", state.pools[name].value),
        Key::PoolMembers => format!("{:?}", state.pool_members.as_ref().map(|i| &i.value)),
        Key::Definition(name) => format!("{:?}", state.definitions[name].value),
        Key::MonitorConfig(name) => format!("{:?}", state.monitors[name].config.value),
        Key::MonitorReports(name) => format!("{:?}", state.monitors[name].reports),
    };
    state.keys().into_iter().map(|key| (key.clone(), (state.revision_of(&key), show(&key)))).collect()
}

/// Plays the steps from an initialised registry of three servers, and hands each change to `look`.
fn play(steps: &[Step], mut look: impl FnMut(&State, &Proposal, &Reply, &State)) -> State {
    let mut state = State::default();
    let first =
        Command::Initialise { lineage: Lineage::new("a"), config: config(0, 1), founder: "kiki".into() };
    let mut script = vec![first];
    for server in ["lala", "momo"] {
        let (id, digest) = (format!("join-{server}"), "d".to_owned());
        script.push(Command::IssueToken {
            id: id.clone(),
            digest: digest.clone(),
            server: None,
            expires: WallTime(9),
        });
        script.push(Command::Join { token: id, digest, server: server.into() });
    }
    for server in &SERVERS[..3] {
        let (incarnation, boot) = (Incarnation(1), BootId::new("boot-0"));
        script.push(Command::ServerStarted { server: (*server).into(), incarnation, boot });
    }
    for command in script {
        let (author, lineage) = (Author::Operator("test".into()), state.lineage.clone());
        let start = Proposal { author, at: WallTime(1), lineage, read: Vec::new(), reason: None, command };
        assert!(matches!(apply(&mut state, &start), Reply::Applied { .. }));
    }
    for (now, step) in (10..).zip(steps) {
        let proposal = proposal(&state, step, now);
        let before = state.clone();
        let reply = apply(&mut state, &proposal);
        look(&before, &proposal, &reply, &state);
    }
    state
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    collection::vec(step(), 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn apply_is_deterministic(steps in steps()) {
        let mut replies = Vec::new();
        let one = play(&steps, |_, proposal, reply, _| replies.push((proposal.clone(), reply.clone())));
        let mut again = replies.iter();
        let two = play(&steps, |_, proposal, reply, _| {
            assert_eq!(again.next(), Some(&(proposal.clone(), reply.clone())));
        });
        prop_assert_eq!(one, two);
    }

    #[test]
    fn a_refusal_changes_nothing_and_a_change_has_the_next_revision(steps in steps()) {
        play(&steps, |before, proposal, reply, after| match reply {
            Reply::Refused(_) => assert_eq!(before, after, "{proposal:?}"),
            Reply::Applied { revision, .. } => {
                assert_eq!(*revision, before.revision.next());
                assert_eq!(after.revision, *revision);
                assert_eq!(after.history.back().map(|change| change.revision), Some(*revision));
            }
        });
    }

    #[test]
    fn what_was_read_has_not_moved(steps in steps()) {
        play(&steps, |before, proposal, reply, _| {
            let moved = proposal.read.iter().any(|(key, then)| before.revision_of(key) != *then);
            assert!(!(moved && matches!(reply, Reply::Applied { .. })), "R12: {proposal:?}");
        });
    }

    /// R13, and the epochs of a name for as long as the registry lives.
    #[test]
    fn never_two_owners_in_one_epoch_and_epochs_never_decrease(steps in steps()) {
        let mut owners: BTreeMap<(GroupName, Epoch), ServerName> = BTreeMap::new();
        let mut epochs: BTreeMap<GroupName, Epoch> = BTreeMap::new();
        play(&steps, |_, proposal, _, after| {
            for (name, group) in &after.groups {
                let ownership = &group.ownership.value;
                let last = epochs.entry(name.clone()).or_default();
                assert!(ownership.epoch >= *last, "{name} went back to {}: {proposal:?}", ownership.epoch);
                *last = ownership.epoch;
                let Some(owner) = &ownership.owner else { continue };
                let first = owners.entry((name.clone(), ownership.epoch)).or_insert_with(|| owner.clone());
                assert_eq!(first, owner, "{name}, epoch {}: {proposal:?}", ownership.epoch);
            }
        });
    }

    #[test]
    fn an_owner_changes_only_through_nobody_and_only_by_leave_of_r13(steps in steps()) {
        play(&steps, |before, proposal, _, after| {
            for (name, group) in &before.groups {
                let Some(owner) = &group.ownership.value.owner else { continue };
                let now = after.groups.get(name).and_then(|g| g.ownership.value.owner.as_ref());
                if now == Some(owner) {
                    continue;
                }
                assert_eq!(now, None, "{name} went from {owner} to another: {proposal:?}");
                let proof = match &proposal.command {
                    Command::Released { group, server, epoch } => {
                        group == name && server == owner && *epoch == before.groups[name].ownership.value.epoch
                    }
                    Command::ServerGone { server, incarnation } | Command::ServerStopped { server, incarnation } => {
                        server == owner && before.presence(server).is_some_and(|p| p.incarnation == *incarnation)
                    }
                    Command::ServerStarted { server, boot, .. } => {
                        server == owner && before.presence(server).is_some_and(|p| p.boot.as_ref() != Some(boot))
                    }
                    _ => false,
                };
                assert!(proof, "{name} lost {owner} without proof: {proposal:?}");
            }
        });
    }

    #[test]
    fn an_owner_is_a_server_that_is_up(steps in steps()) {
        play(&steps, |_, proposal, _, after| {
            for (name, group) in &after.groups {
                if let Some(owner) = &group.ownership.value.owner {
                    assert!(after.presence(owner).is_some_and(|p| p.up), "{name} on {owner}: {proposal:?}");
                } else {
                    assert!(group.config.is_some(), "{name} is configured no more and owned by nobody");
                }
            }
        });
    }

    #[test]
    fn a_revision_moves_if_and_only_if_its_object_changed(steps in steps()) {
        play(&steps, |before, proposal, reply, after| {
            let (then, now) = (objects(before), objects(after));
            let touched: BTreeSet<&Key> = match reply {
                Reply::Applied { .. } => after.history.back().unwrap().keys.iter().collect(),
                Reply::Refused(_) => BTreeSet::new(),
            };
            for (key, (revision, value)) in &now {
                let old = then.get(key);
                let changed = old.is_none_or(|(_, old)| old != value);
                let moved = old.is_none_or(|(old, _)| old != revision);
                assert_eq!(changed, moved, "{key}: {proposal:?}");
                if changed {
                    assert_eq!(*revision, after.revision, "{key}");
                    assert!(touched.contains(key), "{key} is not in the history: {proposal:?}");
                }
            }
            for key in touched {
                let changed = then.get(key) != now.get(key);
                assert!(changed, "{key} is in the history unchanged: {proposal:?}");
            }
        });
    }

    /// R35: a configuration changes wishes; of the facts it may only ask for a release.
    #[test]
    fn a_configuration_changes_no_fact(steps in steps()) {
        play(&steps, |before, proposal, _, after| {
            let Command::SetConfig { .. } = proposal.command else { return };
            for (name, server) in &before.servers {
                let now = after.servers.get(name).and_then(|s| s.presence.clone());
                assert_eq!(server.presence, now, "{name}");
            }
            assert_eq!((&before.tokens, before.last_raft_id), (&after.tokens, after.last_raft_id));
            assert_eq!((&before.mode, &before.lineage), (&after.mode, &after.lineage));
            assert_eq!(before.pool_members, after.pool_members);
            for (name, monitor) in &before.monitors {
                let same = after.monitors.get(name).filter(|now| now.config == monitor.config);
                assert!(same.is_none_or(|now| now.reports == monitor.reports), "{name}");
            }
            for (name, group) in &before.groups {
                let owned = group.ownership.value.owner.is_some();
                let Some(now) = after.groups.get(name) else {
                    assert!(!owned, "{name} was forgotten while it ran");
                    continue;
                };
                assert_eq!((&group.report, &group.failures), (&now.report, &now.failures), "{name}");
                assert_eq!(group.facts, now.facts, "{name}");
                let (then, now) = (&group.ownership.value, &now.ownership.value);
                assert_eq!((&then.owner, then.epoch), (&now.owner, now.epoch), "{name}");
            }
        });
    }

    /// The registry always knows the configuration that is in force, and only that changes it.
    #[test]
    fn the_last_version_is_the_configuration_in_force(steps in steps()) {
        play(&steps, |before, proposal, _, after| {
            let version = after.version(after.revision).expect("at least the first");
            assert_eq!(Some(&version.config), after.config().as_ref(), "{proposal:?}");
            let changed = before.config() != after.config();
            assert_eq!(before.versions.back() != after.versions.back(), changed, "{proposal:?}");
        });
    }

    /// What is remembered of a resource says whether it is up, as its owner said it last.
    #[test]
    fn facts_say_what_the_owner_said_last(steps in steps()) {
        play(&steps, |before, proposal, _, after| {
            for (name, group) in &after.groups {
                let ownership = &group.ownership.value;
                let report = group.report.as_ref().map(|item| &item.value);
                let report = report.filter(|r| ownership.owner.is_some() && r.epoch == ownership.epoch);
                for resource in RESOURCES {
                    let facts = group.facts.get(&resource.into()).map(|item| item.value.clone());
                    let facts = facts.unwrap_or_default();
                    let up = facts.rose > facts.fell;
                    let said = report.and_then(|report| report.resources.get(&resource.into()));
                    match said.map(|said| said.state) {
                        Some(ResourceState::Online) => assert!(up && facts.rose > facts.left_online),
                        Some(ResourceState::Intermediate) => assert!(up),
                        Some(ResourceState::Unknown) => {}
                        _ => assert!(!up, "{name} {resource}: {facts:?} {proposal:?}"),
                    }
                    let was = before.groups.get(name).and_then(|g| g.facts.get(&resource.into()));
                    let was = was.map(|item| item.value.clone()).unwrap_or_default();
                    let started = facts.starts - was.starts;
                    let report = matches!(&proposal.command, Command::Report { group, .. } if group == name);
                    assert!(started == 0 || (started == 1 && report && was.rose <= was.fell));
                    assert_eq!(started == 1, facts.last_restart != was.last_restart || facts.starts != was.starts);
                }
            }
        });
    }

    /// Whatever a leader decided, a group is where its configuration of that moment allows it.
    #[test]
    fn nothing_is_assigned_where_it_may_not_be(steps in steps()) {
        play(&steps, |before, proposal, reply, after| {
            let (Command::Assign { group, server, .. }, Reply::Applied { .. }) = (&proposal.command, reply) else {
                return;
            };
            let config = &before.groups[group].config.as_ref().expect("configured").value;
            assert!(config.enabled && config.servers.contains(server), "{proposal:?}");
            let local = config.instance.as_ref().is_some_and(|instance| instance.local);
            let pool = pool_of(before, server);
            assert!(local || config.pools.is_empty() || config.pools.contains(&pool), "{proposal:?}");
            let exclusive = |entry: &tasuki_core::registry::state::GroupEntry| {
                entry.config.as_ref().map_or(Exclusive::No, |config| config.value.exclusive)
            };
            let there: Vec<Exclusive> =
                after.owned_by(server).map(|(_, entry)| exclusive(entry)).filter(|e| *e != Exclusive::No).collect();
            let mine = config.exclusive;
            assert!(mine == Exclusive::No || there.len() == 1 || !there.contains(&Exclusive::Complete));
        });
    }

    #[test]
    fn pools_have_no_more_and_no_others_than_they_may(steps in steps()) {
        play(&steps, |before, proposal, reply, after| {
            if before.pool_members == after.pool_members {
                return;
            }
            assert!(matches!((&proposal.command, reply), (Command::FillPools { .. }, Reply::Applied { .. })));
            let members = &after.pool_members.as_ref().expect("filled").value;
            let mut sizes: BTreeMap<&PoolName, u32> = BTreeMap::new();
            for (server, name) in members.iter().filter(|(_, pool)| pool.as_str() != "Generic") {
                let pool = &after.pools[name].value;
                assert!(pool.servers.is_empty() || pool.servers.contains(server), "{proposal:?}");
                let size = sizes.entry(name).or_default();
                *size += 1;
                assert!(pool.max.is_none_or(|max| *size <= max), "{proposal:?}");
            }
        });
    }

    /// AUTO_START touches neither what runs nor what is disabled, and only servers' starts do.
    #[test]
    fn a_start_wants_only_what_is_idle_and_enabled(steps in steps()) {
        play(&steps, |before, proposal, _, after| {
            for (name, group) in &before.groups {
                let Some(now) = after.groups.get(name) else { continue };
                if now.target.value == group.target.value {
                    continue;
                }
                let config = now.config.as_ref().map(|config| &config.value);
                let by_name = matches!(&proposal.command,
                    Command::StartGroup { group, .. } | Command::StopGroup { group, .. } if group == name);
                let by_start = matches!(&proposal.command, Command::ServerStarted { .. }
                    | Command::ServerStopped { .. } | Command::ServerGone { .. });
                let pushed = matches!(&proposal.command, Command::SetConfig { .. });
                assert!(by_name || by_start || pushed, "{name}: {proposal:?}");
                if by_start {
                    let config = config.expect("configured");
                    assert!(config.enabled && now.ownership.value.owner.is_none(), "{name}: {proposal:?}");
                    assert!(config.startup != Startup::Restore, "{name}: {proposal:?}");
                }
            }
        });
    }

    /// Nobody finds anything on a server that is down, and no history grows without end.
    #[test]
    fn findings_are_of_servers_that_are_up_and_histories_end(steps in steps()) {
        play(&steps, |_, proposal, _, after| {
            let watch = after.monitors.get(&MonitorName::from("watch"));
            for (server, report) in watch.into_iter().flat_map(|watch| &watch.reports) {
                let up = after.presence(server).is_some_and(|p| p.up);
                assert!(up || report.value.state == MonitorState::Unknown, "{server}: {proposal:?}");
            }
            for group in after.groups.values() {
                let history = &group.failures.value.history;
                assert!(history.values().all(|records| records.len() <= FAILURES_LIMIT));
            }
        });
    }

    /// Once every server has either stopped or started anew, a shut-down cluster runs again.
    #[test]
    fn a_shutdown_ends_when_nobody_of_before_is_left(steps in steps()) {
        play(&steps, |_, proposal, _, after| {
            let stopping = matches!(after.cluster_mode(), ClusterMode::Stopping(_));
            let old = SERVERS.iter().any(|name| after.stops_with_cluster(&(*name).into()).is_some());
            let up = SERVERS.iter().any(|name| after.presence(&(*name).into()).is_some_and(|p| p.up));
            assert!(!stopping || old || !up, "{proposal:?}");
        });
    }
}
