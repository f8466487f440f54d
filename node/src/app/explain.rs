//! Why a group is where it is, and why it is nowhere else: from the registry alone, so that every
//! server gives the same answer.

use serde::{Deserialize, Serialize};
use tasuki_core::{
    config::{Automatic, GroupConfig},
    ids::{GroupName, ServerName},
    registry::{
        Change, Key, State,
        state::{ClusterMode, FailureKind, GroupEntry, ServerMode, Target},
    },
};

use super::{
    AppError,
    error::Kind,
    history::{units_named, unknown},
    status::{self, GroupStatus},
};

/// The changes that an explanation shows.
const HISTORY_SHOWN: usize = 10;

/// Why a group is as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The group.
    pub group: GroupStatus,
    /// Why, one sentence each.
    pub because: Vec<String>,
    /// Every other server, and why it does not run the group.
    pub not_there: Vec<NotThere>,
    /// What changed it lately, oldest first.
    pub history: Vec<Change>,
}

/// Why a server does not run a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotThere {
    /// Which server.
    pub server: ServerName,
    /// It could take the group now.
    pub available: bool,
    /// Why it does not have it.
    pub because: Vec<String>,
}

/// Explains every group and instance that a name speaks of: a group, an instance, a resource with all
/// its instances, or a resource of groups.
///
/// # Errors
/// When nothing that runs has that name.
pub fn explain_named(state: &State, name: &str) -> Result<Vec<Explanation>, AppError> {
    let units = units_named(state, name);
    if units.is_empty() {
        return Err(unknown(name));
    }
    units.iter().map(|unit| explain(state, unit)).collect()
}

/// Explains a group.
///
/// # Errors
/// When there is no such group.
pub fn explain(state: &State, name: &GroupName) -> Result<Explanation, AppError> {
    let entry = state
        .groups
        .get(name)
        .ok_or_else(|| AppError::NotFound { kind: Kind::Group, name: name.to_string() })?;
    let owner = entry.ownership.value.owner.as_ref();
    let mut others: Vec<_> = state.servers.iter().filter(|(server, _)| Some(*server) != owner).collect();
    others.sort_by_key(|(_, server)| server.config.value.number);
    let touched: Vec<Change> = state
        .history
        .iter()
        .filter(|change| change.keys.iter().any(|key| is_about(key, name)))
        .map(|change| Change::clone(change))
        .collect();
    Ok(Explanation {
        group: status::group(name, entry),
        because: because(state, entry),
        not_there: others.into_iter().map(|(server, _)| not_there(state, entry, server)).collect(),
        history: touched[touched.len().saturating_sub(HISTORY_SHOWN)..].to_vec(),
    })
}

fn is_about(key: &Key, group: &GroupName) -> bool {
    matches!(key, Key::GroupConfig(g) | Key::Target(g) | Key::Ownership(g) | Key::Report(g) | Key::Failures(g)
        if g == group)
}

fn because(state: &State, entry: &GroupEntry) -> Vec<String> {
    let ownership = &entry.ownership.value;
    let mut said = Vec::new();
    match (&ownership.owner, &ownership.assigned) {
        (Some(owner), Some(assigned)) => said.push(format!(
            "{owner} owns it since {} (epoch {}): {}",
            assigned.at, ownership.epoch, assigned.reason
        )),
        (Some(owner), None) => said.push(format!("{owner} owns it (epoch {})", ownership.epoch)),
        (None, _) => match &ownership.previous {
            Some(previous) => said.push(format!("nobody owns it; {previous} did before")),
            None => said.push("nobody owns it, and nobody ever did".to_owned()),
        },
    }
    if let Some(release) = &ownership.release {
        let next = release.to.as_ref().map_or_else(String::new, |to| format!(", to go to {to}"));
        said.push(format!("its owner is asked to stop it{next}: {}", release.reason));
    }
    if let Some(vacated) = &ownership.vacated {
        said.push(format!("it was given up: {}", vacated.reason));
        if let Some(to) = &vacated.to {
            said.push(format!("{to} is chosen to be next"));
        }
    }
    if entry.target.value == Target::Offline {
        said.push("it is wanted offline".to_owned());
    }
    if let Some(report) = status::current_report(entry) {
        if let Some(failed) = &report.failed {
            let what = match failed.kind {
                FailureKind::Start => "did not start",
                FailureKind::Ended => "ended by itself",
                FailureKind::Stop => "did not stop",
                FailureKind::Found => "was found failed by a monitor",
                FailureKind::TooOften => "failed too often",
            };
            said.push(format!("resource {} {what}", failed.resource));
        }
        for (resource, report) in report.resources.iter().filter(|(_, r)| !r.detail.is_empty()) {
            said.push(format!("resource {resource}: {}", report.detail));
        }
    }
    match state.cluster_mode() {
        ClusterMode::Running => {}
        ClusterMode::Suspended => {
            said.push("the cluster is suspended: nothing starts, stops or moves by itself".to_owned());
        }
        ClusterMode::Stopping(_) => said.push("the cluster is shutting down".to_owned()),
    }
    match &entry.config {
        None => said.push("the configuration no longer has it".to_owned()),
        Some(config) if config.value.failover == Automatic::Manual => {
            said.push("its failover is manual: after a failure it waits for an operator".to_owned());
        }
        Some(_) => {}
    }
    said
}

fn not_there(state: &State, entry: &GroupEntry, server: &ServerName) -> NotThere {
    let config = entry.config.as_ref().map(|config| &config.value);
    let mut because = Vec::new();
    let place = config.and_then(|config| config.servers.iter().position(|s| s == server));
    if place.is_none() {
        because.push("it is not in the group's server list".to_owned());
    }
    match state.presence(server) {
        None => because.push("it has not joined the cluster".to_owned()),
        Some(presence) if !presence.up => because.push(match &presence.down_because {
            Some(reason) => format!("it is down: {reason}"),
            None => "it is down: it has not started yet".to_owned(),
        }),
        Some(presence) if presence.mode != ServerMode::Active => {
            because.push("it is shutting down".to_owned());
        }
        Some(_) => {}
    }
    let available = because.is_empty();
    for (resource, by_server) in &entry.failures.value.counts {
        let Some(count) = by_server.get(server) else { continue };
        if count.retries + count.failovers == 0 {
            continue;
        }
        because.push(format!(
            "resource {resource} failed there: {} retries used, handed on {} times",
            count.retries, count.failovers
        ));
    }
    if available {
        because.extend(standing(entry, config, server, place));
    }
    NotThere { server: server.clone(), available, because }
}

/// Where an available server stands in the group's order, next to the owner.
fn standing(
    entry: &GroupEntry,
    config: Option<&GroupConfig>,
    server: &ServerName,
    place: Option<usize>,
) -> Option<String> {
    let (config, place) = (config?, place?);
    let Some(owner) = &entry.ownership.value.owner else {
        return Some(format!("it is number {} of {} in the order", place + 1, config.servers.len()));
    };
    let owners_place = config.servers.iter().position(|s| s == owner);
    Some(match owners_place {
        Some(owners) if owners < place => {
            format!("it is number {} in the order, after {owner}", place + 1)
        }
        _ if config.failback == Automatic::Auto && config.servers.first() == Some(server) => {
            "it is the group's home, and failback is automatic: the group comes back when it can".to_owned()
        }
        _ => format!(
            "it stands before {owner} in the order, but a running group stays where it is \
             (failback is {})",
            if config.failback == Automatic::Auto { "automatic, to its home only" } else { "manual" }
        ),
    })
}
