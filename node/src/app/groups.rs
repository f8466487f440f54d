//! Failover groups.

use tasuki_actors::handle::Accepted;
use tasuki_core::{
    config::instances::resource_of,
    ids::{GroupName, ServerName},
    registry::Command,
};

use super::{
    App, AppError, Caller, Role,
    error::Kind,
    explain::{self, Explanation},
    status::{self, GroupStatus},
};

impl App {
    /// Every group, as this server has applied it; instances of resources are no groups here.
    ///
    /// # Errors
    /// Only when the caller may not.
    pub fn group_list(&self, by: &Caller) -> Result<Vec<GroupStatus>, AppError> {
        by.must_be(Role::Viewer)?;
        let state = self.applied();
        Ok(state
            .groups
            .iter()
            .filter(|(name, _)| resource_of(name).is_none())
            .map(|(name, entry)| status::group_with_monitors(&state, name, entry))
            .collect())
    }

    /// One group, as this server has applied it.
    ///
    /// # Errors
    /// When the caller may not, or there is no such group.
    pub fn group_status(&self, by: &Caller, group: &GroupName) -> Result<GroupStatus, AppError> {
        by.must_be(Role::Viewer)?;
        let state = self.applied();
        let entry = state
            .groups
            .get(group)
            .ok_or_else(|| AppError::NotFound { kind: Kind::Group, name: group.to_string() })?;
        Ok(status::group_with_monitors(&state, group, entry))
    }

    /// Wants a group online. `because` is the operator's own words, or empty.
    ///
    /// # Errors
    /// Not allowed, refused, no quorum.
    pub async fn group_start(
        &self,
        by: &Caller,
        group: GroupName,
        on: Option<ServerName>,
        because: String,
    ) -> Result<Accepted, AppError> {
        by.must_be(Role::Operator)?;
        self.propose_because(by, Command::StartGroup { group, on }, because).await
    }

    /// Wants a group offline; with `force` also when that stops others that depend on it.
    ///
    /// # Errors
    /// Not allowed, refused, no quorum.
    pub async fn group_stop(
        &self,
        by: &Caller,
        group: GroupName,
        force: bool,
        because: String,
    ) -> Result<Accepted, AppError> {
        by.must_be(Role::Operator)?;
        self.propose_because(by, Command::StopGroup { group, force }, because).await
    }

    /// Wants a group on another server; with `force` also when that stops others that depend on it.
    ///
    /// # Errors
    /// Not allowed, refused, no quorum.
    pub async fn group_move(
        &self,
        by: &Caller,
        group: GroupName,
        to: Option<ServerName>,
        force: bool,
        because: String,
    ) -> Result<Accepted, AppError> {
        by.must_be(Role::Operator)?;
        self.propose_because(by, Command::MoveGroup { group, to, force }, because).await
    }

    /// Sets a group's failure counters to zero.
    ///
    /// # Errors
    /// Not allowed, no such group, no quorum.
    pub async fn group_reset(&self, by: &Caller, group: GroupName) -> Result<Accepted, AppError> {
        by.must_be(Role::Operator)?;
        self.propose(by, Command::ResetFailures { group }).await
    }

    /// Why the groups and instances that a name speaks of are where they are, and why nowhere else.
    ///
    /// # Errors
    /// When the caller may not, or nothing has that name.
    pub fn explain_named(&self, by: &Caller, name: &str) -> Result<Vec<Explanation>, AppError> {
        by.must_be(Role::Viewer)?;
        explain::explain_named(&self.applied(), name)
    }

    /// Why a group is where it is, and why it is nowhere else.
    ///
    /// # Errors
    /// When the caller may not, or there is no such group.
    pub fn explain(&self, by: &Caller, group: &GroupName) -> Result<Explanation, AppError> {
        by.must_be(Role::Viewer)?;
        explain::explain(&self.applied(), group)
    }
}
