//! `tasuki completion SHELL`

use std::io;

use clap::CommandFactory as _;

use super::args::CommandLine;
use crate::app::AppError;

/// Prints the script.
pub(super) fn perform(shell: clap_complete::Shell) -> Result<(), AppError> {
    // Made in memory first: the generator panics when its writer fails, as a closed pipe would.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "tasuki", &mut script);
    io::Write::write_all(&mut io::stdout(), &script)
        .map_err(|error| AppError::File(format!("stdout: {error}")))
}
