//! What was acknowledged is found again: after kill -9, and after the power went.
#![allow(clippy::unwrap_used)]

mod common;

use std::{fs, path::Path, time::Instant};

use common::{Acknowledged, Mount, Writer, expect_all, run, write_without_end};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// Not a test of its own: the process that the tests below start and kill.
#[test]
fn writer() {
    write_without_end();
}

#[test]
fn reopens_after_kill_during_append() {
    const ROUNDS: u64 = 100;
    let started = Instant::now();
    let mut written = 0;
    let mut dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::default();
    for round in 0..ROUNDS {
        if round % 10 == 0 {
            // Each store is killed ten times; a log that only grows would make the test slow.
            dir = tempfile::tempdir().unwrap();
            acknowledged = Acknowledged::default();
        }
        let before = acknowledged.index.map_or(0, |index| index + 1);
        let mut writer = Writer::start(dir.path(), acknowledged);
        writer.wait_for(1 + (round % 13) as usize);
        acknowledged = writer.kill();
        expect_all(dir.path(), acknowledged);
        written += acknowledged.index.unwrap() + 1 - before;
    }
    println!("{ROUNDS} kills, {written} acknowledged entries, none lost, {:.1?}", started.elapsed());
}

/// R23. What the disk has at the moment the power goes: the image under a loop device, copied
/// while the writer is stopped. What only the kernel's cache has is not in it.
#[test]
fn reopens_after_power_loss_during_append() {
    const ROUNDS: usize = 8;
    let work = tempfile::tempdir().unwrap();
    let image = work.path().join("disk.img");
    let disk = match make_disk(&image) {
        Ok(disk) => disk,
        Err(why) => return println!("skipped, because no file system can be made on a loop device: {why}"),
    };
    let store = disk.path().join("store");
    let mut acknowledged = Acknowledged::default();
    for round in 0..ROUNDS {
        let mut writer = Writer::start(&store, acknowledged);
        writer.wait_for(5 + 11 * round);
        let pid = Pid::from_raw(writer.pid()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped(), "the writer is stopped");
        writer.drain();
        let promised = writer.acknowledged;

        let copy = work.path().join(format!("copy-{round}.img"));
        fs::copy(&image, &copy).unwrap();
        let after = Mount::new(&["-o", "loop", copy.to_str().unwrap()]).unwrap();
        expect_all(&after.path().join("store"), promised);
        drop(after);
        fs::remove_file(&copy).unwrap();
        acknowledged = writer.kill();
        println!("power loss {}: all of {promised:?} found", round + 1);
    }
}

fn make_disk(image: &Path) -> Result<Mount, String> {
    fs::File::create(image).and_then(|file| file.set_len(96 << 20)).map_err(|e| e.to_string())?;
    let path = image.to_str().unwrap();
    run("mkfs.ext4", &["-q", "-F", path])?;
    Mount::new(&["-o", "loop", path])
}
