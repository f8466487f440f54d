//! The primary's side: requests come in, both legs go out, answers come back. All of it runs on the
//! volume's own thread, so nothing here is shared with another; what has to happen in one go has no
//! `await` in it.
//!
//! | module | what |
//! |---|---|
//! | [`requests`] | reads and writes as an export or a device asks for them |
//! | [`flight`] | writes under way, and when they may be answered |
//! | [`flush`] | barriers on both legs |
//! | [`habit`] | whether a flush will follow on a write |
//! | [`session`] | a session with a peer; its two streams are [`lane`]s, and [`beside`] opens the second |
//! | [`resize`] | a volume of another size, while it is used |
//! | [`peers`] | calling peers, and how writes treat them |
//! | [`diskless`] | the own disk fails; going on through a peer |

mod beside;
mod diskless;
mod flight;
mod flush;
mod habit;
mod lane;
mod peers;
mod requests;
mod resize;
mod session;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
};

use tasuki_core::{
    ids::{Epoch, ServerName},
    mirror::{LinkState, geometry::Geometry, history::History, state::PeerMode},
};
use tokio::sync::{Notify, Semaphore};

pub use self::session::Session;
use self::{flight::Flight, habit::Habit, peers::Peer};
use super::{
    copy::{Copy, DiskError},
    events::{PeerView, VolumeEvent},
    options::{Shared, lacks},
    ranges::Ranges,
    stream::Dialer,
};
use crate::block::BlockError;

/// Bytes of requests that one permit stands for.
const PERMIT: usize = 4096;

/// Where reads and writes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    /// To the own disk, and to peers beside it.
    Own,
    /// Nowhere: it has failed, and nothing is decided yet (R27).
    Nowhere,
    /// To a peer's disk only.
    Peer(usize),
}

/// The primary's side of one volume. It exists also while the server is secondary; then no door is open.
pub struct Engine {
    pub copy: Arc<Copy>,
    pub shared: Arc<Shared>,
    pub dialer: Arc<dyn Dialer>,
    pub ranges: Ranges,
    permits: Arc<Semaphore>,
    geometry: Cell<Geometry>,
    /// It is primary under this epoch: requests are answered.
    primary: Cell<Option<Epoch>>,
    pub peers: RefCell<Vec<Peer>>,
    flights: RefCell<BTreeMap<u64, Flight>>,
    through: Cell<Through>,
    /// The lineage of the data, where the own disk cannot keep it.
    noted: RefCell<Option<History>>,
    /// Everything fails from here on (R34).
    failing: Cell<bool>,
    /// Requests that are not answered yet.
    under_way: Cell<u64>,
    /// Writes to the own disk on other threads that have not ended.
    changing: Cell<u64>,
    /// Writes answered, and the nanoseconds that they took together.
    timed: Cell<(u64, u64)>,
    /// A flush that nobody asked for is under way.
    flushing: Cell<bool>,
    /// What the client does, to foresee flushes.
    habit: Cell<Habit>,
    /// Something changed that somebody may wait for.
    changed: Notify,
}

impl Engine {
    /// For a copy that was opened as a secondary.
    pub fn new(copy: Arc<Copy>, shared: Arc<Shared>, dialer: Arc<dyn Dialer>) -> Rc<Self> {
        let (geometry, peers) = {
            let journal = copy.journal();
            (journal.geometry, journal.legs.iter().map(|leg| Peer::new(leg.server.clone())).collect())
        };
        let permits = (shared.options.in_flight / PERMIT).max(FRAME_PERMITS as usize);
        let engine = Rc::new(Self {
            copy,
            dialer,
            ranges: Ranges::default(),
            permits: Arc::new(Semaphore::new(permits)),
            geometry: Cell::new(geometry),
            primary: Cell::new(None),
            peers: RefCell::new(peers),
            flights: RefCell::default(),
            through: Cell::new(Through::Own),
            noted: RefCell::default(),
            failing: Cell::new(false),
            under_way: Cell::new(0),
            changing: Cell::new(0),
            timed: Cell::new((0, 0)),
            flushing: Cell::new(false),
            habit: Cell::new(Habit::default()),
            changed: Notify::new(),
            shared,
        });
        engine.publish();
        engine
    }

    /// Which peer is whose.
    pub fn slot(&self, peer: &ServerName) -> Option<usize> {
        self.peers.borrow().iter().position(|it| it.server == *peer)
    }

    /// It is primary under this epoch from here on: the own log is kept, and requests are answered. A
    /// volume that is primary already goes on under the new epoch.
    pub async fn begin(&self, epoch: Epoch) -> Result<(), DiskError> {
        if self.through.get() == Through::Own {
            self.copy.begin_primary(epoch).await?;
        }
        self.failing.set(false);
        self.primary.set(Some(epoch));
        self.geometry.set(self.copy.geometry());
        self.changed();
        Ok(())
    }

    /// Waits until every request that was taken is answered; none comes after the door was shut.
    pub async fn quiet(&self) {
        self.until(|| self.under_way.get() == 0).await;
    }

    /// It is no primary any more: peers are let go, maps and log are durable.
    pub async fn end(self: &Rc<Self>) -> Result<(), DiskError> {
        if self.primary.get().is_some() {
            // What waits for a required peer that is let go already is answered with an error below.
            self.until(|| self.under_way.get() == 0 || !self.is_open()).await;
            // Also what nobody asked to be flushed: the copies are equal then, and the log can be empty.
            // What a required peer that is let go already has not flushed is in its map; a flush would
            // wait for it.
            tokio::select! {
                _a_disk_that_failed_was_told_of = self.flush() => {}
                () = self.until(|| !self.is_open()) => {}
            }
        }
        self.fail();
        self.until(|| self.changing.get() == 0).await;
        let peers = self.peers.borrow().len();
        for slot in 0..peers {
            self.hang_up(slot).await;
        }
        let was = self.primary.take();
        self.publish();
        if was.is_none() || self.through.get() != Through::Own {
            return Ok(());
        }
        self.copy.end_primary().await
    }

    /// Another server is primary under a newer epoch: nothing of this one may reach a disk any more.
    pub async fn overthrown(self: &Rc<Self>) {
        self.fail();
        self.until(|| self.changing.get() == 0).await;
        let peers = self.peers.borrow().len();
        for slot in 0..peers {
            self.hang_up(slot).await;
        }
        self.primary.set(None);
        self.publish();
    }

    /// Fails what is under way and what comes (R34).
    pub fn fail(&self) {
        if lacks!(self.shared.options, R34Waits) {
            return;
        }
        self.failing.set(true);
        self.fail_flights(BlockError::Io);
        self.changed();
    }

    /// Requests may go on: nothing has to be decided first.
    fn is_open(&self) -> bool {
        let peers = self.peers.borrow();
        let through = match self.through.get() {
            Through::Own => true,
            Through::Nowhere => false,
            // With more than two copies that peer can be lost and put out too.
            Through::Peer(slot) => peers.get(slot).is_some_and(Peer::in_use),
        };
        self.primary.get().is_some()
            && through
            && peers.iter().all(|peer| peer.mode != PeerMode::Required || peer.in_use())
    }

    /// Waits until requests may go on.
    async fn opened(&self) -> Result<(), BlockError> {
        if self.failing.get() {
            return Err(BlockError::Io);
        }
        if !self.is_open() {
            self.until(|| self.failing.get() || self.is_open()).await;
        }
        if self.failing.get() { Err(BlockError::Io) } else { Ok(()) }
    }

    /// Waits for something that a change can make true.
    pub async fn until(&self, mut is: impl FnMut() -> bool) {
        loop {
            let change = self.changed.notified();
            tokio::pin!(change);
            change.as_mut().enable();
            if is() {
                return;
            }
            change.await;
        }
    }

    /// Something changed: whoever waits looks again, and tables are renewed.
    pub fn changed(&self) {
        self.changed.notify_waiters();
        self.publish();
    }

    /// Whoever waits looks again; nothing changed that tables show.
    pub fn look_again(&self) {
        self.changed.notify_waiters();
    }

    /// Renews what tables show.
    pub fn publish(&self) {
        let peers = self.peers.borrow();
        let views = peers.iter().map(|peer| PeerView {
            server: peer.server.clone(),
            link: peer.link(),
            mode: peer.mode,
            dirty: 0, // counted when it is asked for
            progress: peer.progress,
        });
        let views: Vec<PeerView> = views.collect();
        drop(peers);
        let mut status = self.shared.status();
        status.peers = views;
        status.primary = self.primary.get();
        status.frozen = self.primary.get().is_some() && !self.is_open();
    }

    /// The own disk has failed: reads and writes wait for what is decided.
    pub fn disk_failed(&self, why: &DiskError) {
        if self.through.get() != Through::Own {
            return;
        }
        self.through.set(Through::Nowhere);
        self.shared.status().disk_failed = Some(why.why.clone());
        self.shared.tell(VolumeEvent::DiskFailed { why: why.why.clone() });
        self.changed();
    }

    /// The peer's relation, for tables.
    pub fn set_progress(&self, slot: usize, link: Option<LinkState>, progress: Option<super::Progress>) {
        if let Some(peer) = self.peers.borrow_mut().get_mut(slot) {
            peer.sync_link = link;
            peer.progress = progress;
        }
        self.publish();
    }

    /// Writes answered since the beginning, and the nanoseconds that they took together.
    pub fn timed(&self) -> (u64, u64) {
        self.timed.get()
    }

    /// The session with a peer, if its stream stands.
    pub fn session(&self, slot: usize) -> Option<Rc<Session>> {
        let peers = self.peers.borrow();
        peers.get(slot).and_then(|peer| peer.session.clone()).filter(|session| !session.is_over())
    }
}

/// A piece of a request is at most one frame.
const FRAME_PERMITS: u32 = 256;
