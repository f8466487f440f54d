//! Fencing devices: what makes sure that another server cannot write any more.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{ids::ServerName, time::millis};

/// One fencing device (`[[fence]]`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceConfig {
    /// For people.
    pub comment: String,
    /// What it is.
    pub kind: FenceKind,
    /// The name of each server at this device: a plug, a domain; the server's own name otherwise.
    pub ports: BTreeMap<ServerName, String>,
    /// One try may take this long.
    #[serde(with = "millis")]
    pub timeout: Duration,
    /// Tries after the first.
    pub retries: u32,
    /// Before it acts for the side with the lower weight, so that two do not fence each other.
    #[serde(with = "millis")]
    pub delay: Duration,
}

/// The kinds of fencing devices. Whatever shows one hides its [secrets](is_secret).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FenceKind {
    /// A fence agent of the ClusterLabs contract: `key=value` on its standard input.
    Agent {
        /// Its program: a name such as `fence_ipmilan`, or a path.
        program: PathBuf,
        /// What it is told, beside `action` and the port. May hold secrets: never shown.
        parameters: BTreeMap<String, String>,
    },
    /// A script: called with `off NAME`, `on NAME` or `status NAME`. Exit code 0 of `off` and `on` is
    /// done; a status is 0 for on and 2 for off.
    Script {
        /// The program.
        program: PathBuf,
    },
    /// SCSI-3 persistent reservations: the target's key is taken off the disks.
    Reservation {
        /// The shared disks.
        devices: Vec<PathBuf>,
    },
    /// The target's own watchdog: it has reset the machine once its time has passed. Confirms
    /// only that time has passed, on a server whose guard told that it has armed one: see
    /// `membership::reset`.
    Watchdog,
}

/// Stands where a secret is not shown.
pub const HIDDEN: &str = "***";

/// Whether a parameter of this name holds a secret.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    let words = ["pass", "secret", "token", "community", "credential", "private_key", "api_key", "apikey"];
    words.iter().any(|word| name.contains(word)) && !name.ends_with("_script")
}

impl FenceConfig {
    /// The same without its secrets.
    #[must_use]
    pub fn hidden(&self) -> Self {
        Self { kind: self.kind.hidden(), ..self.clone() }
    }

    /// A server's name at this device.
    #[must_use]
    pub fn port_of<'a>(&'a self, server: &'a ServerName) -> &'a str {
        self.ports.get(server).map_or(server.as_str(), String::as_str)
    }
}

impl fmt::Debug for FenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.hidden() {
            Self::Agent { program, parameters } => {
                f.debug_struct("Agent").field("program", &program).field("parameters", &parameters).finish()
            }
            Self::Script { program } => f.debug_struct("Script").field("program", &program).finish(),
            Self::Reservation { devices } => {
                f.debug_struct("Reservation").field("devices", &devices).finish()
            }
            Self::Watchdog => f.write_str("Watchdog"),
        }
    }
}

impl FenceKind {
    /// The same without its secrets.
    #[must_use]
    pub fn hidden(&self) -> Self {
        let mut shown = self.clone();
        if let Self::Agent { parameters, .. } = &mut shown {
            for (_, value) in parameters.iter_mut().filter(|(name, _)| is_secret(name)) {
                HIDDEN.clone_into(value);
            }
        }
        shown
    }

    /// Whether a confirmed `off` is proof that the target neither runs nor writes to anything: what
    /// breaks a tie of two (R19). A reservation protects only its disks.
    #[must_use]
    pub fn proves_off(&self) -> bool {
        matches!(self, Self::Agent { .. } | Self::Script { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_wherever_a_device_is_shown() {
        let parameters = [("ip", "10.0.0.9"), ("passwd", "hunter2"), ("Password", "hunter2")];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let kind = FenceKind::Agent { program: "fence_ipmilan".into(), parameters: parameters.into() };
        let shown = format!("{kind:?}");
        assert!(shown.contains("10.0.0.9") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn names_of_secrets() {
        for name in ["passwd", "password", "PASSWORD", "login_pass", "secret_key", "token", "community"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["ip", "username", "plug", "passwd_script", "ssl"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
