//! `tasuki vote`.

use std::path::PathBuf;

use clap::Subcommand;

use super::Editing;

/// What can be done with voting files.
#[derive(Debug, Subcommand)]
pub enum VoteVerb {
    /// The voting files, as the server that is asked finds them
    #[command(visible_alias = "status")]
    List,
    /// The voting files, as every server finds them, with their blocks
    Check,
    /// Make files voting files, and add them to the configuration
    Add {
        /// Devices or files, at the same path on every server
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Overwrite what stands there, even another cluster's voting file
        #[arg(long)]
        force: bool,
        /// Whether it is only tried.
        #[command(flatten)]
        edit: Editing,
    },
    /// Take voting files out of the configuration
    Remove {
        /// Voting files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Also when two servers have no tie-break afterwards
        #[arg(long)]
        yes: bool,
        /// Whether it is only tried.
        #[command(flatten)]
        edit: Editing,
    },
    /// Put a voting file in the place of another
    Replace {
        /// The one that goes
        old: PathBuf,
        /// The one that comes
        new: PathBuf,
        /// Overwrite what stands there, even another cluster's voting file
        #[arg(long)]
        force: bool,
        /// Whether it is only tried.
        #[command(flatten)]
        edit: Editing,
    },
}
