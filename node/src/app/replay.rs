//! Decisions that were kept, and the same decisions made again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tasuki_actors::journal::{self, Entry};
use tasuki_core::{
    ids::{Revision, ServerName},
    placement::record::Decided,
    time::WallTime,
};

use super::{App, AppError, Caller, Role, error::Exit};

/// The rounds that a list shows when nobody says how many.
pub const SHOWN: usize = 20;

/// One round of deciding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Its number on the server that decided.
    pub id: u64,
    /// When, by that server's clock.
    pub at: WallTime,
    /// What it was about.
    pub about: String,
    /// Its input was kept: it can be decided again.
    pub has_input: bool,
    /// What was decided.
    pub decisions: Vec<DecisionLine>,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionLine {
    /// What.
    pub what: String,
    /// Why.
    pub reason: String,
    /// What it was computed from, as `key@revision`.
    pub read: Vec<String>,
}

/// A round and what comes out of its input now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// As it was kept.
    pub round: Round,
    /// As it comes out now.
    pub again: Vec<DecisionLine>,
    /// Both are the same, to the last reason.
    pub same: bool,
    /// The revision of the registry that it was decided on.
    pub revision: Revision,
    /// The servers whose lease was being renewed.
    pub fit: Vec<ServerName>,
    /// How long that leader had been deciding, milliseconds.
    pub since_start_ms: u64,
}

/// The last rounds in the journal in `dir`, oldest first.
///
/// # Errors
/// When it cannot be read.
pub fn list(dir: &Path, limit: usize) -> Result<Vec<Round>, AppError> {
    let entries = journal::list(dir, limit).map_err(|error| unreadable(&error))?;
    Ok(entries.into_iter().map(round).collect())
}

/// Decides once more on what a round was decided on.
///
/// # Errors
/// When there is no such round, or its input was not kept.
pub fn replay(dir: &Path, id: u64) -> Result<Replay, AppError> {
    let found = journal::find(dir, id).map_err(|error| unreadable(&error))?;
    let (entry, input) = found.ok_or_else(|| AppError::Coded {
        code: "TSK-1722".to_owned(),
        message: format!("this server's journal has no round of deciding with the number {id}"),
        remedy: "`tasuki replay` lists those that are kept; each server keeps what it decided while it led"
            .to_owned(),
        exit: Exit::NotFound,
    })?;
    let input = input.ok_or_else(|| AppError::Coded {
        code: "TSK-1723".to_owned(),
        message: format!("the input of round {id} was not kept: it was too large, or the disk too slow"),
        remedy: "`tasuki replay` shows which rounds can be decided again".to_owned(),
        exit: Exit::Failed,
    })?;
    let again = input.decide();
    Ok(Replay {
        same: again == entry.decisions,
        again: again.iter().map(line).collect(),
        round: round(entry),
        revision: input.state.revision,
        fit: input.fit.into_iter().collect(),
        since_start_ms: u64::try_from(input.since_start.as_millis()).unwrap_or(u64::MAX),
    })
}

impl Replay {
    /// What is said when the same input gives something else.
    ///
    /// # Errors
    /// When it does.
    pub fn verdict(&self) -> Result<(), AppError> {
        if self.same {
            return Ok(());
        }
        Err(AppError::Coded {
            code: "TSK-1724".to_owned(),
            message: format!("round {} comes out differently now", self.round.id),
            remedy: "the server that decided ran another version, or this is a bug: keep the journal and \
                     report it"
                .to_owned(),
            exit: Exit::Failed,
        })
    }
}

fn round(entry: Entry) -> Round {
    Round {
        id: entry.id,
        at: entry.at,
        about: entry.about,
        has_input: entry.has_input,
        decisions: entry.decisions.iter().map(line).collect(),
    }
}

fn line(decided: &Decided) -> DecisionLine {
    DecisionLine {
        what: decided.command.to_string(),
        reason: decided.reason.to_string(),
        read: decided.read.iter().map(|(key, revision)| format!("{key}@{revision}")).collect(),
    }
}

fn unreadable(error: &impl ToString) -> AppError {
    AppError::File(error.to_string())
}

impl App {
    /// The last rounds that this server decided, oldest first, with its name.
    ///
    /// # Errors
    /// Not allowed, or the journal cannot be read.
    pub async fn decision_list(
        &self,
        by: &Caller,
        limit: Option<usize>,
    ) -> Result<(Vec<Round>, ServerName), AppError> {
        by.must_be(Role::Viewer)?;
        let rounds = match self.node.journal() {
            Some(dir) => beside(dir, move |dir| list(dir, limit.unwrap_or(SHOWN))).await?,
            None => Vec::new(),
        };
        Ok((rounds, self.node.status().server))
    }

    /// Decides once more on what a round of this server was decided on.
    ///
    /// # Errors
    /// Not allowed, no such round, or its input was not kept.
    pub async fn decision_replay(&self, by: &Caller, id: u64) -> Result<Replay, AppError> {
        by.must_be(Role::Viewer)?;
        let dir = self.node.journal().unwrap_or_default();
        beside(dir, move |dir| replay(dir, id)).await
    }
}

/// Files are read where they hold nobody up.
async fn beside<T: Send + 'static>(
    dir: PathBuf,
    read: impl FnOnce(&Path) -> Result<T, AppError> + Send + 'static,
) -> Result<T, AppError> {
    tokio::task::spawn_blocking(move || read(&dir))
        .await
        .map_err(|error| AppError::Failed(format!("reading the journal: {error}")))?
}
