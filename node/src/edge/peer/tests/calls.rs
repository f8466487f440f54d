//! Who may call, and over which path.

use std::time::Instant;

use tasuki_actors::ports::PeerTransport;
use tasuki_proto::v1::{PeerRequest, peer_client::PeerClient};
use tonic::{
    Code, Status,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

use super::*;
use crate::identity::{Role, server_domain};

#[tokio::test]
async fn a_server_of_the_cluster_gets_through() {
    let cluster = Cluster::new();
    let kiki = Running::start(cluster.kiki(), &["127.0.0.1"], Cuts::none()).await;
    let peers = peers_of(cluster.lala());
    let to = peer("kiki", &["127.0.0.1"], kiki.address.port());
    for method in [
        PeerMethod::Append,
        PeerMethod::Vote,
        PeerMethod::PreVote,
        PeerMethod::TransferLeader,
        PeerMethod::Propose,
        PeerMethod::Snapshot,
    ] {
        let answer = peers.call(&to, method, Bytes::from_static(b"four"), TTL).await.unwrap();
        assert_eq!(answer, format!("lala {method:?} 4"));
        let last = kiki.echo.last.lock().unwrap().clone();
        assert_eq!(last, Some(("lala".into(), method, Bytes::from_static(b"four"))));
    }
}

/// One call that says what the client wants to say.
async fn raw_call(to: SocketAddr, tls: ClientTlsConfig, lineage: &str) -> Result<(), Status> {
    let tls = tls.domain_name(server_domain(&"kiki".into()));
    let endpoint = Endpoint::from_shared(format!("https://{to}")).unwrap().tls_config(tls).unwrap();
    let mut client = PeerClient::new(endpoint.connect_lazy());
    client.append(PeerRequest { lineage: lineage.into(), body: Bytes::new() }).await.map(drop)
}

#[tokio::test]
async fn everybody_else_is_told_why_not() {
    let cluster = Cluster::new();
    let (kiki, lineage) = (cluster.kiki(), cluster.kiki().lineage().as_str());
    let running = Running::start(kiki, &["127.0.0.1"], Cuts::none()).await;

    let nobody = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(kiki.ca_pem()));
    let status = raw_call(running.address, nobody, lineage).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().contains("none was presented (TSK-1110)"), "{status}");

    let admin = kiki.issue_operator("aoi", Role::Admin, Duration::from_secs(3600)).unwrap().0;
    let status = raw_call(running.address, admin.client_tls(kiki.ca_pem(), None), lineage).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("admin aoi is not one (TSK-1112)"), "{status}");

    assert_eq!(running.echo.calls(), 0);
    let lala = cluster.lala().client_tls(&"kiki".into());
    raw_call(running.address, lala, lineage).await.unwrap();
    assert_eq!(running.echo.calls(), 1);
}

#[tokio::test]
async fn r24_a_call_of_another_lineage_is_refused() {
    // The right certificate, but of a registry that was replaced.
    let cluster = Cluster::new();
    let running = Running::start(cluster.kiki(), &["127.0.0.1"], Cuts::none()).await;
    let lala = cluster.lala().client_tls(&"kiki".into());
    let status = raw_call(running.address, lala, "another").await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("TSK-1111"), "{status}");
    assert_eq!(running.echo.calls(), 0);
}

#[tokio::test]
async fn another_cluster_of_the_same_name_is_refused_on_both_sides() {
    let (ours, theirs) = (Cluster::new(), Cluster::new());
    let kiki = Running::start(ours.kiki(), &["127.0.0.1"], Cuts::none()).await;
    let to = peer("kiki", &["127.0.0.1"], kiki.address.port());
    let error =
        peers_of(theirs.lala()).call(&to, PeerMethod::Vote, Bytes::new(), TTL).await.unwrap_err().to_string();
    assert!(error.contains("its certificate is of another cluster (TSK-1111)"), "{error}");

    // A client that trusts our authority, with a certificate of theirs.
    let stranger = theirs.kiki().issue_operator("aoi", Role::Admin, Duration::from_secs(3600)).unwrap().0;
    let tls = stranger.client_tls(ours.kiki().ca_pem(), None);
    let status = raw_call(kiki.address, tls, ours.kiki().lineage().as_str()).await.unwrap_err();
    let text = crate::identity::explain_tls(&status).unwrap();
    assert!(text.contains("our certificate is of another cluster"), "{text}");
    assert_eq!(kiki.echo.calls(), 0);
}

#[tokio::test]
async fn another_server_at_the_address_is_noticed() {
    let cluster = Cluster::new();
    let lala = Running::start(cluster.lala(), &["127.0.0.1"], Cuts::none()).await;
    let to = peer("kiki", &["127.0.0.1"], lala.address.port());
    let error = peers_of(&cluster.servers[2]).call(&to, PeerMethod::Vote, Bytes::new(), TTL).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("another server of the cluster answers there"), "{error}");
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_is_not_asked_for_twice() {
    let cluster = Cluster::new();
    let addresses = ["127.0.0.1", "127.0.0.2"];
    let kiki = Running::start(cluster.kiki(), &addresses, Cuts::none()).await;
    let (peers, to) = (peers_of(cluster.lala()), peer("kiki", &addresses, kiki.address.port()));
    for body in ["refuse", "timeout"] {
        // A slow machine may hedge: what counts is that the error itself starts no second call.
        let peers =
            GrpcPeers::new(cluster.lala().clone(), PeerSettings { hedge: TTL, ..settings() }, Cuts::none());
        let before = kiki.echo.calls();
        let error = peers.call(&to, PeerMethod::Propose, body.into(), TTL).await.unwrap_err();
        assert!(matches!(error, PeerError::Refused(_)), "{error}");
        assert_eq!(kiki.echo.calls(), before + 1);
    }
    assert!(peers.silent_addresses(&"kiki".into()).is_empty());
}

#[tokio::test]
async fn r21_a_path_that_swallows_everything_costs_one_hedge_delay() {
    let cluster = Cluster::new();
    let addresses = ["127.0.0.2", "127.0.0.1"];
    let mut listeners = listen(&addresses).await;
    // Accepts connections (the kernel does) and never says a word.
    let _black_hole = listeners.remove(0);
    let port = listeners[0].local_addr().unwrap().port();
    drop(listeners);
    let kiki = cluster.kiki();
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let mut server = Server::builder().tls_config(kiki.server_tls()).unwrap();
    let service = peer_service(Echo::default(), kiki, Cuts::none());
    tokio::spawn(server.add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));

    let (peers, to) = (peers_of(cluster.lala()), peer("kiki", &addresses, port));
    let start = Instant::now();
    peers.call(&to, PeerMethod::Append, Bytes::new(), TTL).await.unwrap();
    let first = start.elapsed();
    // Hedge delay, two handshakes at the same time, and a busy machine.
    assert!(first >= HEDGE && first < HEDGE + Duration::from_secs(1), "{first:?}");
    assert_eq!(peers.silent_addresses(&"kiki".into()), ["127.0.0.2".parse::<IpAddr>().unwrap()]);

    let mut times = Vec::new();
    for _ in 0..21 {
        let start = Instant::now();
        peers.call(&to, PeerMethod::Append, Bytes::new(), TTL).await.unwrap();
        times.push(start.elapsed());
    }
    times.sort();
    println!("first call past a black hole {first:?}, then median {:?}", times[10]);
    assert!(times[10] < HEDGE, "the working path is tried first: {times:?}");
}

#[tokio::test]
async fn a_path_that_refuses_costs_nothing_and_no_path_is_said_so() {
    let cluster = Cluster::new();
    let addresses = ["127.0.0.2", "127.0.0.1"];
    let kiki = Running::start(cluster.kiki(), &["127.0.0.1"], Cuts::none()).await;
    let slow = PeerSettings { hedge: TTL, ..settings() };
    let peers = GrpcPeers::new(cluster.lala().clone(), slow, Cuts::none());
    let to = peer("kiki", &addresses, kiki.address.port());
    peers.call(&to, PeerMethod::Append, Bytes::new(), TTL).await.unwrap();

    let nobody = peer("mimi", &addresses[..1], kiki.address.port());
    let error = peers.call(&nobody, PeerMethod::Append, Bytes::new(), TTL).await.unwrap_err();
    assert!(matches!(error, PeerError::Unreachable(_)), "{error}");
    let error = peers.call(&peer("nana", &[], 1), PeerMethod::Append, Bytes::new(), TTL).await.unwrap_err();
    assert!(error.to_string().contains("has no address"), "{error}");
}

#[tokio::test]
async fn a_call_ends_when_its_time_is_up() {
    let cluster = Cluster::new();
    let kiki = Running::start(cluster.kiki(), &["127.0.0.1"], Cuts::none()).await;
    let to = peer("kiki", &["127.0.0.1"], kiki.address.port());
    let (start, ttl) = (Instant::now(), Duration::from_millis(150));
    let error = peers_of(cluster.lala()).call(&to, PeerMethod::Append, "wait".into(), ttl).await.unwrap_err();
    assert!(matches!(error, PeerError::Timeout(t) if t == ttl), "{error}");
    assert!(start.elapsed() >= ttl && start.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_peer_that_was_restarted_is_found_again() {
    let cluster = Cluster::new();
    let kiki = Running::start(cluster.kiki(), &["127.0.0.1"], Cuts::none()).await;
    let (peers, to) = (peers_of(cluster.lala()), peer("kiki", &["127.0.0.1"], kiki.address.port()));
    peers.call(&to, PeerMethod::Append, Bytes::new(), TTL).await.unwrap();
    drop(kiki);
    while peers.call(&to, PeerMethod::Append, Bytes::new(), TTL).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let listener = TcpListener::bind(("127.0.0.1", to.port)).await.unwrap();
    let mut server = Server::builder().tls_config(cluster.kiki().server_tls()).unwrap();
    let service = peer_service(Echo::default(), cluster.kiki(), Cuts::none());
    tokio::spawn(server.add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
    let found = async {
        while peers.call(&to, PeerMethod::Append, Bytes::new(), TTL).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(TTL, found).await.unwrap();
}

#[tokio::test]
async fn a_cut_path_is_avoided_and_found_again_when_it_heals() {
    let cluster = Cluster::new();
    let addresses = ["127.0.0.1", "127.0.0.2"];
    let kiki = Running::start(cluster.kiki(), &addresses, Cuts::none()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cuts");
    std::fs::write(&file, "kiki interconnect\n").unwrap();
    let cuts = Cuts::from_file(file.clone());
    let networks = ["interconnect", "public"];
    cuts.set_addresses(addresses.iter().zip(networks).map(|(a, n)| (a.parse().unwrap(), n.into())));
    let peers = GrpcPeers::new(cluster.lala().clone(), settings(), cuts);
    let to = peer("kiki", &addresses, kiki.address.port());
    peers.call(&to, PeerMethod::Append, Bytes::new(), TTL).await.unwrap();
    assert_eq!(peers.silent_addresses(&"kiki".into()), ["127.0.0.1".parse::<IpAddr>().unwrap()]);

    // Every cable out.
    std::fs::write(&file, "kiki *\n").unwrap();
    let short = Duration::from_millis(100);
    let gone = async {
        while peers.call(&to, PeerMethod::Append, Bytes::new(), short).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(TTL, gone).await.unwrap();

    std::fs::remove_file(&file).unwrap();
    let healed = async {
        loop {
            let answered = peers.call(&to, PeerMethod::Append, Bytes::new(), short).await.is_ok();
            if answered && peers.silent_addresses(&"kiki".into()).is_empty() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(TTL, healed).await.unwrap();
}

#[tokio::test]
async fn a_cable_cut_at_the_other_end_lets_nothing_in() {
    let cluster = Cluster::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cuts");
    std::fs::write(&file, "lala public\n").unwrap();
    let cuts = Cuts::from_file(file);
    cuts.set_addresses([("127.0.0.1".parse().unwrap(), "public".into())]);
    let kiki = Running::start(cluster.kiki(), &["127.0.0.1"], cuts).await;
    let to = peer("kiki", &["127.0.0.1"], kiki.address.port());
    let short = Duration::from_millis(300);
    let error = peers_of(cluster.lala()).call(&to, PeerMethod::Append, Bytes::new(), short).await;
    assert!(matches!(error, Err(PeerError::Timeout(_))), "{error:?}");
    let mimi = peers_of(&cluster.servers[2]);
    mimi.call(&to, PeerMethod::Append, Bytes::new(), TTL).await.unwrap();
}
