//! The outside. Every face translates; decisions are made elsewhere.

pub mod grpc;
pub mod peer;
pub mod system;
