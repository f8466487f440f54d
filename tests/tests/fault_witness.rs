//! Two real servers and a witness lose power and cables, while a client outside asks for the
//! service: it comes back as with three servers. The witness itself is lost, and nobody notices.
//!
//! Times are printed, never asserted. `TASUKI_DETECT` is the knob in milliseconds.

#![allow(clippy::unwrap_used)]

use std::{
    env,
    fs::{self, OpenOptions},
    path::PathBuf,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use tasuki_proto::v1 as wire;
use tasuki_tests::{
    client::{Client, Pace},
    hosts::{Cluster, LIMIT, Make, await_true, fault::Fault},
    network::{Lab, Network},
};

const WITNESS: &str = "ruru";
const SUFFERED: [Fault; 3] =
    [Fault::PowerLost { leads: true }, Fault::PowerLost { leads: false }, Fault::CutOff { leads: true }];

fn detect() -> Duration {
    Duration::from_millis(env::var("TASUKI_DETECT").map_or(2000, |text| text.parse().unwrap()))
}

/// A witness process on the machine outside, where the client is.
struct Witness<'a> {
    cluster: &'a Cluster,
    folder: PathBuf,
    keeper: Option<Child>,
}

impl<'a> Witness<'a> {
    fn join(cluster: &'a Cluster) -> Self {
        let folder = cluster.lab().folder().join(WITNESS);
        let token = cluster.calls().token(&cluster.data(0), WITNESS).unwrap();
        let member = Network::Public.address(0).to_string();
        let joined = cluster
            .lab()
            .client()
            .command(&cluster.make().program)
            .args(["witness", "join", &member, "--token", &token, "--name", WITNESS, "--data"])
            .arg(&folder)
            .output()
            .unwrap();
        assert!(joined.status.success(), "{joined:?}");
        let mut witness = Self { cluster, folder, keeper: None };
        witness.start();
        witness
    }

    fn start(&mut self) {
        let log = OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        let mut command = self.cluster.lab().client().command(&self.cluster.make().program);
        command.args(["witness", "--data"]).arg(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.keeper = Some(command.spawn().unwrap());
    }

    fn log(&self) -> PathBuf {
        self.folder.with_extension("log")
    }

    /// Ends like a machine that loses its power.
    fn kill(&mut self) {
        let processes = self.cluster.lab().client().processes().unwrap();
        for process in processes.iter().filter(|process| process.words.iter().any(|word| word == "witness")) {
            process.signal(Signal::SIGKILL).unwrap();
        }
        if let Some(mut keeper) = self.keeper.take() {
            keeper.wait().unwrap();
        }
    }

    fn state(&self, server: usize) -> Option<i32> {
        let status = self.cluster.calls().status(&self.cluster.data(server)).ok()?;
        status.servers.iter().find(|one| one.name == WITNESS).map(|witness| witness.state)
    }

    fn await_state(&self, wanted: wire::ServerState) {
        let both = || Ok((0..2).all(|server| self.state(server) == Some(i32::from(wanted))));
        await_true("what the servers say of the witness", both).unwrap();
    }
}

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            println!("the witness said:\n{log}\n{}", self.cluster.last_words(40));
        }
        self.kill();
    }
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
    witness.kill();
    witness.await_state(wire::ServerState::NotHeard);
    println!("{what}: the witness is missed {:.1} s after its end", struck.elapsed().as_secs_f64());
    thread::sleep(detect() * 3);
    witness.start();
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
    make.cluster =
        format!("\n[[witness]]\nname = \"{WITNESS}\"\naddress = \"10.77.0.1\"\nkind = \"{kind}\"\n");
    let cluster = Cluster::prepare(make).unwrap().form().unwrap();
    let mut witness = Witness::join(&cluster);
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
