//! The cluster as a whole.

use std::time::Duration;

use tasuki_actors::handle::Accepted;
use tasuki_core::{
    ids::ServerName,
    registry::{
        Command,
        state::{AfterStop, ClusterMode},
    },
    time::WallTime,
};

use super::{
    App, AppError, Caller, Role,
    status::{self, ClusterStatus},
    wall_now,
};

/// How long a token is good for when nobody says otherwise.
pub const TOKEN_VALID: Duration = Duration::from_secs(3600);
/// No token is good for longer: a forgotten one is a door left open.
pub const TOKEN_VALID_AT_MOST: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a picture waits for a quorum before it shows what this server has.
const CONFIRM_WITHIN: Duration = Duration::from_secs(2);

/// A token that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedToken {
    /// The whole token; shown once.
    pub text: String,
    /// When it expires.
    pub expires: WallTime,
    /// `ADDRESS:PORT` of this server, to join through.
    pub join_at: Vec<String>,
    /// It is for a witness, which joins in its own way.
    pub witness: bool,
}

impl App {
    /// How the cluster is. Without a quorum it shows what this server has, and says so: half an
    /// answer is better than none when something is wrong.
    ///
    /// # Errors
    /// Only when the caller may not.
    pub async fn cluster_status(&self, by: &Caller) -> Result<ClusterStatus, AppError> {
        by.must_be(Role::Viewer)?;
        let read = tokio::time::timeout(CONFIRM_WITHIN, self.node.read()).await;
        let (state, confirmed) = match read {
            Ok(Ok(state)) => (state, true),
            Ok(Err(_)) | Err(_) => (self.applied(), false),
        };
        Ok(status::cluster(&state, &self.node.view(), &self.node.status(), confirmed))
    }

    /// Groups run on, unwatched.
    ///
    /// # Errors
    /// Not allowed, refused, no quorum.
    pub async fn cluster_suspend(&self, by: &Caller) -> Result<Accepted, AppError> {
        by.must_be(Role::Operator)?;
        self.propose(by, Command::SetMode { mode: ClusterMode::Suspended }).await
    }

    /// Groups are watched again.
    ///
    /// # Errors
    /// Not allowed, refused, no quorum.
    pub async fn cluster_resume(&self, by: &Caller) -> Result<Accepted, AppError> {
        by.must_be(Role::Operator)?;
        self.propose(by, Command::SetMode { mode: ClusterMode::Running }).await
    }

    /// Stops every group and every node. `acknowledged` must be said by the operator, not by the
    /// face.
    ///
    /// # Errors
    /// Not acknowledged, not allowed, refused, no quorum.
    pub async fn cluster_shutdown(
        &self,
        by: &Caller,
        after: AfterStop,
        acknowledged: bool,
    ) -> Result<Accepted, AppError> {
        by.must_be(Role::Operator)?;
        if !acknowledged {
            return Err(AppError::NotAcknowledged("cluster shutdown"));
        }
        self.propose(by, Command::SetMode { mode: ClusterMode::Stopping(after) }).await
    }

    /// Makes a one-time token with which one server may join.
    ///
    /// # Errors
    /// Not allowed, an impossible span, no such server, no quorum.
    pub async fn cluster_token(
        &self,
        by: &Caller,
        server: Option<ServerName>,
        valid: Option<Duration>,
    ) -> Result<IssuedToken, AppError> {
        by.must_be(Role::Admin)?;
        let valid = valid.unwrap_or(TOKEN_VALID);
        if valid > TOKEN_VALID_AT_MOST {
            return Err(AppError::Invalid(format!(
                "a token is good for seven days at most; {} s were asked for",
                valid.as_secs()
            )));
        }
        let token = self.authority.new_token()?;
        let now = wall_now();
        let expires = WallTime(now.0 + u64::try_from(valid.as_millis()).unwrap_or(0));
        let of = server.clone();
        let issue = Command::IssueToken { id: token.id.clone(), digest: token.digest(), server, expires };
        self.propose(by, issue).await?;
        let state = self.applied();
        let here = self.node.status().server;
        let port = state.settings.as_ref().map_or(0, |settings| settings.value.port);
        let join_at = super::joins::addresses_of(&state, &here)
            .into_iter()
            .map(|address| std::net::SocketAddr::new(address, port).to_string())
            .collect();
        let entry = of.and_then(|server| state.servers.get(&server));
        let witness = entry.is_some_and(|entry| !entry.config.value.role.runs_groups());
        Ok(IssuedToken { text: token.text(), expires, join_at, witness })
    }

    /// The live supervision tree of this node as indented text.
    ///
    /// # Errors
    /// Only when the caller may not.
    pub async fn cluster_tree(&self, by: &Caller) -> Result<String, AppError> {
        by.must_be(Role::Viewer)?;
        Ok(self.node.tree().await)
    }
}
