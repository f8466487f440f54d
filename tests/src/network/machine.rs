//! One machine of the laboratory: network, processes and mounts of its own, held by a first process
//! whose end is a power loss. The kernel ends every other process inside before that end is seen.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

use nix::{
    net::if_::InterfaceFlags,
    sched::{CloneFlags, setns},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The first process inside. It collects orphans, as an init does, and ends when its input is
/// closed: nothing survives a test that dies.
const INIT: &str = r#"
exec 3<&0 </dev/null
if [ -n "$1" ]; then mount --bind "$1" /proc/sys/kernel/random/boot_id || exit 1; fi
# The devices of mirrored disks have the same names on every machine.
mkdir -p /dev/tasuki && mount -t tmpfs -o mode=755 none /dev/tasuki || exit 1
ip link set lo up || exit 1
echo ready
cat <&3 >/dev/null &
exec 3<&-
wait $!
"#;

/// A machine that is switched on; dropped, it loses its power.
#[derive(Debug)]
pub struct Machine {
    holder: Child,
    init: i32,
    _alive: Option<ChildStdin>,
}

impl Machine {
    /// Switches a machine on. With `boot_id`, the file's content is what its kernel names this boot.
    ///
    /// # Errors
    /// When namespaces cannot be made.
    pub fn switch_on(boot_id: Option<&Path>) -> io::Result<Self> {
        let mut holder = Command::new("unshare")
            .args(["--net", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child=KILL", "--"])
            .args(["sh", "-c", INIT, "init"])
            .args(boot_id)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let alive = holder.stdin.take();
        let mut line = String::new();
        if let Some(output) = holder.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        if line != "ready\n" {
            let failed = holder.wait_with_output()?;
            return Err(io::Error::other(String::from_utf8_lossy(&failed.stderr).trim().to_owned()));
        }
        // The last thing that may be said on it; a full pipe must not stop the machine.
        holder.stderr = None;
        let init = child_of(holder.id())
            .ok_or_else(|| io::Error::other("the machine's first process is not there"))?;
        Ok(Self { holder, init, _alive: alive })
    }

    /// The first process, as seen from outside.
    #[must_use]
    pub fn init(&self) -> i32 {
        self.init
    }

    /// A command that runs inside. What is killed by its handle is only the door-keeper outside: to
    /// kill what runs inside, find it with [`processes`](Self::processes).
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--pid", "--mount", "--target", &self.init.to_string(), "--"]).arg(program);
        command
    }

    /// Runs `ip` once for all these lines.
    ///
    /// # Errors
    /// When one of them fails; later ones are not tried.
    pub fn ip(&self, lines: &str) -> io::Result<()> {
        // Not among the processes inside: lines name other machines by their first process.
        let mut child = Command::new("nsenter")
            .args(["--net", "--target", &self.init.to_string(), "--", "ip", "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(lines.as_bytes())?;
        }
        let done = child.wait_with_output()?;
        match done.status.success() {
            true => Ok(()),
            false => Err(io::Error::other(format!("ip: {}", String::from_utf8_lossy(&done.stderr).trim()))),
        }
    }

    /// All processes inside but the first ones.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn processes(&self) -> io::Result<Vec<Process>> {
        let inside = fs::read_link(format!("/proc/{}/ns/pid", self.init))?;
        let mut found = Vec::new();
        for pid in pids()? {
            let same =
                fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|namespace| namespace == inside);
            let own = pid == self.init || parent_of(pid) == Some(self.init) && is_keeper(pid);
            if same && !own {
                found.extend(Process::read(pid));
            }
        }
        Ok(found)
    }

    /// Runs `work` on a thread in this machine's network.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn on_network<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let network = File::open(format!("/proc/{}/ns/net", self.init))?;
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(network, CloneFlags::CLONE_NEWNET)?;
                Ok(work())
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Whether this interface is up and has a carrier.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn has_carrier(&self, interface: &str) -> io::Result<bool> {
        let wanted = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_LOWER_UP;
        self.on_network(|| {
            let mut all = nix::ifaddrs::getifaddrs()?;
            Ok(all.any(|one| one.interface_name == interface && one.flags.contains(wanted)))
        })?
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Of two kills one may come too late, which is as good.
        let _ = kill(Pid::from_raw(self.init), Signal::SIGKILL);
        let _ = self.holder.wait();
    }
}

/// A process, as seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number outside.
    pub pid: i32,
    /// Its command line.
    pub words: Vec<String>,
    /// Ended, but not collected yet.
    pub ended: bool,
}

impl Process {
    fn read(pid: i32) -> Option<Self> {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let words = line.split(|byte| *byte == 0).filter(|word| !word.is_empty());
        let words = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        let ended = stat_fields(pid)?.first().is_some_and(|state| state == "Z");
        Some(Self { pid, words, ended })
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is not there.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill(Pid::from_raw(self.pid), signal)?)
    }
}

fn pids() -> io::Result<Vec<i32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    Ok(pids)
}

fn child_of(parent: u32) -> Option<i32> {
    let parent = i32::try_from(parent).ok()?;
    pids().ok()?.into_iter().find(|pid| parent_of(*pid) == Some(parent))
}

fn parent_of(pid: i32) -> Option<i32> {
    stat_fields(pid)?.get(1)?.parse().ok()
}

/// What follows the name in `/proc/PID/stat`: state, parent, …
fn stat_fields(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().take(2).map(str::to_owned).collect())
}

/// The process that notices that the test is gone.
fn is_keeper(pid: i32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"cat\0")
}
