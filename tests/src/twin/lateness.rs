//! How late this machine is: where time is real, a test that wants something to be in time says nothing on
//! a machine that is busy with something else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// Measures for as long as it lives, in the runtime that everything else runs in.
pub struct Lateness {
    worst: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Lateness {
    /// Begins to measure.
    #[must_use]
    pub fn measure() -> Self {
        let worst = Arc::new(AtomicU64::new(0));
        let seen = worst.clone();
        let task = tokio::spawn(async move {
            loop {
                let began = Instant::now();
                tokio::time::sleep(LOOK).await;
                let late = began.elapsed().saturating_sub(LOOK).as_millis();
                seen.fetch_max(u64::try_from(late).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        });
        Self { worst, task }
    }

    /// By how much something that was due came too late, at worst.
    #[must_use]
    pub fn worst(&self) -> Duration {
        Duration::from_millis(self.worst.load(Ordering::Relaxed))
    }
}

impl Drop for Lateness {
    fn drop(&mut self) {
        self.task.abort();
    }
}
