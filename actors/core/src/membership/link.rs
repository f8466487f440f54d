//! One heartbeat path to one peer: its state from the beats that arrive.

use std::{collections::VecDeque, time::Duration};

use super::view::{PathState, PathView};
use crate::{time::Timestamp, timing::Timing};

/// Beats over which loss is counted.
const WINDOW: usize = 100;

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
        }
    }

    /// Takes one event; answers a change of state, if there is one.
    pub fn on(&mut self, event: LinkEvent, timing: &Timing, now: Timestamp) -> Option<LinkChange> {
        if let LinkEvent::Beat { seq, round_trip } = event {
            self.last = Some(now);
            if let Some(round_trip) = round_trip {
                self.latency = round_trip;
            }
            self.count(seq);
        }
        let silent = now.since(self.last.unwrap_or(self.since));
        let to = if silent >= timing.path_lost {
            PathState::Error
        } else if self.last.is_none() {
            PathState::Unknown
        } else if silent >= timing.path_late {
            PathState::Caution
        } else {
            PathState::Normal
        };
        if to == self.state {
            return None;
        }
        let from = std::mem::replace(&mut self.state, to);
        Some(LinkChange { from, to, silent })
    }

    /// What there is to see.
    #[must_use]
    pub fn view(&self) -> PathView {
        PathView { state: self.state, latency: self.latency, loss_percent: self.loss_percent() }
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

    fn ms(n: u64) -> Timestamp {
        Timestamp(n * 1_000_000)
    }

    fn beat(seq: u64) -> LinkEvent {
        LinkEvent::Beat { seq, round_trip: None }
    }

    #[test]
    fn a_path_goes_from_normal_over_caution_to_error_and_back() {
        let timing = Timing::from_detect(Duration::from_secs(1));
        let mut link = Link::new(ms(0));
        assert_eq!(link.on(LinkEvent::Tick, &timing, ms(10)), None);
        assert_eq!(link.on(beat(1), &timing, ms(20)).map(|c| c.to), Some(PathState::Normal));
        assert_eq!(link.on(LinkEvent::Tick, &timing, ms(100)), None);
        assert_eq!(link.on(LinkEvent::Tick, &timing, ms(180)).map(|c| c.to), Some(PathState::Caution));
        assert_eq!(link.on(LinkEvent::Tick, &timing, ms(330)).map(|c| c.to), Some(PathState::Error));
        let back = link.on(beat(9), &timing, ms(900));
        assert_eq!(back.map(|c| (c.from, c.to)), Some((PathState::Error, PathState::Normal)));
    }

    #[test]
    fn a_path_that_was_never_heard_turns_to_error() {
        let timing = Timing::from_detect(Duration::from_secs(1));
        let mut link = Link::new(ms(0));
        assert_eq!(link.on(LinkEvent::Tick, &timing, ms(400)).map(|c| c.to), Some(PathState::Error));
    }

    #[test]
    fn loss_is_counted_over_the_window_and_survives_a_restarted_peer() {
        let timing = Timing::from_detect(Duration::from_secs(1));
        let mut link = Link::new(ms(0));
        for seq in (1..=100).filter(|seq| seq % 4 != 0) {
            link.on(beat(seq), &timing, ms(seq));
        }
        assert_eq!(link.view().loss_percent, 24); // 24 of the 99 beats from 1 to 99
        link.on(beat(1000), &timing, ms(200));
        link.on(beat(1), &timing, ms(201));
        assert_eq!(link.view().loss_percent, 0);
    }
}
