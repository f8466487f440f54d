//! `tasuki __names`: what the completion scripts ask for when a name of the cluster's comes next.

use std::{path::PathBuf, time::Duration};

use clap::{Arg, Command, CommandFactory as _};
use tasuki_core::config::{ClusterConfig, ResourceKind};
use tasuki_proto::v1::{self as wire, config_client::ConfigClient, type_client::TypeClient};

use super::{
    Context,
    args::{CommandLine, Options},
    connect::answered,
    output::Output,
};
use crate::app::AppError;

/// Who presses the tabulator does not want to wait.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a word names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Server,
    Group,
    Resource,
    Type,
    Pool,
    Volume,
    Fence,
    /// A group or a resource.
    Placed,
    /// Whatever has a history.
    Any,
}

/// What was typed, understood as far as this needs it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Typed {
    /// What the last word names.
    kind: Option<Kind>,
    /// The last word, or what of it is the name.
    begun: String,
    data: Option<String>,
    address: Option<String>,
    identity: Option<String>,
}

/// Prints the names, one a line, that the last of these words may become. Nothing is printed when there
/// is nobody to ask: a script must not hear of errors.
pub(super) async fn perform(context: &Context, words: &[String]) {
    let mut root = CommandLine::command();
    root.build();
    let typed = read(&root, words);
    let Some(kind) = typed.kind else { return };
    let given = &context.options;
    let options = Options {
        data: typed.data.map_or_else(|| given.data.clone(), PathBuf::from),
        address: typed.address.or_else(|| given.address.clone()),
        identity: typed.identity.map(PathBuf::from).or_else(|| given.identity.clone()),
        ..given.clone()
    };
    let asking = Context { out: Output::new(options.json, options.color), options };
    if let Ok(Ok(names)) = tokio::time::timeout(PATIENCE, names(&asking, kind)).await {
        for name in names.iter().filter(|name| name.starts_with(&typed.begun) && is_plain(name)) {
            println!("{name}");
        }
    }
}

/// Names come from a cluster, and go into a shell.
fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_alphanumeric() || "-_.:#@".contains(c))
}

async fn names(context: &Context, kind: Kind) -> Result<Vec<String>, AppError> {
    let channel = context.connect().await?;
    if kind == Kind::Type {
        let answer = TypeClient::new(channel).list(wire::ListTypesRequest {}).await.map_err(answered)?;
        return Ok(answer.into_inner().types.into_iter().map(|one| one.name).collect());
    }
    let answer = ConfigClient::new(channel).show(wire::ShowConfigRequest {}).await.map_err(answered)?;
    let config: ClusterConfig = serde_json::from_str(&answer.into_inner().config_json)
        .map_err(|error| AppError::Failed(error.to_string()))?;
    Ok(of(&config, kind))
}

fn of(config: &ClusterConfig, kind: Kind) -> Vec<String> {
    fn all<N: ToString>(names: impl Iterator<Item = N>) -> Vec<String> {
        names.map(|name| name.to_string()).collect()
    }
    let servers = || all(config.servers.keys());
    let groups = || all(config.groups.keys());
    let inside = || config.groups.values().flat_map(|group| &group.resources);
    let outside = || all(config.resources.keys());
    let mut names = match kind {
        Kind::Server => servers(),
        Kind::Group => groups(),
        Kind::Resource => outside(),
        Kind::Type => all(config.types.keys()),
        Kind::Pool => all(config.pools.keys()),
        Kind::Volume => {
            let disk = |kind: &ResourceKind| matches!(kind, ResourceKind::MirrorDisk(_));
            all(inside().filter(|(_, resource)| disk(&resource.kind)).map(|(name, _)| name))
        }
        Kind::Fence => all(config.settings.fences.keys()),
        Kind::Placed => [groups(), all(inside().map(|(name, _)| name)), outside()].concat(),
        Kind::Any => [
            servers(),
            groups(),
            all(inside().map(|(name, _)| name)),
            outside(),
            all(config.pools.keys()),
            all(config.types.keys()),
            all(config.monitors.keys()),
        ]
        .concat(),
    };
    names.sort();
    names.dedup();
    names
}

/// Follows the words through the commands, the last one as one that is begun.
fn read(root: &Command, words: &[String]) -> Typed {
    let mut typed = Typed::default();
    let Some((last, before)) = words.split_last() else { return typed };
    let (mut command, mut noun) = (root, "");
    let mut places = 0;
    let mut options = true;
    let mut awaits: Option<&Arg> = None;
    for word in before {
        // Some shells make `--to=lala` three words.
        if word == "=" && awaits.is_some() {
            continue;
        }
        if let Some(argument) = awaits.take() {
            keep(&mut typed, argument, word);
        } else if options && word == "--" {
            options = false;
        } else if let Some(option) =
            Some(word).filter(|word| options && word.len() > 1 && word.starts_with('-'))
        {
            let (name, value) = option.split_once('=').map_or((option.as_str(), None), |(n, v)| (n, Some(v)));
            match (find(command, name).filter(|argument| argument.get_action().takes_values()), value) {
                (Some(argument), None) => awaits = Some(argument),
                (Some(argument), Some(value)) => keep(&mut typed, argument, value),
                (None, _) => {}
            }
        } else if let Some(next) = command.find_subcommand(word) {
            noun = if noun.is_empty() { next.get_name() } else { noun };
            command = next;
            places = 0;
        } else {
            places += 1;
        }
    }
    let (argument, begun) = match (awaits, last.split_once('=')) {
        (Some(argument), Some(("", begun))) => (Some(argument), begun),
        (Some(argument), _) => (Some(argument), last.as_str()),
        (None, Some((option, begun))) if options && option.starts_with("--") => {
            (find(command, option), begun)
        }
        (None, _) if options && last.starts_with('-') => (None, ""),
        (None, _) => (command.get_positionals().nth(places), last.as_str()),
    };
    typed.kind = argument.and_then(|argument| kind(noun, command.get_name(), argument));
    begun.clone_into(&mut typed.begun);
    typed
}

fn find<'a>(command: &'a Command, option: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|argument| match option.strip_prefix("--") {
        Some(long) => argument.get_long() == Some(long),
        None => argument.get_short().is_some() && argument.get_short() == option.chars().last(),
    })
}

/// Which node is to be asked.
fn keep(typed: &mut Typed, argument: &Arg, value: &str) {
    let place = match argument.get_id().as_str() {
        "data" => &mut typed.data,
        "address" => &mut typed.address,
        "identity" => &mut typed.identity,
        _ => return,
    };
    *place = Some(value.to_owned());
}

/// By the word that stands for the argument in the help.
fn kind(noun: &str, verb: &str, argument: &Arg) -> Option<Kind> {
    let named = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    let word = named.unwrap_or_else(|| argument.get_id().as_str().to_uppercase());
    match (word.as_str(), noun) {
        ("SERVER" | "SERVER=NETWORK" | "SERVERS", _) => Some(Kind::Server),
        ("GROUP" | "GROUP[=SERVER]", _) => Some(Kind::Group),
        ("TYPE", _) => Some(Kind::Type),
        ("VOLUME", _) => Some(Kind::Volume),
        ("DEVICE", "fence") => Some(Kind::Fence),
        // It has no name yet.
        ("NAME", _) if verb == "add" => None,
        ("NAME", "resource") => Some(Kind::Resource),
        ("NAME", "type") => Some(Kind::Type),
        ("NAME", "pool") => Some(Kind::Pool),
        ("NAME", "explain") => Some(Kind::Placed),
        ("NAME", "history") => Some(Kind::Any),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Typed {
        let mut root = CommandLine::command();
        root.build();
        read(&root, &line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    fn asked(line: &str) -> (Option<Kind>, String) {
        let Typed { kind, begun, .. } = typed(line);
        (kind, begun)
    }

    #[test]
    fn a_name_is_asked_for_where_one_belongs() {
        for (line, kind, begun) in [
            ("group move ", Kind::Group, ""),
            ("group move da", Kind::Group, "da"),
            ("group move database --to ki", Kind::Server, "ki"),
            ("group move --to=ki", Kind::Server, "ki"),
            ("group move --to = ki", Kind::Server, "ki"),
            ("group move --to =", Kind::Server, ""),
            ("--json group status ", Kind::Group, ""),
            ("group --data /tmp/x stop ", Kind::Group, ""),
            ("mirror detail ", Kind::Volume, ""),
            ("resource delete ", Kind::Resource, ""),
            ("resource add web --type ", Kind::Type, ""),
            ("pool status ", Kind::Pool, ""),
            ("fence test ", Kind::Fence, ""),
            ("server remove ", Kind::Server, ""),
            ("plan --server-down ", Kind::Server, ""),
            ("explain ", Kind::Placed, ""),
            ("history -n 5 ", Kind::Any, ""),
        ] {
            assert_eq!(asked(line), (Some(kind), begun.to_owned()), "{line:?}");
        }
    }

    #[test]
    fn nothing_is_asked_for_elsewhere() {
        for line in
            ["", "gro", "group ", "group move database ", "group move --t", "server add ", "resource add "]
        {
            assert_eq!(asked(line).0, None, "{line:?}");
        }
    }

    #[test]
    fn the_node_is_asked_that_the_line_names() {
        let typed = typed("--address 10.0.0.1 --identity=/etc/id group move ");
        assert_eq!(typed.address.as_deref(), Some("10.0.0.1"));
        assert_eq!((typed.identity.as_deref(), typed.data), (Some("/etc/id"), None));
    }
}
