//! The cluster configuration file: TOML in, [`ClusterConfig`] out, and the way back.
//!
//! All mistakes of a file are found in one run. Each [`Problem`] has a stable code, its place in
//! the file, what was found, what was expected, and a remedy; a wrong configuration is never used
//! in part.
//!
//! | module | what it does |
//! |---|---|
//! | `section` | one module for each section: its keys and their values |
//! | `check` | relations between sections: names, references, addresses, dependencies |
//! | `assemble` | from the checked draft to the types that the cluster keeps |
//! | `warn` | what works, but not as well as its owner may believe |
//! | `scripts` | whether the named programs are there and executable |
//! | `edit` | one resource, type, pool or monitor added, changed or deleted |
//! | `write` | a configuration as the file that reads back to it |
#![forbid(unsafe_code)]

mod assemble;
mod check;
mod draft;
mod edit;
mod net;
mod problem;
mod reader;
mod scripts;
mod section;
mod source;
mod spell;
mod units;
mod warn;
mod write;

use std::{fs, path::Path};

use tasuki_core::config::ClusterConfig;
use toml::de::DeTable;

pub use check::MOST_SERVERS;
pub use edit::{
    Kind, NewServer, edit_add, edit_define, edit_delete, edit_member_add, edit_modify, edit_server_add,
    edit_server_remove,
};
pub use problem::{Code, ConfigErrors, Problem};
pub use scripts::check_scripts;
pub use spell::nearest;
pub use warn::{freezer_warning, host_warnings};
pub use write::to_toml;

use crate::{
    assemble::ScriptSpans,
    source::{Reading, Source},
};

/// A configuration that was read and found right.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub config: ClusterConfig,
    /// What works, but not as well as its owner may believe.
    pub warnings: Vec<Problem>,
    source: Source,
    spans: ScriptSpans,
}

/// Larger is no configuration of 32 servers, but some other file.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// Reads a configuration file. Relative paths of scripts and folders are made absolute, from the
/// file's own folder, so that the configuration means the same wherever it is sent. Whether the
/// scripts are there is not checked: see [`Loaded::check_scripts`].
///
/// # Errors
/// Everything that is wrong with the file.
pub fn load(path: impl AsRef<Path>) -> Result<Loaded, ConfigErrors> {
    let path = path.as_ref();
    let name = path.display().to_string();
    let refuse = |found: String, remedy: &str| {
        let message = "the configuration file cannot be read";
        Err(ConfigErrors::one(Problem::nowhere(Code::Unreadable, &name, message).found(found).remedy(remedy)))
    };
    match fs::metadata(path) {
        Ok(meta) if meta.len() > LARGEST_FILE => {
            return refuse(
                format!("{} bytes", meta.len()),
                "name the cluster's configuration file (TOML, below 4 MiB)",
            );
        }
        Ok(meta) if meta.is_dir() => {
            return refuse("a folder".to_owned(), "name the configuration file itself");
        }
        _ => {}
    }
    let text = match fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => {
            let at = error.utf8_error().valid_up_to();
            return refuse(format!("bytes that are not UTF-8, from byte {at} on"), "save the file as UTF-8");
        }
        Err(error) => return refuse(error.to_string(), "check the path, and who may read the file"),
    };
    let mut loaded = parse(&text, &name)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(folder) = folder.canonicalize() {
        scripts::make_absolute(&mut loaded.config, &folder);
    }
    Ok(loaded)
}

/// Reads the text of a configuration. `file_name` is only shown in errors; relative paths stay
/// relative.
///
/// # Errors
/// Everything that is wrong with the text.
pub fn parse(text: &str, file_name: &str) -> Result<Loaded, ConfigErrors> {
    read(text, Source::new(file_name, text))
}

/// As [`parse`], for a text that nobody sees: problems have no places.
fn parse_unnumbered(text: &str, name: &str) -> Result<Loaded, ConfigErrors> {
    read(text, Source::without_places(name, text))
}

fn read(text: &str, source: Source) -> Result<Loaded, ConfigErrors> {
    let file_name = source.file().to_owned();
    let reading = Reading::new(source);
    let (root, syntax_errors) = DeTable::parse_recoverable(text);
    let torn = syntax_errors.iter().any(|error| error.message() != DUPLICATE_KEY);
    report_syntax(&reading, &syntax_errors);
    // What is left of a torn file would only give errors that follow from the first ones.
    let draft = if torn { None } else { Some(section::read(&reading, &root)) };
    let mut warnings = Vec::new();
    if let Some(draft) = &draft {
        check::check(&reading, draft);
        warnings = warn::warnings(&reading, draft);
    }
    let places = draft.as_ref().map(check::whole::Places::of);
    let assembled = draft.and_then(assemble::assemble);
    if let (Some(places), Some((config, _))) = (places, &assembled) {
        warnings.extend(check::whole::check(&reading, &places, config));
    }
    warnings.sort_by_key(|problem| (problem.line, problem.column));
    let (source, mut problems) = reading.into_problems();
    problems.sort_by_key(|problem| (problem.line, problem.column));
    if let Some(errors) = ConfigErrors::from_problems(problems) {
        return Err(errors);
    }
    match assembled {
        Some((config, spans)) => Ok(Loaded { config, warnings, source, spans }),
        None => Err(ConfigErrors::one(
            // A bug of the checks, but never a reason to go on with half a configuration.
            Problem::nowhere(Code::Missing, &file_name, "the configuration is incomplete")
                .remedy("compare it with the sample configurations, and report this message"),
        )),
    }
}

const DUPLICATE_KEY: &str = "duplicate key";

fn report_syntax(reading: &Reading, errors: &[toml::de::Error]) {
    let mut lines: Vec<usize> = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let (line, section) = reading.source.line_and_section(&span);
        // One slip often makes several errors: more in its line, or, for a section that is there
        // twice, one for each of its keys. The first says it best.
        if lines.contains(&line) || lines.contains(&section) {
            continue;
        }
        lines.push(line);
        let (code, message, remedy) = if error.message() == DUPLICATE_KEY {
            (Code::DuplicateName, "this key or section is here twice".to_owned(), "take one of the two out")
        } else {
            let remedy = "correct this line: text needs quotes, lists need brackets, one key a line";
            (Code::Syntax, format!("this is not TOML: {}", error.message()), remedy)
        };
        reading.add(reading.problem(code, &span, message).remedy(remedy));
    }
}
