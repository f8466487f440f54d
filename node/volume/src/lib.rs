//! What moves a volume's bytes: the data path of primary and secondary, the NBD export, the block
//! device. Knows of no cluster: epochs, generations and peers' modes are told to it.
//!
//! | module | what |
//! |---|---|
//! | [`block`] | what an export or a device asks of a volume |
//! | [`path`] | the data path: both legs of a write, the receiver, resync and check |
//! | [`export`] | NBD on a unix socket, and over TCP with TLS |
//! | [`device`] | ublk, the kernel's NBD client, or a file over FUSE under a loop device |

pub mod block;
pub mod device;
pub mod export;
pub mod path;
