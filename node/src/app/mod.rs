//! The application service layer: one method for each intention of an operator, named as in the
//! command line. Faces translate to these methods and back; they decide nothing.
//!
//! Reads come from the registry (confirmed by a quorum where it matters) and from what this server
//! believes; writes are registry commands through the leader. Long work returns the revision that
//! started it and never blocks.

pub mod bootstrap;
pub mod caller;
pub mod clusters;
pub mod config;
pub mod difference;
pub mod edits;
pub mod error;
pub mod events;
pub mod explain;
pub mod fences;
pub mod groups;
pub mod history;
pub mod intentions;
pub mod joins;
pub mod membership;
pub mod mirrors;
pub mod monitors;
pub mod plan;
pub mod pools;
pub mod ports;
pub mod profile;
pub mod registry;
pub mod replay;
pub mod resources;
pub mod secrets;
pub mod servers;
pub mod status;
pub mod times;
pub mod types;
pub mod versions;
pub mod votes;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tasuki_actors::handle::Accepted;
use tasuki_core::{
    ids::Revision,
    reason::Reason,
    registry::{Author, Command, Key, Level, State},
    time::WallTime,
};

pub use self::{
    caller::{Caller, Role},
    error::AppError,
    ports::{Authority, Fleet, Node},
};

/// The longest reason that an operator may give.
const MOST_WORDS: usize = 200;
/// How long an answer waits for this server to apply what was just accepted.
const OWN_WRITE: Duration = Duration::from_secs(2);

/// Everything that a face can ask of this node. Cheap to clone.
#[derive(Clone)]
pub struct App {
    node: Arc<dyn Node>,
    fleet: Arc<dyn Fleet>,
    authority: Arc<dyn Authority>,
    scripts: PathBuf,
    votes: Option<Arc<dyn votes::Votes>>,
    mirrors: Option<Arc<dyn mirrors::Mirrors>>,
    files: Option<Arc<dyn mirrors::FileFinder>>,
}

impl App {
    /// Puts the layer on a node. `scripts` is the folder against which relative script paths of a
    /// configuration are resolved.
    pub fn new(
        node: Arc<dyn Node>,
        fleet: Arc<dyn Fleet>,
        authority: Arc<dyn Authority>,
        scripts: PathBuf,
    ) -> Self {
        Self { node, fleet, authority, scripts, votes: None, mirrors: None, files: None }
    }

    /// With the voting files of this machine.
    #[must_use]
    pub fn with_votes(self, votes: Arc<dyn votes::Votes>) -> Self {
        Self { votes: Some(votes), ..self }
    }

    /// With the mirrored volumes of this server.
    #[must_use]
    pub fn with_mirrors(self, mirrors: Arc<dyn mirrors::Mirrors>) -> Self {
        Self { mirrors: Some(mirrors), ..self }
    }

    /// With whoever finds the files in some places of a disk.
    #[must_use]
    pub fn with_files(self, files: Arc<dyn mirrors::FileFinder>) -> Self {
        Self { files: Some(files), ..self }
    }

    /// The registry as this server has applied it.
    #[must_use]
    pub fn applied(&self) -> Arc<State> {
        self.node.watch().borrow().clone()
    }

    /// Proposes what an operator wants, in their name. When this answers, this server has applied it
    /// too, if it can in time: whoever reads here next sees what they have just done.
    async fn propose(&self, by: &Caller, command: Command) -> Result<Accepted, AppError> {
        self.propose_on(by, command, Vec::new()).await
    }

    /// As [`App::propose`], with the operator's own words, or empty ones.
    async fn propose_because(
        &self,
        by: &Caller,
        command: Command,
        because: String,
    ) -> Result<Accepted, AppError> {
        if because.is_empty() {
            return self.propose(by, command).await;
        }
        if because.chars().count() > MOST_WORDS || because.chars().any(char::is_control) {
            return Err(AppError::Invalid(format!("a reason is one line of at most {MOST_WORDS} letters")));
        }
        let said = Reason::said(because).ok_or_else(|| self.applied().not_yet(Level::OWN_WORDS))?;
        self.propose_with(by, command, Some(said), Vec::new()).await
    }

    /// As [`App::propose`], refused when what it was computed from has changed since (R12).
    async fn propose_on(
        &self,
        by: &Caller,
        command: Command,
        read: Vec<(Key, Revision)>,
    ) -> Result<Accepted, AppError> {
        self.propose_with(by, command, None, read).await
    }

    async fn propose_with(
        &self,
        by: &Caller,
        command: Command,
        reason: Option<Reason>,
        read: Vec<(Key, Revision)>,
    ) -> Result<Accepted, AppError> {
        let author = Author::Operator(by.name.clone());
        let accepted = self.node.propose(author, command, reason, read).await?;
        let mut registry = self.node.watch();
        let applied = registry.wait_for(|state| state.revision >= accepted.revision);
        // A server that is behind is no reason to call what was accepted a failure.
        let _behind = tokio::time::timeout(OWN_WRITE, applied).await;
        Ok(accepted)
    }
}

/// Now, by this machine's wall clock: for people, and for the expiry of tokens.
#[must_use]
pub fn wall_now() -> WallTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
