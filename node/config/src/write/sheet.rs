//! One section of the file, as keys with what stands behind them.

use std::{collections::BTreeMap, time::Duration};

use super::text::{inline, quoted, time};

/// What stands behind a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A value as TOML writes it.
    Value(String),
    /// A table of such values.
    Table(Vec<(String, String)>),
}

impl Item {
    fn render(&self) -> String {
        match self {
            Self::Value(value) => value.clone(),
            Self::Table(entries) => inline(entries.iter().cloned()),
        }
    }
}

/// One section: its header and its keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sheet {
    /// With its brackets.
    pub(crate) header: &'static str,
    /// The name of what it defines, where it has one.
    pub(crate) name: String,
    /// Each key with its value, in the order of the file.
    pub(crate) lines: Vec<(String, Item)>,
    /// The defaults that a user type gives, as they would be written.
    pub(crate) presets: BTreeMap<String, String>,
}

impl Sheet {
    pub(crate) fn new(header: &'static str) -> Self {
        Self { header, ..Self::default() }
    }

    /// A section that begins with the name of what it defines.
    pub(crate) fn named(header: &'static str, name: &str) -> Self {
        let mut sheet = Self { header, name: name.to_owned(), ..Self::default() };
        sheet.text("name", name);
        sheet
    }

    /// A key with its value.
    pub(crate) fn pair(&mut self, key: &str, value: impl Into<String>) {
        self.lines.push((key.to_owned(), Item::Value(value.into())));
    }

    /// A key, unless its value is the default: that of the type, or this one.
    pub(crate) fn unless(&mut self, default: &str, key: &str, value: impl Into<String>) {
        let value = value.into();
        if self.presets.get(key).map_or(default, String::as_str) != value {
            self.pair(key, value);
        }
    }

    /// A duration, unless it is the default.
    pub(crate) fn time_unless(&mut self, default: Duration, key: &str, value: Duration) {
        self.unless(&time(default), key, time(value));
    }

    /// A key with a table.
    pub(crate) fn table<K: Into<String>>(
        &mut self,
        key: &str,
        entries: impl IntoIterator<Item = (K, String)>,
    ) {
        let entries = entries.into_iter().map(|(key, value)| (key.into(), value)).collect();
        self.lines.push((key.to_owned(), Item::Table(entries)));
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) {
        self.pair(key, quoted(value));
    }

    pub(crate) fn optional_text(&mut self, key: &str, value: &str) {
        self.unless("\"\"", key, quoted(value));
    }

    pub(crate) fn render(&self) -> String {
        let mut out = format!("{}\n", self.header);
        for (key, item) in &self.lines {
            out += &format!("{key} = {}\n", item.render());
        }
        out
    }
}
