//! Two virtual machines on one cable, each with one copy of a volume, of which one loses its power while the
//! other goes on: the secondary's amid writes and amid a resync, the primary's amid writes and amid a resync.
//! Whoever looks from outside records what the primary's console says was answered and flushed, and stands for
//! the registry. What was answered is with the survivor, what was flushed with whoever lost its power (R29,
//! R32), and after the resync both copies are equal (R30).

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tasuki_tests::vm::{Kit, Live, Machine, Packed};
use tempfile::TempDir;

#[path = "vm_common/pair.rs"]
mod pair;

/// One that stays in a few regions.
const SEED: u64 = 1003;
/// Between the writes of one opening and those of the next.
const APART: u64 = 10_000;
/// The first machine is kiki's, the second lala's.
const NAMES: [&str; 2] = ["kiki", "lala"];

/// The machines, their disks, and the program.
struct Bench {
    kit: Kit,
    program: PathBuf,
    folder: TempDir,
    packed: [Packed; 2],
}

impl Bench {
    /// `patience`: after so many seconds a peer that does not answer is let go; zero: never. `rate`: of a
    /// resync, in bytes a second. `None`: skipped, and said so.
    fn new(patience: u64, rate: u64) -> Option<Self> {
        let kit = match Kit::new(Path::new(env!("CARGO_TARGET_TMPDIR"))) {
            Ok(kit) => kit,
            Err(why) => {
                eprintln!("skipped, because {why}");
                return None;
            }
        };
        let program = pair::program();
        let folder = tempfile::tempdir().unwrap();
        let sizes = said(&program, &["sizes"]).unwrap();
        let sizes: Vec<u64> = sizes.split(' ').map(|size| size.parse().unwrap()).collect();
        for number in [0, 1] {
            for (disk, size) in disks(&folder, number).iter().zip(&sizes) {
                fs::File::create(disk).unwrap().set_len(*size).unwrap();
            }
        }
        let packed = [0, 1].map(|number| pack(&kit, &program, &folder, number, patience, rate));
        Some(Self { kit, program, folder, packed })
    }

    /// From its next boot on this one copies as fast as it can.
    fn quick(&mut self, number: usize) {
        self.packed[number] = pack(&self.kit, &self.program, &self.folder, number, 3, 1 << 30);
    }

    /// Boots one.
    fn boot(&self, number: usize) -> Live {
        let live = self.packed[number].boot(NAMES[number]).unwrap();
        live.until(0, "MARK up", 1).unwrap();
        live
    }

    /// How a copy is, by its own record.
    fn state(&self, number: usize) -> String {
        let meta = area(&self.folder, "meta", number);
        said(&self.program, &["state", meta.to_str().unwrap(), NAMES[number]]).unwrap()
    }

    /// Ends the writes of this one; then the power of both is taken. Both copies are whole and equal, and have
    /// all of these writes, and those of its opening.
    fn both_have(&self, mut primary: Live, other: Live, before: &[(u64, u64)], from: u64) {
        primary.order("stop").unwrap();
        let (_, last) = primary.until(0, "MARK stopped", 1).unwrap();
        drop((primary, other));
        let spans = before.iter().copied().chain([(from, last.parse().unwrap())]);
        let mut words = vec!["compare".to_owned(), SEED.to_string()];
        for number in [0, 1] {
            words.extend(disks(&self.folder, number).map(|disk| disk.to_str().unwrap().to_owned()));
        }
        words.extend(spans.flat_map(|(first, last)| [first.to_string(), last.to_string()]));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        println!("{}", said(&self.program, &words).unwrap());
    }
}

fn disks(folder: &TempDir, number: usize) -> [PathBuf; 2] {
    ["meta", "data"].map(|name| area(folder, name, number))
}

fn pack(kit: &Kit, program: &Path, folder: &TempDir, number: usize, patience: u64, rate: u64) -> Packed {
    let machine = Machine {
        scenario: "mirror".to_owned(),
        programs: vec![program.to_owned()],
        files: vec![("words".to_owned(), format!("{patience} {rate}"))],
        disks: disks(folder, number).to_vec(),
        cut: None,
    };
    kit.packed(&machine, number, folder.path()).unwrap()
}

fn area(folder: &TempDir, name: &str, number: usize) -> PathBuf {
    folder.path().join(format!("{name}-{number}"))
}

/// What the program says, or what it finds wrong.
fn said(program: &Path, words: &[&str]) -> Result<String, String> {
    let done = Command::new(program).args(words).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
}

/// The number behind the last line that begins so.
fn last(lines: &[String], begin: &str) -> u64 {
    lines.iter().rev().find_map(|line| line.strip_prefix(begin)?.trim().parse().ok()).unwrap()
}

/// Both are up, and the first one writes; the number of a line from where on it does.
fn begun(bench: &Bench) -> (Live, Live) {
    let lala = bench.boot(1);
    let mut kiki = bench.boot(0);
    kiki.order(&format!("open 1 1 {SEED} both")).unwrap();
    kiki.until(0, "MARK flushed", 8).unwrap();
    (kiki, lala)
}

/// Takes the power of the other one; the number of a line from where on this one writes without it.
fn left_alone(kiki: &Live, lala: Live) -> usize {
    let (cut, _) = kiki.until(0, "MARK flushed", 8).unwrap();
    drop(lala);
    // On a busy machine it may have been out before, for being slow: what counts is that writes go on.
    let (out, _) = kiki.until(0, "MARK out", 1).unwrap();
    let (alone, _) = kiki.until(out.max(cut), "MARK flushed", 20).unwrap();
    alone
}

#[test]
fn r29_r30_a_secondary_that_loses_its_power_amid_writes_and_amid_a_resync_has_all_in_the_end() {
    // So slow that it is still under way when its line was read.
    let Some(bench) = Bench::new(5, 384 * 1024) else { return };
    let (kiki, lala) = begun(&bench);
    let alone = left_alone(&kiki, lala);
    let lala = bench.boot(1);
    let (resync, _) = kiki.until(alone, "MARK resync", 1).unwrap();
    let (beside, _) = kiki.until(resync, "MARK amid", 1).unwrap();
    drop(lala);
    assert_eq!(bench.state(1), "Inconsistent", "it was not cut amid a resync");
    kiki.until(beside, "MARK flushed", 4).unwrap();
    let lala = bench.boot(1);
    let (back, _) = kiki.until(beside, "MARK back", 1).unwrap();
    kiki.until(back, "MARK flushed", 2).unwrap();
    bench.both_have(kiki, lala, &[], 1);
}

/// The primary's power goes; the secondary has every write that was answered, and goes on; the old primary
/// comes back.
#[test]
fn r29_r30_what_a_primary_that_lost_its_power_answered_is_with_the_secondary_and_it_comes_back() {
    let Some(bench) = Bench::new(0, 1 << 30) else { return };
    let (kiki, mut lala) = begun(&bench);
    let console = kiki.cut();
    assert!(!console.iter().any(|line| line.starts_with("MARK out")), "{}", console.join("\n"));
    let answered = last(&console, "MARK answered ");
    let from = answered + APART;
    lala.order(&format!("open 2 {from} {SEED} alone {answered}")).unwrap();
    let (found, _) = lala.until(0, "MARK found", 1).unwrap();
    lala.until(found, "MARK flushed", 5).unwrap();
    let kiki = bench.boot(0);
    let (back, _) = lala.until(found, "MARK back", 1).unwrap();
    lala.until(back, "MARK flushed", 2).unwrap();
    println!("{answered} were answered before");
    bench.both_have(lala, kiki, &[(1, answered)], from);
}

/// The primary's power goes amid a resync: only its copy is good. It has all that was flushed, and brings the
/// other one up to date.
#[test]
#[ignore = "more of two machines: just vm-mirror"]
fn r29_r30_a_primary_that_loses_its_power_amid_a_resync_has_what_was_flushed_and_ends_the_resync() {
    let Some(mut bench) = Bench::new(5, 384 * 1024) else { return };
    let (kiki, lala) = begun(&bench);
    let alone = left_alone(&kiki, lala);
    let lala = bench.boot(1);
    let (resync, _) = kiki.until(alone, "MARK resync", 1).unwrap();
    kiki.until(resync, "MARK amid", 1).unwrap();
    let console = kiki.cut();
    let at = |begin: &str| console.iter().rposition(|line| line.starts_with(begin));
    assert!(at("MARK resync") > at("MARK back"), "{}", console.join("\n"));
    assert_eq!(bench.state(1), "Inconsistent", "it was not cut amid a resync");
    let flushed = last(&console, "MARK flushed ");
    let from = flushed + APART;
    bench.quick(0);
    let mut kiki = bench.boot(0);
    kiki.order(&format!("open 2 {from} {SEED} alone {flushed}")).unwrap();
    let (found, _) = kiki.until(0, "MARK found", 1).unwrap();
    let (back, _) = kiki.until(found, "MARK back", 1).unwrap();
    kiki.until(back, "MARK flushed", 2).unwrap();
    bench.both_have(kiki, lala, &[(1, flushed)], from);
}

/// Both lose their power amid writes, one after the other, and the one that was secondary is opened.
#[test]
#[ignore = "more of two machines: just vm-mirror"]
fn r29_r32_what_was_flushed_is_on_either_after_both_lost_their_power() {
    let Some(bench) = Bench::new(0, 1 << 30) else { return };
    let (kiki, lala) = begun(&bench);
    let console = kiki.cut();
    drop(lala);
    let flushed = last(&console, "MARK flushed ");
    let from = flushed + APART;
    let mut lala = bench.boot(1);
    lala.order(&format!("open 2 {from} {SEED} alone {flushed}")).unwrap();
    let (found, _) = lala.until(0, "MARK found", 1).unwrap();
    lala.until(found, "MARK flushed", 5).unwrap();
    let kiki = bench.boot(0);
    let (back, _) = lala.until(found, "MARK back", 1).unwrap();
    lala.until(back, "MARK flushed", 2).unwrap();
    bench.both_have(lala, kiki, &[(1, flushed)], from);
}
