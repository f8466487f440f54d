//! The folder of a witness: a folder for each cluster, each like a server's data folder.
//!
//! ```text
//! DIR/lock                     held by the process that serves them
//! DIR/<cluster>/identity/      who the witness is there
//! DIR/<cluster>/bootstrap.json the configuration at its joining, or later
//! DIR/<cluster>/registry/      a voter's store
//! DIR/<cluster>/tie_break.record
//! ```
//!
//! What begins with a dot is being made or taken away.

use std::{
    fs::{self, File, OpenOptions},
    io,
    net::SocketAddr,
    os::unix::fs::{MetadataExt as _, lchown},
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};
use tasuki_core::{
    config::{Role, ServerConfig},
    ids::Lineage,
};

use super::WitnessError;
use crate::{
    app::bootstrap::Bootstrap,
    identity::{Identity, Token, identity_folder},
};

/// Where witnesses are kept when nothing else is said.
pub const DEFAULT_FOLDER: &str = "/var/lib/tasuki-witness";

/// The folder of a witness.
#[derive(Clone, Debug)]
pub struct WitnessFolder(PathBuf);

/// One cluster that is served.
#[derive(Clone, Debug)]
pub struct Membership {
    /// Its folder.
    pub folder: PathBuf,
    /// Who the witness is there.
    pub identity: Identity,
    /// What it starts with.
    pub bootstrap: Bootstrap,
}

impl Membership {
    /// Reads it.
    ///
    /// # Errors
    /// A folder that is damaged, or of which others may read the keys.
    pub fn load(folder: &Path) -> Result<Self, WitnessError> {
        let identity = Identity::load(folder)?;
        let place = Bootstrap::path(folder);
        let missing = || io::Error::new(io::ErrorKind::NotFound, "there is none; leave and join anew");
        let bootstrap = Bootstrap::load(folder).and_then(|found| found.ok_or_else(missing));
        let bootstrap = bootstrap.map_err(WitnessError::files(place))?;
        Ok(Self { folder: folder.to_owned(), identity, bootstrap })
    }

    /// The witness in the configuration.
    #[must_use]
    pub fn config(&self) -> Option<&ServerConfig> {
        self.bootstrap.config().servers.get(self.identity.server())
    }

    /// What it does there.
    #[must_use]
    pub fn role(&self) -> Role {
        self.config().map_or_else(Role::default, |config| config.role)
    }

    /// Where it listens.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketAddr> {
        let Some((config, port)) = self.config().and_then(|config| Some((config, config.role.port()?)))
        else {
            return Vec::new();
        };
        let mut sockets: Vec<SocketAddr> =
            config.addresses.values().map(|address| SocketAddr::new(*address, port)).collect();
        sockets.sort();
        sockets.dedup();
        sockets
    }
}

impl WitnessFolder {
    /// The folder, which need not be there yet.
    ///
    /// # Errors
    /// When it is the data folder of a server.
    pub fn new(place: &Path) -> Result<Self, WitnessError> {
        if identity_folder(place).exists() {
            return Err(WitnessError::ServersFolder(place.to_owned()));
        }
        Ok(Self(place.to_owned()))
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.0
    }

    /// The folders of the clusters, by name. None when there is no folder.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn clusters(&self) -> Result<Vec<PathBuf>, WitnessError> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(WitnessError::files(&self.0)(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(WitnessError::files(&self.0))?;
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if !hidden && identity_folder(&entry.path()).exists() {
                found.push(entry.path());
            }
        }
        found.sort();
        Ok(found)
    }

    /// Refuses a second membership of the cluster that issued a token.
    ///
    /// # Errors
    /// Names the one that there is.
    pub fn is_new(&self, token: &Token) -> Result<(), WitnessError> {
        for folder in self.clusters()? {
            let Ok(identity) = Identity::load(&folder) else { continue };
            if token.is_of(identity.ca_fingerprint()) {
                return Err(WitnessError::Member {
                    folder: self.0.clone(),
                    cluster: identity.cluster().to_owned(),
                    name: identity.server().to_string(),
                });
            }
        }
        Ok(())
    }

    /// A folder for a membership that is being made. What an earlier attempt left is removed.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn begin(&self, token: &Token) -> Result<PathBuf, WitnessError> {
        let place = self.0.join(format!(".joining-{}", token.id));
        match fs::remove_dir_all(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(WitnessError::files(&place)(error));
            }
            _ => {}
        }
        fs::create_dir_all(&place).map_err(WitnessError::files(&place))?;
        Ok(place)
    }

    /// The membership is whole: from now on it is served, by whoever the folder of the witness belongs
    /// to. Root makes memberships, and the service that runs them need not be root.
    ///
    /// # Errors
    /// When the folder cannot be given away or renamed.
    pub fn finish(&self, begun: &Path, cluster: &str, lineage: &Lineage) -> Result<PathBuf, WitnessError> {
        let short = self.0.join(cluster);
        // Another cluster may be called the same.
        let place = if short.exists() { self.0.join(format!("{cluster}-{lineage}")) } else { short };
        let done = fs::metadata(&self.0)
            .and_then(|owner| give(begun, owner.uid(), owner.gid()))
            .and_then(|()| fs::rename(begun, &place))
            .and_then(|()| File::open(&self.0)?.sync_all());
        done.map_err(WitnessError::files(&place))?;
        Ok(place)
    }

    /// The folder of a cluster, by its name or that of its folder.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, cluster: &str) -> Result<PathBuf, WitnessError> {
        let named = |folder: &PathBuf| {
            folder.file_name().is_some_and(|name| name == cluster)
                || Identity::load(folder).is_ok_and(|identity| identity.cluster() == cluster)
        };
        let missing = || WitnessError::NoCluster { folder: self.0.clone(), cluster: cluster.to_owned() };
        self.clusters()?.into_iter().find(named).ok_or_else(missing)
    }

    /// Takes a membership away with everything in it. A process that serves it ends that by itself.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, folder: &Path) -> Result<(), WitnessError> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let away = self.0.join(format!(".left-{name}-{}", std::process::id()));
        let removed = fs::rename(folder, &away)
            .and_then(|()| File::open(&self.0)?.sync_all())
            .and_then(|()| fs::remove_dir_all(&away));
        removed.map_err(WitnessError::files(folder))
    }

    /// Keeps every other process from serving this folder, for as long as the answer lives.
    ///
    /// # Errors
    /// When another one serves it, or the folder cannot be written.
    pub fn lock(&self) -> Result<Flock<File>, WitnessError> {
        let place = self.0.join("lock");
        let opened = fs::create_dir_all(&self.0)
            .and_then(|()| OpenOptions::new().write(true).create(true).truncate(false).open(&place));
        let file = opened.map_err(WitnessError::files(&place))?;
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            nix::errno::Errno::EWOULDBLOCK => WitnessError::Running(self.0.clone()),
            other => WitnessError::files(place)(other.into()),
        })
    }

    /// Whether a process serves it now.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.0.exists() && matches!(self.lock(), Err(WitnessError::Running(_)))
    }
}

/// Makes a folder and all in it somebody's; what is theirs already is not touched.
fn give(place: &Path, uid: u32, gid: u32) -> io::Result<()> {
    let now = fs::symlink_metadata(place)?;
    if now.is_dir() {
        for entry in fs::read_dir(place)? {
            give(&entry?.path(), uid, gid)?;
        }
    }
    if (now.uid(), now.gid()) == (uid, gid) { Ok(()) } else { lchown(place, Some(uid), Some(gid)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOBODY: u32 = 65_534;

    #[test]
    fn what_root_has_joined_belongs_to_whom_the_witness_runs_as() {
        let folder = tempfile::tempdir().unwrap();
        if lchown(folder.path(), Some(NOBODY), Some(NOBODY)).is_err() {
            println!("skipped, because only root can give a folder away");
            return;
        }
        let witness = WitnessFolder::new(folder.path()).unwrap();
        let begun = folder.path().join(".joining-t");
        fs::create_dir_all(begun.join("identity")).unwrap();
        fs::write(begun.join("identity/server.key"), "secret").unwrap();
        let place = witness.finish(&begun, "demo", &Lineage::new("l1")).unwrap();
        for path in [place.clone(), place.join("identity"), place.join("identity/server.key")] {
            let owner = fs::metadata(&path).unwrap();
            assert_eq!((owner.uid(), owner.gid()), (NOBODY, NOBODY), "{}", path.display());
        }
        assert!(!begun.exists());
    }
}
