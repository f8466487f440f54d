//! Heartbeats between two network namespaces, whose cable and addresses come and go.

use std::{
    collections::BTreeMap,
    fs::File,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, setns};
use tasuki_actors::ports::LinkSocket;
use tasuki_core::ids::{Incarnation, ServerName};

use super::{Cluster, Cuts, Identity, UdpLinks};

const PATIENCE: Duration = Duration::from_secs(20);

fn ip(arguments: &str) -> bool {
    let run = Command::new("ip").args(arguments.split_whitespace()).output();
    run.is_ok_and(|output| output.status.success())
}

/// Two namespaces joined by one cable; removed when dropped.
struct Cable {
    left: String,
    right: String,
}

impl Cable {
    fn new() -> Option<Self> {
        let id = std::process::id();
        let cable = Self { left: format!("tskl{id}"), right: format!("tskr{id}") };
        let (left, right) = (&cable.left, &cable.right);
        let made = ip(&format!("netns add {left}"))
            && ip(&format!("netns add {right}"))
            && ip(&format!("-n {left} link add cable type veth peer name cable netns {right}"))
            && ip(&format!("-n {right} addr add 10.99.0.2/24 dev cable"))
            && ip(&format!("-n {right} link set cable up"))
            && ip(&format!("-n {left} link set cable up"));
        made.then_some(cable)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.left));
        ip(&format!("netns del {}", self.right));
    }
}

/// A server in a namespace of its own: beats every few milliseconds, reports what it hears.
fn server(
    namespace: &str,
    identity: Identity,
    (own, peer, peer_at): (&'static str, &'static str, &'static str),
    stop: Arc<AtomicBool>,
) -> (mpsc::Receiver<()>, JoinHandle<()>) {
    let (heard, hears) = mpsc::channel();
    let namespace = File::open(format!("/run/netns/{namespace}")).unwrap();
    let thread = std::thread::spawn(move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let own = BTreeMap::from([("public".into(), own.parse().unwrap())]);
            let links = UdpLinks::new(&identity, Incarnation(1), own, 29_005, Cuts::none());
            let peer = ServerName::new(peer);
            let path = BTreeMap::from([("public".into(), peer_at.parse().unwrap())]);
            links.set_peers(BTreeMap::from([(peer.clone(), path)]));
            let mut incoming = links.incoming().unwrap();
            let mut beat = tokio::time::interval(Duration::from_millis(5));
            while !stop.load(Ordering::Relaxed) {
                tokio::select! {
                    Some(_) = incoming.recv() => drop(heard.send(())),
                    _ = beat.tick() => links.send(&peer, &"public".into(), b"beat"),
                }
            }
        });
    });
    (hears, thread)
}

fn hears(from: &mpsc::Receiver<()>) {
    while from.try_recv().is_ok() {}
    from.recv_timeout(PATIENCE).expect("beats arrive");
}

/// Nothing for many beats.
fn silence(from: &mpsc::Receiver<()>) {
    let end = Instant::now() + PATIENCE;
    while from.recv_timeout(Duration::from_millis(200)).is_ok() {
        assert!(Instant::now() < end, "beats must stop");
    }
}

#[test]
fn heartbeats_survive_cut_cables_and_missing_addresses() {
    let Some(cable) = Cable::new() else {
        println!("skipped, because network namespaces cannot be made here (needs root and `ip`)");
        return;
    };
    let left = |what: &str| assert!(ip(&format!("-n {} {what}", cable.left)), "{what}");
    let cluster = Cluster::new();
    let stop = Arc::new(AtomicBool::new(false));
    let ends = |identity: &Identity, namespace: &str, names| {
        server(namespace, identity.clone(), names, stop.clone())
    };
    let (at_left, one) = ends(cluster.kiki(), &cable.left, ("10.99.0.1", "lala", "10.99.0.2"));
    let (at_right, two) = ends(cluster.lala(), &cable.right, ("10.99.0.2", "kiki", "10.99.0.1"));

    // The address is missing at the start, and comes.
    silence(&at_right);
    left("addr add 10.99.0.1/24 dev cable");
    hears(&at_right);
    hears(&at_left);
    // The cable is cut, and heals.
    left("link set cable down");
    silence(&at_right);
    silence(&at_left);
    left("link set cable up");
    hears(&at_right);
    hears(&at_left);
    // The address goes, and comes back.
    left("addr del 10.99.0.1/24 dev cable");
    silence(&at_right);
    silence(&at_left);
    left("addr add 10.99.0.1/24 dev cable");
    hears(&at_right);
    hears(&at_left);

    stop.store(true, Ordering::Relaxed);
    one.join().unwrap();
    two.join().unwrap();
}
