//! Where on this server things are kept.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The folders of one server, shared by its guard and its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    data_dir: PathBuf,
    run_dir: PathBuf,
    instance: String,
}

impl Layout {
    /// Opens both folders and makes what is missing below them.
    ///
    /// The run folder should be in memory (`/run`): the guard writes the lease's end there and
    /// must not wait for a disk.
    ///
    /// # Errors
    /// When a folder cannot be made.
    pub fn open(data_dir: &Path, run_dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(data_dir)?;
        fs::create_dir_all(run_dir)?;
        let (data_dir, run_dir) = (data_dir.canonicalize()?, run_dir.canonicalize()?);
        // Unique on this machine while it is up, which is as long as processes live; a copy of
        // the data folder is another instance.
        let folder = fs::metadata(&data_dir)?;
        let instance = format!("{:x}-{:x}", folder.dev(), folder.ino());
        let layout = Self { data_dir, run_dir, instance };
        let records = [layout.resource_records(), layout.address_records(), layout.disk_records()];
        for part in records.into_iter().chain([layout.logs()]) {
            fs::create_dir_all(part)?;
        }
        Ok(layout)
    }

    /// What survives a boot.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// What is of this boot only.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// Names this server's processes among those of other servers on the same machine.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Records of programs that run.
    #[must_use]
    pub fn resource_records(&self) -> PathBuf {
        self.run_dir.join("resources")
    }

    /// Records of addresses that are held.
    #[must_use]
    pub fn address_records(&self) -> PathBuf {
        self.run_dir.join("addresses")
    }

    /// Records of mirrored disks that are up.
    #[must_use]
    pub fn disk_records(&self) -> PathBuf {
        self.run_dir.join("disks")
    }

    /// Captured output of programs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.run_dir.join("log")
    }

    /// The lease's end, for a guard that starts again.
    #[must_use]
    pub fn lease(&self) -> PathBuf {
        self.run_dir.join("lease")
    }

    /// The node's process, for a guard that starts again.
    #[must_use]
    pub fn node_process(&self) -> PathBuf {
        self.run_dir.join("node")
    }

    /// Locked by the guard.
    #[must_use]
    pub fn guard_lock(&self) -> PathBuf {
        self.data_dir.join("guard.lock")
    }
}
