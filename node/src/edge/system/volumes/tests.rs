//! Two servers' volumes on files of this machine, over real streams with TLS; without devices, which
//! want a kernel that has them.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tasuki_core::{
    ids::{Epoch, Incarnation, RaftId, ServerName},
    mirror::{DiskState, LinkState, Role, state::PeerMode},
};
use tasuki_volume::block::{Door, Request};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::*;
use crate::identity::{KeyRequest, create_cluster};

const SIZE: u64 = 16 << 20;
const PATIENT: Duration = Duration::from_secs(60);

struct Host {
    name: ServerName,
    folder: PathBuf,
    at: SocketAddr,
    volumes: SystemVolumes,
    lineage: tasuki_core::ids::Lineage,
}

fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Host {
    fn new(identity: &Identity, folder: PathBuf) -> Self {
        let layout = Layout::open(&folder, &folder.join("run")).unwrap();
        let timing = Timing::from_detect(Duration::from_secs(4));
        Self {
            name: identity.server().clone(),
            at: free(),
            volumes: SystemVolumes::start(identity, &timing, Cuts::none(), &layout).unwrap(),
            lineage: identity.lineage().clone(),
            folder,
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data.img")
    }

    fn order(&self, peer: &ServerName, may_be_new: bool) -> VolumeOrder {
        let mut config = MirrorDiskConfig::of(self.data(), self.folder.join("meta.img"));
        config.size = Some(SIZE);
        VolumeOrder {
            volume: "data".into(),
            config,
            server: self.name.clone(),
            peers: BTreeSet::from([peer.clone()]),
            at: vec![self.at],
            lineage: self.lineage.clone(),
            may_be_new,
            start_over: false,
        }
    }
}

fn two(folder: &TempDir) -> (Host, Host) {
    let data = folder.path();
    let kiki = create_cluster(&data.join("kiki"), "demo", &"kiki".into(), &[]).unwrap();
    let lala = ServerName::from("lala");
    let request = KeyRequest::new(&data.join("lala"), &lala).unwrap();
    let issued = kiki.issue_server(&lala, RaftId(2), &[], &request.public_key(), Incarnation(0)).unwrap();
    let lala = request.store(issued, &kiki.new_token().unwrap()).unwrap();
    (Host::new(&kiki, data.join("kiki")), Host::new(&lala, data.join("lala")))
}

async fn next(events: &mut mpsc::UnboundedReceiver<VolumeEvent>) -> VolumeEvent {
    tokio::time::timeout(PATIENT, events.recv()).await.expect("an event in time").expect("an event")
}

async fn write(door: &Door, offset: u64, data: Bytes) {
    let (answer, answered) = oneshot::channel();
    door.requests.send(Request::Write { offset, data, durable: false, answer }).await.unwrap();
    tokio::time::timeout(PATIENT, answered).await.unwrap().unwrap().unwrap();
}

async fn flush(door: &Door) {
    let (answer, answered) = oneshot::channel();
    door.requests.send(Request::Flush { answer }).await.unwrap();
    tokio::time::timeout(PATIENT, answered).await.unwrap().unwrap().unwrap();
}

/// `here` is primary under `epoch`, and the peer's copy is brought up to date.
async fn open_with_peer(
    path: &SystemPath,
    events: &mut mpsc::UnboundedReceiver<VolumeEvent>,
    peer: &Host,
    epoch: Epoch,
) {
    path.store_epoch(epoch).await.unwrap();
    path.connect(&peer.name, &[peer.at], epoch);
    let VolumeEvent::PeerMet { welcome, .. } = next(events).await else { panic!("not met") };
    assert_eq!((welcome.server.as_str(), welcome.copy.epoch), (peer.name.as_str(), epoch));
    assert!(path.set_peer(&peer.name, PeerMode::Syncing).await);
    path.become_primary(epoch).await.unwrap();
    path.start_resync(&peer.name, true, false);
    loop {
        match next(events).await {
            VolumeEvent::Synced { peer: of } if of == peer.name => break,
            other => println!("{other:?}"),
        }
    }
    assert!(path.set_peer(&peer.name, PeerMode::Required).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_server_writes_is_on_both_over_tls() {
    let folder = TempDir::new().unwrap();
    let (kiki, lala) = two(&folder);
    let (here, mut events) = kiki.volumes.open_path(kiki.order(&lala.name, true)).await.unwrap();
    let there = lala.volumes.open(lala.order(&kiki.name, true)).await.unwrap();
    assert_eq!(here.copy().geometry.size, SIZE);
    open_with_peer(&here, &mut events, &lala, Epoch(1)).await;

    let view = here.view();
    assert_eq!((view.role, view.peers[0].link), (Role::Primary, LinkState::Connected));
    assert_eq!(there.path.view().role, Role::Secondary);

    let door = here.volume.door();
    const ROUNDS: u32 = 300;
    let began = Instant::now();
    for round in 0..u64::from(ROUNDS) {
        write(&door, round * 4096, Bytes::from(vec![u8::try_from(round % 251).unwrap(); 4096])).await;
    }
    println!("4 KiB written to both copies over TLS: {:?} each", began.elapsed() / ROUNDS);
    let began = Instant::now();
    for block in 4..16_u64 {
        write(&door, block << 20, Bytes::from(vec![u8::try_from(block).unwrap(); 1 << 20])).await;
    }
    flush(&door).await;
    println!("12 MiB in pieces of 1 MiB, and a flush: {:?}", began.elapsed());

    drop(door);
    // As a volume is closed: the peer is let go first, and is required to the end.
    here.disconnect(&lala.name);
    assert!(matches!(next(&mut events).await, VolumeEvent::PeerLost { .. }));
    tokio::time::timeout(PATIENT, here.become_secondary()).await.unwrap().unwrap();
    assert_eq!(fs::read(kiki.data()).unwrap(), fs::read(lala.data()).unwrap());
    assert_eq!(there.path.copy().disk, DiskState::Consistent);
    assert!(!there.path.copy().crashed && !here.copy().crashed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_counted_on_is_not_made_anew_and_one_area_is_opened_once() {
    let folder = TempDir::new().unwrap();
    let (kiki, lala) = two(&folder);
    let lost = kiki.volumes.open(kiki.order(&lala.name, false)).await;
    assert!(matches!(lost, Err(VolumeError::Lost(_))), "a blank area was taken for a good copy");
    let open = kiki.volumes.open(kiki.order(&lala.name, true)).await.unwrap();
    let mut other = lala.order(&kiki.name, true);
    other.config = kiki.order(&lala.name, true).config;
    let refused = lala.volumes.open(other).await.err().unwrap().to_string();
    assert!(refused.contains("TSK-1821"), "{refused}");
    // Closed, it may be opened again at once, as the copy that it is: also when somebody who looked at it
    // lets go a little later.
    let looks = open.path.clone();
    open.path.close().await;
    drop(open);
    let looked = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(looks);
    });
    let again = tokio::time::timeout(PATIENT, kiki.volumes.open(kiki.order(&lala.name, false))).await;
    again.unwrap().unwrap();
    looked.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r31_a_primary_of_an_older_epoch_is_told_so() {
    let folder = TempDir::new().unwrap();
    let (kiki, lala) = two(&folder);
    let mut here = kiki.volumes.open(kiki.order(&lala.name, true)).await.unwrap();
    let there = lala.volumes.open(lala.order(&kiki.name, true)).await.unwrap();
    there.path.store_epoch(Epoch(7)).await.unwrap();
    here.path.store_epoch(Epoch(3)).await.unwrap();
    here.path.connect(&lala.name, &[lala.at], Epoch(3));
    let event = next(&mut here.events).await;
    assert!(matches!(&event, VolumeEvent::PeerRefused { peer, .. } if *peer == lala.name), "{event:?}");
    assert_eq!(there.path.copy().epoch, Epoch(7));
}
