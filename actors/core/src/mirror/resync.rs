//! How fast a resync copies, and how long it takes yet. Which extents come next is what
//! [`super::dirty_map::DirtyMap::next_run`] says.
//!
//! A resync shares disk and link with the service. Its pace grows while the service's writes are about
//! as quick as they are without a resync, and shrinks when they are not; it never goes below the floor,
//! or a resync beside a busy service would not end, and never above the ceiling. Without writes there is
//! nobody to be slowed down, and it goes as fast as it can.

use std::time::Duration;

/// A resync reads and sends at most so many bytes at a time.
pub const RUN: u64 = 1024 * 1024;

/// Writes that take so many times as long as without a resync are too slow.
const SLOWDOWN: f64 = 2.0;
/// What slower writes than this are is noise.
const QUICK: Duration = Duration::from_micros(200);
/// The first pace: four times the floor, and no less than this many bytes a second.
const FIRST: u64 = 64 * 1024 * 1024;
/// The most that one sample weighs in the usual time of a write.
const WEIGHT: f64 = 0.2;

/// What was measured since the last sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// How long that was.
    pub span: Duration,
    /// Bytes of the resync that were gone through.
    pub copied: u64,
    /// The service's writes that were answered.
    pub writes: u64,
    /// How long they took on average; of no meaning without writes.
    pub latency: Duration,
}

/// The pace of one resync.
#[derive(Clone, Debug)]
pub struct Pace {
    floor: u64,
    /// Zero: none.
    ceiling: u64,
    /// Bytes a second that are allowed now.
    allowed: u64,
    /// How long writes take when they are not slowed down, in seconds.
    usual: Option<f64>,
    /// Bytes a second, lately.
    rate: f64,
}

impl Pace {
    /// With a floor and a ceiling in bytes a second; a ceiling of zero is none. `usual`: how long the
    /// service's writes took before the resync began, where that was measured.
    #[must_use]
    pub fn new(floor: u64, ceiling: u64, usual: Option<Duration>) -> Self {
        let floor = floor.max(1);
        let usual = usual.map(|usual| usual.as_secs_f64());
        let mut pace = Self { floor, ceiling, allowed: 0, usual, rate: 0.0 };
        pace.allowed = pace.bounded(floor.saturating_mul(4).max(FIRST));
        pace
    }

    fn bounded(&self, rate: u64) -> u64 {
        let rate = rate.max(self.floor);
        if self.ceiling == 0 { rate } else { rate.min(self.ceiling) }
    }

    /// Bytes a second that the resync may copy now; `None`: as many as it can.
    #[must_use]
    pub fn allowed(&self) -> Option<u64> {
        (self.allowed < u64::MAX).then_some(self.allowed)
    }

    /// How long to wait before the next run, when so many bytes were gone through in so long a time.
    #[must_use]
    pub fn wait(&self, bytes: u64, took: Duration) -> Duration {
        let Some(allowed) = self.allowed() else { return Duration::ZERO };
        Duration::from_secs_f64(bytes as f64 / allowed as f64).saturating_sub(took)
    }

    /// Follows what was measured; several times a second is enough.
    pub fn on(&mut self, sample: &Sample) {
        let span = sample.span.as_secs_f64();
        if span <= 0.0 {
            return;
        }
        let now = sample.copied as f64 / span;
        self.rate = if self.rate == 0.0 { now } else { self.rate * (1.0 - WEIGHT) + now * WEIGHT };
        if sample.writes == 0 {
            self.allowed = if self.ceiling == 0 { u64::MAX } else { self.bounded(self.ceiling) };
            return;
        }
        let latency = sample.latency.as_secs_f64();
        let usual = *self.usual.get_or_insert(latency);
        // What is quicker than usual is the usual from now on; what is slower, only slowly.
        let weight = if latency < usual { WEIGHT } else { WEIGHT / 20.0 };
        self.usual = Some(usual * (1.0 - weight) + latency * weight);
        let slow = latency > (usual * SLOWDOWN).max(QUICK.as_secs_f64());
        let from = if self.allowed == u64::MAX { now as u64 } else { self.allowed };
        let next = if slow { from / 2 } else { from.saturating_add(from / 4) };
        self.allowed = self.bounded(next.max(1));
    }

    /// Bytes a second, lately.
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.rate as u64
    }

    /// How long so many bytes take at that rate; `None` while nothing is known.
    #[must_use]
    pub fn remaining(&self, bytes: u64) -> Option<Duration> {
        if bytes == 0 {
            return Some(Duration::ZERO);
        }
        let seconds = bytes as f64 / self.rate;
        (self.rate >= 1.0).then(|| Duration::from_secs(seconds.min(1e9) as u64 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn sample(copied: u64, writes: u64, micros: u64) -> Sample {
        let latency = Duration::from_micros(micros);
        Sample { span: Duration::from_millis(100), copied, writes, latency }
    }

    #[test]
    fn without_writes_it_goes_as_fast_as_it_can_up_to_the_ceiling() {
        let mut free = Pace::new(10 * MIB, 0, None);
        free.on(&sample(50 * MIB, 0, 0));
        assert_eq!(free.allowed(), None);
        assert_eq!(free.wait(MIB, Duration::ZERO), Duration::ZERO);
        let mut bounded = Pace::new(10 * MIB, 30 * MIB, None);
        bounded.on(&sample(50 * MIB, 0, 0));
        assert_eq!(bounded.allowed(), Some(30 * MIB));
        assert_eq!(bounded.wait(30 * MIB, Duration::from_millis(400)), Duration::from_millis(600));
    }

    #[test]
    fn writes_that_become_slow_make_it_slower_down_to_the_floor_and_no_further() {
        let mut pace = Pace::new(10 * MIB, 0, Some(Duration::from_micros(500)));
        for _ in 0..30 {
            pace.on(&sample(8 * MIB, 100, 5_000));
        }
        assert_eq!(pace.allowed(), Some(10 * MIB));
    }

    #[test]
    fn writes_as_quick_as_usual_let_it_grow() {
        let mut pace = Pace::new(MIB, 0, Some(Duration::from_micros(500)));
        let first = pace.allowed().unwrap_or_default();
        pace.on(&sample(8 * MIB, 100, 600));
        assert!(pace.allowed().is_some_and(|now| now > first));
    }

    #[test]
    fn what_remains_follows_the_rate() {
        let mut pace = Pace::new(MIB, 0, None);
        assert_eq!(pace.remaining(MIB), None);
        pace.on(&sample(10 * MIB, 0, 0));
        assert_eq!(pace.rate(), 100 * MIB);
        assert_eq!(pace.remaining(1000 * MIB), Some(Duration::from_secs(11)));
        assert_eq!(pace.remaining(0), Some(Duration::ZERO));
    }
}
