//! From attributes given as text to what the file would have.

use tasuki_core::{
    config::{
        ValueKind,
        built_in::{self, AttributeKind},
        type_tree::TypeTree,
    },
    ids::TypeName,
};

use super::Kind;
use crate::write::text::{inline, quoted, quoted_key, texts};

/// The key of the file for a name that may be that of the reference.
pub(super) fn key(given: &str) -> String {
    let given = given.trim();
    if let Some(attribute) = built_in::ATTRIBUTES.iter().find(|one| one.reference.eq_ignore_ascii_case(given))
    {
        return attribute.name.to_owned();
    }
    // Names of variables and servers behind the point stay as they are.
    match given.split_once('.') {
        Some((table, entry)) => format!("{}.{}", table.to_lowercase(), quoted_key(entry)),
        None => given.to_lowercase(),
    }
}

/// Whether a text can stand as a key in a file.
pub(super) fn is_key(key: &str) -> bool {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let (first, entry) = key.split_once('.').map_or((key, None), |(first, entry)| (first, Some(entry)));
    !first.is_empty() && first.chars().all(bare) && entry.is_none_or(|entry| entry != "\"\"")
}

/// The value as the file has it; nothing for an empty text.
pub(super) fn value(kind: Kind, tree: &TypeTree, type_name: &str, key: &str, text: &str) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    if kind == Kind::Type && key.starts_with("attributes.") {
        return Some(attribute(text));
    }
    Some(match shape(kind, tree, type_name, key) {
        Shape::Text => quoted(text),
        Shape::Integer => integer(text),
        Shape::Boolean => boolean(text),
        Shape::Duration => duration(text),
        Shape::List => texts(text.split([' ', ',']).filter(|part| !part.is_empty())),
        Shape::Table if text.starts_with('{') => text.to_owned(),
        Shape::Table => quoted(text),
    })
}

enum Shape {
    Text,
    Integer,
    Boolean,
    Duration,
    List,
    Table,
}

fn shape(kind: Kind, tree: &TypeTree, type_name: &str, key: &str) -> Shape {
    let (table, entry) = key.split_once('.').unwrap_or((key, ""));
    match (kind, table, entry) {
        (
            _,
            "on_start_failure" | "on_stop_failure" | "recovery" | "environment" | "per_server" | "resync",
            "",
        ) => Shape::Table,
        (_, "on_start_failure" | "on_stop_failure" | "recovery", "retries" | "restarts" | "failovers") => {
            Shape::Integer
        }
        (Kind::Resource, "depends_on", "") => Shape::List,
        (Kind::Resource, _, "") => {
            let type_name = TypeName::from(type_name);
            let own = tree.attribute(&type_name, key).map(|attribute| attribute.kind);
            match own.or_else(|| Some(built_in::attribute(key)?.kind)) {
                Some(AttributeKind::Value(ValueKind::Integer) | AttributeKind::NumberOr(_)) => Shape::Integer,
                Some(AttributeKind::Value(ValueKind::Boolean)) => Shape::Boolean,
                Some(AttributeKind::Value(ValueKind::Duration)) => Shape::Duration,
                Some(AttributeKind::Names(_)) => Shape::List,
                _ => Shape::Text,
            }
        }
        (Kind::Pool, "min" | "max" | "importance", "") | (Kind::Monitor, "retries" | "nice", "") => {
            Shape::Integer
        }
        (Kind::Pool | Kind::Monitor, "servers" | "addresses", "") => Shape::List,
        (Kind::Monitor, "interval" | "timeout" | "start_delay", "") => Shape::Duration,
        _ => Shape::Text,
    }
}

/// What cannot be read as what it should be stays text: the checks of the file say what is wrong.
fn integer(text: &str) -> String {
    text.parse::<i64>().map_or_else(|_| quoted(text), |number| number.to_string())
}

fn boolean(text: &str) -> String {
    match text.to_lowercase().as_str() {
        "1" | "true" | "yes" => "true".to_owned(),
        "0" | "false" | "no" => "false".to_owned(),
        _ => quoted(text),
    }
}

fn duration(text: &str) -> String {
    let plain = text.chars().all(|c| c.is_ascii_digit());
    quoted(&if plain { format!("{text}s") } else { text.to_owned() })
}

/// An attribute of a type: `integer`, `integer default=80 min=1 max=65535`, `string required`, or a
/// table as in the file.
fn attribute(text: &str) -> String {
    if text.starts_with('{') {
        return text.to_owned();
    }
    let words = shell_words::split(text).unwrap_or_else(|_| vec![text.to_owned()]);
    let mut words = words.into_iter();
    let kind = words.next().unwrap_or_default();
    let mut entries = vec![("kind".to_owned(), quoted(&kind))];
    for word in words {
        let (key, text) = word.split_once('=').unwrap_or((&word, "true"));
        let value = match (key, kind.as_str()) {
            ("required", _) | ("default", "boolean") => boolean(text),
            ("default" | "min" | "max", "duration") => duration(text),
            ("default", "integer") | ("min" | "max", _) => integer(text),
            _ => quoted(text),
        };
        entries.push((quoted_key(key), value));
    }
    inline(entries)
}
