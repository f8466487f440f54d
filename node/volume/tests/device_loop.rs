//! A file over FUSE under a loop device, with a real file system on it.

#![allow(clippy::unwrap_used)]

#[path = "support/memory.rs"]
mod memory;

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::atomic::Ordering::SeqCst,
    thread,
};

use memory::Memory;
use tasuki_core::config::DeviceBackend;
use tasuki_volume::{
    block::Door,
    device::{Device, DeviceError, Order, clean_up_left, probe::probe},
};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

const MIB: usize = 1024 * 1024;

/// `None`: skipped, and said so.
fn ready(programs: &[&str]) -> Option<()> {
    let skip = |why: &str| {
        eprintln!("skipped, because {why}");
        None
    };
    if !nix::unistd::geteuid().is_root() {
        return skip("devices need root");
    }
    if let Some(why) = probe().into_iter().find(|way| way.backend == DeviceBackend::Loop)?.missing {
        return skip(&why);
    }
    let there = |program: &&str| {
        Command::new("which").arg(program).output().is_ok_and(|found| found.status.success())
    };
    match programs.iter().find(|program| !there(program)) {
        Some(missing) => skip(&format!("{missing} is missing")),
        None => Some(()),
    }
}

/// A volume in memory on a thread of its own, as the data path is, and a device in front of it.
struct Bench {
    runtime: Runtime,
    folder: TempDir,
    memory: Memory,
    door: Door,
    device: Option<Device>,
}

impl Bench {
    fn new(size: usize) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (memory, door) = runtime.block_on(async { Memory::serve(size) });
        let mut bench = Self { runtime, folder: TempDir::new().unwrap(), memory, door, device: None };
        bench.device = Some(bench.attach(None).unwrap());
        bench
    }

    fn order(&self, link: Option<PathBuf>) -> Order {
        Order {
            name: "data".to_owned(),
            backend: Some(DeviceBackend::Loop),
            door: self.door.clone(),
            link,
            folder: self.folder.path().join("dev"),
            run: self.folder.path().join("run"),
        }
    }

    fn attach(&self, link: Option<PathBuf>) -> Result<Device, DeviceError> {
        self.runtime.block_on(async { tokio::spawn(Device::attach(self.order(link))).await.unwrap() })
    }

    fn device(&self) -> &Device {
        self.device.as_ref().unwrap()
    }

    fn detach(&mut self) -> Result<(), DeviceError> {
        self.runtime.block_on(self.device.as_mut().unwrap().detach())
    }

    fn cut(&mut self) {
        self.runtime.block_on(self.device.as_mut().unwrap().cut());
    }

    fn mount(&self) -> Mounted {
        let at = self.folder.path().join("mount");
        fs::create_dir_all(&at).unwrap();
        good(Command::new("mount").arg("-odiscard").arg(self.device().path()).arg(&at));
        Mounted { at }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // A test that failed has not detached.
        if let Some(mut device) = self.device.take() {
            self.memory.freeze(false);
            self.runtime.block_on(device.cut());
        }
    }
}

/// A mounted file system; unmounted also when a test fails.
struct Mounted {
    at: PathBuf,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(&self.at).status().unwrap();
        assert!(done.success() || thread::panicking(), "it does not let itself be unmounted");
    }
}

fn good(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn is_attached(node: &Path) -> bool {
    let name = node.file_name().unwrap().to_string_lossy().into_owned();
    Path::new("/sys/block").join(name).join("loop").exists()
}

#[test]
fn a_file_system_keeps_its_files_and_its_flushes_reach_the_volume() {
    let Some(()) = ready(&["mkfs.ext4", "mount", "fsck.ext4"]) else { return };
    let mut bench = Bench::new(96 * MIB);
    good(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(bench.device().path()));
    let content: Vec<u8> = (0..3 * MIB as u32).map(|at| (at * 7 + at / 997) as u8).collect();
    {
        let mounted = bench.mount();
        let mut file = File::create(mounted.at.join("letter")).unwrap();
        file.write_all(&content).unwrap();
        let before = bench.memory.counts.flushes.load(SeqCst);
        file.sync_all().unwrap();
        let after = bench.memory.counts.flushes.load(SeqCst);
        assert!(after > before, "an fsync reaches the volume as a flush");
        // Each fsync of changed data is one more, and none is swallowed.
        for round in 0..10 {
            let before = bench.memory.counts.flushes.load(SeqCst);
            file.write_at(&[round], 5000).unwrap();
            file.sync_all().unwrap();
            assert!(bench.memory.counts.flushes.load(SeqCst) > before, "fsync {round}");
            file.write_at(&content[5000..5001], 5000).unwrap();
        }
        fs::write(mounted.at.join("rubbish"), &content).unwrap();
        nix::unistd::sync();
        fs::remove_file(mounted.at.join("rubbish")).unwrap();
        nix::unistd::sync();
        assert!(bench.memory.counts.trims.load(SeqCst) > 0, "what was freed reaches the volume");
    }
    {
        let mounted = bench.mount();
        assert!(fs::read(mounted.at.join("letter")).unwrap() == content, "the file is as it was written");
    }
    let node = bench.device().node().to_owned();
    bench.detach().unwrap();
    assert!(!is_attached(&node));
    assert!(!bench.folder.path().join("dev/data").exists(), "its name is gone");
    // A second device over the same bytes shows the same file system.
    bench.device = Some(bench.attach(None).unwrap());
    good(Command::new("fsck.ext4").args(["-f", "-n"]).arg(bench.device().path()));
    bench.detach().unwrap();
}

#[test]
fn a_device_in_use_is_not_taken_away_and_it_is_said_who_uses_it() {
    let Some(()) = ready(&["mkfs.ext4", "mount", "sleep"]) else { return };
    let mut bench = Bench::new(32 * MIB);
    good(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(bench.device().path()));
    {
        let mounted = bench.mount();
        match bench.detach() {
            Err(DeviceError::InUse { users, .. }) => {
                let expected = format!("mounted at {}", mounted.at.display());
                assert!(users.contains(&expected), "{users:?}");
            }
            other => panic!("{other:?}"),
        }
        fs::write(mounted.at.join("still"), b"here").unwrap();
    }
    let mut holder =
        Command::new("sleep").arg("600").stdin(File::open(bench.device().path()).unwrap()).spawn().unwrap();
    let refused = bench.detach();
    let id = holder.id();
    holder.kill().unwrap();
    holder.wait().unwrap();
    match refused {
        Err(DeviceError::InUse { users, .. }) => assert_eq!(users, [format!("open in sleep (process {id})")]),
        other => panic!("{other:?}"),
    }
    bench.detach().unwrap();
}

#[test]
fn r34_a_frozen_volume_does_not_hold_its_device_and_what_waited_fails() {
    let Some(()) = ready(&[]) else { return };
    let mut bench = Bench::new(16 * MIB);
    let node = bench.device().node().to_owned();
    bench.memory.freeze(true);
    let waiting = thread::spawn(move || {
        let device = OpenOptions::new().write(true).open(&node).unwrap();
        device.write_at(&[7; 4096], 8192).unwrap();
        device.sync_all()
    });
    // Until the write waits in the volume.
    while bench.memory.waiting() == 0 && !waiting.is_finished() {
        thread::yield_now();
    }
    assert!(!waiting.is_finished(), "nobody has answered");
    bench.cut();
    let error = waiting.join().unwrap().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(nix::libc::EIO));
    bench.device = None;
    bench.memory.freeze(false);
    // The volume itself can be attached again.
    bench.device = Some(bench.attach(None).unwrap());
    let mut bytes = [1; 4096];
    File::open(bench.device().node()).unwrap().read_exact(&mut bytes).unwrap();
    bench.detach().unwrap();
}

#[test]
fn a_failing_volume_is_an_error_and_not_a_hang() {
    let Some(()) = ready(&["mkfs.ext4", "mount"]) else { return };
    let mut bench = Bench::new(32 * MIB);
    good(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(bench.device().path()));
    {
        let mounted = bench.mount();
        let mut file = File::create(mounted.at.join("letter")).unwrap();
        file.write_all(b"dear").unwrap();
        bench.memory.fail();
        let error = file.sync_all().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(nix::libc::EIO));
    }
    bench.detach().unwrap();
}

#[test]
fn a_device_that_somebody_else_detaches_is_noticed() {
    let Some(()) = ready(&["losetup"]) else { return };
    let bench = Bench::new(8 * MIB);
    let node = bench.device().node().to_owned();
    abort_what_is_below(&node);
    let lost = bench.runtime.block_on(bench.device().lost());
    assert!(lost.contains("TSK-1839") && lost.contains(&*node.to_string_lossy()), "{lost}");
}

/// Ends the file system below a loop device, as an administrator could.
fn abort_what_is_below(node: &Path) {
    let control = Path::new("/sys/fs/fuse/connections");
    if fs::read_dir(control).unwrap().next().is_none() {
        good(Command::new("mount").args(["-tfusectl", "none"]).arg(control));
    }
    let listed = good(Command::new("losetup").args(["-n", "-l", "-O", "BACK-MAJ:MIN"]).arg(node));
    let number = String::from_utf8(listed.stdout).unwrap();
    let connection = number.trim().strip_prefix("0:").unwrap();
    fs::write(control.join(connection).join("abort"), "1").unwrap();
}

#[test]
fn names_point_to_the_device_and_what_is_not_ours_is_never_replaced() {
    let Some(()) = ready(&[]) else { return };
    let mut bench = Bench::new(8 * MIB);
    bench.detach().unwrap();
    let taken = bench.folder.path().join("NMP1");
    fs::write(&taken, b"precious").unwrap();
    match bench.attach(Some(taken.clone())) {
        Err(DeviceError::NotOurs(path)) => assert_eq!(path, taken),
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read(&taken).unwrap(), b"precious");
    fs::remove_file(&taken).unwrap();
    bench.device = Some(bench.attach(Some(taken.clone())).unwrap());
    assert_eq!(fs::canonicalize(&taken).unwrap(), bench.device().node());
    assert_eq!(fs::canonicalize(bench.device().path()).unwrap(), bench.device().node());
    bench.detach().unwrap();
    assert!(fs::symlink_metadata(&taken).is_err());
}

#[test]
fn a_device_grows_with_its_volume() {
    let Some(()) = ready(&[]) else { return };
    let mut bench = Bench::new(8 * MIB);
    bench.memory.bytes().resize(12 * MIB, 0);
    bench.runtime.block_on(bench.device().resize(12 * MIB as u64)).unwrap();
    let mut device = File::open(bench.device().node()).unwrap();
    assert_eq!(device.seek(SeekFrom::End(0)).unwrap(), 12 * MIB as u64);
    let writer = OpenOptions::new().write(true).open(bench.device().node()).unwrap();
    writer.write_at(&[9; 4096], 11 * MIB as u64).unwrap();
    writer.sync_all().unwrap();
    drop((device, writer));
    assert_eq!(bench.memory.bytes()[11 * MIB..][..4096], [9; 4096]);
    bench.detach().unwrap();
}

#[test]
fn many_writers_side_by_side_find_what_they_wrote() {
    let Some(()) = ready(&["fio"]) else { return };
    let mut bench = Bench::new(64 * MIB);
    good(
        Command::new("fio")
            .args(["--name=check", "--rw=randwrite", "--bs=4k-128k", "--blocksize_unaligned=0", "--size=64m"])
            .args(["--ioengine=libaio", "--iodepth=32", "--direct=1", "--verify=crc32c", "--verify_fatal=1"])
            .args([
                "--fsync=64",
                "--allow_file_create=0",
                "--serialize_overlap=1", // what overlaps in flight has no order to look for
                "--verify_state_save=0",
                "--blockalign=4k",
            ])
            .arg(format!("--filename={}", bench.device().node().display())),
    );
    assert!(bench.memory.counts.longest.load(SeqCst) >= 64 * 1024, "long writes stay whole");
    assert!(bench.memory.counts.flushes.load(SeqCst) > 0);
    bench.detach().unwrap();
}

/// Not a test by itself: the process that the next test kills.
#[test]
fn kept_until_killed() {
    let Some(folder) = std::env::var_os("TASUKI_TEST_KILLED") else { return };
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = PathBuf::from(folder);
        let (_memory, door) = Memory::serve(32 * MIB);
        let order = Order {
            name: "data".to_owned(),
            backend: Some(DeviceBackend::Loop),
            door,
            link: None,
            folder: folder.join("dev"),
            run: folder.join("run"),
        };
        let device = Device::attach(order).await.unwrap();
        println!("NODE {}", device.node().display());
        std::future::pending::<()>().await;
    });
}

#[test]
fn what_a_killed_process_has_left_is_removed() {
    let Some(()) = ready(&["mkfs.ext4", "mount"]) else { return };
    let folder = TempDir::new().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kept_until_killed", "--nocapture"])
        .env("TASUKI_TEST_KILLED", folder.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut out = child.stdout.take().unwrap();
    let mut byte = [0];
    while !said.contains("NODE ") || !said.ends_with('\n') {
        assert_eq!(out.read(&mut byte).unwrap(), 1, "{said}");
        said.push(byte[0] as char);
    }
    let node = PathBuf::from(said.split("NODE ").nth(1).unwrap().trim());
    good(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&node));
    let at = folder.path().join("mount");
    fs::create_dir(&at).unwrap();
    good(Command::new("mount").arg(&node).arg(&at));
    let mounted = Mounted { at };
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(is_attached(&node), "a mounted file system keeps it");
    assert!(
        fs::write(mounted.at.join("lost"), b"x")
            .and_then(|()| File::open(mounted.at.join("lost"))?.sync_all())
            .is_err()
    );
    let run = folder.path().join("run");
    assert!(clean_up_left(&run, |name| name != "data").is_empty(), "only what is asked for");
    let left = clean_up_left(&run, |_| true);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].node, node);
    assert_eq!(left[0].users, [format!("mounted at {}", mounted.at.display())]);
    assert!(!folder.path().join("dev/data").exists());
    drop(mounted);
    assert!(!is_attached(&node), "it went with its last user");
    assert!(clean_up_left(&run, |_| true).is_empty());
}
