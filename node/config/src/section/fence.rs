//! `[[fence]]`: a fencing device; the key `fence` of a server, and the short form in `[cluster]`.
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `name` | the device's name | needed |
//! | `comment` | for people | empty |
//! | `kind` | `agent`, `script`, `reservation`, `watchdog` | needed |
//! | `program` | of an agent or script: a name in `PATH`, or a whole path | needed there |
//! | `parameters` | of an agent: what it is told beside the action | none |
//! | `devices` | of a reservation: the shared disks | needed there |
//! | `ports` | how the device calls a server: a plug, a machine, a key | the server's name |
//! | `timeout` | one try may take so long | 60s |
//! | `retries` | tries after the first | 1 |
//! | `delay` | what the lighter side of two waits before it uses this | 2s |
//!
//! `fence = "ipmi"` at a server names its device; `fence = [["ipmi"], ["pdu-a", "pdu-b"]]` its levels in
//! order, and all devices of a level must confirm. `fence = "ipmi"` in `[cluster]` means every server
//! that says nothing else, and breaks the tie of two.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use tasuki_core::config::{FenceKind, HIDDEN, is_secret};
use toml::{Spanned, de::DeValue};

use crate::{
    draft::{FenceDraft, Name},
    problem::Code,
    reader::Section,
    write::text::word,
};

/// One try may take so long: a management board that has to log in first is slow.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// Tries after the first.
pub(crate) const DEFAULT_RETRIES: u32 = 1;
/// What the lighter side of two waits.
pub(crate) const DEFAULT_DELAY: Duration = Duration::from_secs(2);
const MOST_RETRIES: u32 = 10;

/// The words of `kind`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FenceWord {
    Agent,
    Script,
    Reservation,
    Watchdog,
}

pub(crate) const FENCE_KINDS: [(&str, FenceWord); 4] = [
    ("agent", FenceWord::Agent),
    ("script", FenceWord::Script),
    ("reservation", FenceWord::Reservation),
    ("watchdog", FenceWord::Watchdog),
];
/// What Tasuki itself tells an agent.
const OURS: [&str; 4] = ["action", "nodename", "plug", "port"];

pub(crate) fn read(section: Section<'_>) -> FenceDraft {
    let name = section.string("name");
    section.need("name", "name = \"…\"");
    section.need("kind", "kind = \"agent\", \"script\", \"reservation\" or \"watchdog\"");
    let kind = section.choice("kind", &FENCE_KINDS).map(Spanned::into_inner);
    let of = |key, kinds: &[FenceWord]| only(&section, key, kind, kinds);
    let program = of("program", &[FenceWord::Agent, FenceWord::Script]).and_then(|section| {
        section
            .need("program", "program = \"…\": a name in PATH, such as \"fence_ipmilan\", or a whole path");
        section.string("program")
    });
    let parameters = of("parameters", &[FenceWord::Agent]).map(parameters);
    let devices = of("devices", &[FenceWord::Reservation]).and_then(devices);
    let draft = FenceDraft {
        kind: kind.and_then(|kind| match kind {
            FenceWord::Agent => Some(FenceKind::Agent {
                program: PathBuf::from(program.as_ref()?.get_ref()),
                parameters: parameters?,
            }),
            FenceWord::Script => {
                Some(FenceKind::Script { program: PathBuf::from(program.as_ref()?.get_ref()) })
            }
            FenceWord::Reservation => Some(FenceKind::Reservation { devices: devices? }),
            FenceWord::Watchdog => Some(FenceKind::Watchdog),
        }),
        program: program.map(|program| program.span()),
        comment: section.comment(),
        ports: ports(&section),
        timeout: section.positive_duration("timeout").map_or(DEFAULT_TIMEOUT, Spanned::into_inner),
        retries: section.integer("retries", 0..=MOST_RETRIES).map_or(DEFAULT_RETRIES, Spanned::into_inner),
        delay: section.duration("delay").map_or(DEFAULT_DELAY, Spanned::into_inner),
        name,
    };
    section.finish();
    draft
}

/// The section, for a key that only some kinds have; reports the key at another one.
fn only<'a, 's>(
    section: &'s Section<'a>,
    key: &str,
    kind: Option<FenceWord>,
    kinds: &[FenceWord],
) -> Option<&'s Section<'a>> {
    let Some(kind) = kind else {
        section.get(key); // of a kind that is not known any key may be
        return None;
    };
    if kinds.contains(&kind) {
        return Some(section);
    }
    let words = kinds.iter().map(|kind| word(&FENCE_KINDS, *kind)).collect::<Vec<_>>().join(" or ");
    let message = format!("{} has `{key}`, which its kind does not know", section.what);
    let expected = format!("`{key}` only with the kind {words}");
    section.refuse(key, message, &expected, "take the key out, or correct `kind`");
    None
}

/// What an agent is told: texts, and numbers and truths as agents write them.
fn parameters(section: &Section<'_>) -> BTreeMap<String, String> {
    let Some(table) = section.table("parameters", "a table { ip = \"…\", username = \"…\", … }") else {
        return BTreeMap::new();
    };
    let mut parameters = BTreeMap::new();
    for (name, value) in table.entries() {
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Boolean(true) => "1".to_owned(),
            DeValue::Boolean(false) => "0".to_owned(),
            _ => {
                let label = format!("`{}` in {}", name.get_ref(), table.what);
                let _: Option<()> = table.wrong_type(value, &label, "text in quotes, or a number");
                continue;
            }
        };
        let word = name.get_ref();
        let (message, expected, remedy) = if OURS.contains(&word.as_str()) {
            (
                format!("`{word}` is what Tasuki itself tells {}", section.what),
                "the device's address, user and password, and what else its agent asks for",
                "take it out; a server's plug stands in `ports`",
            )
        } else if is_secret(word) && text == HIDDEN {
            (
                format!(
                    "a secret of {} is missing: the file was shown to somebody who may not see it",
                    section.what
                ),
                "the password itself",
                "write the password, or get the file with `config show` as an administrator",
            )
        } else if word.is_empty() || word.contains(['=', '#']) || has_control(word) || has_control(&text) {
            (
                format!("a parameter of {} would be read as another one", section.what),
                "one line `name=value` for each",
                "take the line break, `=` or `#` out of it",
            )
        } else {
            parameters.insert(word.clone(), text);
            continue;
        };
        let problem = section.reading.problem(Code::BadFence, &name.span(), message);
        section.reading.add(problem.found(format!("`{word}`")).expected(expected).remedy(remedy));
    }
    parameters
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

fn devices(section: &Section<'_>) -> Option<Vec<PathBuf>> {
    section.need("devices", "devices = [\"/dev/disk/by-id/…\"]: the disks that the servers share");
    let disks = section.words("devices", "a path in quotes, or a list of them")?;
    let relative = disks.iter().find(|disk| !disk.get_ref().starts_with('/'));
    if disks.is_empty() || relative.is_some() {
        let span = relative.map_or_else(|| section.key_span("devices"), Spanned::span);
        let found = relative.map_or("an empty list".to_owned(), |disk| format!("`{}`", disk.get_ref()));
        let problem = section
            .reading
            .problem(Code::BadFence, &span, format!("{} names no disk that every server finds", section.what))
            .found(found)
            .expected("paths from the root, such as \"/dev/disk/by-id/wwn-0x5000c500a1b2c3d4\"")
            .remedy("name each shared disk, by its id: `/dev/sdb` may be another disk after the next boot");
        section.reading.add(problem);
        return None;
    }
    Some(disks.into_iter().map(|disk| PathBuf::from(disk.into_inner())).collect())
}

fn ports(section: &Section<'_>) -> Vec<(Name, String)> {
    let Some(table) = section.table("ports", "a table { SERVER = \"PLUG\", … }") else { return Vec::new() };
    let mut ports = Vec::new();
    for (server, value) in table.entries() {
        let label = format!("`{}` in {}", server.get_ref(), table.what);
        let text = match value.get_ref() {
            DeValue::Integer(number) => Some(number.to_string()),
            _ => table.as_string(value, &label, "text in quotes").map(Spanned::into_inner),
        };
        let Some(text) = text else { continue };
        if text.is_empty() || has_control(&text) {
            let problem = section
                .reading
                .problem(Code::BadFence, &value.span(), format!("{label} names nothing at the device"))
                .found(format!("{text:?}"))
                .expected("the server's name at the device, on one line")
                .remedy("write the plug, machine or key as the device shows it");
            section.reading.add(problem);
            continue;
        }
        ports.push((server, text));
    }
    ports
}

/// `fence` of a server: a name, names in order, or levels of names.
pub(crate) fn levels(section: &Section<'_>) -> Vec<Vec<Name>> {
    let Some(value) = section.get("fence") else { return Vec::new() };
    let expected = "a name in quotes, a list of names, or a list of lists of names";
    let label = section.label("fence");
    let name = |value| section.as_string(value, &label, expected);
    match value.get_ref() {
        DeValue::Array(levels) => levels
            .iter()
            .map(|level| match level.get_ref() {
                DeValue::Array(names) => names.iter().filter_map(name).collect(),
                _ => name(level).into_iter().collect(),
            })
            .collect(),
        _ => name(value).map(|name| vec![vec![name]]).unwrap_or_default(),
    }
}
