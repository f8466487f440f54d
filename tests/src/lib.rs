//! The harness of Tasuki's own tests.

pub mod client;
pub mod hosts;
pub mod network;
pub mod numbers;
pub mod process;
pub mod twin;
