//! Virtual machines in QEMU, by software: for what only a machine of its own can show, a reset above
//! all. See `tests/vm/README.md`.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::fcntl::{Flock, FlockArg};

use crate::hosts::program;

/// What building and booting call, besides what every system has.
const NEEDED: [&str; 7] =
    ["qemu-system-x86_64", "busybox", "cpio", "depmod", "modprobe", "dpkg-deb", "apt-get"];
/// A machine that takes longer than this is broken, or the one it runs on is.
const LIMIT: Duration = Duration::from_secs(150);
/// Who builds at the same time is waited for this long.
const BUILDING: Duration = Duration::from_secs(120);

/// What a machine needs to boot, built once.
#[derive(Clone, Debug)]
pub struct Kit {
    dir: PathBuf,
}

/// What a machine is made of.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The scenario that runs in it.
    pub scenario: String,
    /// Programs in its `/bin`, with the libraries that they need.
    pub programs: Vec<PathBuf>,
    /// Files in its `/`, by name, with what is in them.
    pub files: Vec<(String, String)>,
    /// Files that are its disks, in this order.
    pub disks: Vec<PathBuf>,
    /// Its power is cut at so many lines of the console that begin so.
    pub cut: Option<(String, usize)>,
}

/// How a machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was reset.
    Reset,
    /// Its scenario came to its end.
    InOrder,
    /// Its power was cut.
    Cut,
}

/// What was seen of a machine from outside.
#[derive(Debug)]
pub struct Seen {
    /// How it ended.
    pub ended: Ended,
    /// When, since it was started.
    pub at: Duration,
    /// What was on its console, and when.
    pub lines: Vec<(Duration, String)>,
}

impl Seen {
    /// When a line that begins so first appeared, and the rest of it.
    #[must_use]
    pub fn mark(&self, begin: &str) -> Option<(Duration, &str)> {
        self.lines.iter().find_map(|(at, line)| Some((*at, line.strip_prefix(begin)?.trim())))
    }

    /// The console, for a message.
    #[must_use]
    pub fn console(&self) -> String {
        self.lines.iter().map(|(at, line)| format!("{:7.2} {line}\n", at.as_secs_f64())).collect()
    }
}

impl Kit {
    /// Finds or builds it, in `TASUKI_VM_DIR` or else in `place`.
    ///
    /// # Errors
    /// Why there are no virtual machines here.
    pub fn new(place: &Path) -> Result<Self, String> {
        let missing: Vec<&str> = NEEDED.into_iter().filter(|name| !is_there(name)).collect();
        if !missing.is_empty() {
            return Err(format!("{} missing", missing.join(", ")));
        }
        let dir = std::env::var_os("TASUKI_VM_DIR").map_or_else(|| place.join("vm"), PathBuf::from);
        fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
        let kit = Self { dir };
        kit.build()?;
        Ok(kit)
    }

    /// Builds under a lock: test binaries run side by side.
    fn build(&self) -> Result<(), String> {
        let error = |error: io::Error| error.to_string();
        let mut file = fs::File::create(self.dir.join("lock")).map_err(error)?;
        let end = Instant::now() + BUILDING;
        let _lock = loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => break lock,
                Err(_) if Instant::now() >= end => {
                    return Err("somebody else has been building for too long".into());
                }
                Err((again, _)) => file = again,
            }
            thread::sleep(Duration::from_millis(100));
        };
        if self.dir.join("made-2").exists() {
            return Ok(());
        }
        let built =
            Command::new("sh").arg(scripts().join("build.sh")).arg(&self.dir).output().map_err(error)?;
        if built.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&built.stderr);
        Err(format!("the kernel cannot be had: {}", said.lines().last().unwrap_or_default()))
    }

    /// Boots one machine with Tasuki and a scenario, and watches it to its end.
    ///
    /// # Errors
    /// When it cannot be started, or neither resets nor ends.
    pub fn run(&self, scenario: &str) -> Result<Seen, String> {
        let programs = vec![program().map_err(|error| error.to_string())?];
        self.run_machine(&Machine {
            scenario: scenario.to_owned(),
            programs,
            files: Vec::new(),
            disks: Vec::new(),
            cut: None,
        })
    }

    /// Boots this machine, and watches it to its end.
    ///
    /// # Errors
    /// As [`Kit::run`].
    pub fn run_machine(&self, machine: &Machine) -> Result<Seen, String> {
        let error = |error: io::Error| error.to_string();
        let scenario = &machine.scenario;
        let folder = tempfile::tempdir().map_err(error)?;
        let inside = folder.path().join("scenario");
        fs::create_dir(&inside).map_err(error)?;
        for file in fs::read_dir(scripts().join("scenarios")).map_err(error)? {
            let file = file.map_err(error)?;
            let name = file.file_name();
            let name = if name == *format!("{scenario}.sh") { "scenario.sh".into() } else { name };
            fs::copy(file.path(), inside.join(name)).map_err(error)?;
        }
        for (name, text) in &machine.files {
            fs::write(inside.join(name), text).map_err(error)?;
        }
        let first = folder.path().join("initrd");
        let packed = Command::new("sh")
            .arg(scripts().join("pack.sh"))
            .args([&self.dir, &inside, &first])
            .args(&machine.programs)
            .output()
            .map_err(error)?;
        if !packed.status.success() {
            return Err(format!("pack.sh: {}", String::from_utf8_lossy(&packed.stderr)));
        }
        watch(self.boot(&first, &machine.disks).map_err(error)?, machine.cut.as_ref())
    }

    fn boot(&self, first: &Path, disks: &[PathBuf]) -> io::Result<Child> {
        // What the machine has not written to its disk is gone with its power; what this machine has in
        // its own cache is not.
        let disks =
            disks.iter().map(|disk| format!("file={},if=virtio,format=raw,cache=unsafe", disk.display()));
        Command::new("qemu-system-x86_64")
            .args(disks.flat_map(|disk| ["-drive".to_owned(), disk]))
            // A reset ends QEMU. So does switching off, but before that the scenario says that it ended.
            .arg("-no-reboot")
            .args(["-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", "max", "-smp", "1", "-m", "768"])
            .args(["-nodefaults", "-display", "none", "-monitor", "none", "-nic", "none", "-serial", "stdio"])
            .arg("-kernel")
            .arg(self.dir.join("vmlinuz"))
            .arg("-initrd")
            .arg(first)
            .args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
    }
}

/// Reads the console until the machine ends.
fn watch(mut machine: Child, cut: Option<&(String, usize)>) -> Result<Seen, String> {
    let began = Instant::now();
    let console = machine.stdout.take().ok_or("QEMU has no console")?;
    let (sender, console_lines) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send((began.elapsed(), line)).is_err() {
                return;
            }
        }
    });
    let mut lines: Vec<(Duration, String)> = Vec::new();
    let mut until_cut = cut.map(|(_, count)| *count);
    let ended = loop {
        let left = LIMIT.saturating_sub(began.elapsed());
        match console_lines.recv_timeout(left) {
            Ok((at, line)) => {
                let end = line.starts_with("MARK end of the scenario");
                if cut.is_some_and(|(begin, _)| line.starts_with(begin)) {
                    until_cut = until_cut.map(|left| left.saturating_sub(1));
                }
                lines.push((at, line));
                if until_cut == Some(0) {
                    break Some(Ended::Cut);
                }
                if end {
                    break Some(Ended::InOrder);
                }
            }
            // QEMU has closed the console: it has ended, which it does at a reset only.
            Err(mpsc::RecvTimeoutError::Disconnected) => break Some(Ended::Reset),
            Err(mpsc::RecvTimeoutError::Timeout) => break None,
        }
    };
    let at = began.elapsed();
    let still_runs = ended != Some(Ended::Reset);
    if still_runs {
        machine.kill().map_err(|error| error.to_string())?;
    }
    let status = machine.wait().map_err(|error| error.to_string())?;
    let _a_thread_of_ours = reader.join();
    // What it said before it was killed.
    lines.extend(console_lines.try_iter());
    let Some(ended) = ended else {
        let seen = Seen { ended: Ended::InOrder, at, lines };
        return Err(format!("nothing happened within {LIMIT:?}:\n{}", seen.console()));
    };
    let seen = Seen { ended, at, lines };
    if !still_runs && !status.success() {
        return Err(format!("QEMU failed with {status}:\n{}", seen.console()));
    }
    Ok(seen)
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vm")
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).any(|folder| folder.join(program).exists())
}
