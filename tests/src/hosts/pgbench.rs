//! pgbench on a PostgreSQL of the cluster, from the laboratory's client, through everything that happens
//! to the servers. Each transaction has a number of its own, which is written down outside of the cluster
//! once its commit was acknowledged: what is written down has to be in the database for ever.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::network::Lab;

/// Clients that commit at the same time.
const CLIENTS: &str = "4";
/// So many transactions a second are asked for: enough to have some under way at any moment, and not all
/// that the machine has.
const RATE: &str = "150";
const LOOK: Duration = Duration::from_millis(5);

/// The lab's script: its last line says where what was acknowledged is kept, which is elsewhere here.
const SCRIPT: &str = include_str!("../../../deploy/lab/pgbench.sql");

/// See the module.
pub struct Bench {
    lab: Arc<Lab>,
    database: String,
    kept: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

/// What a look at the whole database found.
pub struct Found {
    /// Transactions whose commit was acknowledged before the look.
    pub acknowledged: usize,
    /// Those of them that are not there.
    pub missing: Vec<u64>,
    /// Whether the balances of accounts, tellers and branches are those of the history.
    pub balanced: bool,
}

impl Bench {
    /// Makes the tables in the database at that address, and begins. `seed` draws the transactions;
    /// files are kept in `folder`.
    ///
    /// # Errors
    /// When the tables cannot be made.
    pub fn start(lab: Arc<Lab>, address: &str, folder: &Path, seed: u64) -> io::Result<Self> {
        // A server without power says nothing: TCP gives it up soon.
        let database = format!(
            "host={address} user=postgres dbname=postgres connect_timeout=2 tcp_user_timeout=1000 \
             keepalives_idle=1 keepalives_interval=1 keepalives_count=2"
        );
        let (script, kept) = (folder.join("transaction.sql"), folder.join("acknowledged"));
        File::create(&kept)?;
        // Only a client whose END was answered comes to the last line: one that was cut off has ended.
        let wrote = format!("\\shell echo :number >>{}\n", kept.display());
        let transaction: String =
            SCRIPT.split_inclusive('\n').filter(|line| !line.starts_with("\\shell")).collect();
        fs::write(&script, transaction + &wrote)?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut bench = Self { lab, database, kept, stop, thread: None };
        let tables = bench.program("pgbench", &["--initialize", "--quiet", "--scale", "1"]).output()?;
        succeeded("pgbench --initialize", &tables)?;
        bench.ask("CREATE TABLE bench_numbers (number bigint PRIMARY KEY)")?;
        let (own, said) = (bench.again(), folder.join("pgbench.said"));
        bench.thread = Some(thread::spawn(move || own.run(&script, &said, seed)));
        Ok(bench)
    }

    fn again(&self) -> Self {
        let Self { lab, database, kept, stop, .. } = self;
        let (lab, stop) = (lab.clone(), stop.clone());
        Self { lab, database: database.clone(), kept: kept.clone(), stop, thread: None }
    }

    /// A program of PostgreSQL at the client's machine, with the database as its last word.
    #[must_use]
    pub fn program(&self, name: impl AsRef<OsStr>, words: &[&str]) -> Command {
        let mut command = self.lab.client().command(name);
        command.args(words).arg(&self.database).stdin(Stdio::null());
        command
    }

    /// What the database answers, a line for each row.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn ask(&self, question: &str) -> io::Result<String> {
        let words = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", question];
        let answer = self.program("psql", &words).output()?;
        succeeded(question, &answer)?;
        Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
    }

    /// Runs pgbench again whenever it was cut off.
    fn run(self, script: &Path, said: &Path, seed: u64) -> io::Result<()> {
        for run in 0.. {
            // The same numbers would be drawn with the same seed.
            let seed = format!("--random-seed={}", (seed + run) & 0xffff_ffff);
            let script = script.display().to_string();
            let words = ["-n", "-c", CLIENTS, "-j", CLIENTS, "-R", RATE, "-T", "86400", &seed, "-f", &script];
            let said = File::create(said)?;
            let mut child = self.program("pgbench", &words).stdout(said.try_clone()?).stderr(said).spawn()?;
            while child.try_wait()?.is_none() {
                if self.stop.load(Ordering::Relaxed) {
                    return end_with_children(&mut child);
                }
                thread::sleep(LOOK);
            }
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The numbers of the transactions whose commit was acknowledged.
    ///
    /// # Errors
    /// When the file is gone.
    pub fn acknowledged(&self) -> io::Result<Vec<u64>> {
        Ok(fs::read_to_string(&self.kept)?.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// Waits until so many more are acknowledged; the longest time without one meanwhile.
    ///
    /// # Errors
    /// When they are not within `limit`.
    pub fn wait_for(&self, more: usize, limit: Duration) -> io::Result<Duration> {
        let (began, wanted) = (Instant::now(), self.acknowledged()?.len() + more);
        let (mut size, mut last, mut longest) = (0, began, Duration::ZERO);
        loop {
            let now = fs::metadata(&self.kept)?.len();
            if now != size {
                (size, longest, last) = (now, longest.max(last.elapsed()), Instant::now());
                if self.acknowledged()?.len() >= wanted {
                    return Ok(longest);
                }
            } else if began.elapsed() > limit {
                return Err(io::Error::other(format!("no {more} more commits within {limit:?}")));
            }
            thread::sleep(LOOK);
        }
    }

    /// Compares the database with what was acknowledged before.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn look(&self) -> io::Result<Found> {
        let acknowledged = self.acknowledged()?;
        let there = self.ask("SELECT number FROM bench_numbers")?;
        let there: BTreeSet<u64> = there.lines().filter_map(|line| line.parse().ok()).collect();
        // In one question, so as of one moment.
        let balanced = self.ask(
            "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history) \
             AND (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(delta) FROM pgbench_history) \
             AND (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(delta) FROM pgbench_history)",
        )?;
        let missing = acknowledged.iter().copied().filter(|number| !there.contains(number)).collect();
        Ok(Found { acknowledged: acknowledged.len(), missing, balanced: balanced.trim() == "t" })
    }

    /// Ends pgbench; what it was told stays.
    ///
    /// # Errors
    /// When its files were not to be had.
    pub fn end(&mut self) -> io::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            Some(Err(_)) => Err(io::Error::other("pgbench's watch has panicked")),
            None => Ok(()),
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if self.thread.is_some() {
            let _whoever_asks_ends_it = self.end();
        }
    }
}

/// The program was successful, or what it said.
///
/// # Errors
/// That.
pub fn succeeded(what: &str, output: &Output) -> io::Result<()> {
    let said = || [&*output.stdout, &*output.stderr].concat();
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("{what}: {}", String::from_utf8_lossy(&said())))),
    }
}

/// The door-keeper outside and the program inside.
fn end_with_children(child: &mut Child) -> io::Result<()> {
    let pid = child.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    for one in children.split_whitespace().filter_map(|word| word.parse().ok()) {
        let _gone = kill(Pid::from_raw(one), Signal::SIGKILL);
    }
    let _gone = child.kill();
    child.wait().map(|_| ())
}
