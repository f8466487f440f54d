//! A server that stands still: guard, node and everything that runs under them, frozen at one moment
//! by the freezer of control groups and thawed later, as a host does with a virtual machine. Its
//! network's kernel lives on, and takes in what comes meanwhile.

use std::{fs, io, path::PathBuf};

use super::{Lab, presence::control_group};

/// A server that can be frozen.
#[derive(Debug)]
pub struct Pause {
    /// What guard and node are in.
    own: PathBuf,
    /// What their resources are in.
    resources: PathBuf,
}

impl Lab {
    /// Puts the guard and the node of a server where they can be frozen. A node that starts later is
    /// in there too.
    ///
    /// # Errors
    /// When there are no control groups (version 2) with a freezer, or nothing runs on the server.
    pub fn can_pause(&self, server: usize) -> io::Result<Pause> {
        let missing = || io::Error::other("there are no control groups (version 2) here");
        let resources = control_group(self, server).ok_or_else(missing)?;
        let name = resources.file_name().ok_or_else(missing)?.to_string_lossy().into_owned();
        let root = resources.parent().and_then(|path| path.parent()).ok_or_else(missing)?;
        let own = root.join(format!("tasuki-lab-{name}"));
        fs::create_dir_all(&own)?;
        let pause = Pause { own, resources };
        for word in ["guard", "node"] {
            for process in self.processes(server, &["tasuki", word])? {
                fs::write(pause.own.join("cgroup.procs"), process.pid.to_string())?;
            }
        }
        Ok(pause)
    }
}

impl Pause {
    /// Everything stands still.
    ///
    /// # Errors
    /// When the kernel does not.
    pub fn freeze(&self) -> io::Result<()> {
        self.set("1")
    }

    /// Everything goes on: first what runs under the guard, which is the worse order.
    ///
    /// # Errors
    /// When the kernel does not.
    pub fn thaw(&self) -> io::Result<()> {
        self.set("0")
    }

    fn set(&self, state: &str) -> io::Result<()> {
        fs::write(self.resources.join("cgroup.freeze"), state)?;
        fs::write(self.own.join("cgroup.freeze"), state)
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        // What is frozen could not be killed with its machine.
        let _thawed = self.thaw();
        let _it_goes_with_its_last_process = fs::remove_dir(&self.own);
    }
}
