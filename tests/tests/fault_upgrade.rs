//! Two servers and a voting witness are brought to a newer version one after the other, while a client
//! outside asks for the service: it is moved once, by hand, and never missed otherwise. What only the
//! newer version can read stays out of the registry until all of them have it, and a server that goes
//! back to the older version afterwards says why it does not start.
//!
//! The older version is this program, held back at the first level of the registry; or, with
//! `TASUKI_OLDER_PROGRAM`, another program that knows no more (`just upgrade` builds both).
//! Times are printed, never asserted. `TASUKI_DETECT` is the knob in milliseconds.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    env, fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use tasuki_proto::v1 as wire;
use tasuki_tests::{
    client::{Client, Pace},
    hosts::{Cluster, GROUP, LIMIT, Make, NAMES, Version, await_some, await_true, program, witness::Witness},
    network::Lab,
};

/// What an operator says, and only the newer version can read.
const WORDS: &str = "the disks are replaced on Monday";

struct Versions {
    older: Version,
    newer: Version,
}

fn versions() -> Versions {
    let newer = Version { program: program().unwrap(), hold: None };
    let older = match env::var_os("TASUKI_OLDER_PROGRAM") {
        Some(program) => Version { program: PathBuf::from(program).canonicalize().unwrap(), hold: None },
        None => Version { hold: Some(1), ..newer.clone() },
    };
    Versions { older, newer }
}

/// The level of the registry, as every server has applied it.
fn levels(cluster: &Cluster) -> BTreeSet<u32> {
    (0..cluster.size()).filter_map(|at| Some(cluster.calls().status(&cluster.data(at)).ok()?.level)).collect()
}

fn status_of(cluster: &Cluster, at: usize) -> wire::ClusterStatusResponse {
    cluster.calls().status(&cluster.data(at)).unwrap()
}

/// Stops a server in order.
fn stop(cluster: &Cluster, at: usize) {
    cluster.calls().shut_down(&cluster.data(at), NAMES[at]).unwrap();
    cluster.await_guard_end(at).unwrap();
}

/// Starts it with the newer version.
fn start(cluster: &Cluster, at: usize, version: &Version) {
    cluster.run_as(at, version.clone());
    cluster.start_guard(at).unwrap();
    cluster.await_whole().unwrap();
}

/// The operator's own words are refused, with a code and the members that are missing.
fn words_are_refused(cluster: &Cluster, missing: &[&str]) {
    for (at, server) in NAMES.iter().enumerate().take(cluster.size()) {
        let said = cluster.tasuki(at, &["group", "stop", GROUP, "--because", WORDS]).unwrap();
        let text = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(4), "{server}: {text}");
        assert!(text.contains("TSK-1840"), "{server}: {text}");
        for name in missing {
            assert!(text.contains(name), "{name} is not named: {text}");
        }
    }
    assert!(!said_anywhere(cluster), "the words are in the registry");
}

fn said_anywhere(cluster: &Cluster) -> bool {
    let history = |at: usize| cluster.calls().history(&cluster.data(at), 2000).unwrap();
    let said = |change: &wire::Change| change.reason.as_deref().is_some_and(|why| why.contains(WORDS));
    (0..cluster.size()).any(|at| history(at).iter().any(said))
}

#[test]
fn members_are_replaced_one_by_one_and_the_service_moves_once() {
    if let Some(why) = Lab::impossible() {
        println!("skipped, because {why}");
        return;
    }
    // Patient: that nothing but the one move happens is asserted, also where other tests take the processors.
    let detect = env::var("TASUKI_DETECT").map_or(5000, |text| text.parse().unwrap());
    let Versions { older, newer } = versions();
    let mut make = Make::with_detect(Duration::from_millis(detect)).unwrap();
    (make.program, make.hold, make.servers) = (older.program.clone(), older.hold, 2);
    make.cluster = Witness::section("voter");
    println!("older: {older:?}; newer: {newer:?}");
    let cluster = Cluster::prepare(make).unwrap().form().unwrap();
    let mut witness = Witness::join(&cluster).unwrap();
    cluster.await_whole().unwrap();
    assert_eq!(levels(&cluster), BTreeSet::from([1]));
    words_are_refused(&cluster, &[]);

    let client = Client::start(cluster.lab().client(), cluster.target(), Pace::default()).unwrap();
    let (active, _) = await_some("an active server", || Ok(cluster.active_and_leader().ok())).unwrap();
    let standby = 1 - active;
    let first = client.wait_for(LIMIT, |_| true).unwrap().outcome.unwrap();
    assert_eq!(first.server, NAMES[active]);

    // The one that runs nothing first.
    let began = Instant::now();
    stop(&cluster, standby);
    start(&cluster, standby, &newer);
    println!("{} runs the newer version, after {:.1} s", NAMES[standby], began.elapsed().as_secs_f64());
    assert_eq!(levels(&cluster), BTreeSet::from([1]));
    await_true("a warning of the level", || {
        let warned = |at| status_of(&cluster, at).warnings.iter().any(|text| text.contains("TSK-1843"));
        Ok((0..2).all(warned))
    })
    .unwrap();
    words_are_refused(&cluster, &[NAMES[active]]);

    // Then the one that runs the service: its groups move, once.
    let began = Instant::now();
    stop(&cluster, active);
    // One that is back before the others have placed its groups may get them again: it is a good place.
    let there = client.wait_for(LIMIT, |answer| answer.server == NAMES[standby]).unwrap();
    let moved = there.outcome.clone().unwrap();
    start(&cluster, active, &newer);
    println!("{} runs the newer version, after {:.1} s", NAMES[active], began.elapsed().as_secs_f64());
    assert_eq!(levels(&cluster), BTreeSet::from([1]), "the witness reads no more yet");
    words_are_refused(&cluster, &[tasuki_tests::hosts::witness::WITNESS]);

    // Then the witness; nothing else has to be done.
    witness.kill().unwrap();
    witness.run_as(newer.clone());
    witness.start().unwrap();
    await_true("level 2 everywhere", || Ok(levels(&cluster) == BTreeSet::from([2]))).unwrap();
    cluster.await_whole().unwrap();
    assert!((0..2).all(|at| status_of(&cluster, at).warnings.iter().all(|text| !text.contains("TSK-1843"))));

    let history = client.finish();
    let instances: BTreeSet<_> = history
        .samples()
        .iter()
        .filter_map(|sample| {
            Some((sample.outcome.as_ref().ok()?.server.clone(), sample.outcome.as_ref().ok()?.pid))
        })
        .collect();
    let both = BTreeSet::from([(first.server.clone(), first.pid), (moved.server.clone(), moved.pid)]);
    assert_eq!(instances, both, "the service was moved once, and never restarted otherwise");
    assert_eq!(history.overlaps().len(), 0, "two answered at a time: {:?}", history.overlaps());
    // Nobody was sent away but while the service moved. What was merely given up is the machine's speed.
    let sent_away: Vec<_> = history.samples().iter().filter(|sample| sample.refused()).collect();
    let otherwise: Vec<_> =
        sent_away.iter().filter(|sample| sample.ended < began || sample.asked > there.ended).collect();
    assert!(otherwise.is_empty(), "refused while nothing moved: {otherwise:?}");
    let longest = history.outage(began, Instant::now()).map_or(Duration::ZERO, |gap| gap.length());
    println!(
        "one planned move: outage {:.1} ms; of {} questions {} were refused, all during the move, and {} given up",
        longest.as_secs_f64() * 1e3,
        history.samples().len(),
        sent_away.len(),
        history.failed() - sent_away.len()
    );

    // Now the words are written, and every member reads them.
    let said = cluster.tasuki(active, &["group", "move", GROUP, "--because", WORDS]).unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    await_true("the words on both servers", || Ok(said_anywhere(&cluster))).unwrap();
    cluster.await_whole().unwrap();

    goes_not_back(&cluster, standby, &older, &newer);
}

/// The older version does not start on what the newer one has written, and says so; the service stays.
fn goes_not_back(cluster: &Cluster, at: usize, older: &Version, newer: &Version) {
    let client = Client::start(cluster.lab().client(), cluster.target(), Pace::default()).unwrap();
    let before = client.wait_for(LIMIT, |_| true).unwrap().outcome.unwrap();
    assert_ne!(before.server, NAMES[at], "the service has moved back");
    cluster.calls().shut_down(&cluster.data(at), NAMES[at]).unwrap();
    cluster.await_guard_end(at).unwrap();
    cluster.run_as(at, older.clone());
    cluster.start_guard(at).unwrap();
    await_true("the older version's refusal", || {
        Ok(fs::read_to_string(cluster.log(at)).unwrap_or_default().contains("TSK-1841"))
    })
    .unwrap();
    cluster.guard(at).unwrap().signal(nix::sys::signal::Signal::SIGTERM).unwrap();
    cluster.await_guard_end(at).unwrap();
    cluster.run_as(at, newer.clone());
    cluster.start_guard(at).unwrap();
    cluster.await_whole().unwrap();
    let after = client.wait_for(LIMIT, |_| true).unwrap().outcome.unwrap();
    assert_eq!(before, after, "the service noticed");
}
