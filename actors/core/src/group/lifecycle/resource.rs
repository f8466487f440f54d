//! One resource on its group's owner.

use std::{collections::VecDeque, time::Duration};

use crate::{
    config::ResourceConfig,
    registry::state::{FailureCount, ResourceState},
    time::Timestamp,
};

/// One resource on the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resource {
    pub state: ResourceState,
    pub detail: String,
    /// Retries used here.
    pub retries: u32,
    pub stop_retries: u32,
    /// When it came up, or when it left that.
    pub since: Timestamp,
    /// The registry has counters that start again once it is steady.
    pub counted: bool,
    /// Its failures here within FAILURE_INTERVAL, oldest first.
    pub recent: VecDeque<Timestamp>,
}

impl Resource {
    pub fn new(count: FailureCount, now: Timestamp) -> Self {
        Self {
            state: ResourceState::Unknown,
            detail: String::new(),
            retries: count.retries,
            stop_retries: 0,
            since: now,
            counted: count.retries > 0 || count.failovers > 0,
            recent: VecDeque::new(),
        }
    }

    /// It runs, whatever its check says of its service.
    pub fn is_up(&self) -> bool {
        up(self.state)
    }

    pub fn set(&mut self, state: ResourceState, detail: impl Into<String>, now: Timestamp) {
        // A change among the states of what runs is no new beginning.
        if !(up(self.state) && up(state)) {
            self.since = now;
        }
        (self.state, self.detail) = (state, detail.into());
    }

    /// It has been up for UPTIME_THRESHOLD.
    pub fn is_steady(&self, threshold: Duration, now: Timestamp) -> bool {
        self.is_up() && now.since(self.since) >= threshold
    }

    /// Notes one failure; says whether that was one too many (FAILURE_THRESHOLD within
    /// FAILURE_INTERVAL).
    pub fn fails_too_often(&mut self, config: &ResourceConfig, now: Timestamp) -> bool {
        if config.failure_threshold == 0 || config.failure_interval.is_zero() {
            return false;
        }
        self.recent.retain(|at| now.since(*at) < config.failure_interval);
        self.recent.push_back(now);
        self.recent.len() as u64 >= u64::from(config.failure_threshold)
    }
}

fn up(state: ResourceState) -> bool {
    matches!(state, ResourceState::Online | ResourceState::Intermediate | ResourceState::Unknown)
}
