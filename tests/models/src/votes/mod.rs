//! Votes and leases together: two servers with a tie-break record, or three servers. Logs, terms and
//! leases are as in the real thing; time is in ticks, a lease is two of them, and all clocks are one
//! (budget and margin are nothing). A server can crash, lose its node alone, be cut off, or stand
//! still and go on. Left out: snapshots, learners, fences, and what a server does besides owning one
//! group.
//!
//! A server acts as the owner while it runs the group and its own clock is before its lease's end:
//! one that stood still and goes on within its lease counts.

pub mod rules;
pub mod state;
pub mod step;

pub use self::{
    rules::{Bounds, Rules},
    step::{Step, Votes},
};
