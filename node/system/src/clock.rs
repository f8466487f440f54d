//! The clocks of this machine, and noticing that time passed which they did not count (R38).

use std::{fs, path::PathBuf, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use tasuki_core::{
    ids::BootId,
    time::{Timestamp, WallTime},
};

/// `CLOCK_BOOTTIME`: goes on while the machine is suspended, and is never set.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp(read(ClockId::Boottime))
}

/// `CLOCK_REALTIME`, for people to read.
#[must_use]
pub fn wall() -> WallTime {
    WallTime(read(ClockId::Realtime) / 1_000_000)
}

/// This boot, as the kernel names it.
///
/// # Errors
/// When `/proc` is not there.
pub fn boot_id() -> std::io::Result<BootId> {
    Ok(BootId::new(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim()))
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Two clocks that should run alike did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jump {
    /// The clock that disagreed with the boot clock.
    pub against: &'static str,
    /// By how much.
    pub by: Duration,
}

impl std::fmt::Display for Jump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the boot clock and {} came apart by {:?}", self.against, self.by)
    }
}

/// What the clocks said at one moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    boot: u64,
    raw: u64,
    /// Seconds, of a clock that runs on while the whole machine is paused.
    rtc: Option<u64>,
}

/// Compares the boot clock with others between calls.
///
/// `CLOCK_MONOTONIC_RAW` stops in a suspend that the boot clock counts. The battery clock runs on
/// through pauses of a virtual machine that stop both; it counts whole seconds, so shorter pauses
/// go unnoticed here (R36 says what that means).
#[derive(Debug)]
pub struct ClockWatch {
    last: Reading,
    /// The reading that the battery clock is compared with, renewed every minute.
    rtc_base: Reading,
    rtc_read: u64,
    rtc_path: Option<PathBuf>,
}

/// Below this, a difference is scheduling noise between two reads.
const NOISE: u64 = 50_000_000;
/// Slewing changes the boot clock's rate by up to 8.3 %; more than this share is no slewing.
const SLEW_DIVISOR: u64 = 10;
/// The battery clock counts seconds, and is read a little late.
const RTC_BOUND: u64 = 2_500_000_000;
const RTC_EVERY: u64 = 1_000_000_000;
/// A battery clock drifts; it is compared over this span only.
const RTC_SPAN: u64 = 60_000_000_000;

impl ClockWatch {
    /// Starts to watch.
    #[must_use]
    pub fn new() -> Self {
        let path = PathBuf::from("/sys/class/rtc/rtc0/since_epoch");
        let rtc_path = read_rtc(&path).map(|_| path);
        let reading = Reading {
            boot: read(ClockId::Boottime),
            raw: read(ClockId::MonotonicRaw),
            rtc: rtc_path.as_ref().and_then(read_rtc),
        };
        Self { last: reading, rtc_base: reading, rtc_read: reading.boot, rtc_path }
    }

    /// Whether the clocks came apart since the last call. Cheap; to be called often, because
    /// slewing over a long span looks like a jump over a short one.
    pub fn check(&mut self) -> Option<Jump> {
        let boot = read(ClockId::Boottime);
        let rtc = if boot.saturating_sub(self.rtc_read) >= RTC_EVERY {
            self.rtc_read = boot;
            self.rtc_path.as_ref().and_then(read_rtc)
        } else {
            None
        };
        self.compare(Reading { boot, raw: read(ClockId::MonotonicRaw), rtc })
    }

    fn compare(&mut self, now: Reading) -> Option<Jump> {
        let boot = now.boot.saturating_sub(self.last.boot);
        let raw = now.raw.saturating_sub(self.last.raw);
        self.last = now;
        let apart = boot.abs_diff(raw);
        let jumped = (apart > NOISE + boot.max(raw) / SLEW_DIVISOR)
            .then(|| Jump { against: "CLOCK_MONOTONIC_RAW", by: Duration::from_nanos(apart) });
        jumped.or(self.compare_rtc(now))
    }

    fn compare_rtc(&mut self, now: Reading) -> Option<Jump> {
        let (rtc, base) = (now.rtc?, self.rtc_base.rtc);
        let boot = now.boot.saturating_sub(self.rtc_base.boot);
        let jumped = base.and_then(|base| {
            // A battery clock that went back was set by hand: that is no passed time.
            let passed = rtc.checked_sub(base)?.saturating_mul(1_000_000_000);
            let missed = passed.saturating_sub(boot);
            (missed > RTC_BOUND)
                .then(|| Jump { against: "the battery clock", by: Duration::from_nanos(missed) })
        });
        if jumped.is_some() || boot > RTC_SPAN || base.is_none_or(|base| rtc < base) {
            self.rtc_base = now;
        }
        jumped
    }
}

impl Default for ClockWatch {
    fn default() -> Self {
        Self::new()
    }
}

fn read_rtc(path: &PathBuf) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn watch() -> ClockWatch {
        let zero = Reading { boot: 0, raw: 0, rtc: Some(100) };
        ClockWatch { last: zero, rtc_base: zero, rtc_read: 0, rtc_path: None }
    }

    #[test]
    fn r38_a_suspend_is_a_jump() {
        let jump = watch().compare(Reading { boot: 5 * SECOND, raw: SECOND, rtc: None });
        assert_eq!(jump.map(|jump| jump.by), Some(Duration::from_secs(4)));
    }

    #[test]
    fn r38_a_pause_that_stops_both_clocks_shows_on_the_battery_clock() {
        let mut watch = watch();
        assert_eq!(watch.compare(Reading { boot: SECOND, raw: SECOND, rtc: Some(101) }), None);
        let jump = watch.compare(Reading { boot: 2 * SECOND, raw: 2 * SECOND, rtc: Some(109) });
        assert_eq!(jump.map(|jump| jump.against), Some("the battery clock"));
        let again = watch.compare(Reading { boot: 3 * SECOND, raw: 3 * SECOND, rtc: Some(110) });
        assert_eq!(again, None, "one pause is one jump");
    }

    #[test]
    fn slewing_and_a_battery_clock_set_back_are_no_jumps() {
        let mut watch = watch();
        assert_eq!(watch.compare(Reading { boot: 10 * SECOND, raw: 10_830_000_000, rtc: Some(110) }), None);
        assert_eq!(watch.compare(Reading { boot: 11 * SECOND, raw: 11_830_000_000, rtc: Some(50) }), None);
    }

    #[test]
    fn the_real_clocks_agree() {
        let mut watch = ClockWatch::new();
        assert_eq!(watch.check(), None);
        assert!(now() > Timestamp(0) && boot_id().is_ok());
    }
}
