//! Which servers should be voters, as the leader sees them now.

use std::collections::{BTreeMap, BTreeSet};

use tasuki_core::{
    ids::{RaftId, ServerName},
    membership::voters::{Absences, Candidate, LONG_DOWN, choose},
    registry::{State as Registry, state::ServerMode},
};
use tasuki_storage::raft_types::Member;

use super::{presence_actor::may_go, raft_node::RaftNode};
use crate::context::Context;

/// A learner that lacks no more than this many entries may vote: one that lacks more would hold
/// up every commit until it has caught up.
const CAUGHT_UP: u64 = 2;

/// The servers that have a place in Raft.
pub fn joined(registry: &Registry) -> BTreeMap<RaftId, &ServerName> {
    let servers = registry.servers.iter();
    // A witness that only keeps the tie-break record is no member of Raft.
    let servers = servers.filter(|(_, server)| server.config.value.role.may_vote());
    servers.filter_map(|(name, server)| Some((server.presence.as_ref()?.value.raft_id, name))).collect()
}

/// Who should vote.
pub fn wanted(
    context: &Context,
    registry: &Registry,
    raft: &RaftNode,
    members: &[(RaftId, Member, bool)],
    absences: &mut Absences,
) -> BTreeSet<RaftId> {
    let joined = joined(registry);
    let voters: BTreeSet<RaftId> = members.iter().filter(|(.., votes)| *votes).map(|(id, ..)| *id).collect();
    let server = |id: &RaftId| joined.get(id).and_then(|name| registry.servers.get(*name));
    // A witness presents itself to nobody: it is as good as its copy of the registry.
    let down = |id: &RaftId| {
        let Some(server) = server(id) else { return true };
        let runs = server.config.value.role.runs_groups();
        runs && server.presence.as_ref().is_some_and(|presence| !presence.value.up)
    };
    let silent = |id: &RaftId| {
        let view = context.view.borrow();
        joined.get(id).and_then(|name| view.peers.get(*name)).is_none_or(|peer| peer.is_silent())
    };
    // R22: one of two that leaves gives its vote up once nothing runs there, and gets it back when it
    // has started again.
    let leaves = |id: &RaftId| {
        let Some(name) = joined.get(id) else { return false };
        let leaving = registry.presence(name).is_some_and(|p| matches!(p.mode, ServerMode::Leaving(_)));
        leaving && (!voters.contains(id) || voters.len() == 2 && may_go(registry, name))
    };
    let (now, patience) = (context.ports.clock.now(), context.timing().detect * LONG_DOWN);
    absences.note(&joined.keys().filter(|id| down(id)).copied().collect(), now);
    let candidate = |one: Candidate| {
        let id = one.raft_id;
        let votes = voters.contains(&id);
        let caught_up = votes || raft.lag(id).is_some_and(|lag| lag <= CAUGHT_UP);
        // A voter keeps its vote through a short absence; a learner that is down or not heard gets
        // none: it would hold every commit up.
        let gone =
            if votes { down(&id) && absences.long(id, now, patience) } else { down(&id) || silent(&id) };
        Candidate { up: !gone, may_vote: one.may_vote && caught_up && !leaves(&id), ..one }
    };
    let mut candidates: Vec<Candidate> =
        registry.servers.values().filter_map(Candidate::of).map(candidate).collect();
    // The old store of a server that joined anew keeps its vote until the new one can have it:
    // with three it would be two for a while otherwise.
    let replaced = members.iter().filter(|(id, ..)| voters.contains(id) && !joined.contains_key(id));
    candidates.extend(replaced.filter_map(|(id, member, _)| {
        let server = registry.servers.get(&member.server)?;
        Some(Candidate { raft_id: *id, up: false, ..Candidate::of(server)? })
    }));
    let wanted = choose(&candidates, &voters);
    if wanted.is_empty() { voters } else { wanted }
}
