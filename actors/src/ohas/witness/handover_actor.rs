//! Hands Raft's leadership on: a leader grants leases and decides, and a witness does neither.
//!
//! Now and then a witness has to lead for a moment: its log has an entry that the only server left
//! lacks, and that server cannot be elected before it has it.
//!
//! Started by the registry's supervisor of a witness; owns a count of tries, which a restart begins
//! anew.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::{
    config::ClusterConfig,
    ids::{RaftId, ServerName},
    membership::view::View,
};

use super::super::registry::raft_node::RaftNode;
use crate::{context::Context, follow::Follow};

/// Raft may have made this witness its leader.
#[derive(Debug)]
pub struct Look;

/// The actor.
pub struct HandoverActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    /// Times that leadership was handed over since this witness came to lead.
    tries: usize,
    _follow: [Follow; 2],
}

/// So often one heir is tried before the next.
const TRIES: usize = 3;

impl Actor for HandoverActor {
    type Msg = Look;
    type State = State;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        me: ActorRef<Look>,
        context: Arc<Context>,
    ) -> Result<State, ActorProcessingErr> {
        let follow = [
            Follow::changes(context.raft_status.subscribe(), me.clone(), || Look),
            // An heir that is behind is asked until it has caught up.
            Follow::beats(context.timing().beat, me, || Look),
        ];
        Ok(State { context, tries: 0, _follow: follow })
    }

    async fn handle(
        &self,
        _me: ActorRef<Look>,
        Look: Look,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let raft = state.context.raft.borrow().clone();
        let Some(raft) = raft.filter(RaftNode::seems_leader) else {
            state.tries = 0;
            return Ok(());
        };
        let heirs = heirs(&state.context, &raft);
        let Some((heir, name)) = heirs.get(state.tries / TRIES % heirs.len().max(1)) else { return Ok(()) };
        if state.tries == 0 {
            let object = format!("server/{}", state.context.me());
            state.context.tell(
                "leadership-handed-on",
                object,
                format!("a witness does not lead: {name} should"),
            );
        }
        state.tries += 1;
        if let Err(error) = raft.transfer_leadership(*heir).await {
            tracing::debug!(%error, "leadership was not handed on; trying again");
        }
        Ok(())
    }
}

/// The servers that could lead, the likeliest first: those that are heard, and lack the least.
fn heirs(context: &Context, raft: &RaftNode) -> Vec<(RaftId, ServerName)> {
    let (config, view) = (context.config(), context.view.borrow().clone());
    let members = raft.members().into_iter().filter(|(.., votes)| *votes);
    let candidates = members.map(|(id, member, _)| (id, member.server, raft.lag(id)));
    rank(candidates, &config, &view)
}

fn rank(
    candidates: impl Iterator<Item = (RaftId, ServerName, Option<u64>)>,
    config: &ClusterConfig,
    view: &View,
) -> Vec<(RaftId, ServerName)> {
    let number = |server: &ServerName| {
        let server = config.servers.get(server).filter(|server| server.role.runs_groups())?;
        Some(server.number)
    };
    let mut ranked: Vec<_> = candidates
        .filter_map(|(id, server, lag)| {
            // A witness behind a router has no heartbeat paths: then all it knows is the lag.
            let silent = view.peers.get(&server).is_some_and(|peer| peer.is_silent());
            Some(((silent, lag.unwrap_or(u64::MAX), number(&server)?), id, server))
        })
        .collect();
    ranked.sort();
    ranked.into_iter().map(|(_, id, server)| (id, server)).collect()
}
