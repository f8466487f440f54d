//! The guard process, through its socket.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tasuki_actors::ports::Guard;
use tasuki_core::{
    config::OnHang, membership::hang::Watched, registry::state::AfterStop, time::Timestamp, timing::Timing,
};
use tasuki_system::{
    clock::ClockWatch,
    guard::{GuardClient, GuardError},
};

/// The guard, with the node's own look at the clocks (R38).
#[derive(Debug)]
pub struct SystemGuard {
    client: GuardClient,
    clocks: Mutex<ClockWatch>,
    /// How long a lease lasts, in nanoseconds.
    lease: AtomicU64,
}

impl SystemGuard {
    /// Takes over the guard's socket, within a tokio runtime. `main` has called
    /// `tasuki_system::guard::die_with_parent` before.
    ///
    /// # Errors
    /// When this process was not started by a guard.
    pub fn connect() -> Result<Self, GuardError> {
        Ok(Self {
            client: GuardClient::connect()?,
            clocks: Mutex::default(),
            lease: AtomicU64::new(u64::MAX),
        })
    }

    /// Tells the guard the times that the cluster is configured for: at the start, and after each
    /// change.
    pub fn set_times(&self, timing: &Timing, on_hang: OnHang) {
        let lease = u64::try_from(timing.lease.as_nanos()).unwrap_or(u64::MAX);
        self.lease.store(lease, Ordering::Relaxed);
        self.client.set_times(timing.lease, timing.guard_budget, on_hang);
    }

    /// How long a lease lasts.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_nanos(self.lease.load(Ordering::Relaxed))
    }

    /// The guard's socket, for the watcher that shares nothing else with the node.
    #[must_use]
    pub fn client(&self) -> GuardClient {
        self.client.clone()
    }

    /// Returns when the guard asks for a clean stop.
    pub async fn stop_requested(&self) {
        self.client.stop_requested().await;
    }
}

#[async_trait]
impl Guard for SystemGuard {
    fn watchdog(&self) -> Option<Duration> {
        self.client.watchdog()
    }

    fn renew(&self, end: Timestamp) {
        let jump = self.clocks.lock().unwrap_or_else(PoisonError::into_inner).check();
        match jump {
            // The end was computed by a clock that cannot be trusted.
            Some(jump) => self.client.stand_down(&jump.to_string()),
            None => self.client.renew(end),
        }
    }

    fn lease_end(&self) -> Option<Timestamp> {
        self.client.lease_end()
    }

    fn held_nothing(&self) -> bool {
        self.client.held_nothing()
    }

    fn alive(&self, part: Watched) {
        self.client.alive(part);
    }

    fn hangs(&self, part: Watched, why: &str) {
        self.client.hangs(&format!("{part} {why}"));
    }

    async fn end_lease(&self) -> Result<(), String> {
        self.client.end_lease().await.map_err(|error| error.to_string())
    }

    fn stand_down(&self, why: &str) {
        self.client.stand_down(why);
    }

    fn reset(&self, why: &str) {
        self.client.reset(why);
    }

    fn leave(&self, after: AfterStop) {
        self.client.leave(after);
    }
}
