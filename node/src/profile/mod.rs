//! The profile on this server: signed by the cluster's authority, kept in a file of its own and in
//! the local registry, and brought up to date before the node binds a port.

mod adopt;
mod keeper;
mod peers;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tasuki_core::config::profile::Profile;

pub use self::{adopt::adopt, keeper::FileKeeper};
use crate::{
    app::{AppError, error::Exit},
    identity::{Identity, IdentityError},
    local_registry::{LocalError, write_whole},
};

/// A profile that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It cannot be trusted.
    #[error("the profile in {place} cannot be trusted: {why}")]
    Untrusted {
        /// Where it is.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// The newest one has no place for this server.
    #[error(
        "server {server} is no member of cluster {cluster} any more: profile {sequence}, which {from} has, is \
         without it"
    )]
    Removed {
        /// This server.
        server: String,
        /// Of which cluster.
        cluster: String,
        /// The number of the profile.
        sequence: u64,
        /// Where it was found.
        from: String,
    },
    /// A file that cannot be read or written.
    #[error("{}: {source}", place.display())]
    Files {
        /// Which.
        place: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The authority's key cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The local registry cannot keep it.
    #[error(transparent)]
    Local(#[from] LocalError),
}

impl ProfileError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Untrusted { .. } => "TSK-1771",
            Self::Removed { .. } => "TSK-1764",
            Self::Files { .. } => "TSK-1769",
            Self::Identity(error) => error.code(),
            Self::Local(error) => error.code(),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Untrusted { .. } => {
                "a running node writes the present one again; `tasuki profile verify` shows every copy".into()
            }
            Self::Removed { server, .. } => format!(
                "to bring it back: `tasuki server add {server} …` on a member, then move this data folder aside \
                 and join with the command that is printed"
            ),
            Self::Files { .. } => "check the permissions of the data folder and the free space".into(),
            Self::Identity(error) => error.remedy(),
            Self::Local(error) => error.remedy(),
        }
    }
}

impl From<ProfileError> for AppError {
    fn from(error: ProfileError) -> Self {
        Self::Coded {
            code: error.code().to_owned(),
            message: error.to_string(),
            remedy: error.remedy(),
            exit: Exit::Failed,
        }
    }
}

/// A profile with the proof that the cluster made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedProfile {
    profile: Profile,
    envelope: Envelope,
}

/// As it is kept and sent. The signature is over the compact form of `profile`, with the keys of
/// every object in order: so a later version may add keys that this one does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Envelope {
    /// The server that signed it, for people.
    signed_by: String,
    signature: String,
    profile: Value,
}

impl SignedProfile {
    /// Signs a profile in the name of the cluster.
    ///
    /// # Errors
    /// When the authority's key cannot be used.
    pub fn sign(identity: &Identity, profile: Profile) -> Result<Self, ProfileError> {
        let unwritable = |error: serde_json::Error| ProfileError::Untrusted {
            place: "memory".into(),
            why: error.to_string(),
        };
        let value = serde_json::to_value(&profile).map_err(unwritable)?;
        let signature = identity.sign(value.to_string().as_bytes())?;
        let signed_by = identity.server().to_string();
        Ok(Self { profile, envelope: Envelope { signed_by, signature, profile: value } })
    }

    /// Checks what was kept or sent. `place` is said in errors.
    ///
    /// # Errors
    /// When it is not a profile of this cluster with a signature that fits.
    pub fn check(identity: &Identity, text: &str, place: &str) -> Result<Self, ProfileError> {
        let untrusted = |why: String| ProfileError::Untrusted { place: place.to_owned(), why };
        let envelope: Envelope = serde_json::from_str(text)
            .map_err(|error| untrusted(format!("it is not a signed profile ({error})")))?;
        identity.verify(envelope.profile.to_string().as_bytes(), &envelope.signature).map_err(untrusted)?;
        let profile: Profile = serde_json::from_value(envelope.profile.clone())
            .map_err(|error| untrusted(format!("another version of Tasuki wrote it ({error})")))?;
        if profile.lineage != *identity.lineage() {
            return Err(untrusted(format!("it is of another registry, of lineage {}", profile.lineage)));
        }
        Ok(Self { profile, envelope })
    }

    /// What it says.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Which server signed it.
    #[must_use]
    pub fn signed_by(&self) -> &str {
        &self.envelope.signed_by
    }

    /// As it is kept and sent.
    #[must_use]
    pub fn text(&self) -> String {
        // A value that came from JSON goes back into it.
        serde_json::to_string_pretty(&self.envelope).unwrap_or_default() + "\n"
    }

    /// Reads the copy in the data folder; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read or trusted.
    pub fn load(identity: &Identity, data: &Path) -> Result<Option<Self>, ProfileError> {
        let place = profile_file(data);
        match fs::read_to_string(&place) {
            Ok(text) => Self::check(identity, &text, &place.display().to_string()).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ProfileError::Files { place, source }),
        }
    }

    /// Writes the copy in the data folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, data: &Path) -> Result<(), ProfileError> {
        let place = profile_file(data);
        write_whole(&place, self.text().as_bytes()).map_err(|source| ProfileError::Files { place, source })
    }
}

/// Where the profile is kept.
#[must_use]
pub fn profile_file(data: &Path) -> PathBuf {
    data.join("profile.json")
}

#[cfg(test)]
mod tests;
