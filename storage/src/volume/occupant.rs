//! Who uses a device or file already, and which ones nobody may give to a volume (C5). Read from
//! `/proc`, `/sys` and `/etc/fstab`; what cannot be read says nothing, and opening it alone decides then.

use std::{
    fmt, fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

/// Why a device or file is not free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Occupant {
    /// It is mounted there.
    Mounted(PathBuf),
    /// Another device is made of it: LVM, RAID, an encrypted one.
    Holder(String),
    /// The system swaps to it.
    Swap,
    /// A loop device is over the file.
    Loop(PathBuf),
    /// `/etc/fstab` mounts it there at boot, before anybody could say who may write it.
    Fstab(String),
    /// It is on the disk of the operating system, which is mounted there.
    SystemDisk(PathBuf),
}

impl fmt::Display for Occupant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mounted(at) => write!(f, "it is mounted at {}", at.display()),
            Self::Holder(name) => write!(f, "{name} is made of it"),
            Self::Swap => f.write_str("the system swaps to it"),
            Self::Loop(device) => write!(f, "{} is over it", device.display()),
            Self::Fstab(at) => write!(f, "/etc/fstab mounts it at {at}"),
            Self::SystemDisk(at) => {
                write!(f, "it is on the disk of the operating system, mounted at {}", at.display())
            }
        }
    }
}

impl Occupant {
    /// Whether it is somebody who uses it now, and not a rule.
    #[must_use]
    pub fn uses_it(&self) -> bool {
        !matches!(self, Self::Fstab(_) | Self::SystemDisk(_))
    }
}

/// Everybody who has a claim on what is there.
#[must_use]
pub fn occupants(path: &Path) -> Vec<Occupant> {
    let Ok(found) = fs::metadata(path) else { return Vec::new() };
    let (mounts, swaps) = (read("/proc/self/mountinfo"), read("/proc/swaps"));
    let fstab = read("/etc/fstab");
    if !found.file_type().is_block_device() {
        let file = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut occupants = Vec::new();
        occupants.extend(loop_over(&file).map(Occupant::Loop));
        occupants.extend(in_fstab(&fstab, |device| Path::new(device) == file));
        occupants.extend(in_swaps(&swaps, |device| Path::new(device) == file));
        return occupants;
    }
    let device = Device(found.rdev());
    let mut occupants: Vec<Occupant> =
        mounted(&mounts, |mounted| mounted == device).map(Occupant::Mounted).collect();
    occupants.extend(device.holders().into_iter().map(Occupant::Holder));
    occupants.extend(in_swaps(&swaps, |name| Device::at(Path::new(name)) == Some(device)));
    occupants.extend(in_fstab(&fstab, |name| named(name).and_then(|path| Device::at(&path)) == Some(device)));
    if occupants.iter().all(|occupant| !matches!(occupant, Occupant::Mounted(_))) {
        let disks = device.disks();
        let system = mounted(&mounts, |mounted| mounted.disks().iter().any(|disk| disks.contains(disk)))
            .find(|at| ["/", "/boot", "/boot/efi", "/usr"].iter().any(|system| Path::new(system) == at));
        occupants.extend(system.map(Occupant::SystemDisk));
    }
    occupants
}

/// A block device by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Device(u64);

impl Device {
    fn at(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        found.file_type().is_block_device().then(|| Self(found.rdev()))
    }

    fn numbered(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once(':')?;
        Some(Self(rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?)))
    }

    /// Where the kernel describes it.
    fn place(self) -> Option<PathBuf> {
        let (major, minor) = (rustix::fs::major(self.0), rustix::fs::minor(self.0));
        fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()
    }

    fn holders(self) -> Vec<String> {
        let holders = self.place().and_then(|place| fs::read_dir(place.join("holders")).ok());
        holders
            .into_iter()
            .flatten()
            .flatten()
            .map(|holder| format!("/dev/{}", holder.file_name().to_string_lossy()))
            .collect()
    }

    /// The whole disks that it lies on.
    fn disks(self) -> Vec<PathBuf> {
        self.place().map(|place| disks_below(&place, 8)).unwrap_or_default()
    }
}

fn disks_below(place: &Path, depth: u8) -> Vec<PathBuf> {
    if place.join("partition").exists() {
        return place.parent().map(|disk| disks_below(disk, depth)).unwrap_or_default();
    }
    let slaves: Vec<PathBuf> = fs::read_dir(place.join("slaves"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|slave| fs::canonicalize(slave.path()).ok())
        .collect();
    if slaves.is_empty() || depth == 0 {
        return vec![place.to_owned()];
    }
    slaves.iter().flat_map(|slave| disks_below(slave, depth - 1)).collect()
}

/// Where devices that fulfil this are mounted. btrfs and others give file systems numbers of their own,
/// so the name of the device counts too.
fn mounted(mounts: &str, which: impl Fn(Device) -> bool) -> impl Iterator<Item = PathBuf> {
    let lines = mounts.lines().filter_map(move |line| {
        let mut fields = line.split(' ');
        let (number, at) = (fields.nth(2)?, fields.nth(1)?);
        let source = line.split(" - ").nth(1).and_then(|rest| rest.split(' ').nth(1));
        let devices =
            [Device::numbered(number), source.and_then(|source| Device::at(Path::new(&unescaped(source))))];
        devices.into_iter().flatten().any(&which).then(|| PathBuf::from(unescaped(at)))
    });
    lines.collect::<Vec<_>>().into_iter()
}

fn in_swaps(swaps: &str, which: impl Fn(&str) -> bool) -> Option<Occupant> {
    let mut names = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    names.any(|name| which(&unescaped(name))).then_some(Occupant::Swap)
}

fn in_fstab(fstab: &str, which: impl Fn(&str) -> bool) -> Option<Occupant> {
    fstab.lines().map(str::trim).filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (device, at) = (fields.next()?, fields.next()?);
        which(&unescaped(device)).then(|| Occupant::Fstab(unescaped(at)))
    })
}

/// The device that a name in `/etc/fstab` means.
fn named(name: &str) -> Option<PathBuf> {
    let folder = |kind: &str| match kind {
        "UUID" => Some("by-uuid"),
        "LABEL" => Some("by-label"),
        "PARTUUID" => Some("by-partuuid"),
        "PARTLABEL" => Some("by-partlabel"),
        _ => None,
    };
    match name.split_once('=') {
        Some((kind, value)) => Some(Path::new("/dev/disk").join(folder(kind)?).join(value.trim_matches('"'))),
        None => Some(PathBuf::from(name)),
    }
}

fn loop_over(file: &Path) -> Option<PathBuf> {
    fs::read_dir("/sys/block").ok()?.flatten().find_map(|device| {
        let backing = fs::read_to_string(device.path().join("loop/backing_file")).ok()?;
        (Path::new(backing.trim_end()) == file).then(|| Path::new("/dev").join(device.file_name()))
    })
}

/// The kernel writes spaces and the like as `\040`.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                out.push(char::from(code));
                out.push_str(part.get(3..).unwrap_or_default());
            }
            None => {
                out.push('\\');
                out.push_str(part);
            }
        }
    }
    out
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_found_by_its_number_and_names_with_spaces_are_read() {
        let mounts = "36 35 98:3 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw\n\
                      37 35 0:31 / / rw - tmpfs tmpfs rw\n";
        let wanted = Device::numbered("98:3").unwrap();
        assert_eq!(mounted(mounts, |device| device == wanted).collect::<Vec<_>>(), [Path::new("/mnt 2")]);
    }

    #[test]
    fn fstab_is_read_past_comments_and_by_all_its_names() {
        let fstab = "# /dev/sdb2 /old ext4\n\n/dev/sdb2\t/oracle ext4 defaults 0 0\n";
        assert_eq!(in_fstab(fstab, |device| device == "/dev/sdb2"), Some(Occupant::Fstab("/oracle".into())));
        assert_eq!(in_fstab(fstab, |device| device == "/dev/sdb1"), None);
        assert_eq!(named("UUID=ab-cd").unwrap(), Path::new("/dev/disk/by-uuid/ab-cd"));
        assert_eq!(named("/dev/sdb2").unwrap(), Path::new("/dev/sdb2"));
        assert_eq!(named("NFS=x"), None);
    }

    #[test]
    fn swap_is_found_by_name() {
        let swaps = "Filename Type Size Used Priority\n/dev/sdc1 partition 8 0 -2\n";
        assert_eq!(in_swaps(swaps, |name| name == "/dev/sdc1"), Some(Occupant::Swap));
        assert_eq!(in_swaps(swaps, |name| name == "/dev/sdc2"), None);
    }
}
