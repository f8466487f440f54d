//! The power goes under two copies of a volume on a real kernel's block devices, while they are written
//! through the real data path. What was flushed is on both, and where they differ the activity log or a
//! dirty map says so (R29, R32); after a resync they are equal (R30).

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, OnceLock, PoisonError},
};

use tasuki_tests::vm::{Ended, Kit, Machine, Seen};

const RECORDED_WRITES: u64 = 1000;
const CUTS: usize = 3;

/// The program that writes, and that looks at what is left. `None`: skipped, and said so.
fn parts() -> Option<&'static (Kit, PathBuf, PathBuf)> {
    static PARTS: OnceLock<Result<(Kit, PathBuf, PathBuf), String>> = OnceLock::new();
    let make = || {
        let dmsetup = ["/usr/sbin/dmsetup", "/sbin/dmsetup", "/usr/bin/dmsetup"].map(PathBuf::from);
        let dmsetup = dmsetup.into_iter().find(|path| path.exists()).ok_or("dmsetup is missing")?;
        let kit = Kit::new(Path::new(env!("CARGO_TARGET_TMPDIR")))?;
        Ok((kit, pair(), dmsetup))
    };
    match PARTS.get_or_init(make) {
        Ok(parts) => Some(parts),
        Err(why) => {
            eprintln!("skipped, because {why}");
            None
        }
    }
}

fn pair() -> PathBuf {
    if let Some(given) = std::env::var_os("TASUKI_PAIR") {
        return given.into();
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--offline", "-p", "tasuki-volume", "--example", "pair"]);
    // target/debug/deps/NAME-HASH
    let exe = std::env::current_exe().unwrap();
    cargo.arg("--target-dir").arg(exe.ancestors().nth(3).unwrap());
    assert!(cargo.status().unwrap().success(), "the program of this test can be built");
    exe.ancestors().nth(3).unwrap().join("debug/examples/pair")
}

/// One machine at a time.
fn run(disks: &[&Path], rule: &str, seed: u64, writes: u64, cut: Option<usize>) -> Option<Seen> {
    static ONE: Mutex<()> = Mutex::new(());
    let (kit, pair, dmsetup) = parts()?;
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let machine = Machine {
        scenario: "power".to_owned(),
        programs: vec![pair.clone(), dmsetup.clone()],
        files: vec![("words".to_owned(), format!("{seed} {writes} {rule}"))],
        disks: disks.iter().map(|disk| (*disk).to_owned()).collect(),
        cut: cut.map(|count| ("MARK flushed".to_owned(), count)),
    };
    Some(kit.run_machine(&machine).unwrap())
}

fn sparse(path: &Path, size: u64) {
    fs::File::create(path).unwrap().set_len(size).unwrap();
}

/// The size of the disk that the program wants.
fn size(pair: &Path) -> u64 {
    let table = Command::new(pair).arg("table").output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    let last: Vec<u64> =
        table.lines().last().unwrap().split(' ').skip(1).map(|word| word.parse().unwrap()).collect();
    last.iter().sum::<u64>() * 512
}

/// What the program found: well or not.
fn check(words: &[&str]) -> Result<String, String> {
    let (_, pair, _) = parts().unwrap();
    let done = Command::new(pair).args(words).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).trim().replace('\n', "; ");
    let wrong = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    // A panic is no finding.
    assert!(done.status.code().is_some_and(|code| code < 2), "{words:?}: {said} {wrong}");
    if done.status.success() { Ok(said) } else { Err(wrong) }
}

#[test]
fn r29_r32_what_was_flushed_survives_a_reset_at_any_moment_and_what_differs_is_named() {
    let Some((_, pair, _)) = parts() else { return };
    for seed in 0..CUTS {
        let work = tempfile::tempdir().unwrap();
        let disk = work.path().join("disk");
        sparse(&disk, size(pair));
        let seen = run(&[&disk], "all", seed as u64, u64::MAX, Some(20 + 17 * seed)).unwrap();
        assert_eq!(seen.ended, Ended::Cut, "{}", seen.console());
        let flushed =
            seen.lines.iter().filter_map(|(_, line)| line.strip_prefix("MARK flushed ")).next_back();
        let said = check(&["check", disk.to_str().unwrap(), &seed.to_string(), flushed.unwrap()]).unwrap();
        println!("reset after {} flushed writes: {said}", flushed.unwrap());
    }
}

/// Every write and every flush of the disk is recorded; at each flush the power is taken, and of what was
/// not durable any sectors survive, in any order.
fn replay(rule: &str, writes: u64) -> Option<Result<String, String>> {
    let (_, pair, _) = parts()?;
    let work = tempfile::tempdir().unwrap();
    let (disk, log) = (work.path().join("disk"), work.path().join("log"));
    sparse(&disk, size(pair));
    sparse(&log, 2 << 30);
    let seen = run(&[&disk, &log], rule, 5, writes, None)?;
    assert_eq!(seen.ended, Ended::InOrder, "{}", seen.console());
    assert!(seen.mark("MARK written").is_some(), "{}", seen.console());
    Some(check(&["replay", log.to_str().unwrap(), "5"]))
}

#[test]
fn r29_r32_what_was_flushed_survives_torn_and_reordered_writes_and_what_differs_is_named() {
    if let Some(said) = replay("all", RECORDED_WRITES) {
        println!("{}", said.unwrap());
    }
}

/// Planted faults: the check above must notice them.
#[test]
fn r29_r32_a_rule_that_is_taken_out_is_noticed_on_a_real_disk() {
    for rule in ["R29NoLog", "R32OwnOnly"] {
        match replay(rule, 300) {
            Some(Err(why)) => println!("without {rule}: {why}"),
            Some(Ok(said)) => panic!("{rule} was taken out, and nothing noticed: {said}"),
            None => return,
        }
    }
}
