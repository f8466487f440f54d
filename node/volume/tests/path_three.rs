//! Three copies: one is lost, or two, and the service goes on with what is left. What a test does here
//! the mirror's machine decides in a node.
#![allow(clippy::unwrap_used)]

mod path_common;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use path_common::{Cable, EXTENT, SIZE, Wire, begin_write, block, flush, read, run, write};
use tasuki_core::{
    ids::{Epoch, Generation, Lineage, ServerName, VolumeName},
    mirror::{geometry::Geometry, state::PeerMode},
};
use tasuki_storage::volume::{Management, MemoryArea, Owner};
use tasuki_volume::{
    block::{BlockError, Door},
    path::{Dialer, Duplex, Options, Reception, StreamEnded, Volume, VolumeEvent},
};
use tokio::sync::watch;

/// A cable to each server.
#[derive(Clone)]
struct Cables(BTreeMap<ServerName, Arc<Cable>>);

#[async_trait]
impl Dialer for Cables {
    async fn dial(
        &self,
        volume: &VolumeName,
        peer: &ServerName,
        at: &[SocketAddr],
    ) -> Result<Duplex, StreamEnded> {
        Wire(self.0[peer].clone()).dial(volume, peer, at).await
    }
}

struct Server {
    name: ServerName,
    volume: Arc<Volume>,
    data: MemoryArea,
    said: watch::Receiver<Vec<VolumeEvent>>,
    _reception: Arc<Reception>,
}

struct Three {
    servers: Vec<Server>,
    cables: Cables,
}

impl Three {
    async fn new() -> Self {
        let names = ["kiki", "lala", "mimi"].map(ServerName::from);
        let cables = Cables(names.iter().map(|name| (name.clone(), Cable::new())).collect());
        let servers = names.iter().map(|name| server(name, &names, &cables)).collect();
        Self { servers, cables }
    }

    fn cable(&self, number: usize) -> &Cable {
        &self.cables.0[&self.servers[number].name]
    }

    /// Opens the volume on a server with these peers, all of them in step.
    async fn promote(&self, number: usize, epoch: u64, peers: &[usize]) -> Door {
        let server = &self.servers[number];
        server.volume.store_epoch(Epoch(epoch)).await.unwrap();
        server.volume.store_step(Generation(epoch), &server.name).await.unwrap();
        for peer in peers {
            self.meet(number, *peer, epoch).await;
            assert!(server.volume.set_peer(&self.servers[*peer].name, PeerMode::Required).await);
        }
        server.volume.become_primary(Epoch(epoch)).await.unwrap();
        server.volume.door()
    }

    async fn meet(&self, number: usize, peer: usize, epoch: u64) {
        let (server, peer) = (&self.servers[number], &self.servers[peer].name);
        let seen = server.said.borrow().len();
        server.volume.connect(peer, &[], Epoch(epoch));
        self.says(
            number,
            seen,
            |event| matches!(event, VolumeEvent::PeerMet { welcome, .. } if welcome.server == *peer),
        )
        .await;
    }

    fn seen(&self, number: usize) -> usize {
        self.servers[number].said.borrow().len()
    }

    /// Waits until a server's data path says this, after what was seen.
    async fn says(&self, number: usize, seen: usize, what: impl Fn(&VolumeEvent) -> bool) {
        let mut said = self.servers[number].said.clone();
        said.wait_for(|said| said[seen..].iter().any(&what)).await.unwrap();
    }

    fn equal(&self, one: usize, other: usize) -> bool {
        self.servers[one].data.differs(&self.servers[other].data).is_none()
    }

    fn name(&self, number: usize) -> &ServerName {
        &self.servers[number].name
    }
}

fn server(name: &ServerName, all: &[ServerName], cables: &Cables) -> Server {
    let owner =
        Owner { lineage: Lineage::from("line"), volume: VolumeName::from("data"), server: name.clone() };
    let (data, area) = (MemoryArea::new(SIZE), MemoryArea::new(10 << 20));
    let management = Management::create(Arc::new(area), &owner, Geometry::of(SIZE)).unwrap();
    let peers: BTreeSet<ServerName> = all.iter().filter(|it| *it != name).cloned().collect();
    let options = Options {
        redial: Duration::from_millis(5),
        peer_timeout: Duration::from_secs(60),
        ..Options::default()
    };
    let (volume, mut events) =
        Volume::open(Arc::new(data.clone()), management, &peers, options, Arc::new(cables.clone())).unwrap();
    let reception = Arc::new(Reception::default());
    reception.add(VolumeName::from("data"), &volume);
    cables.0[name].receptions.lock().unwrap().insert(name.clone(), reception.clone());
    let (hear, said) = watch::channel(Vec::new());
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            hear.send_modify(|said| said.push(event));
        }
    });
    Server { name: name.clone(), volume, data, said, _reception: reception }
}

fn is_lost(event: &VolumeEvent, server: &ServerName) -> bool {
    matches!(event, VolumeEvent::PeerLost { peer, .. } if peer == server)
}

#[test]
fn one_of_two_peers_is_lost_and_only_what_it_missed_is_copied_to_it() {
    run(async {
        let three = Three::new().await;
        let door = three.promote(0, 1, &[1, 2]).await;
        write(&door, 0, block(1)).await.unwrap();
        flush(&door).await.unwrap();
        let (volume, seen) = (&three.servers[0].volume, three.seen(0));
        three.cable(2).cut();
        three.says(0, seen, |event| is_lost(event, three.name(2))).await;
        let mut waits = begin_write(&door, EXTENT, block(2)).await;
        volume.answers().await.unwrap();
        assert!(volume.view().frozen && waits.try_recv().is_err(), "it is not put out yet");
        volume.set_peer(three.name(2), PeerMode::Absent).await;
        waits.await.unwrap().unwrap();
        flush(&door).await.unwrap();
        assert!(three.equal(0, 1) && !three.equal(0, 2));
        assert_eq!(volume.lacks(three.name(2)), [(EXTENT, EXTENT)]);
        assert!(volume.lacks(three.name(1)).is_empty());
        let seen = three.seen(0);
        three.cable(2).mend();
        three.says(0, seen, |event| matches!(event, VolumeEvent::PeerMet { .. })).await;
        volume.set_peer(three.name(2), PeerMode::Syncing).await;
        volume.start_resync(three.name(2), false, false);
        three.says(0, seen, |event| matches!(event, VolumeEvent::Synced { .. })).await;
        assert!(volume.set_peer(three.name(2), PeerMode::Required).await);
        assert!(three.equal(0, 1) && three.equal(0, 2));
    });
}

#[test]
fn r27_without_its_own_disk_a_primary_goes_on_through_one_peer_and_then_the_other() {
    run(async {
        let three = Three::new().await;
        let door = three.promote(0, 1, &[1, 2]).await;
        write(&door, 0, block(1)).await.unwrap();
        flush(&door).await.unwrap();
        let (volume, seen) = (&three.servers[0].volume, three.seen(0));
        three.servers[0].data.watch(|_| Err(io::Error::other("the disk is broken")));
        let waits = begin_write(&door, 2 * EXTENT, block(2)).await;
        three.says(0, seen, |event| matches!(event, VolumeEvent::DiskFailed { .. })).await;
        volume.go_diskless(three.name(1)).await.unwrap();
        waits.await.unwrap().unwrap();
        assert!(read(&door, 2 * EXTENT, 4096).await.unwrap() == block(2));
        flush(&door).await.unwrap();
        assert!(three.equal(1, 2), "both peers have it");
        assert!(!three.servers[1].volume.lacks(three.name(0)).is_empty(), "and one knows who lacks it");
        // That peer is lost too, with reads and writes waiting.
        let seen = three.seen(0);
        three.cable(1).cut();
        three.says(0, seen, |event| is_lost(event, three.name(1))).await;
        volume.set_peer(three.name(1), PeerMode::Absent).await;
        let waits = begin_write(&door, 3 * EXTENT, block(3)).await;
        let reads = tokio::spawn({
            let door = door.clone();
            async move { read(&door, 2 * EXTENT, 4096).await }
        });
        volume.answers().await.unwrap();
        assert!(volume.view().frozen);
        volume.go_diskless(three.name(2)).await.unwrap();
        waits.await.unwrap().unwrap();
        assert!(reads.await.unwrap().unwrap() == block(2));
        assert!(read(&door, 3 * EXTENT, 4096).await.unwrap() == block(3));
        flush(&door).await.unwrap();
        let lacked = three.servers[2].volume.lacks(three.name(0));
        assert!(lacked.iter().any(|(at, length)| (*at..at + length).contains(&(3 * EXTENT))), "{lacked:?}");
        assert_eq!(volume.lacks(three.name(1)), [(3 * EXTENT, EXTENT)]);
    });
}

#[test]
fn r31_a_primary_that_one_of_two_peers_has_left_for_another_acknowledges_nothing() {
    run(async {
        let three = Three::new().await;
        let door = three.promote(0, 1, &[1, 2]).await;
        write(&door, 0, block(1)).await.unwrap();
        flush(&door).await.unwrap();
        // Before the new primary has been seen here, one of the peers has heard of it.
        let seen = three.seen(0);
        three.servers[2].volume.store_epoch(Epoch(2)).await.unwrap();
        three.says(0, seen, |event| is_lost(event, three.name(2))).await;
        let mut waits = begin_write(&door, EXTENT, block(2)).await;
        three.servers[0].volume.answers().await.unwrap();
        assert!(waits.try_recv().is_err());
        let other = three.promote(1, 2, &[2]).await;
        three.meet(1, 0, 2).await;
        assert_eq!(waits.await.unwrap(), Err(BlockError::Io));
        assert_eq!(write(&door, EXTENT, block(3)).await, Err(BlockError::Io));
        assert!(read(&other, 0, 4096).await.unwrap() == block(1));
        assert!(read(&other, EXTENT, 4096).await.unwrap() != block(3));
    });
}
