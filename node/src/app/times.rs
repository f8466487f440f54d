//! Every time of the cluster with what it means: what follows from `detect`, and the three that have a
//! name in the reference system.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tasuki_core::{config::ClusterSettings, timing::Timing};

use super::{App, AppError, Caller, Role};

/// All times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterTimes {
    /// In the order of what follows from what.
    pub times: Vec<NamedTime>,
}

/// One time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedTime {
    /// As in the configuration, or as operators of the reference system know it.
    pub name: String,
    /// Milliseconds.
    pub ms: u64,
    /// What follows from `detect` alone, where it can be configured and differs.
    pub derived_ms: Option<u64>,
    /// What it is.
    pub meaning: String,
}

/// All times of these settings.
#[must_use]
pub fn times(settings: &ClusterSettings) -> ClusterTimes {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let timing = &settings.timing;
    let plain = Timing::from_detect(timing.detect);
    let row = |name: &str, time: Duration, derived: Option<Duration>, meaning: &str| NamedTime {
        name: name.to_owned(),
        ms: ms(time),
        derived_ms: derived.filter(|derived| *derived != time).map(ms),
        meaning: meaning.to_owned(),
    };
    let mut times = vec![row("detect", timing.detect, None, "about how long a lost server goes unnoticed")];
    times.extend(
        [
            ("beat", timing.beat, plain.beat, "between two heartbeats, and two lease requests"),
            ("path_late", timing.path_late, plain.path_late, "a silent path is Caution"),
            ("path_lost", timing.path_lost, plain.path_lost, "a silent path is Error"),
            ("election_min", timing.election_min, plain.election_min, "election time-out, lower end"),
            ("election_max", timing.election_max, plain.election_max, "election time-out, upper end"),
            ("lease", timing.lease, plain.lease, "a server goes on so long without a leader's word"),
            ("guard_budget", timing.guard_budget, plain.guard_budget, "the guard stops everything within it"),
            ("clock_margin", timing.clock_margin, plain.clock_margin, "two clocks run apart until then"),
            ("watchdog", timing.watchdog, plain.watchdog, "the watchdogs' time-out; 0 without them"),
        ]
        .map(|(name, time, derived, meaning)| row(name, time, Some(derived), meaning)),
    );
    times.push(row("takeover wait", timing.takeover_wait(), None, "from the last grant to \"it is gone\""));
    times.extend(settings.named_times().map(|(name, time)| {
        let meaning = match name {
            "misscount" => "a server that is not heard for so long is put out: the lease",
            "disktimeout" => "voting files that do not answer for so long are lost: `disk_timeout`",
            "reboottime" => "what a server that is put out has to be gone: the budget and a slow watchdog",
            _ => "",
        };
        row(name, time, None, meaning)
    }));
    ClusterTimes { times }
}

impl App {
    /// Every time of the cluster, as this server has applied it.
    ///
    /// # Errors
    /// Not allowed, or the registry is empty.
    pub fn cluster_times(&self, by: &Caller) -> Result<ClusterTimes, AppError> {
        by.must_be(Role::Viewer)?;
        let state = self.applied();
        let settings = state.settings.as_ref();
        let none = || AppError::NoQuorum("this server has not read the registry yet".into());
        settings.map(|settings| times(&settings.value)).ok_or_else(none)
    }
}
