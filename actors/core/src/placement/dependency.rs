//! What units ask of one another: what must be up before one starts, and what takes it down.

mod start;
mod stop;

pub(super) use start::{Closed, Needed, Reach};
pub(super) use stop::Lost;
pub use stop::{stopped_by, stopped_by_move, waits_for};
