//! The tie-break record in the voting files: [`super::paxos`] driven over them.
//!
//! What is decided names the files that the register lives in, its *home*. Moving it to other files
//! is a decision in the old home; whoever still begins there is sent on. So there is one register at
//! every moment, whatever a server's configuration says.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, Hasher as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use serde::{Deserialize, Serialize};
use tasuki_core::{ids::Lineage, membership::tie_break::Record};

use super::{
    error::VoteError,
    paxos::{Action, Block, Decided, Event, Outcome, Round, Task},
    worker::Worker,
};

/// A register that was moved is looked for in so many places.
const HOPS: usize = 8;

/// What is decided in the voting files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The files that the register lives in, in order of their names.
    pub home: Vec<PathBuf>,
    /// The record; none was made yet otherwise.
    pub record: Option<Record>,
}

/// Why nothing is known of the register.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterFailure {
    /// No majority of the files answers.
    #[error("{0}")]
    NoMajority(String),
    /// They answer, and are not what they should be.
    #[error("{0}")]
    Unusable(String),
    /// Others changed it meanwhile, and what became of the own value is not known.
    #[error("others changed the record meanwhile")]
    Unclear,
}

/// What became of a swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swapped {
    /// It is there.
    Done,
    /// Something else was there.
    Other(Option<Record>),
}

/// All voting files that one server uses, each with its thread.
pub struct Files {
    lineage: Lineage,
    slot: u32,
    within: Duration,
    workers: Mutex<BTreeMap<PathBuf, Arc<Worker>>>,
    /// One operation at a time: a server has one block.
    turn: tokio::sync::Mutex<()>,
}

impl Files {
    /// For the server of one slot. A single operation on a file may take `within`.
    #[must_use]
    pub fn new(lineage: Lineage, slot: u32, within: Duration) -> Self {
        let (workers, turn) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { lineage, slot, within, workers, turn }
    }

    /// The file's thread, started if need be.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn worker(&self, path: &Path) -> Result<Arc<Worker>, VoteError> {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(worker) = workers.get(path) {
            return Ok(worker.clone());
        }
        let worker = Arc::new(Worker::start(path)?);
        workers.insert(path.to_owned(), worker.clone());
        Ok(worker)
    }

    /// Lets go of a file. An operation that does not return is waited for by its thread, and a file
    /// that is used again before then starts with reading back.
    pub fn forget(&self, path: &Path) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        if workers.get(path).is_some_and(|worker| worker.stuck().is_none()) {
            workers.remove(path);
        }
    }

    /// For which registry, and as whom.
    #[must_use]
    pub fn whose(&self) -> (&Lineage, u32) {
        (&self.lineage, self.slot)
    }

    /// How long one operation may take.
    #[must_use]
    pub fn within(&self) -> Duration {
        self.within
    }

    /// The record, wherever it was moved to.
    ///
    /// # Errors
    /// When no majority of the files answers.
    pub async fn read(&self, files: &[PathBuf]) -> Result<Option<Record>, RegisterFailure> {
        let _turn = self.turn.lock().await;
        let (_, found) = self.find(files).await?;
        Ok(found.and_then(|decided| decided.proposal.value.record))
    }

    /// Puts `to` in the place of `from`.
    ///
    /// # Errors
    /// When no majority of the files answers, or it is not known what became of it: read it.
    pub async fn swap(
        &self,
        files: &[PathBuf],
        from: Option<&Record>,
        to: &Record,
    ) -> Result<Swapped, RegisterFailure> {
        let _turn = self.turn.lock().await;
        for _ in 0..HOPS {
            let (home, found) = self.find(files).await?;
            let now = found.map(|decided| decided.proposal.value);
            let record = now.as_ref().and_then(|kept| kept.record.clone());
            if record.as_ref() != from {
                return Ok(Swapped::Other(record));
            }
            let to = Kept { home: home.clone(), record: Some(to.clone()) };
            if self.put(&home, now, to).await?.is_some() {
                return Ok(Swapped::Done);
            }
        }
        Err(RegisterFailure::Unclear)
    }

    /// Moves the register to other files. All of them must answer.
    ///
    /// # Errors
    /// When a majority of the old ones, or one of the new ones, does not answer.
    pub async fn settle(&self, old: &[PathBuf], new: &[PathBuf]) -> Result<(), RegisterFailure> {
        let _turn = self.turn.lock().await;
        let target = sorted(new);
        for _ in 0..HOPS {
            let (home, found) = self.find(old).await?;
            let now = found.clone().map(|decided| decided.proposal.value);
            let decided = if home == target {
                // Nothing was ever decided: blank files are as good as these.
                let Some(decided) = found else { return Ok(()) };
                decided
            } else {
                let record = now.as_ref().and_then(|kept| kept.record.clone());
                let to = Kept { home: target.clone(), record };
                let Some(decided) = self.put(&home, now, to).await? else { continue };
                decided
            };
            return self.adopt(&target, &decided, target.len()).await;
        }
        Err(RegisterFailure::Unclear)
    }

    /// Where the register is, and what is decided there.
    async fn find(
        &self,
        files: &[PathBuf],
    ) -> Result<(Vec<PathBuf>, Option<Decided<Kept>>), RegisterFailure> {
        let mut home = sorted(files);
        for _ in 0..HOPS {
            let found = match self.run(&home, Task::Read).await? {
                Outcome::Is(found) => found,
                Outcome::Swapped(_) | Outcome::Unclear | Outcome::NoMajority => {
                    return Err(RegisterFailure::Unclear);
                }
            };
            let Some(decided) = found else { return Ok((home, None)) };
            let next = decided.proposal.value.home.clone();
            if next == home {
                return Ok((home, Some(decided)));
            }
            // Whoever moved it may have fallen before the new files knew of it.
            let known = match self.run(&next, Task::Read).await? {
                Outcome::Is(Some(there)) => there.version >= decided.version,
                _ => false,
            };
            if !known {
                self.adopt(&next, &decided, next.len() / 2 + 1).await?;
            }
            home = next;
        }
        Err(RegisterFailure::Unclear)
    }

    async fn put(
        &self,
        home: &[PathBuf],
        from: Option<Kept>,
        to: Kept,
    ) -> Result<Option<Decided<Kept>>, RegisterFailure> {
        match self.run(home, Task::Swap { from, to, nonce: random() }).await? {
            Outcome::Swapped(decided) => Ok(Some(decided)),
            Outcome::Is(_) => Ok(None),
            Outcome::Unclear | Outcome::NoMajority => Err(RegisterFailure::Unclear),
        }
    }

    /// Tells files what is decided elsewhere.
    async fn adopt(
        &self,
        files: &[PathBuf],
        decided: &Decided<Kept>,
        need: usize,
    ) -> Result<(), RegisterFailure> {
        let told = files.iter().map(|file| async move {
            let (slot, decided) = (self.slot, decided.clone());
            let worker = self.worker(file)?;
            let tell = worker.call(self.whose(), self.within, move |file| {
                let own = file.register::<Kept>(None)?.remove(&slot).unwrap_or_default();
                if own.version() <= decided.version {
                    file.register(Some(&Block { decided: Some(decided), ..Block::default() }))?;
                }
                Ok(())
            });
            tell.await
        });
        let told = join_all(told).await;
        let count = told.iter().filter(|told| told.is_ok()).count();
        if count >= need { Ok(()) } else { Err(failure(told.iter().filter_map(|told| told.as_ref().err()))) }
    }

    /// Runs one operation over these files.
    async fn run(&self, files: &[PathBuf], task: Task<Kept>) -> Result<Outcome<Kept>, RegisterFailure> {
        let mut round = Round::new(self.slot, files.len(), task);
        let mut errors: BTreeMap<usize, VoteError> = BTreeMap::new();
        let mut under_way = FuturesUnordered::new();
        let mut todo = round.start();
        loop {
            let mut wait = None;
            for action in todo.drain(..) {
                match action {
                    Action::Done(Outcome::NoMajority) => return Err(failure(errors.values())),
                    Action::Done(outcome) => return Ok(outcome),
                    Action::Wait { attempt } => wait = Some(attempt),
                    Action::Access { file, step, write } => {
                        let path = files.get(file).cloned().unwrap_or_default();
                        under_way.push(async move {
                            let answer = match self.worker(&path) {
                                Ok(worker) => {
                                    let access =
                                        move |open: &mut super::VotingFile| open.register(write.as_ref());
                                    worker.call(self.whose(), self.within, access).await
                                }
                                Err(error) => Err(error),
                            };
                            (file, step, answer)
                        });
                    }
                }
            }
            if let Some(attempt) = wait {
                let most = 20_u64 << attempt.min(5);
                tokio::time::sleep(Duration::from_millis(2 + random() % most)).await;
                todo = round.on(Event::Again);
                continue;
            }
            todo = match under_way.next().await {
                Some((file, step, Ok(blocks))) => round.on(Event::Answered { file, step, blocks }),
                Some((file, step, Err(error))) => {
                    errors.insert(file, error);
                    round.on(Event::Failed { file, step })
                }
                None => return Err(failure(errors.values())),
            };
        }
    }
}

/// Unusable when a file says so: waiting for the others does not make it right.
fn failure<'a>(errors: impl Iterator<Item = &'a VoteError>) -> RegisterFailure {
    let errors: Vec<&VoteError> = errors.collect();
    let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let text = if text.is_empty() { "there are no voting files".to_owned() } else { text.join("; ") };
    if !errors.is_empty() && errors.iter().all(|error| error.is_unusable()) {
        RegisterFailure::Unusable(text)
    } else {
        RegisterFailure::NoMajority(text)
    }
}

fn sorted(files: &[PathBuf]) -> Vec<PathBuf> {
    let mut files = files.to_vec();
    files.sort();
    files.dedup();
    files
}

/// Not for secrets: names proposals, and keeps two proposers from waiting in step.
fn random() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests;
