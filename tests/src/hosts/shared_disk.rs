//! A disk that all servers reach: a loop device over a file, which ends with this.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::Command,
};

/// See the module.
pub struct SharedDisk {
    device: PathBuf,
    _file: tempfile::NamedTempFile,
}

impl SharedDisk {
    /// A blank one of so many bytes.
    ///
    /// # Errors
    /// Where there is no loop device to be had.
    pub fn new(size: u64) -> io::Result<Self> {
        let file = tempfile::NamedTempFile::new()?;
        File::options().write(true).open(file.path())?.set_len(size)?;
        let made = Command::new("losetup").args(["--find", "--show"]).arg(file.path()).output()?;
        if !made.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).trim().to_owned()));
        }
        let device = PathBuf::from(String::from_utf8_lossy(&made.stdout).trim());
        Ok(Self { device, _file: file })
    }

    /// The device.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.device
    }
}

impl Drop for SharedDisk {
    fn drop(&mut self) {
        match Command::new("losetup").arg("--detach").arg(&self.device).status() {
            Ok(status) if status.success() => {}
            other => println!("{} was not detached: {other:?}", self.device.display()),
        }
    }
}
