//! Keeps both copies of the profile on this server, for the actor that follows the registry.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use tasuki_actors::ports::ProfileKeeper;
use tasuki_core::config::profile::Profile;

use super::{ProfileError, SignedProfile};
use crate::{identity::Identity, local_registry::LocalRegistry};

/// The file and the local registry.
pub struct FileKeeper {
    shelf: Arc<Shelf>,
}

struct Shelf {
    data: PathBuf,
    identity: Identity,
    local: Mutex<LocalRegistry>,
    newest: Mutex<Option<SignedProfile>>,
    adopted: Option<Arc<Profile>>,
}

impl FileKeeper {
    /// Keeps what was adopted at the start, and what comes later.
    #[must_use]
    pub fn new(
        data: PathBuf,
        identity: Identity,
        local: LocalRegistry,
        adopted: Option<SignedProfile>,
    ) -> Self {
        let of_start = adopted.as_ref().map(|signed| Arc::new(signed.profile().clone()));
        let shelf = Shelf {
            data,
            identity,
            local: Mutex::new(local),
            newest: Mutex::new(adopted),
            adopted: of_start,
        };
        Self { shelf: Arc::new(shelf) }
    }
}

impl Shelf {
    fn keep(&self, profile: Profile) -> Result<(), ProfileError> {
        let signed = SignedProfile::sign(&self.identity, profile)?;
        signed.save(&self.data)?;
        self.local.lock().unwrap_or_else(PoisonError::into_inner).set_profile(&signed.text())?;
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(signed);
        Ok(())
    }
}

#[async_trait]
impl ProfileKeeper for FileKeeper {
    fn adopted(&self) -> Option<Arc<Profile>> {
        self.shelf.adopted.clone()
    }

    async fn keep(&self, profile: Profile) -> Result<(), String> {
        let shelf = self.shelf.clone();
        match tokio::task::spawn_blocking(move || shelf.keep(profile)).await {
            Ok(kept) => kept.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn kept(&self) -> Option<String> {
        let newest = self.shelf.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.as_ref().map(SignedProfile::text)
    }
}
