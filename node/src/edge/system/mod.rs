//! The ports to the system.
