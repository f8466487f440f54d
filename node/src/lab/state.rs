//! What a lab consists of, as `lab.json` keeps it for the verbs in other terminals.

use std::{
    collections::BTreeMap,
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tasuki_core::time::WallTime;
use tasuki_system::process::ProcessId;

use super::error::LabError;

/// The servers, in the order of the demonstration group.
pub(super) const SERVERS: [&str; 3] = ["kiki", "lala", "mimi"];
/// The networks, and the third number of their addresses.
pub(super) const NETWORKS: [(&str, u8); 2] = [("interconnect", 1), ("public", 2)];
/// The last number of the floating address.
const FLOATING: u8 = 100;

/// Addresses and ports of a lab: 127.OCTET.NETWORK.SERVER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The second number of all addresses.
    pub(super) octet: u8,
    /// Where nodes answer; heartbeats have the next one.
    pub(super) port: u16,
    /// Where the demonstration service answers.
    pub(super) service_port: u16,
}

impl Place {
    /// A server's address on a network; servers count from 0.
    pub(super) fn address(self, network: u8, server: usize) -> Ipv4Addr {
        let last = u8::try_from(server + 1).unwrap_or(u8::MAX);
        Ipv4Addr::new(127, self.octet, network, last)
    }

    /// Where the demonstration service answers, whichever server runs it.
    pub(super) fn service(self) -> SocketAddr {
        (Ipv4Addr::new(127, self.octet, 2, FLOATING), self.service_port).into()
    }
}

/// What a lab consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LabState {
    /// The process that shows the service and whose children the guards are.
    pub(super) process: ProcessId,
    /// Since when.
    pub(super) began: WallTime,
    /// Its addresses.
    pub(super) place: Place,
    /// It has ended, and its folder is kept on purpose.
    pub(super) kept: bool,
    /// Its servers.
    pub(super) servers: BTreeMap<String, ServerPower>,
}

/// Whether a server has power.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ServerPower {
    /// Its guard. With its start time, so that a later process with the number is left alone.
    pub(super) guard: Option<ProcessId>,
    /// Since when it is on or off.
    pub(super) since: WallTime,
}

/// A lab: its folder and what is in it.
#[derive(Clone, Debug)]
pub(super) struct Lab {
    pub(super) folder: PathBuf,
    pub(super) state: LabState,
}

impl Lab {
    pub(super) fn load(folder: &Path) -> Result<Option<Self>, LabError> {
        let path = folder.join("lab.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LabError::io(format!("reading {}", path.display()))(error)),
        };
        let state = serde_json::from_slice(&text)
            .map_err(|error| LabError::io(format!("reading {}", path.display()))(error.into()))?;
        Ok(Some(Self { folder: folder.to_owned(), state }))
    }

    /// Replaces `lab.json` in one step: another terminal may be reading it.
    pub(super) fn save(&self) -> Result<(), LabError> {
        let path = self.folder.join("lab.json");
        let temporary = self.folder.join("lab.json.new");
        let write = || -> io::Result<()> {
            fs::write(&temporary, serde_json::to_vec_pretty(&self.state)?)?;
            fs::rename(&temporary, &path)
        };
        write().map_err(LabError::io(format!("writing {}", path.display())))
    }

    /// A server's data folder.
    pub(super) fn data(&self, server: &str) -> PathBuf {
        self.folder.join(server)
    }

    /// What a server's guard and node say.
    pub(super) fn log(&self, server: &str) -> PathBuf {
        self.folder.join(format!("{server}.log"))
    }

    /// Which cables of a server are cut. Its path also marks the server's processes.
    pub(super) fn cuts(&self, server: &str) -> PathBuf {
        self.folder.join(format!("{server}.cuts"))
    }

    /// Where the lab's own process takes requests.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join("lab.sock")
    }

    /// Whether a server's guard runs.
    pub(super) fn is_on(&self, server: &str) -> bool {
        let guard = self.state.servers.get(server).and_then(|power| power.guard);
        guard.is_some_and(|guard| guard.open().is_some())
    }

    /// The server of this name, or the nearest one as a hint.
    pub(super) fn server(&self, name: &str) -> Result<String, LabError> {
        known("server", name, SERVERS)
    }
}

/// The network of this name, or the nearest one as a hint.
pub(super) fn network(name: &str) -> Result<String, LabError> {
    known("network", name, NETWORKS.map(|(network, _)| network))
}

fn known<const N: usize>(kind: &'static str, name: &str, names: [&str; N]) -> Result<String, LabError> {
    if names.contains(&name) {
        return Ok(name.to_owned());
    }
    let hint = match tasuki_config::nearest(name, names) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("there are {}", names.join(", ")),
    };
    Err(LabError::Unknown { kind, name: name.to_owned(), hint })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_wrong_name_is_answered_with_the_right_one() {
        assert_eq!(network("public").unwrap(), "public");
        assert!(network("pubic").unwrap_err().to_string().contains("did you mean public?"));
        let error = known("server", "zorro", SERVERS).unwrap_err().to_string();
        assert_eq!(error, "the lab has no server \"zorro\"; there are kiki, lala, mimi");
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Lab::load(folder.path()).unwrap().is_none());
        let process = ProcessId { pid: 7, start_time: 9 };
        let place = Place { octet: 77, port: 29001, service_port: 8080 };
        let power = ServerPower { guard: Some(process), since: WallTime(5) };
        let servers = BTreeMap::from([("kiki".to_owned(), power)]);
        let state = LabState { process, began: WallTime(3), place, kept: false, servers };
        let lab = Lab { folder: folder.path().to_owned(), state };
        lab.save().unwrap();
        assert_eq!(Lab::load(folder.path()).unwrap().unwrap().state, lab.state);
        assert_eq!(place.service().to_string(), "127.77.2.100:8080");
        assert_eq!(place.address(1, 2).to_string(), "127.77.1.3");
    }
}
