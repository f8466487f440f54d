//! What is added, from words and from a part of a file.

use tasuki_config::{ConfigErrors, Kind};
use tasuki_core::config::ClusterConfig;

use crate::app::AppError;

/// What is added: a name, attributes as text, and perhaps more keys as TOML.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewObject {
    /// Its name; empty when the text gives it.
    pub name: String,
    /// Its attributes, beside what the text gives.
    pub attributes: Vec<(String, String)>,
    /// The keys of its section, with or without the section's heading.
    pub text: String,
}

/// An attribute that a new type adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAttribute {
    /// Its name.
    pub name: String,
    /// What its values are, as a word.
    pub kind: String,
    /// Its value where a resource gives none.
    pub default: Option<String>,
    /// A resource must give it.
    pub required: bool,
    /// The least value.
    pub min: Option<String>,
    /// The greatest value.
    pub max: Option<String>,
}

/// An addition, ready to be made.
pub(super) struct Addition<'a> {
    kind: Kind,
    new: &'a NewObject,
    /// Keys that are said beside its name and its attributes.
    keys: Vec<(String, String)>,
    /// Its section as TOML, when a file gives a part of it.
    snippet: Option<String>,
}

impl Addition<'_> {
    /// The configuration with it.
    pub(super) fn apply(&self, config: &ClusterConfig) -> Result<ClusterConfig, ConfigErrors> {
        let Self { kind, new, keys, snippet } = self;
        let attributes = || keys.iter().chain(&new.attributes).cloned().collect::<Vec<_>>();
        let Some(snippet) = snippet else {
            return tasuki_config::edit_define(config, *kind, &new.name, &attributes());
        };
        let config = tasuki_config::edit_add(config, *kind, snippet)?;
        if new.attributes.is_empty() {
            return Ok(config);
        }
        tasuki_config::edit_modify(&config, *kind, &new.name, &new.attributes)
    }
}

impl NewObject {
    /// Words alone are read by their attributes; with a file, or `lines` of TOML, it is a section.
    pub(super) fn addition(
        &self,
        kind: Kind,
        keys: &[(&str, &str)],
        lines: &str,
    ) -> Result<Addition<'_>, AppError> {
        let said = keys.iter().filter(|(_, value)| !value.is_empty());
        Ok(Addition {
            kind,
            new: self,
            keys: said.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            snippet: match self.text.trim().is_empty() && lines.is_empty() {
                true => None,
                false => Some(self.snippet(kind.word(), keys, lines)?),
            },
        })
    }

    /// Its section as TOML, without the attributes that were given as text. `lines` are more keys.
    fn snippet(&self, section: &str, keys: &[(&str, &str)], lines: &str) -> Result<String, AppError> {
        let heading = format!("[[{section}]]");
        let body = body_of(&self.text, &heading)?;
        let mut snippet = format!("{heading}\n");
        for (key, value) in std::iter::once(&("name", self.name.as_str())).chain(keys) {
            match own_line(body, key) {
                _ if value.is_empty() => {}
                None => snippet.push_str(&format!("{key} = {}\n", quoted(value))),
                Some(said) if said == quoted(value) => {}
                Some(said) => {
                    return Err(AppError::Invalid(format!("the file says {key} = {said}, you say {value}")));
                }
            }
        }
        snippet.push_str(lines);
        snippet.push_str(body);
        if !snippet.ends_with('\n') {
            snippet.push('\n');
        }
        Ok(snippet)
    }
}

/// What stands below the heading, which may be left out.
fn body_of<'a>(text: &'a str, heading: &str) -> Result<&'a str, AppError> {
    let is_heading = |line: &&str| line.trim() == heading;
    let wrong = || AppError::Invalid(format!("the file must have the keys of one {heading} section"));
    match text.lines().filter(is_heading).count() {
        0 => Ok(text),
        1 => {
            let (before, body) = text.split_once(heading).ok_or_else(wrong)?;
            let empty = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
            if before.lines().all(empty) {
                Ok(body.trim_start_matches([' ', '\r', '\n']))
            } else {
                Err(wrong())
            }
        }
        _ => Err(wrong()),
    }
}

/// The value of a key that a text gives by itself, above its first table.
fn own_line<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let above = text.lines().take_while(|line| !line.trim_start().starts_with('['));
    above
        .filter_map(|line| line.split_once('='))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim())
}

impl NewAttribute {
    /// As the `[[type]]` section has it.
    pub(super) fn line(&self) -> String {
        let value = |text: &str| match self.kind.as_str() {
            // What is no number is quoted, so that the check can say what is wrong with it.
            "integer" if text.parse::<i64>().is_ok() => text.to_owned(),
            "boolean" if text == "true" || text == "false" => text.to_owned(),
            _ => quoted(text),
        };
        let mut keys = vec![format!("kind = {}", quoted(&self.kind))];
        for (key, text) in [("default", &self.default), ("min", &self.min), ("max", &self.max)] {
            keys.extend(text.as_ref().map(|text| format!("{key} = {}", value(text))));
        }
        if self.required {
            keys.push("required = true".to_owned());
        }
        format!("attributes.{} = {{ {} }}\n", quoted(&self.name), keys.join(", "))
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn new(text: &str) -> NewObject {
        NewObject { name: "db".into(), attributes: Vec::new(), text: text.into() }
    }

    #[test]
    fn a_section_is_made_of_words_and_of_a_file() {
        let made = |text| new(text).snippet("resource", &[("type", "exec")], "").unwrap();
        let head = "[[resource]]\nname = \"db\"\ntype = \"exec\"\n";
        assert_eq!(made(""), head);
        assert_eq!(made("load = 3"), format!("{head}load = 3\n"));
        assert_eq!(made("# ours\n[[resource]]\nload = 3\n"), format!("{head}load = 3\n"));
        // What the file says again is not said twice.
        let twice = made("type = \"exec\"\nload = 3\n");
        assert_eq!(twice, "[[resource]]\nname = \"db\"\ntype = \"exec\"\nload = 3\n");
    }

    #[test]
    fn a_file_that_says_something_else_is_refused() {
        for text in ["name = \"bd\"", "[[resource]]\n[[resource]]\n", "load = 1\n[[resource]]\n"] {
            let refused = new(text).snippet("resource", &[("type", "exec")], "");
            assert!(matches!(refused, Err(AppError::Invalid(_))), "{text}");
        }
    }

    #[test]
    fn text_cannot_leave_its_quotes() {
        assert_eq!(quoted("a\"b\\c\nd\u{1}"), r#""a\"b\\c\nd\u0001""#);
    }

    #[test]
    fn attributes_of_types_are_written_with_their_kinds() {
        let attribute = NewAttribute {
            name: "port".into(),
            kind: "integer".into(),
            default: Some("80".into()),
            required: false,
            min: Some("1".into()),
            max: None,
        };
        assert_eq!(attribute.line(), "attributes.\"port\" = { kind = \"integer\", default = 80, min = 1 }\n");
        let span = NewAttribute {
            kind: "duration".into(),
            default: Some("10s".into()),
            min: None,
            required: true,
            ..attribute
        };
        assert_eq!(
            span.line(),
            "attributes.\"port\" = { kind = \"duration\", default = \"10s\", required = true }\n"
        );
    }
}
