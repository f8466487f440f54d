//! The journal of this server's decisions: written beside the work, read by whoever asks.
//!
//! A decision never waits for the disk: it is handed to a task of its own, which is started with the
//! node and ends with it. Inputs are large; when the disk is slow only so many of them wait, and
//! what was decided meanwhile is kept without its input. A crash may lose the last records: they
//! explain, the truth is in the registry.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tasuki_core::{
    ids::{GroupName, ServerName},
    placement::{
        plan::Decision,
        record::{Decided, RecordedInput},
    },
    registry::{Command, State},
    time::WallTime,
};
use tasuki_storage::{
    StoreError,
    journal::{self, Decisions},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Records that are kept at least, as long as they fit.
const KEEP: usize = 2000;
/// Bytes of one of the two files.
const BYTES: u64 = 32 << 20;
/// Inputs that wait for the disk at most.
const WAITING: usize = 16;
/// The kind of decision that is kept here.
const PLACEMENT: &str = "placement";

/// A round of deciding on its way to the disk.
struct Round {
    at: WallTime,
    input: Option<(Arc<State>, BTreeSet<ServerName>, Duration, OwnedSemaphorePermit)>,
    decisions: Vec<Decision>,
}

/// Where placement leaves what it decided.
#[derive(Debug)]
pub struct Journal {
    rounds: mpsc::UnboundedSender<Round>,
    inputs: Arc<Semaphore>,
}

impl Journal {
    /// Starts the task that writes to `dir`; without one nothing is kept.
    #[must_use]
    pub fn start(dir: Option<PathBuf>) -> Self {
        let (rounds, mut to_write) = mpsc::unbounded_channel::<Round>();
        let Some(dir) = dir else { return Self { rounds, inputs: Arc::new(Semaphore::new(0)) } };
        tokio::spawn(async move {
            let mut open: Option<Decisions> = None;
            while let Some(round) = to_write.recv().await {
                let dir = dir.clone();
                let written = tokio::task::spawn_blocking(move || {
                    let mut journal = match open {
                        Some(journal) => journal,
                        None => Decisions::open(&dir, KEEP)?.at_most(BYTES),
                    };
                    journal.append(record(round)?)?;
                    Ok::<_, StoreError>(journal)
                });
                open = match written.await {
                    Ok(Ok(journal)) => Some(journal),
                    Ok(Err(error)) => {
                        tracing::warn!(%error, "a decision was not kept for replay");
                        None
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the journal of decisions is opened anew");
                        None
                    }
                };
            }
        });
        Self { rounds, inputs: Arc::new(Semaphore::new(WAITING)) }
    }

    /// Keeps a round; never waits.
    pub fn keep(
        &self,
        at: WallTime,
        state: &Arc<State>,
        fit: &BTreeSet<ServerName>,
        since_start: Duration,
        decisions: Vec<Decision>,
    ) {
        let permit = self.inputs.clone().try_acquire_owned().ok();
        let input = permit.map(|permit| (state.clone(), fit.clone(), since_start, permit));
        // The task ends only with the runtime.
        let _ = self.rounds.send(Round { at, input, decisions });
    }
}

fn record(round: Round) -> Result<journal::Decision, StoreError> {
    let Round { at, input, decisions } = round;
    let decisions: Vec<Decided> = decisions.into_iter().map(Decided::from).collect();
    let json = |made: Result<serde_json::Value, serde_json::Error>| {
        made.map_err(|error| StoreError::Io {
            what: "write",
            path: "the journal of decisions".into(),
            source: error.into(),
        })
    };
    let input = input.map(|(state, fit, since_start, _permit)| {
        serde_json::to_value(RecordedInput::of(&state, &fit, since_start))
    });
    Ok(journal::Decision {
        id: 0,
        at,
        kind: PLACEMENT.to_owned(),
        about: about(&decisions),
        input: input.map_or(Ok(serde_json::Value::Null), json)?,
        outcome: json(serde_json::to_value(&decisions))?,
    })
}

/// What a round was about: its groups, when they are few.
fn about(decisions: &[Decided]) -> String {
    let groups: BTreeSet<&GroupName> = decisions.iter().filter_map(|d| group_of(&d.command)).collect();
    match groups.len() {
        0 => "cluster".to_owned(),
        1..=4 => groups.iter().map(|group| format!("group/{group}")).collect::<Vec<_>>().join(" "),
        many => format!("{many} groups"),
    }
}

fn group_of(command: &Command) -> Option<&GroupName> {
    match command {
        Command::Assign { group, .. }
        | Command::Release { group, .. }
        | Command::Finally { group, .. }
        | Command::StartGroup { group, .. } => Some(group),
        _ => None,
    }
}

/// A round of deciding that was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number on the server that decided.
    pub id: u64,
    /// When, by that server's clock.
    pub at: WallTime,
    /// What it was about.
    pub about: String,
    /// What was decided, and why.
    pub decisions: Vec<Decided>,
    /// Its input was kept: it can be decided again.
    pub has_input: bool,
}

/// The last `limit` rounds of the journal in `dir`, oldest first.
///
/// # Errors
/// When the journal cannot be read.
pub fn list(dir: &Path, limit: usize) -> Result<Vec<Entry>, StoreError> {
    let kept = journal::summaries(dir, limit)?;
    let rounds = kept.into_iter().filter(|one| one.kind == PLACEMENT);
    Ok(rounds
        .map(|one| Entry {
            id: one.id,
            at: one.at,
            about: one.about,
            // Decisions of another version that this one cannot read are listed without them.
            decisions: serde_json::from_value(one.outcome).unwrap_or_default(),
            has_input: one.has_input,
        })
        .collect())
}

/// One round with its input, while it is kept.
///
/// # Errors
/// When the journal cannot be read, or another version wrote the record.
pub fn find(dir: &Path, id: u64) -> Result<Option<(Entry, Option<RecordedInput>)>, StoreError> {
    let Some(one) = journal::find(dir, id)?.filter(|one| one.kind == PLACEMENT) else { return Ok(None) };
    let unreadable = |error: serde_json::Error| StoreError::Io {
        what: "understand a record of",
        path: dir.to_owned(),
        source: error.into(),
    };
    let has_input = !one.input.is_null();
    let input = if has_input { Some(serde_json::from_value(one.input).map_err(unreadable)?) } else { None };
    let decisions = serde_json::from_value(one.outcome).map_err(unreadable)?;
    Ok(Some((Entry { id: one.id, at: one.at, about: one.about, decisions, has_input }, input)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tasuki_core::{
        ids::Epoch,
        placement::plan::{Input, decide},
        reason::Reason,
        registry::{Item, state::StartEvent},
    };

    use super::*;

    fn assign(group: &str) -> Decision {
        let (group, server, epoch) = (group.into(), "kiki".into(), Epoch(1));
        let command = Command::Assign { group, server, epoch, event: StartEvent::Start };
        Decision { command, reason: Reason::StillWanted, read: Vec::new() }
    }

    #[tokio::test]
    async fn a_round_is_kept_with_its_input_and_decided_again() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::start(Some(dir.path().to_owned()));
        let state = Arc::new(State::default());
        let fit = BTreeSet::from(["kiki".into()]);
        journal.keep(WallTime(7), &state, &fit, Duration::from_secs(3), vec![assign("web")]);
        let kept = loop {
            match find(dir.path(), 1).unwrap() {
                Some(kept) => break kept,
                None => tokio::task::yield_now().await,
            }
        };
        let (entry, input) = (kept.0, kept.1.unwrap());
        assert_eq!((entry.about.as_str(), entry.at, entry.decisions.len()), ("group/web", WallTime(7), 1));
        assert_eq!((&input.fit, input.since_start), (&fit, Duration::from_secs(3)));
        let again = decide(&Input { state: &state, fit: &fit, since_start: input.since_start });
        assert_eq!(input.decide(), again.into_iter().map(Decided::from).collect::<Vec<_>>());
        assert_eq!(list(dir.path(), 10).unwrap(), [entry]);
    }

    #[tokio::test]
    async fn when_the_disk_is_slow_decisions_are_kept_without_inputs() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::start(Some(dir.path().to_owned()));
        let mut state = State::default();
        let mode = tasuki_core::registry::state::ClusterMode::Running;
        let (created, modified, at) = Default::default();
        state.mode = Some(Item { value: mode, created, modified, at });
        let state = Arc::new(state);
        // The task has had no turn yet: all of these wait.
        for _ in 0..WAITING + 5 {
            journal.keep(WallTime(7), &state, &BTreeSet::new(), Duration::ZERO, vec![assign("web")]);
        }
        let kept = loop {
            match list(dir.path(), 100).unwrap() {
                kept if kept.len() == WAITING + 5 => break kept,
                _ => tokio::task::yield_now().await,
            }
        };
        assert_eq!(kept.iter().filter(|one| one.has_input).count(), WAITING);
        assert!(kept.iter().all(|one| one.decisions.len() == 1));
    }
}
