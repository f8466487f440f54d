//! One mirrored volume: may this copy be written, who is the source, what has to be copied.
//!
//! Three variables say how a volume is on one server, not one: its [`Role`], the quality of its copy
//! ([`DiskState`]), and its relation to each peer ([`LinkState`]). What the servers agree on (owner,
//! epoch, which copies are good) is in the registry ([`crate::registry::mirror`]).
//!
//! | module | decides | shape |
//! |---|---|---|
//! | `state` | the mirror-state decision: what the primary does at each event | machine |
//! | `handshake` | whether two copies may talk, and what a resync has to copy | plan |
//! | `wire` | the version of the frames that two programs speak | plan |
//! | `history` | same, ahead, behind or diverged | data |
//! | `dirty_map`, `activity` | which extents differ, which may | data |
//! | `resync` | how fast, and how long yet | machine |
//! | `lapse` | rules that the tests take out | |
//! | `geometry` | how a volume is divided | data |

pub mod activity;
pub mod dirty_map;
pub mod geometry;
pub mod handshake;
pub mod history;
pub(crate) mod lapse;
pub mod resync;
pub mod state;
pub mod wire;
mod words;

pub use self::words::{Colour, DiskState, LinkState, Role};

#[cfg(test)]
mod tests;
