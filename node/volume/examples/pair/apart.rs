//! One copy on a machine of its own, its peer on another: joined by TCP. Orders come on standard input, and
//! whoever gives them stands for the registry: he knows from the console who is good.
//!
//! ```text
//!  open EPOCH FROM SEED both          writes from this number on, once the peer is met
//!  open EPOCH FROM SEED alone UPTO    the peer was put out; looks first whether all up to that write is here
//!  stop                               ends the writes; then both copies are in step and flushed
//! ```

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use bytes::Bytes;
use tasuki_core::{
    ids::{Epoch, Generation, ServerName},
    mirror::{DiskState, state::PeerMode},
};
use tasuki_storage::volume::{Area, AreaError, FileArea, Management};
use tasuki_volume::{
    block::{Door, Request},
    path::{
        Options, Reception, Volume, VolumeEvent,
        stream::{TcpDialer, tcp},
    },
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
};

use crate::{
    check::Written,
    load::{BLOCK, geometry, mixed, numbers_of, owner},
    watched::Watched,
    write::{GENERATIONS, write},
};

/// Where copies listen.
pub const PORT: u16 = 29051;
/// Writes that may have been begun after the last one that is known.
const AHEAD: u64 = 4096;

/// Where a copy is, and whose.
pub struct Here<'a> {
    pub meta: &'a Path,
    pub data: &'a Path,
    pub server: &'a str,
    pub peer: &'a str,
}

fn say(what: &str) {
    println!("{what}");
    io::stdout().flush().unwrap();
}

pub fn options(patience: u64, rate: u64) -> Options {
    Options {
        peer_timeout: Duration::from_secs(patience),
        resync_floor: rate,
        resync_ceiling: rate,
        ..Options::default()
    }
}

/// Opens the copy, and lets primaries in.
pub async fn begin(
    here: &Here<'_>,
    options: Options,
    port: u16,
) -> (Arc<Volume>, mpsc::UnboundedReceiver<VolumeEvent>) {
    let meta = Arc::new(Watched::new(Arc::new(FileArea::data(here.meta, None).unwrap())));
    let management = match Management::open(meta.clone(), &owner(here.server)) {
        Err(AreaError::Blank(_)) => Management::create(meta, &owner(here.server), geometry()),
        opened => opened,
    };
    let peers = BTreeSet::from([ServerName::from(here.peer)]);
    let data = Arc::new(FileArea::data(here.data, None).unwrap());
    let (volume, events) =
        Volume::open(data, management.unwrap(), &peers, options, Arc::new(TcpDialer)).unwrap();
    let reception = Arc::new(Reception::default());
    reception.add("data".into(), &volume);
    let listener = TcpListener::bind(("0.0.0.0", port)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let reception = reception.clone();
            tokio::spawn(async move { reception.accept(tcp(stream).unwrap(), None).await });
        }
    });
    (volume, events)
}

pub fn run(here: &Here<'_>, at: SocketAddr, options: Options) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (volume, events) = begin(here, options, PORT).await;
        let (tell, mut orders) = mpsc::unbounded_channel();
        thread::spawn(move || io::stdin().lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        say("MARK up");
        // One that is told nothing stays a secondary.
        let Some(order) = orders.recv().await else { return std::future::pending().await };
        let words: Vec<&str> = order.split(' ').collect();
        let number = |word: &str| word.trim().parse::<u64>().unwrap();
        let ["open", epoch, from, seed, with @ ..] = words.as_slice() else { panic!("{order:?}") };
        let (epoch, from, seed) = (number(epoch), number(from), number(seed));
        let upto = match with {
            ["alone", upto] => Some(number(upto)),
            _ => None,
        };
        let driver = Driver {
            me: here.server.into(),
            peer: here.peer.into(),
            at,
            epoch,
            generation: epoch * GENERATIONS,
            volume: volume.clone(),
            good: watch::channel(false).0,
            again: false,
        };
        let door = volume.door();
        let good = driver.good.subscribe();
        driver.open(events, if upto.is_some() { Peer::Out } else { Peer::Blank }).await;
        if let Some(upto) = upto {
            match look(&door, seed, upto).await {
                Ok(blocks) => say(&format!("MARK found {blocks} blocks")),
                Err(why) => say(&format!("MARK missing {why}")),
            }
        }
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(async move {
            while let Some(order) = orders.recv().await {
                if order.trim() == "stop" {
                    let _nobody_writes = stop.send(true);
                }
            }
        });
        load((&volume, &door), seed, from, stopped, good).await;
        // Whoever looks from outside takes the power.
        std::future::pending::<()>().await;
    });
}

/// How the peer is when a volume is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// It was never written, as this one.
    Blank,
    /// It is good, and the process before this one was killed: what the log names may differ.
    Good,
    /// It was put out.
    Out,
}

/// The decisions of a primary.
pub struct Driver {
    pub me: ServerName,
    pub peer: ServerName,
    pub at: SocketAddr,
    pub epoch: u64,
    pub generation: u64,
    pub volume: Arc<Volume>,
    /// The peer's copy is good.
    pub good: watch::Sender<bool>,
    /// It is called again when its stream has ended.
    pub again: bool,
}

impl Driver {
    /// Opens the volume; then goes on deciding beside the caller.
    pub async fn open(mut self, mut events: mpsc::UnboundedReceiver<VolumeEvent>, peer: Peer) {
        let epoch = Epoch(self.epoch);
        self.volume.store_epoch(epoch).await.unwrap();
        self.volume.store_step(Generation(self.generation), &self.me).await.unwrap();
        if peer != Peer::Out {
            self.volume.connect(&self.peer, &[self.at], epoch);
            loop {
                match events.recv().await.unwrap() {
                    met @ VolumeEvent::PeerMet { .. } if peer == Peer::Good => {
                        // It is put out until what may differ is copied.
                        self.on(met).await;
                        break;
                    }
                    VolumeEvent::PeerMet { welcome, differing } => {
                        assert_eq!((differing, welcome.differing), (0, 0), "both are blank");
                        assert!(self.volume.set_peer(&self.peer, PeerMode::Required).await);
                        self.good.send_replace(true);
                        break;
                    }
                    // It is called again.
                    VolumeEvent::PeerLost { .. } => {}
                    other => say(&format!("{other:?}")),
                }
            }
        }
        self.volume.become_primary(epoch).await.unwrap();
        say("MARK open");
        if peer == Peer::Out {
            self.volume.connect(&self.peer, &[self.at], epoch);
        }
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                self.on(event).await;
            }
        });
    }

    async fn on(&mut self, event: VolumeEvent) {
        match event {
            VolumeEvent::PeerMet { .. } => {
                say("MARK resync");
                self.volume.set_peer(&self.peer, PeerMode::Syncing).await;
                self.volume.start_resync(&self.peer, false, false);
            }
            VolumeEvent::PeerSlow { .. } => {
                self.again = true;
                self.volume.disconnect(&self.peer);
            }
            VolumeEvent::PeerLost { why, .. } => {
                if self.good.send_replace(false) {
                    say(&format!("MARK out: {why}"));
                    self.generation += 1;
                    self.volume.store_step(Generation(self.generation), &self.me).await.unwrap();
                }
                self.volume.set_peer(&self.peer, PeerMode::Absent).await;
                if std::mem::take(&mut self.again) {
                    self.volume.connect(&self.peer, &[self.at], Epoch(self.epoch));
                }
            }
            VolumeEvent::Synced { .. } => {
                let in_step = self.volume.set_peer(&self.peer, PeerMode::Required).await;
                if in_step {
                    self.good.send_replace(true);
                    say("MARK back");
                }
            }
            VolumeEvent::DiskFailed { .. } | VolumeEvent::Ended { .. } => panic!("{event:?}"),
            _ => {}
        }
    }
}

async fn load(
    (volume, door): (&Volume, &Door),
    seed: u64,
    from: u64,
    mut stopped: watch::Receiver<bool>,
    mut good: watch::Receiver<bool>,
) {
    let (mut next, mut rounds) = (from, 0_u64);
    while !*stopped.borrow_and_update() {
        let end = next + 1 + mixed(seed ^ next << 32) % 8;
        let mut answers = Vec::new();
        for number in next..end {
            answers.push(write(door, seed, number).await);
        }
        for answer in answers {
            answer.await.unwrap().unwrap();
        }
        next = end;
        rounds += 1;
        say(&format!("MARK answered {}", next - 1));
        if rounds.is_multiple_of(4) {
            flush(door).await;
            say(&format!("MARK flushed {}", next - 1));
            // What was copied has been marked at the target before.
            let progress = volume.view().peers.first().and_then(|peer| peer.progress);
            if let Some(it) = progress.filter(|it| it.done > 0 && it.done < it.total) {
                say(&format!("MARK amid {} of {}", it.done, it.total));
            }
        }
    }
    good.wait_for(|good| *good).await.unwrap();
    flush(door).await;
    say(&format!("MARK stopped {}", next - 1));
}

async fn flush(door: &Door) {
    let (answer, done) = oneshot::channel();
    door.requests.send(Request::Flush { answer }).await.unwrap();
    done.await.unwrap().unwrap();
}

/// Reads every block that was or may have been written, as a client; how many there are.
async fn look(door: &Door, seed: u64, upto: u64) -> Result<usize, String> {
    let written = Written::upto(seed, upto + AHEAD);
    for (block, numbers) in &written.blocks {
        let (answer, read) = oneshot::channel();
        let request = Request::Read { offset: block * BLOCK, length: BLOCK as u32, answer };
        door.requests.send(request).await.unwrap();
        let bytes: Bytes = read.await.unwrap().unwrap();
        judge(&bytes, *block, numbers, upto)?;
    }
    Ok(written.blocks.len())
}

/// A block has the last write up to `upto`, or a later one.
fn judge(bytes: &[u8], block: u64, numbers: &[u64], upto: u64) -> Result<(), String> {
    let required = numbers.iter().copied().filter(|number| *number <= upto).max().unwrap_or(0);
    for number in numbers_of(bytes, block) {
        match number {
            Some(0) if required == 0 => {}
            Some(number) if number >= required && numbers.contains(&number) => {}
            other => return Err(format!("block {block} has write {other:?}, and {required} was promised")),
        }
    }
    Ok(())
}

/// Both copies of a pair that was stopped are whole, equal, and have every write of these: first and last.
pub fn compare(seed: u64, copies: [&Here<'_>; 2], spans: &[(u64, u64)]) -> Result<String, String> {
    let mut written = Written::default();
    for (first, last) in spans {
        written.add(seed, *first, *last + AHEAD);
    }
    let promised = |numbers: &[u64]| {
        let was = |number: &u64| spans.iter().any(|(first, last)| (first..=last).contains(&number));
        numbers.iter().copied().filter(was).max().unwrap_or(0)
    };
    for copy in copies {
        let state = state(copy.meta, copy.server);
        if state != DiskState::Consistent {
            return Err(format!("the copy of {} is {state:?}", copy.server));
        }
    }
    let areas = copies.map(|copy| FileArea::data(copy.data, None).unwrap());
    for (block, numbers) in &written.blocks {
        let read = |area: &FileArea| {
            let mut bytes = vec![0; BLOCK as usize];
            area.read_at(&mut bytes, block * BLOCK).unwrap();
            bytes
        };
        let [one, other] = [read(&areas[0]), read(&areas[1])];
        if one != other {
            return Err(format!("the copies differ in block {block}"));
        }
        judge(&one, *block, numbers, promised(numbers))?;
    }
    Ok(format!("{} blocks are as they should be on both", written.blocks.len()))
}

/// How a copy is, by its own record.
pub fn state(meta: &Path, server: &str) -> DiskState {
    let area = Arc::new(FileArea::data(meta, None).unwrap());
    Management::open(area, &owner(server)).unwrap().superblock().disk
}
