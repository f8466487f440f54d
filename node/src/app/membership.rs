//! Servers that come for good and go for good: added to the configuration, removed from it and from
//! Raft at once, and machines that take a dead one's place.

use std::time::Duration;

use tasuki_actors::handle::Accepted;
use tasuki_config::NewServer;
use tasuki_core::{
    ids::ServerName,
    registry::{
        Command, Key, Refusal, State,
        state::{AfterStop, ServerMode},
    },
};

use super::{
    App, AppError, Caller, Role,
    clusters::IssuedToken,
    config::{Push, parse, problem},
    error::{Exit, Kind},
};

/// Why a server cannot go, or not now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Something needs it.
    #[error("server {server} is still needed: {why}")]
    Needed {
        /// Which.
        server: ServerName,
        /// By what.
        why: String,
    },
    /// Nobody else votes.
    #[error("server {0} is the only one that votes: without it there is no registry")]
    LastVoter(ServerName),
    /// The others are no quorum.
    #[error(
        "server {server} is needed for the quorum: of the {voters} other voters {} is down, and {needed} must be up",
        .down.iter().map(ServerName::as_str).collect::<Vec<_>>().join(", ")
    )]
    Quorum {
        /// Which.
        server: ServerName,
        /// How many others vote.
        voters: usize,
        /// Which of those are down.
        down: Vec<ServerName>,
        /// How many must be up.
        needed: usize,
    },
    /// It answers this call.
    #[error("server {0} answers this call, and does not remove itself")]
    Itself(ServerName),
    /// It runs.
    #[error("server {0} is up: no other machine takes its place")]
    Runs(ServerName),
}

impl From<MembershipError> for AppError {
    fn from(error: MembershipError) -> Self {
        let (code, remedy) = match &error {
            MembershipError::Needed { .. } => {
                ("TSK-1760", "name other servers there, or take these out, and push; then remove the server")
            }
            MembershipError::LastVoter(_) => {
                ("TSK-1761", "add another server first, or end the cluster with `tasuki cluster shutdown`")
            }
            MembershipError::Quorum { .. } => {
                ("TSK-1762", "start those, or remove those first that will not come back")
            }
            MembershipError::Itself(_) => ("TSK-1763", "say it on another member, or with --address to one"),
            MembershipError::Runs(_) => {
                ("TSK-1772", "stop it with `tasuki server shutdown`, or add the machine under another name")
            }
        };
        Self::Coded {
            code: code.to_owned(),
            message: error.to_string(),
            remedy: remedy.to_owned(),
            exit: Exit::Refused,
        }
    }
}

/// How far a removal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The server hands its groups over and stops; to be asked again when it is down.
    Stopping(Accepted),
    /// It is gone from the registry and from the configuration.
    Removed(Push),
}

impl App {
    /// Adds a server to the configuration. It is a member once it has joined.
    ///
    /// # Errors
    /// Not allowed, mistakes, a server's refusal, no quorum.
    pub async fn server_add(&self, by: &Caller, new: NewServer, dry_run: bool) -> Result<Push, AppError> {
        self.edit(by, dry_run, |_| Ok(()), |config| tasuki_config::edit_server_add(config, &new)).await
    }

    /// Takes a server out for good, from Raft, from the registry and from the configuration. One that
    /// is up is stopped in order first when `stop` says so, and left alone otherwise.
    ///
    /// # Errors
    /// Not acknowledged, not allowed, still up, still needed, no quorum.
    pub async fn server_remove(
        &self,
        by: &Caller,
        server: &ServerName,
        stop: bool,
        acknowledged: bool,
    ) -> Result<Removal, AppError> {
        by.must_be(Role::Admin)?;
        if !acknowledged {
            return Err(AppError::Coded {
                code: "TSK-1660".to_owned(),
                message: format!("server remove takes {server} out of the cluster for good"),
                remedy: "say --yes if that is what you want".to_owned(),
                exit: Exit::Usage,
            });
        }
        let state = self.node.read().await?;
        let Some(entry) = state.servers.get(server) else {
            return Err(AppError::NotFound { kind: Kind::Server, name: server.to_string() });
        };
        if self.node.status().server == *server {
            return Err(MembershipError::Itself(server.clone()).into());
        }
        let present = state
            .config()
            .ok_or_else(|| AppError::Failed("the registry has no configuration yet".to_owned()))?;
        present.without_server(server).map_err(|needs| {
            let why = needs.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            MembershipError::Needed { server: server.clone(), why }
        })?;
        self.leaves_a_quorum(&state, server)?;
        if let Some(presence) = entry.presence.as_ref().map(|presence| &presence.value)
            && presence.up
        {
            if !stop {
                return Err(Refusal::StillUp(server.clone()).into());
            }
            if presence.mode != ServerMode::Active {
                return Ok(Removal::Stopping(Accepted { revision: state.revision, raft_id: None }));
            }
            let leave = Command::ServerLeave { server: server.clone(), after: AfterStop::Nothing };
            return Ok(Removal::Stopping(self.propose(by, leave).await?));
        }
        let config = tasuki_config::edit_server_remove(&present, server)
            .map_err(|errors| AppError::Config(errors.problems().iter().map(problem).collect()))?;
        let (_, warnings) = parse(&tasuki_config::to_toml(&config), "server remove")?;
        let read = vec![(Key::Configuration, state.revision_of(&Key::Configuration))];
        let command = Command::RemoveServer { server: server.clone(), config: config.clone() };
        let push = self.adopt_by(by, &state, config, warnings, false, read, command).await?;
        Ok(Removal::Removed(push))
    }

    /// A token with which a new machine takes the place of a dead one, under a new Raft id (R23).
    ///
    /// # Errors
    /// Not allowed, no such server, it is up, no quorum.
    pub async fn server_replace(
        &self,
        by: &Caller,
        server: &ServerName,
        valid: Option<Duration>,
    ) -> Result<IssuedToken, AppError> {
        by.must_be(Role::Admin)?;
        let state = self.node.read().await?;
        if !state.servers.contains_key(server) {
            return Err(AppError::NotFound { kind: Kind::Server, name: server.to_string() });
        }
        if state.presence(server).is_some_and(|presence| presence.up) {
            return Err(MembershipError::Runs(server.clone()).into());
        }
        self.cluster_token(by, Some(server.clone()), valid).await
    }

    /// Whether those that vote besides this server are a quorum of their own. A learner that could
    /// take its vote over does so by itself, and only once it has caught up.
    fn leaves_a_quorum(&self, state: &State, server: &ServerName) -> Result<(), MembershipError> {
        let voters = self.node.status().raft.voters;
        if !voters.contains(server) {
            return Ok(());
        }
        let others: Vec<&ServerName> = voters.iter().filter(|other| *other != server).collect();
        if others.is_empty() {
            return Err(MembershipError::LastVoter(server.clone()));
        }
        // A witness is not up or down to the registry.
        let is_down = |other: &ServerName| {
            let runs = state.servers.get(other).is_some_and(|entry| entry.config.value.role.runs_groups());
            runs && state.presence(other).is_none_or(|presence| !presence.up)
        };
        let down: Vec<ServerName> =
            others.iter().filter(|other| is_down(other)).map(|other| (*other).clone()).collect();
        let needed = others.len() / 2 + 1;
        if others.len() - down.len() >= needed {
            return Ok(());
        }
        Err(MembershipError::Quorum { server: server.clone(), voters: others.len(), down, needed })
    }
}
