//! Bringing a peer's copy up to date, and comparing copies (R30).
//!
//! ```text
//!  SyncBegin ──► the target is Inconsistent, says what its maps name ──► writes go there too
//!     ──► runs of dirty extents: hold the range, skip what is equal or zero, send, wait ──► flush ──► clear
//!     ──► nothing is left: SyncEnd ──► the target is whole, its maps empty ──► Synced
//! ```

mod source;
pub mod sums;
mod verify;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Instant,
};

use tasuki_core::mirror::{
    LinkState,
    resync::{Pace, Sample},
};

use super::{events::Progress, primary::Engine};

/// Runs under way at the same time.
const RUNS: usize = 4;
/// The pace follows what is measured so often.
const SAMPLES: std::time::Duration = std::time::Duration::from_millis(100);

/// How a resync or check goes.
struct Course {
    slot: usize,
    link: LinkState,
    pace: RefCell<Pace>,
    total: Cell<u64>,
    done: Cell<u64>,
    sent: Cell<u64>,
    sampled: Cell<(Instant, u64, u64, u64)>,
}

impl Course {
    fn new(engine: &Engine, slot: usize, link: LinkState, total: u64) -> Rc<Self> {
        let options = &engine.shared.options;
        let pace = Pace::new(options.resync_floor, options.resync_ceiling, None);
        let (writes, nanos) = engine.timed();
        Rc::new(Self {
            slot,
            link,
            pace: RefCell::new(pace),
            total: Cell::new(total),
            done: Cell::new(0),
            sent: Cell::new(0),
            sampled: Cell::new((Instant::now(), 0, writes, nanos)),
        })
    }

    /// So many bytes were gone through, of which so many had to be sent.
    fn went(&self, engine: &Engine, done: u64, sent: u64) {
        self.done.set(self.done.get() + done);
        self.sent.set(self.sent.get() + sent);
        let (since, copied, writes, nanos) = self.sampled.get();
        let span = since.elapsed();
        if span < SAMPLES {
            return;
        }
        let (now_writes, now_nanos) = engine.timed();
        let count = now_writes - writes;
        self.pace.borrow_mut().on(&Sample {
            span,
            copied: self.done.get() - copied,
            writes: count,
            latency: std::time::Duration::from_nanos(
                (now_nanos - nanos).checked_div(count).unwrap_or_default(),
            ),
        });
        self.sampled.set((Instant::now(), self.done.get(), now_writes, now_nanos));
        self.show(engine);
    }

    fn show(&self, engine: &Engine) {
        let (done, pace) = (self.done.get(), self.pace.borrow());
        let total = self.total.get().max(done);
        let progress = Progress {
            total,
            done,
            sent: self.sent.get(),
            rate: pace.rate(),
            remaining: pace.remaining(total - done),
        };
        engine.set_progress(self.slot, Some(self.link), Some(progress));
    }

    /// Waits as long as the pace asks for, after a run of so many bytes that began then.
    async fn keep_pace(&self, bytes: u64, began: Instant) {
        let wait = self.pace.borrow().wait(bytes, began.elapsed());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}
