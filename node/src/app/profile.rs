//! The profile.

use super::{App, AppError, Caller, Role};

impl App {
    /// This server's copy of the profile with its signature; `None` when it has none yet.
    ///
    /// # Errors
    /// Only when the caller may not.
    pub fn profile_show(&self, by: &Caller) -> Result<Option<String>, AppError> {
        by.must_be(Role::Viewer)?;
        Ok(self.node.profile())
    }
}
