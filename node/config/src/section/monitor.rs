//! `[[monitor]]`: what is looked at, how often, and what follows when it is found bad.
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `name`, `comment` | | name needed |
//! | `type` | `pid`: the process of an asynchronous exec resource; `ip`: addresses answer an echo; `exec`: a program ends with 0; `mirror`, `mirror_link`: the copy and the link of a mirrored disk | needed |
//! | `interval` | from the end of one look to the next | `60s` |
//! | `timeout` | how long one look may take | `60s` |
//! | `retries` | looks that may fail in a row before that is a finding | 0 |
//! | `start_delay` | from the start of what it watches to the first look | `0s` |
//! | `timing` | `always`, or `while_active`: only while its target runs | `pid`: `while_active`, else `always` |
//! | `target` | the resource that it watches; `pid`, `mirror`, `mirror_link` and `while_active` need one | none |
//! | `nice` | the nice value of its programs, -20 to 19 | 0 |
//! | `servers` | the servers that look | all; `mirror`, `mirror_link`: those with a copy |
//! | `addresses` | `ip`: all of them must answer | needed |
//! | `command` | `exec`: program and arguments | needed |
//! | `user`, `directory` | `exec`: as whom it runs, and where | Tasuki's own |
//! | `recovery` | `{ target, restarts, failovers, final }`, see below | needed; `mirror`, `mirror_link`: nothing |
//!
//! `recovery.target` is the name of a resource or a group, or `cluster`: every group of the server
//! that found it. It is restarted `restarts` times (default 0) on its server, then handed on
//! `failovers` times (default 1), then `final` follows (default `none`).

use std::{path::PathBuf, time::Duration};

use tasuki_core::config::{FinalAction, MonitorTiming};
use toml::{Spanned, de::DeValue};

use crate::{
    draft::{MonitorDraft, MonitorKindDraft, RecoveryDraft},
    reader::Section,
    section::{exec, policies, server},
};

pub(crate) const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);
/// Looking at a mirrored disk takes nothing.
pub(crate) const MIRROR_INTERVAL: Duration = Duration::from_secs(10);
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// The words of `timing`.
pub(crate) const TIMINGS: [(&str, MonitorTiming); 2] =
    [("always", MonitorTiming::Always), ("while_active", MonitorTiming::WhileActive)];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Pid,
    Ip,
    Exec,
    Mirror,
    MirrorLink,
}

const TYPES: [(&str, Type); 5] = [
    ("pid", Type::Pid),
    ("ip", Type::Ip),
    ("exec", Type::Exec),
    ("mirror", Type::Mirror),
    ("mirror_link", Type::MirrorLink),
];

pub(crate) fn read(section: Section<'_>) -> MonitorDraft {
    section.need("name", "name = \"…\"");
    section.need("type", "type = \"pid\", type = \"ip\" or type = \"exec\"");
    let kind = section.choice("type", &TYPES).map(Spanned::into_inner);
    let of_mirror = matches!(kind, Some(Type::Mirror | Type::MirrorLink));
    if of_mirror {
        section.need("target", "target = \"…\": the mirrored disk that is watched");
    } else {
        section
            .need("recovery", "recovery = { target = \"…\", restarts = 0, failovers = 1, final = \"none\" }");
    }
    let time = |key, default| section.positive_duration(key).map_or(default, Spanned::into_inner);
    let active = if kind == Some(Type::Pid) { MonitorTiming::WhileActive } else { MonitorTiming::Always };
    if kind == Some(Type::Pid) {
        section.need("target", "target = \"…\": the exec resource whose process is watched");
    }
    let nice = section.whole("nice", -20..=19).and_then(|nice| i8::try_from(nice.into_inner()).ok());
    let mut draft = MonitorDraft {
        name: section.string("name"),
        comment: section.comment(),
        interval: time("interval", if of_mirror { MIRROR_INTERVAL } else { DEFAULT_INTERVAL }),
        timeout: time("timeout", DEFAULT_TIMEOUT),
        retries: section.integer("retries", 0..=policies::MOST_RETRIES).map_or(0, Spanned::into_inner),
        start_delay: section.duration("start_delay").map_or(Duration::ZERO, Spanned::into_inner),
        timing: section
            .choice("timing", &TIMINGS)
            .unwrap_or_else(|| Spanned::new(section.span.clone(), active)),
        target: section.string("target"),
        nice: nice.unwrap_or(0),
        servers: section
            .names("servers", "a list of server names, such as [\"kiki\", \"lala\"]")
            .unwrap_or_default(),
        recovery: recovery(&section),
        kind: None,
    };
    let Some(kind) = kind else {
        section.finish_missing();
        return draft;
    };
    if of_mirror && section.get("recovery").is_none() {
        let nothing = |target| RecoveryDraft { target, restarts: 0, failovers: 0, last: FinalAction::None };
        draft.recovery = draft.target.clone().map(nothing);
    }
    draft.kind = match kind {
        Type::Mirror => Some(MonitorKindDraft::Mirror),
        Type::MirrorLink => Some(MonitorKindDraft::MirrorLink),
        Type::Pid => Some(MonitorKindDraft::Pid),
        Type::Ip => {
            section.need("addresses", "addresses = [\"10.1.0.1\"]");
            addresses(&section).map(MonitorKindDraft::Ip)
        }
        Type::Exec => {
            section.need("command", "command = \"PROGRAM ARGUMENT…\"");
            let command = exec::command(&section, "command");
            let user = exec::non_empty(&section, "user", "the name of a user of the machine");
            let directory = exec::non_empty(&section, "directory", "a folder").map(PathBuf::from);
            let span = section.key_span("command");
            command.map(|command| MonitorKindDraft::Exec { command, user, directory, span })
        }
    };
    section.finish();
    draft
}

fn recovery(section: &Section<'_>) -> Option<RecoveryDraft> {
    let example = "a table { target = \"…\", restarts = 0, failovers = 1, final = \"none\" }";
    let table = section.table("recovery", example)?;
    table.need("target", "target = \"…\": a resource, a group, or \"cluster\"");
    let count =
        |key, default| table.integer(key, 0..=policies::MOST_RETRIES).map_or(default, Spanned::into_inner);
    let (target, restarts) = (table.string("target"), count("restarts", 0));
    let failovers = count("failovers", 1);
    let last = policies::last(&table, FinalAction::None);
    table.finish();
    Some(RecoveryDraft { target: target?, restarts, failovers, last })
}

fn addresses(section: &Section<'_>) -> Option<Vec<std::net::IpAddr>> {
    let value = section.get("addresses")?;
    let label = section.label("addresses");
    let one = |value: &Spanned<DeValue<'_>>, label: &str| {
        server::address(section, value, label).map(Spanned::into_inner)
    };
    let found: Option<Vec<_>> = match value.get_ref() {
        DeValue::Array(list) => {
            list.iter().map(|value| one(value, &format!("an entry of {label}"))).collect()
        }
        DeValue::String(_) => one(value, &label).map(|address| vec![address]),
        _ => section.wrong_type(value, &label, "a list of addresses in quotes, such as [\"10.1.0.1\"]"),
    };
    if found.as_ref().is_some_and(Vec::is_empty) {
        let problem = section
            .reading
            .problem(crate::problem::Code::Missing, &value.span(), format!("{label} is empty"))
            .found("an empty list")
            .expected("at least one address")
            .remedy("name the addresses that must answer");
        section.reading.add(problem);
        return None;
    }
    found
}
