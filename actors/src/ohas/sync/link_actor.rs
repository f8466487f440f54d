//! One heartbeat path to one peer.
//!
//! Started by the links' supervisor; owns the core's [`Link`] machine. The lease actor gives the
//! time: one beat of the synchronisation service, one wake-up. Lost at a restart: the
//! loss statistics and the path's state, which the next beats bring back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use serde::{Deserialize, Serialize};
use tasuki_core::{
    config::{HeartbeatPath, Role},
    ids::{Incarnation, NetworkName, ServerName},
    membership::{
        gate::Standing,
        lease::{Grant, Request},
        link::{Link, LinkEvent, Pace},
        punctuality::{Punctuality, TooTight},
        view::{GossipState, PathState, PathView, PeerView, View},
    },
    time::Timestamp,
    timing::Timing,
};

use crate::{
    context::Context,
    ohas::registry::raft_node::RaftNode,
    supervise::{Child, Slot, SupervisorMsg},
};

/// What servers say to each other in datagrams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkMessage {
    /// A sign of life on this path.
    Beat {
        /// Counts the beats of this path.
        seq: u64,
        /// The peer's last beat, for its round trip.
        echo: Option<Echo>,
        /// To the leader: renew my lease. It rides on every path, and costs no datagram of its own.
        ask: Option<Request>,
        /// What the sender's log has (R15).
        standing: Standing,
    },
    /// Your lease is renewed.
    Granted(Grant),
    /// A SWIM message.
    Gossip(Vec<u8>),
    /// A sign of life on a path that carries evidence only: no lease is asked for here (R21).
    Aside {
        /// Counts the beats of this path.
        seq: u64,
        /// The peer's last beat, for its round trip.
        echo: Option<Echo>,
        /// Nothing runs any more of what this server's incarnations before this one started, and
        /// its guard holds no lease.
        stopped_before: Option<Incarnation>,
    },
}

/// A beat that was received, and how long the answer took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echo {
    /// Which beat.
    pub seq: u64,
    /// Held for so many nanoseconds.
    pub held: u64,
}

/// A path to a peer.
pub type PathKey = (ServerName, NetworkName);

/// The links of one node, as others see them.
#[derive(Default)]
pub struct Links {
    /// Their supervisor.
    pub supervisor: Slot<SupervisorMsg>,
    slots: Mutex<BTreeMap<PathKey, Slot<LinkMsg>>>,
    paths: Mutex<BTreeMap<PathKey, PathView>>,
    gossip: Mutex<BTreeMap<ServerName, GossipState>>,
    ask: Mutex<Option<(ServerName, Request)>>,
}

impl Links {
    /// The actors for all configured paths.
    pub fn children(&self, context: &Arc<Context>) -> Vec<Child> {
        configured(context).into_iter().map(|key| self.child(context, key)).collect()
    }

    /// The actor for one path.
    pub fn child(&self, context: &Arc<Context>, key: PathKey) -> Child {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default();
        let context = context.clone();
        Child::worker(name_of(&key), move || (LinkActor, (context.clone(), key.clone())))
    }

    /// The paths that have an actor.
    pub fn known(&self) -> BTreeSet<PathKey> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Forgets a path that is configured no more.
    pub fn forget(&self, key: &PathKey) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.supervisor.cast(SupervisorMsg::Remove(name_of(key)));
    }

    /// A beat arrived on a path.
    pub fn beat(&self, key: &PathKey, seq: u64, echo: Option<Echo>) {
        let slot = self.slots.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        if let Some(slot) = slot {
            slot.cast(LinkMsg::Beat { seq, echo });
        }
    }

    /// What gossip says of a server.
    pub fn set_gossip(&self, context: &Context, server: &ServerName, state: GossipState) {
        self.gossip.lock().unwrap_or_else(PoisonError::into_inner).insert(server.clone(), state);
        self.publish(context);
    }

    /// A path's state is this now.
    pub(super) fn set_path(&self, context: &Context, key: &PathKey, path: PathView) {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), path);
        self.publish(context);
    }

    /// Nothing is known any more of what comes over this path, from anybody.
    pub(super) fn drop_path(&self, context: &Context, path: &NetworkName) {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).retain(|(_, name), _| name != path);
        self.publish(context);
    }

    fn publish(&self, context: &Context) {
        let mut view = View::default();
        let gossip = self.gossip.lock().unwrap_or_else(PoisonError::into_inner);
        for ((server, network), path) in &*self.paths.lock().unwrap_or_else(PoisonError::into_inner) {
            let state = gossip.get(server).copied().unwrap_or(GossipState::Joining);
            let peer = view
                .peers
                .entry(server.clone())
                .or_insert_with(|| PeerView { gossip: state, paths: BTreeMap::new() });
            peer.paths.insert(network.clone(), path.clone());
        }
        drop(gossip);
        context.view.send_if_modified(|old| {
            let changed = **old != view;
            *old = Arc::new(view);
            changed
        });
    }

    /// Time to send a beat on every path, to the leader with this request for the lease.
    pub fn beat_all(&self, ask: Option<(ServerName, Request)>) {
        *self.ask.lock().unwrap_or_else(PoisonError::into_inner) = ask;
        for slot in self.slots.lock().unwrap_or_else(PoisonError::into_inner).values() {
            slot.cast(LinkMsg::Tick);
        }
    }

    fn ask_for(&self, peer: &ServerName) -> Option<Request> {
        let ask = self.ask.lock().unwrap_or_else(PoisonError::into_inner);
        ask.as_ref().filter(|(to, _)| to == peer).map(|(_, request)| request.clone())
    }

    /// Sends one message to a peer over one path.
    pub fn send_over(&self, context: &Context, to: &ServerName, path: &NetworkName, message: &LinkMessage) {
        if let Ok(body) = postcard::to_stdvec(message) {
            context.ports.links.send(to, path, &body);
        }
    }

    /// Sends one message to a peer over all its networks.
    pub fn send(&self, context: &Context, to: &ServerName, message: &LinkMessage) {
        let Ok(body) = postcard::to_stdvec(message) else { return };
        for (server, network) in self.known() {
            if server == *to && !HeartbeatPath::is_evidence_only(&network) {
                context.ports.links.send(&server, &network, &body);
            }
        }
    }
}

/// All paths to all other servers, as configured. A witness that only votes has no cable but its
/// network's.
pub fn configured(context: &Context) -> BTreeSet<PathKey> {
    let config = context.config();
    let Some(me) = config.servers.get(context.me()) else { return BTreeSet::new() };
    let mut keys = BTreeSet::new();
    for (server, other) in config.servers.iter().filter(|(server, _)| *server != context.me()) {
        // A witness that only keeps a record sends no heartbeats.
        let heartbeats = config.settings.heartbeats.iter();
        for path in heartbeats.filter(|_| me.role.may_vote() && other.role.may_vote()) {
            let joins_both = match path {
                HeartbeatPath::Lan { network } => {
                    me.addresses.contains_key(network) && other.addresses.contains_key(network)
                }
                HeartbeatPath::Com { .. } | HeartbeatPath::Disk { .. } => {
                    me.role == Role::Server && other.role == Role::Server
                }
            };
            if joins_both {
                keys.insert((server.clone(), path.name()));
            }
        }
    }
    keys
}

/// The path of this name.
fn path_of(context: &Context, name: &NetworkName) -> HeartbeatPath {
    let registry = context.state();
    let heartbeats = match &registry.settings {
        Some(settings) => &settings.value.heartbeats,
        None => &context.options.config.settings.heartbeats,
    };
    let known = heartbeats.iter().find(|path| path.name() == *name);
    known.cloned().unwrap_or_else(|| HeartbeatPath::Lan { network: name.clone() })
}

fn name_of((server, network): &PathKey) -> String {
    format!("link {server} over {network}")
}

/// What a link is told.
#[derive(Debug)]
pub enum LinkMsg {
    /// A beat arrived.
    Beat {
        /// The sender's count.
        seq: u64,
        /// Our last beat, as the sender got it.
        echo: Option<Echo>,
    },
    /// Time to send one, and to look.
    Tick,
}

/// The actor.
pub struct LinkActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    key: PathKey,
    path: HeartbeatPath,
    link: Link,
    punctuality: Punctuality,
    tight: Option<TooTight>,
    ticks: u64,
    next: u64,
    sent: BTreeMap<u64, Timestamp>,
    heard: Option<(u64, Timestamp)>,
}

impl Actor for LinkActor {
    type Msg = LinkMsg;
    type State = State;
    type Arguments = (Arc<Context>, PathKey);

    async fn pre_start(
        &self,
        me: ActorRef<LinkMsg>,
        (context, key): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let now = context.ports.clock.now();
        let link = Link::new(now);
        context.links.set_path(&context, &key, link.view());
        let slot = context
            .links
            .slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(key.clone())
            .or_default()
            .clone();
        slot.set(me);
        let path = path_of(&context, &key.1);
        Ok(State {
            context,
            key,
            path,
            link,
            punctuality: Punctuality::default(),
            tight: None,
            ticks: 0,
            next: 0,
            sent: BTreeMap::new(),
            heard: None,
        })
    }

    async fn handle(
        &self,
        _me: ActorRef<LinkMsg>,
        message: LinkMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let now = state.context.ports.clock.now();
        match message {
            LinkMsg::Tick => {
                state.ticks += 1;
                if state.ticks.is_multiple_of(state.times().1.every) {
                    state.send_beat(now);
                }
                state.take(LinkEvent::Tick, now);
            }
            LinkMsg::Beat { seq, echo } => {
                state.heard = Some((seq, now));
                let round_trip = echo.and_then(|echo| {
                    let sent = state.sent.get(&echo.seq)?;
                    now.since(*sent).checked_sub(std::time::Duration::from_nanos(echo.held))
                });
                state.take(LinkEvent::Beat { seq, round_trip }, now);
            }
        }
        Ok(())
    }
}

impl State {
    fn send_beat(&mut self, now: Timestamp) {
        self.next += 1;
        self.sent.insert(self.next, now);
        while self.sent.len() > 64 {
            self.sent.pop_first();
        }
        let held = |at: Timestamp| u64::try_from(now.since(at).as_nanos()).unwrap_or(u64::MAX);
        let echo = self.heard.map(|(seq, at)| Echo { seq, held: held(at) });
        let seq = self.next;
        let beat = if HeartbeatPath::is_evidence_only(&self.key.1) {
            LinkMessage::Aside { seq, echo, stopped_before: self.context.stopped_before }
        } else {
            let standing = self.context.raft.borrow().as_ref().map(RaftNode::standing).unwrap_or_default();
            LinkMessage::Beat { seq, echo, ask: self.context.links.ask_for(&self.key.0), standing }
        };
        if let Ok(body) = postcard::to_stdvec(&beat) {
            self.context.ports.links.send(&self.key.0, &self.key.1, &body);
        }
    }

    fn times(&self) -> (Timing, Pace) {
        let registry = self.context.registry.borrow();
        let timing = match &registry.settings {
            Some(settings) => settings.value.timing.clone(),
            None => self.context.options.config.settings.timing.clone(),
        };
        let pace = Pace::of(&self.path, &timing);
        (timing, pace)
    }

    fn take(&mut self, event: LinkEvent, now: Timestamp) {
        let (timing, pace) = self.times();
        if let LinkEvent::Beat { .. } = event {
            self.punctuality.heard(&timing, &pace, now);
        }
        let change = self.link.on(event, &pace, now);
        let due = change.is_some() || self.ticks.is_multiple_of(20); // statistics once in a while
        if due {
            let tight = self.punctuality.judge(&timing, &pace, now);
            self.tell_tight(&timing, tight);
            let view = PathView { jitter: self.punctuality.jitter(), tight, ..self.link.view() };
            self.context.links.set_path(&self.context, &self.key, view);
        }
        let Some(change) = change.filter(|change| change.news) else { return };
        let (server, path) = &self.key;
        let (kind, text) = match change.to {
            PathState::Normal => ("path-normal", format!("{server} is heard on {path}")),
            PathState::Caution => {
                let (late, patience) = (change.silent.as_millis(), pace.lost.as_millis());
                ("path-late", format!("{server} is late on {path} by {late} ms of {patience} ms of patience"))
            }
            _ => ("path-lost", format!("{server} is not heard on {path}")),
        };
        self.context.tell(kind, format!("path/{server}/{path}"), text);
    }

    /// Once when it begins, and once when it is over.
    fn tell_tight(&mut self, timing: &Timing, tight: Option<TooTight>) {
        let before = std::mem::replace(&mut self.tight, tight);
        let (server, path) = &self.key;
        let (kind, text) = match (before, tight) {
            (None, Some(tight)) => ("detect-too-tight", tight.sentence(server, path, timing.detect)),
            (Some(_), None) => ("detect-fits", format!("beats from {server} come in time again on {path}")),
            _ => return,
        };
        self.context.tell(kind, format!("path/{server}/{path}"), text);
    }
}
