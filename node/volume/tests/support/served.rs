//! A process that serves a device over a file, for tests which kill it.

use std::{
    env,
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Child, Command},
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
    device::{Device, Order, apart::apart, probe::probe},
};
use tempfile::TempDir;
use tokio::sync::mpsc::{self, Receiver};

/// Where the child works; set for the child only.
pub const FOLDER: &str = "TASUKI_TEST_KILLED";
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder of the test, with a file system in it; `None` where there are no devices, said aloud.
pub fn folder() -> Option<TempDir> {
    let ways = probe();
    let way = ways.iter().find(|way| way.backend == DeviceBackend::Loop)?;
    if let Some(why) = &way.missing {
        println!("skipped, because {why}");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    File::create_new(&data).unwrap().set_len(64 << 20).unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", "-b", "4096"]).arg(&data).status();
    if !made.is_ok_and(|made| made.success()) {
        println!("skipped, because mkfs.ext4 is not here");
        return None;
    }
    Some(folder)
}

/// In the child: its folder.
pub fn child() -> Option<PathBuf> {
    env::var_os(FOLDER).map(Into::into)
}

/// A program that is killed at the latest when the test ends.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
    }
}

pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        sleep(Duration::from_millis(20));
    }
}

/// In the child: a device over the folder's file, which answers all or only what is read; its node.
pub fn attach(folder: &Path, answering: &Arc<AtomicBool>) -> PathBuf {
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

/// In the child: mounts the device, the way the node does.
pub fn mount_apart(device: PathBuf, at: PathBuf) -> nix::Result<()> {
    let nothing: Option<&str> = None;
    apart(&[], move || mount(Some(&device), &at, Some("ext4"), MsFlags::empty(), nothing)).unwrap()
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
