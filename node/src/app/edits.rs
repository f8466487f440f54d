//! Edits of the present configuration: one resource, type or pool at a time. What comes out is
//! checked by the same code as a file, and by every server, before it is proposed; an edit that was
//! computed from an older configuration is refused (R12).

use tasuki_config::Kind;
use tasuki_core::{
    config::{
        ClusterConfig,
        pool::{FREE, GENERIC},
        type_tree::TypeTree,
    },
    ids::{PoolName, ResourceName, TypeName},
    registry::{Key, State},
};

use super::{
    App, AppError, Caller, Role,
    config::{Push, problem},
    pools::no_such_pool,
    resources::{ResourceError, no_such_resource},
    types::{no_such_type, tree_of},
};

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

type Changed = Result<ClusterConfig, tasuki_config::ConfigErrors>;

impl App {
    /// Adds a resource outside every group.
    ///
    /// # Errors
    /// Not allowed, mistakes, a server's refusal, no quorum.
    pub async fn resource_add(
        &self,
        by: &Caller,
        new: NewObject,
        type_name: &str,
        dry_run: bool,
    ) -> Result<Push, AppError> {
        let add = new.addition(Kind::Resource, &[("type", type_name)], "")?;
        self.edit(by, dry_run, |_| Ok(()), |config| add.apply(config)).await
    }

    /// Changes attributes of a resource; those not named stay as they are.
    ///
    /// # Errors
    /// Not allowed, no such resource, mistakes, a server's refusal, no quorum.
    pub async fn resource_modify(
        &self,
        by: &Caller,
        name: &ResourceName,
        changes: Vec<(String, String)>,
        dry_run: bool,
    ) -> Result<Push, AppError> {
        self.edit(
            by,
            dry_run,
            |state| resource_is_there(state, name),
            |config| tasuki_config::edit_modify(config, Kind::Resource, name.as_str(), &changes),
        )
        .await
    }

    /// Takes a resource out of the configuration; what runs of it is stopped.
    ///
    /// # Errors
    /// Not allowed, no such resource, others need it, a server's refusal, no quorum.
    pub async fn resource_delete(
        &self,
        by: &Caller,
        name: &ResourceName,
        dry_run: bool,
    ) -> Result<Push, AppError> {
        self.edit(
            by,
            dry_run,
            |state| resource_is_there(state, name),
            |config| tasuki_config::edit_delete(config, Kind::Resource, name.as_str()),
        )
        .await
    }

    /// Lets a resource be started, or lets nothing start it.
    ///
    /// # Errors
    /// Not allowed, no such resource, no quorum.
    pub async fn resource_enable(
        &self,
        by: &Caller,
        name: &ResourceName,
        enabled: bool,
    ) -> Result<Push, AppError> {
        let changes = [("enabled".to_owned(), enabled.to_string())];
        let there = |state: &State| match state.definitions.contains_key(name) {
            true => Ok(()),
            // A member is enabled with its group.
            false => Err(no_such_resource(state, name).into()),
        };
        self.edit(by, false, there, |config| {
            tasuki_config::edit_modify(config, Kind::Resource, name.as_str(), &changes)
        })
        .await
    }

    /// Adds a resource type.
    ///
    /// # Errors
    /// Not allowed, mistakes, no quorum.
    pub async fn type_add(
        &self,
        by: &Caller,
        new: NewObject,
        base: &str,
        attributes: Vec<NewAttribute>,
        dry_run: bool,
    ) -> Result<Push, AppError> {
        let lines: String = attributes.iter().map(NewAttribute::line).collect();
        let add = new.addition(Kind::Type, &[("base", base)], &lines)?;
        self.edit(by, dry_run, |_| Ok(()), |config| add.apply(config)).await
    }

    /// Takes a resource type out of the configuration.
    ///
    /// # Errors
    /// Not allowed, no such type, a built-in one, others need it, no quorum.
    pub async fn type_delete(&self, by: &Caller, name: &TypeName, dry_run: bool) -> Result<Push, AppError> {
        let there = |state: &State| {
            let tree: TypeTree = tree_of(state)?;
            match () {
                () if !tree.contains(name) => Err(no_such_type(&tree, name).into()),
                () if tree.is_built_in(name) => Err(ResourceError::BuiltIn(format!("type {name}")).into()),
                () => Ok(()),
            }
        };
        self.edit(by, dry_run, there, |config| tasuki_config::edit_delete(config, Kind::Type, name.as_str()))
            .await
    }

    /// Adds a server pool.
    ///
    /// # Errors
    /// Not allowed, mistakes, no quorum.
    pub async fn pool_add(&self, by: &Caller, new: NewObject, dry_run: bool) -> Result<Push, AppError> {
        let add = new.addition(Kind::Pool, &[], "")?;
        self.edit(by, dry_run, |_| Ok(()), |config| add.apply(config)).await
    }

    /// Changes a server pool; what is not named stays as it is.
    ///
    /// # Errors
    /// Not allowed, no such pool, a built-in one, mistakes, no quorum.
    pub async fn pool_modify(
        &self,
        by: &Caller,
        name: &PoolName,
        changes: Vec<(String, String)>,
        dry_run: bool,
    ) -> Result<Push, AppError> {
        self.edit(
            by,
            dry_run,
            |state| pool_is_there(state, name),
            |config| tasuki_config::edit_modify(config, Kind::Pool, name.as_str(), &changes),
        )
        .await
    }

    /// Takes a server pool out of the configuration.
    ///
    /// # Errors
    /// Not allowed, no such pool, a built-in one, others need it, no quorum.
    pub async fn pool_delete(&self, by: &Caller, name: &PoolName, dry_run: bool) -> Result<Push, AppError> {
        self.edit(
            by,
            dry_run,
            |state| pool_is_there(state, name),
            |config| tasuki_config::edit_delete(config, Kind::Pool, name.as_str()),
        )
        .await
    }

    /// Edits the configuration as a quorum has it now.
    async fn edit(
        &self,
        by: &Caller,
        dry_run: bool,
        may: impl FnOnce(&State) -> Result<(), AppError>,
        change: impl FnOnce(&ClusterConfig) -> Changed,
    ) -> Result<Push, AppError> {
        by.must_be(Role::Admin)?;
        let state = self.node.read().await?;
        let present = state
            .config()
            .ok_or_else(|| AppError::Failed("the registry has no configuration yet".to_owned()))?;
        may(&state)?;
        let config = change(&present)
            .map_err(|errors| AppError::Config(errors.problems().iter().map(problem).collect()))?;
        let read = vec![(Key::Configuration, state.revision_of(&Key::Configuration))];
        self.adopt(by, &state, config, Vec::new(), dry_run, read).await
    }
}

/// A resource of its own, or a member of a group.
fn resource_is_there(state: &State, name: &ResourceName) -> Result<(), AppError> {
    if state.definitions.contains_key(name) {
        return Ok(());
    }
    match no_such_resource(state, name) {
        ResourceError::MemberOf { .. } => Ok(()),
        missing => Err(missing.into()),
    }
}

fn pool_is_there(state: &State, name: &PoolName) -> Result<(), AppError> {
    match state.pools.contains_key(name) {
        true => Ok(()),
        false if [FREE, GENERIC].contains(&name.as_str()) => {
            Err(ResourceError::BuiltIn(format!("server pool {name}")).into())
        }
        false => Err(no_such_pool(state, name).into()),
    }
}

/// An addition, ready to be made.
struct Addition<'a> {
    kind: Kind,
    new: &'a NewObject,
    /// Keys that are said beside its name and its attributes.
    keys: Vec<(String, String)>,
    /// Its section as TOML, when a file gives a part of it.
    snippet: Option<String>,
}

impl Addition<'_> {
    fn apply(&self, config: &ClusterConfig) -> Changed {
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
    fn addition(&self, kind: Kind, keys: &[(&str, &str)], lines: &str) -> Result<Addition<'_>, AppError> {
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
    fn line(&self) -> String {
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
