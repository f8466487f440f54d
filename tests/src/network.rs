//! A laboratory of whole machines: servers, each with network, processes and boots of its own, on
//! two switches (interconnect and public), and a client on the public one. Cables can be cut,
//! switches can lose frames, machines can lose their power.
//!
//! Everything is in namespaces without names, so several laboratories can run side by side, and
//! the kernel removes all of it when the test ends, however it ends. Needs root and iproute2.

pub mod holders;
pub mod machine;
pub mod parting;
pub mod pause;
pub mod presence;

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
    time::{Duration, Instant},
};

pub use self::{
    machine::{Machine, Process},
    parting::Unheard,
};

/// One of the two switches. Its name is also the interface's name in every server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Network {
    /// Between servers: 192.168.77.0/24.
    Interconnect,
    /// With the client: 10.77.0.0/24 and fd77::/64.
    Public,
}

impl Network {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Interconnect, Self::Public];

    /// The interface's name.
    #[must_use]
    pub fn interface(self) -> &'static str {
        match self {
            Self::Interconnect => "interconnect",
            Self::Public => "public",
        }
    }

    /// The address of server number `server` (from 0).
    #[must_use]
    pub fn address(self, server: usize) -> IpAddr {
        let server = server as u8;
        match self {
            Self::Interconnect => Ipv4Addr::new(192, 168, 77, 1 + server).into(),
            Self::Public => Ipv4Addr::new(10, 77, 0, 11 + server).into(),
        }
    }
}

/// A free address of the public network, for a group: `n` from 0.
#[must_use]
pub fn floating_v4(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 100 + n)
}

/// The same for IPv6; its prefix is 64.
#[must_use]
pub fn floating_v6(n: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 1, u16::from(n))
}

/// See the module.
#[derive(Debug)]
pub struct Lab {
    // Fields are dropped in this order: first the servers, last the folder.
    servers: Vec<Server>,
    client: Machine,
    hub: Machine,
    folder: tempfile::TempDir,
}

#[derive(Debug)]
struct Server {
    name: String,
    /// The first process of its machine; 0: switched off.
    init: AtomicI32,
    state: Mutex<Power>,
}

#[derive(Debug)]
struct Power {
    /// `None`: switched off.
    machine: Option<Machine>,
    boots: u32,
}

impl Lab {
    /// Why there can be no laboratory here, if so.
    #[must_use]
    pub fn impossible() -> Option<String> {
        if !nix::unistd::geteuid().is_root() {
            return Some("network namespaces need root".to_owned());
        }
        if !Path::new("/proc/sys/net/ipv6").exists() {
            return Some("this machine's kernel has no IPv6".to_owned());
        }
        for tool in ["ip", "unshare", "nsenter"] {
            if Command::new(tool).arg("-V").output().is_err() {
                return Some(format!("`{tool}` is missing (iproute2, util-linux)"));
            }
        }
        let bridge = |machine: Machine| {
            machine.ip("link add br0 type bridge\nlink add port0 type veth peer name port1\n")
        };
        match Machine::switch_on(None).and_then(bridge) {
            Ok(()) => None,
            Err(error) => {
                Some(format!("this machine does not permit network namespaces with bridges: {error}"))
            }
        }
    }

    /// Builds the networks and switches all servers on. Nothing of Tasuki runs yet.
    ///
    /// # Errors
    /// When something cannot be built.
    pub fn start(names: &[&str]) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("tasuki-lab-").tempdir()?;
        let hub = Machine::switch_on(None)?;
        for network in Network::ALL {
            let name = network.interface();
            hub.ip(&format!("link add {name} type bridge mcast_snooping 0\nlink set {name} up\n"))?;
        }
        let client = Machine::switch_on(None)?;
        hub.ip(&format!(
            "link add client type veth peer name eth0 netns {}\nlink set client master public up\n",
            client.init()
        ))?;
        client
            .ip("addr add 10.77.0.1/24 dev eth0\naddr add fd77::1/64 dev eth0 nodad\nlink set eth0 up\n")?;
        let server = |name: &&str| Server {
            name: (*name).to_owned(),
            init: AtomicI32::new(0),
            state: Mutex::new(Power { machine: None, boots: 0 }),
        };
        let lab = Self { servers: names.iter().map(server).collect(), client, hub, folder };
        for server in 0..names.len() {
            fs::create_dir_all(lab.data_dir(server))?;
            lab.power_on(server)?;
        }
        await_true("the client's carrier", || lab.client.has_carrier("eth0"))?;
        Ok(lab)
    }

    /// How many servers there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.servers.len()
    }

    /// The name of server number `server` (from 0).
    #[must_use]
    pub fn name(&self, server: usize) -> &str {
        &self.servers[server].name
    }

    /// The number of the server of that name.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<usize> {
        self.servers.iter().position(|server| server.name == name)
    }

    /// The laboratory's folder; removed with it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A server's folder for what survives a boot.
    #[must_use]
    pub fn data_dir(&self, server: usize) -> PathBuf {
        self.folder.path().join(self.name(server)).join("data")
    }

    /// A server's folder for what is of one boot: emptied when it is switched on.
    #[must_use]
    pub fn run_dir(&self, server: usize) -> PathBuf {
        self.folder.path().join(self.name(server)).join("run")
    }

    /// The outside client's machine.
    #[must_use]
    pub fn client(&self) -> &Machine {
        &self.client
    }

    /// Switches a server on: a new boot with all cables in, the disk as it was left.
    ///
    /// # Errors
    /// When it is on, or cannot be built.
    pub fn power_on(&self, server: usize) -> io::Result<()> {
        let mut power = self.power(server);
        if power.machine.is_some() {
            return Err(io::Error::other(format!("{} is on already", self.name(server))));
        }
        power.boots += 1;
        let boot_id = self.boot_id(server, power.boots)?;
        let machine = Machine::switch_on(Some(&boot_id))?;
        for network in Network::ALL {
            let (interface, port) = (network.interface(), port(server, network, power.boots));
            // The hardware address stays that of the server, as it does in reality.
            self.hub.ip(&format!(
                "link add {port} type veth peer name {interface} address {} netns {}\n\
                 link set {port} master {interface} up\n",
                parting::hardware_address(server, network),
                machine.init(),
            ))?;
            machine.ip(&format!(
                "addr add {}/24 dev {interface}\nlink set {interface} up\n",
                network.address(server)
            ))?;
        }
        machine.ip(&format!("addr add fd77::{:x}/64 dev public nodad\n", 11 + server))?;
        for network in Network::ALL {
            await_true("a server's carrier", || machine.has_carrier(network.interface()))?;
        }
        self.servers[server].init.store(machine.init(), Ordering::Release);
        power.machine = Some(machine);
        Ok(())
    }

    /// A power loss: nothing on the server says anything any more, then nothing of it is left but
    /// its disk. Off already is fine.
    ///
    /// # Errors
    /// When its cables cannot be pulled.
    pub fn power_off(&self, server: usize) -> io::Result<()> {
        let mut power = self.power(server);
        if power.machine.is_none() {
            return Ok(());
        }
        // The kernel's part of a dead machine lives on for some milliseconds, and would answer.
        let lines =
            Network::ALL.map(|network| format!("link set {} down\n", port(server, network, power.boots)));
        self.hub.ip(&lines.concat())?;
        self.servers[server].init.store(0, Ordering::Release);
        power.machine = None;
        Ok(())
    }

    /// Whether a server is switched on.
    #[must_use]
    pub fn is_on(&self, server: usize) -> bool {
        self.power(server).machine.is_some()
    }

    /// Pulls one cable: the link is gone on both ends.
    ///
    /// # Errors
    /// When the server is off.
    pub fn cut(&self, server: usize, networks: &[Network]) -> io::Result<()> {
        self.ports(server, networks, |port, _| format!("link set {port} down\n"))
    }

    /// Lets the switch lose everything from and to the server: the link stays.
    ///
    /// # Errors
    /// When the server is off.
    pub fn black_hole(&self, server: usize, networks: &[Network]) -> io::Result<()> {
        self.ports(server, networks, |port, _| format!("link set {port} nomaster\n"))
    }

    /// Undoes both.
    ///
    /// # Errors
    /// When the server is off.
    pub fn heal(&self, server: usize, networks: &[Network]) -> io::Result<()> {
        self.ports(server, networks, |port, switch| format!("link set {port} master {switch} up\n"))
    }

    /// A command that runs on a server; see [`Machine::command`].
    ///
    /// # Errors
    /// When the server is off.
    pub fn command(&self, server: usize, program: impl AsRef<std::ffi::OsStr>) -> io::Result<Command> {
        self.with_machine(server, |machine| machine.command(program))
    }

    /// Runs a command line on a server, until it has ended and nobody holds its output open any more.
    ///
    /// # Errors
    /// When the server is off, or there is no such program.
    pub fn run(&self, server: usize, words: &[&str]) -> io::Result<Output> {
        let (program, arguments) = words.split_first().ok_or_else(|| io::Error::other("no program given"))?;
        self.command(server, program)?.args(arguments).output()
    }

    /// The processes on a server whose command line has all these words, each as a whole word of
    /// it or as the last part of a path.
    ///
    /// # Errors
    /// When the server is off.
    pub fn processes(&self, server: usize, words: &[&str]) -> io::Result<Vec<Process>> {
        let mut all = self.with_machine(server, Machine::processes)??;
        let is = |had: &String, wanted: &str| had == wanted || had.ends_with(&format!("/{wanted}"));
        all.retain(|process| {
            !process.ended && words.iter().all(|wanted| process.words.iter().any(|had| is(had, wanted)))
        });
        Ok(all)
    }

    /// Calls `work` with a server's machine.
    ///
    /// # Errors
    /// When the server is off.
    pub fn with_machine<T>(&self, server: usize, work: impl FnOnce(&Machine) -> T) -> io::Result<T> {
        match &self.power(server).machine {
            Some(machine) => Ok(work(machine)),
            None => Err(self.is_off(server)),
        }
    }

    fn ports(
        &self,
        server: usize,
        networks: &[Network],
        line: impl Fn(&str, &str) -> String,
    ) -> io::Result<()> {
        let power = self.power(server);
        if power.machine.is_none() {
            return Err(self.is_off(server));
        }
        let lines: String = networks
            .iter()
            .map(|network| line(&port(server, *network, power.boots), network.interface()))
            .collect();
        self.hub.ip(&lines)
    }

    fn power(&self, server: usize) -> MutexGuard<'_, Power> {
        self.servers[server].state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_off(&self, server: usize) -> io::Error {
        io::Error::other(format!("{} is switched off", self.name(server)))
    }

    /// The file that names this boot, and an empty run folder.
    fn boot_id(&self, server: usize, boot: u32) -> io::Result<PathBuf> {
        match fs::remove_dir_all(self.run_dir(server)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(self.run_dir(server))?,
        }
        let path = self.folder.path().join(self.name(server)).join("boot_id");
        let machine = fs::metadata(self.folder.path())?.ino();
        fs::write(&path, format!("{machine:08x}-0000-4000-8000-{server:04x}{boot:08x}\n"))?;
        Ok(path)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for server in 0..self.size() {
            self.power(server).machine = None;
            remove_groups_of(&self.data_dir(server));
        }
    }
}

/// Removes where the guard of this data folder keeps its control groups; they outlive processes.
pub(crate) fn remove_groups_of(data: &Path) {
    if let Ok(folder) = fs::metadata(data) {
        let name = format!("tasuki/{:x}-{:x}", folder.dev(), folder.ino());
        for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
            remove_groups(&Path::new(root).join(&name));
        }
    }
}

/// Removes a control group with those below it; those that are not there are fine.
fn remove_groups(group: &Path) {
    if !group.join("cgroup.procs").exists() {
        return;
    }
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}

/// The switch's port for one cable of one boot. The kernel takes a dead machine's cables away a
/// little later, so the next boot's have other names.
fn port(server: usize, network: Network, boot: u32) -> String {
    let network = if network == Network::Public { 'p' } else { 'i' };
    format!("{network}{server}b{boot}")
}

fn await_true(what: &str, mut condition: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let start = Instant::now();
    while !condition()? {
        if start.elapsed() > Duration::from_secs(10) {
            return Err(io::Error::other(format!("no {what} within 10 s")));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
