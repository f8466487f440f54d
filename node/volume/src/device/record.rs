//! What a process writes down before it makes a device, so that the next one knows what was left.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tasuki_core::config::DeviceBackend;

use super::links::Links;

/// One device of one volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The volume.
    pub(super) name: String,
    /// How it came about.
    pub(super) backend: DeviceBackend,
    /// The block device; empty before one was chosen.
    pub(super) node: PathBuf,
    /// Its names.
    pub(super) links: Links,
}

fn folder(run: &Path) -> PathBuf {
    run.join("devices")
}

fn file(run: &Path, name: &str) -> PathBuf {
    folder(run).join(format!("{name}.device"))
}

impl Record {
    /// Writes it, in one step. The run folder does not outlive a boot, and neither do devices: nothing
    /// is synced.
    pub(super) fn write(&self, run: &Path) -> io::Result<()> {
        fs::create_dir_all(folder(run))?;
        let configured = self.links.configured.as_deref().unwrap_or(Path::new(""));
        let text = format!(
            "{}\n{}\n{}\n{}\n",
            word(self.backend),
            self.node.display(),
            self.links.own.display(),
            configured.display()
        );
        let new = folder(run).join(format!("{}.new", self.name));
        fs::write(&new, text)?;
        fs::rename(new, file(run, &self.name))
    }

    /// The record of one volume.
    pub(super) fn read(run: &Path, name: &str) -> Option<Self> {
        let text = fs::read_to_string(file(run, name)).ok()?;
        let mut lines = text.lines();
        let backend = match lines.next()? {
            "ublk" => DeviceBackend::Ublk,
            "nbd" => DeviceBackend::Nbd,
            "loop" => DeviceBackend::Loop,
            _ => return None,
        };
        let node = PathBuf::from(lines.next()?);
        let own = PathBuf::from(lines.next()?);
        let configured = lines.next().filter(|path| !path.is_empty()).map(PathBuf::from);
        Some(Self { name: name.to_owned(), backend, node, links: Links { own, configured } })
    }

    /// All of them.
    pub(super) fn all(run: &Path) -> Vec<Self> {
        let names = fs::read_dir(folder(run)).into_iter().flatten().flatten();
        let mut all: Vec<Self> = names
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                Self::read(run, name.strip_suffix(".device")?)
            })
            .collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// The device is gone.
    pub(super) fn remove(&self, run: &Path) {
        match fs::remove_file(file(run, &self.name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(volume = %self.name, %error, "a record of a device stays");
            }
            _ => {}
        }
    }
}

/// As it is configured.
pub(super) fn word(backend: DeviceBackend) -> &'static str {
    match backend {
        DeviceBackend::Ublk => "ublk",
        DeviceBackend::Nbd => "nbd",
        DeviceBackend::Loop => "loop",
    }
}
