//! `tasuki completion SHELL`
//!
//! What `clap_complete` writes knows every word of the command line. The names of the cluster's servers,
//! groups and so on are added: the scripts ask `tasuki __names` for them when the tabulator is pressed.

use std::io;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::args::CommandLine;
use crate::app::AppError;

const BASH: &str = r#"
_tasuki_with_names() {
    _tasuki "$@"
    local -a names
    mapfile -t names < <("${COMP_WORDS[0]}" __names -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    [[ ${#names[@]} -eq 0 ]] || COMPREPLY=("${names[@]}")
}
complete -F _tasuki_with_names -o bashdefault -o default tasuki
"#;

/// Comes where the script would offer files; the words of the whole line are kept by its first function,
/// because those below it see only their own.
const ZSH: &str = r#"(( $+functions[_tasuki_names] )) ||
_tasuki_names() {
    local -a names
    names=(${(f)"$($_tasuki_typed[1] __names -- "${(@Q)_tasuki_typed[2,-1]}" 2>/dev/null)"})
    if (( $#names )); then compadd -a names; else _default; fi
}

"#;
const ZSH_TYPED: &str = r#"_tasuki() {
    local -a _tasuki_typed=("${(@)words[1,CURRENT]}")
"#;

const FISH: &str = r#"
function __fish_tasuki_names
    set -l typed (commandline -opc)
    $typed[1] __names -- $typed[2..] (commandline -ct) 2>/dev/null
end
complete -c tasuki -n 'not string match -q -- "-*" (commandline -ct)' -a '(__fish_tasuki_names)'
"#;

/// Prints the script.
pub(super) fn perform(shell: Shell) -> Result<(), AppError> {
    // Made in memory first: the generator panics when its writer fails, as a closed pipe would.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "tasuki", &mut script);
    let script = with_names(shell, &String::from_utf8_lossy(&script));
    io::Write::write_all(&mut io::stdout(), script.as_bytes())
        .map_err(|error| AppError::File(format!("stdout: {error}")))
}

fn with_names(shell: Shell, script: &str) -> String {
    match shell {
        Shell::Bash => script.to_owned() + BASH,
        // An option that takes a value ends so, unless it is known which values.
        Shell::Fish => script.replace(" -r\n", " -r -a '(__fish_tasuki_names)'\n") + FISH,
        Shell::Zsh => script
            .replacen("_tasuki() {\n", ZSH_TYPED, 1)
            .replace(":_default'", ":_tasuki_names'")
            .replacen("if [ \"$funcstack[1]\"", &(ZSH.to_owned() + "if [ \"$funcstack[1]\""), 1),
        _ => script.to_owned(),
    }
}
