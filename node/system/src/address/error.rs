//! What can be wrong with a floating address, and what to do about it.

use std::{fmt, io, net::IpAddr};

use super::frame::Mac;

/// Why an address could not be taken, or given back. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// No interface carries the address's subnet.
    #[error("no interface that is up carries {address}/{prefix}; there is {present}")]
    NoInterface {
        /// The address wished for.
        address: IpAddr,
        /// Its prefix length.
        prefix: u8,
        /// What the interfaces carry, for people.
        present: String,
    },
    /// The address is on this machine already, and Tasuki did not put it there.
    #[error("{address} is already configured on {device} of this server, not by Tasuki")]
    AlreadyConfigured {
        /// The address.
        address: IpAddr,
        /// Where it is.
        device: String,
    },
    /// Another machine answers for the address.
    #[error("{address} is in use: {mac} answers for it on {device}")]
    Duplicate {
        /// The address.
        address: IpAddr,
        /// Who answered.
        mac: Mac,
        /// Where it was heard.
        device: String,
    },
    /// The interface is missing, down or without a cable.
    #[error("interface {device} {state}")]
    DeviceUnusable {
        /// Its name.
        device: String,
        /// What is wrong with it.
        state: DeviceState,
    },
    /// An address that cannot move between servers.
    #[error("{address}/{prefix} cannot be a floating address: {reason}")]
    Unsuitable {
        /// The address.
        address: IpAddr,
        /// Its prefix length.
        prefix: u8,
        /// Why not.
        reason: &'static str,
    },
    /// The kernel does not permit it.
    #[error("not permitted to {what}")]
    NotPermitted {
        /// What was attempted.
        what: &'static str,
    },
    /// The kernel refused for another reason.
    #[error("cannot {what}: {source}")]
    Kernel {
        /// What was attempted.
        what: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

/// What keeps an interface from carrying an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceState {
    /// There is none of that name.
    Missing,
    /// Switched off.
    Down,
    /// Switched on, but without a link partner.
    NoCarrier,
}

impl fmt::Display for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "does not exist",
            Self::Down => "is down",
            Self::NoCarrier => "has no carrier (cable, switch port or bond members)",
        })
    }
}

impl AddressError {
    /// The stable code; `docs/errors` has a page for each.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoInterface { .. } => "TSK-1401",
            Self::AlreadyConfigured { .. } => "TSK-1402",
            Self::Duplicate { .. } => "TSK-1403",
            Self::DeviceUnusable { .. } => "TSK-1404",
            Self::Unsuitable { .. } => "TSK-1405",
            Self::NotPermitted { .. } => "TSK-1406",
            Self::Kernel { .. } => "TSK-1407",
        }
    }

    /// What to do about it, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NoInterface { .. } => {
                "give an interface of this server an address in that subnet, correct address or prefix, or name the \
                 interface as ADDRESS%DEVICE"
            }
            Self::AlreadyConfigured { .. } => {
                "choose another floating address, or take this one out of the server's own network configuration"
            }
            Self::Duplicate { .. } => {
                "find the machine with that hardware address and free the address there, or choose another one"
            }
            Self::DeviceUnusable { .. } => "correct the interface's name, switch it on, or check its cable",
            Self::Unsuitable { .. } => "choose an unused host address of the clients' subnet",
            Self::NotPermitted { .. } => {
                "run as root, or grant CAP_NET_ADMIN and CAP_NET_RAW; without them only loopback addresses can float"
            }
            Self::Kernel { .. } => "the text after the colon is the kernel's; see also the system log",
        }
    }

    pub(super) fn kernel(what: &'static str, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(nix::libc::EPERM) => Self::NotPermitted { what },
            _ => Self::Kernel { what, source },
        }
    }
}

/// What became of an address that was held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Another machine announces it. It has been removed here already (R39).
    Conflict {
        /// The address.
        address: IpAddr,
        /// Who announces it.
        mac: Mac,
        /// Where that was heard.
        device: String,
    },
    /// Somebody removed it, or its interface.
    Removed {
        /// The address.
        address: IpAddr,
        /// Where it was.
        device: String,
    },
    /// Its interface lost the carrier. The address is still configured, and still watched.
    Carrier {
        /// The address.
        address: IpAddr,
        /// Its interface.
        device: String,
    },
}

impl Loss {
    /// The stable code; `docs/errors` has a page for each.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "TSK-1410",
            Self::Removed { .. } => "TSK-1411",
            Self::Carrier { .. } => "TSK-1412",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict { address, mac, device } => {
                write!(f, "{address} is announced by {mac} on {device}: dropped here at once")
            }
            Self::Removed { address, device } => {
                write!(f, "{address} was removed from {device}, not by Tasuki")
            }
            Self::Carrier { address, device } => {
                write!(f, "{device}, which carries {address}, lost its carrier")
            }
        }
    }
}
