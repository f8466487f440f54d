//! The calls between servers.
