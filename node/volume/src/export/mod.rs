//! NBD exports: any program that speaks NBD reaches a volume over a unix socket, or over TCP with TLS.
//!
//! | module | what |
//! |---|---|
//! | [`wire`] | the numbers of the protocol, and its fixed parts as values |
//! | [`negotiate`] | the options: which export, structured replies, TLS |
//! | [`transmit`] | commands and their answers, in any order |
//! | [`server`] | listening, connections, ending in order |
//! | `ask` | one request to a door, as a call |
//!
//! Everything runs as tasks of the runtime that it is started on: on a thread that also moves the
//! volume's bytes, a request changes no thread on its way. Allocation maps (`base:allocation`) are
//! absent on purpose: a volume knows nothing about what its file system has freed.

pub(crate) mod ask;
pub mod negotiate;
pub mod server;
pub mod transmit;
pub mod wire;

pub use server::{Export, Offer};
