//! What differs between the copies of a disk, per side: places, and files where that is known. Meant for
//! copies that have gone apart, before somebody decides whose data is lost.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tasuki_core::{
    ids::{ServerName, VolumeName},
    registry::State,
};

use super::{disks, failed, place_of};
use crate::app::{App, AppError, Caller, Role};

/// So many places are named.
const PLACES: usize = 1000;

/// What one copy has and another one may lack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Whose copy has it.
    pub server: ServerName,
    /// Whose copy lacks it; nobody's when the server could not be asked.
    pub lacks: Option<ServerName>,
    /// How much, in bytes.
    pub bytes: u64,
    /// Where: offsets and lengths in bytes, the first thousand.
    pub places: Vec<(u64, u64)>,
    /// How many places there are.
    pub places_in_all: u64,
    /// The file system, where files were looked for.
    pub filesystem: String,
    /// The files that have something there, by their paths in the file system.
    pub files: Vec<String>,
    /// What has to be said besides.
    pub note: String,
}

impl Difference {
    /// Of a server that did not say.
    #[must_use]
    pub fn unknown(server: ServerName, note: String) -> Self {
        let (places, files, filesystem) = (Vec::new(), Vec::new(), String::new());
        Self { server, lacks: None, bytes: 0, places, places_in_all: 0, filesystem, files, note }
    }
}

/// Files that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesFound {
    /// By their paths in the file system, in order.
    pub files: Vec<String>,
    /// What was not looked at, or why nothing was found.
    pub note: String,
}

/// Where to look for files.
#[derive(Clone, Debug)]
pub struct Look {
    /// The data area.
    pub data: PathBuf,
    /// The name of its file system.
    pub filesystem: String,
    /// Where it is mounted, if it is: what it keeps back is written out first.
    pub mounted: Option<PathBuf>,
    /// Offsets and lengths in bytes.
    pub places: Vec<(u64, u64)>,
}

/// Finds the files that have something in some places of a disk.
#[async_trait]
pub trait FileFinder: Send + Sync + 'static {
    /// Only reads the disk; `scratch` is a folder for what it needs meanwhile.
    async fn find(&self, look: Look, scratch: &Path) -> FilesFound;
}

impl App {
    /// What each copy of a disk has that another one may lack, as the servers say; with `here` only this
    /// server's.
    ///
    /// # Errors
    /// Not allowed, no such disk, or the copy here is not open.
    pub async fn mirror_differences(
        &self,
        by: &Caller,
        volume: &VolumeName,
        here: bool,
    ) -> Result<Vec<Difference>, AppError> {
        by.must_be(Role::Operator)?;
        let state = self.applied();
        let (_, group) = super::disk_of(&state, volume)?;
        if here {
            return self.differences_here(&state, volume).await;
        }
        let asked = group.servers.iter().map(|server| {
            let state = state.clone();
            async move {
                let said = if *server == self.node.status().server {
                    self.differences_here(&state, volume).await
                } else {
                    let (addresses, port) = place_of(&state, server);
                    self.fleet.mirror_differences_there(server, &addresses, port, by, volume).await
                };
                said.unwrap_or_else(|error| {
                    vec![Difference::unknown(server.clone(), format!("it could not be asked: {error}"))]
                })
            }
        });
        Ok(futures::future::join_all(asked).await.into_iter().flatten().collect())
    }

    async fn differences_here(
        &self,
        state: &State,
        volume: &VolumeName,
    ) -> Result<Vec<Difference>, AppError> {
        let me = self.node.status().server;
        let found = disks(state).find(|(name, ..)| name == volume);
        let (Some(mirrors), Some((.., disk))) = (&self.mirrors, found) else { return Ok(Vec::new()) };
        let is_open = mirrors.list().iter().any(|copy| {
            copy.volume == *volume && copy.path.as_ref().is_some_and(|path| path.device.is_some())
        });
        let mut all = Vec::new();
        for (peer, places) in mirrors.lacks(volume).map_err(failed)? {
            if places.is_empty() {
                continue;
            }
            let found = match (&disk.mount, &self.files) {
                (Some(mount), Some(files)) => {
                    let look = Look {
                        data: disk.areas(&me).data,
                        filesystem: disk.filesystem.clone(),
                        mounted: is_open.then(|| mount.clone()),
                        places: places.clone(),
                    };
                    files.find(look, &self.scripts.join("saved")).await
                }
                _ => FilesFound {
                    note: "it is used without a file system".to_owned(),
                    ..FilesFound::default()
                },
            };
            all.push(Difference {
                server: me.clone(),
                lacks: Some(peer),
                bytes: places.iter().map(|(_, length)| length).sum(),
                places_in_all: places.len() as u64,
                places: places.into_iter().take(PLACES).collect(),
                filesystem: disk.mount.as_ref().map(|_| disk.filesystem.clone()).unwrap_or_default(),
                files: found.files,
                note: found.note,
            });
        }
        Ok(all)
    }
}
