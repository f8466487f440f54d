//! Waiting for what was asked for: until a group is where it should be.
//!
//! The registry's changes say when to look; a slow beat besides covers a node that restarts
//! meanwhile. Ctrl-C ends the waiting, never the work.

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
    time::Duration,
};

use tasuki_core::{
    ids::ServerName,
    registry::state::{
        GroupState,
        ResourceState::{OfflineFailure, OnlineFailure},
        Target,
    },
};
use tasuki_proto::v1::{self as wire, group_client::GroupClient, registry_client::RegistryClient};
use tokio::time::{Instant, timeout};
use tonic::transport::Channel;

use super::{
    Context,
    connect::{answered, unreadable},
    render,
};
use crate::{
    app::{AppError, error::Exit, status::GroupStatus, wall_now},
    edge::grpc::convert,
};

/// Looks at least so often.
const BEAT: Duration = Duration::from_millis(500);
/// A node that cannot be reached for so long is given up.
const NODE_GONE: Duration = Duration::from_secs(15);
/// Interrupted by the operator.
const INTERRUPTED: u8 = 130;

/// What a group should come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Online, on a server if one was named, and not where it was.
    Online {
        /// Where.
        on: Option<ServerName>,
        /// Where not.
        not_on: Option<ServerName>,
    },
    /// Offline.
    Offline,
}

/// How far it is.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Reached,
    Failed(String),
    Underway,
}

impl Goal {
    fn progress(&self, group: &GroupStatus) -> Progress {
        let failed = |hint: &str| {
            let of = group
                .resources
                .iter()
                .find(|resource| matches!(resource.state, OnlineFailure | OfflineFailure));
            let what = of.map_or_else(String::new, |resource| {
                format!(": resource {} {}", resource.name, resource.detail)
            });
            let server = group.server.as_ref().map_or_else(String::new, |server| format!(" on {server}"));
            Progress::Failed(format!("group {} is in Error{server}{what}{hint}", group.name))
        };
        // An owner that cannot stop a resource keeps the release pending and says Error. Until it has
        // begun to stop, it still says the Error that the group was in before.
        let does_not_stop =
            group.releasing && group.resources.iter().any(|resource| resource.state == OfflineFailure);
        let given_up = group.state == GroupState::Error && !group.releasing;
        match self {
            Self::Offline if group.server.is_none() && group.target == Target::Offline => Progress::Reached,
            Self::Offline if group.target == Target::Online => Progress::Failed(format!(
                "group {} is wanted online again: somebody else started it",
                group.name
            )),
            Self::Offline if group.state == GroupState::Error && does_not_stop => failed(&format!(
                "; when that is mended, `tasuki group reset {}` has it tried again",
                group.name
            )),
            Self::Online { .. } if group.target == Target::Offline => {
                Progress::Failed(format!("group {} is wanted offline: somebody else stopped it", group.name))
            }
            Self::Online { on, not_on } if group.state == GroupState::Online && !group.releasing => {
                let elsewhere = on.is_some() && *on != group.server;
                match &group.server {
                    Some(server) if elsewhere => Progress::Failed(format!(
                        "group {} is online, but on {server}: {}",
                        group.name,
                        group.reason.as_deref().unwrap_or("no reason is known")
                    )),
                    server if not_on.is_some() && server == not_on => Progress::Failed(format!(
                        "group {} is back where it was: {}",
                        group.name,
                        group.reason.as_deref().unwrap_or("no reason is known")
                    )),
                    _ => Progress::Reached,
                }
            }
            Self::Online { .. } if given_up => failed(""),
            _ => Progress::Underway,
        }
    }
}

/// Waits until the group has reached its goal, cannot any more, or the operator has enough.
pub(super) async fn until(
    context: &Context,
    group: &str,
    goal: &Goal,
    limit: Option<Duration>,
) -> Result<ExitCode, AppError> {
    let goals = [(group.to_owned(), goal.clone())];
    let hint = format!("`tasuki group status {group}` shows it");
    let Some(reached) = each(context, &goals, limit, &hint).await? else { return Ok(interrupted()) };
    for status in &reached {
        context.out.show(status, |status| render::group(status, wall_now(), context.out.color))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// How the program ends that was interrupted while it waited.
pub(super) fn interrupted() -> ExitCode {
    ExitCode::from(INTERRUPTED)
}

/// Waits until each group has reached its goal, one cannot any more, or the operator has enough:
/// then `None`, and the hint says how to look later.
pub(super) async fn each(
    context: &Context,
    goals: &[(String, Goal)],
    limit: Option<Duration>,
    hint: &str,
) -> Result<Option<Vec<GroupStatus>>, AppError> {
    let waiting = async {
        let mut reached = Vec::new();
        for (group, goal) in goals {
            reached.push(watch(context, group, goal).await?);
        }
        Ok(reached)
    };
    let limited = async {
        match limit {
            Some(limit) => timeout(limit, waiting).await.unwrap_or_else(|_| {
                let names: Vec<&str> = goals.iter().map(|(group, _)| group.as_str()).collect();
                let names = names.join(", ");
                Err(AppError::TookTooLong(format!("group {names} is not there yet after {limit:?}")))
            }),
            None => waiting.await,
        }
    };
    tokio::select! {
        biased;
        done = limited => done.map(Some),
        _ = tokio::signal::ctrl_c() => {
            context.out.say(&format!("not waiting any longer; it goes on by itself: {hint}"));
            Ok(None)
        }
    }
}

async fn watch(context: &Context, group: &str, goal: &Goal) -> Result<GroupStatus, AppError> {
    let mut line = ProgressLine::new(context.out.json);
    let mut last_answer = Instant::now();
    loop {
        match follow(context, group, goal, &mut line, &mut last_answer).await {
            Err(error) if error.exit() == Exit::Unreachable && last_answer.elapsed() < NODE_GONE => {
                line.say("the node does not answer; trying again");
                tokio::time::sleep(BEAT).await;
            }
            done => {
                line.end();
                return done;
            }
        }
    }
}

/// Follows the registry over one connection.
async fn follow(
    context: &Context,
    group: &str,
    goal: &Goal,
    line: &mut ProgressLine,
    last_answer: &mut Instant,
) -> Result<GroupStatus, AppError> {
    let stream_channel: Channel = context.connect_for_stream().await?;
    let mut client = GroupClient::new(context.connect().await?);
    let request = wire::WatchRegistryRequest { after: None, prefix: format!("groups/{group}") };
    let mut changes =
        RegistryClient::new(stream_channel).watch(request).await.map_err(answered)?.into_inner();
    loop {
        let request = wire::GetGroupRequest { group: group.to_owned() };
        let answer = client.get(request).await.map_err(answered)?.into_inner();
        *last_answer = Instant::now();
        let status = convert::group_in(answer).map_err(unreadable)?;
        match goal.progress(&status) {
            Progress::Reached => return Ok(status),
            Progress::Failed(why) => return Err(AppError::Failed(why)),
            Progress::Underway => line.say(&describe(&status)),
        }
        match timeout(BEAT, changes.message()).await {
            // A change, or nothing for a while: look again.
            Ok(Ok(Some(_))) | Err(_) => {}
            Ok(Ok(None)) => return Err(AppError::Unreachable("the node ended the connection".to_owned())),
            Ok(Err(status)) => return Err(answered(status)),
        }
    }
}

fn describe(group: &GroupStatus) -> String {
    let server = group.server.as_ref().map_or_else(String::new, |server| format!(" on {server}"));
    let why = group.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    let waiting = if group.server.is_none() { ", waiting for a server" } else { "" };
    format!("{} is {:?}{server}{waiting}{why}", group.name, group.state)
}

/// One line on a terminal that is written over; nothing elsewhere.
pub(super) struct ProgressLine {
    shown: bool,
    last: String,
}

impl ProgressLine {
    pub(super) fn new(json: bool) -> Self {
        Self { shown: !json && std::io::stderr().is_terminal(), last: String::new() }
    }

    pub(super) fn say(&mut self, text: &str) {
        if self.shown && text != self.last {
            eprint!("\r\u{1b}[K{text}");
            let _ = std::io::stderr().flush();
            text.clone_into(&mut self.last);
        }
    }

    pub(super) fn end(&mut self) {
        if self.shown && !self.last.is_empty() {
            eprint!("\r\u{1b}[K");
            self.last.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use tasuki_core::{ids::Epoch, registry::state::ResourceState, time::WallTime};

    use super::*;
    use crate::app::status::ResourceStatus;

    fn group(state: GroupState, server: Option<&str>, target: Target) -> GroupStatus {
        GroupStatus {
            name: "web".into(),
            state,
            target,
            server: server.map(Into::into),
            since: WallTime(0),
            epoch: Epoch(2),
            home: None,
            releasing: false,
            next: None,
            reason: None,
            resources: Vec::new(),
            monitors: Vec::new(),
        }
    }

    #[test]
    fn a_move_is_done_when_the_group_is_online_elsewhere() {
        let goal = Goal::Online { on: None, not_on: Some("kiki".into()) };
        let here = GroupStatus { releasing: true, ..group(GroupState::Online, Some("kiki"), Target::Online) };
        assert_eq!(goal.progress(&here), Progress::Underway);
        assert_eq!(goal.progress(&group(GroupState::Offline, None, Target::Online)), Progress::Underway);
        let there = group(GroupState::OnlinePending, Some("lala"), Target::Online);
        assert_eq!(goal.progress(&there), Progress::Underway);
        assert_eq!(
            goal.progress(&group(GroupState::Online, Some("lala"), Target::Online)),
            Progress::Reached
        );
        let back = group(GroupState::Online, Some("kiki"), Target::Online);
        assert!(matches!(goal.progress(&back), Progress::Failed(_)));
    }

    #[test]
    fn a_start_that_ends_in_error_has_failed_unless_it_is_being_released() {
        let goal = Goal::Online { on: None, not_on: None };
        let error = group(GroupState::Error, Some("kiki"), Target::Online);
        assert!(matches!(goal.progress(&error), Progress::Failed(_)));
        let again = GroupStatus { releasing: true, ..error };
        assert_eq!(goal.progress(&again), Progress::Underway);
    }

    #[test]
    fn a_stop_of_a_group_in_error_waits_and_fails_only_when_something_does_not_stop() {
        let resource = |state| ResourceStatus {
            name: "db".into(),
            kind: "exec".into(),
            state,
            detail: "exit code 1".into(),
            since: None,
        };
        let goal = Goal::Offline;
        let error = |state, releasing| GroupStatus {
            releasing,
            resources: vec![resource(state)],
            ..group(GroupState::Error, Some("kiki"), Target::Offline)
        };
        for releasing in [false, true] {
            let before = error(ResourceState::OnlineFailure, releasing);
            assert_eq!(goal.progress(&before), Progress::Underway, "it is only about to stop");
        }
        let Progress::Failed(why) = goal.progress(&error(ResourceState::OfflineFailure, true)) else {
            panic!("what does not stop is not waited for");
        };
        assert!(
            why.contains("resource db exit code 1")
                && why.contains(&format!(
                    "group reset {}",
                    group(GroupState::Error, None, Target::Offline).name
                )),
            "{why}"
        );
    }

    #[test]
    fn a_stop_is_done_when_nobody_owns_the_group() {
        let goal = Goal::Offline;
        let stopping = group(GroupState::OfflinePending, Some("kiki"), Target::Offline);
        assert_eq!(goal.progress(&stopping), Progress::Underway);
        assert_eq!(goal.progress(&group(GroupState::Offline, None, Target::Offline)), Progress::Reached);
    }
}
