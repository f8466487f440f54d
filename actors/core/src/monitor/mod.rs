//! One monitor on one server: when it looks, and what follows from what it sees.
//!
//! | module | what it answers |
//! |---|---|
//! | [`watch`] | when to look next, what state that gives, when it is a finding |
//! | [`summary`] | the state of a monitor over all servers |
//! | [`concerns`] | what the recovery of a finding on a server mends |

mod concerns;
mod summary;
pub mod watch;

pub use concerns::concerns;
pub use summary::{summarise, summary};
pub use watch::{Action, Event, Watch};
