//! PostgreSQL on ext4 on a mirrored disk, under a client outside that remembers every commit it was told
//! of. The active server loses its power again and again: each time the other one starts the database,
//! and every remembered commit is there.
//!
//! `TASUKI_KILLS` says how often (3 by default; `just mirror-postgres` does 30), `TASUKI_DETECT` is the
//! knob in milliseconds. Times are printed, never asserted.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    env, fs, io,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tasuki_tests::{
    hosts::{mirrored::Mirrored, witness::Witness},
    network::Lab,
};

/// So many commits show that the database works.
const SOME: usize = 30;
const LIMIT: Duration = Duration::from_secs(180);

/// The folder of the server's programs.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path().join("bin"));
    versions.filter(|bin| bin.join("initdb").is_file()).max()
}

/// Makes the database at the very first start, and runs it in the foreground.
fn script(folder: &Path, bin: &Path) -> io::Result<PathBuf> {
    let path = folder.join("postgres.sh");
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
    $as "$bin/initdb" -D "$data" -A trust -U postgres >/dev/null
    echo "host all all 0.0.0.0/0 trust" >>"$data/pg_hba.conf"
    printf "listen_addresses = '*'\nunix_socket_directories = ''\nshared_buffers = 16MB\n" >>"$data/postgresql.conf"
    echo "create table ledger (n bigint primary key);" | $as "$bin/postgres" --single -D "$data" postgres >/dev/null
    touch "$data/made"
    sync -f "$data"
fi
# It is of a process on another machine, or of another boot: the cluster sees to it that this is the only one.
rm -f "$data/postmaster.pid"
cd /
exec $as "$bin/postgres" -D "$data"
"#,
        bin = bin.display()
    );
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// A client that commits one number after the other, and remembers those that it was told are committed.
struct Committer {
    told: Arc<Mutex<Vec<(Instant, u64)>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

fn psql(lab: &Lab, address: &str) -> Command {
    let mut command = lab.client().command("psql");
    command.args([
        "-X",
        "-q",
        "-A",
        "-t",
        "-v",
        "ON_ERROR_STOP=1",
        "-U",
        "postgres",
        "-h",
        address,
        "postgres",
    ]);
    command.env("PGCONNECT_TIMEOUT", "2");
    // A server without power says nothing: TCP gives it up soon.
    command.env("PGOPTIONS", "").env("PGTCPUSERTIMEOUT", "2000");
    command
}

impl Committer {
    fn start(lab: Arc<Lab>, address: String) -> Self {
        let told = Arc::new(Mutex::default());
        let stop = Arc::new(AtomicBool::new(false));
        let (kept, ended) = (told.clone(), stop.clone());
        let thread = thread::spawn(move || {
            let mut number = 0;
            while !ended.load(Ordering::Relaxed) {
                // What it ends with does not matter: what was told before is what counts.
                let _lost = session(&lab, &address, &mut number, &kept, &ended);
                thread::sleep(Duration::from_millis(50));
            }
        });
        Self { told, stop, thread: Some(thread) }
    }

    fn count(&self) -> usize {
        self.told.lock().unwrap().len()
    }

    fn wait_for(&self, more: usize) -> io::Result<()> {
        let (began, wanted) = (Instant::now(), self.count() + more);
        while self.count() < wanted {
            if began.elapsed() > LIMIT {
                return Err(io::Error::other(format!("no {more} more commits within {LIMIT:?}")));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn gap_since(&self, since: Instant) -> Duration {
        let all = self.told.lock().unwrap();
        let after = all.iter().map(|(at, _)| *at).filter(|at| *at >= since);
        let times: Vec<Instant> = std::iter::once(since).chain(after).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

/// One connection, until it breaks.
fn session(
    lab: &Lab,
    address: &str,
    number: &mut u64,
    told: &Mutex<Vec<(Instant, u64)>>,
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut client =
        psql(lab, address).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let (Some(mut input), Some(output)) = (client.stdin.take(), client.stdout.take()) else { return Ok(()) };
    // A connection to a machine without power never ends by itself: it is ended when nothing comes.
    let heard = Arc::new(Mutex::new(Instant::now()));
    let (watched, pid, over) = (heard.clone(), client.id(), Arc::new(AtomicBool::new(false)));
    let ended = over.clone();
    let watch = thread::spawn(move || {
        while !ended.load(Ordering::Relaxed) {
            if watched.lock().unwrap().elapsed() > Duration::from_secs(3) {
                end_with_children(pid);
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
    let mut lines = BufReader::new(output).lines();
    while !stop.load(Ordering::Relaxed) {
        *number += 1;
        if writeln!(input, "insert into ledger values ({number}) returning n;")
            .and_then(|()| input.flush())
            .is_err()
        {
            break;
        }
        match lines.next() {
            Some(Ok(line)) if line.trim().parse() == Ok(*number) => {
                let now = Instant::now();
                *heard.lock().unwrap() = now;
                told.lock().unwrap().push((now, *number));
            }
            _ => break,
        }
    }
    drop(input);
    over.store(true, Ordering::Relaxed);
    end_with_children(pid);
    client.wait()?;
    let _ended = watch.join();
    Ok(())
}

/// The door-keeper outside and the client inside.
fn end_with_children(pid: u32) {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let own = i32::try_from(pid).ok();
    for one in children.split_whitespace().filter_map(|word| word.parse().ok()).chain(own) {
        let _gone =
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(one), nix::sys::signal::Signal::SIGKILL);
    }
}

fn ask(lab: &Lab, address: &str, question: &str) -> io::Result<Output> {
    psql(lab, address).args(["-c", question]).stdin(Stdio::null()).output()
}

/// Every commit that the client was told of is there.
fn check(stage: &Mirrored, committer: &Committer, kill: u64) {
    let address = stage.cluster.address().to_string();
    let told: Vec<u64> = committer.told.lock().unwrap().iter().map(|(_, number)| *number).collect();
    let began = Instant::now();
    let there = loop {
        let answer = ask(stage.cluster.lab(), &address, "select n from ledger").unwrap();
        if answer.status.success() {
            break answer;
        }
        assert!(began.elapsed() < LIMIT, "{answer:?}\n{}", stage.cluster.last_words(40));
    };
    let there: BTreeSet<u64> =
        String::from_utf8(there.stdout).unwrap().lines().filter_map(|line| line.parse().ok()).collect();
    let missing: Vec<&u64> = told.iter().filter(|number| !there.contains(number)).collect();
    assert!(
        missing.is_empty(),
        "kill {kill}: {} of {} commits are missing: {missing:?}",
        missing.len(),
        told.len()
    );
    println!("kill {kill}: {} commits, none is missing", told.len());
}

#[test]
fn every_commit_that_was_seen_survives_the_loss_of_the_active_server() {
    let no_postgres = || programs().is_none().then(|| "PostgreSQL is not installed".to_owned());
    let no_client = || Command::new("psql").arg("-V").output().is_err().then(|| "psql is missing".to_owned());
    if let Some(why) = Mirrored::impossible().or_else(no_postgres).or_else(no_client) {
        println!("skipped, because {why}");
        return;
    }
    let number =
        |variable: &str, default: u64| env::var(variable).map_or(default, |text| text.parse().unwrap());
    let detect = Duration::from_millis(number("TASUKI_DETECT", 2000));
    let tools = tempfile::Builder::new().prefix("tasuki-postgres-").tempdir().unwrap();
    let start = script(tools.path(), &programs().unwrap()).unwrap();
    let stage = Mirrored::form(detect, 256, |mount| Ok(format!("{} {}", start.display(), mount.display())));
    let stage = stage.unwrap_or_else(|error| panic!("{error}"));
    let _witness = Witness::join(&stage.cluster).unwrap();
    stage.await_whole().unwrap_or_else(|error| panic!("{error}"));
    let committer = Committer::start(stage.cluster.lab().clone(), stage.cluster.address().to_string());
    for kill in 1..=number("TASUKI_KILLS", 3) {
        stage.told(committer.wait_for(SOME)).unwrap_or_else(|error| panic!("{error}"));
        let lost = stage.active().unwrap_or_else(|error| panic!("{error}"));
        let struck = Instant::now();
        stage.cluster.power_off(lost).unwrap();
        stage.told(committer.wait_for(SOME)).unwrap_or_else(|error| panic!("{error}"));
        let outage = committer.gap_since(struck).as_secs_f64() * 1e3;
        println!("kill {kill}: {outage:.0} ms without a commit");
        check(&stage, &committer, kill);
        stage.cluster.power_on(lost).unwrap();
        stage.await_whole().unwrap_or_else(|error| panic!("{error}"));
    }
}
