//! What runs on this server, one small file each, for a node or a guard that starts again.
//!
//! A record is written *before* its effect, so that nothing runs without one; a record without
//! its effect is harmless. Records of another boot are void. Nothing is synced: the folder is of
//! one boot, and a killed process loses no write.

use std::{
    fs, io,
    marker::PhantomData,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tasuki_core::{
    config::AtLeaseEnd,
    ids::{BootId, Epoch, GroupName, ResourceName},
};

use crate::process::ProcessId;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record<T> {
    /// The group.
    pub group: GroupName,
    /// The resource.
    pub resource: ResourceName,
    /// The ownership it runs under.
    pub epoch: Epoch,
    /// The boot it is of.
    pub boot: BootId,
    /// What there is to know.
    pub content: T,
}

/// How far a program's start has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The start command has not ended yet (or, asynchronous: has not been executed yet).
    Starting,
    /// It is up.
    Up,
}

/// What is known of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRecord {
    /// How far its start has come.
    pub phase: Phase,
    /// The start command must end with 0 before it counts as up.
    pub wait: bool,
    /// Its start command.
    pub process: Option<ProcessId>,
    /// What the guard does with it when the lease ends.
    #[serde(default)]
    pub at_lease_end: AtLeaseEnd,
}

/// A folder of records of one kind.
#[derive(Clone, Debug)]
pub struct Records<T> {
    folder: PathBuf,
    boot: BootId,
    kind: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Records<T> {
    /// The records in `folder`, of which those of `boot` count.
    #[must_use]
    pub fn new(folder: PathBuf, boot: BootId) -> Self {
        Self { folder, boot, kind: PhantomData }
    }

    /// Writes a record, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(
        &self,
        group: &GroupName,
        resource: &ResourceName,
        epoch: Epoch,
        content: T,
    ) -> io::Result<()> {
        let record = Record {
            group: group.clone(),
            resource: resource.clone(),
            epoch,
            boot: self.boot.clone(),
            content,
        };
        let path = self.path(group, resource);
        let unfinished = path.with_extension("new");
        fs::write(&unfinished, serde_json::to_vec(&record)?)?;
        fs::rename(unfinished, path)
    }

    /// The record of one resource, if it is of this boot.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(&self, group: &GroupName, resource: &ResourceName) -> io::Result<Option<Record<T>>> {
        self.parse(&self.path(group, resource))
    }

    /// All records of this boot.
    ///
    /// # Errors
    /// When the folder cannot be read. A record that cannot be read is left out, with a warning.
    pub fn all(&self) -> io::Result<Vec<Record<T>>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                match self.parse(&path) {
                    Ok(record) => records.extend(record),
                    Err(error) => tracing::warn!(path = %path.display(), %error, "unreadable record"),
                }
            }
        }
        Ok(records)
    }

    /// Removes one record; it need not be there.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, group: &GroupName, resource: &ResourceName) -> io::Result<()> {
        absent_is_fine(fs::remove_file(self.path(group, resource)))
    }

    /// Removes every record, of any boot.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            absent_is_fine(fs::remove_file(entry?.path()))?;
        }
        Ok(())
    }

    /// Removes every record, of any boot, but those of this one that `keep` names.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn clear_but(&self, keep: impl Fn(&GroupName, &ResourceName) -> bool) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let kept = self.parse(&path).ok().flatten();
            if !kept.is_some_and(|record| keep(&record.group, &record.resource)) {
                absent_is_fine(fs::remove_file(path))?;
            }
        }
        Ok(())
    }

    fn parse(&self, path: &Path) -> io::Result<Option<Record<T>>> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let record: Record<T> = serde_json::from_slice(&text)?;
        Ok((record.boot == self.boot).then_some(record))
    }

    fn path(&self, group: &GroupName, resource: &ResourceName) -> PathBuf {
        self.folder.join(format!("{}.json", file_name(group, resource)))
    }
}

/// `group.resource` as one file name: everything but letters, digits, `_` and `-` is encoded, so
/// that two resources never share one.
#[must_use]
pub fn file_name(group: &GroupName, resource: &ResourceName) -> String {
    format!("{}.{}", encode(group.as_str()), encode(resource.as_str()))
}

/// The names in a file name, if it is one of ours.
#[must_use]
pub fn parse_file_name(name: &str) -> Option<(GroupName, ResourceName)> {
    let (group, resource) = name.split_once('.')?;
    Some((GroupName::new(decode(group)?), ResourceName::new(decode(resource)?)))
}

fn encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02x}"));
        }
    }
    encoded
}

fn decode(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn file_names_are_one_to_one() {
        let name = file_name(&"a.b/ü".into(), &"c%".into());
        assert_eq!(name, "a%2eb%2f%c3%bc.c%25");
        assert_eq!(parse_file_name(&name), Some(("a.b/ü".into(), "c%".into())));
    }

    #[test]
    fn a_record_of_another_boot_is_void() {
        let folder = tempfile::tempdir().unwrap();
        let (group, resource) = ("g".into(), "r".into());
        let before = Records::<u32>::new(folder.path().into(), BootId::new("before"));
        before.write(&group, &resource, Epoch(1), 7).unwrap();
        assert_eq!(before.all().unwrap().len(), 1);
        let after = Records::<u32>::new(folder.path().into(), BootId::new("after"));
        assert_eq!(after.read(&group, &resource).unwrap(), None);
        assert!(after.all().unwrap().is_empty());
    }
}
