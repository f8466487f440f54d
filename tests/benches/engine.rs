//! What the resource engine does in a second, through the whole path: real actors, the real
//! openraft and its store on disk, three nodes in one process; machines whose starts take no time.
//!
//! `cargo bench -p tasuki-tests --bench engine`. `TASUKI_GROUPS` (1000) for the first table,
//! `TASUKI_LOST` (300) for the second, `TASUKI_ROUNDS` (5). The time that deciding alone takes is
//! `cargo bench -p tasuki-core --bench decision`.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    env,
    sync::Arc,
    time::{Duration, Instant},
};

use tasuki_core::{
    config::{ClusterConfig, GroupConfig, ResourceConfig},
    ids::{GroupName, ServerName},
    registry::{
        Author, Command, State,
        state::{GroupState, Target},
    },
};
use tasuki_tests::{
    numbers::Times,
    twin::{self, Twin},
};
use tokio::{sync::Semaphore, task::JoinSet};

/// Operations of operators that are under way at once.
const AT_ONCE: usize = 64;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let rounds = number("TASUKI_ROUNDS", 5);
    runtime.block_on(async {
        through_the_whole_path(number("TASUKI_GROUPS", 1000), rounds).await;
        a_server_is_lost(number("TASUKI_LOST", 300), rounds).await;
    });
}

fn number(name: &str, default: usize) -> usize {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// `count` independent groups, all at home on the first server if `one_home`, spread otherwise.
fn many(count: usize, one_home: bool) -> ClusterConfig {
    let mut config = twin::config(3, Duration::from_secs(1));
    let one: GroupConfig = config.groups.values().next().unwrap().clone();
    let resource: ResourceConfig = one.resources.values().next().unwrap().clone();
    config.groups.clear();
    for n in 0..count {
        let mut group = one.clone();
        if !one_home {
            group.servers.rotate_left(n % 3);
        }
        group.resources = BTreeMap::from([(format!("s{n}").as_str().into(), resource.clone())]);
        config.groups.insert(GroupName::new(format!("g{n}")), group);
    }
    config
}

fn all_online(state: &State) -> bool {
    state.groups.values().all(|entry| {
        let report = entry.report.as_ref().map(|report| &report.value);
        let current = |r: &tasuki_core::registry::state::GroupReport| {
            r.epoch == entry.ownership.value.epoch && r.state == GroupState::Online
        };
        entry.ownership.value.owner.is_some() && report.is_some_and(current)
    })
}

/// Every group is stopped and started again by operators: each is a command, decisions of the
/// leader, reports and releases of owners, all of them committed and applied.
async fn through_the_whole_path(groups: usize, rounds: usize) {
    println!("\n### {groups} independent groups, three nodes: every group stopped, then started again\n");
    println!("| round | registry changes | seconds | changes a second | first start of all, ms |");
    println!("|---|---|---|---|---|");
    let twin = Twin::form(many(groups, false)).await;
    let began = Instant::now();
    twin.until("all run", all_online).await;
    let formed = began.elapsed();
    for round in 1..=rounds {
        let before = revision(&twin);
        let start = Instant::now();
        let stop = |group: &GroupName| Command::StopGroup { group: group.clone(), force: false };
        operate(&twin, stop).await;
        twin.until("all are stopped", |state| {
            state.groups.values().all(|entry| entry.ownership.value.owner.is_none())
        })
        .await;
        let start_again = |group: &GroupName| Command::StartGroup { group: group.clone(), on: None };
        operate(&twin, start_again).await;
        twin.until("all run again", |state| {
            all_online(state) && state.groups.values().all(|entry| entry.target.value == Target::Online)
        })
        .await;
        let took = start.elapsed().as_secs_f64();
        let changes = revision(&twin) - before;
        #[allow(clippy::cast_precision_loss)]
        let rate = changes as f64 / took;
        println!("| {round} | {changes} | {took:.2} | {rate:.0} | {} |", formed.as_millis());
    }
}

fn revision(twin: &Twin) -> u64 {
    twin.node(&twin.leader().unwrap()).unwrap().state().revision.0
}

async fn operate(twin: &Twin, command: impl Fn(&GroupName) -> Command) {
    let leader = twin.leader().unwrap();
    let node = twin.node(&leader).unwrap();
    let commands: Vec<Command> = node.state().groups.keys().map(command).collect();
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut under_way = JoinSet::new();
    for command in commands {
        let (node, permit) = (node.clone(), permits.clone().acquire_owned().await.unwrap());
        under_way.spawn(async move {
            node.propose(Author::Operator("bench".into()), command, None, Vec::new()).await.unwrap();
            drop(permit);
        });
    }
    while let Some(done) = under_way.join_next().await {
        done.unwrap();
    }
}

/// The server that runs every group loses its power.
async fn a_server_is_lost(groups: usize, rounds: usize) {
    println!("\n### {groups} groups on one server that loses its power\n");
    println!("| | min | median | max |\n|---|---|---|---|");
    let (mut whole, mut after) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let twin = Twin::form(many(groups, true)).await;
        twin.until("all run", all_online).await;
        let home: ServerName = "kiki".into();
        let watched = twin.node(&"lala".into()).unwrap();
        let mut changes = watched.watch();
        let judged = tokio::spawn(async move {
            let up = |state: &Arc<State>| state.presence(&"kiki".into()).is_some_and(|p| p.up);
            while up(&changes.borrow_and_update()) {
                changes.changed().await.unwrap();
            }
            Instant::now()
        });
        let start = Instant::now();
        twin.kill_machine(&home).await;
        twin.until("all run elsewhere", |state| {
            all_online(state) && state.owned_by(&"kiki".into()).next().is_none()
        })
        .await;
        let end = Instant::now();
        whole.push(end - start);
        after.push(end - judged.await.unwrap());
    }
    for (what, times) in [
        ("power lost to all running, ms (detection and lease included)", whole),
        ("verdict applied to all running, ms", after),
    ] {
        println!("| {what} | {} |", Times::new(times));
    }
}
