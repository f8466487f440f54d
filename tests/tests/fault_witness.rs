//! Two real servers and a witness lose power and cables, while a client outside asks for the
//! service: it comes back as with three servers. The witness itself is lost, and nobody notices.
//!
//! Times are printed, never asserted. `TASUKI_DETECT` is the knob in milliseconds.

#![allow(clippy::unwrap_used)]

use std::{
    env, thread,
    time::{Duration, Instant},
};

use tasuki_proto::v1 as wire;
use tasuki_tests::{
    client::{Client, Pace},
    hosts::{Cluster, LIMIT, Make, fault::Fault, witness::Witness},
    network::Lab,
};

const SUFFERED: [Fault; 3] =
    [Fault::PowerLost { leads: true }, Fault::PowerLost { leads: false }, Fault::CutOff { leads: true }];

fn detect() -> Duration {
    Duration::from_millis(env::var("TASUKI_DETECT").map_or(2000, |text| text.parse().unwrap()))
}

fn suffer_all(cluster: &Cluster, what: &str) {
    for fault in SUFFERED {
        if fault == (Fault::PowerLost { leads: false }) {
            // The group goes where nobody leads.
            let (_, leader) = cluster.active_and_leader().unwrap();
            cluster.move_to((leader + 1) % cluster.size()).unwrap();
            cluster.await_whole().unwrap();
        }
        let round = cluster.suffer(fault).unwrap();
        println!("{what}: {round}");
    }
}

/// The service goes on when the witness is lost, and the servers say that they miss it.
fn lose_the_witness(cluster: &Cluster, witness: &mut Witness<'_>, what: &str) {
    let client = Client::start(cluster.lab().client(), cluster.target(), Pace::default()).unwrap();
    let before = client.wait_for(LIMIT, |_| true).unwrap().outcome.unwrap();
    let struck = Instant::now();
    witness.kill().unwrap();
    witness.await_state(wire::ServerState::NotHeard).unwrap();
    println!("{what}: the witness is missed {:.1} s after its end", struck.elapsed().as_secs_f64());
    thread::sleep(detect() * 3);
    witness.start().unwrap();
    cluster.await_whole().unwrap();
    let after = client.wait_for(LIMIT, |_| true).unwrap().outcome.unwrap();
    assert_eq!(before, after, "the service noticed");
    // On a busy machine one question or the other gets no answer in time, witness or not.
    let history = client.finish();
    let longest = history.outage(struck, Instant::now()).map_or(Duration::ZERO, |gap| gap.length());
    println!(
        "{what}: {} questions unanswered while the witness was away, longest {:.1} ms",
        history.failed(),
        longest.as_secs_f64() * 1e3
    );
}

fn two_servers_and_a_witness(kind: &str) {
    if let Some(why) = Lab::impossible() {
        println!("skipped, because {why}");
        return;
    }
    let mut make = Make::with_detect(detect()).unwrap();
    make.servers = 2;
    make.cluster = Witness::section(kind);
    let cluster = Cluster::prepare(make).unwrap().form().unwrap();
    let mut witness = Witness::join(&cluster).unwrap();
    cluster.await_whole().unwrap();
    let what = format!("two servers and a witness ({kind})");
    suffer_all(&cluster, &what);
    lose_the_witness(&cluster, &mut witness, &what);
    suffer_all(&cluster, &what);
}

#[test]
fn two_servers_with_a_record_at_a_witness_survive_what_three_survive() {
    two_servers_and_a_witness("register");
}

#[test]
fn two_servers_with_a_voting_witness_survive_what_three_survive() {
    two_servers_and_a_witness("voter");
}

/// For comparison.
#[test]
fn three_servers_survive_the_same() {
    if let Some(why) = Lab::impossible() {
        println!("skipped, because {why}");
        return;
    }
    let cluster = Cluster::start(Make::with_detect(detect()).unwrap()).unwrap();
    suffer_all(&cluster, "three servers");
}
