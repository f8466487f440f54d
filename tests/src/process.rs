//! Clusters of processes on loopback addresses, without root: the real guard and node of each
//! server, in a folder that goes when the test ends.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    hosts::{GROUP, LIMIT, SERVERS, calls::Calls, program},
    network,
};

/// Where nodes listen.
const PORT: u16 = 29001;
/// How long a guard may take to stop what runs.
const FAREWELL: Duration = Duration::from_secs(5);

/// A third of the loopback network that nobody uses: 127.N.0.0/16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet(u8);

impl Subnet {
    /// One that no other test has, nor anybody else.
    ///
    /// # Errors
    /// When there is none left.
    pub fn free() -> io::Result<Self> {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        for _ in 0..100 {
            // Test binaries run side by side: each begins somewhere else.
            let begin = std::process::id() % 100;
            let n = (begin + u32::from(NEXT.fetch_add(1, Ordering::Relaxed))) % 100 + 100;
            let subnet = Self(u8::try_from(n).unwrap_or(u8::MAX));
            let all = (0..SERVERS.len()).map(|server| SocketAddr::new(subnet.address(server), PORT));
            if all.map(TcpListener::bind).all(|bound| bound.is_ok()) {
                return Ok(subnet);
            }
        }
        Err(io::Error::other("no part of the loopback network is free"))
    }

    /// A server's public address.
    #[must_use]
    pub fn address(self, server: usize) -> IpAddr {
        self.public(1 + u8::try_from(server).unwrap_or(u8::MAX))
    }

    /// An address on the public network.
    #[must_use]
    pub fn public(self, last: u8) -> IpAddr {
        Ipv4Addr::new(127, self.0, 2, last).into()
    }

    /// The floating address.
    #[must_use]
    pub fn floating(self) -> IpAddr {
        self.public(100)
    }

    /// A configuration for three servers with one group: its floating address, and `resources` as
    /// more of them.
    #[must_use]
    pub fn config(self, cluster: &str, resources: &str) -> String {
        let n = self.0;
        let server = |(number, name): (usize, &&str)| {
            let last = number + 1;
            format!(
                "[[server]]\nname = \"{name}\"\n\
                 addresses = {{ public = \"127.{n}.2.{last}\", interconnect = \"127.{n}.1.{last}\" }}\n\n"
            )
        };
        let servers: String = SERVERS.iter().enumerate().map(server).collect();
        format!(
            r#"[cluster]
name = "{cluster}"
detect = "3s"

[[network]]
name = "public"
subnet = "127.{n}.2.0/24"
use = "public"

[[network]]
name = "interconnect"
subnet = "127.{n}.1.0/24"
use = "interconnect"

{servers}[[heartbeat]]
kind = "lan"
network = "interconnect"
[[heartbeat]]
kind = "lan"
network = "public"

[[group]]
name = "{GROUP}"
servers = ["kiki", "lala", "mimi"]

[[group.resource]]
name = "address"
type = "floating_ip"
address = "{}"

{resources}"#,
            self.floating(),
        )
    }
}

/// The demonstration service as a resource.
///
/// # Errors
/// When the program is not built.
pub fn web(subnet: Subnet) -> io::Result<String> {
    Ok(format!(
        "[[group.resource]]\nname = \"web\"\ntype = \"exec\"\n\
         start = \"{} __demo-http --listen {}:8080\"\nwait = false\n\
         on_start_failure = {{ retries = 1000, failovers = 1, final = \"none\" }}\n",
        program()?.display(),
        subnet.floating()
    ))
}

/// One server: its folder, and its guard while it runs.
pub struct Server {
    name: String,
    data: PathBuf,
    guard: Option<Child>,
}

impl Server {
    /// A server of this name with a data folder that is made when it is first used.
    #[must_use]
    pub fn new(name: &str, data: PathBuf) -> Self {
        Self { name: name.to_owned(), data, guard: None }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Runs a command of the command line with its data folder, to its end.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn tasuki(&self, words: &[&str]) -> io::Result<Output> {
        tasuki(&self.data, words)
    }

    /// Starts its guard.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self) -> io::Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(self.log_file())?;
        let mut command = Command::new(program()?);
        command.arg("--data").arg(&self.data).args(["guard", "--no-power"]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.guard = Some(command.spawn()?);
        Ok(())
    }

    /// Its guard's process, while it runs.
    #[must_use]
    pub fn guard(&self) -> Option<Pid> {
        let id = self.guard.as_ref().map(Child::id)?;
        i32::try_from(id).ok().map(Pid::from_raw)
    }

    /// Its node's process, while there is one.
    #[must_use]
    pub fn node(&self) -> Option<Pid> {
        let guard = self.guard()?;
        children(guard)
            .into_iter()
            .find(|(_, words)| words.iter().any(|word| word == "node"))
            .map(|(pid, _)| pid)
    }

    /// Stops everything at once, as an impatient init does, and waits for the end.
    ///
    /// # Errors
    /// When the guard cannot be waited for.
    pub fn stop(&mut self) -> io::Result<()> {
        let (Some(pid), Some(mut guard)) = (self.guard(), self.guard.take()) else { return Ok(()) };
        let began = Instant::now();
        while guard.try_wait()?.is_none() {
            // Asked twice it does not wait for the node; asked late, it is killed.
            let late = began.elapsed() > FAREWELL;
            let _ended_just_now = kill(pid, if late { Signal::SIGKILL } else { Signal::SIGTERM });
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// What its guard and node have said.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.data.with_extension("log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = self.stop();
        network::remove_groups_of(&self.data);
    }
}

/// Three servers on one part of the loopback network.
pub struct Trio {
    /// The servers.
    pub servers: Vec<Server>,
    /// Where they are.
    pub subnet: Subnet,
    /// The way to their nodes.
    pub calls: Calls,
    folder: tempfile::TempDir,
}

impl Trio {
    /// Three servers of which nothing is made yet.
    ///
    /// # Errors
    /// When there is no place for them.
    pub fn new() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("tasuki-processes-").tempdir()?;
        let servers = SERVERS.iter().map(|name| Server::new(name, folder.path().join(name))).collect();
        Ok(Self { servers, subnet: Subnet::free()?, calls: Calls::new()?, folder })
    }

    /// The folder of the data folders.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file beside the data folders.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn file(&self, name: &str, text: &str) -> io::Result<String> {
        let path = self.folder.path().join(name);
        fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// Makes a cluster of the first server and starts it.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn found(&mut self, config: &str) -> io::Result<()> {
        let file = self.file("cluster.toml", config)?;
        succeeded(&self.servers[0].tasuki(&["cluster", "init", "--config", &file, "--server", SERVERS[0]])?)?;
        self.servers[0].start()?;
        self.token(SERVERS[0]).map(drop)
    }

    /// A token from the first server, as soon as it gives one.
    ///
    /// # Errors
    /// When it gives none in time.
    pub fn token(&self, server: &str) -> io::Result<String> {
        crate::hosts::await_some("a token", || Ok(self.calls.token(self.servers[0].data(), server).ok()))
    }

    /// Makes and starts all three.
    ///
    /// # Errors
    /// When they do not come up.
    pub fn found_all(&mut self, config: &str) -> io::Result<()> {
        self.found(config)?;
        for (at, name) in SERVERS.iter().enumerate().skip(1) {
            let token = self.token(name)?;
            let member = self.subnet.address(0).to_string();
            let words = ["cluster", "join", &member, "--token", &token, "--server", name];
            succeeded(&self.servers[at].tasuki(&words)?)?;
            self.servers[at].start()?;
        }
        self.await_whole()
    }

    /// Waits until every server is up, as each of them sees it, and the group is online.
    ///
    /// # Errors
    /// When that does not come.
    pub fn await_whole(&self) -> io::Result<()> {
        let began = Instant::now();
        loop {
            let missing = self.servers.iter().find_map(|server| match self.calls.status(server.data()) {
                Ok(status) => crate::hosts::missing(&status),
                Err(error) => Some(error.to_string()),
            });
            match missing {
                None => return Ok(()),
                Some(what) if began.elapsed() > LIMIT => return Err(io::Error::other(what)),
                Some(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

/// Runs a command of the command line to its end.
///
/// # Errors
/// When it cannot be run.
pub fn tasuki(data: &Path, words: &[&str]) -> io::Result<Output> {
    Command::new(program()?).arg("--data").arg(data).args(words).stdin(Stdio::null()).output()
}

/// What a command said, if it went well.
///
/// # Errors
/// What it said otherwise.
pub fn succeeded(output: &Output) -> io::Result<String> {
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

/// Every file under a folder with its content, but for what a running node changes all the time.
///
/// # Errors
/// When a file cannot be read.
pub fn content(folder: &Path) -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.insert(entry.path(), fs::read(entry.path())?);
            }
        }
    }
    Ok(found)
}

/// The processes that a process has started, with their command lines.
#[must_use]
pub fn children(parent: Pid) -> Vec<(Pid, Vec<String>)> {
    let threads = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let pids: Vec<i32> = lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect();
    let words = |pid: i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = line.split(|byte| *byte == 0).filter(|word| !word.is_empty());
        words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    };
    pids.into_iter().map(|pid| (Pid::from_raw(pid), words(pid))).collect()
}
