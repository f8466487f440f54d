//! Owns Raft and the store below it.
//!
//! Started by the registry's supervisor. Lost at a restart: nothing; the store is opened again.
//! That is also what mends a store error: Raft stops at one for good.

use std::{net::IpAddr, sync::Arc};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::{
    config::{ClusterConfig, HeartbeatPath, TieBreak},
    ids::ServerName,
    registry::{Author, Command},
};
use tasuki_storage::{
    OpenOptions, OpenStore,
    raft_types::Member,
    registry::{Expected, Identity},
};
use tokio::task::JoinHandle;

use super::{announce_actor::readable, raft_node::RaftNode};
use crate::{
    context::{Context, NodeOptions, StorePlace},
    ohas::witness::raft_timing,
    propose::propose,
};

/// Raft has stopped, and why.
#[derive(Debug)]
pub struct Stopped(String);

/// The actor.
pub struct RaftActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    raft: RaftNode,
    tasks: Vec<JoinHandle<()>>,
}

/// A server's place in Raft as the configuration has it.
#[must_use]
pub fn member_of(config: &ClusterConfig, server: &ServerName) -> Member {
    let settings = &config.settings;
    let addresses = config.servers.get(server).map(|s| &s.addresses);
    let port = config.servers.get(server).and_then(|s| s.role.port()).unwrap_or(settings.port);
    let mut best: Vec<IpAddr> = Vec::new();
    if let Some(addresses) = addresses {
        let lans = settings.heartbeats.iter().filter_map(|path| match path {
            HeartbeatPath::Lan { network } => Some(network),
            _ => None,
        });
        for address in lans.filter_map(|network| addresses.get(network)).chain(addresses.values()) {
            if !best.contains(address) {
                best.push(*address);
            }
        }
    }
    Member { server: server.clone(), addresses: best, port, generation: 0 }
}

impl Actor for RaftActor {
    type Msg = Stopped;
    type State = State;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        me: ActorRef<Stopped>,
        context: Arc<Context>,
    ) -> Result<State, ActorProcessingErr> {
        let store = open(&context.options).await?;
        readable(&context, &store.state.borrow())?;
        let (mut state, mut applied) = (store.state.clone(), store.applied.clone());
        let peers = context.ports.peers.clone();
        let settled = state.borrow().settings.as_ref().map(|settings| settings.value.votes.tie_break.clone());
        let tie_break = settled.unwrap_or_else(|| context.options.config.settings.votes.tie_break.clone());
        let tie_break = tie_break != TieBreak::None;
        let id = context.options.raft_id;
        let raft = RaftNode::start(id, &raft_timing(&context), peers, store, tie_break).await?;
        if context.options.founder {
            raft.found(member_of(&context.options.config, context.me())).await?;
        }
        let forward = context.clone();
        let states = tokio::spawn(async move {
            loop {
                let now = state.borrow_and_update().clone();
                forward.registry.send_replace(now);
                if state.changed().await.is_err() {
                    return;
                }
            }
        });
        let forward = context.clone();
        let indexes = tokio::spawn(async move {
            loop {
                let now = *applied.borrow_and_update();
                forward.applied.send_replace(now);
                if applied.changed().await.is_err() {
                    return;
                }
            }
        });
        let (forward, followed) = (context.clone(), raft.clone());
        let status = tokio::spawn(async move {
            let why = followed.follow(|status| {
                forward.raft_status.send_if_modified(|old| {
                    let changed = *old != status;
                    *old = status;
                    changed
                });
            });
            let _ = me.cast(Stopped(why.await)); // the actor may be stopping itself
        });
        let kept = raft.clone();
        let gate = tokio::spawn(async move { kept.keep_gate().await });
        context.raft.send_replace(Some(raft.clone()));
        let found = tokio::spawn(initialise(context.clone()));
        Ok(State { context, raft, tasks: vec![states, indexes, status, gate, found] })
    }

    async fn handle(
        &self,
        _me: ActorRef<Stopped>,
        Stopped(why): Stopped,
        _: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        Err(format!("Raft stopped: {why}").into()) // restarted by the supervisor, over a store opened anew
    }

    async fn post_stop(&self, _me: ActorRef<Stopped>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.context.raft.send_replace(None);
        state.raft.shutdown().await;
        Ok(())
    }
}

impl Drop for State {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.context.raft.send_replace(None);
    }
}

/// Opens the store of this server.
async fn open(options: &NodeOptions) -> Result<OpenStore, ActorProcessingErr> {
    let identity = Identity {
        server: options.server.clone(),
        lineage: options.lineage.clone(),
        raft_id: options.raft_id,
    };
    let expected = Expected {
        server: options.server.clone(),
        lineage: Some(options.lineage.clone()),
        raft_id: Some(options.raft_id),
    };
    let how =
        OpenOptions { expected: Some(expected), must_exist: options.store_exists, ..OpenOptions::default() };
    let folder = match &options.store {
        StorePlace::Folder(folder) => folder.clone(),
        StorePlace::Memory(disk) => return Ok(disk.open_store(options.store_exists)?),
    };
    // Opening reads the whole log and may upgrade it: not on the runtime's threads.
    let store = tokio::task::spawn_blocking(move || {
        let store = tasuki_storage::open(&folder, &how)?;
        store.bind_identity(&identity)?;
        Ok::<_, tasuki_storage::StoreError>(store)
    })
    .await??;
    Ok(store.into())
}

/// The founder's first command. Repeated until the registry has a lineage; refused when it has.
async fn initialise(context: Arc<Context>) {
    if !context.options.founder {
        return;
    }
    let mut registry = context.registry.subscribe();
    while context.state().lineage.is_none() {
        let options = &context.options;
        let command = Command::Initialise {
            lineage: options.lineage.clone(),
            config: options.config.clone(),
            founder: options.server.clone(),
        };
        let author = Author::Server(context.me().clone());
        if let Err(error) = propose(&context, author, command, None, Vec::new()).await {
            tracing::debug!(%error, "the registry is not initialised yet");
            let _ = tokio::time::timeout(context.timing().beat, registry.changed()).await;
        }
    }
}
