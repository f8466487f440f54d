//! The handle of a volume's data path. Whatever is asked of the primary's side runs on the volume's own
//! thread; what it is asked to begin ends in a [`VolumeEvent`].

use std::{collections::BTreeSet, future::Future, net::SocketAddr, pin::Pin, rc::Rc, sync::Arc, thread};

use futures::FutureExt;
use tasuki_core::{
    ids::{Epoch, Generation, ServerName},
    mirror::{
        DiskState, LinkState, Role,
        geometry::SMALLEST_EXTENT,
        handshake::{Hello, LocalCopy},
        state::PeerMode,
    },
};
use tasuki_storage::volume::{Area, Management};
use tokio::{
    sync::{mpsc, oneshot},
    task::LocalSet,
};

use super::{
    copy::{Copy, DiskError},
    events::{PeerView, VolumeEvent, VolumeView},
    lacking::lacking,
    options::{Options, Shared},
    primary::Engine,
    secondary::Gate,
    stream::{Dialer, Duplex, StreamEnded},
    work,
};
use crate::block::Door;

type Order = Box<dyn FnOnce(Rc<Engine>) + Send>;
type Local<T> = Pin<Box<dyn Future<Output = T>>>;

/// Requests that wait at the door.
const DOOR: usize = 1024;

/// Why the data path did not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The disk failed.
    #[error("{0}")]
    Disk(String),
    /// It needs a peer, and that is not there.
    #[error("{0}")]
    Peer(String),
    /// This server is not configured to keep a copy.
    #[error("{0} keeps no copy of this volume")]
    Stranger(ServerName),
    /// It has ended.
    #[error("the data path of this volume has ended")]
    Ended,
}

impl From<DiskError> for PathError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error.why)
    }
}

/// The data path of one volume on this server.
pub struct Volume {
    copy: Arc<Copy>,
    shared: Arc<Shared>,
    gate: Arc<Gate>,
    orders: mpsc::UnboundedSender<Order>,
}

impl Volume {
    /// Opens a copy as a secondary; a thread of its own begins. `peers` are the other servers with a
    /// copy.
    ///
    /// # Errors
    /// When the management area or the thread fails.
    pub fn open(
        data: Arc<dyn Area>,
        management: Management,
        peers: &BTreeSet<ServerName>,
        options: Options,
        dialer: Arc<dyn Dialer>,
    ) -> Result<(Arc<Self>, mpsc::UnboundedReceiver<VolumeEvent>), PathError> {
        let opened = Copy::open(data, management, peers).map_err(DiskError::from)?;
        let copy = Arc::new(opened);
        #[cfg(feature = "planted")]
        {
            let mut journal = copy.journal();
            journal.planted = options.planted;
            journal.activity = tasuki_core::mirror::activity::Activity::new(options.slots);
        }
        let (tell, events) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::new(options, tell));
        shared.status().disk_failed = copy.failed();
        let (orders, incoming) = mpsc::unbounded_channel();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(DiskError::from)?;
        let (of_engine, engine_shared) = (copy.clone(), shared.clone());
        thread::Builder::new()
            .name(format!("vol-{}", copy.volume))
            .spawn(move || run(runtime, of_engine, engine_shared, dialer, incoming))
            .map_err(DiskError::from)?;
        let gate = Arc::new(Gate::new(copy.clone(), shared.clone()));
        Ok((Arc::new(Self { copy, shared, gate, orders }), events))
    }

    /// What the management area says of the copy; a disk that failed since is `Failed`.
    #[must_use]
    pub fn copy(&self) -> LocalCopy {
        let mut copy = self.copy.local();
        if self.shared.status().disk_failed.is_some() {
            copy.disk = DiskState::Failed;
        }
        copy
    }

    fn order(&self, what: impl FnOnce(Rc<Engine>) + Send + 'static) {
        // The thread ends only with the handle.
        let _it_has_ended = self.orders.send(Box::new(what));
    }

    async fn ask<T: Send + 'static>(
        &self,
        what: impl FnOnce(Rc<Engine>) -> Local<T> + Send + 'static,
    ) -> Result<T, PathError> {
        let (answer, wait) = oneshot::channel();
        self.order(move |engine| {
            work::work(async move {
                let _who_asked_is_gone = answer.send(what(engine).await);
            });
        });
        wait.await.map_err(|_| PathError::Ended)
    }

    /// Runs something on the volume's thread: an export, which then needs no other thread to reach the
    /// door.
    pub fn spawn(&self, what: impl FnOnce() -> Local<()> + Send + 'static) {
        self.order(move |_| {
            work::work(what());
        });
    }

    /// Ends every stream of an older epoch, finishes or drops what it had sent, and keeps the epoch
    /// durably (R31).
    ///
    /// # Errors
    /// When the management area fails.
    pub async fn store_epoch(&self, epoch: Epoch) -> Result<(), PathError> {
        Ok(self.gate.store_epoch(epoch).await?)
    }

    /// The copy is of a new generation, durably unless its disk has failed.
    ///
    /// # Errors
    /// When the management area fails.
    pub async fn store_step(&self, generation: Generation, by: &ServerName) -> Result<(), PathError> {
        let by = by.clone();
        let stored =
            self.ask(move |engine| async move { engine.store_step(generation, by).await }.boxed_local());
        Ok(stored.await??)
    }

    /// Where the own disk has failed: remembers that, until an operator says that it is in order again. To
    /// be called when the registry counts on this copy no more.
    ///
    /// # Errors
    /// When the management area fails too.
    pub async fn remember_failure(&self) -> Result<(), PathError> {
        let failed = self.shared.status().disk_failed.clone();
        if let Some(why) = failed {
            self.copy.store_failure(why).await?;
        }
        Ok(())
    }

    /// This server is primary from here on: its activity log is kept, requests are answered. One that is
    /// primary already goes on under the newer epoch.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn become_primary(&self, epoch: Epoch) -> Result<(), PathError> {
        Ok(self.ask(move |engine| async move { engine.begin(epoch).await }.boxed_local()).await??)
    }

    /// Calls a peer again and again until `disconnect`.
    pub fn connect(&self, peer: &ServerName, at: &[SocketAddr], epoch: Epoch) {
        let (peer, at) = (peer.clone(), at.to_vec());
        self.order(move |engine| {
            if let Some(slot) = engine.slot(&peer) {
                engine.connect(slot, at, epoch);
            }
        });
    }

    /// Ends the stream, and calls no more.
    pub fn disconnect(&self, peer: &ServerName) {
        self.with(peer, |engine, slot| engine.disconnect(slot));
    }

    fn with(&self, peer: &ServerName, what: impl FnOnce(&Rc<Engine>, usize) + Send + 'static) {
        let peer = peer.clone();
        self.order(move |engine| {
            if let Some(slot) = engine.slot(&peer) {
                what(&engine, slot);
            }
        });
    }

    /// How writes treat a peer from now on. For `Required`: `true` only when the peer is in step: its
    /// stream stands, it has adopted this copy's lineage, and its dirty map is empty. Only then may
    /// "UpToDate" be proposed (R26). Nothing is sent on a new stream before this.
    pub async fn set_peer(&self, peer: &ServerName, mode: PeerMode) -> bool {
        let peer = peer.clone();
        let set = self.ask(move |engine| {
            async move {
                match engine.slot(&peer) {
                    Some(slot) => engine.set_peer(slot, mode).await,
                    None => false,
                }
            }
            .boxed_local()
        });
        set.await.unwrap_or(false)
    }

    /// Begins a resync (R30). Writes go to the target once it has said that it is `Inconsistent`.
    pub fn start_resync(&self, peer: &ServerName, full: bool, save: bool) {
        self.with(peer, move |engine, slot| engine.start_resync(slot, full, save));
    }

    /// Lets it rest or go on.
    pub fn pause_resync(&self, peer: &ServerName, rest: bool) {
        self.with(peer, move |engine, slot| engine.pause_resync(slot, rest));
    }

    /// Ends it; what it did not copy stays in the maps.
    pub fn stop_resync(&self, peer: &ServerName) {
        self.with(peer, |engine, slot| engine.stop_work(slot));
    }

    /// Compares the copies beside running writes; with `repair`, what differs is copied by the next
    /// resync.
    pub fn verify(&self, peer: &ServerName, repair: bool) {
        self.with(peer, move |engine, slot| engine.verify(slot, repair));
    }

    /// Ends the checks of copies that are under way: each says so with `Verified`.
    pub fn stop_verify(&self) {
        self.order(|engine| engine.stop_verify());
    }

    /// What a peer lacks, as far as this copy knows: offsets and lengths in bytes, in order.
    #[must_use]
    pub fn lacks(&self, peer: &ServerName) -> Vec<(u64, u64)> {
        let geometry = self.copy.geometry();
        let bytes = |extent: u64| (extent * geometry.extent).min(geometry.size);
        let spans = lacking(&self.copy, peer).into_iter();
        spans.map(|(first, end)| (bytes(first), bytes(end) - bytes(first))).collect()
    }

    /// A door for exports and devices. Requests wait until this server is primary.
    #[must_use]
    pub fn door(&self) -> Door {
        let (requests, incoming) = mpsc::channel(DOOR);
        self.order(move |engine| {
            work::work(engine.serve(incoming));
        });
        Door { size: self.copy.geometry().size, block: SMALLEST_EXTENT as u32, requests }
    }

    /// Makes the volume as large as the smallest of the data areas that take part; its size then, in
    /// bytes. Exports and devices are to be told.
    ///
    /// # Errors
    /// It is not open here, waits for a peer, is being copied, or a disk fails.
    pub async fn resize(&self) -> Result<u64, PathError> {
        self.ask(|engine| async move { engine.resize().await }.boxed_local()).await?
    }

    /// Everything that was asked for is answered, and on both disks. To be called when exports and
    /// devices are away.
    ///
    /// # Errors
    /// When a disk failed.
    pub async fn quiet(&self) -> Result<(), PathError> {
        let quiet = self.ask(|engine| {
            async move {
                engine.quiet().await;
                engine.flush().await
            }
            .boxed_local()
        });
        quiet.await?.map_err(|why| PathError::Disk(why.to_string()))
    }

    /// Goes on without the own disk: reads and writes go through this peer (R27).
    ///
    /// # Errors
    /// When its stream does not stand.
    pub async fn go_diskless(&self, through: &ServerName) -> Result<(), PathError> {
        let peer = through.clone();
        let gone = self.ask(move |engine| {
            async move {
                match engine.slot(&peer) {
                    Some(slot) => engine.go_diskless(slot).await.map_err(PathError::Peer),
                    None => Err(PathError::Stranger(peer)),
                }
            }
            .boxed_local()
        });
        gone.await?
    }

    /// Fails what is in flight and what comes (R34).
    pub fn fail_io(&self) {
        self.order(|engine| engine.fail());
    }

    /// This server is no primary any more: peers are let go, maps are durable, the activity log is empty
    /// where both legs have been flushed.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn become_secondary(&self) -> Result<(), PathError> {
        Ok(self.ask(|engine| async move { engine.end().await }.boxed_local()).await??)
    }

    /// Answers a primary, and serves it until its stream ends. To be run where the stream is.
    pub async fn accept(&self, hello: Hello, duplex: Duplex) -> StreamEnded {
        let orders = self.orders.clone();
        let overthrow = move || {
            async move {
                let (answer, wait) = oneshot::channel();
                let order: Order = Box::new(move |engine| {
                    work::work(async move {
                        engine.overthrown().await;
                        let _nobody_waits = answer.send(());
                    });
                });
                let _it_has_ended = orders.send(order);
                let _it_has_ended = wait.await;
            }
            .boxed()
        };
        self.gate.accept(hello, duplex, overthrow).await
    }

    /// Serves the stream of a resync beside the one that this primary has; see [`Self::accept`].
    pub(super) async fn accept_beside(
        &self,
        primary: &ServerName,
        epoch: Epoch,
        token: &[u8],
        duplex: Duplex,
    ) -> StreamEnded {
        self.gate.accept_beside(primary, epoch, token, duplex).await
    }

    /// Whether the data path's thread answers. Waits for it as long as it takes.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn answers(&self) -> Result<(), PathError> {
        self.ask(|_| async {}.boxed_local()).await
    }

    /// No primary is answered any more.
    pub async fn close(&self) {
        self.gate.close().await;
    }

    /// How it is.
    #[must_use]
    pub fn view(&self) -> VolumeView {
        let status = self.shared.status().clone();
        let copy = self.copy();
        let role = if status.primary.is_some() { Role::Primary } else { Role::Secondary };
        let peers = match (&role, status.source) {
            (Role::Secondary, Some((server, syncs))) => vec![PeerView {
                dirty: self.copy.differing(&server) * copy.geometry.extent,
                link: if syncs { LinkState::SyncTarget } else { LinkState::Connected },
                mode: PeerMode::Absent,
                progress: None,
                server,
            }],
            (Role::Secondary, None) => Vec::new(),
            (Role::Primary, _) => {
                let mut peers = status.peers;
                for peer in &mut peers {
                    peer.dirty = self.copy.differing(&peer.server) * copy.geometry.extent;
                }
                peers
            }
        };
        VolumeView {
            role,
            disk: copy.disk,
            failed: status.disk_failed,
            size: copy.geometry.size,
            epoch: copy.epoch,
            generation: copy.history.generation(),
            frozen: status.frozen,
            peers,
            counters: self.shared.counters.read(),
        }
    }
}

fn run(
    runtime: tokio::runtime::Runtime,
    copy: Arc<Copy>,
    shared: Arc<Shared>,
    dialer: Arc<dyn Dialer>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let tasks = LocalSet::new();
    tasks.block_on(&runtime, async move {
        let engine = Engine::new(copy, shared.clone(), dialer);
        loop {
            tokio::select! {
                biased;
                why = work::broken() => {
                    shared.tell(VolumeEvent::Ended { why });
                    return;
                }
                order = orders.recv() => match order {
                    Some(order) => work::now(|| order(engine.clone())),
                    None => return,
                },
            }
        }
    });
    drop(tasks);
    // A disk that hangs must not keep the thread.
    runtime.shutdown_background();
}
