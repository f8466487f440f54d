//! What the rest of the node sees of the actor tree: named methods, no mailboxes.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tasuki_core::{
    ids::{FenceName, Incarnation, Lineage, RaftId, Revision, ServerName, Term},
    membership::view::View,
    reason::Reason,
    registry::{Author, Command, Key, Refusal, State},
    time::{Timestamp, WallTime},
};
use tokio::sync::{broadcast, watch};

use crate::ports::{PeerError, PeerMethod};

/// Why the registry did not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RegistryError {
    /// The command was refused; nothing changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no leader that a quorum follows, or it cannot be reached.
    #[error("no quorum: {0}")]
    NoQuorum(String),
    /// The answer is not known: the command may or may not be applied later. Read before you
    /// repeat it (R13).
    #[error("the outcome is unclear: {0}")]
    Unclear(String),
}

/// A command that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The revision it made.
    pub revision: Revision,
    /// The Raft id that a join gave out.
    pub raft_id: Option<RaftId>,
}

/// Raft, as this server sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaftStatus {
    /// Whom this server follows. An isolated leader still names itself here: evidence, not truth.
    pub leader: Option<ServerName>,
    /// The current term.
    pub term: Term,
    /// Who has a vote.
    pub voters: Vec<ServerName>,
    /// Who only listens.
    pub learners: Vec<ServerName>,
    /// Last entry in this server's log.
    pub last_log: u64,
    /// Last entry it has applied.
    pub applied: u64,
}

/// What the place of the tie-break record last answered, as this server sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TieBreakSeen {
    /// Where the record is: a witness, or voting files.
    pub place: String,
    /// What it says; `None` when there is none, or no answer.
    pub record: Option<String>,
    /// Why it would not help now.
    pub problem: Option<String>,
}

/// This node, as it sees itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Which server.
    pub server: ServerName,
    /// Its registry's lineage.
    pub lineage: Option<Lineage>,
    /// Its incarnation; zero before the registry knows it.
    pub incarnation: Incarnation,
    /// When its lease ends (boot clock).
    pub lease_end: Option<Timestamp>,
    /// Now (boot clock).
    pub now: Timestamp,
    /// Raft.
    pub raft: RaftStatus,
    /// The tie-break record, where there is a place for it.
    #[serde(default)]
    pub tie_break: Option<TieBreakSeen>,
}

/// Something that happened, for people and subscribers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, by this server's clock.
    pub at: WallTime,
    /// When, by this server's boot clock: for measuring spans.
    pub boot: Timestamp,
    /// Which server says so.
    pub server: ServerName,
    /// What about: a server, group, resource or path, as `kind/name`.
    pub object: String,
    /// A word for what happened, stable: `lease-granted`, `group-online`, …
    pub kind: String,
    /// The sentence.
    pub text: String,
    /// The registry revision, when it is a change of the registry.
    pub revision: Option<Revision>,
}

/// The actor tree of one node, from outside. Cheap to clone.
#[derive(Clone)]
pub struct NodeHandle {
    pub(crate) inner: Arc<crate::node::Inner>,
}

impl NodeHandle {
    /// The registry as this server has applied it: may be behind.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.watch().borrow().clone()
    }

    /// Follows the registry as this server applies it.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.inner.watch()
    }

    /// The registry as of now: confirmed by a quorum (ReadIndex, R11), through the leader.
    ///
    /// # Errors
    /// When no quorum answers in time.
    pub async fn read(&self) -> Result<Arc<State>, RegistryError> {
        self.inner.read().await
    }

    /// Proposes a command, through the leader wherever it is.
    ///
    /// # Errors
    /// Refused, no quorum, or unclear.
    pub async fn propose(
        &self,
        author: Author,
        command: Command,
        reason: Option<Reason>,
        read: Vec<(Key, Revision)>,
    ) -> Result<Accepted, RegistryError> {
        self.inner.propose(author, command, reason, read).await
    }

    /// What this server believes of the others.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.inner.view()
    }

    /// This node.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        self.inner.status()
    }

    /// The voting files, as this server finds them.
    #[must_use]
    pub fn voting_files(&self) -> Vec<crate::FileView> {
        let context = self.inner.context();
        context.voting.views(context)
    }

    /// Follows what happens.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.events()
    }

    /// Answers a peer's call. The transport has authenticated `from`.
    ///
    /// # Errors
    /// When the body cannot be read or the node cannot answer now.
    pub async fn serve_peer(
        &self,
        from: &ServerName,
        method: PeerMethod,
        body: Bytes,
    ) -> Result<Bytes, PeerError> {
        self.inner.serve_peer(from, method, body).await
    }

    /// Asks a fencing device, from this server, whether it answers.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn test_fence(&self, device: &FenceName) -> Result<(), String> {
        crate::ohas::sync::fencing_actor::test_device(self.context(), device).await
    }

    /// The mirrored volumes of this server.
    #[must_use]
    pub fn mirrors(&self) -> crate::ohas::mirrors::MirrorsHandle {
        crate::ohas::mirrors::MirrorsHandle::new(self.context())
    }

    /// The live supervision tree as indented text.
    pub async fn tree(&self) -> String {
        self.inner.tree().await
    }

    /// Stops the node cleanly: hands its groups over, gives its lease back, stops every actor.
    pub async fn stop(&self) {
        self.inner.stop().await;
    }

    /// Resolves when this server has left the cluster, asked to by whomever.
    pub async fn left(&self) {
        self.inner.left().await;
    }

    /// Ends every actor at once, without leaving: for tests, and after the guard said so.
    pub async fn abandon(&self) {
        self.inner.abandon().await;
    }

    /// What the actors share: for tests that reach past the handle.
    #[doc(hidden)]
    #[must_use]
    pub fn context(&self) -> &Arc<crate::context::Context> {
        self.inner.context()
    }
}
