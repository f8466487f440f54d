//! The process's mount name space, kept a little longer than the process's other open files.
//!
//! A container that is killed ends with its last task: that one drops the mount name space, and thereby
//! unmounts every file system in it. Unmounting writes out what is unwritten. If that task is also the last
//! one of the process that serves the device below, this never ends: the kernel closes a dying task's files
//! *later* than it seems. `exit_files` only lists them (`task_work`), and what the name space unmounts is
//! put on the same list, which is worked off from its newest entry. So the unmount comes first; it waits for
//! our connection to the device to be answered or closed, and the closing waits behind it.
//!
//! Therefore the process has a descriptor of its name space, which is thus not dropped before that
//! descriptor is closed; and this one lies in a message that nobody reads, in a socket of ours. The kernel
//! closes what is in a message only when it has closed the socket: by then it has listed it anew, behind
//! everything that was listed before. The connection is closed, what waits for the device fails, and then
//! the file systems are unmounted. This holds in whatever order the list is worked off.

use std::{
    fs::File,
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{fd::AsFd, unix::net::UnixStream},
    sync::{Mutex, PoisonError},
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// The socket with the message, from the first device on for as long as the process lives.
static KEPT: Mutex<Option<UnixStream>> = Mutex::new(None);

/// Sees to it that the mount name space outlives this process's connections to its devices.
pub(super) fn outlives_connections() -> io::Result<()> {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.is_none() {
        *kept = Some(in_a_message(&File::open("/proc/thread-self/ns/mnt")?)?);
    }
    Ok(())
}

/// A socket with an unread message in which this file is.
fn in_a_message(file: &File) -> io::Result<UnixStream> {
    let (sender, receiver) = UnixStream::pair()?;
    let files = [file.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    if !message.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::Error::other("there is no room for a descriptor in a message"));
    }
    sendmsg(&sender, &[IoSlice::new(&[0])], &mut message, SendFlags::empty())?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_file_in_a_message_is_open_until_the_socket_is_closed() {
        let (mut reader, writer) = io::pipe().unwrap();
        let kept = in_a_message(&File::from(std::os::fd::OwnedFd::from(writer))).unwrap();
        let flags = rustix::fs::fcntl_getfl(&reader).unwrap();
        rustix::fs::fcntl_setfl(&reader, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
        let early = reader.read(&mut [0]).unwrap_err();
        assert_eq!(early.kind(), io::ErrorKind::WouldBlock, "the writer is closed already");
        drop(kept);
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }
}
