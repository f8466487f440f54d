//! `tasuki config check | push | show`; `diff` and `rollback` are in a file of their own.

use std::path::Path;

use serde_json::json;
use tasuki_proto::v1::{self as wire, config_client::ConfigClient};

use super::{
    Context,
    args::ConfigVerb,
    connect::{answered, unreadable},
    output::{Cell, Style, table},
    versions,
};
use crate::{
    app::{
        AppError,
        config::{Push, PushResult, problem},
        error::Problem,
    },
    edge::grpc::convert,
};

pub(super) async fn perform(context: &Context, verb: ConfigVerb) -> Result<(), AppError> {
    match verb {
        ConfigVerb::Check { file, no_scripts } => check(context, &file, no_scripts),
        ConfigVerb::Push { file, dry_run } => push(context, &file, dry_run).await,
        ConfigVerb::Diff { from, to } => versions::diff(context, from, to).await,
        ConfigVerb::Rollback { revision, yes } => versions::rollback(context, revision, yes).await,
        ConfigVerb::Show => {
            let mut client = ConfigClient::new(context.connect().await?);
            let answer = client.show(wire::ShowConfigRequest {}).await.map_err(answered)?.into_inner();
            let config: serde_json::Value = serde_json::from_str(&answer.config_json)
                .map_err(|error| AppError::Failed(format!("the node's answer cannot be read: {error}")))?;
            context.out.show(&config, |_| answer.text)
        }
    }
}

/// Reads a configuration file as the node would; every mistake is an error of its own.
pub(super) fn load(context: &Context, file: &Path) -> Result<tasuki_config::Loaded, AppError> {
    tasuki_config::load(file).map_err(|errors| mistakes(context, &errors))
}

fn mistakes(context: &Context, errors: &tasuki_config::ConfigErrors) -> AppError {
    AppError::Config(errors.problems().iter().map(|one| painted(context, one)).collect())
}

fn painted(context: &Context, one: &tasuki_config::Problem) -> Problem {
    Problem { rendered: one.render(context.out.color), ..problem(one) }
}

fn check(context: &Context, file: &Path, no_scripts: bool) -> Result<(), AppError> {
    let loaded = load(context, file)?;
    let mut warnings: Vec<Problem> = loaded.warnings.iter().map(|one| painted(context, one)).collect();
    if !no_scripts {
        let base = file.parent().unwrap_or(Path::new("."));
        loaded.check_scripts(base).map_err(|errors| mistakes(context, &errors))?;
        warnings.extend(
            tasuki_config::host_warnings(&loaded.config, Path::new("/dev/watchdog"))
                .iter()
                .map(|one| painted(context, one)),
        );
        let can_freeze = tasuki_system::confinement::machine_can_freeze();
        let frozen = tasuki_config::freezer_warning(&loaded.config, can_freeze);
        warnings.extend(frozen.iter().map(|one| painted(context, one)));
    }
    let config = &loaded.config;
    let value = json!({
        "cluster": config.settings.name,
        "servers": config.servers.keys().collect::<Vec<_>>(),
        "groups": config.groups.keys().collect::<Vec<_>>(),
        "warnings": warnings,
    });
    context.out.show(&value, |_| {
        let mut text = String::new();
        for warning in &warnings {
            text.push_str(&warning.rendered);
            text.push_str("\n\n");
        }
        text.push_str(&format!(
            "{}: no mistakes; cluster {} with {} servers and {} groups",
            file.display(),
            config.settings.name,
            config.servers.len(),
            config.groups.len()
        ));
        text
    })
}

async fn push(context: &Context, file: &Path, dry_run: bool) -> Result<(), AppError> {
    // Read here first: mistakes have their place in the file, and relative paths mean what they
    // mean beside it.
    let loaded = load(context, file)?;
    for warning in &loaded.warnings {
        context.out.say(&format!("{}\n", warning.render(context.out.color)));
    }
    let request = wire::PushConfigRequest {
        text: tasuki_config::to_toml(&loaded.config),
        file: file.display().to_string(),
        dry_run,
    };
    let mut client = ConfigClient::new(context.connect().await?);
    let answer = client.push(request).await.map_err(answered)?.into_inner();
    show_push(context, answer)
}

/// Shows what became of a new configuration.
pub(super) fn show_push(context: &Context, answer: wire::PushConfigResponse) -> Result<(), AppError> {
    let push = convert::push_in(answer).map_err(unreadable)?;
    context.out.show(&push, |push| pushed(push, context.out.color))
}

/// What each server said to a configuration.
pub(super) fn pushed(push: &Push, color: bool) -> String {
    let rows: Vec<Vec<Cell>> = push
        .servers
        .iter()
        .map(|server| {
            let (word, style) = match server.result {
                PushResult::Applied => ("applied", Style::Good),
                PushResult::Checked => ("checked", Style::Good),
                PushResult::Unreachable => ("unreachable", Style::Bad),
                PushResult::NotJoined => ("not joined", Style::Dim),
                PushResult::Refused => ("refused", Style::Bad),
                PushResult::Behind => ("behind", Style::Warn),
            };
            vec![server.server.as_str().into(), Cell::new(word, style), server.detail.as_str().into()]
        })
        .collect();
    let text = table(&["SERVER", "RESULT", "DETAIL"], &rows, color);
    match push.revision {
        Some(revision) => format!("{text}\nthe configuration is revision {revision}"),
        None => format!("{text}\nnothing was changed (dry run)"),
    }
}
