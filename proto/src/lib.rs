//! The wire types of Tasuki, generated from `proto/tasuki/v1`, and how they are written into a stream.
//!
//! These types stop at the edge: `core` and the actors never see them.

pub mod codec;

/// Version 1 of the protocol.
#[allow(missing_docs, clippy::all, clippy::pedantic, rust_2018_idioms)]
pub mod v1 {
    tonic::include_proto!("tasuki.v1");
}

/// The descriptors of every service, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tasuki_descriptor.bin"));
