

pub mod client;
pub mod network;
