//! The names under which a device appears: `/dev/tasuki/NAME`, and the one that is configured. Both are
//! symbolic links; what is not one of ours is never replaced.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::error::DeviceError;

/// The names of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Links {
    /// `/dev/tasuki/NAME`.
    pub(super) own: PathBuf,
    /// The configured name, which points to that.
    pub(super) configured: Option<PathBuf>,
}

impl Links {
    /// Whether both names are free or ours, before anything is made.
    pub(super) fn check(&self) -> Result<(), DeviceError> {
        if let Ok(meta) = fs::symlink_metadata(&self.own)
            && !meta.is_symlink()
        {
            return Err(DeviceError::NotOurs(self.own.clone()));
        }
        let Some(configured) = &self.configured else { return Ok(()) };
        match fs::symlink_metadata(configured) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(_) if self.is_configured_link(configured) => Ok(()),
            _ => Err(DeviceError::NotOurs(configured.clone())),
        }
    }

    /// Points both to the node, each in one step.
    pub(super) fn point_to(&self, node: &Path) -> Result<(), DeviceError> {
        self.check()?;
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |why| DeviceError::Failed { what: format!("the link {}", path.display()), why }
        };
        if let Some(folder) = self.own.parent() {
            fs::create_dir_all(folder).map_err(failed(folder))?;
        }
        replace(&self.own, node).map_err(failed(&self.own))?;
        if let Some(configured) = &self.configured {
            replace(configured, &self.own).map_err(failed(configured))?;
        }
        Ok(())
    }

    /// Removes them, if they still are ours and point to this node.
    pub(super) fn remove(&self, node: &Path) {
        if fs::read_link(&self.own).is_ok_and(|target| target == node) {
            remove(&self.own);
            if let Some(configured) = self.configured.as_ref().filter(|path| self.is_configured_link(path)) {
                remove(configured);
            }
        }
    }

    fn is_configured_link(&self, path: &Path) -> bool {
        fs::read_link(path).is_ok_and(|target| target == self.own)
    }
}

fn replace(link: &Path, target: &Path) -> io::Result<()> {
    let mut new = link.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    remove(&new);
    symlink(target, &new)?;
    fs::rename(&new, link)
}

fn remove(link: &Path) {
    match fs::remove_file(link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(link = %link.display(), %error, "a link stays");
        }
        _ => {}
    }
}
