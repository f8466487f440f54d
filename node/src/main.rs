//! The program: guard, node or command line, by its first word.

use std::{ffi::OsStr, io::IsTerminal as _, process::ExitCode};

use clap::Parser as _;
use tasuki::{
    cli::{
        self,
        args::{CommandLine, Word},
    },
    lab, wiring,
};
use tracing_subscriber::EnvFilter;

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
        Word::Node(arguments) => {
            log_to_stderr();
            wiring::run(&options.data, &cli::guard::run_folder(&options.data, arguments.run.as_deref()))
        }
        Word::Lab(arguments) => lab::run(&options, arguments),
        Word::Witness(arguments) => {
            if arguments.verb.is_none() {
                log_to_stderr();
            }
            cli::witness::run(&options, arguments)
        }
    }
}

/// One line an event, to whoever keeps the output of the service. `TASUKI_LOG` says how much.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("TASUKI_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,openraft=error,ractor=off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
