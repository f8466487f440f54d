//! Sequences of commands, sensible or not, and how they are played.

use std::collections::BTreeMap;

use proptest::{collection, option, prelude::*};
use tasuki_core::{
    config::FinalAction,
    ids::{BootId, Epoch, GroupName, Incarnation, Lineage, ResourceName, Revision, ServerName},
    placement::pools::fill,
    reason::Reason,
    registry::{
        Author, Command, Key, Proposal, Reply, State, apply,
        command::Charge,
        state::{
            AfterStop, ClusterMode, FailureKind, GroupReport, GroupState, MonitorReport, MonitorState,
            ResourceReport, ResourceState, StartEvent,
        },
    },
    time::WallTime,
};

use crate::wishes::config;

pub const SERVERS: [&str; 4] = ["kiki", "lala", "momo", "nobody"];
pub const GROUPS: [&str; 6] = ["web", "mail", "db#1", "db#2", "disk#2", "none"];
pub const RESOURCES: [&str; 3] = ["db", "disk", "other"];
pub const POOLS: [&str; 4] = ["front", "back", "Generic", "Free"];

/// What the registry holds is known to the generator only as small numbers; they are made into
/// names, near-right epochs, incarnations and revisions at the time of use, so that many commands
/// are accepted and many are just off.
#[derive(Clone, Debug)]
pub struct Step {
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

pub fn step() -> impl Strategy<Value = Step> {
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

pub fn near(right: u64, off: i8) -> u64 {
    right.saturating_add_signed(off.into())
}

pub fn command(state: &State, step: &Step, now: u64) -> Command {
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
pub fn subject(state: &State, step: &Step) -> (GroupName, ServerName) {
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
pub fn seen(step: &Step, now: u64) -> BTreeMap<ResourceName, ResourceReport> {
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

pub fn proposal(state: &State, step: &Step, now: u64) -> Proposal {
    let keys = state.keys();
    let read = step.read.filter(|_| !keys.is_empty()).map(|(at, right)| {
        let key = keys[at % keys.len()].clone();
        let revision = state.revision_of(&key);
        (key, if right { revision } else { Revision(revision.0.saturating_sub(1)) })
    });
    let by_leader = step.what == 9 && step.choice & 2 == 0;
    Proposal {
        id: None,
        author: if by_leader { Author::Leader("kiki".into()) } else { Author::Operator("test".into()) },
        at: WallTime(now),
        lineage: if step.foreign { Some(Lineage::new("other")) } else { state.lineage.clone() },
        read: read.into_iter().collect(),
        reason: by_leader.then(|| Reason::NeededBy { group: "web".into() }),
        command: command(state, step, now),
    }
}

/// Every object as text, with its revision.
pub fn objects(state: &State) -> BTreeMap<Key, (Revision, String)> {
    let show = |key: &Key| match key {
        Key::Settings => format!("{:?}", state.settings.as_ref().map(|i| &i.value)),
        Key::Volume(name) => format!("{:?}", state.volumes.get(name).map(|i| &i.value)),
        Key::TieBreak => format!("{:?}", state.tie_break.as_ref().map(|i| &i.value)),
        Key::Fencing(name) => format!("{:?}", state.servers[name].fencing.as_ref().map(|i| &i.value)),
        Key::Mode => format!("{:?}", state.mode.as_ref().map(|i| &i.value)),
        Key::Level => format!("{:?}", state.level()),
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
pub fn play(steps: &[Step], mut look: impl FnMut(&State, &Proposal, &Reply, &State)) -> State {
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
        let start =
            Proposal { id: None, author, at: WallTime(1), lineage, read: Vec::new(), reason: None, command };
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

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    collection::vec(step(), 1..80)
}
