//! Cluster identity.
