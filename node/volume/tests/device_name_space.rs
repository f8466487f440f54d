//! Whoever serves a device dies together with everything that sees the file system on it, as a container
//! does: all of it ends (R34), though the kernel unmounts there what nobody serves any more.

#![allow(clippy::unwrap_used)]

#[path = "support/served.rs"]
mod served;

use std::{
    env,
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use self::served::{FOLDER, Running, attach, child, folder, mount_apart, until};

/// Which thread of a killed process is the last is the kernel's choice, and it matters here.
const ROUNDS: u32 = 5;
/// What is there once the child is as it should be.
const READY: &str = "ready";

#[test]
fn r34_the_last_in_a_mount_name_space_is_who_serves_the_device_there() {
    if let Some(folder) = child() {
        // Unwritten when the process is killed: the unmount has something to write.
        mounted(&folder, "head -c 8388608 /dev/zero >file", |mut written| {
            assert!(written.wait().unwrap().success());
        });
    }
    killed("r34_the_last_in_a_mount_name_space_is_who_serves_the_device_there", &["--mount"]);
}

#[test]
fn r34_a_container_is_killed_while_it_writes() {
    if let Some(folder) = child() {
        let write =
            "while :; do dd if=/dev/zero of=file bs=1M count=4 conv=notrunc,fsync 2>/dev/null; echo; done";
        mounted(&folder, write, |mut writer| {
            let mut line = String::new();
            let mut said = BufReader::new(writer.stdout.take().unwrap());
            said.read_line(&mut line).unwrap();
            // The writer goes on writing, and needs somebody to read what it says.
            thread::spawn(move || io::copy(&mut said, &mut io::sink()));
        });
    }
    let container = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    killed("r34_a_container_is_killed_while_it_writes", &container);
}

/// In the child: mounts the device, has somebody write there, and waits to be killed.
fn mounted(folder: &Path, write: &str, then: impl FnOnce(std::process::Child)) -> ! {
    let device = attach(folder, &Arc::new(AtomicBool::new(true)));
    let at = folder.join("mnt");
    fs::create_dir(&at).unwrap();
    mount_apart(device, at.clone()).unwrap();
    then(Command::new("sh").args(["-c", write]).current_dir(at).stdout(Stdio::piped()).spawn().unwrap());
    File::create(folder.join(READY)).unwrap();
    loop {
        thread::sleep(Duration::from_secs(60));
    }
}

/// Starts the test anew in name spaces of its own, kills what is there, and waits for its end.
fn killed(test: &str, spaces: &[&str]) {
    let possible = Command::new("unshare").args(spaces).arg("true").status();
    if !possible.is_ok_and(|done| done.success()) {
        println!("skipped, because there are no name spaces to be had here");
        return;
    }
    for _round in 0..ROUNDS {
        let Some(folder) = folder() else { return };
        once(&folder, test, spaces);
    }
}

fn once(folder: &TempDir, test: &str, spaces: &[&str]) {
    let mut running = Running(
        Command::new("unshare")
            .args(spaces)
            .arg(env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    until("the file system to be in use", || {
        assert!(running.0.try_wait().unwrap().is_none(), "it ended by itself");
        folder.path().join(READY).exists()
    });
    let below = tree(running.0.id());
    running.0.kill().unwrap();
    until("the killed process to end", || running.0.try_wait().unwrap().is_some());
    for process in below {
        until("what was below it to end", || has_ended(process));
    }
}

/// The processes below one.
fn tree(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let children: Vec<u32> = children
        .flat_map(|line| line.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect();
    children.iter().flat_map(|child| [vec![*child], tree(*child)].concat()).collect()
}

/// Whether nothing of it is left but what its parent may ask for: a process with a thread that hangs can
/// look like that too, but has more than one.
fn has_ended(process: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return true };
    let states: Vec<String> =
        threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok()).collect();
    match &states[..] {
        [] => true,
        [only] => only.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X'])),
        _ => false,
    }
}
