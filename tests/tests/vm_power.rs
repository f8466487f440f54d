//! The power goes under two copies of a volume on a real kernel's block devices, while they are written
//! through the real data path: amid writes, a resync, a region's leaving a full activity log, the writing of a
//! map. What was flushed is on both, and where they differ the activity log or a dirty map says so (R29,
//! R32); after a resync they are equal (R30). Each copy on a machine of its own: `vm_mirror.rs`.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use tasuki_tests::vm::{Ended, Kit, Machine, Seen};

#[path = "vm_common/pair.rs"]
mod pair;

/// Almost twice round all regions: from the middle on one has to leave the log for most writes.
const RECORDED_WRITES: u64 = 2200;

/// The program that writes, and that looks at what is left. `None`: skipped, and said so.
fn parts() -> Option<&'static (Kit, PathBuf, PathBuf)> {
    static PARTS: OnceLock<Result<(Kit, PathBuf, PathBuf), String>> = OnceLock::new();
    let make = || {
        let dmsetup = ["/usr/sbin/dmsetup", "/sbin/dmsetup", "/usr/bin/dmsetup"].map(PathBuf::from);
        let dmsetup = dmsetup.into_iter().find(|path| path.exists()).ok_or("dmsetup is missing")?;
        let kit = Kit::new(Path::new(env!("CARGO_TARGET_TMPDIR")))?;
        Ok((kit, pair::program(), dmsetup))
    };
    match PARTS.get_or_init(make) {
        Ok(parts) => Some(parts),
        Err(why) => {
            eprintln!("skipped, because {why}");
            None
        }
    }
}

/// As many machines as there are threads for tests: nothing here is timed.
fn run(disks: &[&Path], rule: &str, seed: u64, writes: u64, cut: Option<(&str, usize)>) -> Option<Seen> {
    let (kit, pair, dmsetup) = parts()?;
    let machine = Machine {
        scenario: "power".to_owned(),
        programs: vec![pair.clone(), dmsetup.clone()],
        files: vec![("words".to_owned(), format!("{seed} {writes} {rule}"))],
        disks: disks.iter().map(|disk| (*disk).to_owned()).collect(),
        cut: cut.map(|(mark, count)| (mark.to_owned(), count)),
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

/// Resets a machine at the line of its console that begins so and is this many of its kind; what was on the
/// console, and what the copies say of themselves.
fn reset(seed: u64, at: &str, count: usize) -> Option<(Seen, String)> {
    let (_, pair, _) = parts()?;
    let work = tempfile::tempdir().unwrap();
    let disk = work.path().join("disk");
    sparse(&disk, size(pair));
    let seen = run(&[&disk], "all", seed, u64::MAX, Some((at, count))).unwrap();
    assert_eq!(seen.ended, Ended::Cut, "{}", seen.console());
    let flushed = last(&seen, "MARK flushed ").map_or(0, |(_, rest)| rest.parse::<u64>().unwrap());
    let said = check(&["check", disk.to_str().unwrap(), &seed.to_string(), &flushed.to_string()]).unwrap();
    println!("reset at {at:?}, after {flushed} flushed writes: {said}");
    Some((seen, said))
}

/// The last line that begins so: which it is, and the rest of it.
fn last<'a>(seen: &'a Seen, begin: &str) -> Option<(usize, &'a str)> {
    let lines = seen.lines.iter().enumerate();
    lines.filter_map(|(at, (_, line))| Some((at, line.strip_prefix(begin)?))).next_back()
}

/// How many regions the log of the first copy names.
fn regions(said: &str) -> u64 {
    let (_, rest) = said.split_once("the log names ").unwrap();
    rest.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn r29_r30_what_was_flushed_survives_a_reset_amid_a_resync_beside_writes() {
    let Some((seen, said)) = reset(1, "MARK amid", 2) else { return };
    let [resync, back, flushed] =
        ["MARK resync", "MARK back", "MARK flushed"].map(|mark| last(&seen, mark).map(|(at, _)| at));
    assert!(flushed.is_some() && resync > back, "{}", seen.console());
    println!("{said}");
}

#[test]
#[ignore = "one more machine: just vm-mirror"]
fn r29_r32_what_was_flushed_survives_a_reset_while_regions_leave_a_full_activity_log() {
    let Some((seen, said)) = reset(2, "MARK evicted", 3) else { return };
    assert!(last(&seen, "MARK round").is_some(), "{}", seen.console());
    assert!(regions(&said) > 900, "{said}");
}

#[test]
fn r29_what_was_flushed_survives_a_reset_while_a_map_is_written_because_the_log_is_full() {
    let Some((seen, said)) = reset(0, "MARK map full", 2) else { return };
    assert!(last(&seen, "MARK out") > last(&seen, "MARK back"), "{}", seen.console());
    // Before that the log went round its ring, and regions left it.
    assert!(last(&seen, "MARK round").is_some(), "{}", seen.console());
    assert!(last(&seen, "MARK evicted").is_some(), "{}", seen.console());
    assert!(regions(&said) > 900, "{said}");
}

/// At any moment, and again and again.
#[test]
#[ignore = "a dozen machines: just vm-mirror"]
fn r29_r32_what_was_flushed_survives_a_reset_at_any_moment_and_what_differs_is_named() {
    for seed in 10..14 {
        let few = usize::try_from(seed).unwrap() - 8;
        for (at, count) in
            [("MARK flushed", 30 * few), ("MARK amid", few), ("MARK evicted", few), ("MARK map full", few)]
        {
            if reset(seed, at, count).is_none() {
                return;
            }
        }
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

/// What the replay says was met so often.
fn met(said: &str, what: &str) -> u64 {
    let (before, _) = said.split_once(what).unwrap_or_else(|| panic!("no {what:?} in {said}"));
    before.trim_end().rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn r29_r32_what_was_flushed_survives_torn_and_reordered_writes_and_what_differs_is_named() {
    let Some(said) = replay("all", RECORDED_WRITES) else { return };
    let said = said.unwrap();
    println!("{said}");
    for what in [
        "with the second copy out",
        "amid a resync",
        "amid an eviction",
        "amid a map page beside a full log",
        "blocks differed",
        "resyncs",
    ] {
        assert!(met(&said, what) > 0, "{what}: {said}");
    }
    assert!(met(&said, "log blocks") > 64, "the log did not go round its ring: {said}");
}

/// Planted faults: the check above must notice them.
fn is_noticed(rule: &str) {
    match replay(rule, 300) {
        Some(Err(why)) => println!("without {rule}: {why}"),
        Some(Ok(said)) => panic!("{rule} was taken out, and nothing noticed: {said}"),
        None => {}
    }
}

#[test]
fn r29_a_write_before_its_log_is_noticed_on_a_real_disk() {
    is_noticed("R29NoLog");
}

#[test]
#[ignore = "one more machine: just vm-mirror"]
fn r32_a_flush_of_one_copy_is_noticed_on_a_real_disk() {
    is_noticed("R32OwnOnly");
}
