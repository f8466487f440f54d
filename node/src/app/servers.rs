//! Servers.

use tasuki_actors::handle::Accepted;
use tasuki_core::{
    ids::ServerName,
    registry::{Command, state::AfterStop},
};

use super::{
    App, AppError, Caller, Role,
    status::{self, ServerStatus},
};

impl App {
    /// Every configured server, as this one has applied and sees it; and which this one is.
    ///
    /// # Errors
    /// Only when the caller may not.
    pub fn server_list(&self, by: &Caller) -> Result<(Vec<ServerStatus>, ServerName), AppError> {
        by.must_be(Role::Viewer)?;
        let node = self.node.status();
        // Not read through a quorum, so that it answers at once; `cluster status` is confirmed.
        let servers = status::servers(&self.applied(), &self.node.view(), &node, true);
        Ok((servers, node.server))
    }

    /// Hands a server's groups over and stops its node.
    ///
    /// # Errors
    /// Not allowed, refused, no quorum.
    pub async fn server_shutdown(
        &self,
        by: &Caller,
        server: ServerName,
        after: AfterStop,
    ) -> Result<Accepted, AppError> {
        by.must_be(Role::Operator)?;
        self.propose(by, Command::ServerLeave { server, after }).await
    }
}
