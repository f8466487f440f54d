//! A program, or a pair of scripts: `type = "exec"` and every type below it.
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `start` | program and arguments: one text, split as a shell would, or a list of words | needed |
//! | `stop` | as `start`; without one, what runs gets SIGTERM, then SIGKILL | none |
//! | `wait` | `true`: the start command must end with 0; `false`: it keeps running | `true` |
//! | `watch` | with `wait = false`: notice by itself when the program ends | `true` |
//! | `user`, `directory`, `environment` | as whom and where it runs, with which variables besides | Tasuki's own |
//! | `start_timeout`, `stop_timeout` | how long the commands may take | `30m` |
//! | `script_timeout` | how long each command may take that has no time-out of its own | none |
//! | `check` | a command whose exit code says how it does: 0 online, 1 ended, 2 ended as planned, 3 unknown, 4 intermediate, anything else failed | none |
//! | `check_interval` | between two checks | `1m` |
//! | `check_timeout` | how long one check may take | `1m` |
//! | `read_only` | it only reads: in a group with `on_quorum_loss = "read_only"` it runs on without a lease | `false` |

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use tasuki_core::config::{CheckConfig, ExecConfig};
use toml::Spanned;

use crate::{draft::ExecDraft, problem::Code, reader::Section, section::keys};

/// How long starting, and stopping, may take.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1800);

/// How often a resource is checked, and how long one check may take.
pub(crate) const DEFAULT_CHECK: Duration = Duration::from_secs(60);

pub(crate) fn read(section: &Section<'_>) -> Option<ExecDraft> {
    section.need("start", "start = \"PROGRAM ARGUMENT…\"");
    let start = command(section, "start");
    let stop = command(section, "stop");
    let wait = section.boolean("wait").is_none_or(Spanned::into_inner);
    let watch = section.boolean("watch");
    if let Some(watch) = watch.as_ref().filter(|watch| wait && *watch.get_ref() && section.writes("watch")) {
        let message = format!("{} has nothing to watch: its start command ends by itself", section.what);
        let problem = section
            .reading
            .problem(Code::BadValue, &watch.span(), message)
            .found("`true`, with wait = true")
            .expected("`watch = true` only together with `wait = false`")
            .remedy("set wait = false if the start command keeps running; take `watch` out if it ends");
        section.reading.add(problem);
    }
    let config = ExecConfig {
        start: Vec::new(),
        stop,
        wait,
        user: non_empty(section, "user", "the name of a user of the machine"),
        directory: non_empty(section, "directory", "a folder").map(PathBuf::from),
        environment: environment(section),
        start_timeout: timeout(section, "start_timeout"),
        stop_timeout: timeout(section, "stop_timeout"),
        watch: !wait && watch.is_none_or(Spanned::into_inner),
        check: check(section),
        read_only: section.boolean("read_only").is_some_and(Spanned::into_inner),
    };
    let check = config.check.as_ref().map(|_| section.key_span("check"));
    let stop_span = config.stop.as_ref().map(|_| section.key_span("stop"));
    let config = ExecConfig { start: start?, ..config };
    Some(ExecDraft { config, start: section.key_span("start"), stop: stop_span, check })
}

fn check(section: &Section<'_>) -> Option<CheckConfig> {
    let command = command(section, "check");
    let interval = keys::time(section, "check_interval").map_or(DEFAULT_CHECK, Spanned::into_inner);
    let timeout = within(section, "check_timeout", DEFAULT_CHECK);
    for key in ["check_interval", "check_timeout"] {
        if section.writes(key) && section.get("check").is_none() {
            let problem = section
                .reading
                .problem(
                    Code::BadValue,
                    &section.key_span(key),
                    format!("{} has nothing to check", section.what),
                )
                .found(format!("`{key}` without `check`"))
                .expected("`check = \"PROGRAM ARGUMENT…\"` beside it")
                .remedy("name the command that checks it, or take the key out");
            section.reading.add(problem);
        }
    }
    Some(CheckConfig { command: command?, interval, timeout })
}

fn timeout(section: &Section<'_>, key: &str) -> Duration {
    within(section, key, DEFAULT_TIMEOUT)
}

/// A time-out of its own, that of all scripts, or the default.
fn within(section: &Section<'_>, key: &str, default: Duration) -> Duration {
    let own = keys::time(section, key);
    let all = keys::time(section, "script_timeout").filter(|_| own.is_none());
    own.or(all).map_or(default, Spanned::into_inner)
}

/// A command line: one text, split as a shell would, or a list of its words.
pub(crate) fn command(section: &Section<'_>, key: &str) -> Option<Vec<String>> {
    let expected = "a command line in quotes, or a list of its words";
    let words = section.words(key, expected)?;
    let is_text = section.get(key)?.get_ref().is_str();
    let bad = |found: String, remedy: &str| {
        let problem = section
            .reading
            .problem(
                Code::BadValue,
                &section.get(key).map_or_else(|| section.span.clone(), Spanned::span),
                format!("{} is no command line", section.label(key)),
            )
            .found(found)
            .expected(expected)
            .remedy(remedy);
        section.reading.add(problem);
        None
    };
    let words: Vec<String> = match words.first() {
        Some(text) if is_text => match shell_words::split(text.get_ref()) {
            Ok(words) => words,
            Err(_) => {
                return bad(format!("{:?}", text.get_ref()), "close the quote, or write the words as a list");
            }
        },
        _ => words.into_iter().map(Spanned::into_inner).collect(),
    };
    if words.first().is_none_or(String::is_empty) {
        return bad("nothing".to_owned(), "name the program to run");
    }
    if words.iter().any(|word| word.contains('\0')) {
        return bad("a zero byte".to_owned(), "take the zero byte out: no argument can hold one");
    }
    Some(words)
}

pub(crate) fn non_empty(section: &Section<'_>, key: &str, expected: &str) -> Option<String> {
    let text = section.string(key)?;
    if !text.get_ref().trim().is_empty() && !text.get_ref().contains('\0') {
        return Some(text.into_inner());
    }
    let problem = section
        .reading
        .problem(Code::BadValue, &text.span(), format!("{} names nothing", section.label(key)))
        .found(format!("{:?}", text.get_ref()))
        .expected(expected)
        .remedy(format!("name {expected}, or take the key out"));
    section.reading.add(problem);
    None
}

fn environment(section: &Section<'_>) -> BTreeMap<String, String> {
    let Some(table) = section.table("environment", "a table { NAME = \"value\", … }") else {
        return BTreeMap::new();
    };
    let mut environment = BTreeMap::new();
    for (name, value) in table.entries() {
        let label = format!("`{}` in {}", name.get_ref(), table.what);
        let Some(value) = table.as_string(value, &label, "text in quotes") else { continue };
        let key = name.get_ref();
        let reserved = key.starts_with("CLP_") || key.starts_with("_CRS_");
        if key.is_empty() || key.contains(['=', '\0']) || value.get_ref().contains('\0') || reserved {
            let remedy = if reserved {
                "choose another name: Tasuki sets the CLP_ and _CRS_ variables itself"
            } else {
                "a variable's name has no `=`, and neither name nor value has a zero byte"
            };
            let problem = section
                .reading
                .problem(Code::BadValue, &name.span(), format!("{label} cannot be set"))
                .found(format!("{key:?}"))
                .expected("a variable of the program's own")
                .remedy(remedy);
            section.reading.add(problem);
            continue;
        }
        environment.insert(name.into_inner(), value.into_inner());
    }
    environment
}
