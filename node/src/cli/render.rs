//! Tables and sentences for people, from the very values that `--json` prints.

pub mod resources;
pub mod times;

use tasuki_core::{
    config::HeartbeatPath,
    membership::view::PathState,
    registry::{
        Change,
        state::{GroupState, MonitorState, ResourceState, Target},
    },
    time::WallTime,
};

use super::output::{Cell, Style, table};
use crate::app::{
    explain::Explanation,
    monitors::{MonitorOn, MonitorStatus},
    status::{ClusterStatus, GroupStatus, MemberKind, ModeName, PathStatus, ServerState, ServerStatus},
};

/// The cluster at a glance. `now` is the reader's wall clock.
#[must_use]
pub fn cluster(status: &ClusterStatus, now: WallTime, color: bool) -> String {
    let (mode, style) = match status.mode {
        ModeName::Running => ("running", Style::Good),
        ModeName::Suspended => ("suspended: groups run on, unwatched", Style::Warn),
        ModeName::Stopping => ("shutting down", Style::Warn),
    };
    let leader = match &status.leader {
        Some(leader) => format!("led by {leader} (term {})", status.term),
        None => Style::Bad.paint("nobody leads", color),
    };
    let mut text = format!(
        "Cluster {}: {}, {leader}, revision {}, as {} sees it\n",
        Style::Bold.paint(&status.cluster, color),
        style.paint(mode, color),
        status.revision,
        status.seen_from
    );
    if !status.confirmed {
        text.push_str(
            &Style::Bad
                .paint("No quorum confirms this: it is what this server had applied, and may be old.", color),
        );
        text.push('\n');
    }
    let survival = status.survival.sentence(status.confirmed);
    let style = if status.survival.survives { Style::Good } else { Style::Warn };
    text.push_str(&format!(
        "Would losing one more server be survived? {}\n\n",
        style.paint(&survival, color)
    ));
    text.push_str(&servers(&status.servers, &status.seen_from, color));
    for warning in &status.warnings {
        text.push_str(&format!("{}\n", Style::Warn.paint(warning, color)));
    }
    if !status.groups.is_empty() {
        text.push('\n');
        text.push_str(&groups(&status.groups, now, color));
    }
    if !status.monitors.is_empty() {
        text.push('\n');
        text.push_str(&monitors(&status.monitors, color));
    }
    text
}

/// Servers, a column for each network. `here` is who answers.
#[must_use]
pub fn servers(servers: &[ServerStatus], here: &tasuki_core::ids::ServerName, color: bool) -> String {
    let mut networks: Vec<&str> =
        servers.iter().flat_map(|server| &server.paths).map(|path| path.network.as_str()).collect();
    networks.sort_unstable();
    networks.dedup();
    let mut heading = vec!["SERVER", "STATE", "ROLE"];
    heading.extend(&networks);
    heading.extend(["GROUPS", "NOTE"]);
    let rows: Vec<Vec<Cell>> = servers
        .iter()
        .map(|server| {
            let (state, style) = server_state(server);
            let role = match (server.leader, server.voter, server.state) {
                _ if server.kind == MemberKind::Register => "tie-break",
                _ if server.kind == MemberKind::Voter && server.voter => "witness, voter",
                _ if server.kind == MemberKind::Voter => "witness",
                (true, ..) => "leader",
                (_, true, _) => "voter",
                (_, _, ServerState::NotJoined) => "",
                _ => "learner",
            };
            let mut row = vec![server.name.as_str().into(), Cell::new(state, style), role.into()];
            for network in &networks {
                let path = server.paths.iter().find(|path| path.network.as_str() == *network);
                row.push(match path {
                    Some(path) => path_cell(path),
                    None if server.name == *here => Cell::new("(here)", Style::Dim),
                    None => Cell::new("-", Style::Dim),
                });
            }
            let groups: Vec<&str> = server.groups.iter().map(|group| group.as_str()).collect();
            row.push(groups.join(" ").into());
            row.push(note(server).into());
            row
        })
        .collect();
    table(&heading, &rows, color)
}

fn server_state(server: &ServerStatus) -> (&'static str, Style) {
    match server.state {
        ServerState::NotJoined => ("not joined", Style::Dim),
        ServerState::Up if server.silent => ("up, silent", Style::Bad),
        ServerState::Up if server.caution => ("up, Caution", Style::Warn),
        ServerState::Up => ("up", Style::Good),
        ServerState::Leaving => ("leaving", Style::Warn),
        ServerState::Down => ("down", Style::Bad),
        ServerState::Heard => ("heard", Style::Good),
        ServerState::NotHeard => ("not heard", Style::Bad),
        ServerState::Joined => ("joined", Style::Dim),
    }
}

fn note(server: &ServerStatus) -> String {
    let because = server.because.as_ref();
    let because = because.filter(|_| matches!(server.state, ServerState::Down | ServerState::NotHeard));
    match (because, server.lease_left_ms) {
        (Some(because), _) => because.clone(),
        (None, Some(0)) => "no lease".to_owned(),
        (None, _) => heard_aside(server).unwrap_or_default(),
    }
}

/// It lives, but no network to it works: it holds no lease from here (R21).
fn heard_aside(server: &ServerStatus) -> Option<String> {
    let heard =
        server.paths.iter().filter(|path| matches!(path.state, PathState::Normal | PathState::Caution));
    let heard: Vec<_> = heard.map(|path| &path.network).collect();
    let aside = !heard.is_empty() && heard.iter().all(|path| HeartbeatPath::is_evidence_only(path));
    let names: Vec<&str> = heard.iter().map(|path| path.as_str()).collect();
    aside.then(|| format!("heard only on {}", names.join(", ")))
}

#[allow(clippy::cast_precision_loss, reason = "microseconds of a round trip, shown with two digits")]
fn path_cell(path: &PathStatus) -> Cell {
    let mut text = path.state.to_string();
    if matches!(path.state, PathState::Normal | PathState::Caution) {
        text.push_str(&format!(" {:.2}ms", path.latency_us as f64 / 1000.0));
    }
    if path.loss_percent > 0 && path.state != PathState::Error {
        text.push_str(&format!(" {}% lost", path.loss_percent));
    }
    // How long it has been well is not worth the room.
    if matches!(path.state, PathState::Caution | PathState::Error) {
        text.push_str(&format!(" for {}", span(path.state_for_ms / 1000)));
    }
    let style = match path.state {
        PathState::Normal => Style::Good,
        PathState::Caution => Style::Warn,
        PathState::Error => Style::Bad,
        PathState::Unused | PathState::Unknown => Style::Dim,
    };
    Cell::new(text, style)
}

/// Groups, a line each.
#[must_use]
pub fn groups(groups: &[GroupStatus], now: WallTime, color: bool) -> String {
    let rows: Vec<Vec<Cell>> = groups
        .iter()
        .map(|group| {
            let wanted = match group.target {
                Target::Online => "online",
                Target::Offline => "offline",
            };
            vec![
                group.name.as_str().into(),
                group_cell(group.state),
                group.server.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string).into(),
                since(group.since, now).into(),
                wanted.into(),
                group.next.as_ref().map_or_else(String::new, ToString::to_string).into(),
                group.reason.clone().unwrap_or_default().into(),
            ]
        })
        .collect();
    table(&["GROUP", "STATE", "SERVER", "SINCE", "WANTED", "NEXT", "BECAUSE"], &rows, color)
}

/// One group with its resources.
#[must_use]
pub fn group(group: &GroupStatus, now: WallTime, color: bool) -> String {
    let mut text = groups(std::slice::from_ref(group), now, color);
    let rows: Vec<Vec<Cell>> = group
        .resources
        .iter()
        .map(|resource| {
            vec![
                resource.name.as_str().into(),
                resource.kind.as_str().into(),
                resource_cell(resource.state),
                resource.since.map_or_else(String::new, |at| since(at, now)).into(),
                resource.detail.as_str().into(),
            ]
        })
        .collect();
    text.push('\n');
    text.push_str(&table(&["RESOURCE", "TYPE", "STATE", "SINCE", "DETAIL"], &rows, color));
    if !group.monitors.is_empty() {
        text.push('\n');
        text.push_str(&monitors(&group.monitors, color));
    }
    text
}

/// Monitors: a line each for all servers together, and below it one for each server with something
/// to say.
#[must_use]
pub fn monitors(monitors: &[MonitorStatus], color: bool) -> String {
    let counter = |count: u32| if count == 0 { String::new() } else { count.to_string() };
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for monitor in monitors {
        let total = |of: fn(&MonitorOn) -> u32| counter(monitor.servers.iter().map(of).sum());
        rows.push(vec![
            monitor.name.as_str().into(),
            monitor.kind.as_str().into(),
            monitor_cell(monitor.state),
            monitor.watches.as_ref().map_or_else(String::new, ToString::to_string).into(),
            monitor.mends.as_str().into(),
            total(|on| on.restarts).into(),
            total(|on| on.failovers).into(),
            Cell::default(),
        ]);
        let differs = |on: &&MonitorOn| {
            on.state != monitor.state || !on.detail.is_empty() || on.restarts + on.failovers > 0
        };
        for on in monitor.servers.iter().filter(differs) {
            rows.push(vec![
                format!("  {}", on.server).into(),
                Cell::default(),
                monitor_cell(on.state),
                Cell::default(),
                Cell::default(),
                counter(on.restarts).into(),
                counter(on.failovers).into(),
                on.detail.as_str().into(),
            ]);
        }
    }
    let heading = ["MONITOR", "TYPE", "STATE", "WATCHES", "MENDS", "RESTARTS", "FAILOVERS", "DETAIL"];
    table(&heading, &rows, color)
}

fn monitor_cell(state: MonitorState) -> Cell {
    let style = match state {
        MonitorState::Normal => Style::Good,
        MonitorState::Caution => Style::Warn,
        MonitorState::Error => Style::Bad,
        MonitorState::Unused | MonitorState::Unknown => Style::Dim,
    };
    Cell::new(state, style)
}

fn group_cell(state: GroupState) -> Cell {
    match state {
        GroupState::Online => Cell::new("Online", Style::Good),
        GroupState::Offline => Cell::new("Offline", Style::Dim),
        GroupState::OnlinePending => Cell::new("Online Pending", Style::Warn),
        GroupState::OfflinePending => Cell::new("Offline Pending", Style::Warn),
        GroupState::Error => Cell::new("Error", Style::Bad),
        GroupState::Unknown => Cell::new("Unknown", Style::Warn),
    }
}

fn resource_cell(state: ResourceState) -> Cell {
    match state {
        ResourceState::Online => Cell::new("Online", Style::Good),
        ResourceState::Intermediate => Cell::new("Intermediate", Style::Warn),
        ResourceState::Offline => Cell::new("Offline", Style::Dim),
        ResourceState::OnlinePending => Cell::new("Online Pending", Style::Warn),
        ResourceState::OfflinePending => Cell::new("Offline Pending", Style::Warn),
        ResourceState::OnlineFailure => Cell::new("Online Failure", Style::Bad),
        ResourceState::OfflineFailure => Cell::new("Offline Failure", Style::Bad),
        ResourceState::Unknown => Cell::new("Unknown", Style::Warn),
    }
}

/// A time, and how long ago that was.
#[must_use]
pub fn since(at: WallTime, now: WallTime) -> String {
    let text = at.to_string();
    let seconds = text.get(..19).unwrap_or(&text).replace('T', " ");
    format!("{seconds}Z ({})", span(now.0.saturating_sub(at.0) / 1000))
}

fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, ..) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// Why a group is where it is.
#[must_use]
pub fn explanation(explanation: &Explanation, now: WallTime, color: bool) -> String {
    let mut text = groups(std::slice::from_ref(&explanation.group), now, color);
    let heading = |words: &str| format!("\n{}\n", Style::Bold.paint(words, color));
    text.push_str(&heading("Because"));
    for sentence in &explanation.because {
        text.push_str(&format!("  {sentence}\n"));
    }
    if !explanation.not_there.is_empty() {
        text.push_str(&heading("Not on"));
    }
    for not in &explanation.not_there {
        let (word, style) =
            if not.available { ("could take it", Style::Good) } else { ("cannot take it", Style::Warn) };
        text.push_str(&format!("  {}: {}\n", not.server, style.paint(word, color)));
        for sentence in &not.because {
            text.push_str(&format!("    {sentence}\n"));
        }
    }
    if !explanation.failures.is_empty() {
        text.push_str(&heading("Failures"));
    }
    for failure in &explanation.failures {
        text.push_str(&format!("  {failure}\n"));
    }
    if !explanation.history.is_empty() {
        text.push_str(&heading("Lately"));
    }
    for change in &explanation.history {
        text.push_str(&format!("  {}\n", self::change(change, color)));
    }
    text
}

/// One change in one line.
#[must_use]
pub fn change(change: &Change, color: bool) -> String {
    let why = change.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    let line = format!("{:>6}  {}  {}{why}", change.revision, change.at, change.what);
    format!("{line}  {}", Style::Dim.paint(&format!("({})", change.author), color))
}
