//! Two servers and a witness whose group has a mirrored disk, with the areas in a folder outside of all
//! machines: they outlive power losses, as disks do.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;

use super::{Cluster, Make, NAMES, await_some, await_true, witness::Witness};
use crate::{ledger::Writer, network::Lab};

/// The disk.
pub const DISK: &str = "md";

/// See the module.
pub struct Mirrored {
    /// The servers.
    pub cluster: Cluster,
    /// Where the disk is mounted.
    pub mount: PathBuf,
    /// The areas, by server.
    pub areas: tempfile::TempDir,
}

impl Mirrored {
    /// Why there can be no mirrored disk here, if so.
    #[must_use]
    pub fn impossible() -> Option<String> {
        let lacks = |path: &str| (!Path::new(path).exists()).then(|| format!("this machine has no {path}"));
        let mkfs = Command::new("mkfs.ext4").arg("-V").output().is_err();
        Lab::impossible()
            .or_else(|| lacks("/dev/fuse"))
            .or_else(|| lacks("/dev/loop-control"))
            .or_else(|| mkfs.then(|| "mkfs.ext4 is missing".to_owned()))
    }

    /// Makes the servers; `service` makes the command line of what runs on the mounted disk. The witness is
    /// the caller's to join.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn form(
        detect: Duration,
        mebibytes: u32,
        service: impl FnOnce(&Path) -> io::Result<String>,
    ) -> io::Result<Self> {
        Self::form_with(detect, mebibytes, "", |_| Ok(()), service)
    }

    /// The same with more keys of the disk's section, one a line, and areas that were prepared: called
    /// with the folder of both servers' folders.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn form_with(
        detect: Duration,
        mebibytes: u32,
        keys: &str,
        prepare: impl FnOnce(&Path) -> io::Result<()>,
        service: impl FnOnce(&Path) -> io::Result<String>,
    ) -> io::Result<Self> {
        let areas = tempfile::Builder::new().prefix("tasuki-areas-").tempdir()?;
        // Services have users of their own.
        fs::set_permissions(areas.path(), fs::Permissions::from_mode(0o755))?;
        let place = |server: &str, what: &str| areas.path().join(server).join(what).display().to_string();
        let mut own = Vec::new();
        for server in &NAMES[..2] {
            fs::create_dir_all(areas.path().join(server))?;
            let (data, metadata) = (place(server, "data"), place(server, "meta"));
            own.push(format!("{server} = {{ data = \"{data}\", metadata = \"{metadata}\" }}"));
        }
        prepare(areas.path())?;
        let mount = areas.path().join("mnt");
        let mut make = Make::with_detect(detect)?;
        make.servers = 2;
        make.cluster = Witness::section("register");
        make.group = format!(
            r#"
[[group.resource]]
name = "{DISK}"
type = "mirror_disk"
data = "{data}"
metadata = "{metadata}"
per_server = {{ {own} }}
size = "{mebibytes} MiB"
mount = "{mount}"
{keys}
on_start_failure = {{ retries = 1000, failovers = 1, final = "none" }}
"#,
            data = place(NAMES[0], "data"),
            metadata = place(NAMES[0], "meta"),
            own = own.join(", "),
            mount = mount.display(),
        );
        make.service = Some(service(&mount)?);
        let cluster = Cluster::prepare(make)?.form()?;
        Ok(Self { cluster, mount, areas })
    }

    /// The disk as the first server that answers shows it.
    ///
    /// # Errors
    /// When none answers.
    pub fn disk(&self) -> io::Result<Value> {
        let on = (0..2).find(|server| self.cluster.lab().is_on(*server));
        self.disk_on(on.ok_or_else(|| io::Error::other("every server is off"))?)
    }

    /// The disk as a server shows it.
    ///
    /// # Errors
    /// When that does not answer.
    pub fn disk_on(&self, server: usize) -> io::Result<Value> {
        let shown = self.cluster.tasuki(server, &["mirror", "status", DISK, "--json"])?;
        let said = || String::from_utf8_lossy(&shown.stderr).into_owned();
        let all: Value = serde_json::from_slice(&shown.stdout)
            .map_err(|error| io::Error::other(format!("{error}: {}", said())))?;
        all.get(0).cloned().ok_or_else(|| io::Error::other("there is no such disk"))
    }

    /// The areas' folder of a server.
    #[must_use]
    pub fn place(&self, server: usize, what: &str) -> PathBuf {
        self.areas.path().join(NAMES[server]).join(what)
    }

    /// Runs a script of the shell on a server, in the folder where the disk is mounted.
    ///
    /// # Errors
    /// When it fails; with what it said.
    pub fn on_disk(&self, server: usize, script: &str) -> io::Result<String> {
        let text = format!("cd {} && {script}", self.mount.display());
        let done = self.cluster.lab().run(server, &["sh", "-ec", &text])?;
        match done.status.success() {
            true => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
            false => Err(io::Error::other(format!("{script}: {}", String::from_utf8_lossy(&done.stderr)))),
        }
    }

    /// What a command of the command line prints on a server, and whether it was successful.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn said(&self, server: usize, words: &[&str]) -> io::Result<(bool, String)> {
        let done = self.cluster.tasuki(server, words)?;
        let text = [done.stdout, done.stderr].concat();
        Ok((done.status.success(), String::from_utf8_lossy(&text).into_owned()))
    }

    /// Waits until the disk is so, as the first server that answers shows it.
    ///
    /// # Errors
    /// When it is not in time; with what everybody says.
    pub fn await_disk(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> io::Result<()> {
        let waited = await_true(what, || Ok(self.disk().is_ok_and(|disk| is_so(&disk))));
        self.told(waited)
    }

    /// Waits until so many copies are good, as everybody who answers has it: one that has just started
    /// tells what it knew before.
    ///
    /// # Errors
    /// When they are not in time; with what everybody says.
    pub fn await_good(&self, copies: usize) -> io::Result<()> {
        let good = |disk: Value| disk["good"].as_array().is_some_and(|good| good.len() == copies);
        let waited = await_true(&format!("{copies} good copies"), || {
            let on = (0..2).filter(|server| self.cluster.lab().is_on(*server));
            let shown: Vec<Value> = on.filter_map(|server| self.disk_on(server).ok()).collect();
            Ok(!shown.is_empty() && shown.into_iter().all(good))
        });
        self.told(waited)
    }

    /// Who runs the group.
    ///
    /// # Errors
    /// When nobody does in time.
    pub fn active(&self) -> io::Result<usize> {
        let found = await_some("an active server", || Ok(self.cluster.active_and_leader().ok()));
        self.told(found).map(|(active, _)| active)
    }

    /// Waits until all is as at the beginning.
    ///
    /// # Errors
    /// When it does not become so.
    pub fn await_whole(&self) -> io::Result<()> {
        self.await_good(2)?;
        let whole = self.cluster.await_whole();
        self.told(whole)
    }

    /// Waits until a writer's lines are acknowledged (again).
    ///
    /// # Errors
    /// When they are not in time.
    pub fn await_lines(&self, writer: &Writer, more: usize) -> io::Result<()> {
        let waited = writer.wait_for(more, Duration::from_secs(120));
        self.told(waited)
    }

    /// An error with what the servers said last.
    ///
    /// # Errors
    /// That one.
    pub fn told<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        outcome.map_err(|error| {
            let shown = (0..2).map(|server| self.cluster.tasuki(server, &["mirror", "detail", DISK]));
            let shown: Vec<String> =
                shown.flatten().map(|done| String::from_utf8_lossy(&done.stdout).into_owned()).collect();
            io::Error::other(format!("{error}\n{}\n{}", shown.join("\n"), self.cluster.last_words(60)))
        })
    }
}
