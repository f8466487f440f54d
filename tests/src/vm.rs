//! Virtual machines in QEMU, by software: for what only a machine of its own can show, a reset above
//! all. See `tests/vm/README.md`.

mod live;
mod pair;
mod watch;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::AtomicBool,
    thread,
    time::{Duration, Instant},
};

use nix::fcntl::{Flock, FlockArg};

pub use self::{
    live::{Live, Packed},
    watch::{Ended, Seen},
};

use crate::hosts::program;

/// What building and booting call, besides what every system has.
const NEEDED: [&str; 7] =
    ["qemu-system-x86_64", "busybox", "cpio", "depmod", "modprobe", "dpkg-deb", "apt-get"];
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
        self.run_and_tell(machine, &mut |_, _| {})
    }

    /// The same, and tells of every line of the console as soon as it is there, and when that is.
    ///
    /// # Errors
    /// As [`Kit::run`].
    pub fn run_and_tell(
        &self,
        machine: &Machine,
        tell: &mut dyn FnMut(Duration, &str),
    ) -> Result<Seen, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let first = self.pack(machine, folder.path())?;
        let began = Instant::now();
        let child = self.boot(&first, &machine.disks, &[]).map_err(|error| error.to_string())?;
        watch::watch(child, began, machine.cut.as_ref(), &AtomicBool::new(false), tell)
    }

    /// Packs a machine's first file system into this folder.
    fn pack(&self, machine: &Machine, folder: &Path) -> Result<PathBuf, String> {
        let error = |error: io::Error| error.to_string();
        let scenario = &machine.scenario;
        let inside = folder.join("scenario");
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
        let first = folder.join("initrd");
        let packed = Command::new("sh")
            .arg(scripts().join("pack.sh"))
            .args([&self.dir, &inside, &first])
            .args(&machine.programs)
            .output()
            .map_err(error)?;
        match packed.status.success() {
            true => Ok(first),
            false => Err(format!("pack.sh: {}", String::from_utf8_lossy(&packed.stderr))),
        }
    }

    /// Starts it, with more of QEMU's words.
    fn boot(&self, first: &Path, disks: &[PathBuf], more: &[String]) -> io::Result<Child> {
        self.command(first, disks, more).stdin(Stdio::null()).spawn()
    }

    fn command(&self, first: &Path, disks: &[PathBuf], more: &[String]) -> Command {
        // What the machine has not written to its disk is gone with its power; what this machine has in
        // its own cache is not, and two machines with one disk share it. Each of them would lock the disk.
        let disks = disks.iter().map(|disk| {
            let file = format!("file.driver=file,file.filename={},file.locking=off", disk.display());
            format!("{file},if=virtio,format=raw,cache=unsafe")
        });
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(disks.flat_map(|disk| ["-drive".to_owned(), disk]))
            // A reset ends QEMU. So does switching off, but before that the scenario says that it ended.
            .arg("-no-reboot")
            .args(["-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", "max", "-smp", "1", "-m", "768"])
            .args(["-nodefaults", "-display", "none", "-monitor", "none", "-serial", "stdio"])
            .args(more)
            .arg("-kernel")
            .arg(self.dir.join("vmlinuz"))
            .arg("-initrd")
            .arg(first)
            .args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off"])
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        qemu
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vm")
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).any(|folder| folder.join(program).exists())
}
