//! The state of a monitor over all servers, in the words that operators read.

use crate::registry::{
    State,
    state::{MonitorEntry, MonitorState},
};

/// The state of a monitor over the servers that are up: what a server that is gone said last says
/// nothing about now.
#[must_use]
pub fn summary(state: &State, monitor: &MonitorEntry) -> MonitorState {
    let up = |server| state.presence(server).is_some_and(|presence| presence.up);
    let reports = monitor.reports.iter().filter(|(server, _)| up(server));
    summarise(reports.map(|(_, report)| report.value.state))
}

/// One word for many servers.
///
/// | the servers where it is used | together |
/// |---|---|
/// | none said anything | Unknown |
/// | none | Unused |
/// | all Error | Error |
/// | some Error | Caution |
/// | no Error, some Normal | Normal |
/// | all Unknown | Unknown |
#[must_use]
pub fn summarise(states: impl IntoIterator<Item = MonitorState>) -> MonitorState {
    let states: Vec<MonitorState> = states.into_iter().collect();
    let is = |wanted: MonitorState| states.iter().filter(|state| **state == wanted).count();
    let used = states.len() - is(MonitorState::Unused);
    let (errors, cautions) = (is(MonitorState::Error), is(MonitorState::Caution));
    match () {
        () if states.is_empty() => MonitorState::Unknown,
        () if used == 0 => MonitorState::Unused,
        () if errors == used => MonitorState::Error,
        () if errors + cautions > 0 => MonitorState::Caution,
        () if is(MonitorState::Normal) > 0 => MonitorState::Normal,
        () => MonitorState::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use MonitorState::*;

    use super::*;

    #[test]
    fn one_word_for_many_servers() {
        let table: &[(&[MonitorState], MonitorState)] = &[
            (&[], Unknown),
            (&[Unused, Unused], Unused),
            (&[Unknown, Unused], Unknown),
            (&[Normal], Normal),
            (&[Normal, Unused], Normal),
            (&[Normal, Unknown], Normal),
            (&[Error, Normal], Caution),
            (&[Error, Unknown], Caution),
            (&[Error, Error], Error),
            (&[Error, Unused], Error),
        ];
        for (states, together) in table {
            assert_eq!(summarise(states.iter().copied()), *together, "{states:?}");
        }
    }
}
