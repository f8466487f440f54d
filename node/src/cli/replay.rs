//! `tasuki replay [ID]`

use tasuki_core::ids::ServerName;
use tasuki_proto::v1::{self as wire, decision_client::DecisionClient};

use super::{
    Context,
    connect::{answered, unreadable},
    output::{Cell, Style, table},
};
use crate::{
    app::{
        AppError,
        replay::{self, DecisionLine, Replay, Round},
    },
    edge::grpc::convert_plan,
    wiring::journal_of,
};

pub(super) async fn perform(
    context: &Context,
    id: Option<u64>,
    limit: u32,
    offline: bool,
) -> Result<(), AppError> {
    let dir = journal_of(&context.options.data);
    let Some(id) = id else {
        let rounds = if offline {
            replay::list(&dir, usize::try_from(limit).unwrap_or(usize::MAX))?
        } else {
            let mut client = DecisionClient::new(context.connect().await?);
            let request = wire::ListDecisionsRequest { limit };
            let answer = client.list(request).await.map_err(answered)?.into_inner();
            context.out.say(&format!("decided by {} while it led", answer.server));
            answer.rounds.into_iter().map(convert_plan::round_in).collect()
        };
        return context.out.show(&rounds, |rounds| list(rounds, context.out.color));
    };
    let replay = if offline {
        replay::replay(&dir, id)?
    } else {
        let mut client = DecisionClient::new(context.connect().await?);
        let answer = client.replay(wire::ReplayDecisionRequest { id }).await.map_err(answered)?;
        convert_plan::replay_in(answer.into_inner()).map_err(unreadable)?
    };
    context.out.show(&replay, |replay| one(replay, context.out.color))?;
    replay.verdict()
}

/// Rounds, a line each.
#[must_use]
pub fn list(rounds: &[Round], color: bool) -> String {
    if rounds.is_empty() {
        return "this server has decided nothing that is kept".to_owned();
    }
    let rows: Vec<Vec<Cell>> = rounds
        .iter()
        .map(|round| {
            let first = round.decisions.first();
            let more = match round.decisions.len() {
                0 | 1 => String::new(),
                many => format!(" (and {} more)", many - 1),
            };
            vec![
                round.id.to_string().into(),
                round.at.to_string().into(),
                round.about.as_str().into(),
                format!("{}{more}", first.map_or("", |line| line.what.as_str())).into(),
                first.map_or("", |line| line.reason.as_str()).into(),
                if round.has_input { "".into() } else { Cell::new("input not kept", Style::Dim) },
            ]
        })
        .collect();
    table(&["ID", "TIME", "ABOUT", "DECISION", "BECAUSE", "NOTE"], &rows, color)
}

/// A round, and whether it comes out the same.
#[must_use]
pub fn one(replay: &Replay, color: bool) -> String {
    let Replay { round, again, same, revision, fit, since_start_ms } = replay;
    let fit: Vec<&str> = fit.iter().map(ServerName::as_str).collect();
    let mut text = format!(
        "Round {} at {}, decided on revision {revision}; fit: {}; the leader had decided for {since_start_ms} ms\n\n",
        round.id,
        round.at,
        fit.join(" ")
    );
    if *same {
        text.push_str(&decisions(&round.decisions, color));
        text.push_str(&Style::Good.paint("\ndecided again: the same, with the same reasons", color));
        return text;
    }
    text.push_str("As it was decided then:\n\n");
    text.push_str(&decisions(&round.decisions, color));
    text.push_str("\nAs it comes out now:\n\n");
    text.push_str(&decisions(again, color));
    text.push_str(&Style::Bad.paint("\nDIFFERENT: the same input gives other decisions now", color));
    text
}

fn decisions(lines: &[DecisionLine], color: bool) -> String {
    if lines.is_empty() {
        return "nothing\n".to_owned();
    }
    let mut text = String::new();
    for line in lines {
        text.push_str(&format!("{}: {}\n", Style::Bold.paint(&line.what, color), line.reason));
        text.push_str(&Style::Dim.paint(&format!("    read {}", line.read.join(" ")), color));
        text.push('\n');
    }
    text
}
