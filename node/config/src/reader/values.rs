//! The values of keys: texts, numbers, durations, words of a fixed set, lists.

use std::{ops::RangeInclusive, time::Duration};

use toml::{Spanned, de::DeValue};

use super::{Section, describe};
use crate::{
    problem::Code,
    spell::{did_you_mean, nearest, one_of},
    units::{DurationError, SizeError, parse_duration, parse_size},
};

impl Section<'_> {
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

    /// So many bytes, also where they are those of a second.
    pub(crate) fn size(&self, key: &str) -> Option<Spanned<u64>> {
        let value = self.get(key)?;
        let expected = "a size with its unit, such as \"4 GiB\" or \"500 MB\"";
        let (text, parsed) = match value.get_ref() {
            DeValue::String(text) => (text.to_string(), parse_size(text)),
            DeValue::Integer(number) => (number.to_string(), Err(SizeError::NoUnit)),
            _ => return self.wrong_type(value, &self.label(key), expected),
        };
        match parsed {
            Ok(size) => Some(Spanned::new(value.span(), size)),
            Err(error) => {
                let problem = self
                    .reading
                    .problem(Code::BadSize, &value.span(), format!("{} is no size", self.label(key)))
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
