//! What was decided, and on what: for `explain`, replay and bug reports.

mod decisions;

pub use decisions::{Decision, Decisions, Summary, find, summaries};
