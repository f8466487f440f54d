//! The heartbeats of a witness: at a server the lease gives the time, and a witness has none.
//!
//! Started by the synchronisation supervisor of a witness; owns nothing that a restart loses.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::{context::Context, follow::Follow};

/// Time to be heard.
#[derive(Debug)]
pub struct Beat;

/// The actor.
pub struct BeatsActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    _beats: Follow,
}

impl Actor for BeatsActor {
    type Msg = Beat;
    type State = State;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        me: ActorRef<Beat>,
        context: Arc<Context>,
    ) -> Result<State, ActorProcessingErr> {
        let beats = Follow::beats(context.timing().beat, me, || Beat);
        Ok(State { context, _beats: beats })
    }

    async fn handle(
        &self,
        _me: ActorRef<Beat>,
        Beat: Beat,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        state.context.links.beat_all(None);
        Ok(())
    }
}
