//! Earlier configurations: how they differ from one another, and the way back to one.

use serde::{Deserialize, Serialize};
use tasuki_core::{config::ClusterConfig, ids::Revision, registry::State};

use super::{
    App, AppError, Caller, Role,
    config::Push,
    difference::unified,
    error::Exit,
    plan::{Plan, Supposed},
    secrets,
};

/// A way back to an earlier configuration, taken or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// In which lines it differs from the present one.
    pub diff: String,
    /// What follows.
    pub plan: Plan,
    /// What each server says.
    pub push: Push,
}

impl App {
    /// The lines in which two configurations differ, as a unified diff; the second is the present one
    /// when not given.
    ///
    /// # Errors
    /// Not allowed, no quorum, or a configuration that is not kept.
    pub async fn config_diff(
        &self,
        by: &Caller,
        from: Revision,
        to: Option<Revision>,
    ) -> Result<String, AppError> {
        by.must_be(Role::Viewer)?;
        let state = self.node.read().await?;
        let old = version(&state, from)?;
        let (new, name) = match to {
            Some(to) => (version(&state, to)?, format!("revision {to}")),
            None => (present(&state)?, "now".to_owned()),
        };
        let (old, new) = (secrets::shown_to(by, &old), secrets::shown_to(by, &new));
        Ok(difference(&old, &new, &format!("revision {from}"), &name))
    }

    /// Shows the way back to an earlier configuration, and takes it when that is `confirmed`: a new
    /// revision with the old wishes. What runs, who owns it and what was counted stays (R35).
    ///
    /// # Errors
    /// Not allowed, no quorum, a configuration that is not kept or that the registry or a server
    /// refuses now.
    pub async fn config_rollback(
        &self,
        by: &Caller,
        revision: Revision,
        confirmed: bool,
    ) -> Result<Rollback, AppError> {
        by.must_be(Role::Admin)?;
        let state = self.node.read().await?;
        let config = version(&state, revision)?;
        let diff = difference(&present(&state)?, &config, "now", &format!("revision {revision}"));
        let text = tasuki_config::to_toml(&config);
        let supposed = Supposed { config: Some(config), ..Supposed::default() };
        let plan = self.plan_forecast(by, &supposed).await?;
        let file = format!("revision {revision}");
        let push = self.config_push(by, &text, &file, !confirmed).await?;
        Ok(Rollback { diff, plan, push })
    }
}

fn difference(old: &ClusterConfig, new: &ClusterConfig, old_name: &str, new_name: &str) -> String {
    unified(&tasuki_config::to_toml(old), &tasuki_config::to_toml(new), old_name, new_name)
}

fn present(state: &State) -> Result<ClusterConfig, AppError> {
    state.config().ok_or_else(|| AppError::Failed("the registry has no configuration yet".to_owned()))
}

/// The configuration that was in force at a revision.
fn version(state: &State, revision: Revision) -> Result<ClusterConfig, AppError> {
    state.version(revision).map(|version| version.config.clone()).ok_or_else(|| {
        let kept: Vec<String> = state.versions.iter().map(|version| version.revision.to_string()).collect();
        AppError::Coded {
            code: "TSK-1725".to_owned(),
            message: format!(
                "no configuration of revision {revision} is kept; those that are came with revisions {}",
                kept.join(", ")
            ),
            remedy: "name one of these; `tasuki history` shows who pushed what".to_owned(),
            exit: Exit::NotFound,
        }
    })
}
