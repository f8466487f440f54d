//! The node's side of the guard.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{prctl::set_pdeathsig, signal::SigSet, signal::Signal},
    unistd::{dup2_stdin, getppid},
};
use tasuki_core::{config::OnHang, membership::hang::Watched, registry::state::AfterStop, time::Timestamp};
use tokio::{
    io::unix::AsyncFd,
    sync::{oneshot, watch},
};

use super::{
    GuardError,
    protocol::{GUARD_PID_VARIABLE, SOCKET_VARIABLE, ToGuard, ToNode, hear, say},
};
use crate::{clock, readable::readable};

/// How long a guard that has just started its node may take to speak.
const WELCOME_PATIENCE: Duration = Duration::from_secs(5);
/// How long a packet that must not be lost may wait for room.
const ROOM_PATIENCE: Duration = Duration::from_secs(1);

/// The first thing a node's `main` does, before it has a second thread: from here on the kernel
/// kills it when its guard dies, because then nobody would stop it at its lease's end.
///
/// # Errors
/// [`GuardError::NoGuard`] when there is no guard (any more).
pub fn die_with_parent() -> Result<(), GuardError> {
    set_pdeathsig(Signal::SIGKILL).map_err(|error| GuardError::io("parent death signal")(error.into()))?;
    let guard = std::env::var(GUARD_PID_VARIABLE).ok().and_then(|pid| pid.parse::<i32>().ok());
    // The guard may have died before the kernel knew; then the parent is another process.
    if guard != Some(getppid().as_raw()) {
        return Err(GuardError::NoGuard);
    }
    // The guard reads its signals from a descriptor, and its mask is inherited.
    SigSet::empty().thread_set_mask().map_err(|error| GuardError::io("signal mask")(error.into()))
}

/// The guard, as its node sees it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct GuardClient {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    socket: OwnedFd,
    state: Mutex<State>,
    next_id: AtomicU64,
    /// The guard held no lease when it started this process.
    held_nothing: bool,
    /// The time-out of the watchdog that the guard has armed.
    watchdog: Option<Duration>,
    /// When each part last gave a sign of life, and when the guard was last told; boot clock.
    alive: [Signs; Watched::ALL.len()],
    /// The guard need not be told more often, in nanoseconds.
    alive_every: AtomicU64,
    stop: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Signs {
    given: AtomicU64,
    told: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    lease_end: Option<Timestamp>,
    /// Who waits for an acknowledgement. While somebody does, no lease is renewed (R7).
    ending: BTreeMap<u64, oneshot::Sender<()>>,
}

impl GuardClient {
    /// Takes over the socket that the guard left as standard input. Within a tokio runtime. When
    /// the guard goes away, this process exits.
    ///
    /// # Errors
    /// [`GuardError::NoGuard`] when this process was not started by one.
    pub fn connect() -> Result<Self, GuardError> {
        if std::env::var(SOCKET_VARIABLE).as_deref() != Ok("0") {
            return Err(GuardError::NoGuard);
        }
        let socket = io::stdin().as_fd().try_clone_to_owned().map_err(GuardError::io("guard socket"))?;
        let null = File::open("/dev/null").map_err(GuardError::io("/dev/null"))?;
        dup2_stdin(null).map_err(|error| GuardError::io("/dev/null")(error.into()))?;
        Self::attach(socket, || {
            tracing::error!("the guard is gone");
            std::process::exit(70)
        })
    }

    /// As [`connect`](Self::connect), over a given socket.
    ///
    /// # Errors
    /// When no guard speaks there.
    pub fn attach(socket: OwnedFd, when_gone: impl FnOnce() + Send + 'static) -> Result<Self, GuardError> {
        let welcome = hear_welcome(&socket).map_err(GuardError::io("the guard's welcome"))?;
        let (lease_end, watchdog_ms) = match welcome {
            Some(ToNode::Welcome { lease_end, watchdog_ms }) => (lease_end, watchdog_ms),
            _ => return Err(GuardError::NoGuard),
        };
        let failed = || GuardError::io("guard socket");
        let reading = socket.try_clone().map_err(failed())?;
        let reading = readable(reading).map_err(failed())?;
        let state = Mutex::new(State { lease_end, ending: BTreeMap::new() });
        let (stop, _) = watch::channel(false);
        let shared = Arc::new(Shared {
            socket,
            state,
            next_id: AtomicU64::new(1),
            held_nothing: lease_end.is_none(),
            watchdog: watchdog_ms.map(Duration::from_millis),
            alive: Default::default(),
            alive_every: AtomicU64::new(0),
            stop,
        });
        let listener = shared.clone();
        tokio::spawn(async move {
            listener.listen(reading).await;
            when_gone();
        });
        Ok(Self { shared })
    }

    /// The time-out of the watchdog that the guard has armed, if it has one.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.shared.watchdog
    }

    /// Tells the guard the times that the cluster is configured for.
    pub fn set_times(&self, lease: Duration, guard_budget: Duration, on_hang: OnHang) {
        let often = u64::try_from((lease / 10).as_nanos()).unwrap_or(u64::MAX);
        self.shared.alive_every.store(often, Ordering::Relaxed);
        self.shared.insist(&ToGuard::Times { lease, guard_budget, on_hang });
    }

    /// A part of this process moves (O9). Cheap: the guard is told ten times a lease at most.
    pub fn alive(&self, part: Watched) {
        let Some(signs) = self.shared.alive.get(part as usize) else { return };
        let at = clock::now();
        signs.given.store(at.0, Ordering::Relaxed);
        let told = Timestamp(signs.told.load(Ordering::Relaxed));
        let often = Duration::from_nanos(self.shared.alive_every.load(Ordering::Relaxed));
        // One that the guard has no room for is lost; the next one says as much.
        if at.since(told) >= often && say(&self.shared.socket, &ToGuard::Alive { part, at }).is_ok() {
            signs.told.store(at.0, Ordering::Relaxed);
        }
    }

    /// When a part last gave a sign of life.
    #[must_use]
    pub fn last_alive(&self, part: Watched) -> Option<Timestamp> {
        let given = self.shared.alive.get(part as usize)?.given.load(Ordering::Relaxed);
        (given > 0).then_some(Timestamp(given))
    }

    /// A part of this process hangs: everything is to be stopped, or the machine reset, as
    /// configured.
    pub fn hangs(&self, why: &str) {
        let why: String = why.chars().take(500).collect();
        self.shared.insist(&ToGuard::Hangs { why });
    }

    /// Whether the guard held no lease when it started this process: it had made sure that nothing
    /// of the nodes before it runs.
    #[must_use]
    pub fn held_nothing(&self) -> bool {
        self.shared.held_nothing
    }

    /// The lease now ends at `end`.
    pub fn renew(&self, end: Timestamp) {
        let mut state = self.shared.state();
        if !state.ending.is_empty() {
            return;
        }
        match say(&self.shared.socket, &ToGuard::Renew { end }) {
            Ok(()) => state.lease_end = state.lease_end.max(Some(end)),
            // Not counted as renewed: the next one may pass, or the guard acts as it must.
            Err(error) => tracing::warn!(%error, "the guard did not take a renewal"),
        }
    }

    /// The end of the lease that the guard holds, if it has not ended.
    #[must_use]
    pub fn lease_end(&self) -> Option<Timestamp> {
        let now = clock::now();
        self.shared.state().lease_end.filter(|end| *end > now)
    }

    /// Gives the lease back; returns when the guard has made sure that nothing runs (R7).
    ///
    /// # Errors
    /// When the guard does not answer; it then still holds the lease.
    pub async fn end_lease(&self) -> Result<(), GuardError> {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let (acknowledge, acknowledged) = oneshot::channel();
        {
            let mut state = self.shared.state();
            state.lease_end = None;
            state.ending.insert(id, acknowledge);
            self.shared.insist(&ToGuard::EndLease { id });
        }
        let gone = |_| GuardError::io("ending the lease")(io::ErrorKind::BrokenPipe.into());
        acknowledged.await.map_err(gone)
    }

    /// Everything is to be stopped, this process too.
    pub fn stand_down(&self, why: &str) {
        let why: String = why.chars().take(500).collect();
        self.shared.insist(&ToGuard::StandDown { why });
    }

    /// The machine is to be reset at once; where that is not permitted, as for `stand_down`.
    pub fn reset(&self, why: &str) {
        let why: String = why.chars().take(500).collect();
        self.shared.insist(&ToGuard::Reset { why });
    }

    /// The last word of a node that has stopped cleanly; it should end soon after.
    pub fn leave(&self, after: AfterStop) {
        self.shared.insist(&ToGuard::Leave { after });
    }

    /// Returns when the guard asks for a clean stop.
    pub async fn stop_requested(&self) {
        let mut stop = self.shared.stop.subscribe();
        let _the_sender_lives_as_long_as_self = stop.wait_for(|asked| *asked).await;
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what must not be lost. A guard that does not read stands everything down by itself at
    /// the lease's end; a node that cannot tell it must not go on.
    fn insist(&self, message: &ToGuard) {
        let deadline = clock::now() + ROOM_PATIENCE;
        loop {
            match say(&self.socket, message) {
                Ok(()) => return,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && clock::now() < deadline => {
                    let mut waiting = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
                    let _either_way_it_is_tried = poll(&mut waiting, PollTimeout::from(50_u8));
                }
                Err(error) => {
                    tracing::error!(%error, ?message, "the guard cannot be told: this node ends");
                    std::process::exit(70)
                }
            }
        }
    }

    async fn listen(&self, socket: AsyncFd<OwnedFd>) {
        loop {
            let Ok(mut ready) = socket.readable().await else { return };
            match ready.try_io(|socket| hear::<ToNode>(socket.get_ref())) {
                Ok(Ok(Some(ToNode::LeaseEnded { id }))) => {
                    if let Some(waiting) = self.state().ending.remove(&id) {
                        let _gave_up = waiting.send(());
                    }
                }
                Ok(Ok(Some(ToNode::Stop))) => {
                    self.stop.send_replace(true);
                }
                Ok(Ok(Some(ToNode::Welcome { .. }))) => {}
                Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    tracing::error!(%error, "the guard sent nonsense");
                }
                Ok(Ok(None) | Err(_)) => return,
                Err(_would_block) => {}
            }
        }
    }
}

fn hear_welcome(socket: &OwnedFd) -> io::Result<Option<ToNode>> {
    let millis = u16::try_from(WELCOME_PATIENCE.as_millis()).unwrap_or(u16::MAX);
    let mut waiting = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    poll(&mut waiting, PollTimeout::from(millis))?;
    hear(socket)
}
