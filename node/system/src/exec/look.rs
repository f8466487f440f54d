//! Programs that only look: a monitor's, or a resource's check. They belong to no resource, end with
//! the node, and are killed with everything in their session when they have ended, when their time
//! is over, or when nobody waits for them any more.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    path::{Path, PathBuf},
    sync::{OnceLock, mpsc},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::AsyncReadExt, net::unix::pipe, runtime::Handle, sync::oneshot, task::spawn_blocking, time::timeout,
};

use super::{
    ExecError, Launcher,
    spawn::{Begun, Place, Run, describe},
    wait_for_end,
};
use crate::process::{ProcessId, stat};

/// More of what a program prints is not kept.
const KEPT: usize = 4096;

/// One look by a program.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// Program and arguments.
    pub command: &'a [String],
    /// Runs as this user; as Tasuki's own otherwise.
    pub user: Option<&'a str>,
    /// Working directory.
    pub directory: Option<&'a Path>,
    /// Its nice value.
    pub nice: i8,
    /// How long it may take.
    pub limit: Duration,
    /// Its environment.
    pub environment: &'a BTreeMap<String, String>,
}

/// What a look came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The program's exit code.
    pub code: i32,
    /// The first line that it printed.
    pub first_line: String,
}

impl Launcher {
    /// Runs a program to its end.
    ///
    /// # Errors
    /// When it could not be run, took too long, or was killed by a signal.
    pub async fn run_look(&self, look: Look<'_>) -> Result<Seen, ExecError> {
        let order = Order {
            command: look.command.to_vec(),
            user: look.user.map(str::to_owned),
            base: look.directory.unwrap_or(self.layout.data_dir()).to_owned(),
            directory: look.directory.map(Path::to_owned),
            nice: look.nice,
            environment: look.environment.clone(),
        };
        let what = order.command.join(" ");
        let mut printed = Vec::new();
        match timeout(look.limit, to_its_end(order, &what, &mut printed)).await {
            Ok(ended) => ended,
            Err(_) => {
                let line = first_line(&printed);
                let said = if line.is_empty() { String::new() } else { format!("; it printed: {line}") };
                Err(ExecError::Timeout { what: format!("{what}{said}"), limit: look.limit })
            }
        }
    }
}

/// Kills a program with the process group that it leads. Dropped before its child is reaped: until
/// then its number is its own, also when it has ended.
struct Leash(Option<ProcessId>);

impl Drop for Leash {
    fn drop(&mut self) {
        let there = |id: &ProcessId| stat(id.pid).is_some_and(|stat| stat.id == *id);
        let Some(leader) = self.0.filter(there) else { return };
        if let Some(group) = Pid::from_raw(leader.pid) {
            let _nothing_of_it_is_left = kill_process_group(group, Signal::KILL);
        }
        leader.signal(Signal::KILL); // before it has a group of its own
    }
}

/// What to run, for the thread that starts it.
struct Order {
    command: Vec<String>,
    user: Option<String>,
    base: PathBuf,
    directory: Option<PathBuf>,
    nice: i8,
    environment: BTreeMap<String, String>,
}

/// A program that has begun, on its leash. In this order when both are dropped.
struct Leashed {
    leash: Leash,
    begun: Begun,
}

impl Order {
    fn run(&self) -> Run<'_> {
        Run {
            command: &self.command,
            base: &self.base,
            directory: self.directory.as_deref(),
            user: self.user.as_deref(),
            environment: self.environment.clone(),
            place: Place::WithNode { nice: self.nice },
        }
    }

    /// Begins elsewhere than on the runtime's threads, which renew the lease: looks come often, and
    /// finding a program waits for its disk.
    async fn begin_elsewhere(self, what: &str, output: File) -> Result<Leashed, ExecError> {
        let gone = |_| ExecError::io(what)(io::Error::other("the thread that starts looks is gone"));
        let found = spawn_blocking(move || self.run().find_program().map(|program| (self, program)));
        let (order, program) = found.await.map_err(|_| gone(()))??;
        let (tell, begun) = oneshot::channel();
        let runtime = Handle::current();
        let work: Work = Box::new(move || {
            let _inside = runtime.enter();
            let begun = order.run().begin_as(&program, output);
            let leashed = begun.map(|begun| Leashed { leash: Leash(begun.id), begun });
            let _unwanted_it_is_dropped_and_so_killed = tell.send(leashed);
        });
        starter().and_then(|starter| starter.send(work).ok()).ok_or_else(|| gone(()))?;
        begun.await.map_err(|_| gone(()))?
    }
}

/// What the starting thread is given to do.
type Work = Box<dyn FnOnce() + Send>;

/// The thread that starts looks: always the same one, which never ends, because a program that ends
/// with its node ends with the thread that started it. `None` when no thread could be had.
fn starter() -> Option<&'static mpsc::Sender<Work>> {
    static STARTER: OnceLock<Option<mpsc::Sender<Work>>> = OnceLock::new();
    let start = || {
        let (give, work) = mpsc::channel::<Work>();
        let thread = std::thread::Builder::new().name("looks".to_owned());
        thread.spawn(move || work.iter().for_each(|work| work())).ok().map(|_| give)
    };
    STARTER.get_or_init(start).as_ref()
}

async fn to_its_end(order: Order, what: &str, printed: &mut Vec<u8>) -> Result<Seen, ExecError> {
    let failed = || ExecError::io(what);
    let (output, writer) = io::pipe().map_err(failed())?;
    let mut output = pipe::Receiver::from_owned_fd(OwnedFd::from(output)).map_err(failed())?;
    let begun = order.begin_elsewhere(what, File::from(OwnedFd::from(writer))).await?;
    let id = begun.begun.id;
    let mut child = None; // declared before the leash, so dropped after it
    let Leashed { leash, begun } = begun;
    let child = child.insert(begun.executed().await?);
    if let Some(process) = id.and_then(|id| id.open()) {
        tokio::select! {
            ended = wait_for_end(process) => ended.map_err(failed())?,
            // Its output is closed before its end, or by what it left behind: the end still counts.
            never = drain(&mut output, printed) => match never {},
        }
    }
    take_waiting(&output, printed);
    drop(leash);
    let status = child.wait().await.map_err(failed())?;
    match status.code() {
        Some(code) => Ok(Seen { code, first_line: first_line(printed) }),
        None => {
            let line = first_line(printed);
            let output = if line.is_empty() { line } else { format!("; it printed: {line}") };
            debug_assert!(status.signal().is_some());
            Err(ExecError::Failed { what: what.to_owned(), how: describe(status), output })
        }
    }
}

/// Reads for ever, so that a program that prints much does not wait for a reader.
async fn drain(output: &mut pipe::Receiver, printed: &mut Vec<u8>) -> std::convert::Infallible {
    let mut buffer = [0; 1024];
    loop {
        match output.read(&mut buffer).await {
            Ok(length @ 1..) => keep(printed, &buffer[..length]),
            Ok(0) | Err(_) => std::future::pending().await,
        }
    }
}

/// What was printed last, before the end was noticed. The pipe itself is asked: the runtime reads only
/// what it has been told of, and may not have heard of the last lines when it hears of the end.
fn take_waiting(output: &pipe::Receiver, printed: &mut Vec<u8>) {
    let mut buffer = [0; KEPT];
    while printed.len() < KEPT
        && let Ok(length @ 1..) = rustix::io::read(output, &mut buffer)
    {
        keep(printed, &buffer[..length]);
    }
}

fn keep(printed: &mut Vec<u8>, bytes: &[u8]) {
    let room = KEPT.saturating_sub(printed.len());
    printed.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

fn first_line(printed: &[u8]) -> String {
    let text = String::from_utf8_lossy(printed);
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}
