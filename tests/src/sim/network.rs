//! Cables: every direction of every path between two machines by itself. Datagrams get lost, are
//! late, come twice and out of order; calls are late, and break when the process at the other end
//! does.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tasuki_actors::ports::{Datagram, LinkSocket, PeerAddress, PeerError, PeerMethod, PeerTransport};
use tasuki_core::ids::{NetworkName, ServerName};
use tokio::sync::{mpsc, oneshot};

use super::{
    aside::{Aside, is_aside},
    world::{STEP, State, World},
};

/// One direction of one path: from, to, network.
pub type Wire = (usize, usize, NetworkName);

/// How a wire behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quality {
    /// Nothing passes.
    pub cut: bool,
    /// Milliseconds that everything takes, from and to.
    pub delay: (u64, u64),
    /// Datagrams lost, of a thousand. A call that loses a packet is late.
    pub loss: u64,
    /// Datagrams that come twice, of a thousand.
    pub twice: u64,
    /// Milliseconds that a call or an answer takes besides, from and to: its connection is stuck, while
    /// datagrams pass.
    pub stuck: (u64, u64),
    /// No datagram passes, while calls do.
    pub mute: bool,
    /// What is longer than so many bytes does not pass, as where a path's largest packet is not known;
    /// zero: everything does.
    pub most: usize,
}

/// A cable in order.
pub const GOOD: Quality =
    Quality { cut: false, delay: (0, 2), loss: 0, twice: 0, stuck: (0, 0), mute: false, most: 0 };

/// What is on its way.
pub enum Parcel {
    /// A datagram.
    Datagram {
        /// From.
        from: usize,
        /// To.
        to: usize,
        /// What.
        datagram: Datagram,
    },
    /// A call.
    Request {
        /// From.
        from: usize,
        /// To.
        to: usize,
        /// Over which network.
        over: NetworkName,
        /// Its number.
        call: u64,
        /// Which attempt of it.
        attempt: usize,
        /// What is asked.
        method: PeerMethod,
        /// With what.
        body: Bytes,
    },
    /// An answer, or the news that the connection is broken.
    Reply {
        /// Whose call.
        call: u64,
        /// Which attempt of it.
        attempt: usize,
        /// What came of it.
        answer: Result<Bytes, Broken>,
    },
}

/// Why an attempt gave no answer.
#[derive(Clone, Debug)]
pub enum Broken {
    /// The connection was refused, or broke, after the request had gone over it or before.
    Connection(String, bool),
    /// The node answered with an error.
    Refused(String),
}

struct Due {
    at: u64,
    number: u64,
    parcel: Parcel,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

struct Call {
    from: usize,
    method: PeerMethod,
    attempts: usize,
    broken: usize,
    /// A connection broke after the request had gone over it.
    maybe: bool,
    /// All attempts were made.
    complete: bool,
    tell: Option<oneshot::Sender<Result<Bytes, PeerError>>>,
}

/// All cables.
pub struct NetworkState {
    /// The networks, best first.
    pub networks: Vec<NetworkName>,
    wires: BTreeMap<Wire, Quality>,
    queue: BinaryHeap<Reverse<Due>>,
    number: u64,
    calls: BTreeMap<u64, Call>,
    /// Served and not answered: call, attempt → (from, to, over).
    serving: BTreeMap<(u64, usize), (usize, usize, NetworkName)>,
    /// Where datagrams go, by machine.
    sockets: BTreeMap<usize, mpsc::Sender<Datagram>>,
    /// Between two attempts of a call.
    hedge: Duration,
    /// What arrived while the machine did not move.
    held: BTreeMap<usize, Vec<Parcel>>,
    /// The paths beside the networks.
    pub aside: Aside,
    /// Bytes of the shortest call that Raft's log came with: one with no entry in it.
    pub beat: usize,
}

impl NetworkState {
    /// Cables between all machines over all networks, in order.
    #[must_use]
    pub fn new(networks: Vec<NetworkName>, hedge: Duration) -> Self {
        Self {
            networks,
            wires: BTreeMap::new(),
            queue: BinaryHeap::new(),
            number: 0,
            calls: BTreeMap::new(),
            serving: BTreeMap::new(),
            sockets: BTreeMap::new(),
            hedge,
            held: BTreeMap::new(),
            aside: Aside::default(),
            beat: usize::MAX,
        }
    }

    /// How a wire is.
    #[must_use]
    pub fn quality(&self, from: usize, to: usize, over: &NetworkName) -> Quality {
        self.wires.get(&(from, to, over.clone())).copied().unwrap_or(GOOD)
    }

    /// Changes a wire.
    pub fn set(&mut self, from: usize, to: usize, over: &NetworkName, change: impl FnOnce(&mut Quality)) {
        change(self.wires.entry((from, to, over.clone())).or_insert(GOOD));
    }

    /// All wires are in order again.
    pub fn heal(&mut self) {
        self.wires.clear();
        self.aside.garbage.clear();
        self.aside.hangs.clear();
        self.aside.torn = 0;
    }

    /// A node has opened its datagram socket.
    pub fn plug(&mut self, at: usize, socket: mpsc::Sender<Datagram>) {
        self.sockets.insert(at, socket);
    }

    /// A machine's processes are gone: who waits for an answer from it hears of a broken connection.
    pub fn process_gone(&mut self, at: usize, now: u64) {
        self.sockets.remove(&at);
        self.calls.retain(|_, call| call.from != at);
        let broken: Vec<(u64, usize)> =
            self.serving.iter().filter(|(_, (_, to, _))| *to == at).map(|(key, _)| *key).collect();
        for key in broken {
            if let Some((from, to, over)) = self.serving.remove(&key)
                && !self.quality(to, from, &over).cut
            {
                let answer = Err(Broken::Connection("the connection was reset".into(), true));
                self.push(now + STEP, Parcel::Reply { call: key.0, attempt: key.1, answer });
            }
        }
    }

    /// A machine is off: nobody is told anything.
    pub fn forget(&mut self, at: usize) {
        self.sockets.remove(&at);
        self.calls.retain(|_, call| call.from != at);
        self.serving.retain(|_, (_, to, _)| *to != at);
        self.held.remove(&at);
    }

    /// Puts something on its way.
    pub(super) fn push(&mut self, at: u64, parcel: Parcel) {
        self.number += 1;
        self.queue.push(Reverse(Due { at, number: self.number, parcel }));
    }

    /// What has arrived by now.
    pub fn arrived(&mut self, now: u64) -> Vec<Parcel> {
        let mut parcels = Vec::new();
        while self.queue.peek().is_some_and(|Reverse(due)| due.at <= now) {
            if let Some(Reverse(due)) = self.queue.pop() {
                parcels.push(due.parcel);
            }
        }
        parcels
    }

    /// Keeps what arrived for a machine that does not move: as much as buffers hold.
    pub fn hold(&mut self, at: usize, parcel: Parcel) {
        let held = self.held.entry(at).or_default();
        if held.len() < 200 {
            held.push(parcel);
        }
    }

    /// What was kept for a machine.
    pub fn release(&mut self, at: usize) -> Vec<Parcel> {
        self.held.remove(&at).unwrap_or_default()
    }

    /// Hands a datagram to the node's socket; a full one loses it.
    pub fn hand_over(&self, to: usize, datagram: Datagram) {
        if let Some(socket) = self.sockets.get(&to) {
            let _ = socket.try_send(datagram);
        }
    }

    /// An answer has arrived, or the news of a broken connection.
    pub fn answered(&mut self, number: u64, answer: Result<Bytes, Broken>) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let outcome = match answer {
            Ok(body) => Ok(body),
            Err(Broken::Refused(why)) => Err(PeerError::Refused(why)),
            Err(Broken::Connection(why, sent)) => {
                call.broken += 1;
                call.maybe |= sent;
                // As the real transport: no other path's answer tells whether it was done.
                let over = sent && call.method == PeerMethod::Propose;
                // As the real transport: when every path is broken, there will be no answer.
                if !(over || call.complete && call.broken >= call.attempts) {
                    return;
                }
                Err(if call.maybe { PeerError::Broken(why) } else { PeerError::Unreachable(why) })
            }
        };
        if let Some(tell) = call.tell.take() {
            let _ = tell.send(outcome);
        }
        self.calls.remove(&number);
    }

    /// A node has begun to serve an attempt.
    pub fn serves(&mut self, call: u64, attempt: usize, from: usize, to: usize, over: NetworkName) {
        self.serving.insert((call, attempt), (from, to, over));
    }
}

impl State {
    /// When something of this length sent now arrives; never, when the wire is cut or it is too long.
    fn arrival(
        &mut self,
        from: usize,
        to: usize,
        over: &NetworkName,
        length: usize,
        reliable: bool,
    ) -> Option<u64> {
        let quality = self.network.quality(from, to, over);
        let too_long = quality.most > 0 && length > quality.most;
        if quality.cut || too_long || quality.mute && !reliable {
            return None;
        }
        let mut millis = self.dice.between(quality.delay.0, quality.delay.1);
        if reliable && quality.stuck.1 > 0 {
            millis += self.dice.between(quality.stuck.0, quality.stuck.1);
        }
        if quality.loss > 0 && self.dice.permille(quality.loss) {
            if !reliable {
                return None;
            }
            millis += self.dice.between(200, 400); // TCP sends it again
        }
        Some(self.now + STEP + millis * 1_000_000)
    }

    /// Puts a datagram on a wire.
    pub fn send_datagram(&mut self, from: usize, to: usize, over: &NetworkName, body: &[u8]) {
        if is_aside(over) {
            return self.send_aside(from, to, over, body);
        }
        let copies = 1 + u64::from({
            let twice = self.network.quality(from, to, over).twice;
            twice > 0 && self.dice.permille(twice)
        });
        for _ in 0..copies {
            if let Some(at) = self.arrival(from, to, over, body.len(), false) {
                let from_name = self.machines[from].name.clone();
                let datagram =
                    Datagram { from: from_name, path: over.clone(), body: Bytes::copy_from_slice(body) };
                self.network.push(at, Parcel::Datagram { from, to, datagram });
            }
        }
    }

    /// An answer goes back where its request came from.
    pub fn send_reply(&mut self, call: u64, attempt: usize, answer: Result<Bytes, Broken>) {
        let Some((from, to, over)) = self.network.serving.remove(&(call, attempt)) else { return };
        let length = answer.as_ref().map_or(0, Bytes::len);
        if let Some(at) = self.arrival(to, from, &over, length, true) {
            self.network.push(at, Parcel::Reply { call, attempt, answer });
        }
    }

    /// Nobody listens there: the machine refuses the connection.
    pub fn refuse(&mut self, from: usize, to: usize, over: &NetworkName, call: u64, attempt: usize) {
        if let Some(at) = self.arrival(to, from, over, 0, true) {
            let answer = Err(Broken::Connection("connection refused".into(), false));
            self.network.push(at, Parcel::Reply { call, attempt, answer });
        }
    }
}

/// A machine's network, as its node's ports.
pub struct Ports {
    world: World,
    at: usize,
    incoming: Mutex<Option<mpsc::Receiver<Datagram>>>,
}

impl Ports {
    /// The ports of a node that is about to start.
    #[must_use]
    pub fn new(world: World, at: usize) -> Self {
        let (send, receive) = mpsc::channel(512);
        world.state().network.plug(at, send);
        Self { world, at, incoming: Mutex::new(Some(receive)) }
    }

    fn attempt(&self, to: usize, call: u64, attempt: usize, method: PeerMethod, body: &Bytes) {
        let mut state = self.world.state();
        if method == PeerMethod::Append {
            state.network.beat = state.network.beat.min(body.len());
        }
        let networks = state.network.networks.len();
        let over = state.network.networks[attempt % networks].clone();
        if let Some(known) = state.network.calls.get_mut(&call) {
            known.attempts += 1;
            known.complete = attempt + 1 == networks;
        }
        if let Some(at) = state.arrival(self.at, to, &over, body.len(), true) {
            let (from, body) = (self.at, body.clone());
            state.network.push(at, Parcel::Request { from, to, over, call, attempt, method, body });
        }
    }
}

#[async_trait]
impl PeerTransport for Ports {
    async fn call(
        &self,
        to: &PeerAddress,
        method: PeerMethod,
        body: Bytes,
        ttl: Duration,
    ) -> Result<Bytes, PeerError> {
        let (to, call, hedge, networks, answer) = {
            let mut state = self.world.state();
            let Some(number) = state.number(&to.server) else {
                return Err(PeerError::Unreachable(format!("{} is unknown", to.server)));
            };
            let (tell, answer) = oneshot::channel();
            state.network.number += 1;
            let call = state.network.number;
            let known = Call {
                from: self.at,
                method,
                attempts: 0,
                broken: 0,
                maybe: false,
                complete: false,
                tell: Some(tell),
            };
            state.network.calls.insert(call, known);
            (number, call, state.network.hedge, state.network.networks.len(), answer)
        };
        let attempts = async {
            for attempt in 0..networks {
                self.attempt(to, call, attempt, method, &body);
                if attempt + 1 < networks {
                    tokio::time::sleep(hedge).await;
                }
            }
            std::future::pending::<()>().await;
        };
        let outcome = tokio::select! {
            biased;
            answer = answer => answer.unwrap_or_else(|_| Err(PeerError::Unreachable("this process ends".into()))),
            () = attempts => Err(PeerError::Timeout(ttl)),
            () = tokio::time::sleep(ttl) => Err(PeerError::Timeout(ttl)),
        };
        self.world.state().network.calls.remove(&call);
        outcome
    }
}

impl LinkSocket for Ports {
    fn send(&self, to: &ServerName, path: &NetworkName, body: &[u8]) {
        let mut state = self.world.state();
        if let Some(to) = state.number(to) {
            state.send_datagram(self.at, to, path, body);
        }
    }

    fn set_peers(&self, _: BTreeMap<ServerName, BTreeMap<NetworkName, IpAddr>>) {}

    fn incoming(&self) -> Option<mpsc::Receiver<Datagram>> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Both directions between two sides of a cluster.
#[must_use]
pub fn between(one: &BTreeSet<usize>, machines: usize) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for from in 0..machines {
        for to in 0..machines {
            if from != to && one.contains(&from) != one.contains(&to) {
                pairs.push((from, to));
            }
        }
    }
    pairs
}
