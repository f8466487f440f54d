//! What must hold for any sequence of commands, sensible or not.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::{collection, option, prelude::*};
use tasuki_core::{
    config::{Automatic, ClusterConfig, ClusterSettings, FinalAction, GroupConfig, ServerConfig, Startup},
    ids::{BootId, Epoch, GroupName, Incarnation, Lineage, Revision, ServerName},
    registry::{
        Author, Command, Key, Proposal, Reply, State, apply,
        command::Charge,
        state::{AfterStop, ClusterMode, FailureKind, GroupReport, GroupState, StartEvent},
    },
    time::WallTime,
    timing::Timing,
};

const SERVERS: [&str; 4] = ["kiki", "lala", "momo", "nobody"];
const GROUPS: [&str; 3] = ["web", "mail", "none"];

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
    read: Option<(usize, bool)>,
    foreign: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let off = prop_oneof![6 => Just(0i8), 1 => Just(1), 1 => Just(-1)];
    // Names that exist, most of the time.
    let server = prop_oneof![9 => 0usize..3, 1 => Just(3)];
    let group = prop_oneof![9 => 0usize..2, 1 => Just(2)];
    let read = option::weighted(0.3, (0usize..40, prop::bool::weighted(0.8)));
    (0u8..20, server, group, off, any::<u8>(), read, prop::bool::weighted(0.02)).prop_map(
        |(what, server, group, off, choice, read, foreign)| Step {
            what,
            server,
            group,
            off,
            choice,
            read,
            foreign,
        },
    )
}

fn config(choice: u8) -> ClusterConfig {
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
        resources: BTreeMap::new(),
        ..GroupConfig::default()
    };
    let mut groups = BTreeMap::new();
    if !bit(2) {
        groups.insert("web".into(), group(0, bit(3)));
    }
    if !bit(4) {
        groups.insert("mail".into(), group(1, false));
    }
    ClusterConfig {
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
    }
}

fn near(right: u64, off: i8) -> u64 {
    right.saturating_add_signed(off.into())
}

fn command(state: &State, step: &Step, now: u64) -> Command {
    let server: ServerName = SERVERS[step.server].into();
    let group: GroupName = GROUPS[step.group].into();
    let bit = |n: u8| step.choice >> n & 1 == 1;
    let ownership = state.groups.get(&group).map(|g| g.ownership.value.clone()).unwrap_or_default();
    let epoch = Epoch(near(ownership.epoch.0, step.off));
    let incarnation = state.presence(&server).map_or(Incarnation(0), |p| p.incarnation);
    let owner = ownership.owner.filter(|_| !bit(7) || bit(6)).unwrap_or_else(|| server.clone());
    let event = if bit(0) { StartEvent::Start } else { StartEvent::Failover };
    let after = if bit(1) { AfterStop::Nothing } else { AfterStop::Reboot };
    let token = format!("t{}", step.choice % 4);
    match step.what {
        0 => Command::SetConfig { config: config(step.choice) },
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
        10 => Command::StopGroup { group, force: false },
        11 => Command::MoveGroup { group, to: bit(0).then_some(server), force: false },
        12 | 13 => {
            Command::Assign { group, server, epoch: Epoch(near(ownership.epoch.0 + 1, step.off)), event }
        }
        14 => Command::Release {
            group,
            epoch,
            to: bit(1).then_some(server),
            event,
            charge: bit(2).then(|| Charge::Resource("db".into())),
        },
        15 => Command::Released { group, epoch, server: owner },
        16 => {
            let state = if bit(0) { GroupState::Online } else { GroupState::Error };
            let resources = BTreeMap::new();
            Command::Report {
                group,
                report: GroupReport { epoch, server: owner, state, resources, failed: None },
            }
        }
        17 => Command::CountRetry {
            group,
            epoch,
            resource: "db".into(),
            server: owner,
            kind: FailureKind::Start,
        },
        18 => match step.choice % 3 {
            0 => Command::Steady { group, epoch, resource: "db".into(), monitors: Vec::new() },
            1 => Command::ResetFailures { group },
            _ => Command::Initialise { lineage: Lineage::new("b"), config: config(0), founder: server },
        },
        _ => Command::Finally {
            group,
            epoch,
            resource: "db".into(),
            action: if bit(0) { FinalAction::Stop } else { FinalAction::None },
        },
    }
}

fn proposal(state: &State, step: &Step, now: u64) -> Proposal {
    let keys = state.keys();
    let read = step.read.filter(|_| !keys.is_empty()).map(|(at, right)| {
        let key = keys[at % keys.len()].clone();
        let revision = state.revision_of(&key);
        (key, if right { revision } else { Revision(revision.0.saturating_sub(1)) })
    });
    Proposal {
        author: Author::Operator("test".into()),
        at: WallTime(now),
        lineage: if step.foreign { Some(Lineage::new("other")) } else { state.lineage.clone() },
        read: read.into_iter().collect(),
        reason: None,
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
    let first = Command::Initialise { lineage: Lineage::new("a"), config: config(0), founder: "kiki".into() };
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
    #![proptest_config(ProptestConfig::with_cases(400))]

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
            for (name, group) in &before.groups {
                let owned = group.ownership.value.owner.is_some();
                let Some(now) = after.groups.get(name) else {
                    assert!(!owned, "{name} was forgotten while it ran");
                    continue;
                };
                assert_eq!((&group.report, &group.failures), (&now.report, &now.failures), "{name}");
                let (then, now) = (&group.ownership.value, &now.ownership.value);
                assert_eq!((&then.owner, then.epoch), (&now.owner, now.epoch), "{name}");
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
