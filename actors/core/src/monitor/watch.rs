//! A monitor on one server.
//!
//! ```text
//!            used here, and (always | target up), not suspended           start delay over
//! Off ------------------------------------------------------> Delayed --------------------> Watching
//!  ^                                                              |                             |
//!  +--------------------------------------------------------------+-----------------------------+
//!                        target down (while active) | suspended
//!
//! Watching, a look:  good                        -> Normal; mended, if it was not Normal before
//!                    bad, retries left           -> as before
//!                    bad, more than retries      -> Error; found, again at each bad look
//! Watching, a look:  doubtful                    -> Caution, told again with another reason; nothing is
//!                                                   mended
//! Watching, pid:     the process lives           -> Normal
//!                    it has ended                -> Error; found at once, again after each interval
//! ```
//!
//! Looks are never two at a time; the next one follows `interval` after the end of the last, or at once
//! where what it looks at is said to have changed. What comes of a look that began before the monitor was
//! switched off counts for nothing.

use std::time::Duration;

use crate::{
    config::{MonitorConfig, MonitorKind, MonitorTiming},
    ids::ServerName,
    registry::state::{MonitorReport, MonitorState},
    time::Timestamp,
};

/// What happens to a monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Whether its target resource runs here now. Each change must be told, so that a target that
    /// was restarted is known to be new: down, then up.
    TargetOnline(bool),
    /// What came of a look: well, or what was wrong (a time-out too).
    Answer(Result<(), String>),
    /// What came of a look: not well, but it mends by itself.
    Doubtful(String),
    /// The process that a `pid` monitor watches has ended.
    Ended(String),
    /// What it looks at has changed: what the last look saw says nothing any more.
    Changed,
    /// The time that [`Watch::wakes`] named has come.
    Tick,
    /// Monitors of this cluster should not look now, or may again.
    Suspended(bool),
}

/// What a monitor does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Look now, with the configured time-out; the end is told as [`Event::Answer`].
    Look,
    /// Its state here is another one: tell the registry.
    Report(MonitorReport),
    /// It has found something bad: its recovery is due. Said again while it stays bad, so that the
    /// ladder can climb.
    Found {
        /// What is bad.
        detail: String,
    },
    /// What it looks at is well (again).
    Mended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Off,
    Delayed { until: Timestamp },
    Watching { next: Timestamp },
}

/// One monitor on one server.
#[derive(Clone, Debug)]
pub struct Watch {
    interval: Duration,
    retries: u32,
    start_delay: Duration,
    timing: MonitorTiming,
    pid: bool,
    /// This server is in its list.
    here: bool,
    target_online: bool,
    suspended: bool,
    /// What the start delay counts from: the node's start for `always`, else the target's.
    since: Timestamp,
    phase: Phase,
    /// A look is under way; `stale` when its answer counts for nothing, `again` when another one is to
    /// follow at once.
    looking: bool,
    stale: bool,
    again: bool,
    bad_in_a_row: u32,
    /// How the process of a `pid` monitor ended.
    ended: Option<String>,
    state: MonitorState,
    detail: String,
    reported: Option<MonitorReport>,
}

impl Watch {
    /// The monitor on `server`, whose node starts now.
    #[must_use]
    pub fn new(config: &MonitorConfig, server: &ServerName, now: Timestamp) -> Self {
        Self {
            interval: config.interval,
            retries: config.retries,
            start_delay: config.start_delay,
            timing: config.timing,
            pid: config.kind == MonitorKind::Pid,
            here: config.servers.is_empty() || config.servers.contains(server),
            target_online: false,
            suspended: false,
            since: now,
            phase: Phase::Off,
            looking: false,
            stale: false,
            again: false,
            bad_in_a_row: 0,
            ended: None,
            state: MonitorState::Unused,
            detail: String::new(),
            reported: None,
        }
    }

    /// Its state here.
    #[must_use]
    pub fn state(&self) -> MonitorState {
        self.state
    }

    /// When it wants an [`Event::Tick`]; `None` while only another event can change anything.
    #[must_use]
    pub fn wakes(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Off => None,
            Phase::Delayed { until } => Some(until),
            Phase::Watching { .. } if self.looking || (self.pid && self.ended.is_none()) => None,
            Phase::Watching { next } => Some(next),
        }
    }

    /// Takes one event. The first one, whichever it is, also tells the registry where it begins.
    pub fn on(&mut self, event: Event, now: Timestamp) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::TargetOnline(online) => {
                if !online {
                    self.ended = None; // of a process that is not to run any more
                }
                if online && !self.target_online && self.needs_target() {
                    self.since = now;
                }
                self.target_online = online;
            }
            Event::Suspended(suspended) => self.suspended = suspended,
            Event::Ended(how) if self.pid && self.target_online => {
                self.ended = Some(how);
                if matches!(self.phase, Phase::Watching { .. }) {
                    self.phase = Phase::Watching { next: now };
                }
            }
            Event::Answer(answer) if self.looking => {
                if self.looked(now) {
                    self.answer(answer, &mut actions);
                }
            }
            Event::Doubtful(detail) if self.looking => {
                if self.looked(now) {
                    self.bad_in_a_row = 0;
                    if self.state == MonitorState::Error {
                        actions.push(Action::Mended);
                    }
                    self.set(MonitorState::Caution, &detail);
                }
            }
            Event::Changed if self.looking => self.again = true,
            Event::Changed => {
                if let Phase::Watching { next } = &mut self.phase
                    && !self.pid
                {
                    *next = now;
                }
            }
            Event::Answer(_) | Event::Doubtful(_) | Event::Ended(_) | Event::Tick => {}
        }
        self.switch();
        if let Phase::Delayed { until } = self.phase
            && now >= until
        {
            self.phase = Phase::Watching { next: now };
        }
        self.due(now, &mut actions);
        let told = self.reported.as_ref().is_some_and(|before| {
            // A finding is told once, in the words of the first look; a caution is about what goes on.
            before.state == self.state
                && (self.state != MonitorState::Caution || before.detail == self.detail)
        });
        if !told {
            let report = MonitorReport { state: self.state, detail: self.detail.clone() };
            self.reported = Some(report.clone());
            actions.insert(0, Action::Report(report));
        }
        actions
    }

    /// A look has ended; whether what it saw counts.
    fn looked(&mut self, now: Timestamp) -> bool {
        self.looking = false;
        let again = std::mem::take(&mut self.again);
        let counts = !std::mem::take(&mut self.stale) && matches!(self.phase, Phase::Watching { .. });
        if counts {
            self.phase = Phase::Watching { next: if again { now } else { now + self.interval } };
        }
        counts
    }

    /// It looks only while its target runs. The process of a `pid` monitor is there only then.
    fn needs_target(&self) -> bool {
        self.pid || self.timing == MonitorTiming::WhileActive
    }

    /// On or off, by the settings and by what else is so.
    fn switch(&mut self) {
        let on = self.here && !self.suspended && (self.target_online || !self.needs_target());
        if on && self.phase == Phase::Off {
            self.phase = Phase::Delayed { until: self.since + self.start_delay };
            self.bad_in_a_row = 0;
            self.set(MonitorState::Unknown, "");
        }
        if !on {
            self.phase = Phase::Off;
            self.stale = self.looking;
            let why = match () {
                () if !self.here => "this server is not in its list",
                () if self.suspended => "suspended",
                () => "its target is not online here",
            };
            self.set(MonitorState::Unused, why);
        }
    }

    /// What is due now: a look, or word of a process that has ended.
    fn due(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let Phase::Watching { next } = self.phase else { return };
        if self.pid {
            match self.ended.clone() {
                None => self.good(actions),
                Some(how) if now >= next => {
                    self.phase = Phase::Watching { next: now + self.interval };
                    self.bad(how, actions);
                }
                Some(_) => {}
            }
        } else if now >= next && !self.looking {
            self.looking = true;
            actions.push(Action::Look);
        }
    }

    fn answer(&mut self, answer: Result<(), String>, actions: &mut Vec<Action>) {
        match answer {
            Ok(()) => {
                self.bad_in_a_row = 0;
                self.good(actions);
            }
            Err(detail) => {
                self.bad_in_a_row = self.bad_in_a_row.saturating_add(1);
                if self.bad_in_a_row > self.retries {
                    self.bad(detail, actions);
                }
            }
        }
    }

    fn good(&mut self, actions: &mut Vec<Action>) {
        if self.state != MonitorState::Normal {
            self.set(MonitorState::Normal, "");
            actions.push(Action::Mended);
        }
    }

    fn bad(&mut self, detail: String, actions: &mut Vec<Action>) {
        self.set(MonitorState::Error, &detail);
        actions.push(Action::Found { detail });
    }

    fn set(&mut self, state: MonitorState, detail: &str) {
        self.state = state;
        detail.clone_into(&mut self.detail);
    }
}

#[cfg(test)]
mod tests;
