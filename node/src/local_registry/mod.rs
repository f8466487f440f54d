//! The local registry: what this server alone keeps of its own stack, that is the definitions of its
//! parts and a copy of the profile. One file with a checksum, exactly one on a server; its place
//! stands in a location file.
//!
//! ```text
//! DATA/olr.loc                                       where it is
//! DATA/local/kiki.olr                                the local registry
//! DATA/local/kiki/backup_20261122_080312.olr         a backup
//! ```
//!
//! It is backed up when the server founds or joins a cluster, and when an operator says so. A damaged
//! one stops the start: what it says of the stack is not guessed.

mod backup;
mod error;
mod stack;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tasuki_core::{ids::ServerName, time::WallTime};

pub use self::{
    backup::{Backup, backups, restore},
    error::LocalError,
    stack::{StackResource, stack},
};

const MAGIC: &str = "tasuki-local-registry";
const FORMAT: u32 = 1;

/// What it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Whose it is.
    pub server: ServerName,
    /// The parts of the stack.
    pub resources: Vec<StackResource>,
    /// The profile with its signature.
    #[serde(default)]
    pub profile: Option<Value>,
}

/// The local registry, open.
#[derive(Clone, Debug)]
pub struct LocalRegistry {
    place: PathBuf,
    content: Content,
}

impl LocalRegistry {
    /// Makes the local registry of a server that founds or joins a cluster, and its first backup.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(
        data: &Path,
        server: &ServerName,
        profile: Option<&str>,
        now: WallTime,
    ) -> Result<Self, LocalError> {
        // The location file may be read from any folder.
        let io = |source| LocalError::Files { place: data.to_owned(), source };
        let data = &std::path::absolute(data).map_err(io)?;
        let place = default_place(data, server);
        let mut made = Self {
            content: Content { server: server.clone(), resources: stack(), profile: None },
            place: place.clone(),
        };
        made.content.profile = profile.and_then(|text| serde_json::from_str(text).ok());
        let io = |source| LocalError::Files { place: place.clone(), source };
        fs::create_dir_all(data.join("local")).map_err(io)?;
        made.save()?;
        let location = location_file(data);
        let lines = format!("olrconfig_loc={}\ntasuki_home={}\n", place.display(), data.display());
        write_whole(&location, lines.as_bytes())
            .map_err(|source| LocalError::Files { place: location, source })?;
        made.backup(data, now)?;
        Ok(made)
    }

    /// Opens it. A server that has none yet, not even a location file, gets one.
    ///
    /// # Errors
    /// When it is damaged, missing, somebody else's, or cannot be read.
    pub fn open(data: &Path, server: &ServerName, now: WallTime) -> Result<Self, LocalError> {
        let place = match place_of(data, server)? {
            Some(place) => place,
            None if default_place(data, server).exists() => default_place(data, server),
            None => return Self::create(data, server, None, now),
        };
        let content = match fs::read(&place) {
            Ok(bytes) => read(&bytes, server).map_err(|why| damaged(data, server, &place, why))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged(data, server, &place, "it is missing".to_owned()));
            }
            Err(source) => return Err(LocalError::Files { place, source }),
        };
        Ok(Self { place, content })
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// What it holds.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Its copy of the profile, signed.
    #[must_use]
    pub fn profile(&self) -> Option<String> {
        self.content.profile.as_ref().map(ToString::to_string)
    }

    /// Keeps another profile.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_profile(&mut self, signed: &str) -> Result<(), LocalError> {
        let value = serde_json::from_str(signed).ok();
        if self.content.profile == value {
            return Ok(());
        }
        self.content.profile = value;
        self.save()
    }

    /// Makes a backup.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn backup(&self, data: &Path, now: WallTime) -> Result<Backup, LocalError> {
        backup::make(data, &self.content.server, &written(&self.content), now)
    }

    fn save(&self) -> Result<(), LocalError> {
        write_whole(&self.place, &written(&self.content))
            .map_err(|source| LocalError::Files { place: self.place.clone(), source })
    }
}

/// The file: a line with the checksum of what follows it.
fn written(content: &Content) -> Vec<u8> {
    let body = serde_json::to_string_pretty(content).unwrap_or_default() + "\n";
    format!("{MAGIC} {FORMAT} {}\n{body}", checksum(body.as_bytes())).into_bytes()
}

/// The content of a file, when it is whole.
fn read(bytes: &[u8], server: &ServerName) -> Result<Content, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
    let (head, body) = text.split_once('\n').ok_or("its first line is missing")?;
    let words: Vec<&str> = head.split(' ').collect();
    let &[MAGIC, format, sum] = words.as_slice() else {
        return Err("its first line is not that of a local registry".to_owned());
    };
    if format != FORMAT.to_string() {
        return Err(format!("it has format {format}, and this version knows format {FORMAT}"));
    }
    if checksum(body.as_bytes()) != sum {
        return Err("its content does not match its checksum".to_owned());
    }
    let content: Content = serde_json::from_str(body).map_err(|error| error.to_string())?;
    if content.server != *server {
        return Err(format!("it is that of server {}, not of {server}", content.server));
    }
    Ok(content)
}

fn checksum(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

fn damaged(data: &Path, server: &ServerName, place: &Path, why: String) -> LocalError {
    let newest = backups(data, server).ok().and_then(|all| all.into_iter().next());
    LocalError::Damaged { place: place.to_owned(), why, newest: newest.map(|backup| backup.path) }
}

/// The file that says where it is.
#[must_use]
pub fn location_file(data: &Path) -> PathBuf {
    data.join("olr.loc")
}

fn default_place(data: &Path, server: &ServerName) -> PathBuf {
    data.join("local").join(format!("{server}.olr"))
}

/// What the location file says; `None` when there is none.
fn place_of(data: &Path, server: &ServerName) -> Result<Option<PathBuf>, LocalError> {
    let location = location_file(data);
    match fs::read_to_string(&location) {
        Ok(text) => match text.lines().find_map(|line| line.strip_prefix("olrconfig_loc=")) {
            Some(place) if !place.trim().is_empty() => Ok(Some(PathBuf::from(place.trim()))),
            _ => Err(damaged(data, server, &location, "it does not say olrconfig_loc=PLACE".to_owned())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LocalError::Files { place: location, source }),
    }
}

/// Old content or new content, never half of it, whatever happens in between.
pub(crate) fn write_whole(place: &Path, content: &[u8]) -> io::Result<()> {
    let draft = place.with_extension("new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&draft, place)?;
    File::open(place.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests;
