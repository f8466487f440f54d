//! The whole surface of the command line as golden text: a change of a word shows in review.

mod support;

use clap::{Command, CommandFactory as _};
use tasuki::cli::args::CommandLine;

#[test]
fn help_of_every_command() {
    let mut root = CommandLine::command().term_width(100);
    root.build();
    walk(&mut root, "tasuki");
}

fn walk(command: &mut Command, path: &str) {
    let text = command.render_long_help().to_string();
    let text: Vec<&str> = text.lines().map(str::trim_end).collect();
    support::golden(&format!("help/{}.txt", path.replace(' ', "-")), &(text.join("\n") + "\n"));
    for verb in command.get_subcommands_mut().filter(|verb| !verb.is_hide_set()) {
        let path = format!("{path} {}", verb.get_name());
        walk(verb, &path);
    }
}
