//! Why a group is where it is, and why it is nowhere else: from the registry alone, so that every
//! server gives the same answer.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};
use tasuki_core::{
    config::{Automatic, instances},
    ids::{GroupName, ServerName},
    placement::{
        plan::Input,
        report::{Place, Report, Standing, report},
    },
    registry::{
        Change, Key, State,
        state::{ClusterMode, FailureCount, FailureKind, FailureRecord, GroupEntry, Target},
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
/// The failures that it shows.
const FAILURES_SHOWN: usize = 5;

/// Why a group is as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The group.
    pub group: GroupStatus,
    /// Why, one sentence each.
    pub because: Vec<String>,
    /// Every other server, and why it does not run the group.
    pub not_there: Vec<NotThere>,
    /// Its last failures, oldest first.
    #[serde(default)]
    pub failures: Vec<String>,
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
    let up = |server: &&ServerName| state.presence(server).is_some_and(|presence| presence.up);
    let fit: BTreeSet<ServerName> = state.servers.keys().filter(up).cloned().collect();
    // A cold start that waits for servers is over after a while: what is said here is said for good.
    let input = Input { state, fit: &fit, since_start: Duration::MAX };
    let report = report(&input, name);
    let standings = report.iter().flat_map(|report| &report.servers);
    let others = standings.filter(|(_, standing)| *standing != Standing::Owner);
    let not_there = others.map(|(server, standing)| not_there(state, entry, server, standing)).collect();
    let touched: Vec<Change> = state
        .history
        .iter()
        .filter(|change| change.keys.iter().any(|key| is_about(key, name)))
        .map(|change| Change::clone(change))
        .collect();
    Ok(Explanation {
        group: status::group(name, entry),
        because: because(state, entry, report.as_ref()),
        not_there,
        failures: failures(entry),
        history: touched[touched.len().saturating_sub(HISTORY_SHOWN)..].to_vec(),
    })
}

fn is_about(key: &Key, group: &GroupName) -> bool {
    match key {
        Key::GroupConfig(g) | Key::Target(g) | Key::Ownership(g) | Key::Report(g) | Key::Failures(g) => {
            g == group
        }
        Key::Definition(resource) => instances::resource_of(group).as_ref() == Some(resource),
        _ => false,
    }
}

fn because(state: &State, entry: &GroupEntry, report: Option<&Report>) -> Vec<String> {
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
    match report.map(|report| &report.place) {
        Some(Place::Leaves { because, .. }) if ownership.release.is_none() => {
            said.push(format!("it is about to leave: {because}"));
        }
        Some(Place::Goes { server }) => said.push(format!("{server} is about to get it")),
        Some(Place::Nowhere { because }) => said.push(because.to_string()),
        Some(Place::Owned { .. } | Place::Leaves { .. }) | None => {}
    }
    let mut others = report.into_iter().flat_map(|report| &report.servers);
    let could = |(_, standing): &(ServerName, Standing)| {
        !matches!(standing, Standing::Owner | Standing::Rejected { .. })
    };
    if ownership.owner.is_some() && !others.any(could) {
        said.push("no other server could take it now".to_owned());
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
    if entry.target.value == Target::Offline && ownership.owner.is_some() {
        said.push("it is wanted offline".to_owned());
    }
    if let Some(report) = status::current_report(entry) {
        if let Some(failed) = &report.failed {
            let what = failed_how(failed.kind);
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

fn not_there(state: &State, entry: &GroupEntry, server: &ServerName, standing: &Standing) -> NotThere {
    let (available, mut because) = match standing {
        // Only servers without the group are asked for.
        Standing::Owner => (true, Vec::new()),
        Standing::Rejected { why } => (false, vec![why.to_string()]),
        Standing::Best { by } => {
            let words = "it is the best of those that could take it";
            (true, vec![by.map_or_else(|| words.to_owned(), |by| format!("{words}: {by}"))])
        }
        Standing::Worse { than, by } => (true, vec![format!("{than} is better: {by}")]),
        Standing::Stays { by } => {
            let leaves = entry.ownership.value.release.is_some();
            let but = if leaves { String::new() } else { format!(", but {}", stays(entry, server)) };
            (true, vec![format!("it would be better: {by}{but}")])
        }
    };
    // Every reason that is plain to see, not only the first.
    let config = entry.config.as_ref().map(|config| &config.value);
    let listed = config.is_some_and(|config| config.servers.contains(server));
    let down = state.presence(server).filter(|presence| !presence.up);
    if let (false, Some(down)) = (listed, down) {
        because.push(match &down.down_because {
            Some(reason) => format!("it is down: {reason}"),
            None => "it is down: it has not started yet".to_owned(),
        });
    }
    let failures = &entry.failures.value;
    let count = |what: &str, count: FailureCount| {
        (count.retries + count.failovers > 0).then(|| {
            format!("{what} there: {} retries used, handed on {} times", count.retries, count.failovers)
        })
    };
    for (resource, by_server) in &failures.counts {
        let used = by_server.get(server).copied().unwrap_or_default();
        because.extend(count(&format!("resource {resource} failed"), used));
    }
    for (monitor, by_server) in &failures.monitors {
        let used = by_server.get(server).copied().unwrap_or_default();
        because.extend(count(&format!("monitor {monitor} found it failed"), used));
    }
    NotThere { server: server.clone(), available, because }
}

/// Why a better server does not get what runs well elsewhere.
fn stays(entry: &GroupEntry, server: &ServerName) -> &'static str {
    let config = entry.config.as_ref().map(|config| &config.value);
    let automatic = config.is_some_and(|config| config.failback == Automatic::Auto);
    let home = config.is_some_and(|config| config.servers.first() == Some(server));
    match (automatic, home) {
        (true, true) => "it goes home by itself only once it runs well and has not failed there",
        (true, false) => "a running group goes back by itself to its home only",
        (false, _) => "a running group stays where it is (failback is manual)",
    }
}

/// The last failures that are kept, oldest first.
fn failures(entry: &GroupEntry) -> Vec<String> {
    let kept = entry.failures.value.history.iter();
    let mut all: Vec<(&FailureRecord, String)> = kept
        .flat_map(|(resource, records)| {
            records.iter().map(move |one| {
                (one, format!("{}: resource {resource} {} on {}", one.at, failed_how(one.kind), one.server))
            })
        })
        .collect();
    all.sort_by_key(|(one, _)| one.at);
    let shown = all.len().saturating_sub(FAILURES_SHOWN);
    all.into_iter().skip(shown).map(|(_, words)| words).collect()
}

fn failed_how(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Start => "did not start",
        FailureKind::Ended => "ended by itself",
        FailureKind::Stop => "did not stop",
        FailureKind::Found => "was found failed by a monitor",
        FailureKind::TooOften => "failed too often",
    }
}
