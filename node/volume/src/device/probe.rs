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
    there("/dev/ublk-control", "`modprobe ublk_drv` (Linux 6.5 and later)")
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
