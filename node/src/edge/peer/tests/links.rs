//! Heartbeat datagrams on loopback addresses.

use std::{collections::BTreeMap, net::UdpSocket};

use tasuki_actors::ports::{Datagram, LinkSocket};
use tokio::{sync::mpsc, time::timeout};

use super::*;
use crate::edge::peer::datagram::Seal;

const KIKI: &str = "127.0.0.1";
const LALA: &str = "127.0.0.2";
const ELSEWHERE: &str = "127.0.0.3";

fn free_port() -> u16 {
    UdpSocket::bind((KIKI, 0)).unwrap().local_addr().unwrap().port()
}

async fn links(identity: &Identity, at: &str, port: u16, cuts: Arc<Cuts>) -> UdpLinks {
    let own = BTreeMap::from([("public".into(), at.parse().unwrap())]);
    let links = UdpLinks::new(identity, Incarnation(5), own, port, cuts);
    while links.bound().is_empty() {
        tokio::task::yield_now().await;
    }
    links
}

fn peers(of: &[(&str, &str)]) -> BTreeMap<ServerName, BTreeMap<tasuki_core::ids::NetworkName, IpAddr>> {
    let path = |address: &str| BTreeMap::from([("public".into(), address.parse().unwrap())]);
    of.iter().map(|(name, address)| ((*name).into(), path(address))).collect()
}

async fn next(incoming: &mut mpsc::Receiver<Datagram>) -> String {
    let datagram = timeout(TTL, incoming.recv()).await.unwrap().unwrap();
    assert_eq!(datagram.path, "public".into());
    format!("{} {}", datagram.from, String::from_utf8_lossy(&datagram.body))
}

#[tokio::test]
async fn datagrams_go_to_and_fro() {
    let cluster = Cluster::new();
    let port = free_port();
    let kiki = links(cluster.kiki(), KIKI, port, Cuts::none()).await;
    let lala = links(cluster.lala(), LALA, port, Cuts::none()).await;
    kiki.set_peers(peers(&[("lala", LALA)]));
    lala.set_peers(peers(&[("kiki", KIKI)]));
    let (mut to_kiki, mut to_lala) = (kiki.incoming().unwrap(), lala.incoming().unwrap());
    assert!(kiki.incoming().is_none(), "can be taken once");
    kiki.send(&"lala".into(), &"public".into(), b"one");
    assert_eq!(next(&mut to_lala).await, "kiki one");
    lala.send(&"kiki".into(), &"public".into(), b"two");
    assert_eq!(next(&mut to_kiki).await, "lala two");

    // Taken out and put in again: what kiki sends then is not taken for old.
    kiki.set_peers(BTreeMap::new());
    kiki.send(&"lala".into(), &"public".into(), b"lost");
    kiki.set_peers(peers(&[("lala", LALA)]));
    kiki.send(&"lala".into(), &"public".into(), b"three");
    assert_eq!(next(&mut to_lala).await, "kiki three");
    assert_eq!((kiki.counts().sent, kiki.counts().not_sent), (2, 1));
}

#[tokio::test]
async fn what_is_not_a_peers_fresh_datagram_is_dropped_and_counted() {
    let (cluster, other) = (Cluster::new(), Cluster::new());
    let port = free_port();
    let lala = links(cluster.lala(), LALA, port, Cuts::none()).await;
    lala.set_peers(peers(&[("kiki", KIKI)]));
    let mut incoming = lala.incoming().unwrap();
    let from_kiki = UdpSocket::bind((KIKI, 0)).unwrap();
    let from_elsewhere = UdpSocket::bind((ELSEWHERE, 0)).unwrap();
    let seal = |identity: &Identity| Seal::new(identity.link_key(), identity.lineage());
    let close = |seal: &Seal, from: &str, incarnation, counter, to: &str| {
        let incarnation = Incarnation(incarnation);
        seal.close(&from.into(), incarnation, counter, &to.into(), &"public".into(), b"x").unwrap()
    };
    let (ours, theirs) = (seal(cluster.kiki()), seal(other.kiki()));
    let forged_key = Seal::new(&[0; 32], cluster.kiki().lineage());
    let good = close(&ours, "kiki", 7, 100, "lala");

    let to = SocketAddr::new(LALA.parse().unwrap(), port);
    let cases = [
        (&from_kiki, good.clone()),
        (&from_kiki, good.clone()),
        (&from_kiki, close(&ours, "kiki", 6, 200, "lala")),
        (&from_elsewhere, close(&ours, "kiki", 7, 101, "lala")),
        (&from_kiki, close(&ours, "mimi", 1, 1, "lala")),
        (&from_kiki, close(&forged_key, "kiki", 7, 102, "lala")),
        (&from_kiki, close(&ours, "kiki", 7, 103, "mimi")),
        (&from_kiki, close(&theirs, "kiki", 7, 104, "lala")),
        (&from_kiki, good[..good.len() - 1].to_vec()),
        (&from_kiki, good[..20].to_vec()),
        (&from_kiki, Vec::new()),
    ];
    for (socket, datagram) in &cases {
        socket.send_to(datagram, to).unwrap();
    }
    // The last one that is good: when it is there, all before it have been looked at.
    from_kiki.send_to(&close(&ours, "kiki", 8, 0, "lala"), to).unwrap();
    assert_eq!(next(&mut incoming).await, "kiki x");
    assert_eq!(next(&mut incoming).await, "kiki x");
    // The one from elsewhere came over another socket: it may be a moment later.
    while lala.counts().wrong_source == 0 {
        tokio::task::yield_now().await;
    }
    let expected = LinkCounts {
        received: 2,
        replayed: 2,
        wrong_source: 1,
        unknown_sender: 1,
        forged: 3,
        other_lineage: 1,
        malformed: 2,
        ..LinkCounts::default()
    };
    assert_eq!(lala.counts(), expected);
    assert!(incoming.try_recv().is_err());
}

#[tokio::test]
async fn actors_that_are_behind_lose_datagrams_not_memory() {
    let cluster = Cluster::new();
    let port = free_port();
    let kiki = links(cluster.kiki(), KIKI, port, Cuts::none()).await;
    let lala = links(cluster.lala(), LALA, port, Cuts::none()).await;
    kiki.set_peers(peers(&[("lala", LALA)]));
    lala.set_peers(peers(&[("kiki", KIKI)]));
    let flood = async {
        while lala.counts().overflow == 0 {
            kiki.send(&"lala".into(), &"public".into(), b"x");
            tokio::task::yield_now().await;
        }
    };
    timeout(TTL, flood).await.unwrap();
    assert_eq!(lala.counts().received, 1024);
}

#[tokio::test]
async fn a_cut_path_carries_no_datagram() {
    let cluster = Cluster::new();
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cuts");
    std::fs::write(&file, "kiki public\n").unwrap();
    let kiki = links(cluster.kiki(), KIKI, port, Cuts::none()).await;
    let lala = links(cluster.lala(), LALA, port, Cuts::from_file(file.clone())).await;
    kiki.set_peers(peers(&[("lala", LALA)]));
    lala.set_peers(peers(&[("kiki", KIKI)]));
    lala.send(&"kiki".into(), &"public".into(), b"out");
    assert_eq!(lala.counts().not_sent, 1);
    kiki.send(&"lala".into(), &"public".into(), b"in");
    std::fs::remove_file(&file).unwrap();
    let mut incoming = lala.incoming().unwrap();
    let healed = async {
        loop {
            kiki.send(&"lala".into(), &"public".into(), b"again");
            if timeout(Duration::from_millis(20), incoming.recv()).await.is_ok() {
                return;
            }
        }
    };
    timeout(TTL, healed).await.unwrap();
}

#[tokio::test]
async fn an_address_that_changes_moves_the_socket() {
    let cluster = Cluster::new();
    let port = free_port();
    let lala = links(cluster.lala(), LALA, port, Cuts::none()).await;
    lala.set_own(BTreeMap::from([("public".into(), ELSEWHERE.parse().unwrap())]));
    while lala.bound().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(UdpSocket::bind((ELSEWHERE, port)).is_err());
    // The old one is closed as soon as its task has ended.
    let closed = async {
        while UdpSocket::bind((LALA, port)).is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(TTL, closed).await.unwrap();
}
