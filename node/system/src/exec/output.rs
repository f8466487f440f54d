//! What programs print: one bounded file per resource.
//!
//! The file itself is the program's output, not a pipe through the node: so that a program goes on
//! printing while the node restarts. It is opened for appending, so cutting it off is safe.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use tasuki_core::ids::{GroupName, ResourceName};

use crate::records;

/// A file that has grown beyond this is moved aside; one older part is kept.
const LIMIT: u64 = 1 << 20;
const TEND_EVERY: Duration = Duration::from_secs(5);
/// How much of the end goes into an error's text.
const LAST_BYTES: u64 = 2048;
const LAST_LINES: usize = 5;

/// The output of one run of one command.
#[derive(Clone, Debug)]
pub(super) struct Output {
    path: PathBuf,
    from: u64,
}

impl Output {
    /// Opens the resource's file; what it holds already is not of this run.
    pub(super) fn open(
        folder: &Path,
        group: &GroupName,
        resource: &ResourceName,
    ) -> io::Result<(Self, File)> {
        let path = folder.join(format!("{}.log", records::file_name(group, resource)));
        cut(&path)?;
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let from = file.metadata()?.len();
        Ok((Self { path, from }, file))
    }

    /// The last lines of this run, led in by `; last output: `; empty when it printed nothing.
    pub(super) fn last(&self) -> String {
        let text = self.read_end().unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        if lines.is_empty() {
            return String::new();
        }
        let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
        format!("; last output: {}", last.join(" | "))
    }

    fn read_end(&self) -> io::Result<String> {
        let mut file = File::open(&self.path)?;
        let length = file.metadata()?.len();
        // After a cut the file is shorter than where this run began.
        let from = if length < self.from { 0 } else { self.from };
        file.seek(SeekFrom::Start(from.max(length.saturating_sub(LAST_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(LAST_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Keeps the files of `folder` bounded, for ever.
pub async fn tend(folder: PathBuf) {
    let mut ticks = tokio::time::interval(TEND_EVERY);
    loop {
        ticks.tick().await;
        let folder = folder.clone();
        let tended = tokio::task::spawn_blocking(move || cut_all(&folder)).await;
        if let Ok(Err(error)) = tended {
            tracing::warn!(%error, "captured output could not be cut off");
        }
    }
}

fn cut_all(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            cut(&path)?;
        }
    }
    Ok(())
}

/// Copies and empties a file that is too long: its writer goes on with the same file.
fn cut(path: &Path) -> io::Result<()> {
    let too_long = fs::metadata(path).is_ok_and(|file| file.len() > LIMIT);
    if too_long {
        fs::copy(path, path.with_extension("log.1"))?;
        OpenOptions::new().write(true).open(path)?.set_len(0)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;

    use super::*;

    #[test]
    fn only_the_last_lines_of_this_run_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let (group, resource) = (GroupName::from("g"), ResourceName::from("r"));
        let (_, mut file) = Output::open(folder.path(), &group, &resource).unwrap();
        writeln!(file, "of the run before").unwrap();
        let (output, mut file) = Output::open(folder.path(), &group, &resource).unwrap();
        assert_eq!(output.last(), "");
        for line in 1..=7 {
            writeln!(file, "line {line}").unwrap();
        }
        assert_eq!(output.last(), "; last output: line 3 | line 4 | line 5 | line 6 | line 7");
    }

    #[test]
    fn a_long_file_is_cut_under_its_writer() {
        let folder = tempfile::tempdir().unwrap();
        let (group, resource) = (GroupName::from("g"), ResourceName::from("r"));
        let (output, mut file) = Output::open(folder.path(), &group, &resource).unwrap();
        file.write_all(&vec![b'x'; usize::try_from(LIMIT).unwrap() + 1]).unwrap();
        cut_all(folder.path()).unwrap();
        writeln!(file, "afterwards").unwrap();
        assert_eq!(fs::read_to_string(&output.path).unwrap(), "afterwards\n");
        assert_eq!(output.last(), "; last output: afterwards");
    }
}
