//! The lab's folder: private, and never somebody else's. Only files that a lab makes are removed
//! from it.

use std::{
    env,
    ffi::OsStr,
    fs,
    fs::{DirBuilder, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};

use super::{error::LabError, state::SERVERS};

/// Longer paths cannot be the name of a unix socket.
const LONGEST_SOCKET: usize = 107;
const LOCK: &str = "lab.lock";

/// The folder that was asked for, or this user's own below the run-time folder.
pub(super) fn choose(given: Option<&Path>) -> Result<PathBuf, LabError> {
    let folder = match given {
        Some(given) => given.to_owned(),
        None => match env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|d| is_own_folder(d)) {
            Some(run) => run.join("tasuki-lab"),
            None => env::temp_dir().join(format!("tasuki-lab-{}", nix::unistd::getuid())),
        },
    };
    // Guards change to other folders.
    std::path::absolute(&folder).map_err(|error| refuse(&folder, error.to_string()))
}

fn is_own_folder(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|meta| meta.is_dir() && meta.uid() == nix::unistd::getuid().as_raw())
}

fn refuse(place: &Path, why: impl Into<String>) -> LabError {
    LabError::Folder { place: place.to_owned(), why: why.into() }
}

/// Makes the folder, or takes an empty one; it must belong to this user.
pub(super) fn make(folder: &Path) -> Result<(), LabError> {
    let longest = folder.join("kiki").join("tasuki.sock").as_os_str().len();
    if longest > LONGEST_SOCKET {
        return Err(refuse(folder, format!("its path is {} bytes too long", longest - LONGEST_SOCKET)));
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(refuse(folder, error.to_string())),
    }
    // Not through a link: /tmp is everybody's.
    let meta = fs::symlink_metadata(folder).map_err(|error| refuse(folder, error.to_string()))?;
    if !meta.is_dir() {
        return Err(refuse(folder, "it is there and is no folder"));
    }
    if meta.uid() != nix::unistd::getuid().as_raw() {
        return Err(refuse(folder, "it belongs to another user"));
    }
    let entries = fs::read_dir(folder).map_err(|error| refuse(folder, error.to_string()))?;
    for entry in entries {
        let name = entry.map_err(|error| refuse(folder, error.to_string()))?.file_name();
        if !is_ours(&name) {
            return Err(refuse(folder, format!("it holds {:?}, which is not a lab's", name.display())));
        }
    }
    fs::set_permissions(folder, Permissions::from_mode(0o700))
        .map_err(|error| refuse(folder, error.to_string()))
}

/// What a lab makes in its folder.
fn is_ours(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let file = ["lab.json", "lab.json.new", LOCK, "lab.sock", "cluster.toml"];
    let of_server = |server: &str| {
        name.strip_prefix(server).is_some_and(|rest| ["", ".log", ".cuts", ".cuts.new"].contains(&rest))
    };
    file.contains(&&*name) || SERVERS.iter().any(|server| of_server(server))
}

/// Removes what a lab made, and the folder when nothing else is in it.
pub(super) fn remove(folder: &Path) -> Result<(), LabError> {
    let failed = |error| LabError::io(format!("removing {}", folder.display()))(error);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = entries
        .filter_map(|entry| entry.map(|entry| is_ours(&entry.file_name()).then(|| entry.path())).transpose())
        .collect::<io::Result<Vec<PathBuf>>>()
        .map_err(failed)?;
    // The lock last: until then everybody sees that somebody is at it.
    paths.sort_by_key(|path| path.ends_with(LOCK));
    for path in paths {
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir());
        let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    match fs::remove_dir(folder) {
        // Somebody put something of their own there: it stays.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        other => other.map_err(failed),
    }
}

/// Held by the lab's own process for as long as it lives: the kernel lets go of it whatever happens.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held until dropped")] File);

impl Lock {
    /// For a lab that begins. `None` when another process holds it.
    pub(super) fn make(folder: &Path) -> Result<Option<Self>, LabError> {
        Self::open(folder, true)
    }

    /// For a verb. `None` when the lab's own process holds it.
    pub(super) fn take(folder: &Path) -> Result<Option<Self>, LabError> {
        Self::open(folder, false)
    }

    fn open(folder: &Path, create: bool) -> Result<Option<Self>, LabError> {
        let path = folder.join(LOCK);
        let failed = |error| LabError::io(format!("locking {}", path.display()))(error);
        let file = OpenOptions::new().write(true).create(create).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        }
        // It may have been removed, with its lab, since it was opened.
        let same = |now: fs::Metadata| file.metadata().is_ok_and(|held| held.ino() == now.ino());
        if fs::metadata(&path).is_ok_and(same) {
            Ok(Some(Self(file)))
        } else {
            Err(failed(io::ErrorKind::NotFound.into()))
        }
    }

    /// Waits for it while the lab's own process takes everything down. `None` when there is no lab
    /// any more, or when it takes too long.
    pub(super) fn take_within(folder: &Path, patience: Duration) -> Result<Option<Self>, LabError> {
        let end = Instant::now() + patience;
        loop {
            match Self::take(folder) {
                Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
                Err(LabError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    return Ok(None);
                }
                other => return other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_a_lab_made_is_removed() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("lab");
        make(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        fs::create_dir_all(folder.join("kiki/registry")).unwrap();
        fs::write(folder.join("kiki.log"), "x").unwrap();
        fs::write(folder.join("thesis.txt"), "x").unwrap();
        remove(&folder).unwrap();
        let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["thesis.txt"]);
        assert!(make(&folder).unwrap_err().to_string().contains("thesis.txt"));
        fs::remove_file(folder.join("thesis.txt")).unwrap();
        make(&folder).unwrap();
        remove(&folder).unwrap();
        assert!(!folder.exists());
    }

    #[test]
    fn what_cannot_be_a_folder_is_refused() {
        let outer = tempfile::tempdir().unwrap();
        let link = outer.path().join("link");
        std::os::unix::fs::symlink(outer.path(), &link).unwrap();
        assert!(make(&link).unwrap_err().to_string().contains("is no folder"));
        let long = outer.path().join("x".repeat(100));
        assert!(make(&long).unwrap_err().to_string().contains("too long"));
        assert!(make(&outer.path().join("a/b")).is_err());
    }

    #[test]
    fn one_process_holds_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let held = Lock::make(folder.path()).unwrap();
        assert!(held.is_some() && Lock::take(folder.path()).unwrap().is_none());
        drop(held);
        assert!(Lock::take(folder.path()).unwrap().is_some());
    }

    #[test]
    fn the_lock_goes_with_the_lab() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("lab");
        make(&folder).unwrap();
        let _held = Lock::make(&folder).unwrap().unwrap();
        let waiting = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| Lock::take_within(&folder, Duration::from_secs(20)));
            remove(&folder).unwrap();
            waiting.join().unwrap()
        });
        assert!(waiting.unwrap().is_none() && !folder.exists());
    }
}
