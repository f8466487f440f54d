//! The tie-break record in the voting files.

use std::{path::PathBuf, sync::Arc};

use tasuki_actors::ports::{RegisterError, Swap};
use tasuki_core::membership::tie_break::Record;
use tasuki_storage::votes::{Files, RegisterFailure, Swapped};

/// See the module.
pub struct FilesRegister {
    files: Arc<Files>,
}

impl std::fmt::Debug for FilesRegister {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FilesRegister").field("whose", &self.files.whose()).finish_non_exhaustive()
    }
}

impl FilesRegister {
    /// Over these files.
    #[must_use]
    pub fn new(files: Arc<Files>) -> Self {
        Self { files }
    }

    pub(super) async fn read(&self, files: &[PathBuf]) -> Result<Option<Record>, RegisterError> {
        self.files.read(files).await.map_err(refused)
    }

    pub(super) async fn swap(
        &self,
        files: &[PathBuf],
        from: Option<&Record>,
        to: &Record,
    ) -> Result<Swap, RegisterError> {
        match self.files.swap(files, from, to).await.map_err(refused)? {
            Swapped::Done => Ok(Swap::Done),
            Swapped::Other(found) => Ok(Swap::Other(found)),
        }
    }
}

fn refused(failure: RegisterFailure) -> RegisterError {
    match failure {
        RegisterFailure::Unusable(why) => RegisterError::Unusable(why),
        RegisterFailure::NoMajority(why) => RegisterError::Unreachable(why),
        RegisterFailure::Unclear => RegisterError::Unreachable(failure.to_string()),
    }
}
