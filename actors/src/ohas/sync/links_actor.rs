//! Keeps one link actor for each configured path, as the configuration changes.
//!
//! Started by the synchronisation supervisor; owns nothing that a restart loses.

use std::{collections::BTreeMap, sync::Arc};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::ids::Revision;

use super::link_actor::configured;
use crate::{context::Context, follow::Follow, supervise::SupervisorMsg};

/// The registry has changed.
#[derive(Debug)]
pub struct Changed;

/// The actor.
pub struct LinksActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    seen: Option<(Revision, usize)>,
    _registry: Follow,
}

impl Actor for LinksActor {
    type Msg = Changed;
    type State = State;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        me: ActorRef<Changed>,
        context: Arc<Context>,
    ) -> Result<State, ActorProcessingErr> {
        let registry = Follow::changes(context.registry.subscribe(), me, || Changed);
        let mut state = State { context, seen: None, _registry: registry };
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
    fn reconcile(&mut self) {
        let registry = self.context.state();
        let now = Some((registry.config_revision(), registry.servers.len()));
        if self.seen == now {
            return;
        }
        self.seen = now;
        let (context, links) = (&self.context, &self.context.links);
        let (wanted, known) = (configured(context), links.known());
        for key in known.difference(&wanted) {
            links.forget(key);
        }
        for key in wanted.difference(&known) {
            let child = links.child(context, key.clone());
            links.supervisor.cast(SupervisorMsg::Add(child));
        }
        let mut peers: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for (name, server) in context.config().servers.into_iter().filter(|(name, _)| name != context.me()) {
            peers.insert(name, server.addresses);
        }
        context.ports.links.set_peers(peers);
    }
}
