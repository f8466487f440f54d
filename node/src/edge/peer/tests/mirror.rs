//! Streams of mirror data: who may open one, what comes through, and when a cut cable is noticed.

use tasuki_core::ids::VolumeName;
use tokio::{io::AsyncReadExt, sync::mpsc, time::Instant};

use super::*;

const SETTINGS: StreamSettings = StreamSettings {
    connect: Duration::from_secs(5),
    beat: Duration::from_millis(200),
    silence: Duration::from_millis(500),
};

/// Where no cut is to be noticed, none is seen in a machine that has no time for an answer.
const PATIENT: StreamSettings = StreamSettings {
    connect: Duration::from_secs(60),
    beat: Duration::from_secs(30),
    silence: Duration::from_secs(60),
};

/// Takes streams, and hands them to a test. A copy named `hangs` never lets its thread go on.
struct Taker(mpsc::UnboundedSender<Arrived>);

impl Acceptor for Taker {
    fn has(&self, volume: &VolumeName) -> bool {
        matches!(volume.as_str(), "data" | "hangs")
    }

    fn accept(&self, stream: Arrived) {
        if stream.volume.as_str() == "hangs" {
            let _to_whoever_waits = self.0.send(stream);
            loop {
                std::thread::park();
            }
        }
        let _over = self.0.send(stream);
    }
}

fn free() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn door(
    identity: &Identity,
    settings: StreamSettings,
) -> (MirrorDoor, SocketAddr, mpsc::UnboundedReceiver<Arrived>) {
    let (send, arrived) = mpsc::unbounded_channel();
    let door = MirrorDoor::start(identity, settings, Cuts::none(), Arc::new(Taker(send))).unwrap();
    let at = free();
    door.listen(&[at]).unwrap();
    (door, at, arrived)
}

#[tokio::test]
async fn frames_of_a_mebibyte_go_both_ways_in_order() {
    let cluster = Cluster::new();
    let (_door, at, mut arrived) = door(cluster.kiki(), PATIENT);
    let dialer = MirrorDialer::new(cluster.lala().clone(), PATIENT, Cuts::none());
    let (sink, mut source) = dialer.dial(&"kiki".into(), &[at], &"data".into()).await.unwrap();
    let there = arrived.recv().await.unwrap();
    assert_eq!((there.from.as_str(), there.volume.as_str()), ("lala", "data"));
    let Arrived { sink: back, source: mut incoming, .. } = there;
    // More than all windows and queues hold: the reader has to be what lets the writer go on.
    const FRAMES: u8 = 100;
    let echo = tokio::spawn(async move {
        while let Ok(Some((header, data))) = incoming.next().await {
            back.send(header, data).await.unwrap();
        }
    });
    let sending = tokio::spawn(async move {
        for number in 0..FRAMES {
            let data = Bytes::from(vec![number; 1 << 20]);
            sink.send(Bytes::from(vec![number]), data).await.unwrap();
        }
    });
    for number in 0..FRAMES {
        let (header, data) = source.next().await.unwrap().unwrap();
        assert_eq!((header[0], data.len()), (number, 1 << 20));
        assert!(data.iter().all(|byte| *byte == number));
    }
    sending.await.unwrap(); // and with it the sink is dropped
    assert_eq!(source.next().await.unwrap(), None);
    echo.await.unwrap();
}

#[tokio::test]
async fn r24_only_a_server_of_the_cluster_opens_a_stream_and_only_to_a_volume_that_is_open() {
    let cluster = Cluster::new();
    let (_door, at, _arrived) = door(cluster.kiki(), PATIENT);
    let lala = MirrorDialer::new(cluster.lala().clone(), PATIENT, Cuts::none());
    let refused = lala.dial(&"kiki".into(), &[at], &"other".into()).await.err().unwrap().to_string();
    assert!(refused.contains("not open there"), "{refused}");
    let stranger = MirrorDialer::new(Cluster::new().lala().clone(), PATIENT, Cuts::none());
    let refused = stranger.dial(&"kiki".into(), &[at], &"data".into()).await.err().unwrap().to_string();
    assert!(refused.contains("TSK-1111"), "{refused}");
    // Another server of the cluster does not pass for the one that was meant.
    let refused = lala.dial(&"mimi".into(), &[at], &"data".into()).await.err().unwrap().to_string();
    assert!(refused.contains("TSK-1111"), "{refused}");
    let nobody = lala.dial(&"kiki".into(), &[free()], &"data".into()).await;
    assert!(nobody.is_err());
    assert!(lala.dial(&"kiki".into(), &[], &"data".into()).await.is_err());
}

#[tokio::test]
async fn a_cut_cable_swallows_frames_and_is_noticed() {
    let cluster = Cluster::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cuts");
    let cuts = Cuts::from_file(file.clone());
    cuts.set_addresses([("127.0.0.1".parse().unwrap(), "mirror".into())]);
    let (_door, at, mut arrived) = door(cluster.kiki(), SETTINGS);
    let dialer = MirrorDialer::new(cluster.lala().clone(), SETTINGS, cuts);
    let (sink, mut source) = dialer.dial(&"kiki".into(), &[at], &"data".into()).await.unwrap();
    let mut there = arrived.recv().await.unwrap();
    sink.send(Bytes::from_static(b"before"), Bytes::new()).await.unwrap();
    assert_eq!(there.source.next().await.unwrap().unwrap().0, "before");
    std::fs::write(&file, "kiki mirror\n").unwrap();
    let began = Instant::now();
    let noticed = tokio::time::timeout(TTL, source.next()).await.unwrap();
    assert!(noticed.is_err());
    assert!(began.elapsed() >= SETTINGS.beat + SETTINGS.silence, "sooner than a real cut is noticed");
    sink.send(Bytes::from_static(b"swallowed"), Bytes::new()).await.unwrap();
    drop((sink, source));
    assert!(!matches!(there.source.next().await, Ok(Some(_))), "a frame came through a cut cable");
    // And nobody is reached through it.
    let quick = StreamSettings { connect: Duration::from_millis(100), ..SETTINGS };
    dialer.set_times(quick);
    assert!(dialer.dial(&"kiki".into(), &[at], &"data".into()).await.is_err());
    std::fs::remove_file(&file).unwrap();
    dialer.set_times(SETTINGS);
    let healed = async {
        while dialer.dial(&"kiki".into(), &[at], &"data".into()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(TTL, healed).await.unwrap();
}

#[tokio::test]
async fn r34_a_copy_whose_disk_hangs_holds_no_other() {
    let cluster = Cluster::new();
    let (_door, at, mut arrived) = door(cluster.kiki(), PATIENT);
    let dialer = MirrorDialer::new(cluster.lala().clone(), PATIENT, Cuts::none());
    // Its answer goes out or not: the thread hangs at about that time.
    let (there, volume) = (dialer.clone(), "hangs".into());
    let hanging = tokio::spawn(async move { there.dial(&"kiki".into(), &[at], &volume).await });
    let _stuck = arrived.recv().await.unwrap();
    let (sink, _source) = dialer.dial(&"kiki".into(), &[at], &"data".into()).await.unwrap();
    let mut other = arrived.recv().await.unwrap();
    sink.send(Bytes::from_static(b"goes on"), Bytes::new()).await.unwrap();
    assert_eq!(other.source.next().await.unwrap().unwrap().0, "goes on");
    hanging.abort();
}

#[tokio::test]
async fn who_connects_and_says_nothing_is_not_waited_for() {
    let cluster = Cluster::new();
    let quick = StreamSettings { connect: Duration::from_millis(200), ..PATIENT };
    let (_door, at, _arrived) = door(cluster.kiki(), quick);
    let mut silent = tokio::net::TcpStream::connect(at).await.unwrap();
    let ended = tokio::time::timeout(TTL, silent.read_u8()).await.expect("it is still open");
    assert!(ended.is_err());
}

/// What TLS and gRPC cost a frame; printed, not asserted.
#[tokio::test]
async fn the_way_of_a_small_frame_there_and_back() {
    let cluster = Cluster::new();
    let (_door, at, mut arrived) = door(cluster.kiki(), PATIENT);
    let dialer = MirrorDialer::new(cluster.lala().clone(), PATIENT, Cuts::none());
    let (sink, mut source) = dialer.dial(&"kiki".into(), &[at], &"data".into()).await.unwrap();
    let Arrived { sink: back, source: mut incoming, .. } = arrived.recv().await.unwrap();
    tokio::spawn(async move {
        while let Ok(Some((header, _))) = incoming.next().await {
            back.send(header, Bytes::new()).await.unwrap();
        }
    });
    const ROUNDS: u32 = 500;
    let data = Bytes::from(vec![7; 4096]);
    let began = Instant::now();
    for _ in 0..ROUNDS {
        sink.send(Bytes::from_static(b"header"), data.clone()).await.unwrap();
        assert_eq!(source.next().await.unwrap().unwrap().0, "header");
    }
    println!("4 KiB there and a word back over TLS: {:?} each", began.elapsed() / ROUNDS);
}
