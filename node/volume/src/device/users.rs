//! Who uses a block device: for messages, and so that none is taken away under its user.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

use nix::libc;

/// Everybody who uses it, in words: mounts in every name space, devices on top of it, swap, programs
/// that have it open (not this one). Empty: nobody. Reads `/proc` and `/sys`.
///
/// # Errors
/// When the device itself cannot be looked at.
pub fn who_uses(node: &Path) -> io::Result<Vec<String>> {
    let meta = fs::metadata(node)?;
    let (major, minor) = (libc::major(meta.rdev()), libc::minor(meta.rdev()));
    let mut users = Vec::new();
    let own = std::process::id().to_string();
    for process in fs::read_dir("/proc")?.flatten() {
        let id = process.file_name().to_string_lossy().into_owned();
        if !id.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // A process may end while it is looked at.
        for mount in mounts(&process.path(), major, minor, node) {
            let text = format!("mounted at {mount}");
            if !users.contains(&text) {
                users.push(text);
            }
        }
        if id != own && has_open(&process.path(), meta.rdev()) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            users.push(format!("open in {} (process {id})", name.trim()));
        }
    }
    let holders = format!("/sys/dev/block/{major}:{minor}/holders");
    for holder in fs::read_dir(holders).into_iter().flatten().flatten() {
        users.push(format!("below {}", holder.file_name().to_string_lossy()));
    }
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    if swaps.lines().any(|line| line.split_whitespace().next().is_some_and(|path| Path::new(path) == node)) {
        users.push("swap".to_owned());
    }
    if users.is_empty() && claimed(node)? {
        users.push("claimed by somebody who is not seen from here".to_owned());
    }
    Ok(users)
}

fn mounts(process: &Path, major: u32, minor: u32, node: &Path) -> Vec<String> {
    let number = format!("{major}:{minor}");
    let source = node.to_string_lossy();
    let table = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
    let here = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        // Some file systems have a number of their own: their source tells. It follows the dash.
        let dash = words.iter().position(|word| *word == "-")?;
        let ours = words.get(2) == Some(&number.as_str()) || words.get(dash + 2) == Some(&&*source);
        ours.then(|| words.get(4).copied().unwrap_or_default().replace("\\040", " "))
    };
    table.lines().filter_map(here).collect()
}

/// Only what is below `/dev` is looked at: other files can be on servers that do not answer.
fn has_open(process: &Path, rdev: u64) -> bool {
    fs::read_dir(process.join("fd")).into_iter().flatten().flatten().any(|descriptor| {
        fs::read_link(descriptor.path()).is_ok_and(|target| target.starts_with("/dev"))
            && fs::metadata(descriptor.path())
                .is_ok_and(|meta| meta.file_type().is_block_device() && meta.rdev() == rdev)
    })
}

/// Mounts, devices on top and swap claim a device; who does later is told apart here.
fn claimed(node: &Path) -> io::Result<bool> {
    match OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(node) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(true),
        // Nothing is attached to it any more.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENXIO | libc::ENODEV | libc::ENOENT)) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
