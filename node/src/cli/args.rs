//! Every word of the command line.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

mod certificate;
mod engine;
mod mirror;
mod programs;
mod vote;

pub use self::{
    certificate::{CertificateArgs, RoleArg},
    engine::{
        Attributes, Editing, Form, NewAttribute, PoolArgs, PoolVerb, ResourceVerb, SomeAttributes, TypeVerb,
    },
    mirror::MirrorVerb,
    programs::{DemoHttpArgs, GuardArgs, LabArgs, LabVerb, NodeArgs, WitnessArgs, WitnessVerb},
    vote::VoteVerb,
};

const AFTER_HELP: &str = "\
Exit codes:
  0    done
  1    failed
  2    the command line, or an argument, makes no sense
  3    no such server, group, resource, type, pool or registry key
  4    refused: in conflict with what is
  5    no quorum, or the node cannot be reached
  6    permission denied
  130  interrupted while waiting; what was started goes on

Errors have stable codes (TSK-nnnn); docs/errors has a page for each.";

/// Keeps services running on a small set of servers
#[derive(Debug, Parser)]
#[command(name = "tasuki", version, after_help = AFTER_HELP, max_term_width = 100, disable_help_subcommand = true)]
pub struct CommandLine {
    /// What every command understands.
    #[command(flatten)]
    pub options: Options,
    /// What to do.
    #[command(subcommand)]
    pub word: Word,
}

/// What every command understands.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Options {
    /// This server's data folder; its node is called over the socket in it
    #[arg(
        long,
        global = true,
        env = "TASUKI_DATA",
        hide_env_values = true,
        value_name = "DIR",
        default_value = "/var/lib/tasuki"
    )]
    pub data: PathBuf,
    /// Call the node of another server instead, at ADDRESS or ADDRESS:PORT
    #[arg(long, global = true, env = "TASUKI_ADDRESS", hide_env_values = true, value_name = "ADDRESS")]
    pub address: Option<String>,
    /// Folder with ca.pem and a client certificate (admin.pem and admin.key, or one other pair)
    #[arg(long, global = true, env = "TASUKI_IDENTITY", hide_env_values = true, value_name = "DIR")]
    pub identity: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    pub json: bool,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The first word.
#[derive(Debug, Subcommand)]
pub enum Word {
    /// An operator's command.
    #[command(flatten)]
    Noun(Noun),
    /// Run a whole cluster on this machine, to try it out
    Lab(LabArgs),
    /// Be a witness of one or more clusters, from a machine that runs no groups
    Witness(WitnessArgs),
    /// The guard process
    #[command(hide = true)]
    Guard(GuardArgs),
    /// The node process, started by the guard
    #[command(hide = true)]
    Node(NodeArgs),
}

/// An operator's commands.
#[derive(Debug, Subcommand)]
pub enum Noun {
    /// The cluster as a whole
    #[command(subcommand)]
    Cluster(ClusterVerb),
    /// Failover groups
    #[command(subcommand)]
    Group(GroupVerb),
    /// Resources that stand for themselves, outside groups
    #[command(subcommand)]
    Resource(ResourceVerb),
    /// Resource types
    #[command(subcommand)]
    Type(TypeVerb),
    /// Server pools
    #[command(subcommand)]
    Pool(PoolVerb),
    /// Servers
    #[command(subcommand)]
    Server(ServerVerb),
    /// Fencing: devices that make sure that another server has stopped
    #[command(subcommand)]
    Fence(FenceVerb),
    /// Mirrored disks, whose data every server of their group has
    #[command(subcommand)]
    Mirror(MirrorVerb),
    /// Voting files on storage that the servers share
    #[command(subcommand)]
    Vote(VoteVerb),
    /// The cluster configuration
    #[command(subcommand)]
    Config(ConfigVerb),
    /// The cluster registry, read-only, and the local registry of this server
    #[command(subcommand)]
    Registry(RegistryVerb),
    /// What a server must know of its cluster before it has started
    #[command(subcommand)]
    Profile(ProfileVerb),
    /// What happens, as it happens
    #[command(subcommand)]
    Event(EventVerb),
    /// Say why a group or a resource is where it is, and why it is nowhere else
    Explain {
        /// A group, an instance (db#1), or a resource with all its instances
        name: String,
    },
    /// Say what would follow if something happened, without doing it
    Plan(PlanArgs),
    /// Print what changed, when, by whom and why, oldest first
    History {
        /// Only about this server, group, instance, resource, pool, type or monitor
        name: Option<String>,
        /// At most so many
        #[arg(long, short = 'n', default_value_t = 50, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Make a decision of this server again, from the input that was kept; list them without an ID
    Replay {
        /// The decision's number
        id: Option<u64>,
        /// List at most so many
        #[arg(long, short = 'n', default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        /// Read the data folder (--data) rather than ask the node
        #[arg(long, conflicts_with = "address")]
        offline: bool,
    },
    /// Print a completion script for a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages of all commands
    Manual {
        /// Into this folder
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// The names that a word of a command line may become, for completion scripts
    #[command(name = "__names", hide = true)]
    Names {
        /// What was typed after the program's name; the last word is begun
        #[arg(last = true)]
        words: Vec<String>,
    },
    /// A small HTTP service for demonstrations
    #[command(name = "__demo-http", hide = true)]
    DemoHttp(DemoHttpArgs),
}

/// `tasuki plan`
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// A server loses power (repeatable)
    #[arg(long, value_name = "SERVER")]
    pub server_down: Vec<String>,
    /// A server starts (repeatable)
    #[arg(long, value_name = "SERVER")]
    pub server_up: Vec<String>,
    /// A server's cable to a network is cut (repeatable)
    #[arg(long, value_name = "SERVER=NETWORK")]
    pub cable_cut: Vec<CableArg>,
    /// A group is moved; without a server to the next allowed one (repeatable)
    #[arg(long = "move", value_name = "GROUP[=SERVER]")]
    pub moved: Vec<PlaceArg>,
    /// A group is started; without a server on the best allowed one (repeatable)
    #[arg(long, value_name = "GROUP[=SERVER]")]
    pub start: Vec<PlaceArg>,
    /// A group is stopped (repeatable)
    #[arg(long, value_name = "GROUP")]
    pub stop: Vec<String>,
    /// A configuration is pushed, before all else
    #[arg(long, value_name = "FILE")]
    pub apply: Option<PathBuf>,
    /// Say instead what the loss of each single server and each single path would do
    #[arg(long, conflicts_with_all = ["server_down", "server_up", "cable_cut", "moved", "start", "stop", "apply"])]
    pub matrix: bool,
    /// Begin with a state that --save wrote; needs no node
    #[arg(long, value_name = "FILE", conflicts_with = "save")]
    pub state: Option<PathBuf>,
    /// Write the state of the cluster to a file, for --state
    #[arg(long, value_name = "FILE", conflicts_with_all = ["server_down", "server_up", "cable_cut", "moved", "start", "stop", "apply", "matrix"])]
    pub save: Option<PathBuf>,
}

/// A server's cable to a network: `kiki=public`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CableArg {
    /// Whose.
    pub server: String,
    /// To which network.
    pub network: String,
}

impl std::str::FromStr for CableArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((server, network)) if !server.is_empty() && !network.is_empty() => {
                Ok(Self { server: server.to_owned(), network: network.to_owned() })
            }
            _ => Err(format!("{text:?} is not SERVER=NETWORK")),
        }
    }
}

/// A group and, perhaps, where it should be: `web` or `web=lala`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceArg {
    /// The group.
    pub group: String,
    /// The server.
    pub server: Option<String>,
}

impl std::str::FromStr for PlaceArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (group, server) = match text.split_once('=') {
            Some((group, server)) => (group, Some(server.to_owned())),
            None => (text, None),
        };
        if group.is_empty() || server.as_ref().is_some_and(String::is_empty) {
            return Err(format!("{text:?} is not GROUP or GROUP=SERVER"));
        }
        Ok(Self { group: group.to_owned(), server })
    }
}

/// `tasuki cluster …`
#[derive(Debug, Subcommand)]
pub enum ClusterVerb {
    /// Make a new cluster, with this server as its first member (offline)
    Init {
        /// The cluster configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Which server of the configuration this is
        #[arg(long, value_name = "NAME")]
        server: String,
    },
    /// Make this server a member, with a token from `tasuki cluster token`
    Join {
        /// A member, as ADDRESS or ADDRESS:PORT
        #[arg(value_name = "ADDRESS")]
        member: String,
        /// The token
        #[arg(long, env = "TASUKI_TOKEN", hide_env_values = true)]
        token: String,
        /// Which server of the configuration this is
        #[arg(long, value_name = "NAME")]
        server: String,
    },
    /// Make a one-time token with which one server may join
    Token {
        /// Only this server may use it
        #[arg(long, value_name = "NAME")]
        server: Option<String>,
        /// How long it is good for, like 30m or 1h; seven days at most
        #[arg(long, value_name = "SPAN", value_parser = span, default_value = "1h")]
        expires: Duration,
    },
    /// Make a certificate with which somebody elsewhere may call the cluster (on a server; needs no node)
    Certificate(CertificateArgs),
    /// Servers with their paths, groups with where they run, and whether one more loss is survived
    Status,
    /// Let groups run on unwatched: nothing is started, stopped or moved by itself
    Suspend,
    /// Watch the groups again; also calls a shutdown off that has not finished
    Resume,
    /// Stop every group and every node
    Shutdown {
        /// What happens to the machines then
        #[command(flatten)]
        after: After,
        /// Yes, stop every service of the cluster
        #[arg(long)]
        yes: bool,
    },
    /// Every time that follows from `detect`, and the names of three in older systems
    Times,
    /// The live supervision tree of the node
    Tree,
}

/// What follows a shutdown.
#[derive(Clone, Copy, Debug, Args)]
pub struct After {
    /// Reboot the machine then
    #[arg(long, conflicts_with = "poweroff")]
    pub reboot: bool,
    /// Power the machine off then
    #[arg(long)]
    pub poweroff: bool,
}

/// `tasuki group …`
#[derive(Debug, Subcommand)]
pub enum GroupVerb {
    /// Start a group
    Start {
        /// The group
        group: String,
        /// Where; the best allowed server otherwise
        #[arg(long, value_name = "SERVER")]
        on: Option<String>,
        /// Why, in your own words, for the history
        #[arg(long, value_name = "TEXT")]
        because: Option<String>,
        /// How long to wait for it.
        #[command(flatten)]
        wait: Waiting,
    },
    /// Stop a group
    Stop {
        /// The group
        group: String,
        /// Also when that stops others that depend on it
        #[arg(long)]
        force: bool,
        /// Why, in your own words, for the history
        #[arg(long, value_name = "TEXT")]
        because: Option<String>,
        /// How long to wait for it.
        #[command(flatten)]
        wait: Waiting,
    },
    /// Move a group to another server
    Move {
        /// The group
        group: String,
        /// Where to; the next allowed server otherwise
        #[arg(long, value_name = "SERVER")]
        to: Option<String>,
        /// Also when that stops others that depend on it
        #[arg(long)]
        force: bool,
        /// Why, in your own words, for the history
        #[arg(long, value_name = "TEXT")]
        because: Option<String>,
        /// How long to wait for it.
        #[command(flatten)]
        wait: Waiting,
    },
    /// Where groups run and since when, with their resources
    #[command(visible_alias = "list")]
    Status {
        /// Only this group
        group: Option<String>,
    },
    /// Set a group's failure counters to zero
    Reset {
        /// The group
        group: String,
    },
}

/// How long to wait for the outcome.
#[derive(Clone, Copy, Debug, Args)]
pub struct Waiting {
    /// Do not wait for the outcome
    #[arg(long)]
    pub no_wait: bool,
    /// Wait for the outcome, which is what happens anyway
    #[arg(long, hide = true, conflicts_with = "no_wait")]
    pub wait: bool,
    /// Wait at most so long, like 30s or 2m; as long as it takes otherwise
    #[arg(long, value_name = "SPAN", value_parser = span, conflicts_with = "no_wait")]
    pub timeout: Option<Duration>,
}

/// `tasuki fence …`
#[derive(Debug, Subcommand)]
pub enum FenceVerb {
    /// The fencing devices, without their secrets
    List,
    /// How each server would be fenced, and how far its last fencing is
    Status {
        /// Only this server
        server: Option<String>,
    },
    /// Ask a device whether it answers, from the server that is asked; changes nothing
    Test {
        /// The device
        device: String,
    },
    /// Have a server fenced now, whether it answers or not
    Now {
        /// The server
        server: String,
        /// Yes, what runs there is cut off
        #[arg(long)]
        yes: bool,
    },
    /// Say that a server is off, when no device can: what ran there is started elsewhere
    Confirm {
        /// The server
        server: String,
        /// Yes, it is off: I have looked
        #[arg(long)]
        yes: bool,
    },
    /// End a fencing by hand: the server may be granted a lease again
    Lift {
        /// The server
        server: String,
    },
}

/// `tasuki server …`
#[derive(Debug, Subcommand)]
pub enum ServerVerb {
    /// Every server with its state and its paths
    #[command(visible_alias = "status")]
    List,
    /// Hand a server's groups over and stop its node
    Shutdown {
        /// The server
        server: String,
        /// What happens to the machine then
        #[command(flatten)]
        after: After,
    },
    /// Add a server to the configuration, and print how it joins
    Add(NewServerArgs),
    /// Take a server out of the cluster and of its configuration for good
    Remove {
        /// The server
        server: String,
        /// If it is up, have it hand its groups over and stop first
        #[arg(long)]
        stop: bool,
        /// Yes, it does not come back by itself
        #[arg(long)]
        yes: bool,
    },
    /// Let a new machine take the place of a server that is down, and print how it joins
    Replace {
        /// The server
        server: String,
        /// How long its token is good for, like 30m or 1h; seven days at most
        #[arg(long, value_name = "SPAN", value_parser = span, default_value = "1h")]
        expires: Duration,
    },
}

/// `tasuki server add`
#[derive(Debug, Args)]
pub struct NewServerArgs {
    /// Its name: the machine's host name, without its domain
    pub name: String,
    /// Its address on a network (repeatable)
    #[arg(long, required = true, value_name = "NETWORK=ADDRESS")]
    pub at: Vec<AddressArg>,
    /// What it may be lost together with, such as a rack or a site
    #[arg(long, value_name = "NAME")]
    pub domain: Option<String>,
    /// A few words about it
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// How long its token is good for, like 30m or 1h; seven days at most
    #[arg(long, value_name = "SPAN", value_parser = span, default_value = "1h")]
    pub expires: Duration,
    /// Whether it is only tried.
    #[command(flatten)]
    pub edit: Editing,
}

/// An address on a network: `public=10.1.0.85`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressArg {
    /// The network.
    pub network: String,
    /// The address there.
    pub address: IpAddr,
}

impl std::str::FromStr for AddressArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not NETWORK=ADDRESS");
        let (network, address) =
            text.split_once('=').filter(|(network, _)| !network.is_empty()).ok_or_else(wrong)?;
        Ok(Self { network: network.to_owned(), address: address.parse().map_err(|_| wrong())? })
    }
}

/// `tasuki config …`
#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Find the mistakes in a configuration file (offline)
    Check {
        /// The file
        file: PathBuf,
        /// Do not look for the scripts on this machine
        #[arg(long)]
        no_scripts: bool,
    },
    /// Make a file the cluster's configuration, after every server has checked it
    Push {
        /// The file
        file: PathBuf,
        /// Have it checked everywhere, but change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the present configuration
    Show,
    /// Print the lines in which two configurations differ
    Diff {
        /// The revision that made one, or any at which it was the present one
        from: u64,
        /// The same for the other; the present configuration when not given
        to: Option<u64>,
    },
    /// Make an earlier configuration the cluster's again, as a new revision
    Rollback {
        /// The revision that made it, or any at which it was the present one
        revision: u64,
        /// Yes, do it; otherwise show what would follow
        #[arg(long)]
        yes: bool,
    },
}

/// `tasuki registry …`
#[derive(Debug, Subcommand)]
pub enum RegistryVerb {
    /// Print one object
    Get {
        /// Its path, like groups/web/ownership
        key: String,
    },
    /// List keys with who changed them when
    List {
        /// Only keys under this path
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Print the last changes, oldest first
    History {
        /// Only changes under this path
        #[arg(default_value = "")]
        prefix: String,
        /// At most so many
        #[arg(long, short = 'n', default_value_t = 50, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Print every change as it is applied
    Watch {
        /// Only changes under this path
        #[arg(default_value = "")]
        prefix: String,
        /// Begin after this revision, rather than now
        #[arg(long, value_name = "REVISION")]
        after: Option<u64>,
    },
    /// The local registry: what this server alone keeps of its stack
    #[command(subcommand)]
    Local(LocalVerb),
}

/// `tasuki registry local …`
#[derive(Debug, Subcommand)]
pub enum LocalVerb {
    /// Where it is, and what it holds
    Show,
    /// Make a backup, and list them all
    Backup,
    /// List the backups, newest first
    List,
    /// Put a backup in its place; the node must not run
    Restore {
        /// The backup
        file: PathBuf,
    },
    /// Whether it is whole
    Check,
    /// Print what it holds as JSON
    Dump,
    /// Refused: there is exactly one
    #[command(hide = true)]
    Add,
    /// Refused: there is exactly one
    #[command(hide = true)]
    Delete,
    /// Refused: there is exactly one
    #[command(hide = true)]
    Multiplex,
}

/// `tasuki profile …`
#[derive(Debug, Subcommand)]
pub enum ProfileVerb {
    /// What the node's profile says: networks, servers, ports, votes
    Show,
    /// Check the signature of every copy on this server; needs no node
    Verify,
}

/// `tasuki event …`
#[derive(Debug, Subcommand)]
pub enum EventVerb {
    /// Print one line for each event
    Watch {
        /// Only about this object (group/web) or kind of object (group)
        #[arg(default_value = "")]
        object: String,
    },
}

/// A span with its unit.
fn span(text: &str) -> Result<Duration, String> {
    let expected = || format!("{text:?} is not a span; write a number and a unit: 500ms, 30s, 5m, 2h, 1d");
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| expected())?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(expected()),
    };
    let ms = number.checked_mul(unit_ms).filter(|ms| *ms > 0).ok_or_else(expected)?;
    Ok(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn no_command_gives_an_option_of_every_command_another_meaning() {
        fn look(command: &clap::Command, of_all: &[&clap::Arg], path: &str) {
            for own in command.get_arguments().filter(|own| !own.is_global_set()) {
                let same = |other: &&&clap::Arg| {
                    own.get_id() == other.get_id()
                        || own.get_long().is_some_and(|it| other.get_long() == Some(it))
                };
                let taken = of_all.iter().find(same).map(|other| other.get_id());
                assert_eq!(taken, None, "{path} would not see its own {}", own.get_id());
            }
            for one in command.get_subcommands() {
                look(one, of_all, &format!("{path} {}", one.get_name()));
            }
        }
        let command = CommandLine::command();
        let of_all: Vec<&clap::Arg> = command.get_arguments().filter(|it| it.is_global_set()).collect();
        assert!(of_all.len() >= 5, "{of_all:?}");
        look(&command, &of_all, "tasuki");
    }

    #[test]
    fn spans_need_a_unit() {
        assert_eq!(span("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(span("2h"), Ok(Duration::from_secs(7200)));
        for wrong in ["", "90", "s", "0s", "-1s", "1.5h", "9999999999999999999d", "1w"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
