//! Two servers with their copies in memory, a cable between them, and the decisions that the mirror's
//! machine makes, in their shortest form.
#![allow(dead_code, clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tasuki_core::{
    ids::{Epoch, Generation, Lineage, ServerName, VolumeName},
    mirror::{
        DiskState,
        geometry::{Geometry, LOG_SLOTS},
        history::Compared,
        state::PeerMode,
        wire::Wires,
    },
};
use tasuki_storage::volume::{Management, MemoryArea, Owner};
use tasuki_volume::{
    block::{BlockError, Door, Request},
    path::{
        Dialer, Duplex, Options, Packet, PacketSink, PacketSource, Planted, Reception, StreamEnded, Volume,
        VolumeEvent,
        frame::{Body, Frame, decode},
        stream,
    },
};
use tokio::{
    sync::{Notify, oneshot, watch},
    task::JoinHandle,
};

pub const EXTENT: u64 = 4096;
pub const SIZE: u64 = 16 << 20;

pub fn name(number: usize) -> ServerName {
    ServerName::from(["kiki", "lala"][number])
}

/// What the registry would know.
#[derive(Debug)]
pub struct Facts {
    pub epoch: Epoch,
    pub owner: usize,
    pub good: BTreeSet<usize>,
    pub generation: u64,
}

/// The cable: cut, or holding what is sent.
pub struct Cable {
    pub cut: watch::Sender<u64>,
    pub down: AtomicBool,
    pub held: watch::Sender<bool>,
    pub receptions: Mutex<BTreeMap<ServerName, Arc<Reception>>>,
    pub delivered: AtomicU64,
    /// Ends streams of resyncs beside others.
    pub cut_beside: watch::Sender<u64>,
    /// How many of them were begun.
    pub besides: AtomicU64,
    /// A server can be called once only.
    pub single: AtomicBool,
    standing: Arc<AtomicU64>,
}

impl Cable {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            cut: watch::channel(0).0,
            down: AtomicBool::new(false),
            held: watch::channel(false).0,
            receptions: Mutex::default(),
            delivered: AtomicU64::new(0),
            cut_beside: watch::channel(0).0,
            besides: AtomicU64::new(0),
            single: AtomicBool::new(false),
            standing: Arc::default(),
        })
    }

    /// Every stream ends, and what was on its way is lost; no new one begins.
    pub fn cut(&self) {
        self.down.store(true, Ordering::SeqCst);
        self.cut.send_modify(|count| *count += 1);
    }

    pub fn mend(&self) {
        self.down.store(false, Ordering::SeqCst);
    }

    /// What is sent stays on its way until it is released.
    pub fn hold(&self, hold: bool) {
        self.held.send_replace(hold);
    }
}

pub struct Wire(pub Arc<Cable>);

struct CutSource {
    inner: Box<dyn PacketSource>,
    arrived: Option<Packet>,
    cut: watch::Receiver<u64>,
    held: watch::Receiver<bool>,
    cable: Arc<Cable>,
}

struct CutSink {
    inner: Box<dyn PacketSink>,
    cut: watch::Receiver<u64>,
    /// Until the first frame has said which stream it is.
    new: bool,
    beside: Option<watch::Receiver<u64>>,
    cable: Arc<Cable>,
}

#[async_trait]
impl PacketSource for CutSource {
    async fn next(&mut self) -> Result<Packet, StreamEnded> {
        let cut = || StreamEnded("the cable was cut".to_owned());
        if self.arrived.is_none() {
            tokio::select! {
                biased;
                _ = self.cut.changed() => return Err(cut()),
                packet = self.inner.next() => self.arrived = Some(packet?),
            }
        }
        tokio::select! {
            biased;
            _ = self.cut.changed() => return Err(cut()),
            released = self.held.wait_for(|held| !held) => { released.map_err(|_| cut())?; }
        }
        self.cable.delivered.fetch_add(1, Ordering::SeqCst);
        self.arrived.take().ok_or_else(cut)
    }
}

#[async_trait]
impl PacketSink for CutSink {
    async fn send(&mut self, packets: &mut Vec<Packet>) -> Result<(), StreamEnded> {
        if std::mem::take(&mut self.new)
            && let Some(Ok(Frame { body: Body::Beside { .. }, .. })) = packets.first().cloned().map(decode)
        {
            self.cable.besides.fetch_add(1, Ordering::SeqCst);
            self.beside = Some(self.cable.cut_beside.subscribe());
        }
        if self.beside.as_ref().is_some_and(|cut| cut.has_changed().unwrap_or(true)) {
            return Err(StreamEnded("the cable beside was cut".to_owned()));
        }
        tokio::select! {
            biased;
            _ = self.cut.changed() => Err(StreamEnded("the cable was cut".to_owned())),
            sent = self.inner.send(packets) => sent,
        }
    }
}

impl Wire {
    fn end(&self, end: Duplex) -> Duplex {
        let mut cut = self.0.cut.subscribe();
        cut.mark_unchanged();
        let held = self.0.held.subscribe();
        Duplex {
            sink: Box::new(CutSink {
                inner: end.sink,
                cut: cut.clone(),
                new: true,
                beside: None,
                cable: self.0.clone(),
            }),
            source: Box::new(CutSource {
                inner: end.source,
                arrived: None,
                cut,
                held,
                cable: self.0.clone(),
            }),
        }
    }
}

static SERVING: std::sync::LazyLock<tokio::runtime::Runtime> = std::sync::LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
});

#[async_trait]
impl Dialer for Wire {
    async fn dial(&self, _: &VolumeName, peer: &ServerName, _: &[SocketAddr]) -> Result<Duplex, StreamEnded> {
        let reception = self.0.receptions.lock().unwrap().get(peer).cloned();
        let Some(reception) = reception.filter(|_| !self.0.down.load(Ordering::SeqCst)) else {
            return Err(StreamEnded("nobody answers".to_owned()));
        };
        let standing = self.0.standing.clone();
        if self.0.single.load(Ordering::SeqCst) && standing.load(Ordering::SeqCst) > 0 {
            return Err(StreamEnded("it answers one at a time".to_owned()));
        }
        standing.fetch_add(1, Ordering::SeqCst);
        let (one, other) = stream::memory(64);
        let (one, other) = (self.end(one), self.end(other));
        SERVING.spawn(async move {
            reception.accept(other, None).await;
            standing.fetch_sub(1, Ordering::SeqCst);
        });
        Ok(one)
    }
}

/// One server.
pub struct Host {
    pub data: MemoryArea,
    pub management: MemoryArea,
    pub up: Option<Up>,
}

/// A server whose node runs.
pub struct Up {
    pub volume: Arc<Volume>,
    pub reception: Arc<Reception>,
    pub door: Option<Door>,
    /// What its path says, also to the driver.
    pub said: watch::Sender<Vec<VolumeEvent>>,
    pub driver: Option<JoinHandle<()>>,
    listener: JoinHandle<()>,
}

pub struct Pair {
    pub hosts: [Host; 2],
    pub cable: Arc<Cable>,
    pub facts: Arc<Mutex<Facts>>,
    pub changed: Arc<Notify>,
    pub planted: Option<Planted>,
    /// Places in the activity log.
    slots: usize,
    folder: Arc<tempfile::TempDir>,
    /// As the next boot has it.
    pub peer_timeout: Duration,
    /// The versions of the frames, as the next boot of each has them.
    pub wires: [Wires; 2],
}

impl Pair {
    /// Two servers, both up, nobody primary, both good.
    pub fn new(planted: Option<Planted>) -> Self {
        Self::sized(planted, SIZE, LOG_SLOTS)
    }

    /// The same, of so many bytes, and with so many places in the activity log.
    pub fn sized(planted: Option<Planted>, size: u64, slots: usize) -> Self {
        let host = |number| {
            let management = MemoryArea::new(10 << 20);
            let made =
                Management::create(Arc::new(management.clone()), &owner(number), Geometry::of(size)).unwrap();
            drop(made);
            Host { data: MemoryArea::new(size), management, up: None }
        };
        let facts = Facts { epoch: Epoch(0), owner: 0, good: BTreeSet::from([0, 1]), generation: 1 };
        let mut pair = Self {
            hosts: [host(0), host(1)],
            cable: Cable::new(),
            facts: Arc::new(Mutex::new(facts)),
            changed: Arc::default(),
            planted,
            slots,
            peer_timeout: Duration::from_secs(60),
            wires: [Wires::OURS; 2],
            folder: Arc::new(tempfile::tempdir().unwrap()),
        };
        pair.boot(0);
        pair.boot(1);
        pair
    }

    pub fn saved(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// The node of a server starts.
    pub fn boot(&mut self, number: usize) {
        let management = Arc::new(self.hosts[number].management.clone());
        let management = Management::open(management, &owner(number)).unwrap();
        let options = Options {
            redial: Duration::from_millis(5),
            peer_timeout: self.peer_timeout,
            awaited: Duration::from_millis(40),
            saved: self.saved(),
            planted: self.planted,
            slots: self.slots,
            wires: self.wires[number],
            ..Options::default()
        };
        let (data, dialer) = (Arc::new(self.hosts[number].data.clone()), Arc::new(Wire(self.cable.clone())));
        let peers = BTreeSet::from([name(1 - number)]);
        let (volume, mut events) = Volume::open(data, management, &peers, options, dialer).unwrap();
        let reception = Arc::new(Reception::default());
        reception.add(VolumeName::from("data"), &volume);
        self.cable.receptions.lock().unwrap().insert(name(number), reception.clone());
        let said = watch::channel(Vec::new()).0;
        let hear = said.clone();
        let listener = SERVING.spawn(async move {
            while let Some(event) = events.recv().await {
                hear.send_modify(|said| said.push(event));
            }
        });
        self.hosts[number].up = Some(Up { volume, reception, door: None, said, driver: None, listener });
    }

    pub fn up(&self, number: usize) -> &Up {
        self.hosts[number].up.as_ref().unwrap()
    }

    /// A server decides nothing any more; its data path goes on.
    pub async fn still(&mut self, number: usize) {
        let driver = self.hosts[number].up.as_mut().and_then(|up| up.driver.take());
        if let Some(driver) = driver {
            driver.abort();
            let _aborted = driver.await;
        }
    }

    /// The node of a server is killed; its disks stay.
    pub async fn kill(&mut self, number: usize) {
        let Some(up) = self.hosts[number].up.take() else { return };
        self.cable.receptions.lock().unwrap().remove(&name(number));
        if let Some(driver) = up.driver {
            driver.abort();
            let _aborted = driver.await;
        }
        // What it had begun on its disks ends or not; nothing of it comes later.
        up.volume.fail_io();
        up.volume.close().await;
        drop(up.door);
        let Up { volume, listener, .. } = Up { door: None, driver: None, ..up };
        volume.disconnect(&name(1 - number));
        let gone = Arc::downgrade(&volume);
        drop(volume);
        listener.await.unwrap();
        until(|| gone.strong_count() == 0).await;
    }

    /// The same, and what was not durable is lost where `survives` says so.
    pub async fn power(&mut self, number: usize, mut survives: impl FnMut(u64) -> bool) {
        self.kill(number).await;
        for area in [&self.hosts[number].data, &self.hosts[number].management] {
            area.power_loss(|unsynced| survives(unsynced.sector));
        }
    }

    /// Opens the volume on a server, with its peer if that can be met, and drives it from then on.
    pub async fn promote(&mut self, number: usize) -> Door {
        let epoch = {
            let mut facts = self.facts.lock().unwrap();
            assert!(facts.good.contains(&number), "only a good copy is opened");
            facts.epoch = Epoch(facts.epoch.0 + 1);
            facts.owner = number;
            facts.epoch
        };
        let peer = name(1 - number);
        let up = self.up(number);
        up.volume.store_epoch(epoch).await.unwrap();
        if up.volume.copy().history.0.is_empty() {
            up.volume.store_step(Generation(1), &name(number)).await.unwrap();
        }
        let driver = Driver {
            me: number,
            epoch,
            facts: self.facts.clone(),
            volume: up.volume.clone(),
            changed: self.changed.clone(),
        };
        let seen = up.said.borrow().len();
        let mut said = up.said.subscribe();
        up.volume.connect(&peer, &[], epoch);
        // Met, or put out before the first read (R28).
        let first = said.wait_for(|said| {
            said[seen..].iter().any(|event| {
                matches!(
                    event,
                    VolumeEvent::PeerMet { .. }
                        | VolumeEvent::PeerLost { .. }
                        | VolumeEvent::PeerRefused { .. }
                )
            })
        });
        let first = first.await.unwrap()[seen..]
            .iter()
            .position(|event| !matches!(event, VolumeEvent::Primary { .. }))
            .unwrap();
        let handled = seen + first + 1;
        let event = said.borrow()[seen + first].clone();
        driver.on(event).await;
        up.volume.become_primary(epoch).await.unwrap();
        let task = SERVING.spawn(async move { driver.run(said, handled).await });
        let door = up.volume.door();
        let up = self.hosts[number].up.as_mut().unwrap();
        up.driver = Some(task);
        up.door = Some(door.clone());
        door
    }

    /// Closes the volume in order.
    pub async fn demote(&mut self, number: usize) {
        let up = self.hosts[number].up.as_mut().unwrap();
        drop(up.door.take());
        doing("quiet");
        up.volume.quiet().await.unwrap();
        doing("let go");
        // Peers that are let go are not lost.
        if let Some(driver) = up.driver.take() {
            driver.abort();
        }
        up.volume.become_secondary().await.unwrap();
        doing("demoted");
    }

    /// Waits until both copies are good.
    pub async fn both_good(&self) {
        self.facts_are(|facts| facts.good.len() == 2).await;
    }

    pub async fn facts_are(&self, mut are: impl FnMut(&Facts) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if are(&self.facts.lock().unwrap()) {
                return;
            }
            changed.await;
        }
    }

    pub fn equal(&self) -> bool {
        self.hosts[0].data.differs(&self.hosts[1].data).is_none()
    }
}

fn owner(number: usize) -> Owner {
    Owner { lineage: Lineage::from("line"), volume: VolumeName::from("data"), server: name(number) }
}

/// The decisions of a primary, each committed at once.
struct Driver {
    me: usize,
    epoch: Epoch,
    facts: Arc<Mutex<Facts>>,
    volume: Arc<Volume>,
    changed: Arc<Notify>,
}

impl Driver {
    async fn run(self, mut said: watch::Receiver<Vec<VolumeEvent>>, mut handled: usize) {
        loop {
            let event = match said.wait_for(|said| said.len() > handled).await {
                Ok(said) => said[handled].clone(),
                Err(_) => return,
            };
            handled += 1;
            self.on(event).await;
        }
    }

    /// Changes the facts, if this is still the owner; the new generation.
    fn commit(&self, change: impl FnOnce(&mut Facts)) -> Option<u64> {
        let mut facts = self.facts.lock().unwrap();
        if facts.epoch != self.epoch {
            return None;
        }
        change(&mut facts);
        let generation = facts.generation;
        drop(facts);
        self.changed.notify_waiters();
        Some(generation)
    }

    async fn put_out(&self, who: usize) -> bool {
        let generation = self.commit(|facts| {
            assert!(facts.good.len() > 1 || !facts.good.contains(&who), "never the last one");
            if facts.good.remove(&who) {
                facts.generation += 1;
            }
        });
        match generation {
            Some(generation) => self.volume.store_step(Generation(generation), &name(self.me)).await.is_ok(),
            None => false,
        }
    }

    #[allow(clippy::collapsible_match)] // a guard that waits would hide what it does
    async fn on(&self, event: VolumeEvent) {
        let other = 1 - self.me;
        let peer = name(other);
        match event {
            VolumeEvent::PeerMet { welcome, differing } => {
                let good = self.facts.lock().unwrap().good.contains(&other);
                let nothing =
                    differing == 0 && welcome.differing == 0 && welcome.copy.disk == DiskState::Consistent;
                let compared = self.volume.copy().history.compare(&welcome.copy.history);
                assert!(matches!(compared, Compared::Same | Compared::Ahead), "{compared:?}");
                if good && nothing {
                    self.volume.set_peer(&peer, PeerMode::Required).await;
                } else if self.put_out(other).await {
                    self.volume.set_peer(&peer, PeerMode::Syncing).await;
                    self.volume.start_resync(&peer, false, false);
                }
            }
            VolumeEvent::PeerLost { .. } | VolumeEvent::PeerRefused { .. } => {
                if self.put_out(other).await {
                    self.volume.set_peer(&peer, PeerMode::Absent).await;
                }
            }
            VolumeEvent::Synced { .. } => {
                if self.volume.set_peer(&peer, PeerMode::Required).await {
                    self.commit(|facts| {
                        facts.good.insert(other);
                    });
                }
            }
            VolumeEvent::DiskFailed { .. } => {
                let lost = self.facts.lock().unwrap().good.len() == 1;
                if !lost && self.put_out(self.me).await {
                    self.volume.set_peer(&peer, PeerMode::Required).await;
                    if self.volume.go_diskless(&peer).await.is_err() {
                        self.volume.fail_io();
                    }
                } else {
                    self.volume.fail_io();
                }
            }
            _ => {}
        }
    }
}

/// Waits for something that has no signal.
pub async fn until(mut is: impl FnMut() -> bool) {
    while !is() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

type Answered = oneshot::Receiver<Result<(), BlockError>>;

async fn begin(door: &Door, offset: u64, data: Vec<u8>, durable: bool) -> Answered {
    let (answer, answered) = oneshot::channel();
    let request = Request::Write { offset, data: data.into(), durable, answer };
    door.requests.send(request).await.unwrap();
    answered
}

pub async fn begin_write(door: &Door, offset: u64, data: Vec<u8>) -> Answered {
    begin(door, offset, data, false).await
}

/// A write that is durable when it is answered.
pub async fn begin_durable(door: &Door, offset: u64, data: Vec<u8>) -> Answered {
    begin(door, offset, data, true).await
}

pub async fn write(door: &Door, offset: u64, data: Vec<u8>) -> Result<(), BlockError> {
    begin_write(door, offset, data).await.await.unwrap_or(Err(BlockError::Closing))
}

pub async fn begin_flush(door: &Door) -> Answered {
    let (answer, answered) = oneshot::channel();
    door.requests.send(Request::Flush { answer }).await.unwrap();
    answered
}

pub async fn flush(door: &Door) -> Result<(), BlockError> {
    begin_flush(door).await.await.unwrap_or(Err(BlockError::Closing))
}

pub async fn read(door: &Door, offset: u64, length: u32) -> Result<Bytes, BlockError> {
    let (answer, answered) = oneshot::channel();
    door.requests.send(Request::Read { offset, length, answer }).await.unwrap();
    answered.await.unwrap_or(Err(BlockError::Closing))
}

pub fn block(value: u8) -> Vec<u8> {
    vec![value; EXTENT as usize]
}

/// What a test is doing, for the message when it does not come to an end.
pub static DOING: Mutex<String> = Mutex::new(String::new());

pub fn doing(what: &str) {
    DOING.lock().unwrap().push_str(&format!("; {what}"));
}

pub fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match tokio::time::timeout(Duration::from_secs(60), test).await {
            Ok(result) => result,
            Err(_) => panic!("it does not come to an end: {}", DOING.lock().unwrap()),
        }
    })
}
