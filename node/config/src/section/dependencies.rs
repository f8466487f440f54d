//! `start_dependencies` and `stop_dependencies`: one line in the words of the reference, or a list
//! of tables.
//!
//! ```toml
//! start_dependencies = "hard(db, global:vip) pullup:always(db)"
//! start_dependencies = [{ hard = "db" }, { hard = "vip", global = true }, { pullup = "db", always = true }]
//! ```
//!
//! `type:NAME` instead of a name stands for every resource of that type. A modifier that is absent
//! is `false`.

use tasuki_core::config::{
    Named, StartDependency, StartKind, StopDependency,
    dependency_syntax::{SyntaxError, Written, normalise_start, normalise_stop, parse_start, parse_stop},
};
use toml::{Spanned, de::DeValue};

use crate::{draft::Placed, problem::Code, reader::Section, source::Span, spell::one_of};

/// Each kind of start dependency, with its modifiers.
const KINDS: [(&str, &[&str]); 5] = [
    ("hard", &["intermediate", "global"]),
    ("weak", &["concurrent", "global", "uniform"]),
    ("attraction", &["intermediate"]),
    ("pullup", &["always", "intermediate", "global"]),
    ("dispersion", &["active", "intermediate"]),
];

const STOP_KINDS: [(&str, &[&str]); 1] = [("hard", &["intermediate", "global", "shutdown"])];

const EXPECTED: &str =
    "one line such as \"hard(db) pullup(db)\", or a list of tables such as { hard = \"db\" }";

pub(crate) fn start(section: &Section<'_>) -> Vec<Placed<StartDependency>> {
    let key = "start_dependencies";
    let found = match one_line(section, key) {
        Some(text) => from_line(section, key, &text, parse_start(text.get_ref())),
        None => entries(section, key, &KINDS, |entry, kind, on| {
            let has = |modifier| entry.boolean(modifier).is_some_and(Spanned::into_inner);
            let kind = match kind {
                "hard" => StartKind::Hard { intermediate: has("intermediate"), global: has("global") },
                "weak" => StartKind::Weak {
                    concurrent: has("concurrent"),
                    global: has("global"),
                    uniform: has("uniform"),
                },
                "attraction" => StartKind::Attraction { intermediate: has("intermediate") },
                "pullup" => StartKind::Pullup {
                    always: has("always"),
                    intermediate: has("intermediate"),
                    global: has("global"),
                },
                _ => StartKind::Dispersion { active: has("active"), intermediate: has("intermediate") },
            };
            StartDependency { on, kind }
        }),
    };
    in_order(found, normalise_start)
}

pub(crate) fn stop(section: &Section<'_>) -> Vec<Placed<StopDependency>> {
    let key = "stop_dependencies";
    let found = match one_line(section, key) {
        Some(text) => from_line(section, key, &text, parse_stop(text.get_ref())),
        None => entries(section, key, &STOP_KINDS, |entry, _, on| {
            let has = |modifier| entry.boolean(modifier).is_some_and(Spanned::into_inner);
            let (intermediate, global) = (has("intermediate"), has("global"));
            StopDependency { on, intermediate, global, shutdown: has("shutdown") }
        }),
    };
    in_order(found, normalise_stop)
}

/// The normal order, in which they are also written, each with its place.
fn in_order<T: Clone + PartialEq>(found: Vec<Placed<T>>, normalise: fn(&mut Vec<T>)) -> Vec<Placed<T>> {
    let mut values: Vec<T> = found.iter().map(|(value, _)| value.clone()).collect();
    normalise(&mut values);
    let place = |value: &T| found.iter().find(|(other, _)| other == value).map(|(_, span)| span.clone());
    values.into_iter().filter_map(|value| place(&value).map(|span| (value, span))).collect()
}

fn one_line(section: &Section<'_>, key: &str) -> Option<Spanned<String>> {
    if section.get(key)?.get_ref().is_str() { section.string(key) } else { None }
}

fn from_line<T>(
    section: &Section<'_>,
    key: &str,
    text: &Spanned<String>,
    parsed: Result<Vec<Written<T>>, SyntaxError>,
) -> Vec<Placed<T>> {
    let within = |span: &Span| within(section, text, span);
    match parsed {
        Ok(found) => found.into_iter().map(|one| (one.value, within(&one.span))).collect(),
        Err(error) => {
            let word = text.get_ref().get(error.span.clone()).unwrap_or_default();
            let found = if word.is_empty() { "nothing".to_owned() } else { format!("`{word}`") };
            let problem = section
                .reading
                .problem(
                    Code::BadDependency,
                    &within(&error.span),
                    format!("{}: {error}", section.label(key)),
                )
                .found(found)
                .expected(error.fault.expected())
                .remedy(error.fault.remedy());
            section.reading.add(problem);
            Vec::new()
        }
    }
}

/// The place of a part of a text in the file. With escapes in the text it cannot be told: then the
/// whole text is meant.
fn within(section: &Section<'_>, text: &Spanned<String>, part: &Span) -> Span {
    let whole = text.span();
    let start = whole.start + 1;
    let same = section.reading.source.slice(&(start..start + text.get_ref().len()));
    if same == Some(text.get_ref().as_str()) { start + part.start..start + part.end } else { whole }
}

/// The list form: a table for each dependency, with its kind, its name and its modifiers.
fn entries<T>(
    section: &Section<'_>,
    key: &str,
    kinds: &'static [(&'static str, &'static [&'static str])],
    make: impl Fn(&Section<'_>, &str, Named) -> T,
) -> Vec<Placed<T>> {
    let Some(value) = section.get(key) else { return Vec::new() };
    let DeValue::Array(list) = value.get_ref() else {
        let _: Option<()> = section.wrong_type(value, &section.label(key), EXPECTED);
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in list {
        let DeValue::Table(table) = entry.get_ref() else {
            let label = format!("an entry of {}", section.label(key));
            let _: Option<()> = section.wrong_type(entry, &label, "a table such as { hard = \"db\" }");
            continue;
        };
        let what = format!("an entry of {}", section.label(key));
        let entry = Section::new(section.reading, what, entry.span(), table);
        if let Some((kind, on)) = kind(&entry, kinds) {
            let span = on.span();
            let value = make(&entry, kind, named(on.get_ref()));
            entry.finish();
            found.push((value, span));
        }
    }
    found
}

/// The one kind of an entry, with the name that it has.
fn kind(
    entry: &Section<'_>,
    kinds: &'static [(&'static str, &'static [&'static str])],
) -> Option<(&'static str, Spanned<String>)> {
    let words = || kinds.iter().map(|(kind, _)| *kind);
    let given: Vec<_> = kinds.iter().filter(|(kind, _)| entry.writes(kind)).collect();
    let [(kind, own)] = given[..] else {
        let found: Vec<String> = entry.entries().map(|(key, _)| key.into_inner()).collect();
        let near = found.iter().find_map(|word| crate::spell::nearest(word, words()));
        let problem = entry
            .reading
            .problem(Code::BadDependency, &entry.span, format!("{} has not one kind", entry.what))
            .found(if found.is_empty() {
                "nothing".to_owned()
            } else {
                one_of(found.iter().map(String::as_str)).replace(" or ", " and ")
            })
            .expected(format!("{}, and one only", one_of(words())))
            .remedy(crate::spell::did_you_mean(
                near.filter(|_| given.is_empty()),
                "write an entry for each dependency: { hard = \"db\" }, { pullup = \"db\" }",
            ));
        entry.reading.add(problem);
        return None;
    };
    for (other, modifiers) in kinds.iter().filter(|(other, _)| other != kind) {
        for modifier in modifiers.iter().filter(|modifier| !own.contains(modifier)) {
            let message = format!("`{modifier}` is no modifier of `{kind}`");
            let remedy = format!("take it out; `{other}` has it");
            entry.refuse(modifier, message, &one_of(own.iter().copied()), &remedy);
        }
    }
    let name = entry.string(kind)?;
    let word = name.get_ref();
    if word.is_empty() || word == "type:" || word.contains([' ', ',', '(', ')']) {
        let problem = entry
            .reading
            .problem(Code::BadDependency, &name.span(), format!("{} names nothing", entry.label(kind)))
            .found(format!("{word:?}"))
            .expected("the name of one resource, or `type:` and the name of a type")
            .remedy("name one resource; write an entry for each of several");
        entry.reading.add(problem);
        return None;
    }
    Some((kind, name))
}

fn named(word: &str) -> Named {
    match word.strip_prefix("type:") {
        Some(name) => Named::Type(name.into()),
        None => Named::Resource(word.into()),
    }
}
