//! The load: writes and flushes through the data path of two copies.

use std::{collections::BTreeSet, io::Write as _, net::SocketAddr, path::Path, sync::Arc, thread};

use async_trait::async_trait;
use bytes::Bytes;
use tasuki_core::{
    ids::{Epoch, Generation, ServerName, VolumeName},
    mirror::state::PeerMode,
};
use tasuki_storage::volume::{Area, AreaError, FileArea, Management};
use tasuki_volume::{
    block::{BlockError, Door, Request},
    path::{Dialer, Duplex, Options, Planted, Reception, StreamEnded, Volume, VolumeEvent, stream},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    load::{BLOCK, Line, VOLUME, WINDOW, block_of, content, geometry, mixed, owner},
    watched::Watched,
};

/// Streams in memory, to whoever the reception knows.
pub struct Near(pub Arc<Reception>);

#[async_trait]
impl Dialer for Near {
    async fn dial(&self, _: &VolumeName, _: &ServerName, _: &[SocketAddr]) -> Result<Duplex, StreamEnded> {
        let (here, there) = stream::memory(64);
        let reception = self.0.clone();
        // The listener has a thread of its own.
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(reception.accept(there, None))
        });
        Ok(here)
    }
}

/// Bytes that a resync copies in a second: so few that a reset comes amid it.
const PACE: u64 = 1024 * 1024;
/// Writes without the second copy: once the log is full, regions have to leave it meanwhile, and maps are
/// written for that.
const AWAY: u64 = 120;
/// More than an epoch needs.
pub const GENERATIONS: u64 = 1_000_000;

/// A copy, and what it says.
pub struct Opened {
    pub volume: Arc<Volume>,
    pub events: mpsc::UnboundedReceiver<VolumeEvent>,
}

pub fn open(
    (meta, data): (Arc<dyn Area>, Arc<dyn Area>),
    (server, peer): (&str, &str),
    reception: &Arc<Reception>,
    options: Options,
) -> Opened {
    let management = match Management::open(meta.clone(), &owner(server)) {
        Err(AreaError::Blank(_)) => Management::create(meta, &owner(server), geometry()),
        opened => opened,
    };
    let peers = BTreeSet::from([ServerName::from(peer)]);
    let dialer = Arc::new(Near(reception.clone()));
    let (volume, events) = Volume::open(data, management.unwrap(), &peers, options, dialer).unwrap();
    Opened { volume, events }
}

/// Opens the first copy for writing under this epoch, and meets the second.
pub async fn begin(first: &mut Opened, epoch: u64) {
    first.volume.store_epoch(Epoch(epoch)).await.unwrap();
    first.volume.store_step(Generation(epoch * GENERATIONS), &"kiki".into()).await.unwrap();
    meet(first, epoch).await;
}

async fn meet(first: &mut Opened, epoch: u64) {
    first.volume.connect(&"lala".into(), &[], Epoch(epoch));
    loop {
        match first.events.recv().await.unwrap() {
            VolumeEvent::PeerMet { .. } => return,
            other => println!("{other:?}"),
        }
    }
}

/// The rule that is taken out.
pub fn without(rule: &str) -> Option<Planted> {
    let rules = [Planted::R29NoLog, Planted::R32OwnOnly];
    let planted = rules.into_iter().find(|known| format!("{known:?}") == rule);
    assert!(planted.is_some() || rule == "all", "no rule {rule}");
    planted
}

pub fn run(folder: &Path, seed: u64, writes: u64, planted: Option<Planted>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let area =
            |name: &str| -> Arc<dyn Area> { Arc::new(FileArea::data(&folder.join(name), None).unwrap()) };
        let reception = Arc::new(Reception::default());
        // A recording is replayed at every moment, and needs no time for one.
        let ceiling = if writes == u64::MAX { PACE } else { 0 };
        let options = Options { planted, resync_floor: PACE, resync_ceiling: ceiling, ..Options::default() };
        let meta: Arc<dyn Area> = Arc::new(Watched::new(area("meta1")));
        let mut first = open((meta, area("data1")), ("kiki", "lala"), &reception, options.clone());
        let second = open((area("meta2"), area("data2")), ("lala", "kiki"), &reception, options);
        reception.add("data".into(), &second.volume);
        begin(&mut first, 1).await;
        let in_step = first.volume.set_peer(&"lala".into(), PeerMode::Required).await;
        assert!(in_step, "two blank copies are equal");
        first.volume.become_primary(Epoch(1)).await.unwrap();
        println!("MARK open");
        let ledger = Ledger { area: area("ledger"), last: Line::default() };
        load(first, ledger, seed, writes).await;
        println!("MARK written {writes}");
    });
    // No end in order: the copies are left as a reset leaves them.
    std::process::exit(0);
}

pub type Answer = oneshot::Receiver<Result<(), BlockError>>;

struct Ledger {
    area: Arc<dyn Area>,
    last: Line,
}

impl Ledger {
    fn write(&mut self, line: Line) {
        let line = Line { sequence: self.last.sequence + 1, ..line };
        let places = self.area.size() / BLOCK;
        self.area.write_durable(&line.bytes(), line.sequence % places * BLOCK).unwrap();
        self.last = line;
    }
}

/// How the second copy is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    In,
    /// It comes back when so many more were written.
    Out(u64),
    /// And whether something was copied already.
    Syncing(bool),
}

async fn load(mut first: Opened, mut ledger: Ledger, seed: u64, writes: u64) {
    let door = first.volume.door();
    assert_eq!(door.size, VOLUME);
    let (mut next, mut peer, mut generation) = (1, Peer::In, GENERATIONS);
    let mut left: Vec<Answer> = Vec::new();
    while next <= writes {
        let chance = mixed(seed ^ next << 32);
        let mut answers = std::mem::take(&mut left);
        let room = WINDOW - answers.len() as u64;
        let end = next + 1 + chance % room.min(8);
        for number in next..end {
            answers.push(write(&door, seed, number).await);
        }
        next = end;
        // It goes while they are under way, and comes back beside others.
        peer = match peer {
            Peer::In if (chance >> 32).is_multiple_of(24) => {
                generation += 1;
                put_out(&mut first, &mut ledger, generation, next - 1).await;
                Peer::Out(next + AWAY)
            }
            Peer::Out(until) if next >= until => {
                meet(&mut first, 1).await;
                first.volume.set_peer(&"lala".into(), PeerMode::Syncing).await;
                println!("MARK resync");
                first.volume.start_resync(&"lala".into(), false, false);
                Peer::Syncing(false)
            }
            Peer::Syncing(_) if is_synced(&mut first) => {
                assert!(first.volume.set_peer(&"lala".into(), PeerMode::Required).await, "it is in step");
                println!("MARK back");
                Peer::In
            }
            Peer::Syncing(false) if is_copied(&first) => {
                println!("MARK amid");
                Peer::Syncing(true)
            }
            other => other,
        };
        for answer in answers {
            answer.await.unwrap().unwrap();
        }
        if chance >> 16 & 3 != 0 {
            continue;
        }
        // What is written beside a flush may be on the disks or not.
        let flushed = next - 1;
        let (answer, done) = oneshot::channel();
        door.requests.send(Request::Flush { answer }).await.unwrap();
        let end = next + (chance >> 24 & 3);
        for number in next..end {
            left.push(write(&door, seed, number).await);
        }
        next = end;
        done.await.unwrap().unwrap();
        ledger.write(match peer {
            Peer::In => Line { flushed, both: 1, both_flushed: flushed, ..ledger.last },
            Peer::Out(_) | Peer::Syncing(_) => Line { flushed, ..ledger.last },
        });
        println!("MARK flushed {flushed}");
        std::io::stdout().flush().unwrap();
    }
}

/// The stream ends; it is committed that the second copy is out; only then writes are answered without it.
async fn put_out(first: &mut Opened, ledger: &mut Ledger, generation: u64, last: u64) {
    let lala = ServerName::from("lala");
    first.volume.disconnect(&lala);
    while !matches!(first.events.recv().await.unwrap(), VolumeEvent::PeerLost { .. }) {}
    ledger.write(Line { both: 0, last_to_both: last, ..ledger.last });
    first.volume.store_step(Generation(generation), &"kiki".into()).await.unwrap();
    first.volume.set_peer(&lala, PeerMode::Absent).await;
    println!("MARK out");
}

/// What is copied already was marked at the target before.
fn is_copied(first: &Opened) -> bool {
    let progress = first.volume.view().peers.first().and_then(|peer| peer.progress);
    progress.is_some_and(|it| it.done > 0 && it.done < it.total)
}

fn is_synced(first: &mut Opened) -> bool {
    match first.events.try_recv() {
        Ok(VolumeEvent::Synced { .. }) => true,
        Ok(other) => panic!("{other:?}"),
        Err(_) => false,
    }
}

pub async fn write(door: &Door, seed: u64, number: u64) -> Answer {
    let block = block_of(seed, number);
    let (answer, written) = oneshot::channel();
    let data = Bytes::from(content(block, number));
    let request = Request::Write { offset: block * BLOCK, data, durable: false, answer };
    door.requests.send(request).await.unwrap();
    written
}
