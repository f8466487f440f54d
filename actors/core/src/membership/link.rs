//! One heartbeat path to one peer: its state from the beats that arrive.

use std::{collections::VecDeque, time::Duration};

use super::view::{PathState, PathView};
use crate::{config::HeartbeatPath, time::Timestamp, timing::Timing};

/// Beats over which loss is counted.
const WINDOW: usize = 100;
/// A serial line carries 11 kB a second, for all that is said on it: five beats a second are enough.
const COM_INTERVAL: Duration = Duration::from_millis(200);
/// A shared disk has other things to do.
const DISK_INTERVAL: Duration = Duration::from_millis(500);
/// Whoever was told that a path is late is not told again for so many times its patience.
const QUIET: u32 = 100;

/// How often beats are sent on a path, and how long it may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// One beat in so many of the synchronisation service's.
    pub every: u64,
    /// Silent for so long, it is late: half the patience.
    pub late: Duration,
    /// Silent for so long, it is in Error.
    pub lost: Duration,
}

impl Pace {
    /// A path's pace.
    #[must_use]
    pub fn of(path: &HeartbeatPath, timing: &Timing) -> Self {
        let slow = |interval: Duration| {
            let every = interval.as_nanos().div_ceil(timing.beat.as_nanos().max(1));
            let every = u32::try_from(every).unwrap_or(u32::MAX).max(1);
            let lost = timing.path_lost.max(timing.beat * every * 4);
            Self { every: every.into(), late: lost / 2, lost }
        };
        match path {
            HeartbeatPath::Lan { .. } => Self { every: 1, late: timing.path_late, lost: timing.path_lost },
            HeartbeatPath::Com { .. } => slow(COM_INTERVAL),
            HeartbeatPath::Disk { .. } => slow(DISK_INTERVAL),
        }
    }
}

/// What happens on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// A beat arrived.
    Beat {
        /// The sender's count.
        seq: u64,
        /// The round trip, when it answers one of ours.
        round_trip: Option<Duration>,
    },
    /// Time to look.
    Tick,
}

/// A change of a path's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkChange {
    /// Before.
    pub from: PathState,
    /// Now.
    pub to: PathState,
    /// Silent for so long when it changed.
    pub silent: Duration,
    /// People want to know: it is lost, or heard again, or late for the first time in a while.
    pub news: bool,
}

/// One path.
///
/// ```text
/// Unknown --beat--> Normal --late--> Caution --lost--> Error
///                      ^----------- beat ---------------/
/// ```
#[derive(Clone, Debug)]
pub struct Link {
    state: PathState,
    since: Timestamp,
    last: Option<Timestamp>,
    latency: Duration,
    newest: Option<u64>,
    window: VecDeque<u64>,
    /// When its present state began.
    changed: Timestamp,
    /// When it was last told to be late.
    warned: Option<Timestamp>,
    /// What was told of it last was bad.
    bad: bool,
}

impl Link {
    /// A path on which nothing was heard yet.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            state: PathState::Unknown,
            since: now,
            last: None,
            latency: Duration::ZERO,
            newest: None,
            window: VecDeque::new(),
            changed: now,
            warned: None,
            bad: false,
        }
    }

    /// Takes one event; answers a change of state, if there is one.
    pub fn on(&mut self, event: LinkEvent, pace: &Pace, now: Timestamp) -> Option<LinkChange> {
        if let LinkEvent::Beat { seq, round_trip } = event {
            self.last = Some(now);
            if let Some(round_trip) = round_trip {
                self.latency = round_trip;
            }
            self.count(seq);
        }
        let silent = now.since(self.last.unwrap_or(self.since));
        let to = if silent >= pace.lost {
            PathState::Error
        } else if self.last.is_none() {
            PathState::Unknown
        } else if silent >= pace.late {
            PathState::Caution
        } else {
            PathState::Normal
        };
        if to == self.state {
            return None;
        }
        let from = std::mem::replace(&mut self.state, to);
        self.changed = now;
        let news = self.is_news(from, to, pace, now);
        Some(LinkChange { from, to, silent, news })
    }

    /// A path that is late now and then is not worth a line each time.
    fn is_news(&mut self, from: PathState, to: PathState, pace: &Pace, now: Timestamp) -> bool {
        match to {
            PathState::Caution => {
                let again = self.warned.is_some_and(|warned| now.since(warned) < pace.lost * QUIET);
                if !again {
                    self.warned = Some(now);
                    self.bad = true;
                }
                !again
            }
            PathState::Error => {
                self.bad = true;
                true
            }
            PathState::Normal => std::mem::take(&mut self.bad) || from == PathState::Unknown,
            PathState::Unused | PathState::Unknown => false,
        }
    }

    /// What there is to see.
    #[must_use]
    pub fn view(&self) -> PathView {
        PathView {
            state: self.state,
            latency: self.latency,
            loss_percent: self.loss_percent(),
            since: self.changed,
            ..PathView::default()
        }
    }

    fn count(&mut self, seq: u64) {
        if self.newest.is_some_and(|newest| seq + WINDOW as u64 <= newest) {
            self.window.clear(); // the peer has started to count again
            self.newest = None;
        }
        self.newest = self.newest.max(Some(seq));
        self.window.push_back(seq);
        let oldest = self.newest.unwrap_or(0).saturating_sub(WINDOW as u64 - 1);
        self.window.retain(|seen| *seen >= oldest);
    }

    fn loss_percent(&self) -> u8 {
        let (Some(newest), Some(oldest)) = (self.newest, self.window.iter().min()) else { return 0 };
        let expected = newest - oldest + 1;
        let missing = expected.saturating_sub(self.window.len() as u64);
        u8::try_from(missing * 100 / expected).unwrap_or(100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAN: Pace = Pace { every: 1, late: Duration::from_millis(150), lost: Duration::from_millis(300) };

    fn ms(n: u64) -> Timestamp {
        Timestamp(n * 1_000_000)
    }

    fn beat(seq: u64) -> LinkEvent {
        LinkEvent::Beat { seq, round_trip: None }
    }

    #[test]
    fn a_path_goes_from_normal_over_caution_to_error_and_back() {
        let mut link = Link::new(ms(0));
        assert_eq!(link.on(LinkEvent::Tick, &LAN, ms(10)), None);
        assert_eq!(link.on(beat(1), &LAN, ms(20)).map(|c| c.to), Some(PathState::Normal));
        assert_eq!(link.on(LinkEvent::Tick, &LAN, ms(100)), None);
        assert_eq!(link.on(LinkEvent::Tick, &LAN, ms(180)).map(|c| c.to), Some(PathState::Caution));
        assert_eq!(link.on(LinkEvent::Tick, &LAN, ms(330)).map(|c| c.to), Some(PathState::Error));
        let back = link.on(beat(9), &LAN, ms(900));
        assert_eq!(back.map(|c| (c.from, c.to)), Some((PathState::Error, PathState::Normal)));
    }

    #[test]
    fn a_path_that_was_never_heard_turns_to_error() {
        let mut link = Link::new(ms(0));
        assert_eq!(link.on(LinkEvent::Tick, &LAN, ms(400)).map(|c| c.to), Some(PathState::Error));
    }

    #[test]
    fn loss_is_counted_over_the_window_and_survives_a_restarted_peer() {
        let mut link = Link::new(ms(0));
        for seq in (1..=100).filter(|seq| seq % 4 != 0) {
            link.on(beat(seq), &LAN, ms(seq));
        }
        assert_eq!(link.view().loss_percent, 24); // 24 of the 99 beats from 1 to 99
        link.on(beat(1000), &LAN, ms(200));
        link.on(beat(1), &LAN, ms(201));
        assert_eq!(link.view().loss_percent, 0);
    }

    #[test]
    fn a_late_path_is_told_once_and_its_return_only_after_that() {
        let mut link = Link::new(ms(0));
        link.on(beat(1), &LAN, ms(10));
        let mut told = Vec::new();
        for round in 0..5u64 {
            let start = 1000 + round * 400;
            let changes = [
                link.on(beat(2 + round), &LAN, ms(start)),
                link.on(LinkEvent::Tick, &LAN, ms(start + 160)),
                link.on(beat(100 + round), &LAN, ms(start + 170)),
            ];
            told.extend(changes.into_iter().flatten().filter(|c| c.news).map(|c| (round, c.to)));
        }
        assert_eq!(told, [(0, PathState::Caution), (0, PathState::Normal)]);
        // Lost is news each time, and so is the return.
        link.on(LinkEvent::Tick, &LAN, ms(4000));
        assert_eq!(link.view().state, PathState::Error);
        assert_eq!(link.view().since, ms(4000));
        assert!(link.on(beat(900), &LAN, ms(4100)).is_some_and(|c| c.news && c.to == PathState::Normal));
        // After a while, late is news again.
        link.on(beat(901), &LAN, ms(60_000));
        assert!(link.on(LinkEvent::Tick, &LAN, ms(60_200)).is_some_and(|c| c.news));
    }

    #[test]
    fn slow_paths_beat_less_often_and_have_more_patience() {
        let timing = Timing::from_detect(Duration::from_secs(1));
        let pace = |path: &HeartbeatPath| Pace::of(path, &timing);
        let lan = pace(&HeartbeatPath::Lan { network: "public".into() });
        let com = pace(&HeartbeatPath::Com { device: "/dev/ttyS0".into() });
        let disk = pace(&HeartbeatPath::Disk { device: "/dev/sdb1".into() });
        assert_eq!(lan, LAN);
        assert_eq!((com.every, com.lost), (4, Duration::from_millis(800)), "5 beats a second");
        assert_eq!((disk.every, disk.lost), (10, Duration::from_secs(2)), "2 beats a second");
        for pace in [lan, com, disk] {
            assert_eq!(pace.late * 2, pace.lost, "the warning comes at half the patience");
        }
    }
}
