//! System calls that wait for a device which this very process serves.
//!
//! Mounting it does, unmounting, or writing out what the kernel keeps of it; and the kernel lets nobody out
//! of such a call before the device has answered. A process that is killed meanwhile would never end: the
//! thread in the call keeps the process's open files, among them the connection over which the device is
//! served, so the kernel waits for a server that is gone. Therefore such a call is made by a thread with a
//! table of open files of its own, in which that connection is not. When the others have ended, nobody has
//! it, the kernel fails what waits for it, and the thread ends too.

use std::{
    fs, io,
    os::fd::{AsRawFd, BorrowedFd, RawFd},
    thread,
};

use nix::{
    sched::{CloneFlags, unshare},
    unistd::close,
};

/// The name of the threads.
pub const NAME: &str = "apart";

/// Does work in a thread of its own and waits for it. Of the process's open files the thread has `keep`,
/// under their numbers; what it opens, only it has. Blocks: not for a task of a runtime.
///
/// # Errors
/// When there is no such thread to be had; then nothing was done.
pub fn apart<T: Send + 'static>(
    keep: &[BorrowedFd<'_>],
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let keep: Vec<RawFd> = keep.iter().map(AsRawFd::as_raw_fd).collect();
    let body = move || leave_files(&keep).map(|()| work());
    let thread = thread::Builder::new().name(NAME.to_owned()).spawn(body)?;
    thread.join().map_err(|_| io::Error::other("the thread that waits for the device has panicked"))?
}

/// A table of open files for this thread alone, with the standard ones and these.
fn leave_files(keep: &[RawFd]) -> io::Result<()> {
    unshare(CloneFlags::CLONE_FILES)?;
    let numbers = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok();
    // Read to its end first: the folder is itself an open file.
    let open: Vec<RawFd> = fs::read_dir("/proc/thread-self/fd")?.filter_map(numbers).collect();
    for descriptor in open.into_iter().filter(|number| *number > 2 && !keep.contains(number)) {
        let _closed = close(descriptor); // the folder's own is closed already
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        fs::File,
        io::Read as _,
        os::{fd::AsFd as _, unix::fs::FileExt as _},
    };

    use super::*;

    #[test]
    fn other_threads_keep_their_files_and_this_one_what_it_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let (kept, left) = (folder.path().join("kept"), folder.path().join("left"));
        fs::write(&kept, "kept").unwrap();
        let kept = File::open(kept).unwrap();
        let left = File::create_new(left).unwrap();
        let number = kept.as_raw_fd();
        let (open, read) = apart(&[kept.as_fd()], move || {
            let links = fs::read_dir("/proc/thread-self/fd").unwrap();
            let open = links.filter(|link| link.as_ref().is_ok_and(|link| link.path().exists())).count();
            let mut text = String::new();
            File::open(format!("/proc/thread-self/fd/{number}")).unwrap().read_to_string(&mut text).unwrap();
            (open, text)
        })
        .unwrap();
        // Three, the one that is kept, and the folder.
        assert!(open <= 5, "{open} files are open there");
        assert_eq!(read, "kept");
        left.write_all_at(b"still open", 0).unwrap();
    }
}
