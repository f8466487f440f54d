//! How monitors are, in the words that operators read, with the counters of their recovery.

use serde::{Deserialize, Serialize};
use tasuki_core::{
    config::{MonitorConfig, MonitorKind, RecoveryTarget},
    ids::{GroupName, MonitorName, ResourceName, ServerName},
    registry::{
        State,
        state::{GroupEntry, MonitorEntry, MonitorState},
    },
};

/// One monitor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonitorStatus {
    /// Its name.
    pub name: MonitorName,
    /// Its type, as in the configuration.
    #[serde(rename = "type")]
    pub kind: String,
    /// The resource that it watches.
    pub watches: Option<ResourceName>,
    /// What its recovery mends: a resource, a group, or `cluster`.
    pub mends: String,
    /// All servers together.
    pub state: MonitorState,
    /// Each server that looks, by number.
    pub servers: Vec<MonitorOn>,
}

/// One monitor on one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonitorOn {
    /// Which server.
    pub server: ServerName,
    /// What it found.
    pub state: MonitorState,
    /// What there is to say about it.
    pub detail: String,
    /// Restarts used up by its findings here.
    pub restarts: u32,
    /// Failovers used up by its findings here.
    pub failovers: u32,
}

/// Every monitor, by name.
#[must_use]
pub fn all(state: &State) -> Vec<MonitorStatus> {
    state.monitors.iter().map(|(name, entry)| monitor(state, name, entry)).collect()
}

/// The monitors that watch a resource of a group, or that mend the group or a resource of it.
#[must_use]
pub fn of_group(state: &State, group: &GroupName, entry: &GroupEntry) -> Vec<MonitorStatus> {
    let Some(config) = entry.config.as_ref().map(|config| &config.value) else { return Vec::new() };
    let concerns = |monitor: &MonitorConfig| {
        let watched = monitor.target.as_ref().is_some_and(|target| config.resources.contains_key(target));
        watched
            || match &monitor.recovery.target {
                RecoveryTarget::Resource(resource) => config.resources.contains_key(resource),
                RecoveryTarget::Group(name) => name == group,
                RecoveryTarget::Cluster => false,
            }
    };
    let ours = state.monitors.iter().filter(|(_, entry)| concerns(&entry.config.value));
    ours.map(|(name, entry)| monitor(state, name, entry)).collect()
}

fn monitor(state: &State, name: &MonitorName, entry: &MonitorEntry) -> MonitorStatus {
    let config = &entry.config.value;
    let runners = state.servers.iter().filter(|(_, entry)| entry.config.value.role.runs_groups());
    let mut numbered: Vec<(u32, &ServerName)> =
        runners.map(|(server, entry)| (entry.config.value.number, server)).collect();
    numbered.sort_unstable();
    let looks = |server: &ServerName| config.servers.is_empty() || config.servers.contains(server);
    let servers: Vec<MonitorOn> = numbered
        .into_iter()
        .filter(|(_, server)| looks(server))
        .map(|(_, server)| on(state, name, entry, server))
        .collect();
    MonitorStatus {
        name: name.clone(),
        kind: match &config.kind {
            MonitorKind::Pid => "pid",
            MonitorKind::Ip { .. } => "ip",
            MonitorKind::Exec { .. } => "exec",
            MonitorKind::Mirror => "mirror",
            MonitorKind::MirrorLink => "mirror_link",
        }
        .to_owned(),
        watches: config.target.clone(),
        mends: match &config.recovery.target {
            RecoveryTarget::Resource(resource) => resource.to_string(),
            RecoveryTarget::Group(group) => group.to_string(),
            RecoveryTarget::Cluster => "cluster".to_owned(),
        },
        state: together(servers.iter().map(|on| on.state)),
        servers,
    }
}

fn on(state: &State, name: &MonitorName, entry: &MonitorEntry, server: &ServerName) -> MonitorOn {
    let up = state.presence(server).is_some_and(|presence| presence.up);
    // What a server found before it went down says nothing about now.
    let report = entry.reports.get(server).filter(|_| up);
    // A monitor's recovery may mend several units: its counters are those of all of them.
    let (restarts, failovers) = state
        .groups
        .values()
        .map(|group| group.failures.value.of_monitor(name, server))
        .fold((0, 0), |(restarts, failovers), count| (restarts + count.retries, failovers + count.failovers));
    MonitorOn {
        server: server.clone(),
        state: report.map_or(MonitorState::Unknown, |report| report.value.state),
        detail: report.map_or_else(String::new, |report| report.value.detail.clone()),
        restarts,
        failovers,
    }
}

/// One word for all servers: Caution when it is bad on some, Error when it is on all that look.
fn together(states: impl Iterator<Item = MonitorState>) -> MonitorState {
    let states: Vec<MonitorState> = states.collect();
    let looking: Vec<MonitorState> = states
        .iter()
        .copied()
        .filter(|state| !matches!(state, MonitorState::Unused | MonitorState::Unknown))
        .collect();
    let all = |word| looking.iter().all(|state| *state == word);
    match looking.is_empty() {
        true if states.contains(&MonitorState::Unused) => MonitorState::Unused,
        true => MonitorState::Unknown,
        false if all(MonitorState::Normal) => MonitorState::Normal,
        false if all(MonitorState::Error) => MonitorState::Error,
        false => MonitorState::Caution,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_servers_together_are_one_word() {
        use MonitorState::{Caution, Error, Normal, Unknown, Unused};
        for (states, word) in [
            (&[Normal, Normal, Normal][..], Normal),
            (&[Normal, Error, Normal], Caution),
            (&[Normal, Caution], Caution),
            (&[Error, Error], Error),
            // Only where its target runs does it look.
            (&[Unused, Normal, Unused], Normal),
            (&[Unused, Error, Unused], Error),
            (&[Unused, Unused], Unused),
            (&[Unused, Unknown], Unused),
            (&[Unknown, Normal], Normal),
            (&[Unknown, Unknown], Unknown),
            (&[], Unknown),
        ] {
            assert_eq!(together(states.iter().copied()), word, "{states:?}");
        }
    }
}
