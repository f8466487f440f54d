//! `tasuki mirror`.

use clap::Subcommand;

use super::{Editing, Waiting, engine::attribute};

/// What can be done with mirrored disks.
#[derive(Debug, Subcommand)]
pub enum MirrorVerb {
    /// Mirrored disks, with the copy of every server
    #[command(visible_alias = "list")]
    Status {
        /// Only this one
        volume: Option<String>,
    },
    /// Everything that is known of one mirrored disk
    Detail {
        /// The disk
        volume: String,
    },
    /// What each copy has that another one may lack: places, and files on ext4
    #[command(visible_alias = "diff")]
    Differences {
        /// The disk
        volume: String,
    },
    /// Add a mirrored disk to a group
    Create {
        /// Its name, which is that of its resource
        volume: String,
        /// The group; each of its servers keeps a copy
        #[arg(long, value_name = "GROUP")]
        group: String,
        /// The data area: a partition or a file
        #[arg(long, value_name = "PATH")]
        data_area: String,
        /// The management area: a partition or a file of at least 10 MB
        #[arg(long, value_name = "PATH")]
        metadata_area: String,
        /// Other keys of its section, like mount=/srv or initial_mkfs=false
        #[arg(value_name = "KEY=VALUE", value_parser = attribute)]
        keys: Vec<(String, String)>,
        /// Whether it is only tried.
        #[command(flatten)]
        edit: Editing,
    },
    /// Bring copies up to date: what differs, or all of it
    Rebuild {
        /// The disk
        volume: String,
        /// Only the copy of this server
        #[arg(long, value_name = "SERVER")]
        server: Option<String>,
        /// All of it, even where nothing is known to differ
        #[arg(long)]
        full: bool,
        /// Over data that only the copy of this server has; it is saved aside there first
        #[arg(long, value_name = "SERVER", conflicts_with = "server")]
        discard: Option<String>,
        /// How long to wait for it.
        #[command(flatten)]
        wait: Waiting,
    },
    /// Compare the copies, beside what is written
    Verify {
        /// The disk
        volume: String,
        /// Only with the copy of this server
        #[arg(long, value_name = "SERVER")]
        server: Option<String>,
        /// Copy what differs
        #[arg(long)]
        repair: bool,
        /// How long to wait for it.
        #[command(flatten)]
        wait: Waiting,
    },
    /// End a rebuild or a check; what it did not copy stays to be copied
    Stop {
        /// The disk
        volume: String,
    },
    /// Let a rebuild rest
    Pause {
        /// The disk
        volume: String,
    },
    /// Let a rebuild go on
    Resume {
        /// The disk
        volume: String,
    },
    /// Make a disk as large as its data areas are now
    Resize {
        /// The disk
        volume: String,
    },
    /// Go on from a copy that is not up to date: what was acknowledged since is lost
    Force {
        /// The disk
        volume: String,
        /// The server whose copy it is
        #[arg(long, value_name = "SERVER")]
        server: String,
        /// The words "may lose data"
        #[arg(long, value_name = "WORDS")]
        confirm: Option<String>,
    },
}
