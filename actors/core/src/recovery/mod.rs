//! What to do about a failure. Thresholds are data (row C6); counters are in the registry.

pub mod ladder;
