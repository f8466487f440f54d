//! What the cluster knows and what it decides.
//!
//! Nothing in this crate reads a clock, a file, a socket or a random number: time, ids and
//! evidence come in as arguments, and what should be done goes out as values. So every decision
//! can be tested, replayed and explained. Two shapes of code live here, and no third:
//!
//! - a **machine**, for what has a history: `fn on(&mut self, event, now) -> Vec<Action>`;
//! - a **plan**, for what is computed afresh from a snapshot: `fn decide(&Input) -> Decision`,
//!   where the decision carries its reasons.
//!
//! | module | what it answers |
//! |---|---|
//! | [`membership`] | who is alive, who holds a lease, may this server stay |
//! | [`registry`] | what the replicated registry holds and how a command changes it |
//! | [`placement`] | which server runs which group |
//! | [`group`] | which resource of a group to start or stop next |
//! | [`mirror`] | may a copy of a volume be written, who is the source, what to copy |
//! | [`monitor`] | when a monitor looks, and what follows from what it sees |
//! | [`recovery`] | what to do about a failure |
//! | [`config`] | what operators wish, after the configuration file was read |
//! | [`timing`] | every time in the cluster, derived from one knob |
#![forbid(unsafe_code)]

pub mod config;
pub mod group;
pub mod ids;
pub mod membership;
pub mod mirror;
pub mod monitor;
pub mod placement;
pub mod planted;
pub mod reason;
pub mod recovery;
pub mod registry;
pub mod time;
pub mod timing;
