//! Asks the core for its verdict whenever the view changes, and says when it changes.
//!
//! Started by the synchronisation supervisor; owns the last verdict. The guard acts on the lease
//! by itself: what this actor adds is that people are told, before it happens, why it will.

use std::{collections::BTreeSet, sync::Arc};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::membership::verdict::{Doubt, Input, Verdict, decide};

use crate::{context::Context, follow::Follow};

/// Evidence has changed.
#[derive(Debug)]
pub struct Look;

/// The actor.
pub struct ArbiterActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    last: Option<std::mem::Discriminant<Verdict>>,
    _follow: [Follow; 3],
}

impl Actor for ArbiterActor {
    type Msg = Look;
    type State = State;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        me: ActorRef<Look>,
        context: Arc<Context>,
    ) -> Result<State, ActorProcessingErr> {
        let follow = [
            Follow::changes(context.view.subscribe(), me.clone(), || Look),
            Follow::changes(context.lease.subscribe(), me.clone(), || Look),
            Follow::changes(context.tie_break.waits.subscribe(), me, || Look),
        ];
        Ok(State { context, last: None, _follow: follow })
    }

    async fn handle(
        &self,
        _me: ActorRef<Look>,
        Look: Look,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let context = &state.context;
        let voters: BTreeSet<_> = context.raft_status.borrow().voters.iter().cloned().collect();
        let lease_end = *context.lease.borrow();
        if voters.is_empty() || lease_end.is_none() {
            return Ok(()); // not a member yet, or not any more
        }
        let (view, now) = (context.view.borrow().clone(), context.ports.clock.now());
        let waits = context.tie_break.waits.borrow().clone();
        let tie_break = waits.as_deref();
        let verdict =
            decide(&Input { me: context.me(), voters: &voters, view: &view, lease_end, now, tie_break });
        let deaf = matches!(
            &verdict,
            Verdict::Wait { because: Doubt::NoQuorum { .. }, .. }
                | Verdict::StandDown { because: Doubt::NoQuorum { .. } }
        );
        if let Some(raft) = &*context.raft.borrow() {
            raft.speak(!deaf);
        }
        let kind = std::mem::discriminant(&verdict);
        if state.last.replace(kind) == Some(kind) {
            return Ok(());
        }
        let object = format!("server/{}", context.me());
        match verdict {
            Verdict::Stay => context.tell("verdict-stay", object, "this side has a quorum"),
            Verdict::Wait { until, because } => {
                let left = until.since(now).as_millis();
                context.tell("verdict-wait", object, format!("{because}; what runs here ends in {left} ms"));
            }
            Verdict::StandDown { because } => {
                context.tell("verdict-stand-down", object, format!("{because}: nothing may run here"));
            }
        }
        Ok(())
    }
}
