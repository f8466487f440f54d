//! Backups of the local registry: at install and by hand, never by the clock.

use std::{
    fs, io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use serde::Serialize;
use tasuki_core::{ids::ServerName, time::WallTime};

use super::{LocalError, default_place, place_of, read, write_whole};

/// One backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Backup {
    /// Of which server.
    pub host: ServerName,
    /// When, as `YYYY/MM/DD HH:MM:SS`, UTC.
    pub at: String,
    /// The file.
    pub path: PathBuf,
}

impl std::fmt::Display for Backup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}     {}     {}", self.host, self.at, self.path.display())
    }
}

fn folder(data: &Path, server: &ServerName) -> PathBuf {
    data.join("local").join(server.as_str())
}

/// Writes a backup. One of the same second is left as it is, and this one gets the next.
pub(super) fn make(
    data: &Path,
    server: &ServerName,
    content: &[u8],
    now: WallTime,
) -> Result<Backup, LocalError> {
    let folder = folder(data, server);
    let io = |source| LocalError::Files { place: folder.clone(), source };
    fs::create_dir_all(&folder).map_err(io)?;
    let mut second = now.0 / 1000;
    let path = loop {
        let path = folder.join(file_name(WallTime(second * 1000)));
        if !path.exists() {
            break path;
        }
        second += 1;
    };
    write_whole(&path, content).map_err(|source| LocalError::Files { place: path.clone(), source })?;
    let at = time_of(&path).unwrap_or_default();
    Ok(Backup { host: server.clone(), at, path })
}

/// `backup_20261122_080312.olr`, from `2026-11-22T08:03:12.000Z`.
fn file_name(at: WallTime) -> String {
    let digits: String = at.to_string().chars().filter(char::is_ascii_digit).take(14).collect();
    let (day, time) = digits.split_at(digits.len().min(8));
    format!("backup_{day}_{time}.olr")
}

/// The time in a backup's name; `None` when it is no backup's name.
fn time_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let (day, time) = name.strip_prefix("backup_")?.strip_suffix(".olr")?.split_once('_')?;
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(day, 8) && digits(time, 6)).then(|| {
        let (y, mo, d) = (&day[..4], &day[4..6], &day[6..]);
        let (h, mi, s) = (&time[..2], &time[2..4], &time[4..]);
        format!("{y}/{mo}/{d} {h}:{mi}:{s}")
    })
}

/// This server's backups, newest first.
///
/// # Errors
/// When their folder cannot be read.
pub fn backups(data: &Path, server: &ServerName) -> Result<Vec<Backup>, LocalError> {
    let folder = folder(data, server);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(LocalError::Files { place: folder, source }),
    };
    let mut all: Vec<Backup> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some(Backup { host: server.clone(), at: time_of(&path)?, path })
        })
        .collect();
    all.sort_by(|a, b| b.path.cmp(&a.path));
    Ok(all)
}

/// Puts a backup in the place of the local registry; what is there, damaged as it may be, is kept
/// beside it. Says where both are.
///
/// # Errors
/// When the node runs, the file is no backup of this server, or it cannot be written.
pub fn restore(
    data: &Path,
    server: &ServerName,
    from: &Path,
) -> Result<(PathBuf, Option<PathBuf>), LocalError> {
    if UnixStream::connect(data.join("tasuki.sock")).is_ok() {
        return Err(LocalError::NodeRuns(data.to_owned()));
    }
    let no_backup = |why: String| LocalError::NoBackup { place: from.to_owned(), why };
    let bytes = fs::read(from).map_err(|error| no_backup(error.to_string()))?;
    read(&bytes, server).map_err(no_backup)?;
    let place = place_of(data, server).ok().flatten().unwrap_or_else(|| default_place(data, server));
    let io = |source| LocalError::Files { place: place.clone(), source };
    let aside = place.with_extension("olr.before");
    let kept = match fs::rename(&place, &aside) {
        Ok(()) => Some(aside),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(io(source)),
    };
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder).map_err(io)?;
    }
    write_whole(&place, &bytes).map_err(io)?;
    Ok((place, kept))
}
