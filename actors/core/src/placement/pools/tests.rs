//! The rules of filling, one story each, and all of them against every possible filling.

#![allow(clippy::unwrap_used)]

use std::cmp::Reverse;

use proptest::{collection, option, prelude::*};

use super::*;
use crate::{
    config::{
        Automatic, ExecConfig, GroupConfig, PlacementPolicy, ResourceConfig, ResourceDefinition,
        ResourceKind, ServerConfig, Startup,
    },
    ids::Revision,
    registry::{
        Item,
        state::{Failures, GroupEntry, Ownership, ServerEntry, Target},
    },
    time::WallTime,
};

const SERVERS: [&str; 6] = ["kiki", "lala", "momo", "nana", "pipi", "susu"];

type Members = BTreeMap<ServerName, PoolName>;

fn item<T>(value: T) -> Item<T> {
    Item { value, created: Revision(1), modified: Revision(1), at: WallTime(0) }
}

fn pool(min: u32, max: Option<u32>, importance: u32, servers: &[&str]) -> PoolConfig {
    let servers = servers.iter().map(|name| (*name).into()).collect();
    PoolConfig { comment: String::new(), min, max, importance, servers }
}

/// A registry of the first servers with these pools.
fn state(servers: usize, pools: &[(&str, PoolConfig)]) -> State {
    let entry = |number| {
        let config = ServerConfig {
            role: Default::default(),
            domain: None,
            fencing: Vec::new(),
            number,
            comment: String::new(),
            addresses: BTreeMap::new(),
        };
        ServerEntry { config: item(config), presence: None, fencing: None }
    };
    State {
        servers: (1..).zip(&SERVERS[..servers]).map(|(n, name)| ((*name).into(), entry(n))).collect(),
        pools: pools.iter().map(|(name, pool)| ((*name).into(), item(pool.clone()))).collect(),
        ..State::default()
    }
}

fn available(names: &[&str]) -> BTreeSet<ServerName> {
    names.iter().map(|name| (*name).into()).collect()
}

/// Fills, and makes what came out the present membership.
fn filled(state: &mut State, names: &[&str]) -> String {
    let members = fill(state, &available(names));
    let text = members.iter().map(|(server, pool)| format!("{server}={pool}")).collect::<Vec<_>>().join(" ");
    state.pool_members = Some(item(members));
    text
}

#[test]
fn minima_come_first_then_what_is_left_goes_up_to_the_maxima_and_then_to_free() {
    let pools = [("back", pool(1, Some(2), 5, &[])), ("front", pool(2, Some(3), 10, &[]))];
    let fills = [
        (1, "kiki=front"),
        (2, "kiki=front lala=front"),
        (3, "kiki=front lala=front momo=back"),
        (4, "kiki=front lala=front momo=back nana=front"),
        (5, "kiki=front lala=front momo=back nana=front pipi=back"),
        (6, "kiki=front lala=front momo=back nana=front pipi=back"),
    ];
    let mut grown = state(6, &pools);
    for (count, expected) in fills {
        // All at once gives as many to each as one after the other.
        let mut fresh = state(count, &pools);
        let sizes = |text: &str| (text.matches("=front").count(), text.matches("=back").count());
        assert_eq!(sizes(&filled(&mut fresh, &SERVERS[..count])), sizes(expected));
        assert_eq!(filled(&mut grown, &SERVERS[..count]), expected);
    }
}

#[test]
fn a_pool_below_its_minimum_takes_from_free_first() {
    let pools = [("back", pool(0, Some(2), 1, &[])), ("front", pool(2, Some(2), 9, &[]))];
    let mut state = state(5, &pools);
    assert_eq!(filled(&mut state, &SERVERS[..5]), "kiki=front lala=front momo=back nana=back");
    assert_eq!(
        filled(&mut state, &["lala", "momo", "nana", "pipi"]),
        "lala=front momo=back nana=back pipi=front"
    );
}

#[test]
fn then_from_a_pool_above_its_minimum_the_least_important_first() {
    let pools = [
        ("front", pool(1, None, 9, &["kiki", "lala", "nana", "pipi"])),
        ("middle", pool(1, None, 5, &["lala", "momo", "nana"])),
        ("back", pool(1, None, 1, &["momo", "pipi", "susu"])),
    ];
    let mut state = state(6, &pools);
    let members =
        [("kiki", "front"), ("lala", "middle"), ("nana", "middle"), ("pipi", "back"), ("susu", "back")];
    let members: Members = members.iter().map(|(s, p)| ((*s).into(), (*p).into())).collect();
    state.pool_members = Some(item(members));
    let left = filled(&mut state, &["lala", "nana", "pipi", "susu"]);
    assert_eq!(left, "lala=middle nana=middle pipi=front susu=back");
}

#[test]
fn then_from_a_less_important_pool_at_its_minimum_the_least_important_first() {
    let any = |importance| pool(1, Some(1), importance, &[]);
    let mut state = state(3, &[("a", any(1)), ("b", any(9)), ("c", any(5))]);
    assert_eq!(filled(&mut state, &SERVERS[..3]), "kiki=b lala=c momo=a");
    assert_eq!(filled(&mut state, &["lala", "momo"]), "lala=c momo=b");
    assert_eq!(filled(&mut state, &["lala"]), "lala=b");
    // And back: whoever comes goes where it is needed, nobody moves.
    assert_eq!(filled(&mut state, &["lala", "momo"]), "lala=b momo=c");
    assert_eq!(filled(&mut state, &["kiki", "lala", "momo"]), "kiki=a lala=b momo=c");
}

#[test]
fn a_pool_never_takes_for_more_than_its_minimum_nor_from_one_of_the_same_importance() {
    let pools = [("back", pool(0, None, 1, &[])), ("front", pool(1, None, 9, &[]))];
    let mut two = state(2, &pools);
    two.pool_members = Some(item(BTreeMap::from([("lala".into(), "back".into())])));
    assert_eq!(filled(&mut two, &["kiki", "lala"]), "kiki=front lala=back");

    let equal = [("a", pool(1, None, 5, &[])), ("b", pool(1, None, 5, &[]))];
    let mut one = state(1, &equal);
    one.pool_members = Some(item(BTreeMap::from([("kiki".into(), "b".into())])));
    assert_eq!(filled(&mut one, &["kiki"]), "kiki=b");
    // From the same pool, what is above the minimum may go.
    let mut two = state(2, &equal);
    let both = SERVERS[..2].iter().map(|name| ((*name).into(), "b".into())).collect();
    two.pool_members = Some(item(both));
    assert_eq!(filled(&mut two, &["kiki", "lala"]).matches("=a").count(), 1);
}

#[test]
fn a_server_goes_by_way_of_another_pool_where_lists_ask_for_it() {
    let pools =
        [("front", pool(1, Some(1), 9, &["kiki", "lala"])), ("back", pool(1, Some(1), 1, &["lala", "momo"]))];
    let mut state = state(3, &pools);
    assert_eq!(filled(&mut state, &["kiki", "lala"]), "kiki=front lala=back");
    // Only lala suits the more important pool; momo, which was free, takes its place.
    assert_eq!(filled(&mut state, &["lala", "momo"]), "lala=front momo=back");
}

#[test]
fn a_new_configuration_moves_no_more_than_it_must() {
    let mut state = state(3, &[("back", pool(0, None, 1, &["momo"])), ("front", pool(0, None, 9, &[]))]);
    assert_eq!(filled(&mut state, &SERVERS[..3]), "kiki=front lala=front momo=front");
    state.pools.get_mut(&"front".into()).unwrap().value.max = Some(2);
    assert_eq!(filled(&mut state, &SERVERS[..3]), "kiki=front lala=front momo=back");
    state.pools.get_mut(&"front".into()).unwrap().value.servers = vec!["lala".into()];
    assert_eq!(filled(&mut state, &SERVERS[..3]), "lala=front momo=back");
    state.pools.remove(&"back".into());
    assert_eq!(filled(&mut state, &SERVERS[..3]), "lala=front");
    state.pools.clear();
    assert_eq!(filled(&mut state, &SERVERS[..3]), "");
}

fn definition(cardinality: Cardinality, pools: &[&str], hosting: &[&str]) -> ResourceDefinition {
    ResourceDefinition {
        type_name: "cluster_resource".into(),
        resource: ResourceConfig::of(ResourceKind::Exec(ExecConfig::of(vec!["/bin/true".into()]))),
        attributes: BTreeMap::new(),
        cardinality,
        placement: PlacementPolicy::Restricted,
        hosting_members: hosting.iter().map(|name| (*name).into()).collect(),
        server_pools: pools.iter().map(|name| (*name).into()).collect(),
        load: 1,
        auto_start: Startup::Always,
        enabled: true,
        failover: Automatic::Auto,
        failback: Automatic::Manual,
        start: Vec::new(),
        stop: Vec::new(),
    }
}

#[test]
fn generic_has_the_servers_that_its_resources_and_groups_name_and_no_other_pool_has_them() {
    let mut state = state(5, &[("front", pool(5, None, 9, &[]))]);
    let one = Cardinality::Number(1);
    for (name, definition) in [
        ("db", definition(one, &[GENERIC], &["kiki", "gone"])),
        ("app", definition(one, &["front"], &["lala"])),
        ("disk", definition(Cardinality::Local, &[GENERIC], &["momo"])),
    ] {
        state.definitions.insert(name.into(), item(definition));
    }
    let group = |pools: &[&str], server: &str| GroupEntry {
        config: Some(item(GroupConfig {
            servers: vec![server.into()],
            pools: pools.iter().map(|name| (*name).into()).collect(),
            ..GroupConfig::default()
        })),
        target: item(Target::Online),
        ownership: item(Ownership::default()),
        report: None,
        failures: item(Failures::default()),
        facts: BTreeMap::new(),
    };
    state.groups.insert("web".into(), group(&[GENERIC], "nana"));
    state.groups.insert("mail".into(), group(&[], "pipi"));
    let expected = "kiki=Generic lala=front momo=front nana=Generic pipi=front";
    assert_eq!(filled(&mut state, &SERVERS[..5]), expected);
    // Also where there is no other pool, and only while they are there.
    state.pools.clear();
    assert_eq!(filled(&mut state, &["lala", "nana"]), "nana=Generic");
    assert_eq!(
        (pool_of(&state, &"nana".into()).as_str(), pool_of(&state, &"lala".into()).as_str()),
        (GENERIC, FREE)
    );
}

// --- against every possible filling -------------------------------------------------------------

const POOLS: [&str; 4] = ["a", "b", "c", "d"];

fn a_pool(servers: usize) -> impl Strategy<Value = PoolConfig> {
    let list = collection::btree_set(0..servers, 0..=servers);
    (0u32..4, option::of(0u32..3), 0u32..3, option::weighted(0.6, list)).prop_map(
        |(min, above, importance, list)| {
            let names: Vec<&str> = list.unwrap_or_default().into_iter().map(|n| SERVERS[n]).collect();
            pool(min, above.map(|above| min + above), importance, &names)
        },
    )
}

/// Up to five servers and four pools, who is there, and where each was before: with whoever is away
/// now, in pools that changed since.
fn a_case() -> impl Strategy<Value = (State, BTreeSet<ServerName>)> {
    (1usize..=5).prop_flat_map(|count| {
        let pools = collection::vec(a_pool(count), 1..=4);
        let before = collection::vec(option::of(0usize..5), count);
        let there = collection::vec(prop::bool::weighted(0.8), count);
        (pools, before, there).prop_map(move |(pools, before, there)| {
            let pools: Vec<_> = POOLS.into_iter().zip(pools).collect();
            let mut state = state(count, &pools);
            let pool = |at: usize| PoolName::from(*POOLS.get(at).unwrap_or(&"gone"));
            let members = SERVERS.iter().zip(before).filter_map(|(s, p)| Some(((*s).into(), pool(p?))));
            state.pool_members = Some(item(members.collect()));
            let there = SERVERS.iter().zip(there).filter(|(_, there)| *there);
            (state, there.map(|(name, _)| (*name).into()).collect())
        })
    })
}

fn allowed(state: &State, members: &Members) -> bool {
    let listed = members.iter().all(|(server, pool)| {
        state.pools.get(pool).is_some_and(|p| p.value.servers.is_empty() || p.value.servers.contains(server))
    });
    listed
        && state.pools.iter().all(|(name, pool)| pool.value.max.is_none_or(|max| size(members, name) <= max))
}

fn size(members: &Members, pool: &PoolName) -> u32 {
    u32::try_from(members.values().filter(|name| *name == pool).count()).unwrap()
}

/// What is better is greater. Written apart from the code: in whole pools, not in moves.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Worth {
    /// By importance, the higher first: how much of the minima there is.
    minima: Vec<u32>,
    /// Servers that were taken out of a pool.
    taken: Reverse<usize>,
    /// By pool, the first in order of importance and name first.
    each_minimum: Vec<u32>,
    sizes: Vec<u32>,
    /// Servers that were in Free and are in a pool.
    from_free: Reverse<usize>,
}

fn worth(state: &State, before: &Members, members: &Members, there: &BTreeSet<ServerName>) -> Worth {
    let mut pools: Vec<_> = state.pools.iter().map(|(name, pool)| (name, &pool.value)).collect();
    pools.sort_by_key(|(name, pool)| (Reverse(pool.importance), *name));
    let met = |name: &PoolName, pool: &PoolConfig| size(members, name).min(pool.min);
    let mut minima: BTreeMap<Reverse<u32>, u32> = BTreeMap::new();
    for (name, pool) in &pools {
        *minima.entry(Reverse(pool.importance)).or_default() += met(name, pool);
    }
    let known = |server: &ServerName| before.get(server).filter(|pool| state.pools.contains_key(*pool));
    let moved = |server: &&ServerName| known(server) != members.get(*server);
    Worth {
        minima: minima.into_values().collect(),
        taken: Reverse(there.iter().filter(moved).filter(|s| known(s).is_some()).count()),
        each_minimum: pools.iter().map(|(name, pool)| met(name, pool)).collect(),
        sizes: pools.iter().map(|(name, _)| size(members, name)).collect(),
        from_free: Reverse(there.iter().filter(moved).filter(|s| known(s).is_none()).count()),
    }
}

fn every_filling(state: &State, there: &BTreeSet<ServerName>) -> Vec<Members> {
    let mut all = vec![Members::new()];
    for server in there {
        let with = |members: &Members, pool: &PoolName| {
            let mut members = members.clone();
            members.insert(server.clone(), pool.clone());
            members
        };
        let more: Vec<Members> =
            all.iter().flat_map(|members| state.pools.keys().map(move |pool| with(members, pool))).collect();
        all.extend(more);
    }
    all.retain(|members| allowed(state, members));
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn no_other_filling_is_better((mut state, there) in a_case()) {
        let before = state.pool_members.as_ref().unwrap().value.clone();
        let members = fill(&state, &there);
        prop_assert!(members.keys().all(|server| there.contains(server)));
        prop_assert!(allowed(&state, &members), "{members:?}");
        let ours = worth(&state, &before, &members, &there);
        for other in every_filling(&state, &there) {
            let its = worth(&state, &before, &other, &there);
            prop_assert!(its <= ours, "{other:?} with {its:?} is better than {members:?} with {ours:?}");
        }
        prop_assert_eq!(&fill(&state, &there), &members, "the same twice");
        state.pool_members = Some(item(members.clone()));
        prop_assert_eq!(fill(&state, &there), members, "and again after it was done");
    }
}
