//! Drives the placement decision. Acts on the Raft leader only, once its term is confirmed (R3).
//!
//! Started by the resource services; owns the groups whose decision is on its way. Lost at a
//! restart: nothing; what was proposed is in the log, and the same decision again is refused.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::{
    placement::plan::{Decision, Input, decide},
    registry::{Author, Command},
};

use crate::{context::Context, follow::Follow, propose::propose};

/// What placement is told.
#[derive(Debug)]
pub enum PlacementMsg {
    /// The registry, the leadership or the fit servers have changed, or time has passed.
    Look,
    /// A proposal has been answered.
    Done(String),
}

/// After a refusal, before deciding again.
const AGAIN: Duration = Duration::from_millis(10);

/// The actor.
pub struct PlacementActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    under_way: BTreeSet<String>,
    _follow: [Follow; 3],
}

impl Actor for PlacementActor {
    type Msg = PlacementMsg;
    type State = State;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        me: ActorRef<PlacementMsg>,
        context: Arc<Context>,
    ) -> Result<State, ActorProcessingErr> {
        context.placement_actor.set(me.clone());
        let follow = [
            Follow::changes(context.registry.subscribe(), me.clone(), || PlacementMsg::Look),
            Follow::changes(context.leading.subscribe(), me.clone(), || PlacementMsg::Look),
            Follow::beats(context.timing().detect, me, || PlacementMsg::Look),
        ];
        Ok(State { context, under_way: BTreeSet::new(), _follow: follow })
    }

    async fn handle(
        &self,
        me: ActorRef<PlacementMsg>,
        message: PlacementMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        if let PlacementMsg::Done(what) = message {
            state.under_way.remove(&what);
        }
        let Some(leading) = state.context.leading.borrow().clone() else { return Ok(()) };
        let registry = state.context.state();
        let since_start = state.context.ports.clock.now().since(leading.since);
        let decisions = decide(&Input { state: &registry, fit: &leading.fit, since_start });
        // What is on its way comes out again until it has arrived: kept once is enough.
        if decisions.iter().any(|decision| !state.under_way.contains(&subject(&decision.command))) {
            let at = state.context.ports.clock.wall();
            state.context.journal.keep(at, &registry, &leading.fit, since_start, decisions.clone());
        }
        for decision in decisions {
            state.perform(&me, decision);
        }
        Ok(())
    }
}

impl State {
    fn perform(&mut self, me: &ActorRef<PlacementMsg>, decision: Decision) {
        let what = subject(&decision.command);
        if !self.under_way.insert(what.clone()) {
            return;
        }
        let (context, me) = (self.context.clone(), me.clone());
        tokio::spawn(async move {
            let author = Author::Leader(context.me().clone());
            let Decision { command, reason, read } = decision;
            if let Err(error) = propose(&context, author, command, Some(reason), read).await {
                tracing::debug!(%error, "a decision was not taken; deciding again");
                tokio::time::sleep(AGAIN).await; // what refused it has to arrive here first
            }
            let _ = me.cast(PlacementMsg::Done(what));
        });
    }
}

/// One decision at a time for each group; groups do not wait for one another.
fn subject(command: &Command) -> String {
    match command {
        Command::Assign { group, .. } | Command::Release { group, .. } | Command::Finally { group, .. } => {
            group.to_string()
        }
        other => other.to_string(),
    }
}
