//! What runs until it is ended: lab, witness, guard, node.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};

/// `tasuki lab …`
#[derive(Debug, Args)]
pub struct LabArgs {
    /// The lab's folder; by default one of your own in the run-time or temporary folder
    #[arg(long, global = true, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Keep the folder, with the logs and registries in it, when the lab ends
    #[arg(long)]
    pub keep: bool,
    /// What to do; starts the lab and shows its service until Ctrl-C when not given.
    #[command(subcommand)]
    pub verb: Option<LabVerb>,
}

/// What to do with the lab.
#[derive(Debug, Subcommand)]
pub enum LabVerb {
    /// Start the lab and show its service until Ctrl-C
    Up,
    /// Kill a server of the lab, guard and node and all, as a power loss would
    Kill {
        /// The server
        server: String,
    },
    /// Start a server again that was killed
    Start {
        /// The server
        server: String,
    },
    /// Cut a server's cables
    Cut {
        /// The server
        server: String,
        /// Only on this network
        network: Option<String>,
    },
    /// Mend a server's cables
    Heal {
        /// The server; every one when not given
        server: Option<String>,
    },
    /// Show the lab's cluster
    Status,
    /// Take everything down
    Down,
}

/// `tasuki witness …`
#[derive(Debug, Args)]
pub struct WitnessArgs {
    /// What to do; serves every cluster of the folder (--data) when not given.
    #[command(subcommand)]
    pub verb: Option<WitnessVerb>,
}

/// What to do with the witness of this machine.
#[derive(Debug, Subcommand)]
pub enum WitnessVerb {
    /// Become a witness of a cluster, with a token from `tasuki cluster token`
    Join {
        /// A member, as ADDRESS or ADDRESS:PORT
        #[arg(value_name = "ADDRESS")]
        member: String,
        /// The token
        #[arg(long, env = "TASUKI_TOKEN", hide_env_values = true)]
        token: String,
        /// Which [[witness]] of the configuration this is
        #[arg(long, value_name = "NAME", default_value = "witness")]
        name: String,
    },
    /// The clusters of which this machine is a witness, and what it keeps for them
    List,
    /// Be a witness of a cluster no more, and remove what is kept for it
    Leave {
        /// The cluster
        cluster: String,
        /// Yes, remove it
        #[arg(long)]
        yes: bool,
    },
}

/// `tasuki guard`
#[derive(Debug, Args)]
pub struct GuardArgs {
    /// Folder for what is of one boot only; by default under /run
    #[arg(long, env = "TASUKI_RUN", value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// The watchdog device
    #[arg(long, value_name = "DEVICE")]
    pub watchdog: Option<PathBuf>,
    /// Never reboot or power off the machine: say what would be done
    #[arg(long)]
    pub no_power: bool,
    /// Keep programs together by marks rather than by control groups
    #[arg(long)]
    pub marked: bool,
}

/// `tasuki node`
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// Folder for what is of one boot only; by default under /run
    #[arg(long, env = "TASUKI_RUN", value_name = "DIR")]
    pub run: Option<PathBuf>,
}

/// `tasuki __demo-http`
#[derive(Debug, Args)]
pub struct DemoHttpArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
}
