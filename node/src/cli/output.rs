//! What the command line prints: data to stdout, talk to stderr.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use serde::Serialize;

use super::args::Color;
use crate::app::AppError;

/// How to print.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// JSON instead of tables.
    pub json: bool,
    /// Colours on stdout.
    pub color: bool,
    color_errors: bool,
}

impl Output {
    /// As the options say.
    #[must_use]
    pub fn new(json: bool, color: Color) -> Self {
        let wanted = |terminal: bool| match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        Self {
            json,
            color: !json && wanted(io::stdout().is_terminal()),
            color_errors: wanted(io::stderr().is_terminal()),
        }
    }

    /// Prints a value: as JSON, or as the text that `human` makes of it.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn show<T: Serialize>(&self, value: &T, human: impl FnOnce(&T) -> String) -> Result<(), AppError> {
        if self.json {
            let text = serde_json::to_string_pretty(value)
                .map_err(|error| AppError::Failed(format!("cannot print JSON: {error}")))?;
            self.text(&text)
        } else {
            self.text(&human(value))
        }
    }

    /// As [`Output::show`], but one line: for streams.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn line<T: Serialize>(&self, value: &T, human: impl FnOnce(&T) -> String) -> Result<(), AppError> {
        if self.json {
            let text = serde_json::to_string(value)
                .map_err(|error| AppError::Failed(format!("cannot print JSON: {error}")))?;
            self.text(&text)
        } else {
            self.text(&human(value))
        }
    }

    /// Prints text with a line end.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn text(&self, text: &str) -> Result<(), AppError> {
        let mut out = io::stdout().lock();
        let written =
            out.write_all(text.trim_end_matches('\n').as_bytes()).and_then(|()| out.write_all(b"\n"));
        match written.and_then(|()| out.flush()) {
            // Who reads has seen enough (`| head`): no reason to complain.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            other => other.map_err(|error| AppError::File(format!("stdout: {error}"))),
        }
    }

    /// Says something to the operator, unless a program listens.
    pub fn say(&self, text: &str) {
        if !self.json {
            eprintln!("{text}");
        }
    }

    /// Prints an error and says how the program ends.
    #[must_use]
    pub fn fail(&self, error: &AppError) -> ExitCode {
        if self.json {
            eprintln!("{}", error_json(error));
        } else {
            eprintln!("{}", error_text(error, self.color_errors));
        }
        ExitCode::from(error.exit() as u8)
    }
}

fn error_json(error: &AppError) -> serde_json::Value {
    let mut value = serde_json::json!({
        "code": error.code(),
        "message": error.to_string(),
        "remedy": error.remedy(),
    });
    if let AppError::Config(problems) = error {
        value["problems"] = serde_json::json!(problems);
    }
    value
}

/// An error for a person: each mistake of a configuration, then code, reason and remedy.
#[must_use]
pub fn error_text(error: &AppError, color: bool) -> String {
    let mut text = String::new();
    if let AppError::Config(problems) = error {
        for problem in problems {
            text.push_str(&problem.rendered);
            text.push_str("\n\n");
        }
    }
    let word = Style::Bad.paint(&format!("error[{}]", error.code()), color);
    text.push_str(&format!("{word}: {error}\n  remedy: {}", error.remedy()));
    text
}

/// What a word means for the eye.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// Nothing in particular.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// On its way, or worth a look.
    Warn,
    /// Not as it should be.
    Bad,
    /// Less important.
    Dim,
    /// A heading.
    Bold,
}

impl Style {
    /// The text in this style.
    #[must_use]
    pub fn paint(self, text: &str, color: bool) -> String {
        let code = match self {
            _ if !color => return text.to_owned(),
            Self::Plain => return text.to_owned(),
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "1;31",
            Self::Dim => "2",
            Self::Bold => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// One cell of a table.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A word with its meaning.
    #[must_use]
    pub fn new(text: impl ToString, style: Style) -> Self {
        Self { text: text.to_string(), style }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, style: Style::Plain }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// Lines with aligned columns under a heading. Empty columns are left out.
#[must_use]
pub fn table(heading: &[&str], rows: &[Vec<Cell>], color: bool) -> String {
    let width_of = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.chars().count()).max().unwrap_or(0)
    };
    let columns: Vec<(usize, usize)> = (0..heading.len())
        .filter(|column| width_of(*column) > 0)
        .map(|column| (column, width_of(column).max(heading[column].chars().count())))
        .collect();
    let mut text = String::new();
    let mut line = |cell_of: &dyn Fn(usize) -> Cell| {
        let mut out = String::new();
        let mut pending = 0;
        for (column, width) in &columns {
            let cell = cell_of(*column);
            let length = cell.text.chars().count();
            if length > 0 {
                // Padding goes before the next word only, so that no line ends with spaces.
                out.push_str(&" ".repeat(pending));
                out.push_str(&cell.style.paint(&cell.text, color));
                pending = 0;
            }
            pending += width - length + 2;
        }
        text.push_str(&out);
        text.push('\n');
    };
    line(&|column| Cell::new(heading[column], Style::Bold));
    for row in rows {
        line(&|column| row.get(column).cloned().unwrap_or_default());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_empty_ones_vanish() {
        let rows = [
            vec!["kiki".into(), "".into(), Cell::new("up", Style::Good)],
            vec!["lala-long".into(), "".into(), "down".into()],
        ];
        assert_eq!(
            table(&["SERVER", "NOTE", "STATE"], &rows, false),
            "SERVER     STATE\nkiki       up\nlala-long  down\n"
        );
        assert!(table(&["SERVER", "NOTE", "STATE"], &rows, true).contains("\u{1b}[32mup\u{1b}[0m"));
    }
}
