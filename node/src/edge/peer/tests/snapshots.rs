//! Large bodies.

use tasuki_actors::ports::PeerTransport;
use tasuki_proto::v1::{SnapshotChunk, peer_client::PeerClient};
use tonic::{Code, transport::Endpoint};

use super::*;

fn large() -> Bytes {
    let mut body = vec![0u8; 20 << 20];
    for (i, byte) in body.iter_mut().enumerate() {
        *byte = u8::try_from(i * 31 % 251).unwrap();
    }
    Bytes::from(body)
}

#[tokio::test]
async fn twenty_megabytes_arrive_whole() {
    let cluster = Cluster::new();
    let kiki = Running::start(cluster.kiki(), &["127.0.0.1"], Cuts::none()).await;
    let (peers, to) = (peers_of(cluster.lala()), peer("kiki", &["127.0.0.1"], kiki.address.port()));
    let body = large();
    let patience = Duration::from_secs(60);
    let answer = peers.call(&to, PeerMethod::Snapshot, body.clone(), patience).await.unwrap();
    assert_eq!(answer, format!("lala Snapshot {}", body.len()));
    let (_, _, arrived) = kiki.echo.last.lock().unwrap().clone().unwrap();
    assert!(arrived == body);
    // Nothing at all is a snapshot too.
    let answer = peers.call(&to, PeerMethod::Snapshot, Bytes::new(), TTL).await.unwrap();
    assert_eq!(answer, "lala Snapshot 0");
}

#[tokio::test]
async fn a_snapshot_that_stalls_goes_over_the_next_path() {
    let cluster = Cluster::new();
    let addresses = ["127.0.0.2", "127.0.0.1"];
    let kiki = Running::start(cluster.kiki(), &addresses, Cuts::none()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cuts");
    std::fs::write(&file, "kiki public\n").unwrap();
    let cuts = Cuts::from_file(file);
    cuts.set_addresses([("127.0.0.2".parse().unwrap(), "public".into())]);
    let peers = GrpcPeers::new(cluster.lala().clone(), settings(), cuts);
    let to = peer("kiki", &addresses, kiki.address.port());
    let answer = peers.call(&to, PeerMethod::Snapshot, Bytes::from(vec![1; 1 << 20]), TTL).await.unwrap();
    assert_eq!(answer, "lala Snapshot 1048576");
}

#[tokio::test]
async fn a_snapshot_may_take_long_to_install_but_not_for_ever() {
    let cluster = Cluster::new();
    let kiki = Running::start(cluster.kiki(), &["127.0.0.1"], Cuts::none()).await;
    let (peers, to) = (peers_of(cluster.lala()), peer("kiki", &["127.0.0.1"], kiki.address.port()));
    // Longer than a stall, and nothing moves meanwhile.
    let ttl = settings().stall * 3;
    let error = peers.call(&to, PeerMethod::Snapshot, "wait".into(), ttl).await.unwrap_err();
    assert!(matches!(error, PeerError::Timeout(_)), "{error}");
    assert_eq!(kiki.echo.calls(), 1);
}

#[tokio::test]
async fn a_snapshot_that_is_not_what_it_says_is_refused() {
    let cluster = Cluster::new();
    let kiki = Running::start(cluster.kiki(), &["127.0.0.1"], Cuts::none()).await;
    let lineage = cluster.kiki().lineage().to_string();
    let endpoint = Endpoint::from_shared(format!("https://{}", kiki.address)).unwrap();
    let tls = cluster.lala().client_tls(&"kiki".into());
    let mut client = PeerClient::new(endpoint.tls_config(tls).unwrap().connect_lazy());
    let chunk = |lineage: &str, total, length| SnapshotChunk {
        lineage: lineage.into(),
        total,
        data: Bytes::from(vec![0; length]),
    };
    let cases = [
        (vec![], Code::InvalidArgument),
        (vec![chunk("another", 3, 3)], Code::FailedPrecondition),
        (vec![chunk(&lineage, 3, 2)], Code::InvalidArgument),
        (vec![chunk(&lineage, 3, 2), chunk("", 0, 2)], Code::InvalidArgument),
        (vec![chunk(&lineage, u64::MAX, 2)], Code::ResourceExhausted),
    ];
    for (pieces, code) in cases {
        let status = client.snapshot(futures::stream::iter(pieces.clone())).await.unwrap_err();
        assert_eq!(status.code(), code, "{pieces:?}: {status}");
    }
    assert_eq!(kiki.echo.calls(), 0);
}
