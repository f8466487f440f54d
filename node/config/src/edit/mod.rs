//! Changes of a configuration one definition at a time: what `tasuki resource add`, `type modify`,
//! `pool delete` and their like do to the configuration of a running cluster.
//!
//! The configuration is written as its file, the change is made there, and the result is read with
//! the very checks that a file gets. Problems name the attribute instead of a line.

mod member;
mod server;
mod typed;

use std::collections::BTreeMap;

use tasuki_core::{
    config::{
        ClusterConfig, MonitorConfig,
        graph::{Subject, dependents_of},
        type_tree::TypeTree,
    },
    ids::MonitorName,
};

pub use member::edit_member_add;
pub use server::{NewServer, edit_server_add, edit_server_remove};

use crate::{
    parse_unnumbered,
    problem::{Code, ConfigErrors, Problem},
    spell::{did_you_mean, nearest, one_of},
    write::{Item, Sheet, render, sheets},
};

/// What can be added, changed and deleted by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A resource. Members of groups can be changed and deleted, but not added.
    Resource,
    /// A resource type.
    Type,
    /// A server pool.
    Pool,
    /// A monitor.
    Monitor,
}

impl Kind {
    /// As in `tasuki KIND add`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::Type => "type",
            Self::Pool => "pool",
            Self::Monitor => "monitor",
        }
    }

    fn header(self) -> &'static str {
        match self {
            Self::Resource => "[[resource]]",
            Self::Type => "[[type]]",
            Self::Pool => "[[pool]]",
            Self::Monitor => "[[monitor]]",
        }
    }

    fn is_of(self, sheet: &Sheet) -> bool {
        sheet.header == self.header() || (self == Self::Resource && sheet.header == MEMBER)
    }
}

const MEMBER: &str = "[[group.resource]]";

/// Adds what a part of a file says: the keys of one section, with or without its header.
///
/// # Errors
/// Everything that would be wrong with the configuration then.
pub fn edit_add(config: &ClusterConfig, kind: Kind, toml: &str) -> Result<ClusterConfig, ConfigErrors> {
    let source = format!("{} add", kind.word());
    let header = if toml.trim_start().starts_with("[[") { "" } else { kind.header() };
    let text = format!("{}\n{header}\n{toml}\n", render(&sheets(config)));
    let edited = parse_unnumbered(&text, &source)?.config;
    only(config, kind, edited, &source)
}

/// Adds a definition whose attributes are given as text: each value is read as what its attribute
/// is. Names of attributes may also be those of the reference (`CHECK_INTERVAL`); a duration without
/// a unit is in seconds, as there.
///
/// # Errors
/// Everything that would be wrong with the configuration then.
pub fn edit_define(
    config: &ClusterConfig,
    kind: Kind,
    name: &str,
    attributes: &[(String, String)],
) -> Result<ClusterConfig, ConfigErrors> {
    let source = format!("{} add", kind.word());
    let mut all = sheets(config);
    let mut sheet = Sheet::named(kind.header(), name);
    change(config, kind, &mut sheet, attributes, &source)?;
    all.push(sheet);
    let edited = parse_unnumbered(&render(&all), &source)?.config;
    only(config, kind, edited, &source)
}

/// Changes some attributes of a definition, given as text as for [`edit_define`]. An empty text
/// takes the attribute out, so that its default holds again. `recovery.restarts` and its like change
/// one entry of a table.
///
/// # Errors
/// That there is no such definition, or everything that would be wrong with the configuration then.
pub fn edit_modify(
    config: &ClusterConfig,
    kind: Kind,
    name: &str,
    changes: &[(String, String)],
) -> Result<ClusterConfig, ConfigErrors> {
    let source = format!("{} modify", kind.word());
    let mut all = sheets(config);
    let at = find(&all, kind, name, &source)?;
    for (key, _) in changes {
        let key = typed::key(key);
        if key == "name" || (key == "type" && kind != Kind::Pool) {
            let message = format!("`{key}` of {} {name} cannot be changed", kind.word());
            let problem = Problem::nowhere(Code::BadValue, &source, message)
                .found(format!("`{key}`"))
                .expected("other attributes")
                .remedy(format!("delete it, and add another {}", kind.word()));
            return Err(ConfigErrors::one(problem));
        }
    }
    change(config, kind, &mut all[at], changes, &source)?;
    let edited = parse_unnumbered(&render(&all), &source)?.config;
    only(config, kind, edited, &source)
}

/// Deletes a definition.
///
/// # Errors
/// That there is no such definition, or what still needs it.
pub fn edit_delete(config: &ClusterConfig, kind: Kind, name: &str) -> Result<ClusterConfig, ConfigErrors> {
    let source = format!("{} delete", kind.word());
    let mut all = sheets(config);
    let at = find(&all, kind, name, &source)?;
    let subject = match kind {
        Kind::Resource => Some(Subject::Resource(name.into())),
        Kind::Type => Some(Subject::Type(name.into())),
        Kind::Pool => Some(Subject::Pool(name.into())),
        Kind::Monitor => None, // nothing names one
    };
    let needed: Vec<String> = subject
        .map(|subject| dependents_of(config, &subject))
        .into_iter()
        .flatten()
        .map(|dependent| dependent.to_string())
        .collect();
    if !needed.is_empty() {
        let message = format!("{} {name} is still needed", kind.word());
        let problem = Problem::nowhere(Code::StillNeeded, &source, message)
            .found(needed.join(", "))
            .expected("nothing that names it")
            .remedy("change or delete these first");
        return Err(ConfigErrors::one(problem));
    }
    all.remove(at);
    Ok(parse_unnumbered(&render(&all), &source)?.config)
}

fn find(all: &[Sheet], kind: Kind, name: &str, source: &str) -> Result<usize, ConfigErrors> {
    if let Some(at) = all.iter().position(|sheet| kind.is_of(sheet) && sheet.name == name) {
        return Ok(at);
    }
    let names = || all.iter().filter(|sheet| kind.is_of(sheet)).map(|sheet| sheet.name.as_str());
    let problem =
        Problem::nowhere(Code::UnknownName, source, format!("no {} is called `{name}`", kind.word()))
            .found(format!("`{name}`"))
            .expected(one_of(names()))
            .remedy(did_you_mean(nearest(name, names()), format!("see `tasuki {} list`", kind.word())));
    Err(ConfigErrors::one(problem))
}

/// Puts attributes that are given as text into a section.
fn change(
    config: &ClusterConfig,
    kind: Kind,
    sheet: &mut Sheet,
    changes: &[(String, String)],
    source: &str,
) -> Result<(), ConfigErrors> {
    let tree = TypeTree::new(&config.types).unwrap_or_else(|_| TypeTree::built_in());
    // What a value is depends on the type, wherever among the changes that stands.
    let type_name = changes.iter().find(|(key, _)| typed::key(key) == "type").map(|(_, text)| text.clone());
    let type_name = type_name.or_else(|| sheet.text_of("type")).unwrap_or_default();
    for (given, text) in changes {
        let key = typed::key(given);
        if !typed::is_key(&key) {
            let problem = Problem::nowhere(Code::BadName, source, "this cannot be the name of an attribute")
                .found(format!("{given:?}"))
                .expected("letters, digits, `-` and `_`, with a `.` before an entry of a table")
                .remedy("write NAME=VALUE");
            return Err(ConfigErrors::one(problem));
        }
        if key == "script_timeout" {
            // It speaks for those that are not given beside it.
            for other in ["start_timeout", "stop_timeout", "check_timeout"] {
                sheet.lines.retain(|(line, _)| line != other);
            }
        }
        sheet.set(&key, typed::value(kind, &tree, &type_name, &key, text));
    }
    Ok(())
}

/// The edited configuration, provided that nothing else has changed with it.
fn only(
    before: &ClusterConfig,
    kind: Kind,
    after: ClusterConfig,
    source: &str,
) -> Result<ClusterConfig, ConfigErrors> {
    let before = parse_unnumbered(&render(&sheets(before)), source)?.config;
    let mut masked = after.clone();
    match kind {
        Kind::Resource => {
            masked.resources.clone_from(&before.resources);
            for (name, group) in &mut masked.groups {
                let old = before.groups.get(name).map(|old| old.resources.clone());
                group.resources = old.unwrap_or_default();
            }
            // Those of mirrored disks come and go with these.
            let by_itself = |monitors: &BTreeMap<MonitorName, MonitorConfig>| -> BTreeMap<_, _> {
                let others = monitors.iter().filter(|(_, monitor)| !monitor.kind.is_of_mirror());
                others.map(|(name, monitor)| (name.clone(), monitor.clone())).collect()
            };
            if by_itself(&masked.monitors) == by_itself(&before.monitors) {
                masked.monitors.clone_from(&before.monitors);
            }
        }
        // What a type gives, its resources have.
        Kind::Type => {
            masked.types.clone_from(&before.types);
            masked.resources.clone_from(&before.resources);
            masked.groups.clone_from(&before.groups);
        }
        Kind::Pool => masked.pools.clone_from(&before.pools),
        Kind::Monitor => masked.monitors.clone_from(&before.monitors),
    }
    if masked == before {
        return Ok(after);
    }
    let message = format!("this would change more than one {}", kind.word());
    let problem = Problem::nowhere(Code::BadValue, source, message)
        .found("other sections beside it")
        .expected(format!("the keys of one {}", kind.header()))
        .remedy("give one definition, or push a whole file with `tasuki config push`");
    Err(ConfigErrors::one(problem))
}

impl Sheet {
    /// What stands behind a key as text.
    fn text_of(&self, key: &str) -> Option<String> {
        let (_, item) = self.lines.iter().find(|(line, _)| line == key)?;
        match item {
            Item::Value(value) => Some(value.trim_matches('"').to_owned()),
            Item::Table(_) => None,
        }
    }

    /// Gives a key another value, or none. `a.b` is the entry `b` of the table `a`, when there is
    /// one.
    fn set(&mut self, key: &str, value: Option<String>) {
        if let Some((table, entry)) = key.split_once('.')
            && let Some((_, Item::Table(entries))) = self.lines.iter_mut().find(|(line, _)| line == table)
        {
            entries.retain(|(name, _)| name != entry);
            entries.extend(value.map(|value| (entry.to_owned(), value)));
            return;
        }
        let at = self.lines.iter().position(|(line, _)| line == key);
        match (at, value) {
            (Some(at), Some(value)) => self.lines[at].1 = Item::Value(value),
            (Some(at), None) => {
                self.lines.remove(at);
            }
            (None, Some(value)) => self.lines.push((key.to_owned(), Item::Value(value))),
            (None, None) => {}
        }
    }
}
