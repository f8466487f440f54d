//! The port `VotingFiles`.

use std::path::Path;

use async_trait::async_trait;
use tasuki_actors::ports::{DiskBeat, VotingFileError, VotingFiles};

/// See the module.
#[derive(Debug, Default)]
pub struct SystemVotingFiles {}

#[async_trait]
impl VotingFiles for SystemVotingFiles {
    async fn exchange(&self, file: &Path, _own: &DiskBeat) -> Result<Vec<DiskBeat>, VotingFileError> {
        Err(VotingFileError::Failed(format!("{} is not served", file.display())))
    }
}
