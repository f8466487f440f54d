//! The ports to this machine, made real: clocks, guard, resources, looks. Translation only; what they do
//! is in `tasuki-system`.

mod agent;
mod clock;
mod guard;
mod prober;

pub use self::{agent::SystemAgent, clock::SystemClock, guard::SystemGuard, prober::SystemProber};
