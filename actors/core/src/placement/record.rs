//! One round of deciding with everything that it was computed from: what the journal keeps, and
//! what a replay decides on again.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};

use super::plan::{Decision, Input, decide};
use crate::{
    ids::{Revision, ServerName},
    reason::Reason,
    registry::{Command, Key, State},
    time::millis,
};

/// What placement decided from: an input that can be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedInput {
    /// The registry, without what no decision reads: history, old configurations and tokens.
    pub state: State,
    /// The servers whose lease the leader was renewing.
    pub fit: BTreeSet<ServerName>,
    /// How long that leader had been deciding.
    #[serde(with = "millis")]
    pub since_start: Duration,
}

/// A decision that can be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// What.
    pub command: Command,
    /// Why.
    pub reason: Reason,
    /// What it was computed from.
    pub read: Vec<(Key, Revision)>,
}

impl From<Decision> for Decided {
    fn from(Decision { command, reason, read }: Decision) -> Self {
        Self { command, reason, read }
    }
}

impl RecordedInput {
    /// Keeps an input.
    #[must_use]
    pub fn of(state: &State, fit: &BTreeSet<ServerName>, since_start: Duration) -> Self {
        let state = State {
            history: Default::default(),
            versions: Default::default(),
            tokens: Default::default(),
            ..state.clone()
        };
        Self { state, fit: fit.clone(), since_start }
    }

    /// Decides again.
    #[must_use]
    pub fn decide(&self) -> Vec<Decided> {
        let Self { state, fit, since_start } = self;
        decide(&Input { state, fit, since_start: *since_start }).into_iter().map(Decided::from).collect()
    }
}
