//! System calls that write to a device which this very process serves.
//!
//! Mounting and unmounting do, and the kernel lets nobody out of such a call before the device has
//! answered. A node that is killed meanwhile would never end: the thread in the call keeps the process's
//! open files, among them the connection that the device is served over, so the kernel waits for a server
//! that is gone. Therefore such a call is made by a thread with a table of open files of its own, in which
//! that connection is not. When the others have ended, nobody has it, the kernel fails what waits for it,
//! and the thread ends too.

use std::{fs, io, thread};

use nix::{
    sched::{CloneFlags, unshare},
    unistd::close,
};

/// The name of the threads.
const NAME: &str = "mounting";

/// Does work in a thread of its own that has no file of this process open, and waits for it. The work
/// must bring no open file along.
///
/// # Errors
/// When there is no such thread to be had; then nothing was done.
pub(super) fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let body = move || leave_files().map(|()| work());
    let thread = thread::Builder::new().name(NAME.to_owned()).spawn(body)?;
    thread.join().map_err(|_| io::Error::other("the thread that mounts has panicked"))?
}

/// A table of open files for this thread alone, with the standard ones only.
fn leave_files() -> io::Result<()> {
    unshare(CloneFlags::CLONE_FILES)?;
    let numbers = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse::<i32>().ok();
    // Read to its end first: the folder is itself an open file.
    let open: Vec<i32> = fs::read_dir("/proc/thread-self/fd")?.filter_map(numbers).collect();
    for descriptor in open.into_iter().filter(|number| *number > 2) {
        let _closed = close(descriptor); // the folder's own is closed already
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        fs::File,
        os::unix::fs::FileExt as _,
        path::{Path, PathBuf},
        process::{Child, Command, Stdio},
        thread::sleep,
        time::{Duration, Instant},
    };

    use bytes::Bytes;
    use tasuki_core::config::DeviceBackend;
    use tasuki_volume::{
        block::{Door, Request},
        device::{Device, Order},
    };
    use tokio::sync::mpsc;

    use super::*;
    use crate::edge::system::mirror_disk::mounts;

    const FOLDER: &str = "TASUKI_TEST_APART";
    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn other_threads_keep_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::create_new(folder.path().join("kept")).unwrap();
        let left = apart(|| fs::read_dir("/proc/thread-self/fd").unwrap().count()).unwrap();
        assert!(left <= 4, "{left} files are open there"); // three, and the folder
        file.write_all_at(b"still open", 0).unwrap();
    }

    #[test]
    fn r34_a_process_that_is_killed_while_it_mounts_what_it_serves_ends() {
        if let Some(folder) = std::env::var_os(FOLDER) {
            return serve_and_mount(Path::new(&folder));
        }
        let there = |path: &str| Path::new(path).exists();
        if !nix::unistd::getuid().is_root() || !there("/dev/fuse") || !there("/dev/loop-control") {
            println!("skipped, because a device needs root, /dev/fuse and /dev/loop-control");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        File::create_new(&data).unwrap().set_len(16 << 20).unwrap();
        let made = Command::new("mkfs.ext4").arg("-q").arg(&data).status();
        if !made.is_ok_and(|made| made.success()) {
            println!("skipped, because mkfs.ext4 is not here");
            return;
        }
        let name = "edge::system::mirror_disk::apart::tests::\
                    r34_a_process_that_is_killed_while_it_mounts_what_it_serves_ends";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        until("the mount to wait for the device", || {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it mounted");
            is_waiting(&child)
        });
        child.kill().unwrap();
        until("the killed process to end", || child.try_wait().unwrap().is_some());
    }

    fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < end, "waited in vain for {what}");
            sleep(Duration::from_millis(20));
        }
    }

    /// Whether the thread that mounts is one that no signal reaches.
    fn is_waiting(child: &Child) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", child.id())).into_iter().flatten().flatten();
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok()).any(|stat| {
            let state = stat.rsplit_once(')').map_or("", |(_, rest)| rest).trim_start();
            stat.contains(&format!("({NAME})")) && state.starts_with('D')
        })
    }

    /// In the child: a device that reads and never writes, and a mount of it.
    #[tokio::main]
    async fn serve_and_mount(folder: &Path) {
        let data = File::open(folder.join("data")).unwrap();
        let (requests, mut asked) = mpsc::channel(128);
        let door = Door { size: data.metadata().unwrap().len(), block: 4096, requests };
        tokio::spawn(async move {
            let mut never = Vec::new();
            while let Some(request) = asked.recv().await {
                match request {
                    Request::Read { offset, length, answer } => {
                        let mut bytes = vec![0; length as usize];
                        data.read_exact_at(&mut bytes, offset).unwrap();
                        let _gone = answer.send(Ok(Bytes::from(bytes)));
                    }
                    other => never.push(other),
                }
            }
        });
        let order = Order {
            name: "apart".to_owned(),
            backend: Some(DeviceBackend::Loop),
            door,
            link: None,
            folder: folder.join("dev"),
            run: folder.join("run"),
        };
        let device = Device::attach(order).await.unwrap();
        let (node, at): (PathBuf, PathBuf) = (device.node().to_owned(), folder.join("mnt"));
        let mounted = tokio::task::spawn_blocking(move || mounts::mount(&node, &at, "ext4", &[])).await;
        panic!("it came back: {mounted:?}");
    }
}
