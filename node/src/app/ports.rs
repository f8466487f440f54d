//! What the service layer needs from the rest of the program, named by itself, so that tests can
//! put a registry in memory in its place.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use tasuki_actors::{
    FileView,
    handle::{Accepted, Event, NodeHandle, NodeStatus, RegistryError},
};
use tasuki_core::{
    ids::{FenceName, Incarnation, RaftId, Revision, ServerName, VolumeName},
    membership::view::View,
    reason::Reason,
    registry::{Author, Command, Key, State},
};
use tokio::sync::{broadcast, watch};

use super::{
    caller::Caller,
    error::AppError,
    mirrors::{CopyHere, Difference, Order, OrderDone},
    votes::VoteView,
};
use crate::identity::{Identity, Token, Welcome};

/// The actor tree of this node; in the program always a [`NodeHandle`].
#[async_trait]
pub trait Node: Send + Sync + 'static {
    /// Follows the registry as this server applies it.
    fn watch(&self) -> watch::Receiver<Arc<State>>;
    /// The registry as of now, confirmed by a quorum.
    async fn read(&self) -> Result<Arc<State>, RegistryError>;
    /// Proposes a command.
    async fn propose(
        &self,
        author: Author,
        command: Command,
        reason: Option<Reason>,
        read: Vec<(Key, Revision)>,
    ) -> Result<Accepted, RegistryError>;
    /// What this server believes of the others.
    fn view(&self) -> Arc<View>;
    /// This node.
    fn status(&self) -> NodeStatus;
    /// Follows what happens.
    fn events(&self) -> broadcast::Receiver<Event>;
    /// The live supervision tree as indented text.
    async fn tree(&self) -> String;
    /// The folder with the journal of what this server decided; `None` when it keeps none.
    fn journal(&self) -> Option<PathBuf> {
        None
    }
    /// Asks a fencing device, from this server, whether it answers.
    async fn test_fence(&self, device: &FenceName) -> Result<(), String> {
        Err(format!("{device} cannot be reached from here"))
    }
    /// The voting files as the synchronisation service finds them.
    fn voting_files(&self) -> Vec<FileView> {
        Vec::new()
    }
    /// This server's copy of the profile, signed; `None` when it has none.
    fn profile(&self) -> Option<String> {
        None
    }
}

#[async_trait]
impl Node for NodeHandle {
    fn watch(&self) -> watch::Receiver<Arc<State>> {
        NodeHandle::watch(self)
    }

    async fn read(&self) -> Result<Arc<State>, RegistryError> {
        NodeHandle::read(self).await
    }

    async fn propose(
        &self,
        author: Author,
        command: Command,
        reason: Option<Reason>,
        read: Vec<(Key, Revision)>,
    ) -> Result<Accepted, RegistryError> {
        NodeHandle::propose(self, author, command, reason, read).await
    }

    fn view(&self) -> Arc<View> {
        NodeHandle::view(self)
    }

    fn status(&self) -> NodeStatus {
        NodeHandle::status(self)
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        NodeHandle::events(self)
    }

    async fn tree(&self) -> String {
        NodeHandle::tree(self).await
    }

    fn journal(&self) -> Option<PathBuf> {
        self.context().options.journal.clone()
    }

    async fn test_fence(&self, device: &FenceName) -> Result<(), String> {
        NodeHandle::test_fence(self, device).await
    }

    fn voting_files(&self) -> Vec<FileView> {
        NodeHandle::voting_files(self)
    }

    fn profile(&self) -> Option<String> {
        self.context().ports.profile.kept()
    }
}

/// What one server says about a configuration that it should work with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalCheck {
    /// The revision that it has applied.
    pub revision: Revision,
    /// What does not fit it, one sentence each.
    pub problems: Vec<String>,
}

/// Questions to the service layers of other servers.
#[async_trait]
pub trait Fleet: Send + Sync + 'static {
    /// Asks a server what it says about `text`, once it has applied `wait_for` (or gave up
    /// waiting).
    ///
    /// # Errors
    /// When the server cannot be asked; the text says why.
    async fn check_there(
        &self,
        server: &ServerName,
        addresses: &[IpAddr],
        port: u16,
        text: &str,
        wait_for: Revision,
    ) -> Result<LocalCheck, String>;

    /// Asks a server what it finds at these paths.
    ///
    /// # Errors
    /// When the server cannot be asked; the text says why.
    async fn votes_there(
        &self,
        _server: &ServerName,
        _addresses: &[IpAddr],
        _port: u16,
        _paths: &[PathBuf],
    ) -> Result<Vec<VoteView>, String> {
        Err("cannot be asked".to_owned())
    }

    /// Asks a server how its copies of mirrored disks are.
    ///
    /// # Errors
    /// When the server cannot be asked; the text says why.
    async fn mirrors_there(
        &self,
        _server: &ServerName,
        _addresses: &[IpAddr],
        _port: u16,
    ) -> Result<Vec<CopyHere>, String> {
        Err("cannot be asked".to_owned())
    }

    /// Asks a server, for this caller, what its copy of a disk has that others lack.
    ///
    /// # Errors
    /// When the server cannot be asked, or what it answered.
    async fn mirror_differences_there(
        &self,
        server: &ServerName,
        _addresses: &[IpAddr],
        _port: u16,
        _by: &Caller,
        _volume: &VolumeName,
    ) -> Result<Vec<Difference>, AppError> {
        Err(AppError::Unreachable(format!("{server} cannot be asked")))
    }

    /// Has a server carry out an order of this caller.
    ///
    /// # Errors
    /// When the server cannot be asked, or what it answered.
    async fn mirror_order_there(
        &self,
        server: &ServerName,
        _addresses: &[IpAddr],
        _port: u16,
        _by: &Caller,
        _volume: &VolumeName,
        _order: &Order,
    ) -> Result<OrderDone, AppError> {
        Err(AppError::Unreachable(format!("{server} cannot be asked")))
    }
}

/// The cluster's certificate authority, as far as joining needs it; in the program always an
/// [`Identity`].
pub trait Authority: Send + Sync + 'static {
    /// Makes a token; nothing is remembered.
    ///
    /// # Errors
    /// When there is no randomness.
    fn new_token(&self) -> Result<Token, AppError>;
    /// Makes a certificate for a new member's key, and hands out what all servers share.
    ///
    /// # Errors
    /// When the name or the key does not fit into a certificate.
    fn issue(
        &self,
        server: &ServerName,
        raft_id: RaftId,
        addresses: &[IpAddr],
        public_key: &[u8],
        last: Incarnation,
    ) -> Result<Welcome, AppError>;
}

impl Authority for Identity {
    fn new_token(&self) -> Result<Token, AppError> {
        Ok(Identity::new_token(self)?)
    }

    fn issue(
        &self,
        server: &ServerName,
        raft_id: RaftId,
        addresses: &[IpAddr],
        public_key: &[u8],
        last: Incarnation,
    ) -> Result<Welcome, AppError> {
        Ok(self.issue_server(server, raft_id, addresses, public_key, last)?)
    }
}
