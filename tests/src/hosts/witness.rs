//! A witness process on the machine outside, where the client is.

use std::{
    fs::{self, OpenOptions},
    io,
    path::PathBuf,
    process::{Child, Stdio},
    thread,
};

use nix::sys::signal::Signal;
use tasuki_proto::v1 as wire;

use super::{Cluster, Version, await_true};
use crate::network::Network;

/// Its name.
pub const WITNESS: &str = "ruru";

/// A witness that has joined a cluster, and ends with this.
pub struct Witness<'a> {
    cluster: &'a Cluster,
    folder: PathBuf,
    version: Version,
    keeper: Option<Child>,
}

impl<'a> Witness<'a> {
    /// What the configuration says of it: [`super::Make::cluster`].
    #[must_use]
    pub fn section(kind: &str) -> String {
        format!("\n[[witness]]\nname = \"{WITNESS}\"\naddress = \"10.77.0.1\"\nkind = \"{kind}\"\n")
    }

    /// Lets it join, and starts it.
    ///
    /// # Errors
    /// When it cannot join.
    pub fn join(cluster: &'a Cluster) -> io::Result<Self> {
        let folder = cluster.lab().folder().join(WITNESS);
        let token = cluster.calls().token(&cluster.data(0), WITNESS)?;
        let member = Network::Public.address(0).to_string();
        let joined = cluster
            .lab()
            .client()
            .command(&cluster.make().program)
            .args(["witness", "join", &member, "--token", &token, "--name", WITNESS, "--data"])
            .arg(&folder)
            .output()?;
        if !joined.status.success() {
            return Err(io::Error::other(format!("{joined:?}")));
        }
        let mut witness = Self { cluster, folder, version: Version::of(cluster.make()), keeper: None };
        witness.start()?;
        Ok(witness)
    }

    /// Starts its process.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self) -> io::Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = self.cluster.lab().client().command(&self.version.program);
        command.envs(self.version.environment()).args(["witness", "--data"]).arg(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.keeper = Some(command.spawn()?);
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.folder.with_extension("log")
    }

    /// What it is started with from the next start on.
    pub fn run_as(&mut self, version: Version) {
        self.version = version;
    }

    /// Ends it like a machine that loses its power.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub fn kill(&mut self) -> io::Result<()> {
        let processes = self.cluster.lab().client().processes()?;
        for process in processes.iter().filter(|process| process.words.iter().any(|word| word == "witness")) {
            process.signal(Signal::SIGKILL)?;
        }
        if let Some(mut keeper) = self.keeper.take() {
            keeper.wait()?;
        }
        Ok(())
    }

    fn state(&self, server: usize) -> Option<i32> {
        let status = self.cluster.calls().status(&self.cluster.data(server)).ok()?;
        status.servers.iter().find(|one| one.name == WITNESS).map(|witness| witness.state)
    }

    /// Waits until both servers say so of it.
    ///
    /// # Errors
    /// When they do not.
    pub fn await_state(&self, wanted: wire::ServerState) -> io::Result<()> {
        let both = || Ok((0..2).all(|server| self.state(server) == Some(i32::from(wanted))));
        await_true("what the servers say of the witness", both)
    }
}

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            println!("the witness said:\n{log}\n{}", self.cluster.last_words(40));
        }
        if let Err(error) = self.kill() {
            println!("the witness was not ended: {error}");
        }
    }
}
