//! What survives a crash: the Raft log and the snapshots of the cluster registry, and the journal
//! of decisions.
//!
//! | module | what it keeps |
//! |---|---|
//! | [`registry`] | the Raft log, the vote and the snapshots; opened with [`registry::open`] |
//! | [`journal`] | the last decisions with their inputs, for `explain` and replay |
//! | [`votes`] | voting files on shared storage: disk beats, and the tie-break record of two servers |
//! | [`volume`] | what a server keeps of a mirrored volume: data area and management area |
//! | [`memory`] | the twin of the log that lives in memory, for tests and simulations |
//! | [`any_log`] | either of the two logs, as Raft takes it |
//! | [`raft_types`] | the types that Raft is instantiated with |
//! | [`error`] | what can be wrong with a store, each with a code for operators |
//!
//! The rules this crate keeps: votes and entries are on the disk before they are acknowledged
//! (R23), and a store that lost something says so when it is opened instead of going on with less.
#![deny(unsafe_code)]

pub mod any_log;
pub mod error;
pub mod journal;
pub mod memory;
pub mod raft_types;
pub mod registry;
pub mod volume;
pub mod votes;

pub use any_log::OpenStore;
pub use error::StoreError;
pub use memory::MemoryDisk;
pub use registry::{Flush, OpenOptions, RegistryStore, open};
