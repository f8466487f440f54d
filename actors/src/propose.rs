//! One way into the registry: to the leader, wherever it is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tasuki_core::{
    ids::{Lineage, ProposalId, RaftId, Revision, Term},
    planted::{self, Planted},
    reason::Reason,
    registry::{Author, Command, Key, Proposal, Reply, State, level},
};

use crate::{
    context::Context,
    handle::{Accepted, RegistryError},
    ohas::registry::raft_node::{FromLeader, RaftNode, ToLeader},
    ports::{PeerError, PeerMethod},
};

/// How long a proposal may take before its outcome is called unclear.
const LIMIT: Duration = Duration::from_secs(5);
/// Between two tries while there is no leader, right after an election for example.
const AGAIN: Duration = Duration::from_millis(10);

/// Proposes a command and waits until it is applied on the leader.
///
/// # Errors
/// Refused, no quorum, or unclear: then it may still be applied later, and the caller reads before
/// it repeats (R13).
pub async fn propose(
    context: &Arc<Context>,
    author: Author,
    command: Command,
    reason: Option<Reason>,
    read: Vec<(Key, Revision)>,
) -> Result<Accepted, RegistryError> {
    // What a leader decides it decides in its term: the next leader must not be handed it (R3, R4).
    let term = match &author {
        Author::Leader(_) if !planted::is(Planted::OldDecisions) => Some(leading_term(context)?),
        _ => None,
    };
    let lineage = match command {
        Command::Initialise { .. } => None,
        _ => Some(lineage(context).await?),
    };
    // Here too, so that a leader with an older program is not sent what it cannot read.
    let (needs, state) = (level::needs(&command, reason.as_ref()), context.state());
    if needs > state.level() {
        return Err(RegistryError::Refused(state.not_yet(needs)));
    }
    let at = context.ports.clock.wall();
    let proposal = Proposal { id: None, author, at, lineage, read, reason, command };
    let answer = match term {
        Some(term) => {
            let raft = context.raft.borrow().clone();
            let raft = raft.ok_or_else(|| RegistryError::NoQuorum("the registry is starting".into()))?;
            raft.propose_in_term(term, proposal, LIMIT).await
        }
        None => {
            // One leader does it once by the first name, all of them together by the second.
            let id = rand::random();
            let proposal = Proposal { id: Some(ProposalId(id)), ..proposal };
            let request = ToLeader::Propose { id, proposal: Box::new(proposal) };
            ask_leader(context, request).await?
        }
    };
    match answer {
        FromLeader::Reply(reply) => match *reply {
            Reply::Applied { revision, raft_id } => Ok(Accepted { revision, raft_id }),
            Reply::Refused(refusal) => Err(RegistryError::Refused(refusal)),
        },
        FromLeader::Failed(why) => Err(RegistryError::NoQuorum(why)),
        FromLeader::Unclear(why) => Err(RegistryError::Unclear(why)),
        other => Err(RegistryError::Unclear(format!("the leader answered {other:?}"))),
    }
}

/// The term in which this server decides now.
fn leading_term(context: &Context) -> Result<Term, RegistryError> {
    let leading = context.leading.borrow();
    let term = leading.as_ref().map(|leading| leading.term);
    term.ok_or_else(|| RegistryError::NoQuorum("this server does not lead (any more)".into()))
}

/// The registry's lineage, which every command names (R24). A node that has just started waits until
/// it has read it.
async fn lineage(context: &Context) -> Result<Lineage, RegistryError> {
    let mut registry = context.registry.subscribe();
    let known = registry.wait_for(|state| state.lineage.is_some());
    let state = tokio::time::timeout(LIMIT, known).await;
    let lineage = state.ok().and_then(Result::ok).and_then(|state| state.lineage.clone());
    lineage.ok_or_else(|| RegistryError::NoQuorum("the registry has not been read here yet".into()))
}

/// The registry as of now (ReadIndex, R11).
///
/// # Errors
/// When no quorum answers in time.
pub async fn read(context: &Arc<Context>) -> Result<Arc<State>, RegistryError> {
    let index = match ask_leader(context, ToLeader::ReadIndex).await? {
        FromLeader::Index(index) => index,
        FromLeader::Failed(why) | FromLeader::Unclear(why) => return Err(RegistryError::NoQuorum(why)),
        other => return Err(RegistryError::NoQuorum(format!("the leader answered {other:?}"))),
    };
    let mut applied = context.applied.subscribe();
    let reached = tokio::time::timeout(LIMIT, applied.wait_for(|applied| *applied >= index)).await;
    match reached {
        Ok(Ok(_)) => Ok(context.state()),
        _ => Err(RegistryError::NoQuorum("this server does not catch up with the leader".into())),
    }
}

async fn ask_leader(context: &Arc<Context>, request: ToLeader) -> Result<FromLeader, RegistryError> {
    // Somebody has been asked and has not answered: it may be done yet.
    let asked = AtomicBool::new(false);
    let asking = async {
        let mut hint: Option<RaftId> = None;
        loop {
            let answer = ask_once(context, &request, &mut hint, &asked).await?;
            asked.store(false, Ordering::Relaxed);
            if let Some(answer) = answer {
                return Ok(answer);
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    match tokio::time::timeout(LIMIT, asking).await {
        Ok(answer) => answer,
        Err(_) if asked.load(Ordering::Relaxed) => {
            Err(RegistryError::Unclear("the leader did not answer in time".into()))
        }
        Err(_) => Err(RegistryError::NoQuorum("no leader was found in time".into())),
    }
}

/// Asks whoever seems to lead; `None` when it was certainly not done and another try is due.
async fn ask_once(
    context: &Arc<Context>,
    request: &ToLeader,
    hint: &mut Option<RaftId>,
    asked: &AtomicBool,
) -> Result<Option<FromLeader>, RegistryError> {
    let Some(raft) = context.raft.borrow().clone() else { return Ok(None) };
    let me = context.options.raft_id;
    let to = match hint.take() {
        Some(hint) => Some(hint),
        None => leader(context, &raft),
    };
    let answer = match to {
        None => return Ok(None),
        Some(id) if id == me => {
            asked.store(true, Ordering::Relaxed);
            raft.serve(request.clone(), LIMIT).await
        }
        Some(id) => {
            let Some(address) = raft.member(id) else { return Ok(None) };
            let body =
                serde_json::to_vec(request).map_err(|error| RegistryError::NoQuorum(error.to_string()))?;
            asked.store(true, Ordering::Relaxed);
            match context.ports.peers.call(&address, PeerMethod::Propose, Bytes::from(body), LIMIT).await {
                Ok(body) => serde_json::from_slice(&body)
                    .map_err(|error| RegistryError::Unclear(format!("the leader's answer: {error}")))?,
                // It never left this server.
                Err(PeerError::Unreachable(_)) => return Ok(None),
                Err(error) => return Err(RegistryError::Unclear(error.to_string())),
            }
        }
    };
    if let FromLeader::NotLeader(other) = answer {
        *hint = other.filter(|other| *other != me || to != Some(me));
        return Ok(None);
    }
    Ok(Some(answer))
}

fn leader(context: &Context, raft: &RaftNode) -> Option<RaftId> {
    let leader = context.raft_status.borrow().leader.clone()?;
    raft.members().into_iter().find(|(_, member, _)| member.server == leader).map(|(id, ..)| id)
}
