//! The service layer's port `Votes`: looks at voting files, makes them, and takes them out of use.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tasuki_actors::ports::DiskBeat;
use tasuki_core::ids::Lineage;
use tasuki_storage::votes::{Examined, Files, Overwrite, Owner, VoteError, create, examine, retire};

use crate::app::{
    votes::{BlockView, VoteView, Votes},
    wall_now,
};

/// One look, and making one file, may take this long.
const WITHIN: Duration = Duration::from_secs(5);

/// See the module.
pub struct SystemVotes {
    files: Arc<Files>,
}

impl SystemVotes {
    /// Over these files.
    #[must_use]
    pub fn new(files: Arc<Files>) -> Self {
        Self { files }
    }

    fn lineage(&self) -> Lineage {
        self.files.whose().0.clone()
    }
}

/// What blocks runs aside; a disk that does not answer is given up.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    match tokio::time::timeout(WITHIN, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("does not answer within {} s", WITHIN.as_secs())),
    }
}

#[async_trait]
impl Votes for SystemVotes {
    async fn look(&self, path: &Path) -> VoteView {
        let mut view = VoteView { path: path.to_owned(), ..VoteView::default() };
        let began = Instant::now();
        let peeked = match self.files.worker(path) {
            Ok(worker) => worker.call(self.files.whose(), WITHIN, |file| file.peek::<DiskBeat>()).await,
            Err(error) => Err(error),
        };
        match peeked {
            Ok((header, beats)) => {
                view.online = true;
                view.id = header.id.to_string();
                view.blocks = beats.into_iter().map(block).collect();
            }
            Err(error @ VoteError::Stuck { .. }) => view.problem = error.to_string(),
            Err(error) => {
                view.problem = error.to_string();
                self.files.forget(path);
                // It is none of ours: what is it then?
                let place = path.to_owned();
                match aside(move || examine(&place)).await {
                    Ok(Ok(Examined::Absent)) => {
                        view.blank = true;
                        view.problem = "is not there".to_owned();
                    }
                    Ok(Ok(Examined::Blank)) => view.blank = true,
                    Ok(Ok(Examined::Voting(header))) => {
                        view.blank = header.retired;
                        view.id = header.id.to_string();
                    }
                    Ok(Ok(Examined::Unknown)) => {}
                    Ok(Err(error)) => view.problem = error.to_string(),
                    Err(why) => view.problem = why,
                }
            }
        }
        view.latency_micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        view
    }

    async fn make(&self, path: &Path, cluster: &str, force: bool) -> Result<String, String> {
        let owner = Owner { lineage: self.lineage(), cluster: cluster.to_owned() };
        let overwrite = if force { Overwrite::Anything } else { Overwrite::Own };
        let place = path.to_owned();
        let made = aside(move || create(&place, &owner, wall_now(), overwrite)).await?;
        made.map(|header| header.id.to_string()).map_err(|error| error.to_string())
    }

    async fn settle(&self, old: &[PathBuf], new: &[PathBuf]) -> Result<(), String> {
        self.files.settle(old, new).await.map_err(|failure| failure.to_string())
    }

    async fn retire(&self, path: &Path) {
        let (place, lineage) = (path.to_owned(), self.lineage());
        let retired = aside(move || retire(&place, &lineage)).await;
        if let Err(why) | Ok(Err(why)) = retired.map(|done| done.map_err(|error| error.to_string())) {
            tracing::warn!(file = %path.display(), %why, "the voting file could not be marked as out of use");
        }
        self.files.forget(path);
    }
}

fn block((slot, beat): (u32, DiskBeat)) -> BlockView {
    BlockView { slot, server: beat.server, incarnation: beat.incarnation, sequence: beat.seq }
}
