//! `tasuki manual`: the man pages, made from the same words as `--help`.

use std::{fs, path::Path};

use clap::CommandFactory as _;
use clap_mangen::Man;

use super::args::CommandLine;
use crate::app::AppError;

/// Commands of an administrator.
const SECTION: &str = "8";

/// Writes a page for each command into a folder.
pub(super) fn perform(folder: &Path) -> Result<(), AppError> {
    let failed = |error| AppError::File(format!("{}: {error}", folder.display()));
    fs::create_dir_all(folder).map_err(failed)?;
    let mut all = CommandLine::command().disable_help_subcommand(true);
    all.build();
    write(all, folder).map_err(failed)
}

fn write(command: clap::Command, folder: &Path) -> std::io::Result<()> {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        write(verb.clone(), folder)?;
    }
    // The words of the help end without a full stop and are for a terminal; the page takes them as they are.
    let page = Man::new(command)
        .section(SECTION)
        .source(concat!("Tasuki ", env!("CARGO_PKG_VERSION")))
        .manual("Tasuki");
    let mut text = Vec::new();
    page.render(&mut text)?;
    fs::write(folder.join(page.get_filename()), text)
}
