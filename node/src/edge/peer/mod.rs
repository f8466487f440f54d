//! The calls and heartbeats between servers: the ports `PeerTransport` and `LinkSocket` made real.
//!
//! ```text
//!            calls (gRPC, mutual TLS)                    heartbeats (UDP, HMAC)
//!   transport.rs ── every LAN path, hedged          link_socket.rs ── one socket a network
//!        │                                               │
//!   server.rs ───── who calls? which lineage?       datagram.rs ───── sealed, never replayed
//!        │                                          aside/ ────────── serial lines, disks: evidence only
//!        └──────────────┬── cuts.rs: paths cut on purpose ┘
//! ```

mod aside;
mod cuts;
mod datagram;
mod heartbeats;
mod link_socket;
mod mirror_stream;
mod path;
mod server;
mod snapshot;
mod transport;

pub use self::{
    cuts::{CUTS_VARIABLE, Cuts},
    heartbeats::HeartbeatPaths,
    link_socket::{LinkCounts, UdpLinks},
    mirror_stream::{Acceptor, Arrived, FrameSink, FrameSource, MirrorDialer, MirrorDoor, StreamSettings},
    server::{PeerHandler, PeerService, peer_service},
    transport::{GrpcPeers, PeerSettings},
};

/// The largest message of a unary call, in bytes. Raft batches stay far below it; what is larger
/// is a mistake or an attack.
const MESSAGE_LIMIT: usize = 32 << 20;

#[cfg(test)]
mod tests;
