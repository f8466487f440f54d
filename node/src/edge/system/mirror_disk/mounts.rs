//! Mounting, unmounting, and who is in the way.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags},
};
use tasuki_volume::device::apart::apart;

/// What an unmount came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mounted {
    /// It is not mounted (any more).
    No,
    /// Somebody uses it.
    InUse,
    /// The system refused.
    Failed(String),
}

/// The options that are flags of the system call; the others are the file system's matter.
const FLAGS: [(&str, MsFlags); 12] = [
    ("ro", MsFlags::MS_RDONLY),
    ("nosuid", MsFlags::MS_NOSUID),
    ("nodev", MsFlags::MS_NODEV),
    ("noexec", MsFlags::MS_NOEXEC),
    ("sync", MsFlags::MS_SYNCHRONOUS),
    ("dirsync", MsFlags::MS_DIRSYNC),
    ("noatime", MsFlags::MS_NOATIME),
    ("nodiratime", MsFlags::MS_NODIRATIME),
    ("relatime", MsFlags::MS_RELATIME),
    ("strictatime", MsFlags::MS_STRICTATIME),
    ("lazytime", MsFlags::MS_LAZYTIME),
    ("mand", MsFlags::MS_MANDLOCK),
];

/// What is on by itself.
const USUAL: [&str; 9] = ["defaults", "rw", "suid", "dev", "exec", "async", "atime", "diratime", "nomand"];

fn flags(options: &[String]) -> (MsFlags, String) {
    let mut flags = MsFlags::empty();
    let mut data = Vec::new();
    for option in options {
        match FLAGS.iter().find(|(name, _)| name == option) {
            Some((_, flag)) => flags |= *flag,
            None if USUAL.contains(&option.as_str()) => {}
            None => data.push(option.as_str()),
        }
    }
    (flags, data.join(","))
}

/// Mounts a device; the folder is made when it is missing.
pub(super) fn mount(device: &Path, at: &Path, filesystem: &str, options: &[String]) -> Result<(), String> {
    let place = at.display();
    fs::create_dir_all(at).map_err(|error| format!("the folder {place} cannot be made: {error}"))?;
    match self::at(at) {
        Ok(None) => {}
        Ok(Some(other)) => return Err(format!("{} is mounted at {place} already", other.display())),
        Err(error) => return Err(error.to_string()),
    }
    let (flags, data) = flags(options);
    let data = (!data.is_empty()).then_some(data);
    let (what, onto, of) = (device.to_owned(), at.to_owned(), filesystem.to_owned());
    let mounted =
        apart(&[], move || nix::mount::mount(Some(&what), &onto, Some(of.as_str()), flags, data.as_deref()));
    let mounted = mounted.map_err(|error| format!("{} cannot be mounted: {error}", device.display()))?;
    mounted.map_err(|error| {
        let hint = match error {
            Errno::EINVAL => format!(": no {filesystem} file system is on it, or an option is wrong"),
            Errno::ENODEV => format!(": this kernel has no {filesystem}"),
            Errno::EUCLEAN => ": the file system is damaged".to_owned(),
            _ => String::new(),
        };
        format!("{} cannot be mounted at {place}: {}{hint}", device.display(), error.desc())
    })
}

/// Takes off the topmost mount there, if it is of this device.
pub(super) fn unmount(device: &Path, at: &Path) -> Mounted {
    match self::at(at) {
        Ok(Some(found)) if found == device => {}
        Ok(_) => return Mounted::No,
        Err(error) => return Mounted::Failed(error.to_string()),
    }
    let from = at.to_owned();
    match apart(&[], move || nix::mount::umount2(&from, MntFlags::UMOUNT_NOFOLLOW)) {
        Ok(Ok(()) | Err(Errno::EINVAL)) => Mounted::No,
        Ok(Err(Errno::EBUSY)) => Mounted::InUse,
        Err(error) => Mounted::Failed(format!("{} cannot be unmounted: {error}", at.display())),
        Ok(Err(error)) => Mounted::Failed(format!("{} cannot be unmounted: {}", at.display(), error.desc())),
    }
}

/// Takes a mount off whose device is dead, whoever still has files open in it: these stay dead.
pub(super) fn take_off(device: &Path, at: &Path) -> io::Result<()> {
    while self::at(at)?.as_deref() == Some(device) {
        nix::mount::umount2(at, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?;
        tracing::info!(mount = %at.display(), "the mount of a device that is gone was taken off");
    }
    Ok(())
}

/// What is mounted at a folder, as it was named then; the topmost of several.
pub(super) fn at(folder: &Path) -> io::Result<Option<PathBuf>> {
    let wanted = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(table.lines().rev().filter_map(line).find(|(place, _)| *place == wanted).map(|(_, source)| source))
}

/// Where, and what, of one line of mountinfo.
fn line(line: &str) -> Option<(PathBuf, PathBuf)> {
    let words: Vec<&str> = line.split(' ').collect();
    // How many fields stand before the dash is not said.
    let dash = words.iter().position(|word| *word == "-")?;
    Some((unescaped(words.get(4)?).into(), unescaped(words.get(dash + 2)?).into()))
}

/// The kernel writes spaces and the like as `\040`.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => out.push(char::from(code)),
            None => out.push_str(rest.get(at..at + 4).unwrap_or(&rest[at..])),
        }
        rest = rest.get(at + 4..).unwrap_or_default();
    }
    out + rest
}

/// The programs that stand in a mount, run from it, or have a file of it open, in words.
pub(super) fn users(mount: &Path) -> Vec<String> {
    let named = |pid: i32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        format!("{} (process {pid})", name.trim())
    };
    processes(mount).into_iter().map(named).collect()
}

/// As [`users`], by their numbers.
pub(super) fn processes(mount: &Path) -> Vec<i32> {
    let own = std::process::id();
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    numbers.filter(|pid| u32::try_from(*pid) != Ok(own) && is_in(*pid, mount)).collect()
}

fn is_in(pid: i32, mount: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let points = |link: PathBuf| fs::read_link(link).is_ok_and(|target| target.starts_with(mount));
    let open =
        || fs::read_dir(process.join("fd")).into_iter().flatten().flatten().any(|fd| points(fd.path()));
    let mapped = || {
        let maps = fs::read_to_string(process.join("maps")).unwrap_or_default();
        maps.lines()
            .filter_map(|line| line.find('/').map(|at| &line[at..]))
            .any(|file| Path::new(file).starts_with(mount))
    };
    ["cwd", "root", "exe"].iter().any(|link| points(process.join(link))) || open() || mapped()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_flags_or_the_file_systems() {
        let options = ["noatime", "defaults", "errors=remount-ro", "ro", "discard"].map(str::to_owned);
        let (set, data) = flags(&options);
        assert_eq!(set, MsFlags::MS_NOATIME | MsFlags::MS_RDONLY);
        assert_eq!(data, "errors=remount-ro,discard");
    }

    #[test]
    fn the_table_of_mounts_is_read_with_spaces_and_any_number_of_fields() {
        let table = "41 27 7:3 / /srv/my\\040disk rw,noatime shared:5 master:1 - ext4 /dev/tasuki/md rw\n";
        let (place, source) = table.lines().find_map(line).unwrap_or_default();
        assert_eq!((place, source), ("/srv/my disk".into(), "/dev/tasuki/md".into()));
        assert_eq!(line("41 27 7:3 / /srv rw - ext4"), None);
    }
}
