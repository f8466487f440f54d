//! Plans, matrices, replays and ways back: wire types to the service layer's types and back.

use std::collections::BTreeSet;

use tasuki_core::{
    ids::{GroupName, NetworkName, ResourceName, Revision, ServerName},
    placement::forecast::Interruption,
    time::WallTime,
};
use tasuki_proto::v1 as wire;

use super::convert::{Malformed, optional, push_in, push_out, text_of};
use crate::app::{
    plan::{MatrixRow, Plan, PlanStep, Supposed},
    replay::{DecisionLine, Replay, Round},
    versions::Rollback,
};

fn texts(names: &[impl ToString]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn servers(names: Vec<String>) -> Vec<ServerName> {
    names.into_iter().map(ServerName::new).collect()
}

fn groups(names: Vec<String>) -> Vec<GroupName> {
    names.into_iter().map(GroupName::new).collect()
}

/// To the wire; the configuration as text.
#[must_use]
pub fn supposed_out(supposed: Supposed, file: &str) -> wire::ForecastRequest {
    let places = |places: Vec<(GroupName, Option<ServerName>)>| {
        places
            .into_iter()
            .map(|(group, server)| wire::WantedPlace { group: group.to_string(), server: text_of(server) })
            .collect()
    };
    wire::ForecastRequest {
        config: supposed.config.as_ref().map(tasuki_config::to_toml).unwrap_or_default(),
        file: file.to_owned(),
        server_down: texts(&supposed.server_down),
        server_up: texts(&supposed.server_up),
        cable_cut: supposed
            .cable_cut
            .into_iter()
            .map(|(server, network)| wire::Cable { server: server.to_string(), network: network.to_string() })
            .collect(),
        r#move: places(supposed.moved),
        start: places(supposed.started),
        stop: texts(&supposed.stopped),
    }
}

/// From the wire, without the configuration, which stays text until it is checked.
#[must_use]
pub fn supposed_in(request: wire::ForecastRequest) -> Supposed {
    let places = |places: Vec<wire::WantedPlace>| {
        places
            .into_iter()
            .map(|place| (GroupName::new(place.group), optional(place.server).map(ServerName::new)))
            .collect()
    };
    Supposed {
        config: None,
        server_down: servers(request.server_down),
        server_up: servers(request.server_up),
        cable_cut: request
            .cable_cut
            .into_iter()
            .map(|cable| (ServerName::new(cable.server), NetworkName::new(cable.network)))
            .collect(),
        moved: places(request.r#move),
        started: places(request.start),
        stopped: groups(request.stop),
    }
}

fn interruption_out(one: Interruption) -> wire::Interruption {
    wire::Interruption {
        group: one.group.to_string(),
        from: text_of(one.from),
        to: text_of(one.to),
        stop_ms: one.stop_ms,
        wait_ms: one.wait_ms,
        start_ms: one.start_ms,
        unknown: one.unknown.iter().map(ToString::to_string).collect(),
    }
}

fn interruption_in(one: wire::Interruption) -> Interruption {
    Interruption {
        group: GroupName::new(one.group),
        from: optional(one.from).map(ServerName::new),
        to: optional(one.to).map(ServerName::new),
        stop_ms: one.stop_ms,
        wait_ms: one.wait_ms,
        start_ms: one.start_ms,
        unknown: one.unknown.into_iter().map(ResourceName::new).collect::<BTreeSet<_>>(),
    }
}

/// To the wire.
#[must_use]
pub fn plan_out(plan: Plan) -> wire::ForecastResponse {
    wire::ForecastResponse {
        steps: plan
            .steps
            .into_iter()
            .map(|step| wire::PlanStep {
                after_ms: step.after_ms,
                kind: step.kind,
                text: step.text,
                reason: text_of(step.reason),
                group: text_of(step.group),
                server: text_of(step.server),
            })
            .collect(),
        interruptions: plan.interruptions.into_iter().map(interruption_out).collect(),
        down: texts(&plan.down),
        settled: plan.settled,
        ending: plan.ending,
    }
}

/// From the wire.
#[must_use]
pub fn plan_in(plan: wire::ForecastResponse) -> Plan {
    Plan {
        steps: plan
            .steps
            .into_iter()
            .map(|step| PlanStep {
                after_ms: step.after_ms,
                kind: step.kind,
                text: step.text,
                reason: optional(step.reason),
                group: optional(step.group).map(GroupName::new),
                server: optional(step.server).map(ServerName::new),
            })
            .collect(),
        interruptions: plan.interruptions.into_iter().map(interruption_in).collect(),
        down: groups(plan.down),
        settled: plan.settled,
        ending: plan.ending,
    }
}

/// To the wire.
#[must_use]
pub fn row_out(row: MatrixRow) -> wire::MatrixRow {
    wire::MatrixRow {
        kind: row.kind,
        loss: row.loss,
        cut_off: texts(&row.cut_off),
        interruptions: row.interruptions.into_iter().map(interruption_out).collect(),
        down: texts(&row.down),
        settled: row.settled,
        ending: row.ending,
    }
}

/// From the wire.
#[must_use]
pub fn row_in(row: wire::MatrixRow) -> MatrixRow {
    MatrixRow {
        kind: row.kind,
        loss: row.loss,
        cut_off: servers(row.cut_off),
        interruptions: row.interruptions.into_iter().map(interruption_in).collect(),
        down: groups(row.down),
        settled: row.settled,
        ending: row.ending,
    }
}

/// To the wire.
#[must_use]
pub fn rollback_out(rollback: Rollback) -> wire::RollbackConfigResponse {
    wire::RollbackConfigResponse {
        diff: rollback.diff,
        plan: Some(plan_out(rollback.plan)),
        push: Some(push_out(rollback.push)),
    }
}

/// From the wire.
///
/// # Errors
/// When something is missing or cannot be read.
pub fn rollback_in(rollback: wire::RollbackConfigResponse) -> Result<Rollback, Malformed> {
    Ok(Rollback {
        diff: rollback.diff,
        plan: plan_in(rollback.plan.ok_or(Malformed("plan"))?),
        push: push_in(rollback.push.ok_or(Malformed("push"))?)?,
    })
}

fn line_out(line: DecisionLine) -> wire::DecisionLine {
    wire::DecisionLine { what: line.what, reason: line.reason, read: line.read }
}

fn line_in(line: wire::DecisionLine) -> DecisionLine {
    DecisionLine { what: line.what, reason: line.reason, read: line.read }
}

/// To the wire.
#[must_use]
pub fn round_out(round: Round) -> wire::DecisionRound {
    wire::DecisionRound {
        id: round.id,
        at_ms: round.at.0,
        about: round.about,
        has_input: round.has_input,
        decisions: round.decisions.into_iter().map(line_out).collect(),
    }
}

/// From the wire.
#[must_use]
pub fn round_in(round: wire::DecisionRound) -> Round {
    Round {
        id: round.id,
        at: WallTime(round.at_ms),
        about: round.about,
        has_input: round.has_input,
        decisions: round.decisions.into_iter().map(line_in).collect(),
    }
}

/// To the wire.
#[must_use]
pub fn replay_out(replay: Replay) -> wire::ReplayDecisionResponse {
    wire::ReplayDecisionResponse {
        round: Some(round_out(replay.round)),
        again: replay.again.into_iter().map(line_out).collect(),
        same: replay.same,
        revision: replay.revision.0,
        fit: texts(&replay.fit),
        since_start_ms: replay.since_start_ms,
    }
}

/// From the wire.
///
/// # Errors
/// When the round is missing.
pub fn replay_in(replay: wire::ReplayDecisionResponse) -> Result<Replay, Malformed> {
    Ok(Replay {
        round: round_in(replay.round.ok_or(Malformed("round"))?),
        again: replay.again.into_iter().map(line_in).collect(),
        same: replay.same,
        revision: Revision(replay.revision),
        fit: servers(replay.fit),
        since_start_ms: replay.since_start_ms,
    })
}
