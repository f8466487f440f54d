//! What to do about a failure. Thresholds are data; counters are in the registry.

pub mod ladder;
