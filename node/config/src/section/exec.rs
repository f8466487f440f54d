//! `type = "exec"`: a program, or a pair of scripts.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use tasuki_core::config::ExecConfig;
use toml::Spanned;

use crate::{draft::ExecDraft, problem::Code, reader::Section};

/// How long starting, and stopping, may take.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1800);

pub(crate) fn read(section: &Section<'_>) -> Option<ExecDraft> {
    section.need("start", "start = \"PROGRAM ARGUMENT…\"");
    let start = command(section, "start");
    let stop = command(section, "stop");
    let wait = section.boolean("wait").is_none_or(Spanned::into_inner);
    let watch = section.boolean("watch");
    if let Some(watch) = watch.as_ref().filter(|watch| wait && *watch.get_ref()) {
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
        watch: watch.map_or(!wait, Spanned::into_inner),
        check: None,
    };
    let stop_span = config.stop.as_ref().map(|_| section.key_span("stop"));
    let config = ExecConfig { start: start?, ..config };
    Some(ExecDraft { config, start: section.key_span("start"), stop: stop_span })
}

fn timeout(section: &Section<'_>, key: &'static str) -> Duration {
    section.positive_duration(key).map_or(DEFAULT_TIMEOUT, Spanned::into_inner)
}

/// A command line: one text, split as a shell would, or a list of its words.
fn command(section: &Section<'_>, key: &'static str) -> Option<Vec<String>> {
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

fn non_empty(section: &Section<'_>, key: &'static str, expected: &str) -> Option<String> {
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
        let reserved = key.starts_with("CLP_");
        if key.is_empty() || key.contains(['=', '\0']) || value.get_ref().contains('\0') || reserved {
            let remedy = if reserved {
                "choose another name: Tasuki sets the CLP_ variables itself"
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
