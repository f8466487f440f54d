//! How late this machine is, by its timers and by its disk: where time is real, a test that wants something
//! to be in time says nothing on a machine that is busy with something else.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// Between two small writes that are synced, as every entry of the registry is.
const SYNC: Duration = Duration::from_millis(50);

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
        measure_syncs(Arc::downgrade(&worst));
        Self { worst, task }
    }

    /// By how much something that was due came too late, or how long a small write took, at worst.
    #[must_use]
    pub fn worst(&self) -> Duration {
        Duration::from_millis(self.worst.load(Ordering::Relaxed))
    }
}

/// In a thread of its own, which ends when nobody asks any more. A machine without a place for the file has
/// none for the stores either.
fn measure_syncs(worst: Weak<AtomicU64>) {
    let Ok(file) = tempfile::tempfile() else { return };
    let sync = move |file: &File| file.write_all_at(&[1; 4096], 0).and_then(|()| file.sync_data());
    thread::spawn(move || {
        while let Some(worst) = worst.upgrade() {
            let began = Instant::now();
            let synced = sync(&file);
            let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            worst.fetch_max(took, Ordering::Relaxed);
            drop(worst);
            if synced.is_err() {
                return;
            }
            thread::sleep(SYNC);
        }
    });
}

impl Drop for Lateness {
    fn drop(&mut self) {
        self.task.abort();
    }
}
