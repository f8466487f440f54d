//! The data path of one volume on one server: both legs of a write on a primary, the receiver on a
//! secondary, resync and check.
//!
//! ```text
//!  export, device ──► Door ──► primary: hold the range, log the region (R29), then both legs
//!                                 │ own disk                    │ session ──► stream ──► receiver
//!                                 ▼                             ▼                          ▼
//!                              copy.rs ◄── journal.rs      Done, Flushed ◄──────────── copy.rs there
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`volume`] | the handle: what the actors ask for |
//! | [`options`], [`events`] | settings; what it says, and how it is |
//! | [`frame`], [`stream`] | what primary and secondary say to each other, and what carries it |
//! | [`copy`], [`journal`] | the own disk, and what is remembered of writes |
//! | `primary` | requests, flights, flushes, sessions with peers |
//! | `secondary` | who is let in, and what is done with frames |
//! | `resync` | copying what a peer lacks, and comparing |
//! | `work` | what runs on the thread, and its end when something panics |
//! | `ranges` | overlapping writes wait for each other |
//!
//! A primary's path runs on a thread of its own. Nothing of it waits for an actor: a write whose peer is
//! required and away is not answered until the mode is changed from outside.

pub mod copy;
pub mod events;
pub mod frame;
pub mod journal;
mod lacking;
pub mod options;
mod primary;
mod ranges;
mod resync;
mod secondary;
pub mod stream;
pub mod volume;
mod work;

pub use self::{
    copy::Copy,
    events::{PeerView, Progress, VerifyReport, VolumeCounters, VolumeEvent, VolumeView},
    options::Options,
    secondary::Reception,
    stream::{Dialer, Duplex, Packet, PacketSink, PacketSource, StreamEnded},
    volume::{PathError, Volume},
};

#[cfg(feature = "planted")]
pub use self::options::Planted;
