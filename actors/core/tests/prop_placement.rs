//! Placement over random small clusters: what must always hold, and a solver that knows nothing
//! of the decision and tries every way to place everything.
//!
//! `PROPTEST_CASES=20000` looks longer.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Plain, cluster, definition, exec, server_name};
use proptest::prelude::*;
use tasuki_core::{
    config::*,
    ids::*,
    registry::{Author, Command, state::Target},
};

#[derive(Clone, Debug)]
struct Unit {
    exclusive: Option<Exclusive>,
    hosts: Vec<usize>,
    policy: u8,
    needs: Vec<(usize, u8)>,
    stop: bool,
}

fn unit() -> impl Strategy<Value = Unit> {
    let exclusive = prop_oneof![
        6 => Just(None),
        1 => Just(Some(Exclusive::No)),
        1 => Just(Some(Exclusive::Normal)),
        2 => Just(Some(Exclusive::Complete)),
    ];
    let hosts = prop::collection::vec(1..=4usize, 1..=3);
    let needs = prop::collection::vec((0..4usize, 0..12u8), 0..=2);
    (exclusive, hosts, 0..3u8, needs, any::<bool>())
        .prop_map(|(exclusive, hosts, policy, needs, stop)| Unit { exclusive, hosts, policy, needs, stop })
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

fn name(index: usize) -> ResourceName {
    ResourceName::new(format!("r{index}"))
}

/// Where each unit runs: its group's name by index.
fn unit_name(units: &[Unit], index: usize) -> GroupName {
    match units[index].exclusive {
        Some(_) => GroupName::new(format!("g{index}")),
        None => GroupName::new(format!("r{index}#1")),
    }
}

fn config(servers: usize, units: &[Unit]) -> ClusterConfig {
    let mut config = cluster(servers);
    for (index, unit) in units.iter().enumerate() {
        let mut hosts: Vec<ServerName> = Vec::new();
        for host in &unit.hosts {
            let host = server_name((host - 1) % servers + 1);
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        // Only on what came before it, so that there is no circle.
        let needs: Vec<(usize, StartKind)> =
            unit.needs.iter().filter(|(on, _)| *on < index).map(|(on, k)| (*on, kind(*k))).collect();
        let start = needs
            .iter()
            .map(|(on, kind)| StartDependency { on: Named::Resource(name(*on)), kind: *kind })
            .collect();
        let stop = needs
            .iter()
            .filter(|_| unit.stop)
            .filter_map(|(on, kind)| {
                let StartKind::Hard { intermediate, global } = kind else { return None };
                let on = Named::Resource(name(*on));
                Some(StopDependency { on, intermediate: *intermediate, global: *global, shutdown: false })
            })
            .collect();
        match unit.exclusive {
            Some(exclusive) => {
                let group = GroupConfig {
                    servers: hosts,
                    exclusive,
                    start,
                    stop,
                    resources: BTreeMap::from([(name(index), exec())]),
                    ..GroupConfig::default()
                };
                config.groups.insert(GroupName::new(format!("g{index}")), group);
            }
            None => {
                let policies =
                    [PlacementPolicy::Balanced, PlacementPolicy::Favored, PlacementPolicy::Restricted];
                let value = ResourceDefinition {
                    placement: policies[usize::from(unit.policy)],
                    hosting_members: hosts,
                    start,
                    stop,
                    ..definition()
                };
                config.resources.insert(name(index), value);
            }
        }
    }
    config
}

/// The hard needs of a unit: the other's index, and whether it has to be on the same server.
fn hard(units: &[Unit], index: usize) -> Vec<(usize, bool)> {
    let needs = units[index].needs.iter().filter(|(on, _)| *on < index);
    needs
        .filter_map(|(on, number)| match kind(*number) {
            StartKind::Hard { global, .. } => Some((*on, !global)),
            _ => None,
        })
        .collect()
}

/// Tries every placement of all units on the servers that are up: one in which all of these run
/// and something more.
fn better(plain: &Plain, units: &[Unit], runs: &BTreeSet<usize>) -> Option<String> {
    let up: Vec<ServerName> = plain.fit.iter().cloned().collect();
    let choices = up.len() + 1;
    let all = choices.pow(u32::try_from(units.len()).unwrap());
    for mut number in 0..all {
        let mut place: Vec<Option<&ServerName>> = Vec::new();
        for _ in units {
            place.push(up.get(number % choices));
            number /= choices;
        }
        let keeps = runs.iter().all(|unit| place[*unit].is_some());
        if keeps && place.iter().flatten().count() > runs.len() && valid(plain, units, &place) {
            return Some(format!("{place:?}"));
        }
    }
    None
}

fn valid(plain: &Plain, units: &[Unit], place: &[Option<&ServerName>]) -> bool {
    let mut lonely: BTreeMap<&ServerName, Vec<Exclusive>> = BTreeMap::new();
    for (index, server) in place.iter().enumerate() {
        let Some(server) = server else { continue };
        let entry = &plain.state.groups[&unit_name(units, index)];
        let config = &entry.config.as_ref().unwrap().value;
        if !config.servers.contains(server) {
            return false;
        }
        for (on, together) in hard(units, index) {
            match place[on] {
                None => return false,
                Some(there) if together && there != *server => return false,
                Some(_) => {}
            }
        }
        if config.exclusive != Exclusive::No {
            lonely.entry(server).or_default().push(config.exclusive);
        }
    }
    // At a first start no server is shared by exclusive groups of either kind.
    lonely.values().all(|groups| groups.len() < 2)
}

fn running(plain: &Plain, units: &[Unit]) -> BTreeSet<usize> {
    (0..units.len()).filter(|index| plain.online(&unit_name(units, *index))).collect()
}

/// What must hold whenever nothing more is to be done.
fn check(plain: &Plain, units: &[Unit]) {
    assert!(plain.decisions().is_empty(), "deciding again gives nothing");
    for index in running(plain, units) {
        let unit = unit_name(units, index);
        let server = plain.owner(&unit).unwrap();
        let config = &plain.state.groups[&unit].config.as_ref().unwrap().value;
        assert!(plain.fit.contains(server), "{unit} runs on {server}, which is not up");
        assert!(config.servers.contains(server), "{unit} may not run on {server}");
        if config.exclusive == Exclusive::Complete {
            for (other, entry) in &plain.state.groups {
                let shares = *other != unit && entry.ownership.value.owner.as_ref() == Some(server);
                let exclusive = entry.config.as_ref().unwrap().value.exclusive != Exclusive::No;
                assert!(!(shares && exclusive), "{unit} shares {server} with {other}");
            }
        }
        if units[index].stop {
            for (on, together) in hard(units, index) {
                let on = unit_name(units, on);
                assert!(plain.online(&on), "{unit} runs without {on}");
                assert!(!together || plain.owner(&on) == Some(server), "{unit} runs apart from {on}");
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Lose(usize),
    Boot(usize),
    Stop(usize),
    Start(usize),
    Move(usize, usize),
    Fail(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1..=4usize).prop_map(Step::Lose),
        3 => (1..=4usize).prop_map(Step::Boot),
        1 => (0..5usize).prop_map(Step::Stop),
        1 => (0..5usize).prop_map(Step::Start),
        2 => (0..5usize, 1..=4usize).prop_map(|(u, s)| Step::Move(u, s)),
        1 => (0..5usize).prop_map(Step::Fail),
    ];
    prop::collection::vec(step, 0..12)
}

fn take(plain: &mut Plain, servers: usize, units: &[Unit], step: &Step) {
    let pick = |unit: &usize| unit_name(units, unit % units.len());
    match step {
        Step::Lose(server) => {
            let server = server_name((server - 1) % servers + 1);
            if plain.fit.contains(&server) && plain.fit.len() > 1 {
                plain.lose(&server);
            }
        }
        Step::Boot(server) => {
            let server = server_name((server - 1) % servers + 1);
            if !plain.fit.contains(&server) {
                plain.boot(&server);
            }
        }
        Step::Stop(unit) => {
            plain.tell(Command::StopGroup { group: pick(unit), force: true });
        }
        Step::Start(unit) => {
            plain.tell(Command::StartGroup { group: pick(unit), on: None });
        }
        Step::Move(unit, server) => {
            let to = Some(server_name((server - 1) % servers + 1));
            plain.tell(Command::MoveGroup { group: pick(unit), to, force: true });
        }
        Step::Fail(unit) => plain.fail(&pick(unit)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_that_can_run_runs_after_a_cold_start(
        servers in 1..=4usize,
        units in prop::collection::vec(unit(), 1..=5),
    ) {
        let mut plain = Plain::up(config(servers, &units));
        plain.settle();
        check(&plain, &units);
        prop_assert!(plain.interruptions.is_empty(), "a start interrupts nothing: {:?}", plain.interruptions);
        let runs = running(&plain, &units);
        let better = better(&plain, &units, &runs);
        prop_assert!(better.is_none(), "{runs:?} run, and more could: {better:?}");
    }

    #[test]
    fn through_losses_and_operators_the_constraints_hold(
        servers in 1..=4usize,
        units in prop::collection::vec(unit(), 1..=5),
        steps in steps(),
    ) {
        let mut plain = Plain::up(config(servers, &units));
        plain.settle();
        for step in &steps {
            let before = running(&plain, &units);
            let owners: BTreeMap<usize, ServerName> =
                before.iter().map(|u| (*u, plain.owner(&unit_name(&units, *u)).unwrap().clone())).collect();
            plain.interruptions.clear();
            take(&mut plain, servers, &units, step);
            plain.settle();
            check(&plain, &units);
            for (unit, why) in &plain.interruptions {
                prop_assert!(!why.is_empty(), "{unit} was stopped without a reason");
            }
            // A server that comes or a start takes nothing away from what ran, except what may be
            // placed anew because it shares a server with what it avoids.
            if matches!(step, Step::Boot(_) | Step::Start(_)) {
                for (unit, server) in owners {
                    let avoids = units[unit].needs.iter().any(|(_, number)| {
                        matches!(kind(*number), StartKind::Dispersion { active: true, .. })
                    });
                    let name = unit_name(&units, unit);
                    let target = plain.state.groups[&name].target.value;
                    let follows = !hard(&units, unit).is_empty() && units[unit].stop;
                    prop_assert!(
                        avoids || follows || target == Target::Offline || plain.owner(&name) == Some(&server),
                        "{name} was taken from {server} by {step:?}"
                    );
                }
            }
        }
    }
}

/// R2 fails and is up elsewhere before the release of R1 was taken: R1 has lost it all the same.
#[test]
fn a_stop_dependency_is_kept_when_what_it_names_is_up_elsewhere_already() {
    let mut config = cluster(2);
    let on = || Named::Resource("r2".into());
    let start =
        vec![StartDependency { on: on(), kind: StartKind::Hard { intermediate: false, global: false } }];
    let stop = vec![StopDependency { on: on(), intermediate: false, global: false, shutdown: false }];
    config.resources.insert("r1".into(), ResourceDefinition { start, stop, ..definition() });
    config.resources.insert("r2".into(), definition());
    let mut plain = Plain::up(config);
    plain.settle();
    let (r1, r2): (GroupName, GroupName) = ("r1#1".into(), "r2#1".into());
    let here = plain.owner(&r1).unwrap().clone();
    assert_eq!(plain.owner(&r2), Some(&here));
    plain.fail(&r2);
    // Only what is decided about R2 gets through, until it is online elsewhere.
    while plain.owner(&r2) == Some(&here) || !plain.online(&r2) {
        let about = |command: &Command| match command {
            Command::Release { group, .. } | Command::Assign { group, .. } => *group == r2,
            _ => false,
        };
        for decision in plain.decisions().into_iter().filter(|decision| about(&decision.command)) {
            plain.propose(Author::Leader("s1".into()), Some(decision), None);
        }
        plain.obey();
    }
    assert_eq!(plain.owner(&r1), Some(&here));
    let goes = |command: &Command| matches!(command, Command::Release { group, .. } if *group == r1);
    assert!(plain.decisions().iter().any(|decision| goes(&decision.command)), "{:#?}", plain.decisions());
}
