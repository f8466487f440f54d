//! What guard and node say to each other: one JSON text a packet, over a socket pair that the
//! node inherits as its standard input. Order is kept and packets stay whole.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tasuki_core::{
    config::OnHang,
    membership::hang::Watched,
    registry::state::AfterStop,
    time::{Timestamp, millis},
};

/// Set for the node: the number of the descriptor that is the socket. It is standard input, so
/// that the node needs no unsafe call to take it over.
pub const SOCKET_VARIABLE: &str = "TASUKI_GUARD_FD";
/// Set for the node: the guard's process number.
pub const GUARD_PID_VARIABLE: &str = "TASUKI_GUARD_PID";
/// No packet is longer.
const PACKET_LIMIT: usize = 4096;

/// From the node to its guard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum ToGuard {
    /// The times that the cluster is configured for.
    Times {
        /// How long a lease lasts.
        #[serde(with = "millis")]
        lease: Duration,
        /// What the guard has, after a lease's end, to stop everything.
        #[serde(with = "millis")]
        guard_budget: Duration,
        /// What becomes of this server when a part of the node hangs.
        #[serde(default)]
        on_hang: OnHang,
    },
    /// The lease now ends then.
    Renew {
        /// Boot clock.
        end: Timestamp,
    },
    /// The lease is given back; answered with the same number once nothing runs (R7).
    EndLease {
        /// Chosen by the node.
        id: u64,
    },
    /// Stop everything, this node too, as at a lease's end.
    StandDown {
        /// For the log.
        why: String,
    },
    /// Reset the machine at once, without stopping anything first.
    Reset {
        /// For the log.
        why: String,
    },
    /// A part of the node moved at that moment (O9).
    Alive {
        /// Which.
        part: Watched,
        /// Boot clock.
        at: Timestamp,
    },
    /// A watcher has found that a part of the node hangs.
    Hangs {
        /// For the log.
        why: String,
    },
    /// The node has stopped cleanly and is about to end: the guard ends with it.
    Leave {
        /// What becomes of the machine.
        after: AfterStop,
    },
}

/// From the guard to its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum ToNode {
    /// The first packet.
    Welcome {
        /// When the lease ends that a node before this one had, if it has not ended: what runs
        /// may be adopted (R6).
        lease_end: Option<Timestamp>,
        /// The time-out in milliseconds of the watchdog that the guard has armed.
        #[serde(default)]
        watchdog_ms: Option<u64>,
    },
    /// Nothing runs, and the lease has ended.
    LeaseEnded {
        /// The number that was asked with.
        id: u64,
    },
    /// Stop cleanly, then leave.
    Stop,
}

/// Two connected ends, both closed on exec, neither ever blocking.
///
/// # Errors
/// When the kernel has none to give.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Sends one packet, whole.
///
/// # Errors
/// `WouldBlock` when the other side does not read; anything else when it is gone.
pub fn say(socket: impl AsFd, message: &impl Serialize) -> io::Result<()> {
    let packet = serde_json::to_vec(message)?;
    if packet.len() > PACKET_LIMIT {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "packet too long"));
    }
    send(socket, &packet, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    Ok(())
}

/// Receives one packet; `None` when the other side is gone.
///
/// # Errors
/// `WouldBlock` when there is none; `InvalidData` when it cannot be understood.
pub fn hear<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<T>> {
    let mut packet = [0; PACKET_LIMIT];
    let (length, _) = match recv(socket, &mut packet[..], RecvFlags::DONTWAIT) {
        Err(rustix::io::Errno::CONNRESET) => return Ok(None),
        other => other?,
    };
    if length == 0 {
        return Ok(None);
    }
    let text = packet.get(..length).unwrap_or_default();
    serde_json::from_slice(text).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
