//! `[[group.resource]]`: one managed thing inside a group; the keys that all types share.

use tasuki_core::config::{FinalAction, StartFailurePolicy, StopFailurePolicy};
use toml::Spanned;

use crate::{
    draft::{KindDraft, ResourceDraft},
    reader::Section,
    section::{exec, floating_ip},
};

/// The words of `final`.
pub(crate) const FINAL_ACTIONS: [(&str, FinalAction); 4] = [
    ("none", FinalAction::None),
    ("stop", FinalAction::Stop),
    ("stop_and_reboot", FinalAction::StopAndReboot),
    ("stop_and_power_off", FinalAction::StopAndPowerOff),
];

#[derive(Clone, Copy)]
pub(crate) enum Type {
    Exec,
    FloatingIp,
}

const TYPES: [(&str, Type); 2] = [("exec", Type::Exec), ("floating_ip", Type::FloatingIp)];

const PLANNED: [(&str, &str); 1] = [("mirror_disk", "mirrored disks (type = \"mirror_disk\")")];

/// An address that is not free now may be in a moment, so it is tried more often than a program.
pub(crate) fn default_start_failure(kind: Type) -> StartFailurePolicy {
    let retries = if matches!(kind, Type::FloatingIp) { 5 } else { 0 };
    StartFailurePolicy { retries, failovers: 1, last: FinalAction::None }
}

/// What does not stop could run twice, so by default the server stops as a whole (the guard sees
/// to that), and the group goes on elsewhere.
pub(crate) const DEFAULT_STOP_FAILURE: StopFailurePolicy =
    StopFailurePolicy { retries: 0, last: FinalAction::Stop };

pub(crate) fn read(section: Section<'_>) -> ResourceDraft {
    section.need("name", "name = \"…\"");
    section.need("type", "type = \"exec\" or type = \"floating_ip\"");
    let planned = section.unsupported_word(
        "type",
        &PLANNED,
        "take this resource out; use storage that both servers reach by themselves",
    );
    let kind = if planned { None } else { section.choice("type", &TYPES) };
    let name = section.string("name");
    let start_policy = start_failure(&section, kind.as_ref().map_or(Type::Exec, |kind| *kind.get_ref()));
    let mut draft = ResourceDraft {
        name,
        comment: section.comment(),
        depends_on: section.list("depends_on", "a list of resource names, such as [\"database\"]"),
        on_start_failure: start_policy,
        on_stop_failure: stop_failure(&section),
        kind: None,
    };
    match kind.map(Spanned::into_inner) {
        // Which other keys make sense depends on the type: without it only these are judged.
        None if planned => {}
        None => section.finish_missing(),
        Some(Type::Exec) => {
            draft.kind = exec::read(&section).map(KindDraft::Exec);
            section.finish();
        }
        Some(Type::FloatingIp) => {
            draft.kind = Some(KindDraft::FloatingIp(floating_ip::read(&section)));
            section.finish();
        }
    }
    draft
}

const MOST_RETRIES: u32 = 1000;

fn start_failure(section: &Section<'_>, kind: Type) -> StartFailurePolicy {
    let mut policy = default_start_failure(kind);
    let example = "a table { retries = 0, failovers = 1, final = \"none\" }";
    if let Some(table) = section.table("on_start_failure", example) {
        let count = |key, default| table.integer(key, 0..=MOST_RETRIES).map_or(default, Spanned::into_inner);
        policy.retries = count("retries", policy.retries);
        policy.failovers = count("failovers", policy.failovers);
        policy.last = table.choice("final", &FINAL_ACTIONS).map_or(policy.last, Spanned::into_inner);
        table.finish();
    }
    policy
}

fn stop_failure(section: &Section<'_>) -> StopFailurePolicy {
    let mut policy = DEFAULT_STOP_FAILURE;
    if let Some(table) = section.table("on_stop_failure", "a table { retries = 0, final = \"stop\" }") {
        let retries = table.integer("retries", 0..=MOST_RETRIES);
        policy.retries = retries.map_or(policy.retries, Spanned::into_inner);
        policy.last = table.choice("final", &FINAL_ACTIONS).map_or(policy.last, Spanned::into_inner);
        table.finish();
    }
    policy
}
