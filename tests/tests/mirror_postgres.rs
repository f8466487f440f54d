//! PostgreSQL on ext4 on a mirrored disk, under pgbench: several clients outside, which write down every
//! transaction whose commit they were told of. The active server loses its power at a random moment,
//! again and again. Each time the other one's file system has only its journal to play back, the database
//! starts without a complaint, and every transaction that was written down is there, with balances that
//! agree. In the end both copies are compared, and every page of the database on each is checked.
//!
//! A server here is a machine of namespaces: its power loss ends all its processes at once, and the
//! host's page cache survives it. What a disk itself loses is proved elsewhere (`vm_power.rs`, with real
//! devices, and `node/volume/tests/path_walks.rs`).
//!
//! `TASUKI_KILLS` says how often (3 by default; `just mirror-postgres` does 30), `TASUKI_SEED` when and
//! what, `TASUKI_DETECT` is the knob in milliseconds. Times are printed, never asserted.

#![allow(clippy::unwrap_used)]

use std::{
    env, fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime},
};

use tasuki_tests::hosts::{
    GROUP, NAMES, await_some,
    mirrored::{DISK, Mirrored},
    pgbench::{Bench, succeeded},
    witness::Witness,
};

/// So many commits show that the database works.
const SOME: usize = 30;
const LIMIT: Duration = Duration::from_secs(180);
/// The power goes within this time after both copies are good, in milliseconds.
const WITHIN: u64 = 3000;

/// The folder of the server's programs.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path().join("bin"));
    versions.filter(|bin| bin.join("initdb").is_file()).max()
}

fn impossible() -> Option<String> {
    let no_postgres = || programs().is_none().then(|| "PostgreSQL is not installed".to_owned());
    let lacks = |program: &&str| {
        let found = Command::new(program).arg("-V").output().is_ok();
        (!found).then(|| format!("{program} is missing"))
    };
    let all = || ["psql", "pgbench"].iter().find_map(lacks);
    Mirrored::impossible().or_else(no_postgres).or_else(all)
}

/// Makes the database at the very first start, and runs it in the foreground. Each start writes a log of
/// its own, outside of all machines.
fn script(folder: &Path, bin: &Path) -> io::Result<PathBuf> {
    let path = folder.join("postgres.sh");
    fs::create_dir(folder.join("starts"))?;
    let text = format!(
        r#"#!/bin/sh
set -e
bin={bin}
data=$1/pg
as="setpriv --reuid=postgres --regid=postgres --init-groups --"
if [ ! -e "$data/made" ]; then
    rm -rf "$data"
    mkdir "$data"
    chown postgres: "$data"
    $as "$bin/initdb" -D "$data" -A trust -U postgres --data-checksums >/dev/null
    echo "host all all 0.0.0.0/0 trust" >>"$data/pg_hba.conf"
    cat >>"$data/postgresql.conf" <<END
listen_addresses = '*'
unix_socket_directories = ''
shared_buffers = 16MB
# Checkpoints under way, and old logs written over, are what is to be met often.
checkpoint_timeout = 30s
min_wal_size = 32MB
max_wal_size = 48MB
END
    touch "$data/made"
    sync -f "$data"
fi
# It is of a process on another machine, or of another boot: the cluster sees to it that this is the only one.
rm -f "$data/postmaster.pid"
cd /
exec $as "$bin/postgres" -D "$data" 2>"{folder}/starts/$(date +%s.%N)"
"#,
        bin = bin.display(),
        folder = folder.display(),
    );
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// What the database wrote at each start, the first one first.
fn starts(folder: &Path) -> Vec<String> {
    let all = fs::read_dir(folder.join("starts")).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> = all.collect();
    all.sort();
    all.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// After a crash it has played back its log and is ready; it has complained of nothing.
fn is_clean(start: &str) {
    let said = |words: &str| start.contains(words);
    assert!(said("automatic recovery in progress") && said("is ready to accept connections"), "{start}");
    for line in start.lines() {
        // What clients are told that come too early, or go.
        let refuses = line.contains("FATAL:")
            && ["the database system is", "client"].iter().any(|it| line.contains(it));
        let bad = [
            "PANIC:",
            "FATAL:",
            "ERROR:",
            "corrupt",
            "invalid page",
            "verification failed",
            "could not read",
        ];
        assert!(refuses || !bad.iter().any(|word| line.contains(word)), "{line}\n{start}");
    }
}

/// What the file system's check said on a server after its log was so long: a journal that was played
/// back, files that were open when they were deleted, and nothing else.
fn file_system(stage: &Mirrored, server: usize, before: usize) -> String {
    let log = fs::read(stage.cluster.log(server)).unwrap();
    let log = String::from_utf8_lossy(&log[before.min(log.len())..]).into_owned();
    let line = log.lines().rev().find(|line| line.contains("fsck.ext4")).map(str::to_owned);
    let line = line.unwrap_or_else(|| panic!("no check of the file system:\n{log}"));
    let (_, said) = line.split_once("said=").unwrap_or_else(|| panic!("{line}"));
    let usual = ["recovering journal", "clean", "orphaned inode", "Setting free"];
    for part in said.trim_matches('"').split("; ") {
        assert!(usual.iter().any(|words| part.contains(words)), "{part:?} of {line}");
    }
    said.to_owned()
}

/// Draws the same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) % limit
    }
}

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |text| text.parse().unwrap())
}

fn done<T>(outcome: io::Result<T>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_commit_that_was_seen_survives_the_loss_of_the_active_server() {
    if let Some(why) = impossible() {
        println!("skipped, because {why}");
        return;
    }
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let seed = number("TASUKI_SEED", clock());
    println!("TASUKI_SEED={seed}");
    let mut dice = Dice(seed);
    let detect = Duration::from_millis(number("TASUKI_DETECT", 2000));
    let tools = tempfile::Builder::new().prefix("tasuki-postgres-").tempdir().unwrap();
    // The database has a user of its own.
    fs::set_permissions(tools.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let bin = programs().unwrap();
    let start = script(tools.path(), &bin).unwrap();
    let command = |mount: &Path| Ok(format!("{} {}", start.display(), mount.display()));
    let stage = done(Mirrored::form(detect, 256, command));
    let _witness = Witness::join(&stage.cluster).unwrap();
    done(stage.await_whole());
    let lab = stage.cluster.lab();
    let address = stage.cluster.address().to_string();
    let mut bench = done(await_ready(&stage, || Bench::start(lab.clone(), &address, tools.path(), seed)));
    let (began, mut outages) = (Instant::now(), Vec::new());
    for kill in 1..=number("TASUKI_KILLS", 3) {
        done(stage.told(bench.wait_for(SOME, LIMIT)));
        thread::sleep(Duration::from_millis(dice.below(WITHIN)));
        let lost = done(stage.active());
        let (other, known) = (1 - lost, starts(tools.path()).len());
        let log = fs::metadata(stage.cluster.log(other)).unwrap().len();
        stage.cluster.power_off(lost).unwrap();
        let outage = done(stage.told(bench.wait_for(SOME, LIMIT)));
        outages.push(outage);
        // One that was cut off itself, as a loaded machine may end a node, says nothing.
        let since = starts(tools.path()).split_off(known);
        is_clean(since.last().unwrap());
        let checked = file_system(&stage, other, usize::try_from(log).unwrap());
        let found = done(await_ready(&stage, || bench.look()));
        println!(
            "kill {kill}: {} lost its power, {:.0} ms without a commit, {} starts; {} acknowledged, {} missing; \
             {checked}",
            NAMES[lost],
            outage.as_secs_f64() * 1e3,
            since.len(),
            found.acknowledged,
            found.missing.len(),
        );
        assert!(found.missing.is_empty() && found.balanced, "{:?}, {}", found.missing, found.balanced);
        stage.cluster.power_on(lost).unwrap();
        done(stage.await_whole());
    }
    let took = began.elapsed();
    done(bench.end());
    let all = bench.acknowledged().unwrap().len();
    outages.sort();
    println!(
        "{all} transactions in {:.0} s over {} kills, none lost; without a commit: median {:?}, longest {:?}",
        took.as_secs_f64(),
        outages.len(),
        outages[outages.len() / 2],
        outages[outages.len() - 1],
    );
    let whole =
        bench.program(bin.join("pg_amcheck"), &["--install-missing", "--heapallindexed"]).output().unwrap();
    done(succeeded("pg_amcheck", &whole));
    both_copies(&stage, &bin);
}

/// Tries again what a database that has just begun, or has just been lost, refuses.
fn await_ready<T>(stage: &Mirrored, mut what: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let (began, mut said) = (Instant::now(), None);
    let tried = await_some("an answer of the database", || match what() {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if began.elapsed() > LIMIT => Err(error),
        Err(error) => {
            said = Some(error);
            Ok(None)
        }
    });
    stage.told(tried.map_err(|error| io::Error::other(format!("{error}: {said:?}"))))
}

/// The copies are equal; once the group has stopped, the file system of each has no fault, and no page of
/// the database has a wrong checksum.
fn both_copies(stage: &Mirrored, bin: &Path) {
    let active = done(stage.active());
    let (ok, text) = done(stage.said(active, &["mirror", "verify", DISK]));
    assert!(ok && text.contains("no difference"), "{text}");
    let (ok, text) = done(stage.said(active, &["group", "stop", GROUP]));
    assert!(ok, "{text}");
    let closed =
        |disk: &serde_json::Value| (0..2).all(|at| disk["copies"][at]["here"]["role"] == "secondary");
    done(stage.await_disk("a disk that is not open", closed));
    for (server, name) in NAMES.iter().enumerate().take(2) {
        let image = stage.areas.path().join("image");
        fs::copy(stage.place(server, "data"), &image).unwrap();
        let checked = Command::new("e2fsck").arg("-fn").arg(&image).output().unwrap();
        done(succeeded("e2fsck", &checked));
        let pages = pages(&stage.areas.path().join("copy"), &image, bin);
        println!("{name}: {}", pages.replace('\n', "; "));
        assert!(pages.contains("Bad checksums:  0"), "{pages}");
    }
}

/// What `pg_checksums` says of the database in an image.
fn pages(folder: &Path, image: &Path, bin: &Path) -> String {
    fs::create_dir_all(folder).unwrap();
    // Mounted in a namespace of its own: it ends with it.
    let inside = r#"mount -o ro,loop "$0" "$1" && "$2" --check -D "$1/pg"; code=$?; umount "$1"; exit $code"#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", inside]);
    let said = command.args([image, folder, &bin.join("pg_checksums")]).output().unwrap();
    done(succeeded("pg_checksums", &said));
    String::from_utf8_lossy(&said.stdout).into_owned()
}
