//! `apply(&mut State, Proposal) -> Reply`: total, and never fails half-way.
//!
//! Whatever a command names, it is checked again here: an entry may have been decided on an older
//! registry (R12), by a leader that has been replaced, or by a server that no longer owns what it
//! speaks of. A refused command changes nothing.

use super::{Command, Key, Proposal, Refusal, Reply, State, level};
use crate::{
    planted::{self, Planted},
    {ids::RaftId, time::WallTime},
};

mod check;
mod configuration;
mod facts;
mod fencing;
mod joining;
mod levels;
mod mirror;
mod operators;
mod ownership;
mod pools;
mod reports;
mod servers;
mod startup;
mod units;
mod write;

/// Applies one committed command. Deterministic: every server gets the same state and reply.
///
/// A proposal that is in the log a second time changes nothing, and is answered as the first time.
pub fn apply(state: &mut State, proposal: &Proposal) -> Reply {
    if let Some(reply) = proposal.id.and_then(|id| state.answered.to(id)) {
        return reply.clone();
    }
    let reply = check_and_apply(state, proposal).unwrap_or_else(Reply::Refused);
    if let Some(id) = proposal.id {
        state.answered.remember(id, reply.clone());
    }
    reply
}

fn check_and_apply(state: &mut State, proposal: &Proposal) -> Result<Reply, Refusal> {
    if proposal.lineage != state.lineage && !matches!(proposal.command, Command::Initialise { .. }) {
        return Err(Refusal::OtherLineage(proposal.lineage.clone()));
    }
    for (key, then) in &proposal.read {
        let now = state.revision_of(key);
        if now != *then && !planted::is(Planted::StaleReads) {
            return Err(Refusal::MovedOn { key: key.clone(), then: *then, now });
        }
    }
    let needs = level::needs(&proposal.command, proposal.reason.as_ref());
    if needs > state.level() {
        return Err(state.not_yet(needs));
    }
    let mut change = Change { state, at: proposal.at, keys: Vec::new(), raft_id: None };
    change.perform(proposal)?;
    let Change { keys, raft_id, .. } = change;
    state.revision = state.revision.next();
    let revision = state.revision;
    let reason = proposal.reason.as_ref().map(ToString::to_string);
    state.record(proposal.author.clone(), proposal.at, proposal.command.to_string(), reason, keys);
    Ok(Reply::Applied { revision, raft_id })
}

/// One change under way. Checks come before the first write in every arm, so that a refusal
/// leaves nothing behind.
struct Change<'a> {
    state: &'a mut State,
    at: WallTime,
    keys: Vec<Key>,
    raft_id: Option<RaftId>,
}

impl Change<'_> {
    fn perform(&mut self, proposal: &Proposal) -> Result<(), Refusal> {
        match &proposal.command {
            Command::Initialise { lineage, config, founder } => {
                self.initialise(lineage, config, founder, &proposal.author)
            }
            Command::SetConfig { config } => self.push_config(config, &proposal.author),
            Command::IssueToken { id, digest, server, expires } => {
                self.issue_token(id, digest, server.as_ref(), *expires)
            }
            Command::Join { token, digest, server } => self.join(token, digest, server),
            Command::ServerStarted { server, incarnation, boot } => {
                self.server_started(server, *incarnation, boot)
            }
            Command::ServerGone { server, incarnation } => {
                self.server_gone(server, *incarnation, proposal.reason.as_ref())
            }
            Command::ServerStopped { server, incarnation } => self.server_stopped(server, *incarnation),
            Command::NoteTieBreak { record, made, place } => self.note_tie_break(record, *made, place),
            Command::RequestFence { server, incarnation, because } => {
                self.request_fence(server, *incarnation, because)
            }
            Command::FenceTried { server, incarnation, tried, failed } => {
                self.fence_tried(server, *incarnation, tried, *failed)
            }
            Command::ServerFenced { server, incarnation, by } => self.server_fenced(server, *incarnation, by),
            Command::WatchdogArmed { server, incarnation, timeout } => {
                self.watchdog_armed(server, *incarnation, *timeout)
            }
            Command::Announce { server, incarnation, speaks } => self.announce(server, *incarnation, speaks),
            Command::RaiseLevel { level } => self.raise_level(*level),
            Command::FenceLifted { server } => self.fence_lifted(server),
            Command::RemoveServer { server, config } => self.remove_server(server, config, &proposal.author),
            Command::ServerLeave { server, after } => self.server_leave(server, *after),
            Command::SetMode { mode } => self.set_mode(*mode),
            Command::StartGroup { group, on } => self.start_group(group, on.as_ref(), proposal),
            Command::StopGroup { group, force } => self.stop_group(group, *force, proposal),
            Command::MoveGroup { group, to, force } => self.move_group(group, to.as_ref(), *force, proposal),
            Command::Volume { volume, command } => self.volume(volume, command, &proposal.read),
            Command::ResetFailures { group } => self.reset_failures(group),
            Command::FillPools { members } => self.fill_pools(members),
            Command::Assign { group, server, epoch, event } => {
                self.assign(group, server, *epoch, *event, proposal)
            }
            Command::Release { group, epoch, to, event, charge } => {
                let reason = proposal.reason.as_ref();
                self.release(group, *epoch, to.as_ref(), *event, charge.as_ref(), reason)
            }
            Command::Released { group, epoch, server } => self.released(group, *epoch, server),
            Command::Finally { group, epoch, resource, action } => {
                self.finally(group, *epoch, resource, *action)
            }
            Command::Report { group, report } => self.report(group, report),
            Command::CountRetry { group, epoch, resource, server, kind } => {
                self.count_retry(group, *epoch, resource, server, *kind)
            }
            Command::CountRestart { group, epoch, monitor, resource, server } => {
                self.count_restart(group, *epoch, monitor, resource, server)
            }
            Command::Steady { group, epoch, resource, monitors } => {
                self.steady(group, *epoch, resource, monitors)
            }
            Command::MonitorReport { monitor, server, report } => {
                self.monitor_report(monitor, server, report)
            }
        }
    }
}

#[cfg(test)]
mod tests;
