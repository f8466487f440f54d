//! Reads the keys of one section, one after the other, and notes what is wrong with them.
//!
//! A getter answers `None` both for a key that is absent and for one that is wrong; the second has
//! then been reported. [`Section::finish`] reports the keys that nobody asked for, and those that
//! were needed and are absent, unless a misspelt one explains it.

use std::{cell::RefCell, collections::BTreeMap, ops::RangeInclusive, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    problem::{Code, Problem},
    source::{Reading, Span},
    spell::{did_you_mean, nearest, one_of},
    units::{DurationError, parse_duration},
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

    /// Whether the key has a word for something that is planned, but that this version cannot do;
    /// reports it.
    pub(crate) fn unsupported_word(&self, key: &str, words: &[(&str, &str)], remedy: &str) -> bool {
        let Some(value) = self.get(key) else { return false };
        let found = value.get_ref().as_str();
        let Some((_, what)) = words.iter().find(|(word, _)| Some(*word) == found) else { return false };
        unsupported(self.reading, &value.span(), what, remedy);
        true
    }

    pub(crate) fn string(&self, key: &str) -> Option<Spanned<String>> {
        let value = self.get(key)?;
        self.as_string(value, &self.label(key), "text in quotes")
    }

    pub(crate) fn comment(&self) -> String {
        self.string("comment").map(Spanned::into_inner).unwrap_or_default()
    }

    pub(crate) fn boolean(&self, key: &str) -> Option<Spanned<bool>> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::Boolean(yes) => Some(Spanned::new(value.span(), *yes)),
            _ => self.wrong_type(value, &self.label(key), "`true` or `false`, without quotes"),
        }
    }

    /// A whole number within bounds.
    pub(crate) fn integer(&self, key: &str, range: RangeInclusive<u32>) -> Option<Spanned<u32>> {
        let number = self.whole(key, i64::from(*range.start())..=i64::from(*range.end()))?;
        Some(Spanned::new(number.span(), u32::try_from(*number.get_ref()).ok()?))
    }

    /// A whole number within bounds, which may be negative.
    pub(crate) fn whole(&self, key: &str, range: RangeInclusive<i64>) -> Option<Spanned<i64>> {
        let value = self.get(key)?;
        let expected = match (*range.start(), *range.end()) {
            (i64::MIN, i64::MAX) => "a whole number".to_owned(),
            (low, i64::MAX) => format!("a whole number from {low}"),
            (i64::MIN, high) => format!("a whole number up to {high}"),
            (low, high) => format!("a whole number from {low} to {high}"),
        };
        let DeValue::Integer(digits) = value.get_ref() else {
            return self.wrong_type(value, &self.label(key), &expected);
        };
        let number = i64::from_str_radix(digits.as_str(), digits.radix()).ok();
        let number = number.filter(|n| range.contains(n));
        if number.is_none() {
            let problem = self
                .reading
                .problem(Code::BadValue, &value.span(), format!("{} is out of range", self.label(key)))
                .found(format!("`{digits}`"))
                .expected(&expected)
                .remedy(format!("use {expected}"));
            self.reading.add(problem);
        }
        number.map(|n| Spanned::new(value.span(), n))
    }

    pub(crate) fn duration(&self, key: &str) -> Option<Spanned<Duration>> {
        let value = self.get(key)?;
        let expected = "a duration with its unit, such as \"500ms\", \"1s\" or \"2m\"";
        let (text, parsed) = match value.get_ref() {
            DeValue::String(text) => (text.to_string(), parse_duration(text)),
            DeValue::Integer(number) => (number.to_string(), Err(DurationError::NoUnit)),
            _ => return self.wrong_type(value, &self.label(key), expected),
        };
        match parsed {
            Ok(span) => Some(Spanned::new(value.span(), span)),
            Err(error) => {
                let problem = self
                    .reading
                    .problem(Code::BadDuration, &value.span(), format!("{} is no duration", self.label(key)))
                    .found(describe(value.get_ref()))
                    .expected(expected)
                    .remedy(error.remedy(&text));
                self.reading.add(problem);
                None
            }
        }
    }

    /// A duration that may not be zero.
    pub(crate) fn positive_duration(&self, key: &str) -> Option<Spanned<Duration>> {
        let span = self.duration(key)?;
        if !span.get_ref().is_zero() {
            return Some(span);
        }
        let problem = self
            .reading
            .problem(Code::BadDuration, &span.span(), format!("{} is zero", self.label(key)))
            .found("no time at all")
            .expected("a duration above zero")
            .remedy("give it time, or take the key out to get the default");
        self.reading.add(problem);
        None
    }

    /// One word of a fixed set.
    pub(crate) fn choice<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<Spanned<T>> {
        let word = self.string(key)?;
        self.pick(&word, &self.label(key), words)
    }

    /// One word, or a list of words, of a fixed set.
    pub(crate) fn choices<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<Vec<T>> {
        let chosen =
            self.words(key, &format!("one of {} or a list of them", one_of(words.iter().map(|w| w.0))))?;
        let label = self.label(key);
        chosen.iter().map(|word| Some(self.pick(word, &label, words)?.into_inner())).collect()
    }

    /// A list of texts.
    pub(crate) fn list(&self, key: &str, expected: &str) -> Option<Vec<Spanned<String>>> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::Array(list) => {
                let label = format!("an entry of {}", self.label(key));
                list.iter().map(|entry| self.as_string(entry, &label, "text in quotes")).collect()
            }
            _ => self.wrong_type(value, &self.label(key), expected),
        }
    }

    /// Names: a list of them, or one text with blanks or commas between them.
    pub(crate) fn names(&self, key: &str, expected: &str) -> Option<Vec<Spanned<String>>> {
        let names = self.words(key, expected)?;
        let is_text = self.get(key)?.get_ref().is_str();
        let [text] = &names[..] else { return Some(names) };
        if !is_text {
            return Some(names);
        }
        let parts = text.get_ref().split([' ', ',']).filter(|part| !part.is_empty());
        Some(parts.map(|part| Spanned::new(text.span(), part.to_owned())).collect())
    }

    /// One text, or a list of texts.
    pub(crate) fn words(&self, key: &str, expected: &str) -> Option<Vec<Spanned<String>>> {
        match self.get(key)?.get_ref() {
            DeValue::String(_) => Some(vec![self.string(key)?]),
            _ => self.list(key, expected),
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

    pub(crate) fn label(&self, key: &str) -> String {
        format!("`{key}` of {}", self.what)
    }

    pub(crate) fn as_string(
        &self,
        value: &Spanned<DeValue<'_>>,
        label: &str,
        expected: &str,
    ) -> Option<Spanned<String>> {
        match value.get_ref() {
            DeValue::String(text) => Some(Spanned::new(value.span(), text.to_string())),
            _ => self.wrong_type(value, label, expected),
        }
    }

    pub(crate) fn wrong_type<T>(
        &self,
        value: &Spanned<DeValue<'_>>,
        label: &str,
        expected: &str,
    ) -> Option<T> {
        let remedy = match value.get_ref() {
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) if expected.contains("quotes") => {
                "check the quotes".to_owned()
            }
            _ => format!("write {expected}"),
        };
        let problem = self
            .reading
            .problem(Code::WrongType, &value.span(), format!("{label} has the wrong type"))
            .found(describe(value.get_ref()))
            .expected(expected)
            .remedy(remedy);
        self.reading.add(problem);
        None
    }

    fn pick<T: Copy>(&self, word: &Spanned<String>, label: &str, words: &[(&str, T)]) -> Option<Spanned<T>> {
        if let Some((_, value)) = words.iter().find(|(known, _)| known == word.get_ref()) {
            return Some(Spanned::new(word.span(), *value));
        }
        let known = || words.iter().map(|(known, _)| *known);
        let problem = self
            .reading
            .problem(Code::BadValue, &word.span(), format!("{label} is none of the possible words"))
            .found(format!("`{}`", word.get_ref()))
            .expected(one_of(known()))
            .remedy(did_you_mean(nearest(word.get_ref(), known()), format!("use {}", one_of(known()))));
        self.reading.add(problem);
        None
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
