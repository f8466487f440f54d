//! Voting files: blocks on storage that the servers share, for disk beats and for the tie-break
//! record (R14, R17, R18).
//!
//! ```text
//! block 0          header: whose, its name, when it was made
//! blocks 1..=64    a beat for each slot
//! blocks 65..=192  two for each slot: its part of the register, written in turn
//! ```
//!
//! A block is 4096 bytes and sealed ([`sealed`]). Each server writes the blocks of its own slot only,
//! past the cache, one operation at a time a file ([`worker`]). The tie-break record is decided over
//! a majority of the files ([`paxos`], [`register`]); a single file is its own majority.

pub mod direct;
pub mod error;
pub mod file;
pub mod layout;
pub mod paxos;
pub mod register;
pub mod sealed;
pub mod worker;

pub use error::VoteError;
pub use file::{Examined, Overwrite, Owner, VotingFile, create, examine, retire};
pub use layout::{FileId, Header, slot_of};
pub use register::{Files, Kept, RegisterFailure, Swapped};
pub use worker::Worker;
