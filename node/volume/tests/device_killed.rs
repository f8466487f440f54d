//! A process that is killed while it waits for a device that it serves itself: it ends (R34).

#![allow(clippy::unwrap_used)]

#[path = "support/served.rs"]
mod served;

use std::{
    env, fs,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use tasuki_volume::device::apart;
use tempfile::TempDir;

use self::served::{FOLDER, Running, attach, child, folder, mount_apart, until};

#[test]
fn r34_killed_while_it_attaches() {
    if let Some(folder) = child() {
        attach(&folder, &Arc::new(AtomicBool::new(false)));
        panic!("a device whose file cannot be written out was attached");
    }
    let Some(folder) = folder() else { return };
    killed(&folder, "r34_killed_while_it_attaches");
}

#[test]
fn r34_killed_while_it_mounts() {
    if let Some(folder) = child() {
        let answering = Arc::new(AtomicBool::new(true));
        let device = attach(&folder, &answering);
        answering.store(false, SeqCst);
        let at = folder.join("mnt");
        fs::create_dir(&at).unwrap();
        let mounted = mount_apart(device, at);
        panic!("it came back: {mounted:?}");
    }
    let Some(folder) = folder() else { return };
    killed(&folder, "r34_killed_while_it_mounts");
}

/// Starts the test anew as a process of its own, and kills it when it waits for what it serves.
fn killed(folder: &TempDir, test: &str) {
    let mut running = Running(
        Command::new(env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    until("the child to wait for its own device", || {
        assert!(running.0.try_wait().unwrap().is_none(), "it ended by itself");
        folder.path().join("silent").exists() && is_waiting(&running.0)
    });
    running.0.kill().unwrap();
    until("the killed process to end", || running.0.try_wait().unwrap().is_some());
}

/// Whether it has a thread in such a call.
fn is_waiting(child: &Child) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", child.id())).into_iter().flatten().flatten();
    let mut names = threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
    names.any(|name| name.trim() == apart::NAME)
}
