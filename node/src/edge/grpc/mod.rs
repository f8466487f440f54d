//! The gRPC face.
