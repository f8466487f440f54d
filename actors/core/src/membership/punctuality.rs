//! How regularly beats come on one path, and whether `detect` leaves room for it.
//!
//! A beat that comes after half of a path's patience has eaten half of what separates a busy server
//! from a lost one. Once is chance; again and again it says that the knob is too tight for this
//! network or these machines, whichever of the two it is: what counts is the gap between two beats as
//! they arrive. Gaps in which the path was really lost are another matter, and are told as such.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use super::link::Pace;
use crate::{
    ids::{NetworkName, ServerName},
    time::{Timestamp, millis},
    timing::Timing,
};

/// So many late beats within the window are too many.
const TOO_MANY: usize = 3;
/// The window: so many times a path's patience. A minute for a network with `detect = "1s"`.
const WINDOW: u32 = 200;
/// A gap of so many times the patience is no lateness: the peer or its cable was away.
const AWAY: u32 = 2;
/// What one gap weighs in the mean deviation, as 1/16 (as for RTP, RFC 3550).
const WEIGHT: u32 = 16;

/// Beats come too late, too often, for the patience of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TooTight {
    /// The longest gap between two beats lately.
    #[serde(with = "millis")]
    pub worst: Duration,
    /// What the path waits before it is lost.
    #[serde(with = "millis")]
    pub patience: Duration,
    /// A `detect` with which the longest gap would be half the patience.
    #[serde(with = "millis")]
    pub fits: Duration,
}

impl TooTight {
    /// What operators read of it.
    #[must_use]
    pub fn sentence(&self, server: &ServerName, path: &NetworkName, detect: Duration) -> String {
        format!(
            "TSK-1790: beats from {server} come up to {} ms apart on {path}, which waits {} ms: `detect` of {} ms \
             is too tight for it; {} ms would do",
            self.worst.as_millis(),
            self.patience.as_millis(),
            detect.as_millis(),
            self.fits.as_millis(),
        )
    }
}

/// The beats of one path as they come.
///
/// ```text
///       3 late beats within the window
///  Fits ──────────────────────────────► TooTight
///       ◄──────────────────────────────
///            none within the window
/// ```
#[derive(Clone, Debug, Default)]
pub struct Punctuality {
    last: Option<Timestamp>,
    jitter: Duration,
    /// When late beats came, and after which gap.
    late: VecDeque<(Timestamp, Duration)>,
    tight: bool,
}

impl Punctuality {
    /// The mean deviation of the gaps from the beat.
    #[must_use]
    pub fn jitter(&self) -> Duration {
        self.jitter
    }

    /// A beat came.
    pub fn heard(&mut self, timing: &Timing, pace: &Pace, now: Timestamp) {
        let Some(last) = self.last.replace(now) else { return };
        let gap = now.since(last);
        if gap >= pace.lost * AWAY {
            return;
        }
        let every = timing.beat * u32::try_from(pace.every).unwrap_or(u32::MAX);
        self.jitter = (self.jitter * (WEIGHT - 1) + gap.abs_diff(every)) / WEIGHT;
        if gap >= pace.late {
            if self.late.len() >= TOO_MANY * 2 {
                self.late.pop_front();
            }
            self.late.push_back((now, gap));
        }
    }

    /// Whether the knob is too tight for this path, as of now.
    pub fn judge(&mut self, timing: &Timing, pace: &Pace, now: Timestamp) -> Option<TooTight> {
        self.late.retain(|(at, _)| now.since(*at) < pace.lost * WINDOW);
        let enough = if self.tight { 1 } else { TOO_MANY };
        self.tight = self.late.len() >= enough;
        let worst = self.late.iter().map(|(_, gap)| *gap).max()?;
        self.tight.then(|| TooTight { worst, patience: pace.lost, fits: fitting(timing, pace, worst) })
    }
}

/// The `detect` with which such a gap is half the patience, rounded up to a tenth of what it is now.
fn fitting(timing: &Timing, pace: &Pace, worst: Duration) -> Duration {
    let step = (timing.detect / 10).max(Duration::from_millis(1));
    let needed = timing.detect.as_nanos() * worst.as_nanos() / pace.late.as_nanos().max(1);
    let steps = u32::try_from(needed.div_ceil(step.as_nanos())).unwrap_or(u32::MAX);
    step.saturating_mul(steps.max(11))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HeartbeatPath;

    struct Path {
        timing: Timing,
        pace: Pace,
        now: u64,
        it: Punctuality,
    }

    impl Path {
        fn new() -> Self {
            let timing = Timing::from_detect(Duration::from_secs(1));
            let pace = Pace::of(&HeartbeatPath::Lan { network: "public".into() }, &timing);
            Self { timing, pace, now: 0, it: Punctuality::default() }
        }

        /// Beats with these gaps, in milliseconds.
        fn beats(&mut self, gaps: &[u64]) -> Option<TooTight> {
            for gap in gaps {
                self.now += gap;
                self.it.heard(&self.timing, &self.pace, Timestamp(self.now * 1_000_000));
            }
            self.it.judge(&self.timing, &self.pace, Timestamp(self.now * 1_000_000))
        }
    }

    #[test]
    fn regular_beats_and_a_late_one_now_and_then_fit() {
        let mut path = Path::new();
        assert_eq!(path.beats(&[50; 100]), None);
        assert_eq!(path.it.jitter(), Duration::ZERO);
        assert_eq!(path.beats(&[160, 50, 149, 50, 160, 40]), None, "two late, and one just in time");
    }

    #[test]
    fn the_third_late_beat_within_the_window_is_one_too_many() {
        let mut path = Path::new();
        let tight = path.beats(&[50, 160, 50, 210, 50, 170]);
        let ms = Duration::from_millis;
        assert_eq!(tight, Some(TooTight { worst: ms(210), patience: ms(300), fits: ms(1400) }));
        // Still so until none is left in the window: one that comes and goes is not told each time.
        assert!(path.beats(&[50; 1000]).is_some());
        assert_eq!(path.beats(&[50; 300]), None);
        assert_eq!(path.beats(&[160, 50, 160, 50]), None, "counted anew");
    }

    #[test]
    fn late_beats_that_are_far_apart_are_chance() {
        let mut path = Path::new();
        for _ in 0..10 {
            assert_eq!(path.beats(&[160]), None);
            assert_eq!(path.beats(&[50; 700]), None);
        }
    }

    #[test]
    fn a_path_that_was_away_was_not_late() {
        let mut path = Path::new();
        assert_eq!(path.beats(&[50, 5000, 50, 600, 50, 60_000, 50]), None);
        // But one that was missed for longer than its patience and came again was.
        assert!(path.beats(&[350, 50, 420, 50, 599]).is_some());
    }

    #[test]
    fn the_detect_that_fits_has_twice_the_gap_as_its_patience() {
        let mut path = Path::new();
        let tight = path.beats(&[50, 299, 299, 299]);
        let fits = tight.map_or(Duration::ZERO, |tight| tight.fits);
        let timing = Timing::from_detect(fits);
        let pace = Pace::of(&HeartbeatPath::Lan { network: "public".into() }, &timing);
        assert!(pace.late >= Duration::from_millis(299), "{fits:?}");
        assert!(fits <= Duration::from_secs(2), "and no more than it must be: {fits:?}");
    }

    #[test]
    fn jitter_is_the_mean_deviation_from_the_beat() {
        let mut path = Path::new();
        path.beats(&[60, 40].repeat(100));
        let jitter = path.it.jitter();
        assert!(jitter > Duration::from_millis(9) && jitter <= Duration::from_millis(10), "{jitter:?}");
    }
}
