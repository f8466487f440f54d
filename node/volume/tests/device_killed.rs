//! A process that is killed while it waits for a device that it serves itself: it ends (R34).

#![allow(clippy::unwrap_used)]

use std::{
    env,
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use bytes::Bytes;
use nix::mount::{MsFlags, mount};
use tasuki_core::config::DeviceBackend;
use tasuki_volume::{
    block::{Door, Request},
    device::{
        Device, Order,
        apart::{self, apart},
        probe::probe,
    },
};
use tempfile::TempDir;
use tokio::sync::mpsc::{self, Receiver};

/// Where the child works; set for the child only.
const FOLDER: &str = "TASUKI_TEST_KILLED";
const PATIENCE: Duration = Duration::from_secs(60);

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
        let nothing: Option<&str> = None;
        let mounted = apart(&[], move || mount(Some(&device), &at, Some("ext4"), MsFlags::empty(), nothing));
        panic!("it came back: {mounted:?}");
    }
    let Some(folder) = folder() else { return };
    killed(&folder, "r34_killed_while_it_mounts");
}

/// The folder of the test, with a file system in it; `None` where there are no devices, said aloud.
fn folder() -> Option<TempDir> {
    let ways = probe();
    let way = ways.iter().find(|way| way.backend == DeviceBackend::Loop)?;
    if let Some(why) = &way.missing {
        println!("skipped, because {why}");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    File::create_new(&data).unwrap().set_len(16 << 20).unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", "-b", "4096"]).arg(&data).status();
    if !made.is_ok_and(|made| made.success()) {
        println!("skipped, because mkfs.ext4 is not here");
        return None;
    }
    Some(folder)
}

fn child() -> Option<PathBuf> {
    env::var_os(FOLDER).map(Into::into)
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
    }
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

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        sleep(Duration::from_millis(20));
    }
}

/// Whether it has a thread in such a call.
fn is_waiting(child: &Child) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", child.id())).into_iter().flatten().flatten();
    let mut names = threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
    names.any(|name| name.trim() == apart::NAME)
}

/// In the child: a device over a file, which answers all or only what is read; its node.
fn attach(folder: &Path, answering: &Arc<AtomicBool>) -> PathBuf {
    let data = File::options().read(true).write(true).open(folder.join("data")).unwrap();
    let (requests, asked) = mpsc::channel(128);
    let door = Door { size: data.metadata().unwrap().len(), block: 4096, requests };
    let order = Order {
        name: "killed".to_owned(),
        backend: Some(DeviceBackend::Loop),
        door,
        link: None,
        folder: folder.join("dev"),
        run: folder.join("run"),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.spawn(answer(data, asked, answering.clone(), folder.join("silent")));
    let device = runtime.block_on(Device::attach(order)).unwrap();
    let node = device.node().to_owned();
    // Both go on until the process is killed.
    std::mem::forget((device, runtime));
    node
}

async fn answer(data: File, mut asked: Receiver<Request>, answering: Arc<AtomicBool>, silent: PathBuf) {
    let mut never = Vec::new();
    while let Some(request) = asked.recv().await {
        match request {
            Request::Read { offset, length, answer } => {
                let mut bytes = vec![0; length as usize];
                data.read_exact_at(&mut bytes, offset).unwrap();
                let _gone = answer.send(Ok(Bytes::from(bytes)));
            }
            Request::Write { offset, data: bytes, answer, .. } if answering.load(SeqCst) => {
                data.write_all_at(&bytes, offset).unwrap();
                let _gone = answer.send(Ok(()));
            }
            Request::Flush { answer } if answering.load(SeqCst) => {
                let _gone = answer.send(Ok(()));
            }
            other => {
                never.push(other);
                File::create(&silent).unwrap();
            }
        }
    }
}
