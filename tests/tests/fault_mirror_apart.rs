//! Two copies of a disk that went apart by an operator's force: shown as diverged with what each side
//! has, down to the files, and nothing overwritten until somebody says whose is lost; that one is saved
//! as an image first. Besides, checks of the copies: stopped, finding a planted difference, mending it; and
//! a rebuild that rests, goes on and is ended.

#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
    process::Command,
    time::Duration,
};

use serde_json::Value;
use tasuki_tests::hosts::{
    NAMES, await_some, await_true,
    mirrored::{DISK, Mirrored},
    witness::Witness,
};

/// Longer than a loaded machine keeps a beat back: nothing here is about times.
const DETECT: Duration = Duration::from_secs(4);
const MEBIBYTES: u32 = 48;
/// Near the end of the disk, where its small file system has no data.
const PLANTED: u64 = 46 << 20;

/// Errors have many lines: shown as they are.
fn done<T>(outcome: io::Result<T>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

/// A pair whose copies are brought up to date only when somebody says so.
fn on_a_pair(keys: &str, mebibytes: u32, story: impl FnOnce(&Mirrored, usize)) {
    if let Some(why) = Mirrored::impossible() {
        println!("skipped, because {why}");
        return;
    }
    let ledger = env!("CARGO_BIN_EXE_ledger");
    let keys = format!("automatic = false\n{keys}");
    let service = |mount: &Path| Ok(format!("{ledger} {}", mount.join("ledger").display()));
    let stage = done(Mirrored::form_with(DETECT, mebibytes, &keys, |_| Ok(()), service));
    let _witness = Witness::join(&stage.cluster).unwrap();
    let active = done(stage.active());
    let (ok, text) = done(stage.said(active, &["mirror", "rebuild", DISK]));
    assert!(ok, "the first copy waits for a word too: {text}");
    done(stage.await_whole());
    story(&stage, active);
}

#[test]
fn t2_c19_copies_that_went_apart_are_shown_and_the_loser_is_saved_before_it_is_overwritten() {
    on_a_pair("", 24, |stage, _| go_apart(stage));
}

#[test]
#[ignore = "a minute of slow checks and rebuilds: just mirror-apart"]
fn c19_checks_find_and_mend_and_rebuilds_rest_and_end() {
    on_a_pair("resync = { floor = \"8 MiB\", ceiling = \"8 MiB\" }", MEBIBYTES, |stage, active| {
        verify(stage, active, 1 - active);
        rest_and_stop(stage, active, 1 - active);
    });
}

/// A check that is stopped, one that finds what was planted, and one that mends it.
fn verify(stage: &Mirrored, active: usize, other: usize) {
    let say = |words: &[&str]| done(stage.said(active, &[&["mirror"], words].concat()));
    let (ok, text) = say(&["stop", DISK]);
    assert!(!ok && text.contains("TSK-1863"), "nothing is under way: {text}");
    assert!(say(&["verify", DISK, "--no-wait"]).0);
    let far = |disk: &Value| {
        let done = &disk["copies"][other]["progress"]["done"];
        done.as_u64().is_some_and(|done| done > 0)
    };
    done(stage.await_disk("progress of the check", far));
    let (ok, text) = say(&["stop", DISK]);
    assert!(ok, "{text}");
    let stopped = |disk: &Value| {
        let verified = &disk["copies"][active]["here"]["verified"];
        verified["problem"].as_str().is_some_and(|problem| problem.contains("stopped"))
    };
    done(stage.await_disk("the end of the check", stopped));

    let area = File::options().read(true).write(true).open(stage.place(other, "data")).unwrap();
    area.write_all_at(&[0x5a; 8192], PLANTED).unwrap();
    let (ok, text) = say(&["verify", DISK]);
    assert!(!ok && text.contains("8.0 KiB differ, in 1 places"), "{text}");
    let (_, text) = say(&["verify", DISK, "--repair"]);
    assert!(text.contains("8.0 KiB differ"), "{text}");
    println!("verify --repair: {text}");
    let mut there = [1; 8192];
    done(stage.told(await_true("what was mended", || {
        area.read_exact_at(&mut there, PLANTED)?;
        Ok(there == [0; 8192])
    })));
    done(stage.await_good(2));
    let (ok, text) = say(&["verify", DISK]);
    assert!(ok && text.contains("no difference"), "what was planted is gone: {text}");
}

/// A rebuild that rests, goes on, and is ended.
fn rest_and_stop(stage: &Mirrored, active: usize, other: usize) {
    let say = |words: &[&str]| done(stage.said(active, &[&["mirror"], words].concat()));
    let link = |wanted: &'static str| move |disk: &Value| disk["copies"][other]["link"] == wanted;
    assert!(say(&["rebuild", DISK, "--full", "--no-wait"]).0);
    done(stage.await_disk("a rebuild", link("sync_target")));
    assert!(say(&["pause", DISK]).0);
    done(stage.await_disk("a rebuild that rests", link("paused")));
    let progress = || done(stage.disk())["copies"][other]["progress"]["done"].clone();
    let rests_at = done(await_some("a progress that stays", || {
        let before = progress();
        std::thread::sleep(Duration::from_millis(200));
        Ok((before == progress()).then_some(before))
    }));
    println!("it rests at {rests_at} bytes");
    assert!(say(&["resume", DISK]).0);
    done(stage.await_disk("a rebuild that goes on", link("sync_target")));
    assert!(say(&["stop", DISK]).0);
    done(stage.await_disk("the end of the rebuild", |disk| disk["copies"][other]["progress"].is_null()));
    let lacks = done(stage.disk())["copies"][other]["dirty"].as_u64();
    assert!(lacks.is_some_and(|lacks| lacks > 0), "what it did not copy is remembered: {lacks:?}");
    let (ok, text) = say(&["rebuild", DISK]);
    assert!(ok, "{text}");
    done(stage.await_whole());
}

fn go_apart(stage: &Mirrored) {
    let (kiki, lala) = (done(stage.active()), 1 - done(stage.active()));
    let (loser, winner) = (NAMES[kiki], NAMES[lala]);
    // The other copy is out, and stays out: only one side has what is written now.
    done(stage.cluster.power_off(lala));
    done(stage.await_good(1));
    done(stage.on_disk(kiki, "mkdir sub; echo \"kiki's\" >sub/only-kiki; sync -f ."));
    done(stage.cluster.power_on(lala));
    done(stage.told(stage.cluster.await_servers()));
    done(stage.cluster.power_off(kiki));
    let force = |words: &[&str]| {
        let all = [&["mirror", "force", DISK, "--server", winner], words].concat();
        done(stage.said(lala, &all))
    };
    done(stage.told(await_true("a quorum", || Ok(force(&[]).1.contains("TSK-1816")))));
    // The registry has the lost server as the owner until it counts as lost.
    let forced = || Ok(force(&["--confirm", "may lose data"]).0);
    done(stage.told(await_true("an operator's word", forced)));
    done(stage.told(await_true("the group where it was forced", || Ok(done(stage.active()) == lala))));
    is_recorded(stage, lala, winner, loser);
    let there = done(stage.on_disk(lala, "ls; echo \"lala's\" >only-lala; sync -f ."));
    assert!(!there.contains("sub"), "it is the older copy: {there}");
    done(stage.cluster.power_on(kiki));
    let apart = |disk: &Value| disk["copies"][kiki]["link"] == "diverged";
    done(stage.await_disk("copies that went apart", apart));
    done(stage.told(stage.cluster.await_servers()));

    let (_, status) = done(stage.said(lala, &["mirror", "status"]));
    let names = [format!("--discard {loser}"), "TSK-1805".to_owned(), "Diverged".to_owned()];
    assert!(names.iter().all(|text| status.contains(text)), "{status}");
    let (ok, found) = done(stage.said(lala, &["mirror", "differences", DISK]));
    println!("{status}\n{found}");
    let parts = found.split(&format!("{winner} has")).collect::<Vec<_>>();
    assert!(ok && parts.len() == 2, "{found}");
    let (of_loser, of_winner) =
        if found.starts_with(winner) { (parts[1], parts[1]) } else { (parts[0], parts[1]) };
    assert!(of_loser.contains("/sub/only-kiki"), "{found}");
    assert!(of_winner.contains("/only-lala"), "{found}");
    let (ok, refused) = done(stage.said(lala, &["mirror", "rebuild", DISK]));
    assert!(!ok && refused.contains("TSK-1805") && refused.contains("--discard"), "{refused}");

    let (ok, text) = done(stage.said(lala, &["mirror", "rebuild", DISK, "--discard", loser]));
    assert!(ok, "{text}");
    done(stage.await_whole());
    let there = done(stage.on_disk(lala, "cat only-lala; ls"));
    assert!(there.contains("lala's") && !there.contains("sub"), "{there}");
    let image = saved(stage, kiki);
    assert_eq!(file_in(&image, "/sub/only-kiki"), "kiki's\n", "the loser's file system can be used");
    println!("the loser's file was read from {}", image.display());
    // And the copy that was overwritten is one to go on from.
    done(stage.told(stage.cluster.move_to(kiki)));
    assert_eq!(done(stage.on_disk(kiki, "cat only-lala")), "lala's\n");
}

/// Who said so is kept, and which copies were good then: in the history, and with the disk.
fn is_recorded(stage: &Mirrored, on: usize, winner: &str, loser: &str) {
    let (ok, history) = done(stage.said(on, &["history", DISK]));
    let words = format!("the copy on {winner} is the good one by an operator's word");
    assert!(ok && history.contains(&words), "{history}");
    let (ok, detail) = done(stage.said(on, &["mirror", "detail", DISK]));
    let forced = detail.lines().find(|line| line.starts_with("forced"));
    let forced = forced.unwrap_or_else(|| panic!("{detail}"));
    assert!(ok && forced.contains(&format!("from the copy on {winner} at ")), "{forced}");
    assert!(forced.ends_with(&format!("instead of {loser}")), "{forced}");
    println!("{forced}\n{history}");
}

/// A copy of the image that the loser saved.
fn saved(stage: &Mirrored, server: usize) -> std::path::PathBuf {
    let folder = stage.cluster.data(server).join("saved");
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let images: Vec<_> = names.iter().filter(|path| path.extension().is_some_and(|it| it == "img")).collect();
    assert_eq!((images.len(), names.len()), (1, 2), "an image and its page: {names:?}");
    let copy = stage.areas.path().join("restored.img");
    fs::copy(images[0], &copy).unwrap();
    copy
}

/// A file of an ext4 image, whose journal is played back first.
fn file_in(image: &Path, file: &str) -> String {
    // It says 1 when it mended something, as playing back a journal is.
    Command::new("e2fsck").arg("-fy").arg(image).output().unwrap();
    let read = Command::new("debugfs").args(["-R", &format!("cat {file}")]).arg(image).output().unwrap();
    String::from_utf8(read.stdout).unwrap()
}
