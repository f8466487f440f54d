//! A block device that two processes share, as two servers share a disk: direct I/O on both sides, and
//! one of them killed in the middle. Rules R14 and R18.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tasuki_core::{
    ids::{Lineage, RaftId},
    membership::tie_break::{Mode, Record},
    time::WallTime,
};
use tasuki_storage::votes::{Files, Overwrite, Owner, RegisterFailure, Swapped, create, examine, slot_of};

/// The record's number at which everybody stops.
const LAST: u64 = 40;
const PAIR: Mode = Mode::Pair(RaftId(1), RaftId(2));

fn lineage() -> Lineage {
    Lineage::from("shared")
}

fn record(number: u64, mode: Mode) -> Record {
    Record { lineage: lineage(), number, mode }
}

/// A loop device, taken away at the end.
struct Loop(PathBuf);

impl Loop {
    fn over(file: &Path) -> Option<Self> {
        std::fs::File::create(file).unwrap().set_len(2 << 20).unwrap();
        let made = Command::new("losetup").args(["--find", "--show"]).arg(file).output().ok()?;
        made.status.success().then(|| Self(String::from_utf8_lossy(&made.stdout).trim().into()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ended = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

/// One server, in a process of its own: claims whenever it may, and says each number that it won.
#[test]
fn contender() {
    let (Ok(device), Ok(me)) = (env::var("VOTING_DEVICE"), env::var("VOTING_ID")) else { return };
    let me: u64 = me.parse().unwrap();
    let files = vec![PathBuf::from(device)];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let register = Files::new(lineage(), slot_of(me), Duration::from_secs(20));
        loop {
            let now = register.read(&files).await.unwrap().unwrap();
            if now.number >= LAST {
                return;
            }
            // Whoever won gives it back; the next number is open to both again.
            let to = match now.mode {
                Mode::Sole(owner) if owner == RaftId(me) => record(now.number, PAIR),
                Mode::Sole(_) => {
                    // Its owner may be dead: then the other one takes it, as an operator would.
                    if env::var("VOTING_HEIR").is_err() {
                        continue;
                    }
                    record(now.number + 1, PAIR)
                }
                _ => record(now.number + 1, Mode::Sole(RaftId(me))),
            };
            match register.swap(&files, Some(&now), &to).await {
                Ok(Swapped::Done) if to.mode != PAIR => println!("won {}", to.number),
                Ok(_) | Err(RegisterFailure::Unclear) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
}

fn contend(device: &Path, id: u64, heir: bool) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "contender", "--nocapture"]).env("VOTING_DEVICE", device);
    if heir {
        command.env("VOTING_HEIR", "yes");
    }
    command.env("VOTING_ID", id.to_string()).stdout(Stdio::piped()).spawn().unwrap()
}

/// The numbers that a process says it won, until it ends or has won so many.
fn wins(child: &mut Child, most: usize) -> Vec<u64> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    lines.filter_map(|line| line.split("won ").nth(1)?.trim().parse().ok()).take(most).collect()
}

#[test]
fn r14_two_processes_on_one_device_never_win_the_same_number() {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let Some(device) = Loop::over(&folder.path().join("disk")) else {
        eprintln!("skipped, because this machine gives no loop device");
        return;
    };
    println!("on {}: {:?}", device.0.display(), examine(&device.0).unwrap());
    let owner = Owner { lineage: lineage(), cluster: "shared".into() };
    create(&device.0, &owner, WallTime(1), Overwrite::Blank).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let founder = Files::new(lineage(), slot_of(1), Duration::from_secs(20));
    let first = record(1, PAIR);
    let made = founder.swap(std::slice::from_ref(&device.0), None, &first);
    assert_eq!(runtime.block_on(made).unwrap(), Swapped::Done);
    drop(founder);

    let (mut one, mut two) = (contend(&device.0, 1, true), contend(&device.0, 2, false));
    let second = wins(&mut two, 3);
    two.kill().unwrap(); // in the middle of whatever it does
    two.wait().unwrap();
    let first = wins(&mut one, usize::MAX);
    assert!(one.wait().unwrap().success());
    println!("the first won {} numbers, the second {} before it was killed", first.len(), second.len());
    let mut winners: BTreeMap<u64, u64> = BTreeMap::new();
    for (who, numbers) in [(1, &first), (2, &second)] {
        for number in numbers {
            assert_eq!(winners.insert(*number, who), None, "{number} was won twice");
        }
    }
    assert!(!first.is_empty() && second.len() == 3);
    // And what the last one decided is what the next reader finds.
    let reader = Files::new(lineage(), slot_of(3), Duration::from_secs(20));
    let last = runtime.block_on(reader.read(std::slice::from_ref(&device.0))).unwrap().unwrap();
    assert!(last.number >= LAST, "{last}");
}
