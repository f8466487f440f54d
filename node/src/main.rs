//! The program: guard, node or command line, by its first word.

use std::{ffi::OsStr, process::ExitCode};

use clap::Parser as _;
use tasuki::cli::{
    self,
    args::{CommandLine, Word},
};

fn main() -> ExitCode {
    // Before anything else: between fork and exec of every program that a resource starts.
    let mut arguments = std::env::args_os();
    if arguments.nth(1).as_deref() == Some(OsStr::new("__run")) {
        tasuki_system::exec::trampoline(arguments);
    }
    let CommandLine { options, word } = CommandLine::parse();
    match word {
        Word::Noun(noun) => cli::run(options, noun),
        Word::Guard(arguments) => cli::guard::run(&options, &arguments),
        Word::Node(_) | Word::Lab(_) => {
            eprintln!("this build has no node and no lab");
            ExitCode::FAILURE
        }
    }
}
