//! What the tests of the store share: entries that can be recomputed from their index, and a
//! writer in a process of its own that can be killed or stopped.
#![allow(clippy::unwrap_used, dead_code)]

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use openraft::{
    RaftLogReader,
    entry::RaftEntry,
    storage::{IOFlushed, RaftLogStorage, RaftLogStorageExt},
    type_config::TypeConfigExt,
};
use tasuki_core::{
    registry::{Author, Command as RegistryCommand, Proposal},
    time::WallTime,
};
use tasuki_storage::{
    OpenOptions, RegistryStore, open,
    raft_types::{Entry, LogId, Registry, Vote},
    registry::LogStore,
};

/// Set for the child process only: the folder it writes to.
pub const WRITER_DIR: &str = "TASUKI_TEST_WRITER_DIR";
/// Most appends that the writer leaves open at a time, so that group commit has groups.
const IN_FLIGHT: usize = 4;

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

pub fn log_id(index: u64) -> LogId {
    LogId::new(1.into(), index)
}

pub fn proposal(id: u64, size: usize) -> Proposal {
    let command = RegistryCommand::IssueToken {
        id: format!("token-{id}"),
        digest: "d".repeat(size),
        server: None,
        expires: WallTime(id),
    };
    Proposal {
        id: None,
        author: Author::Operator("test".to_owned()),
        at: WallTime(id),
        lineage: None,
        read: Vec::new(),
        reason: None,
        command,
    }
}

pub fn entry_of_size(index: u64, size: usize) -> Entry {
    Entry::new(log_id(index), openraft::EntryPayload::Normal(proposal(index, size)))
}

/// The entry that belongs at an index: mostly small, every ninth large, and every third twenty all
/// large. (Many large values in a row are what sled would put into files that nobody syncs.)
pub fn entry(index: u64) -> Entry {
    let large = index % 9 == 5 || index / 20 % 3 == 1;
    entry_of_size(index, if large { 20_000 } else { (index * 37 % 600) as usize })
}

pub async fn append(log: &mut LogStore, indexes: std::ops::Range<u64>) -> Result<(), String> {
    log.blocking_append(indexes.map(entry)).await.map_err(|e| e.to_string())
}

/// Opens the store and looks for every entry up to `acknowledged` and for the vote.
pub fn expect_all(dir: &Path, acknowledged: Acknowledged) {
    let store = open(dir, &OpenOptions::default()).unwrap();
    runtime().block_on(async {
        expect_all_in(&store, acknowledged).await;
        let closing = store.closing();
        drop(store);
        closing.await;
    });
}

pub async fn expect_all_in(store: &RegistryStore, acknowledged: Acknowledged) {
    let mut log = store.log.clone();
    if let Some(last) = acknowledged.index {
        let found = log.try_get_log_entries(0..=last).await.unwrap();
        assert_eq!(found.len() as u64, last + 1, "acknowledged entries are missing");
        for (index, found) in found.into_iter().enumerate() {
            assert_eq!(found, entry(index as u64), "entry {index} is not what was written");
        }
    }
    let term = log.read_vote().await.unwrap().map_or(0, |vote| vote.leader_id().term);
    assert!(term >= acknowledged.term, "voted in term {}, remembers term {term}", acknowledged.term);
}

/// What the writer said is on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acknowledged {
    pub index: Option<u64>,
    pub term: u64,
}

/// Body of the writer process: appends without end and says what is acknowledged. Does nothing
/// when it is called as an ordinary test.
pub fn write_without_end() {
    let Some(dir) = std::env::var_os(WRITER_DIR) else { return };
    let store = open(Path::new(&dir), &OpenOptions::default()).unwrap();
    runtime().block_on(async {
        let mut log = store.log.clone();
        let last = log.get_log_state().await.unwrap().last_log_id;
        let mut next = last.map_or(0, |last| last.index + 1);
        let mut term = log.read_vote().await.unwrap().map_or(0, |vote| vote.leader_id().term);
        let mut open = VecDeque::new();
        loop {
            let end = next + 1 + next % 5;
            let (done, waiting) = Registry::oneshot();
            log.append((next..end).map(entry), IOFlushed::signal(done)).await.unwrap();
            open.push_back((end - 1, waiting));
            next = end;
            if open.len() == IN_FLIGHT {
                let (index, waiting) = open.pop_front().unwrap();
                waiting.await.unwrap().unwrap();
                say(&format!("index {index}"));
            }
            if next % 7 == 0 {
                term += 1;
                log.save_vote(&Vote::new(term, 1)).await.unwrap();
                say(&format!("term {term}"));
            }
        }
    });
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// The writer process, and what it acknowledged.
pub struct Writer {
    child: Child,
    lines: Receiver<String>,
    pub acknowledged: Acknowledged,
}

impl Writer {
    /// Starts this test program again as the writer. The program needs a test `writer` that calls
    /// [`write_without_end`].
    pub fn start(dir: &Path, before: Acknowledged) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--nocapture", "--test-threads=1"])
            .env(WRITER_DIR, dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (tx, lines) = mpsc::channel();
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| tx.send(line)));
        Self { child, lines, acknowledged: before }
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Waits until this many more acknowledgements came.
    pub fn wait_for(&mut self, acknowledgements: usize) {
        for _ in 0..acknowledgements {
            while {
                let line = self.lines.recv_timeout(Duration::from_secs(60)).expect("the writer writes");
                !self.note(&line)
            } {}
        }
    }

    /// Takes what is known of acknowledgements now.
    pub fn drain(&mut self) {
        while let Ok(line) = self.lines.try_recv() {
            self.note(&line);
        }
    }

    /// kill -9, and everything that it said before.
    pub fn kill(mut self) -> Acknowledged {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        while let Ok(line) = self.lines.recv() {
            self.note(&line);
        }
        self.acknowledged
    }

    fn note(&mut self, line: &str) -> bool {
        let number = |word: &str| line.strip_prefix(word).and_then(|n| n.parse::<u64>().ok());
        if let Some(index) = number("index ") {
            self.acknowledged.index = Some(index);
        } else if let Some(term) = number("term ") {
            self.acknowledged.term = term;
        } else {
            return false;
        }
        true
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Already gone is fine: this is for tests that fail half-way.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs a program; its error output when it fails.
pub fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let out = Command::new(program).args(args).output().map_err(|e| format!("{program}: {e}"))?;
    match out.status.success() {
        true => Ok(()),
        false => {
            Err(format!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&out.stderr).trim()))
        }
    }
}

/// A mounted file system; unmounted at the end of the test.
pub struct Mount(pub tempfile::TempDir);

impl Mount {
    pub fn new(args: &[&str]) -> Result<Self, String> {
        let at = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut args = args.to_vec();
        args.push(at.path().to_str().unwrap());
        run("mount", &args)?;
        Ok(Self(at))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // sled's background tasks may hold its file for another moment.
        let until = Instant::now() + Duration::from_secs(5);
        while let Err(why) = run("umount", &[self.path().to_str().unwrap()]) {
            if Instant::now() > until {
                return eprintln!("left mounted: {why}");
            }
        }
    }
}
