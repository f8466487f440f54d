//! A mount that is nowhere: made with the mount calls of Linux 5.2 and never attached to a folder. No
//! program can see it, no name space can hold a copy of it, and it is gone with its last descriptor,
//! also after a kill.

use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    },
};

use super::protocol::LONGEST;

/// The kernel's end of FUSE, for a server that waits with epoll.
pub(crate) fn open_kernel() -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(rustix::fs::open("/dev/fuse", flags, Mode::empty())?)
}

/// Mounts a file system whose root is one file. Does not wait for its server: the kernel's end can only
/// be waited on once this is done.
pub(super) fn mount(kernel: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let context = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let descriptor = kernel.as_raw_fd().to_string();
    let longest = LONGEST.to_string();
    let options = [
        ("source", "tasuki"),
        ("fd", descriptor.as_str()),
        ("rootmode", "100600"),
        ("user_id", "0"),
        ("group_id", "0"),
        ("max_read", longest.as_str()),
    ];
    for (key, value) in options {
        fsconfig_set_string(&context, key, value)?;
    }
    fsconfig_create(&context)?;
    let none = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, none)?)
}

/// Opens the file. Blocks until the server has answered, so it must run on another thread.
pub(super) fn open_file(mount: BorrowedFd<'_>) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", mount.as_raw_fd());
    let open = || OpenOptions::new().read(true).write(true).open(&path);
    // Kernels before 5.16 ask at every close until they are told that there is no such question.
    drop(open()?);
    let file = open()?;
    // Asks for the size, which the kernel does not know before.
    file.metadata()?;
    Ok(file)
}
