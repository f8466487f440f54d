//! Which ways to a block device this kernel has.

use std::{fs, io, path::Path};

use tasuki_core::config::DeviceBackend;

use super::fuse::open_kernel;

/// One way, and whether it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Support {
    /// Which.
    pub backend: DeviceBackend,
    /// Why not, in words for operators; `None`: it is there.
    pub missing: Option<String>,
    /// A device made this way waits for the next process of ours when this one dies, instead of failing
    /// (R34).
    pub outlives_process: bool,
}

/// All ways, the best first. Makes nothing and loads nothing.
#[must_use]
pub fn probe() -> Vec<Support> {
    let of = |backend, missing| Support { backend, missing, outlives_process: outlives_process(backend) };
    vec![
        of(DeviceBackend::Ublk, ublk().err()),
        of(DeviceBackend::Loop, file().err()),
        of(DeviceBackend::Nbd, nbd().err()),
    ]
}

/// Whether a device made this way waits for the next process of ours when this one dies (R34).
#[must_use]
pub fn outlives_process(backend: DeviceBackend) -> bool {
    match backend {
        DeviceBackend::Ublk | DeviceBackend::Nbd => true,
        DeviceBackend::Loop => false,
    }
}

fn ublk() -> Result<(), String> {
    there("/dev/ublk-control", "`modprobe ublk_drv` (Linux 6.5 and later)")?;
    // Older drivers cannot copy data by reads and writes, and do not say so.
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").map_err(|error| error.to_string())?;
    match version(&release) {
        Some(version) if version >= (6, 5) => Ok(()),
        _ => Err(format!("its driver is from Linux {}, and Linux 6.5 is the first that can", release.trim())),
    }
}

/// The first two numbers of a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn nbd() -> Result<(), String> {
    // Netlink can make devices whose nodes are not there yet; the driver must be.
    there("/sys/module/nbd", "`modprobe nbd`")
}

fn file() -> Result<(), String> {
    there("/dev/loop-control", "`modprobe loop`")?;
    match open_kernel() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err("/dev/fuse is missing: `modprobe fuse` may bring it".to_owned())
        }
        Err(error) => Err(format!("/dev/fuse cannot be opened: {error}")),
    }
}

fn there(path: &str, remedy: &str) -> Result<(), String> {
    match fs::metadata(Path::new(path)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(format!("{path} is missing: {remedy} may bring it"))
        }
        Err(error) => Err(format!("{path}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_two_numbers_that_count() {
        assert_eq!(version("6.12.95+deb12-cloud-amd64\n"), Some((6, 12)));
        assert_eq!(version("6.5-rc1"), Some((6, 5)));
        assert_eq!(version("5.14.0-503.el9.x86_64"), Some((5, 14)));
        assert_eq!(version("nothing"), None);
    }
}
