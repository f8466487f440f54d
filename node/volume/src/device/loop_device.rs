//! Loop devices: taking a free one, and letting it go.
//!
//! `unsafe` here are the loop driver's ioctls, which no crate that we use has as safe calls. Each gets a
//! pointer to a value of the kernel's own layout that outlives the call, or a number. One more is a
//! descriptor that is lent to a thread that is waited for.

#![allow(unsafe_code)]

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::OpenOptionsExt,
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    libc,
    sys::stat::{Mode, SFlag, makedev, mknod},
};

use super::{apart::apart, fuse::descriptor};

/// A free device may be taken by somebody else between asking and taking.
const ATTEMPTS: usize = 32;
/// Detached by itself when nobody has it open.
const AUTOCLEAR: u32 = 4;
/// Past the page cache of the file.
const DIRECT_IO: u32 = 16;

nix::ioctl_write_ptr_bad!(configure, 0x4C0A, Config);
nix::ioctl_none_bad!(clear, 0x4C01);
nix::ioctl_read_bad!(status, 0x4C05, Info);
nix::ioctl_none_bad!(set_capacity, 0x4C07);
nix::ioctl_none_bad!(get_free, 0x4C82);

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Config {
    descriptor: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

const NO_INFO: Info = Info {
    device: 0,
    inode: 0,
    rdevice: 0,
    offset: 0,
    size_limit: 0,
    number: 0,
    encrypt_type: 0,
    encrypt_key_size: 0,
    flags: 0,
    file_name: [0; 64],
    crypt_name: [0; 64],
    encrypt_key: [0; 32],
    init: [0; 2],
};

/// The name by which a loop device of ours is known again (the kernel keeps 63 bytes of it).
pub(super) fn name_of(volume: &str) -> String {
    let mut name = format!("tasuki:{volume}");
    name.truncate((0..=63).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0));
    name
}

/// A container has a `/dev` of its own, in which the kernel makes no nodes: then the device is there, and
/// only its name is not.
fn make_node(node: &Path, number: i32) -> io::Result<()> {
    if node.exists() {
        return Ok(());
    }
    let numbers = fs::read_to_string(format!("/sys/block/loop{number}/dev"))?;
    let (major, minor) = numbers.trim().split_once(':').ok_or(io::ErrorKind::InvalidData)?;
    let part = |text: &str| text.parse::<u64>().map_err(|_| io::ErrorKind::InvalidData);
    let device = makedev(part(major)?, part(minor)?);
    match mknod(node, SFlag::S_IFBLK, Mode::S_IRUSR | Mode::S_IWUSR, device) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A loop device that we hold open: it lives as long as somebody does.
#[derive(Debug)]
pub(super) struct LoopDevice {
    held: File,
    node: PathBuf,
    /// The same file as the device has: asking it for its size renews what the kernel knows.
    file: File,
}

impl LoopDevice {
    /// Takes a free device for a file. `record` is told its node first.
    pub(super) fn bind(
        file: &File,
        name: &str,
        block_size: u32,
        record: impl Fn(&Path) -> io::Result<()>,
    ) -> io::Result<Self> {
        let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
        let mut info = Info { flags: AUTOCLEAR | DIRECT_IO, ..NO_INFO };
        info.file_name[..name.len()].copy_from_slice(name.as_bytes());
        let config = Config { descriptor: descriptor(file), block_size, info, reserved: [0; 8] };
        for _ in 0..ATTEMPTS {
            // SAFETY: takes nothing, answers a number.
            let number = unsafe { get_free(control.as_raw_fd()) }?;
            let node = PathBuf::from(format!("/dev/loop{number}"));
            record(&node)?;
            make_node(&node, number)?;
            let held = OpenOptions::new().read(true).write(true).open(&node)?;
            // The driver asks the file to write out what it has, and its server is this process.
            let (device, settings) = (held.as_raw_fd(), config);
            let configured = apart(&[held.as_fd(), file.as_fd()], move || {
                // SAFETY: `settings` has the layout that the driver reads, and lives until the call
                // returns; `device` and the descriptor in it stay open until then.
                unsafe { configure(device, &raw const settings) }
            })?;
            match configured {
                Ok(_) => {
                    // One request of the device is one request to the file. Only faster, never needed.
                    let queue = format!("/sys/block/loop{number}/queue/max_sectors_kb");
                    if let Err(error) = fs::write(queue, "1024") {
                        tracing::debug!(%error, "the device keeps its own longest request");
                    }
                    return Ok(Self { held, node, file: file.try_clone()? });
                }
                Err(Errno::EBUSY) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "every free loop device was taken by somebody else"))
    }

    pub(super) fn node(&self) -> &Path {
        &self.node
    }

    /// The file's size is the device's.
    pub(super) fn read_size(&self) -> io::Result<()> {
        self.file.metadata()?;
        // SAFETY: takes nothing.
        unsafe { set_capacity(self.held.as_raw_fd()) }?;
        Ok(())
    }

    /// Writes out what is cached of the device, and detaches it; with its last user if there is one.
    pub(super) fn let_go(&self) -> io::Result<()> {
        let device = self.held.as_raw_fd();
        let written = apart(&[self.held.as_fd()], move || {
            // SAFETY: that thread has the file under the same number, and `held` stays open until it ends.
            rustix::fs::fsync(unsafe { BorrowedFd::borrow_raw(device) })
        })?;
        if let Err(error) = written {
            tracing::warn!(device = %self.node.display(), %error, "what was cached of the device is lost");
        }
        self.clear()
    }

    /// Detaches it; with its last user if there is one.
    pub(super) fn clear(&self) -> io::Result<()> {
        detach(&self.held)
    }
}

fn detach(device: &File) -> io::Result<()> {
    // SAFETY: takes nothing.
    match unsafe { clear(device.as_raw_fd()) } {
        // Somebody else has detached it.
        Ok(_) | Err(Errno::ENXIO) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Detaches a device that an earlier process of ours has left, if it still is ours. Whether it was.
pub(super) fn detach_left(node: &Path, volume: &str) -> io::Result<bool> {
    let device = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(node) {
        Ok(device) => device,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut info = NO_INFO;
    // SAFETY: the driver fills `info`, which has its layout and lives until the call returns.
    match unsafe { status(device.as_raw_fd(), &raw mut info) } {
        Ok(_) => {}
        // Nothing is attached.
        Err(Errno::ENXIO) => return Ok(false),
        // The kernel asks the file below, whose server is gone: this is what a killed process of ours
        // leaves, and a device without a server is of no use to anybody else either.
        Err(Errno::ENOTCONN | Errno::ECONNABORTED) => return detach(&device).map(|()| true),
        Err(error) => return Err(error.into()),
    }
    let used = info.file_name.iter().position(|byte| *byte == 0).unwrap_or(64);
    if info.file_name[..used] != *name_of(volume).as_bytes() {
        return Ok(false);
    }
    detach(&device)?;
    Ok(true)
}
