//! A thread for each voting file: one operation at a time, and after one that does not return in
//! time nothing more until it has, and the file was read back (R18).

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::{Duration, Instant},
};

use tasuki_core::ids::Lineage;
use tokio::sync::oneshot;

use super::{error::VoteError, file::VotingFile};

type Work = Box<dyn FnOnce(&mut Option<VotingFile>) + Send>;

struct Job {
    deadline: Instant,
    work: Work,
}

/// What is under way.
#[derive(Clone, Copy)]
struct Running {
    since: Instant,
    deadline: Instant,
}

/// One voting file with its thread. Ends with the last handle, as soon as the disk lets it.
pub struct Worker {
    path: PathBuf,
    jobs: mpsc::Sender<Job>,
    running: Arc<Mutex<Option<Running>>>,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(path: &Path) -> Result<Self, VoteError> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let running: Arc<Mutex<Option<Running>>> = Arc::default();
        let shared = running.clone();
        let set = move |now| *shared.lock().unwrap_or_else(PoisonError::into_inner) = now;
        let thread = std::thread::Builder::new().name("voting-file".into()).spawn(move || {
            let mut file = None;
            for job in queue {
                let since = Instant::now();
                // Nobody waits any more: what was not begun does not happen.
                if since > job.deadline {
                    continue;
                }
                set(Some(Running { since, deadline: job.deadline }));
                (job.work)(&mut file);
                if Instant::now() > job.deadline {
                    file = None; // opening it again reads back what has become of it
                }
                set(None);
            }
        });
        match thread {
            Ok(_) => Ok(Self { path: path.to_owned(), jobs, running }),
            Err(source) => Err(VoteError::Io { what: "start a thread for", path: path.to_owned(), source }),
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Since when an operation does not return, if one should have.
    #[must_use]
    pub fn stuck(&self) -> Option<Duration> {
        let running = (*self.running.lock().unwrap_or_else(PoisonError::into_inner))?;
        (Instant::now() > running.deadline).then(|| running.since.elapsed())
    }

    /// Does one operation on the open file, which is opened first if it is not.
    ///
    /// # Errors
    /// When the file fails, is not what it should be, or does not answer in time: then the operation
    /// may happen still, and nothing else does before.
    pub async fn call<T: Send + 'static>(
        &self,
        (lineage, slot): (&Lineage, u32),
        within: Duration,
        operation: impl FnOnce(&mut VotingFile) -> Result<T, VoteError> + Send + 'static,
    ) -> Result<T, VoteError> {
        if let Some(since) = self.stuck() {
            return Err(self.no_answer(since));
        }
        let (answer, answered) = oneshot::channel();
        let (path, lineage) = (self.path.clone(), lineage.clone());
        let work = Box::new(move |file: &mut Option<VotingFile>| {
            // One that was made again meanwhile is opened anew.
            let opened = match file.take().filter(|open| open.is_current().is_ok()) {
                Some(open) => Ok(open),
                None => VotingFile::open(&path, &lineage, slot),
            };
            let result = opened.and_then(|mut open| {
                let result = operation(&mut open)?;
                *file = Some(open); // one that failed is opened again
                Ok(result)
            });
            let _ = answer.send(result); // nobody may be waiting any more
        });
        let job = Job { deadline: Instant::now() + within, work };
        if self.jobs.send(job).is_err() {
            return Err(self.no_answer(Duration::ZERO));
        }
        match tokio::time::timeout(within, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(self.no_answer(within)),
        }
    }

    fn no_answer(&self, since: Duration) -> VoteError {
        VoteError::Stuck { path: self.path.clone(), seconds: since.as_secs() }
    }
}
