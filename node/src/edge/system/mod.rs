//! The ports to this machine, made real: clocks, guard, resources. Translation only; what they do
//! is in `tasuki-system`.

mod agent;
mod clock;
mod guard;

pub use self::{agent::SystemAgent, clock::SystemClock, guard::SystemGuard};
