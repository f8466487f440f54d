//! A certificate for a person or a program outside, in a folder that is all they need.

use std::{path::Path, time::Duration};

use tasuki_core::time::WallTime;

use super::{Identity, IdentityError, Role, folder::Folder};

impl Identity {
    /// Makes `folder` with the authority's certificate (`ca.pem`), a new certificate (`NAME.pem`) and
    /// its key (`NAME.key`), and says when the certificate ends. What is there already is never
    /// replaced: a key that somebody uses must not go by accident.
    ///
    /// # Errors
    /// When the name does not fit, when this is a witness, when the folder is not empty or cannot be
    /// written.
    pub fn hand_out(
        &self,
        folder: &Path,
        name: &str,
        role: Role,
        valid: Duration,
    ) -> Result<WallTime, IdentityError> {
        // Files of other things in such folders.
        if matches!(name, "ca" | "server") {
            let why = "it is the name of another file beside it";
            return Err(IdentityError::Name { what: "operator", name: name.to_owned(), why });
        }
        // Issued before anything is written.
        let (issued, end) = self.issue_operator(name, role, valid)?;
        let folder = Folder::empty(folder)?;
        folder.write_authority(self.ca_pem())?;
        folder.write_credentials(name, &issued)?;
        Ok(end)
    }
}
