//! Turns the registry's changes into events.
//!
//! Started by the events' supervisor; owns the revision told last. Lost at a restart: changes that
//! were applied meanwhile are in the registry's history all the same.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::ids::Revision;

use crate::{context::Context, follow::Follow, handle::Event};

/// The registry has changed.
#[derive(Debug)]
pub struct Changed;

/// The actor.
pub struct EventActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    told: Revision,
    _registry: Follow,
}

impl Actor for EventActor {
    type Msg = Changed;
    type State = State;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        me: ActorRef<Changed>,
        context: Arc<Context>,
    ) -> Result<State, ActorProcessingErr> {
        let told = context.state().revision;
        let registry = Follow::changes(context.registry.subscribe(), me, || Changed);
        Ok(State { context, told, _registry: registry })
    }

    async fn handle(
        &self,
        _me: ActorRef<Changed>,
        Changed: Changed,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let registry = state.context.state();
        if state.context.incarnation.borrow().0 == 0 {
            // Catching up with what happened before this node took part: history, not events.
            state.told = registry.revision;
        }
        for change in registry.history.iter().filter(|change| change.revision > state.told) {
            let text = match &change.reason {
                Some(reason) => format!("{}: {reason}", change.what),
                None => change.what.clone(),
            };
            let event = Event {
                at: change.at,
                boot: state.context.ports.clock.now(),
                server: state.context.me().clone(),
                object: change.keys.first().map(ToString::to_string).unwrap_or_default(),
                kind: "registry".into(),
                text,
                revision: Some(change.revision),
            };
            tracing::info!(revision = change.revision.0, "{}", event.text);
            let _ = state.context.events.send(event); // nobody may be listening
        }
        state.told = registry.revision;
        Ok(())
    }
}
