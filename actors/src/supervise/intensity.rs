//! Restart or give up: pure.

use std::{collections::VecDeque, time::Duration};

use tasuki_core::time::Timestamp;

/// How many restarts, within what time, are a bug that restarting does not mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// So many restarts are allowed,
    pub restarts: usize,
    /// within this time.
    pub within: Duration,
}

impl Default for Intensity {
    fn default() -> Self {
        Self { restarts: 10, within: Duration::from_secs(10) }
    }
}

/// The restarts of late.
#[derive(Clone, Debug, Default)]
pub struct Window(VecDeque<Timestamp>);

impl Window {
    /// Counts a restart at `now`; false when that is one too many.
    pub fn allows(&mut self, limit: Intensity, now: Timestamp) -> bool {
        while self.0.front().is_some_and(|at| now.since(*at) > limit.within) {
            self.0.pop_front();
        }
        self.0.push_back(now);
        self.0.len() <= limit.restarts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_counts_only_what_is_recent() {
        let limit = Intensity { restarts: 2, within: Duration::from_nanos(10) };
        let mut window = Window::default();
        assert!(window.allows(limit, Timestamp(0)));
        assert!(window.allows(limit, Timestamp(5)));
        assert!(!window.allows(limit, Timestamp(6)));
        assert!(window.allows(limit, Timestamp(30)));
    }
}
