//! Control groups, version 2.

use std::{
    fs::{self, File},
    io::{self, Read, Seek},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::{AccessFlags, access},
};
use rustix::process::Signal;
use tasuki_core::time::Timestamp;

use super::millis_left;
use crate::process::{self, ProcessId};

/// This server's control group, with one below it for each resource.
#[derive(Clone, Debug)]
pub(super) struct Root(PathBuf);

impl Root {
    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Makes it under the hierarchy's root, or under this process's own group when only that may
    /// be written (as systemd delegates it).
    pub(super) fn find(instance: &str) -> Option<Self> {
        let mount = mount_point(&fs::read_to_string("/proc/self/mountinfo").ok()?)?;
        let own = own_group(&fs::read_to_string("/proc/self/cgroup").ok()?);
        let parents = std::iter::once(mount.clone()).chain(own.map(|own| mount.join(own)));
        parents.map(|parent| (parent.join("tasuki").join(instance), parent)).find_map(|(path, parent)| {
            fs::create_dir_all(&path).ok()?;
            // Moving a process needs the right to write where it comes from and goes to meet.
            let usable = [parent.as_path(), path.as_path()]
                .iter()
                .all(|folder| access(&folder.join("cgroup.procs"), AccessFlags::W_OK).is_ok());
            usable.then_some(Self(path))
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        remove(&self.0)
    }
}

fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let is_v2 = filesystem.split(' ').next() == Some("cgroup2");
        is_v2.then(|| mount.split(' ').nth(4).map(PathBuf::from)).flatten()
    })
}

fn own_group(groups: &str) -> Option<String> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    (!path.is_empty()).then(|| path.to_owned())
}

pub(super) fn prepare(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

pub(super) fn members(path: &Path) -> io::Result<Vec<ProcessId>> {
    let mut pids = Vec::new();
    collect(path, &mut pids)?;
    Ok(pids.into_iter().filter_map(process::stat).filter(|stat| !stat.ended).map(|stat| stat.id).collect())
}

/// A program may make groups of its own below its resource's.
fn collect(path: &Path, pids: &mut Vec<i32>) -> io::Result<()> {
    let Some(own) = present(fs::read_to_string(path.join("cgroup.procs")))? else { return Ok(()) };
    pids.extend(own.lines().filter_map(|line| line.parse::<i32>().ok()));
    let Some(entries) = present(fs::read_dir(path))? else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), pids)?;
        }
    }
    Ok(())
}

pub(super) fn kill(path: &Path) -> io::Result<()> {
    match fs::write(path.join("cgroup.kill"), "1") {
        Ok(()) => Ok(()),
        Err(_) if !path.exists() => Ok(()),
        // Before Linux 5.14 there is no such file; wait_until_empty repeats this.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound || error.kind() == io::ErrorKind::PermissionDenied =>
        {
            for member in members(path)? {
                member.signal(Signal::KILL);
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Whether the kernel can freeze groups (version 2, Linux 5.2).
pub(super) fn can_freeze(path: &Path) -> bool {
    path.join("cgroup.freeze").exists()
}

/// The same of a machine on which nothing may run yet: of any group, as the topmost one cannot be
/// frozen.
pub(super) fn machine_can_freeze() -> bool {
    let mount = fs::read_to_string("/proc/self/mountinfo").ok().and_then(|text| mount_point(&text));
    let groups = mount.and_then(|mount| fs::read_dir(mount).ok()).into_iter().flatten().flatten();
    let own =
        fs::read_to_string("/proc/self/mountinfo").ok().zip(fs::read_to_string("/proc/self/cgroup").ok());
    let own = own.and_then(|(mounts, groups)| Some(mount_point(&mounts)?.join(own_group(&groups)?)));
    own.into_iter().chain(groups.map(|entry| entry.path())).any(|path| can_freeze(&path))
}

/// Nothing in it runs from here on, or soon: see [`wait_until_frozen`].
pub(super) fn freeze(path: &Path) -> io::Result<()> {
    fs::write(path.join("cgroup.freeze"), "1")
}

/// What is in it goes on.
pub(super) fn thaw(path: &Path) -> io::Result<()> {
    present(fs::write(path.join("cgroup.freeze"), "0")).map(|_| ())
}

/// It was told to freeze. A group that is gone was not.
pub(super) fn is_frozen(path: &Path) -> io::Result<bool> {
    let told = present(fs::read_to_string(path.join("cgroup.freeze")))?;
    Ok(told.is_some_and(|text| text.trim() == "1"))
}

/// Waits until everything in it has stood still, at most until `deadline`; whether that is so.
pub(super) fn wait_until_frozen(path: &Path, deadline: Timestamp) -> io::Result<bool> {
    wait_for_event(path, "frozen 1", deadline)
}

pub(super) fn wait_until_empty(path: &Path, deadline: Timestamp) -> io::Result<bool> {
    wait_for_event(path, "populated 0", deadline)
}

/// Waits for a line of `cgroup.events`. In a group that is gone everything has happened.
fn wait_for_event(path: &Path, wanted: &str, deadline: Timestamp) -> io::Result<bool> {
    let Some(mut events) = present(File::open(path.join("cgroup.events")))? else { return Ok(true) };
    loop {
        // Reading arms the notification: a change after it wakes the poll.
        let mut text = String::new();
        events.rewind()?;
        match events.read_to_string(&mut text) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => return Ok(true),
            Err(error) => return Err(error),
        }
        if text.lines().any(|line| line == wanted) {
            return Ok(true);
        }
        let Some(millis) = millis_left(deadline) else { return Ok(false) };
        let mut waiting = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
        let _either_way_it_is_read = poll(&mut waiting, PollTimeout::from(millis));
    }
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    let Some(entries) = present(fs::read_dir(path))? else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    present(fs::remove_dir(path)).map(|_| ())
}

/// A group that is gone has nothing in it.
fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error)
            if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ENODEV) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_is_found_beside_version_1_and_alone() {
        let hybrid = "24 1 0:6 / /dev rw - devtmpfs udev rw\n\
                      31 25 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      32 25 0:28 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point(hybrid), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        let alone = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(mount_point(alone), Some(PathBuf::from("/sys/fs/cgroup")));
        assert_eq!(mount_point("31 25 0:27 / /x rw - cgroup cgroup rw,cpu\n"), None);
    }

    #[test]
    fn own_group_is_that_of_version_2() {
        assert_eq!(own_group("4:memory:/a\n0::/user.slice/b\n"), Some("user.slice/b".into()));
        assert_eq!(own_group("0::/\n"), None);
    }
}
