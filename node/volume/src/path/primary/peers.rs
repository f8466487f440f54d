//! Calling peers, and how writes treat them.

use std::{cell::Cell, net::SocketAddr, rc::Rc, time::Duration};

use bytes::Bytes;
use tasuki_core::{
    ids::{Epoch, ServerName},
    mirror::{
        LinkState,
        handshake::{Hello, Unwelcome, Welcome},
        state::PeerMode,
    },
};
use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::{Engine, Session};
use crate::path::{
    Progress,
    events::VolumeEvent,
    frame::{Body, Frame, Speech, decode, encode},
    options::{Shared, lacks},
    stream::{Duplex, StreamEnded},
    work::work,
};

/// A peer that was reached answers the greeting within this time: it may have to end an older
/// session and to store the epoch first.
pub const GREETING: Duration = Duration::from_secs(10);

/// One peer.
pub struct Peer {
    pub server: ServerName,
    /// How writes treat it.
    pub mode: PeerMode,
    /// The stream, once it let this primary in.
    pub session: Option<Rc<Session>>,
    /// It is being called.
    calling: Option<Rc<Call>>,
    sessions: u64,
    /// A resync or check, which ends with the session.
    pub work: Option<AbortHandle>,
    /// Set, it ends the check that is under way.
    pub check: Option<Rc<Cell<bool>>>,
    /// What the work makes of the relation, for tables.
    pub sync_link: Option<LinkState>,
    pub progress: Option<Progress>,
    /// A resync rests.
    pub resting: Rc<Rest>,
    /// Spans of extents that a check found to differ, for the next resync.
    pub marked: Vec<(u64, u64)>,
}

/// Whether a resync rests.
#[derive(Default)]
pub struct Rest {
    pub rests: Cell<bool>,
    pub changed: Notify,
}

#[derive(Default)]
struct Call {
    stopped: Cell<bool>,
    stop: Notify,
}

impl Peer {
    /// One that is not called.
    pub fn new(server: ServerName) -> Self {
        Self {
            server,
            mode: PeerMode::Absent,
            session: None,
            calling: None,
            sessions: 0,
            work: None,
            check: None,
            sync_link: None,
            progress: None,
            resting: Rc::default(),
            marked: Vec::new(),
        }
    }

    /// Writes go there.
    pub fn in_use(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_used())
    }

    /// The relation.
    pub fn link(&self) -> LinkState {
        match &self.session {
            Some(session) if session.is_used() => match self.sync_link {
                // What was under way when it was told to rest still says how far it is.
                Some(LinkState::SyncSource) if self.resting.rests.get() => LinkState::Paused,
                link => link.unwrap_or(LinkState::Connected),
            },
            Some(_) => LinkState::Handshaking,
            None => LinkState::Disconnected,
        }
    }

    /// Ends a resync or a check.
    pub fn stop_work(&mut self) {
        if let Some(work) = self.work.take() {
            work.abort();
        }
        if let Some(session) = &self.session {
            session.forget_blocks();
        }
        self.check = None;
        (self.sync_link, self.progress) = (None, None);
    }
}

/// That a peer is waited for, told once, and taken back when the stream ends.
struct Awaited<'a> {
    shared: &'a Shared,
    peer: &'a ServerName,
    is_told: bool,
}

impl Awaited<'_> {
    fn tell(&mut self, slow: bool) {
        if slow != self.is_told {
            self.is_told = slow;
            self.shared.tell(VolumeEvent::PeerAwaited { peer: self.peer.clone(), over: !slow });
        }
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.tell(false);
    }
}

/// What became of a call.
enum Met {
    In(Welcome, Duplex),
    Refused(Unwelcome),
    Lost(StreamEnded),
}

impl Engine {
    /// A peer's name.
    pub fn name_of(&self, slot: usize) -> ServerName {
        self.peers.borrow().get(slot).map_or_else(|| ServerName::from(""), |peer| peer.server.clone())
    }

    /// Calls a peer again and again, until it is hung up on.
    pub fn connect(self: &Rc<Self>, slot: usize, at: Vec<SocketAddr>, epoch: Epoch) {
        let call = Rc::new(Call::default());
        let before = match self.peers.borrow_mut().get_mut(slot) {
            Some(peer) => peer.calling.replace(call.clone()),
            None => return,
        };
        if let Some(before) = &before {
            before.stop();
        }
        let engine = self.clone();
        work(async move {
            // An earlier call's session ends before this one begins.
            engine.until(|| engine.session_of_any(slot).is_none()).await;
            while !call.stopped.get() {
                engine.call(slot, &at, epoch, &call).await;
                tokio::select! {
                    () = sleep(engine.shared.options.redial) => {}
                    () = call.stop.notified() => {}
                }
            }
            let mut peers = engine.peers.borrow_mut();
            if let Some(peer) = peers.get_mut(slot)
                && peer.calling.as_ref().is_some_and(|current| Rc::ptr_eq(current, &call))
            {
                peer.calling = None;
            }
            drop(peers);
            engine.changed();
        });
    }

    fn session_of_any(&self, slot: usize) -> Option<Rc<Session>> {
        self.peers.borrow().get(slot).and_then(|peer| peer.session.clone())
    }

    /// Ends the stream, and calls no more.
    pub fn disconnect(&self, slot: usize) {
        let call = self.peers.borrow().get(slot).and_then(|peer| peer.calling.clone());
        if let Some(call) = call {
            call.stop();
        }
    }

    /// The same, and waits until it has ended.
    pub async fn hang_up(&self, slot: usize) {
        self.disconnect(slot);
        let gone = || {
            self.peers.borrow().get(slot).is_none_or(|peer| peer.session.is_none() && peer.calling.is_none())
        };
        self.until(gone).await;
    }

    async fn call(self: &Rc<Self>, slot: usize, at: &[SocketAddr], epoch: Epoch, call: &Call) {
        let peer = self.name_of(slot);
        let met = tokio::select! {
            met = self.meet(&peer, at, epoch) => met,
            () = call.stop.notified() => return,
        };
        match met {
            Met::In(welcome, duplex) => self.hold(slot, epoch, welcome, duplex, (call, at)).await,
            Met::Refused(why) => self.shared.tell(VolumeEvent::PeerRefused { peer, why }),
            Met::Lost(why) => self.shared.tell(VolumeEvent::PeerLost { peer, why: why.0 }),
        }
    }

    async fn meet(&self, peer: &ServerName, at: &[SocketAddr], epoch: Epoch) -> Met {
        let (local, wires) = (self.copy.local(), self.shared.options.wires);
        let hello = Hello {
            lineage: self.copy.lineage.clone(),
            volume: self.copy.volume.clone(),
            primary: self.copy.server.clone(),
            epoch,
            geometry: local.geometry,
            history: self.history(),
            wire: wires,
        };
        let greeting = Frame { epoch, number: 1, body: Body::Hello(hello), data: Bytes::new() };
        let met = timeout(GREETING, async {
            let mut duplex = self.dialer.dial(&self.copy.volume, peer, at).await?;
            duplex.sink.send(&mut vec![encode(greeting, Speech::GREETING)]).await?;
            let answer = duplex.source.next().await?;
            let frame = decode(answer).map_err(|why| StreamEnded(why.to_string()))?;
            match frame.body {
                Body::Welcome(welcome) if frame.number == 1 && wires.has(welcome.wire) => {
                    Ok(Met::In(welcome, duplex))
                }
                Body::Unwelcome(why) => Ok(Met::Refused(why)),
                _ => Err(StreamEnded("the answer to a greeting was something else".to_owned())),
            }
        });
        match met.await {
            Ok(Ok(met)) => met,
            Ok(Err(why)) => Met::Lost(why),
            Err(_) => Met::Lost(StreamEnded("it did not answer a greeting".to_owned())),
        }
    }

    async fn hold(
        self: &Rc<Self>,
        slot: usize,
        epoch: Epoch,
        welcome: Welcome,
        mut duplex: Duplex,
        (call, at): (&Call, &[SocketAddr]),
    ) {
        let peer = self.name_of(slot);
        let session = {
            let mut peers = self.peers.borrow_mut();
            let Some(peer) = peers.get_mut(slot) else { return };
            peer.sessions += 1;
            let speech = Speech { wire: welcome.wire, compression: self.shared.options.compression };
            let session = Session::new(peer.sessions, slot, epoch, speech);
            peer.session = Some(session.clone());
            session
        };
        let differing = self.copy.differing(&peer);
        self.shared.tell(VolumeEvent::PeerMet { welcome, differing });
        self.changed();
        let ended = tokio::select! {
            ended = session.lane.write_out(&mut *duplex.sink) => ended,
            ended = session.lane.read_in(&mut *duplex.source, |frame| session.take(self, &session.lane, frame)) => ended,
            ended = self.keep_beside(&peer, &session, at) => ended,
            () = self.watch(&peer, &session) => StreamEnded("it is not watched any more".to_owned()),
            () = call.stop.notified() => StreamEnded("it was hung up on".to_owned()),
        };
        drop(duplex);
        if session.is_used() {
            self.copy.journal().part(slot);
        }
        session.end();
        if let Some(peer) = self.peers.borrow_mut().get_mut(slot) {
            peer.session = None;
            peer.stop_work();
        }
        // What was under way is in the map by now; it is answered unless the peer is required.
        self.legs_recorded(slot);
        self.shared.tell(VolumeEvent::PeerLost { peer, why: ended.0 });
        self.changed();
    }

    /// Says when a peer is slow; never returns.
    async fn watch(&self, peer: &ServerName, session: &Session) {
        let limit = self.shared.options.peer_timeout;
        let waits = limit.is_zero();
        let limit = if waits { self.shared.options.awaited } else { limit };
        let mut awaited = Awaited { shared: &self.shared, peer, is_told: false };
        let mut told = false;
        loop {
            sleep(limit / 4).await;
            let slow = session.owes() > limit;
            if waits {
                awaited.tell(slow);
            } else if slow && !told {
                self.shared.tell(VolumeEvent::PeerSlow { peer: peer.clone() });
            }
            told = slow;
        }
    }

    /// How writes treat a peer from now on. For `Required`: whether it is in step, which is when its
    /// stream stands, it has this copy's lineage, and its dirty map is empty (R26).
    pub async fn set_peer(&self, slot: usize, mode: PeerMode) -> bool {
        let Some((session, used)) = self.peers.borrow_mut().get_mut(slot).map(|peer| {
            peer.mode = mode;
            if mode == PeerMode::Absent {
                peer.stop_work();
            }
            (peer.session.clone(), peer.in_use())
        }) else {
            return false;
        };
        match (mode, session) {
            (PeerMode::Absent, session) => {
                if let Some(session) = session.filter(|_| used) {
                    self.copy.journal().part(slot);
                    session.rest();
                }
                self.legs_recorded(slot);
                self.changed();
                true
            }
            (PeerMode::Syncing, _) => {
                // Writes are recorded until the resync has begun: before the peer counts as half
                // written, nothing is written there.
                self.land_all();
                self.changed();
                true
            }
            (PeerMode::Required, None) => {
                self.changed();
                lacks!(self.shared.options, R26Blind)
            }
            (PeerMode::Required, Some(session)) => {
                let empty = self.lacks_nothing(slot);
                if empty && !used {
                    self.join(slot, &session);
                }
                self.changed();
                let adopted = empty && session.ask(Body::Adopt(self.history()), Bytes::new()).await.is_some();
                let now = self.session_of_any(slot).is_some_and(|now| Rc::ptr_eq(&now, &session));
                let required = self.peers.borrow().get(slot).is_some_and(|peer| peer.mode == mode);
                let in_step = adopted && now && required && session.is_used() && self.lacks_nothing(slot);
                in_step || lacks!(self.shared.options, R26Blind)
            }
        }
    }

    pub fn join(&self, slot: usize, session: &Session) {
        let mut journal = self.copy.journal();
        journal.join(slot);
        session.begin(journal.number());
    }

    fn lacks_nothing(&self, slot: usize) -> bool {
        self.copy.journal().legs.get(slot).is_some_and(|leg| leg.map.is_empty())
    }
}

impl Call {
    fn stop(&self) {
        self.stopped.set(true);
        self.stop.notify_one();
    }
}
