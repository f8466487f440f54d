//! Explanations and forecasts over random clusters at random moments: there is one for every unit,
//! it has words for every server, and it is true of what the decision does.
//!
//! `PROPTEST_CASES=20000` looks longer.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::{Plain, cluster, definition, exec, server_name};
use proptest::prelude::*;
use tasuki_core::{
    config::*,
    ids::*,
    placement::{
        forecast::{Change, Ended, Picture, forecast},
        plan::{Decision, Input},
        report::{Place, Rejection, Report, Standing, report},
    },
    registry::{
        Author, Command,
        state::{ServerMode, Target},
    },
};

#[derive(Clone, Debug)]
struct Unit {
    shape: u8,
    hosts: Vec<usize>,
    needs: Vec<(usize, u8)>,
    stop: bool,
    pool: bool,
    enabled: bool,
}

fn unit() -> impl Strategy<Value = Unit> {
    let hosts = prop::collection::vec(1..=4usize, 1..=3);
    let needs = prop::collection::vec((0..4usize, 0..12u8), 0..=2);
    let rare = |one_in: u32| prop::bool::weighted(1.0 / f64::from(one_in));
    (0..8u8, hosts, needs, any::<bool>(), rare(4), rare(8)).prop_map(
        |(shape, hosts, needs, stop, pool, disabled)| Unit {
            shape,
            hosts,
            needs,
            stop,
            pool,
            enabled: !disabled,
        },
    )
}

fn kind(number: u8) -> StartKind {
    let bit = number.is_multiple_of(2);
    match number / 2 {
        0 => StartKind::Hard { intermediate: false, global: bit },
        1 => StartKind::Weak { concurrent: bit, global: !bit, uniform: false },
        2 => StartKind::Attraction { intermediate: bit },
        3 => StartKind::Pullup { always: false, intermediate: false, global: bit },
        4 => StartKind::Dispersion { active: bit, intermediate: false },
        _ => StartKind::Hard { intermediate: true, global: false },
    }
}

fn config(servers: usize, units: &[Unit]) -> ClusterConfig {
    let mut config = cluster(servers);
    let pool =
        PoolConfig { comment: String::new(), min: 1, max: Some(2), importance: 1, servers: Vec::new() };
    if units.iter().any(|unit| unit.pool) {
        config.pools.insert("front".into(), pool);
    }
    for (index, unit) in units.iter().enumerate() {
        let name = ResourceName::new(format!("r{index}"));
        let hosts: BTreeSet<usize> = unit.hosts.iter().map(|host| (host - 1) % servers + 1).collect();
        let hosts: Vec<ServerName> = hosts.into_iter().map(server_name).collect();
        // Only on what came before it, so that there is no circle.
        let needs = unit.needs.iter().filter(|(on, _)| *on < index);
        let on = |on: &usize| Named::Resource(ResourceName::new(format!("r{on}")));
        let start: Vec<_> =
            needs.clone().map(|(of, number)| StartDependency { on: on(of), kind: kind(*number) }).collect();
        let hard = needs.filter(|(_, number)| matches!(kind(*number), StartKind::Hard { .. }));
        let stop = |(of, number): &(usize, u8)| {
            let StartKind::Hard { intermediate, global } = kind(*number) else { unreachable!() };
            StopDependency { on: on(of), intermediate, global, shutdown: false }
        };
        let stop: Vec<_> = hard.filter(|_| unit.stop).map(stop).collect();
        let pools: Vec<PoolName> = unit.pool.then(|| "front".into()).into_iter().collect();
        if unit.shape < 3 {
            let exclusive = [Exclusive::No, Exclusive::Normal, Exclusive::Complete][usize::from(unit.shape)];
            let group = GroupConfig {
                servers: hosts,
                exclusive,
                start,
                stop,
                pools,
                enabled: unit.enabled,
                resources: BTreeMap::from([(name, exec())]),
                ..GroupConfig::default()
            };
            config.groups.insert(GroupName::new(format!("g{index}")), group);
        } else {
            let cardinality = match unit.shape {
                3 => Cardinality::Uniform,
                4 => Cardinality::Number(2),
                _ => Cardinality::Number(1),
            };
            let placement = match unit.shape {
                5 => PlacementPolicy::Favored,
                6 => PlacementPolicy::Restricted,
                _ => PlacementPolicy::Balanced,
            };
            let value = ResourceDefinition {
                placement,
                cardinality,
                hosting_members: hosts,
                server_pools: pools,
                enabled: unit.enabled,
                start,
                stop,
                ..definition()
            };
            config.resources.insert(name, value);
        }
    }
    config
}

#[derive(Clone, Debug)]
enum Step {
    Lose(usize),
    Boot(usize),
    Leave(usize),
    Stop(usize),
    Start(usize),
    Move(usize, usize),
    Fail(usize),
    /// The leader decides once, and nobody obeys yet.
    Decide,
    Obey,
    Settle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1..=4usize).prop_map(Step::Lose),
        3 => (1..=4usize).prop_map(Step::Boot),
        1 => (1..=4usize).prop_map(Step::Leave),
        1 => any::<usize>().prop_map(Step::Stop),
        1 => any::<usize>().prop_map(Step::Start),
        2 => (any::<usize>(), 1..=4usize).prop_map(|(u, s)| Step::Move(u, s)),
        1 => any::<usize>().prop_map(Step::Fail),
        2 => Just(Step::Decide),
        2 => Just(Step::Obey),
        3 => Just(Step::Settle),
    ];
    prop::collection::vec(step, 0..16)
}

fn take(plain: &mut Plain, step: &Step) {
    let servers: Vec<ServerName> = plain.state.servers.keys().cloned().collect();
    let server = |number: &usize| servers[(number - 1) % servers.len()].clone();
    let units: Vec<GroupName> = plain.state.groups.keys().cloned().collect();
    let pick = |number: &usize| units[number % units.len()].clone();
    match step {
        Step::Lose(number) if plain.fit.len() > 1 && plain.fit.contains(&server(number)) => {
            plain.lose(&server(number));
        }
        Step::Boot(number) if !plain.fit.contains(&server(number)) => plain.boot(&server(number)),
        Step::Leave(number) => {
            let after = tasuki_core::registry::state::AfterStop::Nothing;
            plain.tell(Command::ServerLeave { server: server(number), after });
        }
        Step::Stop(unit) => {
            plain.tell(Command::StopGroup { group: pick(unit), force: true });
        }
        Step::Start(unit) => {
            plain.tell(Command::StartGroup { group: pick(unit), on: None });
        }
        Step::Move(unit, number) => {
            let to = Some(server(number));
            plain.tell(Command::MoveGroup { group: pick(unit), to, force: true });
        }
        Step::Fail(unit) => plain.fail(&pick(unit)),
        Step::Decide => {
            for decision in plain.decisions() {
                plain.propose(Author::Leader("s1".into()), Some(decision), None);
            }
        }
        Step::Obey => {
            plain.obey();
        }
        Step::Settle => plain.settle(),
        Step::Lose(_) | Step::Boot(_) => {}
    }
}

/// What is said of a unit against what there is, looked at without the decision.
fn check(plain: &Plain, unit: &GroupName, said: &Report) {
    let entry = &plain.state.groups[unit];
    let ownership = &entry.ownership.value;
    let config = entry.config.as_ref().map(|config| &config.value);
    let decisions = plain.decisions();
    let assigned = decisions.iter().find_map(|decision| match &decision.command {
        Command::Assign { group, server, .. } if group == unit => Some(server),
        _ => None,
    });
    let released = decisions
        .iter()
        .find(|decision| matches!(&decision.command, Command::Release { group, .. } if group == unit));
    assert!(!said.place.to_string().is_empty());
    match &said.place {
        Place::Owned { server, .. } => {
            assert_eq!(ownership.owner.as_ref(), Some(server), "{unit}");
            assert!(released.is_none() && ownership.release.is_none(), "{unit} leaves: {released:?}");
        }
        Place::Leaves { server, because } => {
            assert_eq!(ownership.owner.as_ref(), Some(server), "{unit}");
            let why = ownership.release.as_ref().map(|release| &release.reason);
            let why = why.or(released.map(|decision| &decision.reason));
            assert_eq!(why, Some(because), "{unit}");
        }
        Place::Goes { server } => assert_eq!(assigned, Some(server), "{unit}"),
        Place::Nowhere { because } => {
            assert_eq!((&ownership.owner, assigned), (&None, None), "{unit}: {because}");
            assert!(!because.to_string().is_empty());
        }
    }
    let names: BTreeSet<&ServerName> = said.servers.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), said.servers.len(), "each server once");
    assert_eq!(names, plain.state.servers.keys().collect(), "every server");
    for (server, standing) in &said.servers {
        let presence = plain.state.presence(server);
        let up = presence.is_some_and(|presence| presence.up);
        let active = presence.is_some_and(|presence| presence.mode == ServerMode::Active);
        let listed = config.is_some_and(|config| config.servers.contains(server));
        let members = plain.state.pool_members.as_ref().map(|members| &members.value);
        let pool = members.and_then(|members| members.get(server)).cloned().unwrap_or("Free".into());
        let pooled = config.is_some_and(|config| config.pools.is_empty() || config.pools.contains(&pool));
        match standing {
            Standing::Owner => assert_eq!(ownership.owner.as_ref(), Some(server), "{unit}"),
            Standing::Rejected { why } => {
                assert!(!why.to_string().is_empty());
                let shared = |name: &GroupName| {
                    let other = &plain.state.groups[name];
                    let config = other.config.as_ref();
                    let exclusive = config.is_some_and(|c| c.value.exclusive != Exclusive::No);
                    // It has the server, or gets it in this very round.
                    let gets = |decision: &Decision| {
                        matches!(&decision.command, Command::Assign { group, server: to, .. }
                            if group == name && to == server)
                    };
                    let has = other.ownership.value.owner.as_ref() == Some(server);
                    exclusive && (has || decisions.iter().any(gets))
                };
                let holds = match why {
                    Rejection::NotListed => !listed,
                    Rejection::NotJoined => presence.is_none(),
                    Rejection::Down { .. } => presence.is_some() && !up,
                    Rejection::Leaving => up && !active,
                    Rejection::NoLease => up && !plain.fit.contains(server),
                    Rejection::OtherPool { pool: other } => !pooled && *other == pool,
                    Rejection::Exclusive { group } => {
                        group != unit && config.is_some_and(|c| c.exclusive != Exclusive::No) && shared(group)
                    }
                    Rejection::NotUpThere { named } => !is_up(plain, &decisions, unit, named, Some(server)),
                    Rejection::Stopping { named } => !is_up(plain, &decisions, unit, named, Some(server)),
                    Rejection::NotUp { named } => !is_up(plain, &decisions, unit, named, None),
                    Rejection::NotGood { volume, good, .. } => {
                        let facts = plain.state.volumes.get(volume).map(|item| &item.value);
                        facts.is_some_and(|facts| facts.good == *good) && !good.contains(server)
                    }
                    Rejection::NotPulledUp => ownership.owner.is_none() || ownership.release.is_some(),
                };
                assert!(holds, "{unit} on {server}: {why} is not so");
                assert_ne!(Some(server), assigned, "{unit} goes to {server}, which is rejected: {why}");
            }
            Standing::Best { .. } | Standing::Worse { .. } | Standing::Stays { .. } => {
                assert!(listed && up && active && pooled, "{unit} could not run on {server}: {standing:?}");
            }
        }
        if let Standing::Worse { than, .. } = standing {
            assert_ne!(than, server);
            assert!(assigned.is_none_or(|assigned| assigned != server), "{unit}: {than} is better");
        }
    }
}

/// Whether a resource is ONLINE outside a unit, by the reports alone, and stays so in this round.
fn is_up(
    plain: &Plain,
    decisions: &[Decision],
    unit: &GroupName,
    named: &Named,
    on: Option<&ServerName>,
) -> bool {
    let Named::Resource(resource) = named else { panic!("no types here") };
    plain.state.groups.iter().any(|(name, entry)| {
        let owner = entry.ownership.value.owner.as_ref();
        let has = entry.config.as_ref().is_some_and(|c| c.value.resources.contains_key(resource));
        let there = owner.is_some() && (on.is_none() || owner == on);
        let released = |decision: &Decision| {
            matches!(&decision.command, Command::Release { group, .. } if group == name)
        };
        let leaves = entry.ownership.value.release.is_some() || decisions.iter().any(released);
        name != unit && has && there && plain.online(name) && !leaves
    })
}

/// As in a forecast: the leader is faster than any start or stop.
fn settle_as_starts_take_time(plain: &mut Plain) {
    for _ in 0..2000 {
        let decisions = plain.decisions();
        let quiet = decisions.is_empty();
        for decision in decisions {
            plain.propose(Author::Leader("s1".into()), Some(decision), None);
        }
        if quiet && !plain.obey() {
            return;
        }
    }
    panic!("it never settles");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_unit_has_a_true_explanation_at_every_moment(
        servers in 1..=4usize,
        units in prop::collection::vec(unit(), 1..=5),
        steps in steps(),
    ) {
        let mut plain = Plain::up(config(servers, &units));
        for step in std::iter::once(&Step::Settle).chain(&steps) {
            take(&mut plain, step);
            let since_start = Duration::from_secs(3600);
            for unit in plain.state.groups.keys() {
                let input = Input { state: &plain.state, fit: &plain.fit, since_start };
                let said = report(&input, unit);
                prop_assert!(said.is_some(), "{unit} has no explanation");
                check(&plain, unit, &said.unwrap());
            }
        }
    }

    #[test]
    fn what_is_forecast_is_what_happens(
        servers in 2..=4usize,
        units in prop::collection::vec(unit(), 1..=5),
        lost in 1..=4usize,
    ) {
        let mut plain = Plain::up(config(servers, &units));
        plain.settle();
        let server = server_name((lost - 1) % servers + 1);
        let before = plain.state.clone();
        // The lost one has no vote, so that two servers are enough.
        let voters = plain.fit.iter().filter(|name| **name != server).cloned().collect();
        let picture = Picture { voters, ..Picture::of(plain.state.clone()) };
        let what_if = [Change::ServerDown { server: server.clone() }];
        let said = forecast(&picture, &what_if, "root").unwrap();
        prop_assert_eq!(&picture.state, &before, "a forecast changes nothing");
        prop_assert_eq!(&said.ended, &Ended::Settled, "{:#?}", said.steps);
        plain.lose(&server);
        settle_as_starts_take_time(&mut plain);
        let down: Vec<GroupName> = plain
            .state
            .groups
            .iter()
            .filter(|(name, entry)| entry.target.value == Target::Online && !plain.online(name))
            .map(|(name, _)| name.clone())
            .collect();
        prop_assert_eq!(&said.down, &down);
        for one in &said.interruptions {
            prop_assert_eq!(one.to.as_ref(), plain.owner(&one.group), "{}", one.group);
        }
        // Whatever is not named is untouched.
        for (name, entry) in &before.groups {
            if !said.interruptions.iter().any(|one| one.group == *name) {
                prop_assert_eq!(plain.owner(name), entry.ownership.value.owner.as_ref(), "{}", name);
            }
        }
    }
}
