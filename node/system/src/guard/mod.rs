//! The guard: a small process beside the node that holds the lease's end.
//!
//! At that moment, whatever the node does or does not do, it kills the node, then everything that
//! runs under it, and drops the addresses (R10). It starts the node, and starts it again when it
//! dies, while what runs goes on. It decides nothing else, and talks to no network.
//!
//! One thread, one loop: wait for something, turn it into an [`Event`], do what [`Decider`] says.
//! Nothing is logged between a lease's end and the kill: a log may block.

mod client;
pub mod decide;
mod effects;
mod error;
pub mod protocol;
mod watchdog;

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::fd::AsFd,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
        time::TimeSpec,
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
};
use rustix::fs::{FlockOperation, flock};
use tasuki_core::{registry::state::AfterStop, time::Timestamp};

pub use self::{
    client::{GuardClient, die_with_parent},
    decide::watchdog_cost,
    error::GuardError,
};
use self::{
    decide::{Action, Cause, Decider, Event, WatchdogRule},
    effects::Hands,
    protocol::{ToGuard, ToNode},
    watchdog::Watchdog,
};
use crate::{
    clock::{self, ClockWatch},
    confinement::Confinement,
    layout::Layout,
    scheduling,
};

/// What may be done to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerPolicy {
    /// Only say that it should be done: laboratories and tests.
    None,
    /// Reboot and power off through systemd.
    System,
}

/// A watchdog to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchdogOptions {
    /// `/dev/watchdog`.
    pub device: PathBuf,
    /// The time-out to ask for; devices know whole seconds.
    pub timeout: Duration,
}

/// How processes are kept together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfinementChoice {
    /// Control groups where there are any.
    BestPossible,
    /// Marked processes.
    Marked,
}

/// What a guard is started with.
#[derive(Clone, Debug)]
pub struct GuardOptions {
    /// The server's data folder.
    pub data_dir: PathBuf,
    /// What is of one boot only; in memory, where possible.
    pub run_dir: PathBuf,
    /// The node's command line: program and arguments.
    pub node_command: Vec<OsString>,
    /// What may be done to the machine.
    pub power: PowerPolicy,
    /// The watchdog, if there is one.
    pub watchdog: Option<WatchdogOptions>,
    /// How long a lease lasts, until the node says otherwise.
    pub lease: Duration,
    /// What the guard has to stop everything, until the node says otherwise.
    pub guard_budget: Duration,
    /// How processes are kept together.
    pub confinement: ConfinementChoice,
}

/// Runs the guard until this server leaves.
///
/// # Errors
/// When it cannot start; a running guard does not give up.
pub fn run(options: GuardOptions) -> Result<ExitCode, GuardError> {
    let mut guard = Guard::new(options)?;
    guard.start();
    while !guard.decider.is_done() {
        guard.wait_and_handle();
    }
    Ok(ExitCode::SUCCESS)
}

struct Guard {
    options: GuardOptions,
    decider: Decider,
    hands: Hands,
    clock_watch: ClockWatch,
    timer: TimerFd,
    signals: SignalFd,
    watchdog: Option<Watchdog>,
    last_pet: Timestamp,
    /// Held for as long as the guard lives.
    _lock: File,
}

/// So many packets are read before the clock is looked at again: a node gone mad must not keep its
/// guard from the lease's end.
const PACKETS_AT_ONCE: usize = 64;
/// The clocks are compared at least this often.
const CLOCK_CHECK: Duration = Duration::from_millis(500);

impl Guard {
    fn new(options: GuardOptions) -> Result<Self, GuardError> {
        let layout = Layout::open(&options.data_dir, &options.run_dir).map_err(GuardError::io("folders"))?;
        let lock = lock(&layout)?;
        let system = |what: &'static str| move |error: nix::Error| GuardError::io(what)(error.into());
        // Before anything is started: orphans of this server's programs come to the guard.
        prctl::set_child_subreaper(true).map_err(system("child subreaper"))?;
        let confinement = match options.confinement {
            ConfinementChoice::BestPossible => Confinement::detect(&layout),
            ConfinementChoice::Marked => Confinement::marked(&layout),
        };
        let boot = clock::boot_id().map_err(GuardError::io("boot id"))?;
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD] {
            mask.add(signal);
        }
        mask.thread_block().map_err(system("signals"))?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let signals = SignalFd::with_flags(&mask, flags).map_err(system("signals"))?;
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, flags).map_err(system("timer"))?;
        let watchdog = match &options.watchdog {
            None => None,
            Some(wanted) => Some(
                Watchdog::open(&wanted.device, wanted.timeout)
                    .map_err(|source| GuardError::Watchdog { device: wanted.device.clone(), source })?,
            ),
        };
        let hands = Hands::new(layout, confinement, boot, options.node_command.clone())
            .map_err(GuardError::io("run folder"))?;
        Ok(Self {
            decider: Decider::new(options.guard_budget, options.lease),
            options,
            hands,
            clock_watch: ClockWatch::new(),
            timer,
            signals,
            watchdog,
            last_pet: Timestamp::default(),
            _lock: lock,
        })
    }

    fn start(&mut self) {
        let achieved = scheduling::prefer_in_time();
        if let Err(error) = scheduling::session_in_time() {
            tracing::debug!(%error, "the session keeps its share of the processor");
        }
        tracing::info!(
            confinement = self.hands.confinement.name(),
            real_time = achieved.real_time,
            locked_memory = achieved.locked_memory,
            watchdog = self.watchdog.is_some(),
            "guard started"
        );
        let started = Event::Started {
            remembered: self.hands.remembered(),
            runs: self.hands.runs(),
            old_node: self.hands.has_node(),
        };
        self.handle(started);
    }

    fn wait_and_handle(&mut self) {
        self.wait();
        if let Some(jump) = self.clock_watch.check() {
            self.handle(Event::ClockJumped);
            tracing::error!(%jump, "the clock jumped");
        }
        self.handle_packets();
        if let Some(status) = self.hands.reap() {
            self.handle(Event::NodeEnded);
            tracing::warn!(status, "the node ended");
        }
        while let Ok(Some(signal)) = self.signals.read_signal() {
            if Signal::try_from(signal.ssi_signo.cast_signed()) != Ok(Signal::SIGCHLD) {
                self.handle(Event::AskedToEnd);
            }
        }
        self.handle(Event::Tick);
        self.pet();
    }

    fn wait(&self) {
        let now = clock::now();
        let mut wake = now + CLOCK_CHECK;
        if self.watchdog.is_some() {
            // Often enough that the last petting allowed comes close to the end of what is allowed.
            wake = wake.min(now + (self.options.guard_budget / 4).max(Duration::from_millis(5)));
        }
        if let Some(tick) = self.decider.next_tick(now) {
            wake = wake.min(tick);
        }
        // A timer of the boot clock: poll's own time-out would not count a suspend.
        let at = TimeSpec::from_duration(Duration::from_nanos(wake.0.max(1)));
        let set = self.timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME);
        let longest = if set.is_ok() { PollTimeout::NONE } else { PollTimeout::from(5_u8) };
        let mut waiting = vec![
            PollFd::new(self.timer.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        let node = self.hands.node_fd().into_iter().chain(self.hands.node_socket());
        waiting.extend(node.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let _all_are_looked_at_anyway = poll(&mut waiting, longest);
    }

    fn handle_packets(&mut self) {
        for _ in 0..PACKETS_AT_ONCE {
            let Some(socket) = self.hands.node_socket() else { return };
            let event = match protocol::hear(socket) {
                Ok(Some(ToGuard::Times { lease, guard_budget, on_hang })) => {
                    self.options.lease = lease;
                    self.options.guard_budget = guard_budget;
                    self.decider.set_times(guard_budget, lease, on_hang);
                    continue;
                }
                Ok(Some(ToGuard::Renew { end })) => Event::Renewed { end },
                Ok(Some(ToGuard::EndLease { id })) => Event::GivenBack { id },
                Ok(Some(ToGuard::StandDown { why })) => Event::AskedToStandDown { why },
                Ok(Some(ToGuard::Reset { why })) => Event::AskedToReset { why },
                Ok(Some(ToGuard::Alive { part, at })) => Event::Alive { part, at },
                Ok(Some(ToGuard::Hangs { why })) => Event::Hangs { why },
                Ok(Some(ToGuard::Leave { after })) => Event::Left { after },
                Ok(None) => return self.hands.close_socket(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.handle(Event::AllHeard);
                }
                Err(error) => {
                    tracing::error!(%error, "the node sent nonsense");
                    continue;
                }
            };
            self.handle(event);
        }
    }

    /// Takes one event, and what follows from it.
    fn handle(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let actions = self.decider.on(event, clock::now());
            // The node is killed under the deadline of the stop that follows it.
            let deadline = actions.iter().find_map(|action| match action {
                Action::StopAll { deadline, .. } => Some(*deadline),
                _ => None,
            });
            let with_node = actions.contains(&Action::KillNode);
            for action in actions {
                events.extend(self.perform(action, deadline, with_node));
            }
        }
    }

    fn perform(&mut self, action: Action, deadline: Option<Timestamp>, with_node: bool) -> Option<Event> {
        match action {
            Action::StartNode => match self
                .hands
                .start_node(self.decider.lease_end(), self.watchdog.as_ref().map(Watchdog::timeout))
            {
                Ok(pid) => tracing::info!(pid, "node started"),
                Err(error) => {
                    tracing::error!(%error, "TSK-1505: the node could not be started");
                    return Some(Event::NodeEnded);
                }
            },
            Action::Reset { why } => self.reset(&why),
            Action::KillNode => {
                let alone = deadline.is_none();
                let deadline = deadline.unwrap_or_else(|| clock::now() + self.options.guard_budget);
                self.hands.kill_node(deadline);
                if alone && !self.hands.has_node() {
                    return Some(Event::NodeEnded);
                }
            }
            Action::StopAll { cause, deadline } => {
                let began = clock::now();
                let spare = cause == Cause::LeaseEnded;
                let done = self.hands.stop_all(with_node, spare, deadline);
                let took = clock::now().since(began);
                tracing::warn!(%cause, ?took, done, "stopped what ran");
                return Some(if done { Event::AllStopped } else { Event::StillRunning });
            }
            Action::Overdue => tracing::error!(
                "TSK-1506: something still runs although the budget is used up; \
                 a watchdog resets this machine now, without one it is not provably stopped"
            ),
            Action::Remember(end) => {
                if let Err(error) = self.hands.remember(end) {
                    tracing::error!(%error, "the lease's end could not be written down");
                }
            }
            Action::Acknowledge { id } => self.hands.tell(&ToNode::LeaseEnded { id }),
            Action::TellNodeToStop => self.hands.tell(&ToNode::Stop),
            Action::End { after } => self.end(after),
        }
        None
    }

    fn pet(&mut self) {
        let (budget, lease) = (self.options.guard_budget, self.options.lease);
        let Some(watchdog) = &mut self.watchdog else { return };
        let timeout = watchdog.timeout();
        let rule = WatchdogRule { timeout, budget, cost: watchdog_cost(timeout, lease, budget) };
        let now = clock::now();
        let lease_end = self.decider.lease_end();
        if now.since(self.last_pet) < budget / 8 {
            return;
        }
        let runs = lease_end.is_none() && self.hands.runs();
        if rule.may_pet(now, lease_end, runs) {
            self.last_pet = now;
            if let Err(error) = watchdog.pet() {
                tracing::error!(%error, "the watchdog was not petted");
            }
        }
    }

    /// Where it is permitted, nothing comes after this.
    fn reset(&self, why: &str) {
        tracing::error!(why, "resetting this machine");
        match self.options.power {
            PowerPolicy::None => tracing::warn!("the machine is left as it is"),
            PowerPolicy::System => {
                let error = effects::reset();
                tracing::error!(%error, "TSK-1508: this machine could not be reset; what runs is stopped");
            }
        }
    }

    fn end(&mut self, after: AfterStop) {
        self.hands.leave();
        if let Some(watchdog) = self.watchdog.take()
            && let Err(error) = watchdog.close()
        {
            tracing::error!(%error, "the watchdog was not closed: it will reset the machine");
        }
        let verb = match after {
            AfterStop::Nothing => return tracing::info!("guard ends"),
            AfterStop::Reboot => "reboot",
            AfterStop::PowerOff => "poweroff",
            AfterStop::Reset => return self.reset("this server has left"),
        };
        match self.options.power {
            PowerPolicy::None => tracing::warn!(verb, "the machine is left as it is"),
            PowerPolicy::System => match effects::power(verb) {
                Ok(status) => tracing::info!(verb, %status, "guard ends"),
                Err(error) => tracing::error!(verb, %error, "systemctl could not be run"),
            },
        }
    }
}

/// One guard a data folder.
fn lock(layout: &Layout) -> Result<File, GuardError> {
    let path = layout.guard_lock();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(GuardError::io("lock"))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        let _only_for_the_message = file.read_to_string(&mut holder);
        let holder = format!("process {}", holder.trim());
        return Err(GuardError::AlreadyRuns { data_dir: layout.data_dir().into(), holder });
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(GuardError::io("lock"))?;
    Ok(file)
}
