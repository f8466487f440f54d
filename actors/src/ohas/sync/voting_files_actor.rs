//! Keeps one actor for each configured voting file, as the configuration changes.
//!
//! Started by the synchronisation supervisor; owns nothing that a restart loses.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::voting_file_actor::configured;
use crate::{context::Context, follow::Follow, supervise::SupervisorMsg};

/// The registry has changed.
#[derive(Debug)]
pub struct Changed;

/// The actor.
pub struct VotingFilesActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    _registry: Follow,
}

impl Actor for VotingFilesActor {
    type Msg = Changed;
    type State = State;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        me: ActorRef<Changed>,
        context: Arc<Context>,
    ) -> Result<State, ActorProcessingErr> {
        let registry = Follow::changes(context.registry.subscribe(), me, || Changed);
        let state = State { context, _registry: registry };
        state.reconcile();
        Ok(state)
    }

    async fn handle(
        &self,
        _me: ActorRef<Changed>,
        Changed: Changed,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        state.reconcile();
        Ok(())
    }
}

impl State {
    fn reconcile(&self) {
        let (context, voting) = (&self.context, &self.context.voting);
        let wanted: BTreeSet<PathBuf> = configured(context).files.into_iter().collect();
        let known = voting.known();
        for path in known.difference(&wanted) {
            voting.forget(context, path);
        }
        for path in wanted.difference(&known) {
            voting.supervisor.cast(SupervisorMsg::Add(voting.child(context, path)));
        }
    }
}
