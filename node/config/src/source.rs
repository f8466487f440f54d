//! The text of a configuration file, and where in it something stands.

use std::{cell::RefCell, ops::Range};

use crate::problem::{Code, Excerpt, Problem};

/// Bytes of the text: how the TOML parser says where something is.
pub(crate) type Span = Range<usize>;

/// A text with the name of its file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    file: String,
    text: String,
    /// Nobody sees the text: places in it would say nothing.
    hidden: bool,
}

impl Source {
    pub(crate) fn new(file: &str, text: &str) -> Self {
        Self { file: file.to_owned(), text: text.to_owned(), hidden: false }
    }

    /// A text that nobody sees.
    pub(crate) fn without_places(file: &str, text: &str) -> Self {
        Self { hidden: true, ..Self::new(file, text) }
    }

    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// A problem at a place of this text.
    pub(crate) fn problem(&self, code: Code, span: &Span, message: impl Into<String>) -> Problem {
        if self.hidden {
            return Problem::nowhere(code, &self.file, message);
        }
        let (line, column, excerpt) = self.locate(span);
        Problem {
            code,
            file: self.file.clone(),
            line: Some(line),
            column: Some(column),
            message: message.into(),
            found: None,
            expected: None,
            remedy: String::new(),
            excerpt: Some(excerpt),
        }
    }

    /// The text at a place.
    pub(crate) fn slice(&self, span: &Span) -> Option<&str> {
        self.text.get(span.clone())
    }

    /// " in line 7", where lines say something.
    pub(crate) fn in_line(&self, span: &Span) -> String {
        if self.hidden { String::new() } else { format!(" in line {}", self.locate(span).0) }
    }

    /// The line of a place, and that of the section header before it (0 when there is none).
    pub(crate) fn line_and_section(&self, span: &Span) -> (usize, usize) {
        let before = &self.text[..floor_char(&self.text, span.start)];
        let line = before.matches('\n').count() + 1;
        let header = self.text.lines().take(line).enumerate().filter(|(_, text)| text.starts_with('['));
        (line, header.last().map_or(0, |(index, _)| index + 1))
    }

    /// Line and column, both from 1, the column in characters.
    fn locate(&self, span: &Span) -> (usize, usize, Excerpt) {
        let start = floor_char(&self.text, span.start);
        let before = &self.text[..start];
        let line = before.matches('\n').count() + 1;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let rest = &self.text[line_start..];
        let whole = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let column = before[line_start..].chars().count() + 1;
        // What spans several lines is underlined on its first one only.
        let end =
            floor_char(&self.text, span.end).clamp(start, line_start + whole.len().max(start - line_start));
        let width = self.text[start..end].chars().count().max(1);
        (line, column, Excerpt { line: whole.replace('\t', " "), width })
    }
}

fn floor_char(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The file being read, and what was wrong with it so far. Reading goes on after a problem, so
/// that one run shows all of them.
pub(crate) struct Reading {
    pub(crate) source: Source,
    problems: RefCell<Vec<Problem>>,
}

impl Reading {
    pub(crate) fn new(source: Source) -> Self {
        Self { source, problems: RefCell::default() }
    }

    pub(crate) fn add(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(crate) fn problem(&self, code: Code, span: &Span, message: impl Into<String>) -> Problem {
        self.source.problem(code, span, message)
    }

    pub(crate) fn into_problems(self) -> (Source, Vec<Problem>) {
        (self.source, self.problems.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, span: Span) -> (usize, usize, usize) {
        let problem = Source::new("f", text).problem(Code::Syntax, &span, "");
        let width = problem.excerpt.as_ref().map_or(0, |e| e.width);
        (problem.line.unwrap_or(0), problem.column.unwrap_or(0), width)
    }

    #[test]
    fn places_count_characters_from_one() {
        assert_eq!(place("a = 1\nb = 2\n", 6..7), (2, 1, 1));
        assert_eq!(place("é = \"襷\" x", 5..10), (1, 5, 3));
        assert_eq!(place("a\n", 2..2), (2, 1, 1));
        assert_eq!(place("", 0..0), (1, 1, 1));
        assert_eq!(place("ab\ncd\n", 1..5), (1, 2, 1));
        assert_eq!(place("ab", 70..90), (1, 3, 1));
    }
}
