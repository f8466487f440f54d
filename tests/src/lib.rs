//! The harness of Tasuki's own tests.

pub mod client;
pub mod hosts;
#[cfg(feature = "sim")]
pub mod invariants;
pub mod ledger;
pub mod network;
pub mod numbers;
pub mod process;
#[cfg(feature = "sim")]
pub mod sim;
pub mod twin;
pub mod vm;
