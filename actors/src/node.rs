//! One node: the shared context, the root of the tree, and the router of datagrams.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};

use bytes::Bytes;
use ractor::{Actor, ActorRef, SpawnErr};
use tasuki_core::{
    ids::{Incarnation, Revision, ServerName},
    membership::view::View,
    reason::Reason,
    registry::{Author, Command, Key, State, state::AfterStop},
};
use tokio::{
    sync::{Mutex, broadcast, mpsc, watch},
    task::JoinHandle,
};

use crate::{
    context::{Context, NodeOptions},
    directory::Directory,
    handle::{Accepted, Event, NodeHandle, NodeStatus, RaftStatus, RegistryError},
    journal::Journal,
    ohas::{
        self,
        crs::{agents::Agents, groups::Groups, monitors::Monitors},
        mirrors::Mirrors,
        registry::{presence_actor::PresenceMsg, register::TieBreakDesk},
        sync::{
            gossip_actor::GossipMsg,
            lease_actor::LeaseMsg,
            link_actor::{LinkMessage, Links},
            voting_file_actor::VotingDesk,
        },
    },
    ports::{Datagram, PeerError, PeerMethod, Ports},
    propose,
    supervise::{Slot, Supervisor, SupervisorMsg},
};

/// Events that a slow subscriber may lag behind.
const EVENTS: usize = 1024;

/// A running node.
pub struct Inner {
    context: Arc<Context>,
    root: ActorRef<SupervisorMsg>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// Starts the actor tree of one node. The receiver resolves when the tree has ended by itself: a
/// restart limit was exceeded, and the guard has to start a new incarnation.
///
/// # Errors
/// When a part does not start: a store that cannot be opened, for example.
pub async fn start(options: NodeOptions, mut ports: Ports) -> Result<(NodeHandle, JoinHandle<()>), String> {
    let incoming = ports.links.incoming();
    let registry = watch::Sender::new(Arc::new(State::default()));
    let adopted = ports.profile.adopted();
    ports.peers = Arc::new(Directory::new(ports.peers, registry.subscribe(), adopted, &options.config));
    let context = Arc::new(Context {
        boot: ports.clock.boot_id(),
        registry,
        applied: watch::Sender::new(0),
        raft: watch::Sender::new(None),
        raft_status: watch::Sender::new(RaftStatus::default()),
        lease: watch::Sender::new(None),
        tie_break: TieBreakDesk::default(),
        leading: watch::Sender::new(None),
        sync_moved: AtomicU64::new(0),
        stopped_before: ports.guard.held_nothing().then_some(options.incarnation),
        incarnation: watch::Sender::new(Incarnation(0)),
        view: watch::Sender::new(Arc::new(View::default())),
        events: broadcast::Sender::new(EVENTS),
        healthy: AtomicBool::new(true),
        left: watch::Sender::new(false),
        voting: VotingDesk::default(),
        links: Links::default(),
        lease_actor: Slot::default(),
        gossip_actor: Slot::default(),
        placement_actor: Slot::default(),
        presence_actor: Slot::default(),
        groups_actor: Slot::default(),
        journal: Journal::start(options.journal.clone()),
        groups: Groups::default(),
        agents: Agents::default(),
        monitors: Monitors::default(),
        mirrors: Mirrors::default(),
        ports,
        options,
    });
    let spawned = Actor::spawn(None, Supervisor, ohas::children(&context)).await;
    let (root, ended) = spawned.map_err(|error| cause(&error))?;
    let mut tasks = Vec::new();
    if let Some(incoming) = incoming {
        tasks.push(tokio::spawn(route(context.clone(), incoming)));
    }
    let inner = Inner { context, root, tasks: Mutex::new(tasks) };
    Ok((NodeHandle { inner: Arc::new(inner) }, ended))
}

/// What kept the first part from starting, without the supervisors in between.
fn cause(error: &SpawnErr) -> String {
    match error {
        SpawnErr::StartupFailed(inner) => match inner.downcast_ref::<SpawnErr>() {
            Some(inner) => cause(inner),
            None => inner.to_string(),
        },
        other => other.to_string(),
    }
}

/// Hands every datagram to the actor it is for. A task of its own: its receiver outlives actors.
async fn route(context: Arc<Context>, mut incoming: mpsc::Receiver<Datagram>) {
    while let Some(Datagram { from, path, body }) = incoming.recv().await {
        match postcard::from_bytes(&body) {
            Ok(LinkMessage::Beat { seq, echo, ask, standing }) => {
                if let Some(raft) = &*context.raft.borrow() {
                    raft.heard(standing);
                }
                if let Some(request) = ask {
                    context.lease_actor.cast(LeaseMsg::Ask(from.clone(), path.clone(), request));
                }
                context.links.beat(&(from, path), seq, echo);
            }
            Ok(LinkMessage::Granted(grant)) => {
                context.lease_actor.cast(LeaseMsg::Granted(grant));
            }
            Ok(LinkMessage::Gossip(data)) => {
                context.gossip_actor.cast(GossipMsg::Heard(data));
            }
            Ok(LinkMessage::Aside { seq, echo, stopped_before }) => {
                if let Some(before) = stopped_before {
                    context.lease_actor.cast(LeaseMsg::Stopped(from.clone(), before));
                }
                context.links.beat(&(from, path), seq, echo);
            }
            Err(error) => tracing::debug!(%from, %error, "a datagram of another version"),
        }
    }
}

impl Inner {
    pub fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.context.registry.subscribe()
    }

    pub async fn read(&self) -> Result<Arc<State>, RegistryError> {
        propose::read(&self.context).await
    }

    pub async fn propose(
        &self,
        author: Author,
        command: Command,
        reason: Option<Reason>,
        read: Vec<(Key, Revision)>,
    ) -> Result<Accepted, RegistryError> {
        propose::propose(&self.context, author, command, reason, read).await
    }

    pub fn view(&self) -> Arc<View> {
        self.context.view.borrow().clone()
    }

    pub fn status(&self) -> NodeStatus {
        NodeStatus {
            server: self.context.me().clone(),
            lineage: self.context.state().lineage.clone(),
            incarnation: *self.context.incarnation.borrow(),
            lease_end: *self.context.lease.borrow(),
            now: self.context.ports.clock.now(),
            raft: self.context.raft_status.borrow().clone(),
            tie_break: self.context.tie_break.seen.borrow().clone(),
        }
    }

    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.context.events.subscribe()
    }

    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    pub async fn serve_peer(
        &self,
        _from: &ServerName,
        method: PeerMethod,
        body: Bytes,
    ) -> Result<Bytes, PeerError> {
        let raft = self.context.raft.borrow().clone();
        let raft = raft.ok_or_else(|| PeerError::Unreachable("the registry is starting".into()))?;
        raft.serve_peer(method, &body).await
    }

    pub async fn tree(&self) -> String {
        match self.root.call(SupervisorMsg::Tree, Some(Duration::from_secs(2))).await {
            Ok(ractor::rpc::CallResult::Success(tree)) => tree.render(),
            _ => "the tree does not answer\n".into(),
        }
    }

    /// Leaves in order when there is a quorum. Without one the lease ends by itself, and the guard
    /// stops what runs.
    pub async fn stop(&self) {
        let me = self.context.me().clone();
        let command = Command::ServerLeave { server: me.clone(), after: AfterStop::Nothing };
        let left = propose::propose(&self.context, Author::Server(me), command, None, Vec::new()).await;
        if let Err(error) = left {
            tracing::warn!(%error, "stopping without the cluster");
            self.context.presence_actor.cast(PresenceMsg::Leave(AfterStop::Nothing));
        }
    }

    pub async fn left(&self) {
        // The sender lives as long as this.
        let _ = self.context.left.subscribe().wait_for(|left| *left).await;
    }

    /// Ends every actor at once, without leaving: for tests, and after the guard said so.
    pub async fn abandon(&self) {
        let _ = self.root.stop_and_wait(None, Some(Duration::from_secs(5))).await;
        for task in self.tasks.lock().await.drain(..) {
            task.abort();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.root.stop(None);
        for task in self.tasks.get_mut().drain(..) {
            task.abort();
        }
    }
}
