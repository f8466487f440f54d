//! Runs the program of a fencing device: input on its standard input, its output kept for errors, and
//! everything that it started killed when its time is over or nobody waits for it any more.

use std::{
    collections::BTreeMap,
    env,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    time::timeout,
};

use super::FenceError;

/// Where programs are looked for beside `PATH`: fence agents are system programs.
const SYSTEM_PROGRAMS: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// More of what a program prints is not kept.
const KEPT: usize = 4096;
const LAST_LINES: usize = 5;
/// What a program printed last is waited for this long after its end: something that it left behind
/// may hold its output open.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// One run of a device's program.
pub(super) struct Run<'a> {
    /// The program, found already.
    pub(super) program: &'a Path,
    pub(super) arguments: &'a [&'a str],
    /// What it finds on its standard input.
    pub(super) input: String,
    pub(super) environment: &'a BTreeMap<String, String>,
    /// What must never be shown.
    pub(super) secrets: Vec<&'a str>,
    /// For errors: what is run, without anything secret.
    pub(super) what: String,
}

/// How a program ended by itself.
pub(super) struct Ended {
    pub(super) code: Option<i32>,
    /// In words: `ended with exit code 1`.
    pub(super) how: String,
    /// Its last output, led in by `; `; empty when there was none.
    pub(super) output: String,
}

/// Finds a program by its path, or by its name in `PATH` and where system programs are.
///
/// # Errors
/// When it is nowhere, or cannot be executed.
pub fn find_program(program: &Path) -> Result<PathBuf, FenceError> {
    let runs = |path: &PathBuf| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    let missing = || FenceError::NoProgram(program.to_owned());
    if program.components().count() > 1 {
        return Some(program.to_owned()).filter(runs).ok_or_else(missing);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(SYSTEM_PROGRAMS.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(runs).ok_or_else(missing)
}

/// Kills the process group of a program that has not been waited for. Dropped before its child.
struct Leash(Option<Pid>);

impl Drop for Leash {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _nothing_of_it_is_left = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Run<'_> {
    /// Runs it to its end, for at most `limit`.
    pub(super) async fn to_its_end(&self, limit: Duration) -> Result<Ended, FenceError> {
        let mut printed = Vec::new();
        match timeout(limit, self.run(&mut printed)).await {
            Ok(ended) => {
                let status =
                    ended.map_err(|source| FenceError::NotRun { what: self.what.clone(), source })?;
                let output = self.shown(&printed);
                Ok(Ended { code: status.code(), how: describe(status), output })
            }
            Err(_) => {
                let output = self.shown(&printed);
                Err(FenceError::Timeout { what: self.what.clone(), limit, output })
            }
        }
    }

    async fn run(&self, printed: &mut Vec<u8>) -> std::io::Result<ExitStatus> {
        let mut child: Child = Command::new(self.program)
            .args(self.arguments)
            .envs(self.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let mut leash = Leash(pid);
        let mut stdin = child.stdin.take();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut told = Vec::new();
        let status = {
            let write = async {
                if let Some(mut stdin) = stdin.take() {
                    // One that reads nothing has nothing to be told.
                    let _ = stdin.write_all(self.input.as_bytes()).await;
                }
            };
            let talk = async { tokio::join!(write, read_all(stdout, printed), read_all(stderr, &mut told)) };
            tokio::pin!(talk);
            tokio::select! {
                status = child.wait() => {
                    // What it left behind may hold its output open for ever.
                    let _ = timeout(LAST_WORDS, talk).await;
                    status?
                }
                _ = &mut talk => child.wait().await?,
            }
        };
        leash.0 = None; // it has been waited for: its number may be another's by now
        printed.extend_from_slice(&told);
        Ok(status)
    }

    /// The last lines that were printed, without anything secret.
    fn shown(&self, printed: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(printed).into_owned();
        for secret in self.secrets.iter().filter(|secret| !secret.is_empty()) {
            text = text.replace(secret, "***");
        }
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() {
            return String::new();
        }
        format!("; it printed: {}", lines[lines.len().saturating_sub(LAST_LINES)..].join(" | "))
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// Reads to the end, and keeps the last part.
async fn read_all(stream: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..length]);
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }
}
