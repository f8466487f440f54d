//! Keeps Raft's members in step with the servers that have joined. Acts on the leader only.
//!
//! Started by the registry's supervisor; owns nothing that a restart loses.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::{
    ids::{RaftId, ServerName},
    membership::voters::{Absences, Candidate, LONG_DOWN, choose},
};

use super::{raft_actor::member_of, raft_node::RaftNode};
use crate::{context::Context, follow::Follow};

/// Something that may matter has changed.
#[derive(Debug)]
pub enum MembersMsg {
    /// Compare, and change one thing.
    Look,
    /// A change has ended.
    Done(Result<(), String>),
}

/// The actor.
pub struct MembersActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    busy: bool,
    absences: Absences,
    _follow: [Follow; 4],
}

/// A learner that lacks no more than this many entries may vote: one that lacks more would hold
/// up every commit until it has caught up.
const CAUGHT_UP: u64 = 2;

impl Actor for MembersActor {
    type Msg = MembersMsg;
    type State = State;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        me: ActorRef<MembersMsg>,
        context: Arc<Context>,
    ) -> Result<State, ActorProcessingErr> {
        let follow = [
            Follow::changes(context.registry.subscribe(), me.clone(), || MembersMsg::Look),
            Follow::changes(context.leading.subscribe(), me.clone(), || MembersMsg::Look),
            Follow::changes(context.raft_status.subscribe(), me.clone(), || MembersMsg::Look),
            Follow::beats(context.timing().detect / 4, me, || MembersMsg::Look),
        ];
        Ok(State { context, busy: false, absences: Absences::default(), _follow: follow })
    }

    async fn handle(
        &self,
        me: ActorRef<MembersMsg>,
        message: MembersMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        if let MembersMsg::Done(outcome) = message {
            state.busy = false;
            if let Err(error) = outcome {
                tracing::debug!(error, "Raft's members were not changed; looking again");
            }
            return Ok(());
        }
        let leads = state.context.leading.borrow().is_some();
        let raft = state.context.raft.borrow().clone();
        if !leads {
            state.absences = Absences::default(); // counted by each leader for itself
        }
        if let Some(raft) = raft.filter(|_| leads && !state.busy)
            && let Some(step) = next_step(&state.context, &raft, &mut state.absences)
        {
            state.busy = true;
            state.context.tell("raft-members", "cluster", step.to_string());
            tokio::spawn(async move {
                let outcome = step.perform(&raft).await;
                let _ = me.cast(MembersMsg::Done(outcome));
            });
        }
        Ok(())
    }
}

/// One change of Raft's members.
enum Step {
    Listen(RaftId, tasuki_storage::raft_types::Member),
    Vote(BTreeSet<RaftId>),
    Forget(RaftId, ServerName),
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Listen(_, member) => write!(f, "{} receives the registry", member.server),
            Self::Vote(voters) => {
                let ids: Vec<String> = voters.iter().map(ToString::to_string).collect();
                write!(f, "the voters are {}", ids.join(", "))
            }
            Self::Forget(id, server) => {
                write!(f, "{server} has a new store; its old one ({id}) is forgotten")
            }
        }
    }
}

impl Step {
    async fn perform(self, raft: &RaftNode) -> Result<(), String> {
        match self {
            Self::Listen(id, member) => raft.add_learner(id, member).await,
            Self::Vote(voters) => {
                let since = raft.voters().map_or(0, |last| last.number);
                raft.set_voters(voters, since + 1, since).await
            }
            Self::Forget(id, _) => raft.remove_learner(id).await,
        }
    }
}

fn next_step(context: &Context, raft: &RaftNode, absences: &mut Absences) -> Option<Step> {
    let registry = context.state();
    let members = raft.members();
    let joined: BTreeMap<RaftId, (u32, &ServerName)> = registry
        .servers
        .iter()
        // A witness that only keeps the tie-break record is no member of Raft.
        .filter(|(_, server)| server.config.value.role.may_vote())
        .filter_map(|(name, server)| {
            let id = server.presence.as_ref()?.value.raft_id;
            Some((id, (server.config.value.number, name)))
        })
        .collect();
    for (id, (_, name)) in &joined {
        if !members.iter().any(|(known, ..)| known == id) {
            return Some(Step::Listen(*id, member_of(&registry.config()?, name)));
        }
    }
    let voters: BTreeSet<RaftId> = members.iter().filter(|(.., votes)| *votes).map(|(id, ..)| *id).collect();
    // A witness presents itself to nobody: it is as good as its copy of the registry.
    let down = |id: &RaftId| {
        let Some(server) = joined.get(id).and_then(|(_, name)| registry.servers.get(*name)) else {
            return true;
        };
        let runs = server.config.value.role.runs_groups();
        runs && server.presence.as_ref().is_some_and(|presence| !presence.value.up)
    };
    let (now, patience) = (context.ports.clock.now(), context.timing().detect * LONG_DOWN);
    absences.note(&joined.keys().filter(|id| down(id)).copied().collect(), now);
    let candidate = |one: Candidate| {
        let votes = voters.contains(&one.raft_id);
        let caught_up = votes || raft.lag(one.raft_id).is_some_and(|lag| lag <= CAUGHT_UP);
        // A voter keeps its vote through a short absence; a learner that is down gets none.
        let gone = down(&one.raft_id) && (!votes || absences.long(one.raft_id, now, patience));
        Candidate { up: !gone, may_vote: one.may_vote && caught_up, ..one }
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
    if !wanted.is_empty() && wanted != voters {
        return Some(Step::Vote(wanted));
    }
    let gone = members.iter().find(|(id, _, votes)| !votes && !joined.contains_key(id));
    gone.map(|(id, member, _)| Step::Forget(*id, member.server.clone()))
}
