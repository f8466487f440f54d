//! The port `VotingFiles`: blocks in files and on devices that the servers share.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use tasuki_actors::ports::{DiskBeat, VotingFileError, VotingFiles};
use tasuki_storage::votes::{Files, VoteError};

/// See the module.
pub struct SystemVotingFiles {
    files: Arc<Files>,
    within: Duration,
}

impl SystemVotingFiles {
    /// Over these files. One exchange may take `within`.
    #[must_use]
    pub fn new(files: Arc<Files>, within: Duration) -> Self {
        Self { files, within }
    }
}

#[async_trait]
impl VotingFiles for SystemVotingFiles {
    async fn exchange(&self, file: &Path, own: &DiskBeat) -> Result<Vec<DiskBeat>, VotingFileError> {
        let own = own.clone();
        let worker = self.files.worker(file).map_err(|error| refused(&error))?;
        let exchange = move |open: &mut tasuki_storage::votes::VotingFile| open.exchange(&own);
        let found = worker.call(self.files.whose(), self.within, exchange).await;
        let found = found.map_err(|error| refused(&error))?;
        Ok(found.into_iter().map(|(_, beat)| beat).collect())
    }

    fn forget(&self, file: &Path) {
        self.files.forget(file);
    }
}

fn refused(error: &VoteError) -> VotingFileError {
    if error.is_unusable() {
        VotingFileError::Foreign(error.to_string())
    } else {
        VotingFileError::Failed(error.to_string())
    }
}
