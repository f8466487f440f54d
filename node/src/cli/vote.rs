//! `tasuki vote list | check | add | remove | replace`

use std::path::{Path, PathBuf};

use tasuki_proto::v1::{self as wire, vote_client::VoteClient};

use super::{
    Context,
    args::VoteVerb,
    config,
    connect::answered,
    output::{Cell, Style, table},
};
use crate::{
    app::{AppError, votes::VoteView},
    edge::grpc::convert,
};

pub(super) async fn perform(context: &Context, verb: VoteVerb) -> Result<(), AppError> {
    let mut client = VoteClient::new(context.connect().await?);
    let pushed = match verb {
        VoteVerb::List => {
            let answer = client.list(wire::ListVotesRequest {}).await.map_err(answered)?.into_inner();
            let files: Vec<VoteView> = answer.files.into_iter().map(convert::vote_in).collect();
            return context.out.show(&files, |files| list(files, context.out.color));
        }
        VoteVerb::Check => {
            let answer = client.check(wire::CheckVotesRequest {}).await.map_err(answered)?.into_inner();
            let files: Vec<VoteView> = answer.files.into_iter().map(convert::vote_in).collect();
            return context.out.show(&files, |files| check(files, context.out.color));
        }
        VoteVerb::Add { files, force, edit } => {
            let request = wire::AddVotesRequest { paths: texts(&files), force, dry_run: edit.dry_run };
            client.add(request).await
        }
        VoteVerb::Remove { files, yes, edit } => {
            let (paths, dry_run) = (texts(&files), edit.dry_run);
            client.remove(wire::RemoveVotesRequest { paths, acknowledged: yes, dry_run }).await
        }
        VoteVerb::Replace { old, new, force, edit } => {
            let (old_path, new_path) = (text(&old), text(&new));
            client
                .replace(wire::ReplaceVoteRequest { old_path, new_path, force, dry_run: edit.dry_run })
                .await
        }
    };
    config::show_push(context, pushed.map_err(answered)?.into_inner())
}

/// What is not from the root means a place below the folder that the command is said in.
fn text(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

fn texts(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| text(path)).collect()
}

fn state(file: &VoteView) -> Cell {
    match (file.online, file.lost) {
        (true, _) => Cell::new("ONLINE", Style::Good),
        (false, true) => Cell::new("LOST", Style::Bad),
        (false, false) => Cell::new("OFFLINE", Style::Bad),
    }
}

fn micros(file: &VoteView) -> String {
    if file.online { format!("{:.1} ms", Millis(file.latency_micros).value()) } else { "-".to_owned() }
}

struct Millis(u64);

impl Millis {
    fn value(&self) -> f64 {
        std::time::Duration::from_micros(self.0).as_secs_f64() * 1000.0
    }
}

fn last(file: &VoteView) -> String {
    file.last_millis.map_or_else(|| "never".to_owned(), |millis| format!("{millis} ms ago"))
}

/// Voting files, a line each, as one server finds them.
#[must_use]
pub fn list(files: &[VoteView], color: bool) -> String {
    let rows: Vec<Vec<Cell>> = files
        .iter()
        .map(|file| {
            vec![
                file.number.to_string().into(),
                state(file),
                file.id.as_str().into(),
                file.path.display().to_string().into(),
                micros(file).into(),
                last(file).into(),
                file.problem.as_str().into(),
            ]
        })
        .collect();
    let heading = ["#", "STATE", "FILE ID", "PATH", "LATENCY", "READ AND WRITTEN", "PROBLEM"];
    table(&heading, &rows, color)
}

/// Voting files, a line for each and each server.
#[must_use]
pub fn check(files: &[VoteView], color: bool) -> String {
    let blocks = |file: &VoteView| {
        let blocks = file.blocks.iter();
        let each = blocks.map(|b| format!("{}:{}/{}", b.server, b.incarnation.0, b.sequence));
        each.collect::<Vec<_>>().join(" ")
    };
    let rows: Vec<Vec<Cell>> = files
        .iter()
        .map(|file| {
            vec![
                file.server.as_ref().map(|server| server.to_string()).unwrap_or_default().into(),
                file.number.to_string().into(),
                state(file),
                file.id.as_str().into(),
                file.path.display().to_string().into(),
                micros(file).into(),
                last(file).into(),
                blocks(file).into(),
                file.problem.as_str().into(),
            ]
        })
        .collect();
    let heading =
        ["SERVER", "#", "STATE", "FILE ID", "PATH", "LATENCY", "READ AND WRITTEN", "BLOCKS", "PROBLEM"];
    table(&heading, &rows, color)
}
