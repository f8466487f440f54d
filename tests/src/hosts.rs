//! A whole cluster on machines of the laboratory: the real guard and the real node on each, one
//! group with a floating address and a service on it. The harness is what init is on a real
//! machine: it starts guards, and nothing else.

pub mod budget;
pub mod calls;
pub mod cost;
pub mod fault;
pub mod mirrored;
pub mod parted;
pub mod pgbench;
pub mod pictures;
pub mod round;
pub mod shared_disk;
pub mod witness;

use std::{
    fs::{self, File, OpenOptions},
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Output, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tasuki_proto::v1 as wire;

use self::calls::Calls;
use crate::network::{Lab, Network, Process, floating_v4};

/// The servers, the first one being the group's home.
pub const SERVERS: [&str; 3] = ["kiki", "lala", "mimi"];
/// The names of as many servers as a cluster here may have.
pub const NAMES: [&str; 5] = ["kiki", "lala", "mimi", "nana", "toto"];
/// The group.
pub const GROUP: &str = "demo";
/// Longer than anything here may take; never a measure.
pub const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(5);

/// What a cluster is made with.
#[derive(Clone, Debug)]
pub struct Make {
    /// The knob.
    pub detect: Duration,
    /// Its program.
    pub program: PathBuf,
    /// How many servers: at most as many as there are [`NAMES`].
    pub servers: usize,
    /// Which groups there are.
    pub groups: Groups,
    /// More of the section `[cluster]`: one key a line.
    pub cluster: String,
    /// More of every group's section: one key a line.
    pub group: String,
    /// Another service than the demonstration one: its command line, to which the floating address is
    /// added.
    pub service: Option<String>,
    /// The nice value that guards are started with.
    pub nice: i32,
    /// The level of the registry at which members are held back until [`Cluster::run_as`].
    pub hold: Option<u32>,
}

/// What a member is started with.
#[derive(Clone, Debug)]
pub struct Version {
    /// Its program.
    pub program: PathBuf,
    /// The level of the registry at which it is held back.
    pub hold: Option<u32>,
}

impl Version {
    /// What members are started with at first.
    #[must_use]
    pub fn of(make: &Make) -> Self {
        Self { program: make.program.clone(), hold: make.hold }
    }

    /// What the program finds in its environment.
    pub(crate) fn environment(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.hold.map(|level| ("TASUKI_HOLD_LEVEL", level.to_string())).into_iter()
    }
}

/// The groups of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups {
    /// [`GROUP`], at home on the first server.
    One,
    /// One a server, named by [`Cluster::group_of`], which goes home by itself when it can.
    OnEveryServer,
}

impl Make {
    /// With the program that was built with this test or benchmark.
    ///
    /// # Errors
    /// When it was not built.
    pub fn with_detect(detect: Duration) -> io::Result<Self> {
        let (servers, groups) = (SERVERS.len(), Groups::One);
        let (cluster, group) = (String::new(), String::new());
        let (program, service, nice, hold) = (program()?, None, 0, None);
        Ok(Self { detect, program, servers, groups, cluster, group, service, nice, hold })
    }
}

/// The program beside the running test or benchmark, or the one that `TASUKI_PROGRAM` names.
///
/// # Errors
/// When it was not built.
pub fn program() -> io::Result<PathBuf> {
    if let Some(given) = std::env::var_os("TASUKI_PROGRAM") {
        return Ok(given.into());
    }
    // target/debug/deps/NAME-HASH or target/debug/NAME
    let exe = std::env::current_exe()?;
    let found = exe.ancestors().skip(1).take(2).map(|folder| folder.join("tasuki")).find(|it| it.is_file());
    found.ok_or_else(|| io::Error::other("the program is not built; run `cargo build -p tasuki` first"))
}

/// How long the parts of a cluster's making took.
#[derive(Clone, Copy, Debug)]
pub struct Formation {
    /// From nothing to the first server that serves its registry.
    pub first: Duration,
    /// From nothing to all servers up, voting, and one loss survived.
    pub all: Duration,
}

/// See the module.
pub struct Cluster {
    lab: Arc<Lab>,
    make: Make,
    calls: Calls,
    guards: Mutex<Vec<Option<Child>>>,
    versions: Mutex<Vec<Version>>,
    formation: Formation,
}

impl Cluster {
    /// Makes a cluster from nothing and waits until it is whole.
    ///
    /// # Errors
    /// When it does not become whole.
    pub fn start(make: Make) -> io::Result<Self> {
        let began = Instant::now();
        let mut cluster = Self::prepare(make)?;
        let prepared = began.elapsed();
        cluster = cluster.form()?;
        cluster.await_whole()?;
        cluster.formation.all = began.elapsed() - prepared;
        Ok(cluster)
    }

    /// The machines and the configuration, and nothing of Tasuki yet.
    ///
    /// # Errors
    /// When the machines cannot be built.
    pub fn prepare(make: Make) -> io::Result<Self> {
        let nobody = Duration::ZERO;
        let cluster = Self {
            guards: Mutex::new((0..make.servers).map(|_| None).collect()),
            versions: Mutex::new(vec![Version::of(&make); make.servers]),
            formation: Formation { first: nobody, all: nobody },
            calls: Calls::new()?,
            lab: Arc::new(Lab::start(&NAMES[..make.servers])?),
            make,
        };
        fs::write(cluster.config_file(), cluster.config())?;
        Ok(cluster)
    }

    /// Makes the cluster on the first server and lets the others join; what becomes of the group is
    /// not waited for.
    ///
    /// # Errors
    /// When one of them cannot join.
    pub fn form(mut self) -> io::Result<Self> {
        let began = Instant::now();
        let file = self.config_file().to_string_lossy().into_owned();
        self.must(0, &["cluster", "init", "--config", &file, "--server", NAMES[0]])?;
        self.start_guard(0)?;
        for (server, name) in NAMES.iter().enumerate().take(self.make.servers).skip(1) {
            let token = await_some("a token", || Ok(self.calls.token(&self.data(0), name).ok()))?;
            if server == 1 {
                self.formation.first = began.elapsed();
            }
            self.join(server, &token)?;
        }
        Ok(self)
    }

    fn config_file(&self) -> PathBuf {
        self.lab.folder().join("cluster.toml")
    }

    /// Wants the group online.
    ///
    /// # Errors
    /// When it is refused.
    pub fn start_group(&self) -> io::Result<()> {
        self.must(0, &["group", "start", GROUP, "--no-wait"])
    }

    fn join(&self, server: usize, token: &str) -> io::Result<()> {
        let member = Network::Interconnect.address(0).to_string();
        self.must(server, &["cluster", "join", &member, "--token", token, "--server", NAMES[server]])?;
        self.start_guard(server)
    }

    /// The cluster's configuration.
    #[must_use]
    pub fn config(&self) -> String {
        let servers: String = (0..self.make.servers)
            .map(|server| {
                format!(
                    "[[server]]\nname = \"{}\"\naddresses = {{ public = \"{}\", interconnect = \"{}\" }}\n\n",
                    NAMES[server],
                    Network::Public.address(server),
                    Network::Interconnect.address(server),
                )
            })
            .collect();
        let groups: String = match self.make.groups {
            Groups::One => self.group_section(GROUP, "", 0, "manual"),
            Groups::OnEveryServer => (0..self.make.servers)
                .map(|home| {
                    self.group_section(&Self::group_of(home), &format!("-{}", NAMES[home]), home, "auto")
                })
                .collect(),
        };
        format!(
            r#"[cluster]
name = "hosts"
detect = "{detect}ms"
{cluster}
[[network]]
name = "public"
subnet = "10.77.0.0/24"
use = "public"

[[network]]
name = "interconnect"
subnet = "192.168.77.0/24"
use = "interconnect"

{servers}[[heartbeat]]
kind = "lan"
network = "interconnect"
[[heartbeat]]
kind = "lan"
network = "public"

{groups}"#,
            detect = self.make.detect.as_millis(),
            cluster = self.make.cluster,
        )
    }

    /// A group with the floating address of its home's number and a service on it; the names of both
    /// end in `suffix`.
    fn group_section(&self, name: &str, suffix: &str, home: usize, failback: &str) -> String {
        let servers: Vec<String> = (0..self.make.servers)
            .map(|n| format!("\"{}\"", NAMES[(home + n) % self.make.servers]))
            .collect();
        let address = floating(home);
        format!(
            r#"[[group]]
name = "{name}"
servers = [{servers}]
failback = "{failback}"
{group}
[[group.resource]]
name = "address{suffix}"
type = "floating_ip"
address = "{address}"

[[group.resource]]
name = "web{suffix}"
type = "exec"
start = "{service}"
wait = false
on_start_failure = {{ retries = 1000, failovers = 1, final = "none" }}

"#,
            servers = servers.join(", "),
            group = self.make.group,
            service = match &self.make.service {
                Some(service) => format!("{service} {address}"),
                None => format!("{} __demo-http --listen {address}:8080", self.make.program.display()),
            },
        )
    }

    /// The group whose home is this server, where there is one on each.
    #[must_use]
    pub fn group_of(home: usize) -> String {
        format!("on-{}", NAMES[home])
    }

    /// How many servers there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.make.servers
    }

    /// The machines.
    #[must_use]
    pub fn lab(&self) -> &Arc<Lab> {
        &self.lab
    }

    /// The way to the nodes.
    #[must_use]
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// What it was made with.
    #[must_use]
    pub fn make(&self) -> &Make {
        &self.make
    }

    /// How long its making took.
    #[must_use]
    pub fn formation(&self) -> Formation {
        self.formation
    }

    /// The floating address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        floating(0)
    }

    /// Where the service answers.
    #[must_use]
    pub fn target(&self) -> SocketAddr {
        SocketAddr::new(self.address(), 8080)
    }

    /// A server's data folder.
    #[must_use]
    pub fn data(&self, server: usize) -> PathBuf {
        self.lab.data_dir(server)
    }

    /// What a server's guard and node said, over all its boots.
    #[must_use]
    pub fn log(&self, server: usize) -> PathBuf {
        self.lab.folder().join(format!("{}.log", NAMES[server]))
    }

    /// Starts a server's guard, as init does.
    ///
    /// # Errors
    /// When the server is off.
    pub fn start_guard(&self, server: usize) -> io::Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(self.log(server))?;
        let mut command = self.lab.command(server, "nice")?;
        let version = self.version(server);
        command.args(["-n", &self.make.nice.to_string()]).arg(&version.program).envs(version.environment());
        command.arg("--data").arg(self.data(server)).args(["guard", "--no-power", "--run"]);
        command.arg(self.lab.run_dir(server));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let guard = command.spawn()?;
        if let Some(mut old) = self.guards()[server].replace(guard) {
            old.wait()?;
        }
        Ok(())
    }

    /// What a server is started with from the next start on.
    pub fn run_as(&self, server: usize, version: Version) {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)[server] = version;
    }

    fn version(&self, server: usize) -> Version {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)[server].clone()
    }

    /// Waits until a server's guard has ended.
    ///
    /// # Errors
    /// When it has not in time.
    pub fn await_guard_end(&self, server: usize) -> io::Result<()> {
        await_true("end of the guard", || match &mut self.guards()[server] {
            Some(guard) => Ok(guard.try_wait()?.is_some()),
            None => Ok(true),
        })
    }

    /// The power goes.
    ///
    /// # Errors
    /// When its cables cannot be pulled.
    pub fn power_off(&self, server: usize) -> io::Result<()> {
        self.lab.power_off(server)?;
        // Only the door-keeper outside is left of it.
        if let Some(mut guard) = self.guards()[server].take() {
            guard.wait()?;
        }
        Ok(())
    }

    /// The power comes back: init starts the guard.
    ///
    /// # Errors
    /// When it is on.
    pub fn power_on(&self, server: usize) -> io::Result<()> {
        self.lab.power_on(server)?;
        self.start_guard(server)
    }

    /// A command of the command line on a server, with its data folder.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn tasuki(&self, server: usize, words: &[&str]) -> io::Result<Output> {
        self.lab
            .command(server, &self.version(server).program)?
            .arg("--data")
            .arg(self.data(server))
            .args(words)
            .output()
    }

    fn must(&self, server: usize, words: &[&str]) -> io::Result<()> {
        let done = self.tasuki(server, words)?;
        match done.status.success() {
            true => Ok(()),
            false => Err(io::Error::other(format!(
                "tasuki {}: {}",
                words.join(" "),
                String::from_utf8_lossy(&done.stderr).trim()
            ))),
        }
    }

    /// The guard process of a server.
    ///
    /// # Errors
    /// When there is none.
    pub fn guard(&self, server: usize) -> io::Result<Process> {
        self.process(server, "guard")
    }

    /// The node process of a server.
    ///
    /// # Errors
    /// When there is none.
    pub fn node(&self, server: usize) -> io::Result<Process> {
        self.process(server, "node")
    }

    /// The service's process on a server.
    ///
    /// # Errors
    /// When there is none.
    pub fn service(&self, server: usize) -> io::Result<Process> {
        self.process(server, "__demo-http")
    }

    fn process(&self, server: usize, word: &str) -> io::Result<Process> {
        let mut found = self.lab.processes(server, &["tasuki", word])?;
        // `--data /…/node` would be a word too; the command stands before or behind it.
        found.retain(|process| !process.words.iter().any(|it| it == "__run"));
        found.pop().ok_or_else(|| io::Error::other(format!("no {word} runs on {}", NAMES[server])))
    }

    /// The cluster as one of its nodes sees it, the first one that can.
    ///
    /// # Errors
    /// When no node answers.
    pub fn status(&self) -> io::Result<wire::ClusterStatusResponse> {
        let on = (0..self.size()).filter(|server| self.lab.is_on(*server));
        let mut failed = io::Error::other("every server is off");
        for server in on {
            match self.calls.status(&self.data(server)) {
                Ok(status) if status.confirmed => return Ok(status),
                Ok(_) => failed = io::Error::other("no quorum"),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Who owns the group and has it online, and who leads.
    ///
    /// # Errors
    /// When no node knows.
    pub fn active_and_leader(&self) -> io::Result<(usize, usize)> {
        let status = self.status()?;
        let group = status.groups.iter().find(|group| group.name == GROUP && online(group));
        let active = group.and_then(|group| self.lab.number(&group.server));
        match (active, self.lab.number(&status.leader)) {
            (Some(active), Some(leader)) => Ok((active, leader)),
            _ => Err(io::Error::other("the group is not online, or nobody leads")),
        }
    }

    /// Waits until all servers are up, hear each other on every path, and vote, the group is online,
    /// and the loss of one more server would be survived: as each of them sees it.
    ///
    /// # Errors
    /// When it does not become so; with what was missing.
    pub fn await_whole(&self) -> io::Result<()> {
        let began = Instant::now();
        loop {
            let missing = (0..self.size()).find_map(|server| {
                let seen = match self.calls.status(&self.data(server)) {
                    Ok(status) => match self.make.groups {
                        Groups::One => missing(&status),
                        Groups::OnEveryServer => missing_servers(&status).or_else(|| not_at_home(&status)),
                    },
                    Err(error) => Some(error.to_string()),
                };
                seen.map(|what| format!("{}: {what}", NAMES[server]))
            });
            match missing {
                None => return Ok(()),
                Some(what) if began.elapsed() > LIMIT => {
                    return Err(io::Error::other(format!(
                        "the cluster is not whole within {LIMIT:?}: {what}"
                    )));
                }
                Some(_) => std::thread::sleep(LOOK),
            }
        }
    }

    /// Waits until all servers are up, hear each other, and vote, and a quorum would survive the loss of one
    /// more, whether or not another one could take the group: as each of them sees it.
    ///
    /// # Errors
    /// When it does not become so.
    pub fn await_servers(&self) -> io::Result<()> {
        let quorum = |status: &wire::ClusterStatusResponse| {
            status.survival.as_ref().is_some_and(|survival| survival.survives)
        };
        let are = |server: usize| {
            let status = self.calls.status(&self.data(server));
            status.is_ok_and(|status| unheard(&status).is_none() && quorum(&status))
        };
        await_true("all servers with a quorum to spare", || Ok((0..self.size()).all(are)))
    }

    /// Moves the group, and waits until it is there.
    ///
    /// # Errors
    /// When it does not get there.
    pub fn move_to(&self, server: usize) -> io::Result<()> {
        let (active, _) = await_some("an active server", || Ok(self.active_and_leader().ok()))?;
        if active != server {
            self.calls.move_group(&self.data(server), GROUP, SERVERS[server])?;
            await_true("the group on the other server", || {
                Ok(self.active_and_leader().is_ok_and(|(active, _)| active == server))
            })?;
        }
        Ok(())
    }

    /// The logs' last lines, for a report of what went wrong.
    #[must_use]
    pub fn last_words(&self, lines: usize) -> String {
        let last = |server: usize| {
            let text = read(&self.log(server));
            let all: Vec<&str> = text.lines().collect();
            let tail = all[all.len().saturating_sub(lines)..].join("\n  ");
            format!("{}:\n  {tail}\n", NAMES[server])
        };
        (0..self.size()).map(last).collect()
    }

    fn guards(&self) -> MutexGuard<'_, Vec<Option<Child>>> {
        self.guards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for server in 0..self.size() {
            // A machine that cannot be switched off now ends with the laboratory.
            let _ = self.power_off(server);
        }
    }
}

fn online(group: &wire::GroupStatus) -> bool {
    group.state == i32::from(wire::RunState::Online)
}

/// What a node's view of the cluster lacks of being whole.
pub(crate) fn missing(status: &wire::ClusterStatusResponse) -> Option<String> {
    missing_servers(status).or_else(|| match status.groups.iter().find(|group| group.name == GROUP) {
        Some(group) if online(group) => None,
        _ => Some("the group is not online".to_owned()),
    })
}

fn not_at_home(status: &wire::ClusterStatusResponse) -> Option<String> {
    let away = status.groups.iter().find(|group| !online(group) || group.server != group.home)?;
    Some(format!("{} is not online at home: {}", away.name, away.reason))
}

/// What a node's view of the servers lacks of being whole.
fn missing_servers(status: &wire::ClusterStatusResponse) -> Option<String> {
    unheard(status).or_else(|| match &status.survival {
        Some(survival) if survival.survives && survival.stranded.is_empty() => None,
        _ => Some("one more loss would not be survived".to_owned()),
    })
}

/// Who is not there as he should be.
fn unheard(status: &wire::ClusterStatusResponse) -> Option<String> {
    if !status.confirmed {
        return Some("no quorum".to_owned());
    }
    let is_server = |server: &&wire::ServerStatus| server.kind == i32::from(wire::MemberKind::Server);
    for witness in status.servers.iter().filter(|server| !is_server(server)) {
        let votes = witness.voter || witness.kind == i32::from(wire::MemberKind::Register);
        if witness.state != i32::from(wire::ServerState::Heard) || !votes {
            return Some(format!("witness {} is not heard, or has no vote", witness.name));
        }
    }
    for server in status.servers.iter().filter(is_server) {
        let up = server.state == i32::from(wire::ServerState::Up);
        if !up || server.silent || !server.voter {
            return Some(format!("{} is not up, silent, or has no vote", server.name));
        }
        let normal = i32::from(wire::PathState::Normal);
        // A server has no path to itself.
        let poor = server.paths.iter().find(|path| path.state != normal);
        if let Some(path) = poor.filter(|_| server.name != status.seen_from) {
            return Some(format!("{} is not heard on {}", server.name, path.network));
        }
    }
    None
}

/// The floating address of the group whose home is this server.
#[must_use]
pub fn floating(home: usize) -> IpAddr {
    floating_v4(u8::try_from(home).unwrap_or(u8::MAX)).into()
}

/// Waits for a condition, at most [`LIMIT`].
///
/// # Errors
/// Its own, or that it did not come.
pub fn await_true(what: &str, mut condition: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    await_some(what, || Ok(condition()?.then_some(())))
}

/// Waits for something, at most [`LIMIT`].
///
/// # Errors
/// Its own, or that it did not come.
pub fn await_some<T>(what: &str, mut look: impl FnMut() -> io::Result<Option<T>>) -> io::Result<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if began.elapsed() > LIMIT {
            return Err(io::Error::other(format!("no {what} within {LIMIT:?}")));
        }
        std::thread::sleep(LOOK);
    }
}

fn read(path: &Path) -> String {
    let mut text = Vec::new();
    // Missing is empty.
    let _ = File::open(path).and_then(|mut file| io::Read::read_to_end(&mut file, &mut text));
    String::from_utf8_lossy(&text).into_owned()
}
