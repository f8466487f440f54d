//! `tasuki config diff | rollback`

use tasuki_proto::v1::{self as wire, config_client::ConfigClient};

use super::{
    Context,
    connect::{answered, unreadable},
    output::Style,
    plan,
};
use crate::{
    app::{AppError, error::Exit, versions::Rollback},
    edge::grpc::convert_plan,
};

pub(super) async fn diff(context: &Context, from: u64, to: Option<u64>) -> Result<(), AppError> {
    let mut client = ConfigClient::new(context.connect().await?);
    let request = wire::DiffConfigRequest { from, to: to.unwrap_or(0) };
    let text = client.diff(request).await.map_err(answered)?.into_inner().text;
    context.out.show(&serde_json::json!({ "diff": text }), |_| painted(&text, context.out.color))
}

/// A unified diff with its lines in colours.
fn painted(diff: &str, color: bool) -> String {
    if diff.is_empty() {
        return "no difference".to_owned();
    }
    let paint = |line: &str| {
        let style = match line.as_bytes().first() {
            _ if line.starts_with("---") || line.starts_with("+++") => Style::Bold,
            Some(b'-') => Style::Bad,
            Some(b'+') => Style::Good,
            Some(b'@') => Style::Dim,
            _ => Style::Plain,
        };
        style.paint(line, color)
    };
    diff.lines().map(paint).collect::<Vec<_>>().join("\n")
}

pub(super) async fn rollback(context: &Context, revision: u64, yes: bool) -> Result<(), AppError> {
    let mut client = ConfigClient::new(context.connect().await?);
    let request = |confirmed| wire::RollbackConfigRequest { revision, confirmed };
    let answer = client.rollback(request(false)).await.map_err(answered)?.into_inner();
    let planned = convert_plan::rollback_in(answer).map_err(unreadable)?;
    if !yes {
        context.out.show(&planned, |planned| shown(planned, context.out.color))?;
        return Err(AppError::Coded {
            code: "TSK-1727".to_owned(),
            message: format!("nothing was changed: going back to revision {revision} was not confirmed"),
            remedy: "say --yes if this is what you want".to_owned(),
            exit: Exit::Usage,
        });
    }
    if !context.out.json {
        context.out.text(&shown(&planned, context.out.color))?;
        context.out.text("")?;
    }
    let answer = client.rollback(request(true)).await.map_err(answered)?.into_inner();
    let done = convert_plan::rollback_in(answer).map_err(unreadable)?;
    context.out.show(&done, |done| super::config::pushed(&done.push, context.out.color))
}

fn shown(rollback: &Rollback, color: bool) -> String {
    format!("{}\n\n{}", painted(&rollback.diff, color), plan::steps(&rollback.plan, color))
}
