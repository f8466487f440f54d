//! Reads the keys of one section, one after the other, and notes what is wrong with them.
//!
//! A getter answers `None` both for a key that is absent and for one that is wrong; the second has
//! then been reported. [`Section::finish`] reports the keys that nobody asked for, and those that
//! were needed and are absent, unless a misspelt one explains it.

mod values;

use std::{cell::RefCell, collections::BTreeMap};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    problem::{Code, Problem},
    source::{Reading, Span},
    spell::{did_you_mean, nearest, one_of},
};

/// One section of the file, or one table inside of it.
pub(crate) struct Section<'a> {
    pub(crate) reading: &'a Reading,
    /// As people call it: `[cluster]`, `[[server]] kiki`.
    pub(crate) what: String,
    /// Its header.
    pub(crate) span: Span,
    table: &'a DeTable<'a>,
    /// What stands for keys that are absent: the defaults that a user type gives.
    pub(crate) defaults: BTreeMap<String, &'a Spanned<DeValue<'a>>>,
    /// The whole file: its keys are sections.
    pub(crate) is_file: bool,
    asked: RefCell<Vec<String>>,
    /// Keys that are not to be used here; that has been reported.
    judged: RefCell<Vec<String>>,
    missing: RefCell<Vec<(String, Problem)>>,
}

impl<'a> Section<'a> {
    pub(crate) fn new(reading: &'a Reading, what: String, span: Span, table: &'a DeTable<'a>) -> Self {
        Self {
            reading,
            what,
            span,
            table,
            defaults: BTreeMap::new(),
            is_file: false,
            asked: RefCell::default(),
            judged: RefCell::default(),
            missing: RefCell::default(),
        }
    }

    /// Reports unknown and missing keys.
    pub(crate) fn finish(self) {
        self.report_keys(false);
    }

    /// Reports missing keys and what was written in their place, when it is not known which other
    /// keys there may be.
    pub(crate) fn finish_missing(self) {
        self.report_keys(true);
    }

    fn report_keys(self, only_for_missing: bool) {
        let asked = self.asked.into_inner();
        let judged = self.judged.into_inner();
        let noun = if self.is_file { "section" } else { "key" };
        let mut missing = self.missing.into_inner();
        for key in self.table.keys() {
            let word: &str = key.get_ref();
            if asked.iter().chain(&judged).any(|key| key == word) {
                continue;
            }
            let absent = asked.iter().map(String::as_str).filter(|key| !self.table.contains_key(*key));
            // Only keys that are not there yet can have been meant.
            let near = nearest(word, absent);
            let before = missing.len();
            missing.retain(|(key, _)| Some(key.as_str()) != near);
            if only_for_missing && missing.len() == before {
                continue;
            }
            let problem = self
                .reading
                .problem(Code::UnknownKey, &key.span(), format!("unknown {noun} `{word}` in {}", self.what))
                .found(format!("`{word}`"))
                .expected(one_of(asked.iter().map(String::as_str)))
                .remedy(did_you_mean(near, "take it out: nothing would read it"));
            self.reading.add(problem);
        }
        for (_, problem) in missing {
            self.reading.add(problem);
        }
    }

    /// A key that must be there.
    pub(crate) fn need(&self, key: &str, example: &str) {
        if self.table.contains_key(key) || self.defaults.contains_key(key) {
            return;
        }
        let problem = self
            .reading
            .problem(Code::Missing, &self.span, format!("{} has no `{key}`", self.what))
            .expected(format!("the {} `{key}`", if self.is_file { "section" } else { "key" }))
            .remedy(format!("add {example}"));
        self.missing.borrow_mut().push((key.to_owned(), problem));
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.iter().any(|one| one == key) {
            asked.push(key.to_owned());
        }
        self.table.get(key).or_else(|| self.defaults.get(key).copied())
    }

    /// Whether the key stands here itself, rather than as a default.
    pub(crate) fn writes(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A key that exists elsewhere, but makes no sense here.
    pub(crate) fn refuse(&self, key: &str, message: String, expected: &str, remedy: &str) {
        self.judged.borrow_mut().push(key.to_owned());
        if self.writes(key) {
            let problem = self
                .reading
                .problem(Code::NotOfThisType, &self.key_span(key), message)
                .found(format!("`{key}`"))
                .expected(expected)
                .remedy(remedy);
            self.reading.add(problem);
        }
    }

    /// Where the key's name stands; the section's header when it is absent.
    pub(crate) fn key_span(&self, key: &str) -> Span {
        self.table.get_key_value(key).map_or_else(|| self.span.clone(), |(key, _)| key.span())
    }

    /// Each key with its value, when the keys are names that the user chose.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Spanned<String>, &'a Spanned<DeValue<'a>>)> {
        self.table.iter().map(|(key, value)| (Spanned::new(key.span(), key.get_ref().to_string()), value))
    }

    /// Something that is planned, but that this version cannot do.
    pub(crate) fn unsupported(&self, key: &str, what: &str, remedy: &str) {
        self.judged.borrow_mut().push(key.to_owned());
        if self.table.contains_key(key) {
            unsupported(self.reading, &self.key_span(key), what, remedy);
        }
    }

    /// A table under one key: `key = { … }` or `[section.key]`.
    pub(crate) fn table(&self, key: &str, example: &str) -> Option<Section<'a>> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::Table(table) => {
                let what = format!("`{key}` of {}", self.what);
                Some(Section::new(self.reading, what, self.key_span(key), table))
            }
            _ => self.wrong_type(value, &self.label(key), example),
        }
    }

    /// The sections `[[key]]`, named after their number until their name is known.
    pub(crate) fn tables(&self, key: &str, header: &str) -> Vec<Section<'a>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let expected = format!("sections that begin with `{header}`");
        let DeValue::Array(list) = value.get_ref() else {
            let message = format!("`{key}` must be a list of sections");
            let problem = self
                .reading
                .problem(Code::WrongType, &value.span(), message)
                .found(describe(value.get_ref()))
                .expected(&expected)
                .remedy(format!("write `{header}`, with two brackets, before each one"));
            self.reading.add(problem);
            return Vec::new();
        };
        if list.is_empty() {
            let problem = self
                .reading
                .problem(Code::Missing, &value.span(), format!("{} has no `{key}`", self.what))
                .found("an empty list")
                .expected(&expected)
                .remedy(format!("write at least one `{header}`"));
            self.reading.add(problem);
        }
        let mut sections = Vec::new();
        for entry in list {
            match entry.get_ref() {
                DeValue::Table(table) => {
                    let name = table.get("name").and_then(|name| name.get_ref().as_str());
                    let number = || format!("number {}", sections.len() + 1);
                    let what = format!("{header} {}", name.map_or_else(number, ToOwned::to_owned));
                    sections.push(Section::new(self.reading, what, entry.span(), table));
                }
                _ => {
                    let _: Option<()> = self.wrong_type(entry, &format!("an entry of `{key}`"), &expected);
                }
            }
        }
        sections
    }
}

/// Says clearly that something is planned but not there.
pub(crate) fn unsupported(reading: &Reading, span: &Span, what: &str, remedy: &str) {
    let message = format!("not supported by this version yet: {what}");
    reading.add(reading.problem(Code::NotSupported, span, message).remedy(remedy));
}

/// A value as an error text names it.
pub(crate) fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text {text:?}"),
        DeValue::Integer(number) => format!("the number `{number}`"),
        DeValue::Float(number) => format!("the number `{number}`"),
        DeValue::Boolean(yes) => format!("`{yes}`"),
        DeValue::Datetime(date) => format!("the date `{date}`"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
