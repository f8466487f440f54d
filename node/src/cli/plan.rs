//! `tasuki plan`

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::json;
use tasuki_core::{
    ids::{GroupName, ServerName},
    placement::forecast::{Interruption, Picture},
};
use tasuki_proto::v1::{self as wire, plan_client::PlanClient};

use super::{
    Context,
    args::{PlaceArg, PlanArgs},
    config::load,
    connect::answered,
    output::{Cell, Style, table},
};
use crate::{
    app::{
        AppError,
        plan::{self, MatrixRow, Plan, Supposed},
    },
    edge::grpc::convert_plan,
};

/// Who asks when no node does.
const NOBODY: &str = "nobody";

pub(super) async fn perform(context: &Context, arguments: PlanArgs) -> Result<(), AppError> {
    if let Some(file) = &arguments.save {
        return save(context, file).await;
    }
    let picture = arguments.state.as_deref().map(read).transpose()?;
    if arguments.matrix {
        let rows = match &picture {
            Some(picture) => plan::matrix(picture, &BTreeSet::new()),
            None => {
                let mut client = PlanClient::new(context.connect().await?);
                let answer = client.matrix(wire::MatrixRequest {}).await.map_err(answered)?.into_inner();
                answer.rows.into_iter().map(convert_plan::row_in).collect()
            }
        };
        return context.out.show(&rows, |rows| matrix(rows, context.out.color));
    }
    let supposed = supposed(context, &arguments)?;
    let plan = match &picture {
        Some(picture) => plan::forecast(picture, &supposed, NOBODY)?,
        None => {
            let file = arguments.apply.as_deref().unwrap_or(Path::new("")).display().to_string();
            let request = convert_plan::supposed_out(supposed, &file);
            let mut client = PlanClient::new(context.connect().await?);
            let answer = client.forecast(request).await.map_err(answered)?.into_inner();
            convert_plan::plan_in(answer)
        }
    };
    context.out.show(&plan, |plan| steps(plan, context.out.color))
}

fn supposed(context: &Context, arguments: &PlanArgs) -> Result<Supposed, AppError> {
    let config = arguments.apply.as_deref().map(|file| load(context, file)).transpose()?;
    let servers = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
    let places = |places: &[PlaceArg]| {
        let place = |place: &PlaceArg| (place.group.as_str().into(), place.server.as_deref().map(Into::into));
        places.iter().map(place).collect::<Vec<(GroupName, Option<ServerName>)>>()
    };
    Ok(Supposed {
        config: config.map(|loaded| loaded.config),
        server_down: servers(&arguments.server_down),
        server_up: servers(&arguments.server_up),
        cable_cut: arguments
            .cable_cut
            .iter()
            .map(|cable| (cable.server.as_str().into(), cable.network.as_str().into()))
            .collect(),
        moved: places(&arguments.moved),
        started: places(&arguments.start),
        stopped: arguments.stop.iter().map(|name| name.as_str().into()).collect(),
    })
}

async fn save(context: &Context, file: &Path) -> Result<(), AppError> {
    let mut client = PlanClient::new(context.connect().await?);
    let answer = client.picture(wire::PictureRequest {}).await.map_err(answered)?.into_inner();
    fs::write(file, &answer.picture_json)
        .map_err(|error| AppError::File(format!("{}: {error}", file.display())))?;
    let bytes = answer.picture_json.len();
    context.out.show(&json!({ "file": file, "bytes": bytes }), |_| {
        format!("{}: the state of the cluster, for `tasuki plan --state`", file.display())
    })
}

fn read(file: &Path) -> Result<Picture, AppError> {
    let name = file.display().to_string();
    let text = fs::read_to_string(file).map_err(|error| AppError::File(format!("{name}: {error}")))?;
    plan::read_picture(&text, &name)
}

fn time(ms: u64) -> String {
    if ms < 10_000 { format!("{ms}ms") } else { format!("{}.{}s", ms / 1000, ms % 1000 / 100) }
}

/// The steps, then what clients would see.
#[must_use]
pub fn steps(plan: &Plan, color: bool) -> String {
    let mut text = String::new();
    if plan.steps.is_empty() {
        text.push_str("nothing would happen\n");
    } else {
        let rows: Vec<Vec<Cell>> = plan
            .steps
            .iter()
            .enumerate()
            .map(|(at, step)| {
                let style = match step.kind.as_str() {
                    "lost" | "gone" | "cut" | "fails" | "stand_down" | "finally" => Style::Bad,
                    "stop" | "release" | "released" | "stopped" => Style::Warn,
                    "online" | "joined" => Style::Good,
                    _ => Style::Plain,
                };
                vec![
                    (at + 1).to_string().into(),
                    format!("+{}", time(step.after_ms)).into(),
                    Cell::new(&step.text, style),
                    step.reason.clone().unwrap_or_default().into(),
                ]
            })
            .collect();
        text.push_str(&table(&["STEP", "AFTER", "WHAT", "BECAUSE"], &rows, color));
    }
    if !plan.interruptions.is_empty() {
        let rows: Vec<Vec<Cell>> = plan.interruptions.iter().map(interruption).collect();
        text.push('\n');
        let heading = ["GROUP", "FROM", "TO", "AWAY", "STOP", "WAIT", "START", "NEVER MEASURED"];
        text.push_str(&table(&heading, &rows, color));
    }
    text.push('\n');
    if !plan.down.is_empty() {
        let names: Vec<&str> = plan.down.iter().map(GroupName::as_str).collect();
        let words = format!("wanted and not running in the end: {}", names.join(", "));
        text.push_str(&Style::Bad.paint(&words, color));
        text.push('\n');
    }
    let style = if plan.settled { Style::Plain } else { Style::Bad };
    text.push_str(&style.paint(&plan.ending, color));
    text
}

fn interruption(one: &Interruption) -> Vec<Cell> {
    let place = |server: &Option<ServerName>| server.as_ref().map_or("-".to_owned(), ToString::to_string);
    let unknown: Vec<String> = one.unknown.iter().map(ToString::to_string).collect();
    vec![
        one.group.as_str().into(),
        place(&one.from).into(),
        place(&one.to).into(),
        away(one),
        time(one.stop_ms).into(),
        time(one.wait_ms).into(),
        time(one.start_ms).into(),
        unknown.join(" ").into(),
    ]
}

/// How long clients would be without it: at least so long, when not all of it was measured.
fn away(one: &Interruption) -> Cell {
    match (one.interrupts(), one.total_ms()) {
        (_, None) => Cell::new("for good", Style::Bad),
        (false, Some(_)) => Cell::new("starts", Style::Good),
        (true, Some(ms)) if one.unknown.is_empty() => Cell::new(time(ms), Style::Warn),
        (true, Some(ms)) => Cell::new(format!("over {}", time(ms)), Style::Warn),
    }
}

/// One line for each loss.
#[must_use]
pub fn matrix(rows: &[MatrixRow], color: bool) -> String {
    let names = |names: Vec<&str>| if names.is_empty() { "-".to_owned() } else { names.join(" ") };
    let lines: Vec<Vec<Cell>> = rows
        .iter()
        .map(|row| {
            let moves: Vec<String> = row
                .interruptions
                .iter()
                .filter_map(|one| {
                    let at_least = if one.unknown.is_empty() { "" } else { "over " };
                    let (to, ms) = (one.to.as_ref()?, one.total_ms()?);
                    Some(format!("{} to {to} ({at_least}{})", one.group, time(ms)))
                })
                .collect();
            let down = names(row.down.iter().map(GroupName::as_str).collect());
            let style = if row.down.is_empty() { Style::Good } else { Style::Bad };
            let happens = match (row.cut_off.is_empty(), row.kind.as_str()) {
                (true, "cable" | "network") if row.settled && row.interruptions.is_empty() => {
                    "nothing: every server is heard on another path".to_owned()
                }
                _ if !row.settled || row.ending.starts_with("no quorum") => row.ending.clone(),
                _ if moves.is_empty() => "nothing moves".to_owned(),
                _ => moves.join(", "),
            };
            let cut_off = row.cut_off.iter().map(ServerName::as_str).collect::<Vec<_>>().join(" ");
            vec![row.loss.as_str().into(), Cell::new(down, style), cut_off.into(), happens.into()]
        })
        .collect();
    table(&["LOST", "DOWN", "CUT OFF", "WHAT HAPPENS"], &lines, color)
}
