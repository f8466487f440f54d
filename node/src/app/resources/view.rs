//! Resources as faces show them: computed from the registry alone. `--json` prints exactly this.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tasuki_core::{
    config::GroupConfig,
    ids::{GroupName, ResourceName, Revision, ServerName},
    registry::{
        State,
        state::{Facts, FailureRecord, GroupEntry, GroupState, ResourceReport, ResourceState, Target},
    },
    time::WallTime,
};

use crate::app::status::{current_report, group_state};

/// One resource with its instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceView {
    /// Its name.
    pub name: ResourceName,
    /// Its type as it was given.
    #[serde(rename = "type")]
    pub type_name: String,
    /// One on every server, beside the cluster.
    pub local: bool,
    /// Whether anything may start it.
    pub enabled: bool,
    /// The failover group that it is a member of.
    pub group: Option<GroupName>,
    /// Its instances: by server when local, else by number.
    pub instances: Vec<InstanceView>,
}

/// One instance of a resource; of a member of a group, the only one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceView {
    /// What is started, stopped and moved: the instance's own unit, or the group it is in.
    pub unit: GroupName,
    /// CARDINALITY_ID.
    pub number: u32,
    /// Where it is, is being started or stopped; of a local one, where it belongs.
    pub server: Option<ServerName>,
    /// TARGET.
    pub target: Target,
    /// STATE.
    pub state: InstanceState,
    /// STATE_DETAILS.
    pub details: String,
    /// LAST_SERVER.
    pub last_server: Option<ServerName>,
    /// CREATION_SEED: the revision that made it.
    pub creation_seed: Revision,
    /// CURRENT_RCOUNT: restarts used up where it is, or was last.
    pub current_rcount: u32,
    /// FAILURE_COUNT: failures within its interval; none are counted without one.
    pub failure_count: u32,
    /// FAILURE_HISTORY: the last failures, oldest first.
    pub failure_history: Vec<Failure>,
    /// INCARNATION: how often it came online.
    pub incarnation: u64,
    /// LAST_RESTART: when it came online last.
    pub last_restart: WallTime,
}

/// When and where an instance failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When.
    pub at: WallTime,
    /// Where.
    pub server: ServerName,
}

/// The state of an instance in the four words of a resource's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum InstanceState {
    /// It runs.
    Online,
    /// It does not, or not yet, or not any more.
    Offline,
    /// It runs, but does not give its service.
    Intermediate,
    /// Its server has not said, or nothing is heard of it.
    Unknown,
}

impl InstanceState {
    /// As it is written in tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Online => "ONLINE",
            Self::Offline => "OFFLINE",
            Self::Intermediate => "INTERMEDIATE",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// Every resource, members of failover groups too: by name, capitals first. `now` says which
/// failures are within their interval.
#[must_use]
pub fn all(state: &State, now: WallTime) -> Vec<ResourceView> {
    let mut views: BTreeMap<ResourceName, ResourceView> = BTreeMap::new();
    for (unit, entry) in &state.groups {
        for name in members(entry) {
            let view = views.entry(name.clone()).or_insert_with(|| heading(state, unit, entry, &name));
            view.instances.push(instance(state, unit, entry, &name, now));
        }
    }
    let mut views: Vec<ResourceView> = views.into_values().collect();
    for view in &mut views {
        // Numbers of local ones are those of their servers.
        view.instances.sort_by_key(|instance| instance.number);
    }
    views
}

/// One resource.
#[must_use]
pub fn one(state: &State, name: &ResourceName, now: WallTime) -> Option<ResourceView> {
    all(state, now).into_iter().find(|view| view.name == *name)
}

/// The resources of a unit: as configured, and what else its owner says that it runs.
fn members(entry: &GroupEntry) -> Vec<ResourceName> {
    let mut names: Vec<ResourceName> =
        config_of(entry).into_iter().flat_map(|config| config.resources.keys().cloned()).collect();
    if let Some(report) = current_report(entry) {
        names.extend(report.resources.keys().cloned());
    }
    names.sort();
    names.dedup();
    names
}

fn config_of(entry: &GroupEntry) -> Option<&GroupConfig> {
    entry.config.as_ref().map(|config| &config.value)
}

fn heading(state: &State, unit: &GroupName, entry: &GroupEntry, name: &ResourceName) -> ResourceView {
    let config = config_of(entry);
    let instance = config.and_then(|config| config.instance.as_ref());
    let resource = config.and_then(|config| config.resources.get(name));
    let type_name = match (state.definitions.get(name), resource) {
        (Some(definition), _) => definition.value.type_name.to_string(),
        (None, Some(resource)) => resource
            .type_name
            .as_ref()
            .map_or_else(|| resource.kind.type_name().to_owned(), ToString::to_string),
        // It was taken out of the configuration and still runs.
        (None, None) => "(not configured)".to_owned(),
    };
    let of_definition = instance.is_some() || tasuki_core::config::instances::resource_of(unit).is_some();
    ResourceView {
        name: name.clone(),
        type_name,
        local: instance.is_some_and(|instance| instance.local),
        enabled: config.is_some_and(|config| config.enabled),
        group: (!of_definition).then(|| unit.clone()),
        instances: Vec::new(),
    }
}

fn instance(
    state: &State,
    unit: &GroupName,
    entry: &GroupEntry,
    name: &ResourceName,
    now: WallTime,
) -> InstanceView {
    let config = config_of(entry);
    let of = config.and_then(|config| config.instance.as_ref());
    let facts: Option<&Facts> = entry.facts.get(name).map(|facts| &facts.value);
    let last_server = facts.and_then(|facts| facts.last_server.clone());
    let seen = observed(state, entry, name);
    let belongs = of.filter(|of| of.local).and_then(|of| of.bound.clone());
    let failures = &entry.failures.value;
    let history = failures.history.get(name);
    let interval = config
        .and_then(|config| config.resources.get(name))
        .map_or(0, |resource| u64::try_from(resource.failure_interval.as_millis()).unwrap_or(u64::MAX));
    let within = |record: &&FailureRecord| interval > 0 && record.at.0.saturating_add(interval) >= now.0;
    let counted_at = seen.server.as_ref().or(last_server.as_ref());
    InstanceView {
        unit: unit.clone(),
        number: of.map_or_else(|| number_of(unit), |of| of.number),
        server: seen.server.clone().or(belongs),
        target: entry.target.value,
        state: seen.state,
        details: seen.details,
        current_rcount: counted_at.map_or(0, |server| failures.of(name, server).retries),
        last_server,
        creation_seed: entry.config.as_ref().map_or(entry.target.created, |config| config.created),
        failure_count: count(history.into_iter().flatten().filter(within).count()),
        failure_history: history
            .into_iter()
            .flatten()
            .map(|record| Failure { at: record.at, server: record.server.clone() })
            .collect(),
        incarnation: facts.map_or(0, |facts| facts.starts),
        last_restart: facts.map_or(WallTime(0), |facts| facts.last_restart),
    }
}

/// The number in an instance's name, for one that the configuration no longer has.
fn number_of(unit: &GroupName) -> u32 {
    unit.as_str().split_once('#').and_then(|(_, number)| number.parse().ok()).unwrap_or(1)
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// What is known of one resource where it is.
struct Observed {
    state: InstanceState,
    details: String,
    server: Option<ServerName>,
}

fn observed(state: &State, entry: &GroupEntry, name: &ResourceName) -> Observed {
    let ownership = &entry.ownership.value;
    let Some(owner) = &ownership.owner else {
        return Observed { state: InstanceState::Offline, details: String::new(), server: None };
    };
    let at =
        |state, details: &str| Observed { state, details: details.to_owned(), server: Some(owner.clone()) };
    // Until the proof that it is gone, nobody knows what a silent owner still runs.
    if !state.presence(owner).is_some_and(|presence| presence.up) {
        return at(InstanceState::Unknown, "");
    }
    let report = current_report(entry);
    let Some(said) = report.and_then(|report| report.resources.get(name)) else {
        return match group_state(entry).0 {
            GroupState::OnlinePending => at(InstanceState::Offline, STARTING),
            GroupState::OfflinePending => at(InstanceState::Offline, STOPPING),
            GroupState::Offline | GroupState::Error => {
                Observed { server: None, ..at(InstanceState::Offline, "") }
            }
            GroupState::Online | GroupState::Unknown => at(InstanceState::Unknown, ""),
        };
    };
    let failed =
        report.and_then(|report| report.failed.as_ref()).is_some_and(|failed| failed.resource == *name);
    said_of(said, failed, at)
}

const STARTING: &str = "STARTING";
const STOPPING: &str = "STOPPING";
const CLEANING: &str = "CLEANING";

/// The four words, from those of the owner. What it is about to do stands in the details.
fn said_of(said: &ResourceReport, failed: bool, at: impl Fn(InstanceState, &str) -> Observed) -> Observed {
    let detail = said.detail.lines().next().unwrap_or_default();
    match said.state {
        ResourceState::Online => at(InstanceState::Online, detail),
        ResourceState::Intermediate => at(InstanceState::Intermediate, detail),
        ResourceState::Unknown => at(InstanceState::Unknown, detail),
        ResourceState::OnlinePending => at(InstanceState::Offline, STARTING),
        // What failed is stopped to clear away what is left of it.
        ResourceState::OfflinePending if failed => at(InstanceState::Offline, CLEANING),
        ResourceState::OfflinePending => at(InstanceState::Offline, STOPPING),
        // It may still run: its stop failed.
        ResourceState::OfflineFailure => at(InstanceState::Unknown, detail),
        ResourceState::OnlineFailure => at(InstanceState::Offline, detail),
        ResourceState::Offline => Observed { server: None, ..at(InstanceState::Offline, detail) },
    }
}
