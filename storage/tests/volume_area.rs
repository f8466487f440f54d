//! Files and block devices as areas: made, had by one program only, refused, trimmed, full.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use common::{Mount, run};
use tasuki_storage::volume::{Area, AreaError, Content, Fault, FileArea, MANAGEMENT_FILE, occupant};

/// A loop device over a file; detached at its end.
struct Loop(PathBuf);

impl Loop {
    fn over(file: &Path) -> Result<Self, String> {
        let found = Command::new("losetup").args(["-f", "--show"]).arg(file).output();
        let found = found.map_err(|error| error.to_string())?;
        if !found.status.success() {
            return Err(String::from_utf8_lossy(&found.stderr).trim().to_owned());
        }
        Ok(Self(PathBuf::from(String::from_utf8_lossy(&found.stdout).trim())))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _detached = Command::new("losetup").arg("-d").arg(&self.0).status();
    }
}

fn sparse(path: &Path, size: u64) {
    fs::File::create(path).unwrap().set_len(size).unwrap();
}

fn all(area: &FileArea) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(area.size()).unwrap()];
    area.read_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn a_missing_file_is_made_with_its_space() {
    use std::os::unix::fs::MetadataExt as _;
    let work = tempfile::tempdir().unwrap();
    let path = work.path().join("data");
    let area = FileArea::data(&path, Some(1 << 20)).unwrap();
    assert_eq!((area.size(), area.is_device()), (1 << 20, false));
    assert!(fs::metadata(&path).unwrap().blocks() * 512 >= 1 << 20, "it has its space");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    drop(area);
    assert_eq!(FileArea::data(&path, None).unwrap().size(), 1 << 20);
    let other = FileArea::data(&path, Some(2 << 20)).unwrap_err();
    assert_eq!(
        other.to_string(),
        format!("TSK-1826: {} has 1048576 bytes: its size is configured as 2097152", path.display())
    );
    assert_eq!(FileArea::data(&work.path().join("none"), None).unwrap_err().code(), "TSK-1820");
    let management = FileArea::management(&work.path().join("meta")).unwrap();
    assert_eq!(management.size(), MANAGEMENT_FILE);
    assert_eq!(fs::read_dir(work.path()).unwrap().count(), 2, "nothing half made is left");
}

#[test]
fn what_is_written_in_pieces_is_all_there_and_nothing_else() {
    let work = tempfile::tempdir().unwrap();
    let area = FileArea::data(&work.path().join("data"), Some(1 << 20)).unwrap();
    let mut expected = vec![0; 1 << 20];
    for (at, length) in [(0, 32 << 10), (32 << 10, (32 << 10) + 1), (100_001, 300_007), (1 << 19, 1 << 19)] {
        let bytes: Vec<u8> = (0..length).map(|it| u8::try_from(it % 251).unwrap()).collect();
        area.write_at(&bytes, at).unwrap();
        expected[usize::try_from(at).unwrap()..][..length].copy_from_slice(&bytes);
        assert!(all(&area) == expected, "{length} bytes at {at}");
    }
}

#[test]
fn one_program_has_it() {
    let work = tempfile::tempdir().unwrap();
    let path = work.path().join("data");
    let _area = FileArea::data(&path, Some(1 << 20)).unwrap();
    assert_eq!(FileArea::data(&path, Some(1 << 20)).unwrap_err().code(), "TSK-1821");
}

#[test]
fn what_is_neither_a_file_nor_a_device_is_refused() {
    let work = tempfile::tempdir().unwrap();
    for path in [work.path(), Path::new("/dev/null")] {
        assert_eq!(FileArea::data(path, None).unwrap_err().code(), "TSK-1829");
    }
    let missing = FileArea::data(Path::new("/dev/no-such-disk"), Some(1 << 20)).unwrap_err();
    assert_eq!(missing.code(), "TSK-1820", "no file is made among the devices: {missing}");
    let small = work.path().join("small");
    sparse(&small, 9_999_999);
    assert_eq!(FileArea::management(&small).unwrap_err().code(), "TSK-1826");
    assert_eq!(FileArea::data(&small, None).unwrap().size(), 9_999_999);
}

#[test]
fn nothing_is_written_or_read_beyond_the_end() {
    let work = tempfile::tempdir().unwrap();
    let area = FileArea::data(&work.path().join("data"), Some(8192)).unwrap();
    assert!(area.write_at(&[1; 2], 8191).is_err() && area.write_durable(&[1; 2], 8191).is_err());
    assert!(area.trim(4096, 4097).is_err() && area.zero(8192, 1).is_err());
    assert!(area.read_at(&mut [0; 2], 8191).is_err());
    assert_eq!(all(&area), vec![0; 8192]);
    assert_eq!((area.grow(16384).unwrap(), area.grow(100).unwrap(), area.size()), (16384, 16384, 16384));
    area.write_durable(&[1; 2], 8191).unwrap();
    let mut both = [0; 2];
    // It may say that it would have to wait, but never that it read what is not there.
    let read = area.read_at_nowait(&mut both, 8191).unwrap();
    assert!(!read || both == [1; 2]);
    assert!(!area.read_at_nowait(&mut both, 16383).unwrap_or(false));
}

/// Any span, aligned or not, reads as zeroes, and nothing else changes.
fn zeroes_are_where_they_should_be(area: &FileArea) {
    let size = area.size();
    let spans =
        [(0, size), (1, 1), (4095, 2), (4096, 4096), (100, 4096), (4000, 9000), (8192, 20_480), (0, 0)];
    for (offset, length) in spans {
        for trim in [true, false] {
            let mut expected = vec![7; usize::try_from(size).unwrap()];
            area.write_at(&expected, 0).unwrap();
            if trim { area.trim(offset, length) } else { area.zero(offset, length) }.unwrap();
            expected[usize::try_from(offset).unwrap()..usize::try_from(offset + length).unwrap()].fill(0);
            assert!(all(area) == expected, "trim {trim}: {length} bytes from {offset}");
            area.flush().unwrap();
        }
    }
}

#[test]
fn what_is_trimmed_or_made_zero_reads_as_zeroes_in_a_file() {
    use std::os::unix::fs::MetadataExt as _;
    let work = tempfile::tempdir().unwrap();
    let path = work.path().join("data");
    let area = FileArea::data(&path, Some(1 << 20)).unwrap();
    zeroes_are_where_they_should_be(&area);
    area.zero(0, 1 << 20).unwrap();
    assert!(fs::metadata(&path).unwrap().blocks() * 512 >= 1 << 20, "zeroes keep their space");
    area.trim(0, 1 << 20).unwrap();
    assert!(fs::metadata(&path).unwrap().blocks() * 512 < 1 << 19, "and trimming gives it up");
}

#[test]
fn what_is_trimmed_or_made_zero_reads_as_zeroes_in_a_device() {
    let work = tempfile::tempdir().unwrap();
    let image = work.path().join("disk.img");
    sparse(&image, 1 << 20);
    match Loop::over(&image) {
        Ok(device) => zeroes_are_where_they_should_be(&FileArea::data(&device.0, None).unwrap()),
        Err(why) => println!("skipped, because there is no loop device: {why}"),
    }
}

#[test]
fn devices_are_had_alone_and_refused_when_mounted() {
    let work = tempfile::tempdir().unwrap();
    let image = work.path().join("disk.img");
    sparse(&image, 400 << 20);
    let device = match Loop::over(&image) {
        Ok(device) => device,
        Err(why) => return println!("skipped, because there is no loop device: {why}"),
    };
    let used = FileArea::data(&image, None).unwrap_err();
    assert!(matches!(used, AreaError::InUse { .. }) && used.to_string().contains("/dev/loop"), "{used}");
    {
        let area = FileArea::data(&device.0, Some(1 << 40)).unwrap();
        assert_eq!((area.size(), area.is_device()), (400 << 20, true), "a device has the size that it has");
        assert_eq!(Content::of(&area).unwrap(), None);
        assert_eq!(FileArea::data(&device.0, None).unwrap_err().code(), "TSK-1821");
        area.write_durable(&[3; 100], 5000).unwrap();
    }
    let name = device.0.to_str().unwrap();
    run("mkfs.ext4", &["-q", "-F", name]).unwrap();
    {
        let area = FileArea::data(&device.0, None).unwrap();
        assert_eq!(Content::of(&area).unwrap(), Some(Content::FileSystem("ext4")));
    }
    let mount = Mount::new(&[name]).unwrap();
    let mounted = FileArea::data(&device.0, None).unwrap_err();
    let says = format!("TSK-1821: {name} is in use: it is mounted at {}", mount.path().display());
    assert_eq!(mounted.to_string(), says);
    drop(mount);
    for kind in ["xfs", "btrfs", "ext3", "ext2"] {
        let force = if kind.starts_with("ext") { "-F" } else { "-f" };
        if let Err(why) = run(&format!("mkfs.{kind}"), &["-q", force, name]) {
            println!("{kind} skipped, because it cannot be made here: {why}");
            continue;
        }
        let area = FileArea::data(&device.0, None).unwrap();
        assert_eq!(Content::of(&area).unwrap(), Some(Content::FileSystem(kind)));
        area.write_zeroes(0, 1 << 20).unwrap();
    }
}

#[test]
fn the_disk_of_the_system_is_refused() {
    let Ok(root) = fs::read_to_string("/proc/self/mountinfo") else { return };
    let source = root.lines().find_map(|line| {
        let at_root = line.split(' ').nth(4) == Some("/");
        let source = line.split(" - ").nth(1)?.split(' ').nth(1)?;
        (at_root && source.starts_with("/dev/") && Path::new(source).exists()).then(|| source.to_owned())
    });
    let Some(device) = source else {
        return println!("skipped, because the root file system is on no device that can be seen here");
    };
    let occupants = occupant::occupants(Path::new(&device));
    assert!(occupants.contains(&occupant::Occupant::Mounted("/".into())), "{occupants:?}");
    let before = fs::metadata(&device).unwrap().modified().unwrap();
    let refused = FileArea::data(Path::new(&device), None).unwrap_err();
    assert_eq!(refused.code(), "TSK-1821", "{refused}");
    assert_eq!(fs::metadata(&device).unwrap().modified().unwrap(), before);
}

#[test]
fn a_full_disk_is_told_and_nothing_half_made_is_left() {
    let mount = match Mount::new(&["-t", "tmpfs", "-o", "size=12m", "tmpfs"]) {
        Ok(mount) => mount,
        Err(why) => return println!("skipped, because no file system can be mounted: {why}"),
    };
    let path = mount.path().join("data");
    let full = FileArea::data(&path, Some(64 << 20)).unwrap_err();
    assert_eq!((full.code(), full.is_disk()), ("TSK-1828", true));
    assert_eq!(fs::read_dir(mount.path()).unwrap().count(), 0);

    let area = FileArea::data(&path, Some(4 << 20)).unwrap();
    area.trim(0, 4 << 20).unwrap();
    let mut filler = fs::File::create(mount.path().join("filler")).unwrap();
    while filler.write_all(&[1; 4096]).is_ok() {}
    let error = (0..1024).find_map(|block| area.write_at(&[1; 4096], block * 4096).err()).unwrap();
    assert_eq!(Fault::of(&error), Fault::NoSpace, "{error}");
    assert_eq!(Fault::of(&std::io::Error::from_raw_os_error(5)), Fault::Disk);
}
