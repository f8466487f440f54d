//! What a node needs to know before its registry has told it anything: written by `cluster init`
//! and `cluster join`, read at a node's first start.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tasuki_core::{
    config::ClusterConfig,
    ids::{RaftId, ServerName},
};

/// How a node starts for the first time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Bootstrap {
    /// It makes the registry, with this as its first content.
    Found {
        /// The first configuration.
        config: ClusterConfig,
    },
    /// It joins a registry that exists.
    Join {
        /// The Raft id that it was given.
        raft_id: RaftId,
        /// The configuration at that time.
        config: ClusterConfig,
        /// The members at that time, itself included.
        members: Vec<Member>,
    },
}

/// A member, and where its node answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Which server.
    pub server: ServerName,
    /// Its Raft id.
    pub raft_id: RaftId,
    /// Its addresses, best first.
    pub addresses: Vec<IpAddr>,
    /// Its gRPC port.
    pub port: u16,
}

impl Bootstrap {
    /// Where it is kept.
    #[must_use]
    pub fn path(data: &Path) -> PathBuf {
        data.join("bootstrap.json")
    }

    /// The configuration that the node starts with.
    #[must_use]
    pub fn config(&self) -> &ClusterConfig {
        match self {
            Self::Found { config } | Self::Join { config, .. } => config,
        }
    }

    /// Reads it; `None` when there is none.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn load(data: &Path) -> io::Result<Option<Self>> {
        match fs::read(Self::path(data)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it so that a crash leaves either nothing or the whole.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn save(&self, data: &Path) -> io::Result<()> {
        let path = Self::path(data);
        let temporary = path.with_extension("json.new");
        let file = fs::File::create(&temporary)?;
        serde_json::to_writer_pretty(&file, self)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        fs::File::open(data)?.sync_all()
    }
}
