//! The cluster configuration: checked everywhere before it changes anything.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tasuki_core::{
    config::{ClusterConfig, instances::units},
    ids::{Revision, ServerName},
    registry::{Author, Command, Key, Proposal, Reply, State, apply},
};

use super::{
    App, AppError, Caller, Role, error::Problem, joins::addresses_of, ports::LocalCheck, secrets, wall_now,
};

/// How long a server is given to apply a configuration before it is shown as behind.
const APPLY_WITHIN: Duration = Duration::from_secs(5);

/// What a push did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// The revision that it made; `None` after a dry run.
    pub revision: Option<Revision>,
    /// Each server's answer, by number.
    pub servers: Vec<ServerPush>,
    /// Warnings about the configuration itself.
    pub warnings: Vec<Problem>,
}

/// What one server said to a new configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerPush {
    /// Which server.
    pub server: ServerName,
    /// Its answer.
    pub result: PushResult,
    /// In words.
    pub detail: String,
}

/// One server's answer to a new configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PushResult {
    /// It has applied it.
    Applied,
    /// It has checked it (dry run).
    Checked,
    /// It could not be asked; it applies it when it is back.
    Unreachable,
    /// It has not joined yet.
    NotJoined,
    /// It cannot work with it.
    Refused,
    /// It answers but has not applied it yet.
    Behind,
}

impl App {
    /// Finds the mistakes in a configuration, its relation to the present one included.
    ///
    /// # Errors
    /// Only when the caller may not: mistakes are the answer.
    pub fn config_check(&self, by: &Caller, text: &str, file: &str) -> Result<Vec<Problem>, AppError> {
        by.must_be(Role::Viewer)?;
        Ok(match parse(text, file) {
            Ok((config, mut problems)) => {
                if let Err(refused) = would_accept(&self.applied(), by, Command::SetConfig { config }) {
                    problems.push(refused_problem(&refused, file));
                }
                problems
            }
            Err(AppError::Config(problems)) => problems,
            Err(other) => return Err(other),
        })
    }

    /// Checks a configuration here and on every server that can be asked, and makes it the
    /// cluster's. If one server says that it cannot work with it, nothing changes anywhere; a
    /// server that cannot be asked does not hold the others up.
    ///
    /// # Errors
    /// Not allowed, mistakes, a server's refusal, no quorum.
    pub async fn config_push(
        &self,
        by: &Caller,
        text: &str,
        file: &str,
        dry_run: bool,
    ) -> Result<Push, AppError> {
        by.must_be(Role::Admin)?;
        let (config, warnings) = parse(text, file)?;
        let state = self.node.read().await?;
        super::votes::same_files(&state, &config)?;
        self.adopt(by, &state, config, warnings, dry_run, Vec::new()).await
    }

    /// Has every server check a configuration, then proposes it. `read` is what it was computed
    /// from (R12): nothing for a file, [`Key::Configuration`] for an edit of the present one.
    pub(super) async fn adopt(
        &self,
        by: &Caller,
        state: &State,
        config: ClusterConfig,
        warnings: Vec<Problem>,
        dry_run: bool,
        read: Vec<(Key, Revision)>,
    ) -> Result<Push, AppError> {
        let command = Command::SetConfig { config: config.clone() };
        self.adopt_by(by, state, config, warnings, dry_run, read, command).await
    }

    /// As [`App::adopt`], by another command than a plain push.
    #[expect(clippy::too_many_arguments, reason = "a configuration, and all that is known of it")]
    pub(super) async fn adopt_by(
        &self,
        by: &Caller,
        state: &State,
        config: ClusterConfig,
        warnings: Vec<Problem>,
        dry_run: bool,
        read: Vec<(Key, Revision)>,
        command: Command,
    ) -> Result<Push, AppError> {
        would_accept(state, by, command.clone())?;
        let text = tasuki_config::to_toml(&config);
        let checked = self.ask_all(state, &config, &text, Revision(0)).await;
        let refused: Vec<String> = checked
            .iter()
            .filter(|push| push.result == PushResult::Refused)
            .map(|push| format!("{}: {}", push.server, push.detail))
            .collect();
        if !refused.is_empty() {
            return Err(AppError::ConfigElsewhere(refused.join("; ")));
        }
        if dry_run {
            return Ok(Push { revision: None, servers: checked, warnings });
        }
        let accepted = self.propose_on(by, command, read).await?;
        // Where they were before: a server that moves opens its new place first, and closes the old
        // one only at its next start.
        let servers = self.ask_all(state, &config, "", accepted.revision).await;
        Ok(Push { revision: Some(accepted.revision), servers, warnings })
    }

    /// The present configuration and the revision that was read.
    ///
    /// # Errors
    /// Not allowed, no quorum.
    pub async fn config_show(&self, by: &Caller) -> Result<(ClusterConfig, Revision), AppError> {
        by.must_be(Role::Viewer)?;
        let state = self.node.read().await?;
        let config = state
            .config()
            .ok_or_else(|| AppError::Failed("the registry has no configuration yet".to_owned()))?;
        Ok((secrets::shown_to(by, &config), state.revision))
    }

    /// What only this server can know about a configuration; waits until `wait_for` is applied
    /// here, or a few seconds.
    ///
    /// # Errors
    /// Not allowed, or the text is not a configuration.
    pub async fn config_check_here(
        &self,
        by: &Caller,
        text: &str,
        wait_for: Revision,
    ) -> Result<LocalCheck, AppError> {
        by.must_be(Role::Viewer)?;
        let problems = if text.is_empty() { Vec::new() } else { self.problems_here(&parse(text, "")?.0) };
        let mut states = self.node.watch();
        // An answer after the time is up is an answer too: it says how far this server is.
        let _ = tokio::time::timeout(APPLY_WITHIN, states.wait_for(|s| s.revision >= wait_for)).await;
        let revision = states.borrow().revision;
        Ok(LocalCheck { revision, problems })
    }

    /// Scripts that groups and resources of this server need and that are not here.
    fn problems_here(&self, config: &ClusterConfig) -> Vec<String> {
        let here = self.node.status().server;
        let mut mine = config.clone();
        mine.groups = units(config);
        mine.groups.retain(|_, unit| unit.servers.contains(&here));
        mine.resources.clear();
        scripts_missing(&mine, &self.scripts)
    }

    async fn ask_all(
        &self,
        state: &State,
        config: &ClusterConfig,
        text: &str,
        wait_for: Revision,
    ) -> Vec<ServerPush> {
        let here = self.node.status().server;
        let questions = config.runners().into_iter().map(|(server, _)| {
            let here = here.clone();
            async move {
                let answer = if *server == here {
                    Some(self.check_this(config, text, wait_for).await)
                } else if state.presence(server).is_none() {
                    None
                } else {
                    let port = state.settings.as_ref().map_or(0, |settings| settings.value.port);
                    let addresses = addresses_of(state, server);
                    Some(self.fleet.check_there(server, &addresses, port, text, wait_for).await)
                };
                answer_of(server, answer, wait_for)
            }
        });
        futures::future::join_all(questions).await
    }

    async fn check_this(
        &self,
        config: &ClusterConfig,
        text: &str,
        wait_for: Revision,
    ) -> Result<LocalCheck, String> {
        let problems = if text.is_empty() { Vec::new() } else { self.problems_here(config) };
        let mut states = self.node.watch();
        let _ = tokio::time::timeout(APPLY_WITHIN, states.wait_for(|s| s.revision >= wait_for)).await;
        let revision = states.borrow().revision;
        Ok(LocalCheck { revision, problems })
    }
}

fn answer_of(
    server: &ServerName,
    answer: Option<Result<LocalCheck, String>>,
    wait_for: Revision,
) -> ServerPush {
    let (result, detail) = match answer {
        None => (PushResult::NotJoined, "has not joined; it gets the configuration when it does".to_owned()),
        Some(Err(why)) => (PushResult::Unreachable, format!("{why}; it applies it when it is back")),
        Some(Ok(check)) if !check.problems.is_empty() => (PushResult::Refused, check.problems.join("; ")),
        Some(Ok(_)) if wait_for == Revision(0) => (PushResult::Checked, "can work with it".to_owned()),
        Some(Ok(check)) if check.revision >= wait_for => {
            (PushResult::Applied, format!("applied, revision {}", check.revision))
        }
        Some(Ok(check)) => (PushResult::Behind, format!("is at revision {} still", check.revision)),
    };
    ServerPush { server: server.clone(), result, detail }
}

/// Whether the registry would take it: the very function that will decide, on a copy.
fn would_accept(state: &State, by: &Caller, command: Command) -> Result<(), AppError> {
    let proposal = Proposal {
        id: None,
        author: Author::Operator(by.name.clone()),
        at: wall_now(),
        lineage: state.lineage.clone(),
        read: Vec::new(),
        reason: None,
        command,
    };
    match apply(&mut state.clone(), &proposal) {
        Reply::Applied { .. } => Ok(()),
        Reply::Refused(refusal) => Err(AppError::Refused(refusal)),
    }
}

fn refused_problem(refused: &AppError, file: &str) -> Problem {
    Problem {
        code: refused.code().to_owned(),
        file: file.to_owned(),
        message: refused.to_string(),
        remedy: refused.remedy().to_owned(),
        rendered: format!("error[{}]: {refused}\n  = remedy: {}", refused.code(), refused.remedy()),
        ..Problem::default()
    }
}

/// Reads a configuration; its warnings come with it.
///
/// # Errors
/// Every mistake in it.
pub fn parse(text: &str, file: &str) -> Result<(ClusterConfig, Vec<Problem>), AppError> {
    match tasuki_config::parse(text, file) {
        Ok(loaded) => Ok((loaded.config, loaded.warnings.iter().map(problem).collect())),
        Err(errors) => Err(AppError::Config(errors.problems().iter().map(problem).collect())),
    }
}

/// A problem of the configuration crate, as faces show it.
#[must_use]
pub fn problem(from: &tasuki_config::Problem) -> Problem {
    let place = |place: Option<usize>| place.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    Problem {
        code: from.code.to_string(),
        file: from.file.clone(),
        line: place(from.line),
        column: place(from.column),
        message: from.message.clone(),
        remedy: from.remedy.clone(),
        warning: from.code.is_warning(),
        rendered: from.render(false),
    }
}

fn scripts_missing(config: &ClusterConfig, base: &std::path::Path) -> Vec<String> {
    match tasuki_config::check_scripts(config, base) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.problems().iter().map(in_one_line).collect(),
    }
}

/// A mistake that only this server has, with what it found there and what to do.
fn in_one_line(problem: &tasuki_config::Problem) -> String {
    let found = problem.found.as_ref().map(|found| format!(": {found}")).unwrap_or_default();
    format!("{}{found} ({}); {}", problem.message, problem.code, problem.remedy)
}
